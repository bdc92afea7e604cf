"""How many rows each group gets: worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from twinlake.core.errors import ConfigError
from twinlake.generate.balance import Balance, balanced, largest_remainder

COUNTS = [({"income": "high"}, 240), ({"income": "low"}, 760)]
JOINT = [
    ({"sex": "F", "old": True}, 10),
    ({"sex": "F", "old": False}, 30),
    ({"sex": "M", "old": True}, 20),
    ({"sex": "M", "old": False}, 40),
]


@pytest.mark.parametrize(
    ("shares", "rows", "wanted"),
    [
        ([0.5, 0.5], 10, [5, 5]),
        ([1 / 3, 1 / 3, 1 / 3], 10, [4, 3, 3]),  # ties go to the first
        ([0.416, 0.338, 0.246], 100, [42, 34, 24]),  # 41.6, 33.8, 24.6: the largest remainders are .8 and .6
        ([0.1, 0.2], 9, [3, 6]),
        ([1.0], 0, [0]),
    ],
)
def test_largest_remainder(shares: list[float], rows: int, wanted: list[int]) -> None:
    assert largest_remainder(shares, rows) == wanted


def rows_of(balance: Balance, counts: Any, rows: int | None) -> dict[str, int]:
    return {"/".join(map(str, g.conditions.values())): g.rows for g in balanced(balance, counts, rows)}


def test_replace_gives_equal_shares() -> None:
    assert rows_of(Balance(("income",)), COUNTS, 1001) == {"high": 501, "low": 500}
    assert rows_of(Balance(("sex", "old")), JOINT, 8) == {"F/True": 2, "F/False": 2, "M/True": 2, "M/False": 2}


def test_what_is_not_listed_divides_the_rest_as_it_does_in_the_data() -> None:
    assert rows_of(Balance(("income",), shares={"high": 0.5}), COUNTS, 100) == {"high": 50, "low": 50}
    # F/True gets half; 30 : 20 : 40 share the other half
    shares = [{"sex": "F", "old": True, "share": 0.5}]
    wanted = {"F/True": 90, "F/False": 30, "M/True": 20, "M/False": 40}
    assert rows_of(Balance(("sex", "old"), shares=shares), JOINT, 180) == wanted


def test_shares_of_ranges() -> None:
    shares = [{"age": {"max": 29}, "share": 0.25}, {"age": {"min": 30}, "share": 0.75}]
    assert [g.rows for g in balanced(Balance(("age",), shares=shares), [], 400)] == [100, 300]


def test_additive_tops_up_to_parity_and_to_shares() -> None:
    assert rows_of(Balance(("income",), "additive"), COUNTS, None) == {"high": 520}
    # 40% high beside 760 low: 760 / 0.6 = 1266.7 rows, 506.7 of them high
    shares = {"high": 0.4, "low": 0.6}
    assert rows_of(Balance(("income",), "additive", shares), COUNTS, None) == {"high": 267}
    assert rows_of(Balance(("sex", "old"), "additive"), JOINT, None) == {"F/True": 30, "F/False": 10, "M/True": 20}
    # a group that nobody is in yet: 1000 rows are 80% of 1250
    new = [{"income": "none", "share": 0.2}]
    assert rows_of(Balance(("income",), "additive", new), COUNTS, None) == {"none": 250}


@pytest.mark.parametrize(
    ("balance", "rows", "named"),
    [
        (Balance(("income",), shares={"high": 0.7, "low": 0.7}), 10, "sum to 1.4"),
        (Balance(("income",), shares={"high": 0.2, "low": 0.2}), 10, "sum to 0.4"),
        (Balance(("sex", "old"), shares={"F": 0.5}), 10, "several columns give a list"),
        (Balance(("income",), shares=[{"incme": "high", "share": 1.0}]), 10, "must name income"),
        (Balance(("income",), shares=[{"income": "high", "share": "half"}]), 10, "a share must be a number"),
        (Balance(("income",), shares=[{"income": "high"}]), 10, "a share must be a number"),
        (Balance(("income",), shares=[{"income": ["high", "low"], "share": 0.5}]), 10, "sum to 0.5"),
        (Balance(("income",), "additive", shares={"high": 1.0, "low": 0.0}), None, "removes no rows"),
        (Balance(("income",), "additive", shares=[{"income": ["high"], "share": 1.0}]), None, "single values"),
    ],
)
def test_shares_that_do_not_fit_are_refused(balance: Balance, rows: int | None, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        balanced(balance, COUNTS, rows)
