"""Utility and fairness from tables in Spark, against scikit-learn and pandas on the same rows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.learners import LEARNERS
from twinlake.evaluate.metrics import METRICS
from twinlake.evaluate.metrics.fairness import FAIRNESS
from twinlake.evaluate.metrics.utility import UTILITY
from twinlake.evaluate.report import render_report

GROUP, LABEL = "<b>se`x</b>", "paid.`x"
KINDS = {"x": "number", "z": "number", GROUP: "category", "void": "category", "on": "datetime", LABEL: "category"}
DDL = "x double, z double, `<b>se``x</b>` string, void string, on date, `paid.``x` string"
HOSTILE = '<script>alert("m")</script>'


def made(seed: int, n: int, shift: float) -> pd.DataFrame:
    """Group B is paid less often by `shift`; one row in twenty has no label; the group C has four rows."""
    draw = np.random.default_rng(seed)
    group = np.where(draw.random(n) < 0.6, HOSTILE, "B")
    group[:4] = "C"
    x, z = draw.normal(0, 1, n), draw.normal(0, 1, n)
    paid = x + 0.5 * z - shift * (group == "B") + draw.normal(0, 0.3, n) > 0
    label = np.where(draw.random(n) < 0.05, None, np.where(paid, "yes", "no"))
    on = pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 700, n), "D")
    return pd.DataFrame({"x": x, "z": z, GROUP: group, "void": None, "on": on, LABEL: label})


def frame(spark: Any, held: pd.DataFrame) -> Any:
    rows = [(*r[:4], r[4].date(), r[5]) for r in held.astype(object).itertuples(index=False, name=None)]
    return spark.createDataFrame(rows, DDL)


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return made(1, 400, 0.2), made(2, 300, 0.2), made(3, 300, 1.5)


@pytest.fixture(scope="module")
def held(spark: Any, tables: tuple[pd.DataFrame, ...]) -> Evidence:
    real, holdout, twin = (frame(spark, t) for t in tables)
    protected = (GROUP, "x", "on", "void")
    return Evidence(real, twin, tuple(KINDS), KINDS, holdout=holdout, target=LABEL, protected=protected, positive="yes", seed=7)


@pytest.fixture(scope="module")
def told(held: Evidence) -> Evaluation:
    chosen = {**UTILITY, **FAIRNESS}
    results = {name: metric.compute(held) for name, metric in chosen.items()}
    about = {n: {"title": m.title, "group": m.group, "better": m.better} for n, m in chosen.items()}
    return Evaluation(None, "none", {"quality_score": replace(results["auc_gap"], value=None), **results}, {"metrics": about})


def features(fit: pd.DataFrame, of: pd.DataFrame) -> np.ndarray:
    """What distance and penalty see: numbers in deviations of `fit`, indicators of the groups, none for `void`."""
    days = lambda t: (t["on"] - pd.Timestamp("1970-01-01")).dt.days  # noqa: E731
    columns = [(of[c] - fit[c].mean()) / fit[c].std(ddof=0) for c in ("x", "z")]
    columns.append((days(of) - days(fit).mean()) / days(fit).std(ddof=0))
    columns += [(of[GROUP] == g).astype(float) for g in sorted(fit[GROUP].unique())]
    return np.column_stack([*columns, np.ones(len(of))])


def test_one_learner_is_what_scikit_learn_makes_of_the_same_rows(told: Evaluation, tables: tuple[pd.DataFrame, ...]) -> None:
    real, holdout, twin = (t.dropna(subset=[LABEL]) for t in tables)
    got = told.results["accuracy_gap"].detail["learners"]["nearest_neighbours"]
    area = told.results["auc_gap"].detail["learners"]["nearest_neighbours"]
    for training, fit in (("real", real), ("synthetic", twin), ("augmented", pd.concat([real, twin]))):
        model = KNeighborsClassifier().fit(features(fit, fit), fit[LABEL])
        data = features(fit, holdout)
        assert got[training][0] == pytest.approx(model.score(data, holdout[LABEL]), abs=1e-12), training
        expected = roc_auc_score(holdout[LABEL] == "yes", model.predict_proba(data)[:, 1])
        assert area[training][0] == pytest.approx(expected, abs=1e-12), training
    assert told.results["accuracy_gap"].detail["rows"]["nearest_neighbours"] == {
        "real": len(real),
        "synthetic": len(twin),
        "augmented": len(real) + len(twin),
        "real_at_n": len(twin),
    }
    assert told.results["accuracy_gap"].detail["n_test"] == len(holdout)


def test_metrics_are_means_of_paired_differences(told: Evaluation) -> None:
    detail = told.results["accuracy_gap"].detail
    learners = detail["learners"]
    assert set(learners) | set(detail["left_out"]) == {x.name for x in LEARNERS if x.task == "classification"}
    # The twin has fewer rows, so it is held against as many real ones; what both together gain, against all real ones.
    gaps = [x["real_at_n"][0] - x["synthetic"][0] for x in learners.values()]
    assert told.results["accuracy_gap"].value == pytest.approx(np.mean(gaps), abs=1e-12)
    gains = [x["augmented"][0] - x["real"][0] for x in learners.values()]
    assert told.results["augmented_gain"].value == pytest.approx(np.mean(gains), abs=1e-12)
    for name in ("auc_gap", "accuracy_gap", "augmented_gain"):
        low, high = told.results[name].interval
        assert low < told.results[name].value < high
    assert told.results["r2_gap"].value is None and not told.results["r2_gap"].asked()
    assert "r2_gap" not in told.to_text()


def test_fairness_is_what_pandas_counts(told: Evaluation, tables: tuple[pd.DataFrame, ...]) -> None:
    real, holdout, twin = (t.dropna(subset=[LABEL]) for t in tables)
    found = told.results["demographic_parity_gap"].detail
    sex = found["columns"][GROUP]
    shown = holdout[holdout[GROUP] != "C"]
    assert sex["groups"] == [HOSTILE, "B"] or sex["groups"] == ["B", HOSTILE]
    assert sex["n"] == [(shown[GROUP] == g).sum() for g in sex["groups"]]
    assert sex["in_small_groups"] == 4 - holdout[:4][LABEL].isna().sum() == (holdout[GROUP] == "C").sum()
    for training, fit in (("real", real), ("synthetic", twin)):
        guess = KNeighborsClassifier().fit(features(fit, fit), fit[LABEL]).predict(features(fit, shown))
        of_group = pd.DataFrame({"g": shown[GROUP].to_numpy(), "yes": guess == "yes", "paid": shown[LABEL].to_numpy() == "yes"})
        got = sex["learners"]["nearest_neighbours"][training]
        rates = of_group.groupby("g")["yes"].mean()
        assert got["selection_rate"] == pytest.approx(rates[sex["groups"]].tolist(), abs=1e-12), training
        assert got["demographic_parity_gap"] == pytest.approx(np.ptp(rates), abs=1e-12), training
        by = of_group.groupby(["paid", "g"])["yes"].mean().unstack()
        odds = (by.max(axis=1) - by.min(axis=1)).max()
        assert got["equalized_odds_gap"] == pytest.approx(odds, abs=1e-12), training
    # The twin's group B is paid far less often: models that learn from it select it less.
    assert sex["gaps"]["demographic_parity"]["synthetic_minus_real"][1] > 0
    assert told.results["demographic_parity_gap"].value >= sex["gaps"]["demographic_parity"]["synthetic"][0]
    assert found["positive"] == "yes"


def test_columns_without_groups_say_so(told: Evaluation) -> None:
    columns = told.results["demographic_parity_gap"].detail["columns"]
    assert columns["void"]["reason"] == "fewer than two groups have 10 test rows"
    assert len(columns["on"]["groups"]) == 4 and columns["on"]["groups"][0].startswith("below 2020-")
    assert min(columns["x"]["n"]) >= 10
    json.loads(told.to_json())


def test_hostile_names_and_groups_stay_inert(told: Evaluation) -> None:
    page = render_report(told)
    assert "<script>" not in page and "<b>se" not in page
    assert "&lt;script&gt;" in page and "&lt;b&gt;se" in page
    assert "Fairness" in page and "trained on real rows (squares)" in page


def test_a_number_is_regressed(spark: Any, held: Evidence, tables: tuple[pd.DataFrame, ...]) -> None:
    numeric = replace(held, target="z", memo={})
    found = {name: metric.compute(numeric) for name, metric in {**UTILITY, **FAIRNESS}.items()}
    gap = found["r2_gap"]
    assert set(gap.detail["learners"]) | set(gap.detail["left_out"]) == {x.name for x in LEARNERS if x.task == "regression"}
    real, holdout, _ = tables

    def seen(fit: pd.DataFrame, of: pd.DataFrame) -> np.ndarray:
        labels = [(of[LABEL].fillna("-") == v).astype(float) for v in ("-", "no", "yes")]
        return np.column_stack([np.delete(features(fit, of), 1, axis=1), *labels])

    y, spread = real["z"], real["z"].std(ddof=0)
    guess = Ridge().fit(seen(real, real), (y - y.mean()) / spread).predict(seen(real, holdout)) * spread + y.mean()
    got = gap.detail["learners"]["ridge_regression"]["real"][0]
    assert got == pytest.approx(r2_score(holdout["z"], guess), abs=1e-9)
    assert gap.value == pytest.approx(np.mean([x["real_at_n"][0] - x["synthetic"][0] for x in gap.detail["learners"].values()]))
    assert set(gap.detail["others"]) == {"absolute_error"}
    assert found["augmented_gain"].detail["score"] == "r2"
    assert [found[n].asked() for n in ("auc_gap", "accuracy_gap")] == [False, False]
    assert found["demographic_parity_gap"].reason == "the target is a number; fairness is computed for two classes"
    text = Evaluation(None, "none", {"quality_score": gap, **found}, {"metrics": {}}).to_text()
    assert "r2_gap" in text and "accuracy_gap" not in text


def test_without_a_target_or_protected_columns_nothing_is_learned(held: Evidence) -> None:
    none = replace(held, target=None, memo={})
    assert METRICS["augmented_gain"].compute(none).reason == "no target column was named (evaluate.target)"
    assert METRICS["demographic_parity_gap"].compute(replace(none, protected=())).asked() is False
    assert METRICS["demographic_parity_gap"].compute(none).reason == "no target column was named (evaluate.target)"
    lone = replace(held, columns=(LABEL,), memo={})
    assert METRICS["auc_gap"].compute(lone).reason == "no column besides the target is a number or a category"


def test_two_values_of_a_number_are_classes_and_all_missing_is_said(spark: Any) -> None:
    rows = [(i % 7, float(i % 2)) for i in range(60)]
    flags = spark.createDataFrame(rows, "x int, flag double")
    kinds = {"x": "number", "flag": "number"}
    both = Evidence(flags, flags, ("x", "flag"), kinds, holdout=flags, target="flag", protected=("x",), positive="1")
    assert METRICS["accuracy_gap"].compute(both).value == 0.0
    assert METRICS["demographic_parity_gap"].compute(both).detail["positive"] == "1.0"
    void = spark.createDataFrame([(i, None) for i in range(60)], "x int, flag double")
    empty = Evidence(void, void, ("x", "flag"), kinds, holdout=void, target="flag")
    assert METRICS["accuracy_gap"].compute(empty).reason == "no row has a target"
