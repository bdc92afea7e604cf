"""Fairness by group against numbers worked by hand: who falls into which group, rates, gaps, what is too small to show."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql.types import StringType, StructField, StructType

from twinlake.core.errors import ConfigError
from twinlake.evaluate.downstream import Downstream
from twinlake.evaluate.groups import by_range, by_value, fair_scores, rates_shown
from twinlake.evaluate.learning import positive_class
from twinlake.evaluate.metrics.fairness import by_column
from twinlake.evaluate.stage import check_columns

# Ten of group a: 4 positive, of which 3 are found, and 1 false alarm among 6. Ten of b: 5, of which 1, and 2 among 5.
CODE = np.repeat([0, 1], 10)
TRUTH = np.array([1] * 4 + [0] * 6 + [1] * 5 + [0] * 5)
GUESS = np.array([1, 1, 1, 0, *(1, 0, 0, 0, 0, 0), *(1, 0, 0, 0, 0), *(1, 1, 0, 0, 0)])
NAMES = (None, "a", "b")
GROUPS = by_value(CODE + 1, NAMES, 10)


def test_rates_and_gaps_by_hand() -> None:
    shown = rates_shown(GROUPS, TRUTH, GUESS, 4)
    assert GROUPS.labels == ("a", "b")
    assert shown["selection_rate"].tolist() == pytest.approx([0.4, 0.3])
    assert shown["accuracy"].tolist() == pytest.approx([0.8, 0.4])
    assert shown["recall"].tolist() == pytest.approx([0.75, 0.2])
    assert shown["false_positive_rate"].tolist() == pytest.approx([1 / 6, 0.4])
    gaps = {name: of(np.ones(20)) for name, of in fair_scores(GROUPS, TRUTH, GUESS, 4).items()}
    assert gaps == pytest.approx({"demographic_parity": 0.1, "equalized_odds": 0.55, "accuracy": 0.4})


def test_a_weight_counts_a_row_as_often() -> None:
    weights = np.arange(20) % 3 + 1.0
    again = np.repeat(np.arange(20), weights.astype(int))
    many = by_value(CODE[again] + 1, NAMES, 10)
    for name, of in fair_scores(GROUPS, TRUTH, GUESS, 4).items():
        assert of(weights) == pytest.approx(fair_scores(many, TRUTH[again], GUESS[again], 4)[name](np.ones(len(again)))), name


def test_gaps_are_fairlearns() -> None:
    metrics = pytest.importorskip("fairlearn.metrics")
    gaps = {name: of(np.ones(20)) for name, of in fair_scores(GROUPS, TRUTH, GUESS, 1).items()}
    assert gaps["demographic_parity"] == pytest.approx(
        metrics.demographic_parity_difference(TRUTH, GUESS, sensitive_features=CODE)
    )
    assert gaps["equalized_odds"] == pytest.approx(metrics.equalized_odds_difference(TRUTH, GUESS, sensitive_features=CODE))


def test_a_rate_of_too_few_rows_is_neither_shown_nor_compared() -> None:
    """Of at least five rows: group a has four positive ones, so recall stands alone and equalized odds are undefined."""
    shown = rates_shown(GROUPS, TRUTH, GUESS, 5)
    assert np.isnan(shown["recall"][0]) and shown["recall"][1] == pytest.approx(0.2)
    gaps = {name: of(np.ones(20)) for name, of in fair_scores(GROUPS, TRUTH, GUESS, 5).items()}
    assert gaps["equalized_odds"] is None
    assert gaps["demographic_parity"] == pytest.approx(0.1)


def test_small_groups_and_missing_values_are_counted_and_left_out() -> None:
    names = (None, "Oslo", "Rome", "tiny")
    got = by_value(np.array([1] * 12 + [2] * 10 + [3] * 9 + [0] * 30), names, 10)
    assert got.told() == {"groups": ["Oslo", "Rome"], "n": [12, 10], "missing": 30, "in_small_groups": 9}
    assert (got.code[:12] == 0).all() and (got.code[12:22] == 1).all() and (got.code[22:] == -1).all()
    none = by_value(np.zeros(30, np.int64), (None,), 10)
    assert none.told() == {"groups": [], "n": [], "missing": 30, "in_small_groups": 0}


def test_at_most_twelve_values_are_groups() -> None:
    codes = np.repeat(np.arange(1, 16), np.arange(20, 5, -1))
    got = by_value(codes, (None, *(f"v{i:02}" for i in range(15))), 1)
    assert got.labels == tuple(f"v{i:02}" for i in range(12))
    assert got.small == 8 + 7 + 6


def test_a_number_is_cut_at_rounded_quartiles() -> None:
    """Of 0..399 the quartiles are 99, 199 and 299; the middle half is 200 wide, so they are rounded to tens."""
    got = by_range(np.arange(400.0), 10)
    assert got.labels == ("below 100", "100 to below 200", "200 to below 300", "300 and above")
    assert np.bincount(got.code).tolist() == [100, 100, 100, 100]


def test_every_range_has_enough_rows() -> None:
    """Of 99 zeros and twenty-one others no range but one may be told apart; with two less there is none."""
    zeros = np.zeros(99)
    got = by_range(np.append(zeros, np.arange(5.0, 26.0)), 21)
    assert all(n >= 21 for n in got.told()["n"])
    lone = by_range(np.append(zeros, np.arange(5.0, 24.0)), 21)
    assert lone.labels == ("all",)
    for seed in range(5):
        x = np.random.default_rng(seed).lognormal(0, 2, 300)
        assert min(by_range(x, 40).told()["n"]) >= 40


def test_few_numbers_are_values_and_gaps_are_missing() -> None:
    got = by_range(np.array([0.0] * 12 + [1.0] * 15 + [np.nan] * 4), 10)
    assert got.told() == {"groups": ["0", "1"], "n": [12, 15], "missing": 4, "in_small_groups": 0}
    assert by_range(np.full(30, np.nan), 10).told() == {"groups": [], "n": [], "missing": 30, "in_small_groups": 0}


def test_dates_are_cut_at_dates() -> None:
    """A day a row from 1970-01-01 on, in days and in seconds: quartiles on days 249, 499 and 749, rounded to tens."""
    days = np.arange(1000.0)
    expected = ("below 1970-09-08", "1970-09-08 to below 1971-05-16", "1971-05-16 to below 1972-01-21", "1972-01-21 and above")
    assert by_range(days, 10, 1.0).labels == expected
    assert by_range(days * 86400, 10, 86400.0).labels == expected


@pytest.mark.parametrize(
    ("wanted", "classes", "expected"),
    [
        (None, ["no", "yes"], 1),
        (None, ["yes", "zz"], 1),
        ("no", ["no", "yes"], 0),
        ("1", ["0.0", "1.0"], 1),
        ("x", ["0", "1"], None),
    ],
)
def test_the_positive_class(wanted: str | None, classes: list[str | None], expected: int | None) -> None:
    """The rarer one of 30 and 20 rows, unless another is named; a number is found however it is written."""
    assert positive_class(wanted, classes, np.array([30, 20])) == expected


def test_a_number_has_no_fairness() -> None:
    assert (
        by_column(Downstream("regression", {"a": {}}, {}, ())) == "the target is a number; fairness is computed for two classes"
    )


@pytest.mark.parametrize(
    ("target", "protected", "said"),
    [
        ("incom", [], "evaluate.target: no column 'incom' (did you mean 'income'?)"),
        ("income", ["sx"], "evaluate.protected: no column 'sx' (did you mean 'sex'?)"),
        ("income", ["income"], "evaluate.protected: 'income' is the target; name a column beside it"),
    ],
)
def test_a_column_that_is_not_there_is_refused(target: str, protected: list[str], said: str) -> None:
    schema = StructType([StructField("sex", StringType()), StructField("income", StringType())])
    with pytest.raises(ConfigError) as refused:
        check_columns(schema, target, protected)
    assert str(refused.value) == said
    check_columns(schema, "income", ["sex"], ["income", "sex"])
    check_columns(schema, None, [])
    with pytest.raises(ConfigError, match=r"^evaluate\.secrets: no column 'sx' \(did you mean 'sex'\?\)$"):
        check_columns(schema, "income", [], ["sx"])
