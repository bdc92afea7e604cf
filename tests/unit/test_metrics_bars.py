"""What the report's small plots show of token counts."""

from __future__ import annotations

import numpy as np
import pytest

from twinlake.evaluate.bars import column_bars
from twinlake.profile.counts import TokenCounts


def one(labels: tuple[str, ...], held: list[int]) -> TokenCounts:
    coarse = (np.arange(len(labels), dtype=np.uint8),)
    return TokenCounts(sum(held), ("x",), (np.array(held),), coarse, np.zeros((0, 16, 16), np.int64), (labels,))


def test_ranges_become_bins_of_whole_numbers() -> None:
    labels = ("null", "3", "0 .. 2", "4 .. 5", "(rare)")
    got = column_bars(one(labels, [40, 20, 30, 10, 0]), one(labels, [0, 50, 30, 20, 0]), 0, 5)
    assert got.edges is not None
    assert got.edges.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert got.real.tolist() == pytest.approx([0.1, 0.1, 0.1, 0.2, 0.05, 0.05])
    assert got.note == "no number: real 40.0%, twin 0.0%"


def test_dates_are_dates() -> None:
    labels = ("2020-01-01 .. 2020-03-01", "2020-03-02 .. 2021-01-01")
    got = column_bars(one(labels, [50, 50]), one(labels, [80, 20]), 0, 1)
    assert got.dates
    assert got.edges is not None
    assert (got.edges[0], got.edges[-1]) == (18262.0, 18628.0)


def test_a_bar_of_few_people_is_left_out() -> None:
    labels = ("Rome", "Oslo", "Bern", "rare")
    got = column_bars(one(labels, [60, 37, 0, 3]), one(labels, [60, 20, 20, 0]), 0, 10)
    assert got.names == ["Rome", "Oslo", "2 more"]
    assert np.isnan(got.real[2])


def test_large_numbers_that_share_a_label_are_one_bar() -> None:
    """Nanoseconds of one hour: six digits do not tell them apart, and 1.7e18 + 1 is the same float."""
    labels = ("1.7e+18 .. 1.7e+18",) * 65
    got = column_bars(one(labels, [2] * 65), one(labels, [1] * 65), 0, 1)
    assert got.edges is not None and (np.diff(got.edges) > 0).all()
    assert got.real.tolist() == [1.0] + [0.0] * (len(got.real) - 1) == got.twin.tolist()
