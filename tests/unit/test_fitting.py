"""Atoms and cells by hand: who gets a token of their own, where cells end, and that few people never make one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinlake.models.cells import MAX_ATOMS, cells_of


def parts(values: list[float], weights: list[float], people: int) -> tuple[list[float], list[tuple[float, float]], list[int]]:
    cells = cells_of(np.array(values), np.array(weights, float), people)
    return (
        cells.atoms.tolist(),
        list(zip(cells.low.tolist(), cells.high.tolist(), strict=True)),
        cells.bin_start.tolist(),
    )


def test_heavy_values_are_atoms() -> None:
    assert parts([1, 2, 3], [5, 10, 20], 5) == ([1, 2, 3], [], [])


def test_too_few_for_a_cell_are_left_out() -> None:
    assert parts([1, 2, 3], [1, 2, 20], 5) == ([3], [], [])


def test_ends_are_the_kth_smallest_and_largest() -> None:
    # ten single values and k = 3: the range is 3..8 and one cell holds all ten rows
    atoms, cells, _ = parts(list(range(1, 11)), [1] * 10, 3)
    assert atoms == []
    assert cells[0][0] == 3 and cells[-1][1] == 8


def test_cells_are_ordered_and_share_the_rows() -> None:
    cells = cells_of(np.arange(1_000), np.ones(1_000), 10)
    assert len(cells.low) == 50  # twice k rows each
    assert cells.bin_rows.tolist() == [20.0] * 50
    assert cells.low[1:].tolist() == list(range(20, 1_000, 20))
    assert cells.high[:-1].tolist() == list(range(19, 980, 20))
    assert (cells.low[0], cells.high[-1]) == (9, 990)


def test_many_cells_are_grouped_into_64_bins() -> None:
    cells = cells_of(np.arange(100_000), np.ones(100_000), 10)
    assert len(cells.low) == 2_048 and len(cells.bin_start) == 64
    assert cells.bin_start[0] == 0 and (np.diff(cells.bin_start) == 32).all()
    assert cells.bin_rows.sum() == 100_000


def test_at_most_128_atoms_and_those_of_most_rows() -> None:
    cells = cells_of(np.arange(400), np.arange(400) + 1_000.0, 10)
    assert len(cells.atoms) == MAX_ATOMS
    assert cells.atoms.tolist() == list(range(272, 400))


@given(
    st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(1, 40)), min_size=1, max_size=300, unique_by=lambda p: p[0]),
    st.integers(2, 12),
)
@settings(deadline=None, max_examples=150)
def test_no_cell_and_no_atom_holds_fewer_than_k(pairs: list[tuple[int, int]], people: int) -> None:
    pairs = sorted(pairs)
    values, weights = np.array([v for v, _ in pairs]), np.array([w for _, w in pairs], float)
    cells = cells_of(values, weights, people)
    assert (cells.atom_rows >= people).all() and (cells.bin_rows >= people).all()
    assert (cells.low <= cells.high).all() and (cells.high[:-1] < cells.low[1:]).all()
    rest = weights[~np.isin(values, cells.atoms)].sum()
    assert cells.bin_rows.sum() == (rest if rest >= people else 0)


@pytest.mark.parametrize("people", [2, 10])
def test_nothing(people: int) -> None:
    assert parts([], [], people) == ([], [], [])
