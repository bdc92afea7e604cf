"""Every registered metric: best on identical data, worse on shuffled columns, no number where none can be computed."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from twinlake.evaluate.evaluate import evaluate_tables
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.metrics import METRICS
from twinlake.profile.counts import TokenCounts

COLUMNS = ("age", "pay.`x", "city", "member")
KINDS = {"age": "number", "pay.`x": "number", "city": "category", "member": "category"}
TYPES = "age int, `pay.``x` double, city string, member string"
Rows = list[tuple[Any, ...]]


def rows(seed: int, n: int) -> Rows:
    draw = np.random.default_rng(seed)
    age = draw.integers(18, 80, n)
    pay = age * 10 + draw.normal(0, 60, n)
    city = np.where(pay > 500, "Rome", np.where(draw.random(n) < 0.5, "Oslo", "Bern"))
    member = np.where(pay + draw.normal(0, 80, n) > 480, "yes", "no")
    gap = draw.random(n) < 0.1
    return [
        (int(a), None if g else round(float(p), 2), str(c), str(m))
        for a, p, c, m, g in zip(age, pay, city, member, gap, strict=True)
    ]


def shuffled(held: Rows, seed: int = 5) -> Rows:
    draw = np.random.default_rng(seed)
    columns = [[column[i] for i in draw.permutation(len(held))] for column in zip(*held, strict=True)]
    return list(zip(*columns, strict=True))


def counts(held: Rows) -> TokenCounts:
    """Bins fixed by hand: decades of age, hundreds of pay, the values of the rest."""
    names = (("Bern", "Oslo", "Rome"), ("no", "yes"))
    codes = [
        [r[0] // 10 for r in held],
        [0 if r[1] is None else 1 + int(np.clip(r[1] // 100, 0, 12)) for r in held],
        [names[0].index(r[2]) if r[2] in names[0] else 3 for r in held],
        [names[1].index(r[3]) if r[3] in names[1] else 2 for r in held],
    ]
    sizes = (8, 14, 4, 3)
    single = tuple(np.bincount(np.array(c, np.int64), minlength=s) for c, s in zip(codes, sizes, strict=True))
    pairs = np.stack(
        [
            np.bincount(np.array(a, np.int64) * 16 + np.array(b, np.int64), minlength=256).reshape(16, 16)
            for a, b in itertools.combinations(codes, 2)
        ]
    )
    coarse = tuple(np.arange(s, dtype=np.uint8) for s in sizes)
    return TokenCounts(len(held), COLUMNS, single, coarse, pairs, tuple(tuple(map(str, range(s))) for s in sizes))


def evidence(spark: Any, real: Rows, twin: Rows, holdout: Rows | None = None, target: str | None = "member") -> Evidence:
    def frame(held: Rows) -> Any:
        return spark.createDataFrame(held, TYPES)

    return Evidence(
        frame(real),
        frame(twin),
        COLUMNS,
        KINDS,
        counts(real),
        counts(twin),
        None if holdout is None else frame(holdout),
        None if holdout is None else counts(holdout),
        None if holdout is None else counts(twin[: len(holdout)]),
        target=target,
        protected=("city",),
    )


@pytest.fixture(scope="module")
def answers(spark: Any) -> dict[str, Any]:
    real, holdout = rows(1, 700), rows(2, 300)
    return {
        "same": evaluate_tables(evidence(spark, real, real, holdout)),
        "shuffled": evaluate_tables(evidence(spark, real, shuffled(real), holdout)),
        "fresh": evaluate_tables(evidence(spark, real, rows(3, 700), holdout)),
    }


BEST = {
    "univariate_tv": 0.0,
    "bivariate_tv": 0.0,
    "segment_tv": 0.0,
    "field_distribution": 10.0,
    "field_correlation": 10.0,
    "deep_structure": 10.0,
    "triple_skill": 1.0,
    "association": 0.0,
    "pearson": 0.0,
    "auc_gap": 0.0,
    "accuracy_gap": 0.0,
}


@pytest.mark.parametrize("name", sorted(BEST))
def test_identical_tables_get_the_best_value(answers: dict[str, Any], name: str) -> None:
    assert answers["same"].results[name].value == pytest.approx(BEST[name], abs=1e-9)


def test_the_strict_score_sees_through_shuffled_columns(answers: dict[str, Any]) -> None:
    """The score that users know calls them good: two of its three parts hardly see more than columns."""
    assert answers["shuffled"].results["strict_score"].value < 10 < 40 < answers["shuffled"].score
    assert answers["fresh"].results["strict_score"].value > 90


# Shuffling keeps each column as it is, and makes rows less alike: privacy gets better.
SINGLE = ("univariate_tv", "field_distribution", "time_shape", "column_skill")
# Models that learned nothing treat everyone alike; the target has classes, so there is no R2.
NOT_OF_JOINTS = ("privacy", "fairness")
# Asked of what a run knows of its columns, and of texts: this table has neither.
NOT_GIVEN = ("validity", "text_structure", "text_semantics")
LEFT_OUT = (*SINGLE, *NOT_GIVEN, "r2_gap")
MEASURE_JOINTS = [n for n, m in METRICS.items() if m.group not in NOT_OF_JOINTS and n not in LEFT_OUT]


@pytest.mark.parametrize("name", MEASURE_JOINTS)
def test_shuffled_columns_are_worse(answers: dict[str, Any], name: str) -> None:
    same, worse = answers["same"].results[name].value, answers["shuffled"].results[name].value
    assert worse > same if METRICS[name].better == "lower" else worse < same


def test_models_of_an_identical_twin_treat_groups_as_models_of_the_real_rows_do(answers: dict[str, Any]) -> None:
    for name in (n for n, m in METRICS.items() if m.group == "fairness"):
        result = answers["same"].results[name]
        assert result.value is not None and result.value == result.reference, name
        assert answers["shuffled"].results[name].value != result.reference, name


def test_another_table_is_worse_in_its_columns(spark: Any) -> None:
    real = rows(1, 700)
    other = [(r[0] // 2 + 9, r[1], "Oslo", r[3]) for r in real]
    got = evaluate_tables(evidence(spark, real, other), {n: METRICS[n] for n in ("univariate_tv",)})
    assert got.results["univariate_tv"].value > 0.1
    assert got.results["field_distribution"].value < 8


def test_copies_are_seen_and_fresh_rows_are_not(answers: dict[str, Any]) -> None:
    same, fresh = answers["same"].results, answers["fresh"].results
    assert same["exact_copies"].value == 1.0
    # People of one age without a pay coincide: the holdout shows as many.
    assert abs(fresh["exact_copies"].value - fresh["exact_copies"].reference) < 0.05
    assert same["closest_record"].value == 0.0
    assert same["nearest_in_train_lift"].interval[0] > 1.2
    assert fresh["nearest_in_train_lift"].interval[0] < 1.0 < fresh["nearest_in_train_lift"].interval[1]
    assert fresh["closer_to_train"].interval[0] < 0.5 < fresh["closer_to_train"].interval[1]


def test_json_is_strict_and_complete(answers: dict[str, Any]) -> None:
    text = answers["fresh"].to_json()
    again = type(answers["fresh"]).from_json(text)
    assert again.to_json() == text
    assert "NaN" not in text
    assert set(json.loads(text)["results"]) == {"quality_score", *METRICS}


def test_what_cannot_be_computed_says_so(spark: Any) -> None:
    flat: Rows = [(7, None, "Rome", "yes")] * 60
    got = evaluate_tables(evidence(spark, flat, flat, flat))
    none = ("univariate_tv", "bivariate_tv", "segment_tv", "association", "pearson", "field_correlation", "deep_structure")
    for name in (*none, "auc_gap"):
        assert got.results[name].value is None, name
        assert got.results[name].reason
    json.loads(got.to_json())


def test_empty_twin_and_no_holdout(spark: Any) -> None:
    real = rows(1, 80)
    got = evaluate_tables(evidence(spark, real, [], None))
    assert got.score is None
    assert all(r.value is None and r.reason for r in got.results.values())
    lone = evaluate_tables(replace(evidence(spark, real, real), counts_real=None, counts_synthetic=None))
    assert lone.results["auc_gap"].reason == "there is no holdout to test on"
    assert lone.results["exact_copies"].value == 1.0
    assert lone.results["field_distribution"].reference is None
