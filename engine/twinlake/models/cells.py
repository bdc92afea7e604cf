"""Cuts the values of a numeric column into single values and cells of about equal mass, none of fewer people than allowed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MAX_ATOMS = 128
MAX_CELLS = 2_048
MAX_SINGLE_BINS = 96
BINS = 64
ATOM_SHARE = 0.002


class Cells(NamedTuple):
    """Atoms and cells of a numeric column in domain units, each bin's first cell, and the rows of atoms and bins."""

    atoms: npt.NDArray[Any]
    low: npt.NDArray[Any]
    high: npt.NDArray[Any]
    bin_start: npt.NDArray[np.int64]
    atom_rows: npt.NDArray[np.float64]
    bin_rows: npt.NDArray[np.float64]


def cells_of(values: npt.NDArray[Any], weights: npt.NDArray[np.float64], people: int, most: int = MAX_CELLS) -> Cells:
    """Splits sorted distinct `values` with `weights` (rows) into atoms and at most `most` cells of about equal mass.

    Each atom and each cell holds at least `people` rows; the ends of the outer cells are the k-th smallest and largest
    of the values that are not atoms.
    """
    frequent = heavy(weights, people)
    rest = np.setdiff1d(np.arange(len(values)), frequent)
    atoms, atom_rows = values[frequent], weights[frequent]
    values, weights = values[rest], weights[rest]
    mass = weights.sum()
    if mass < people:
        return Cells(atoms, values[:0], values[:0], np.empty(0, np.int64), atom_rows, np.empty(0))
    middle = np.cumsum(weights) - weights / 2
    cell = np.unique(np.floor(middle / max(2.0 * people, mass / most)), return_inverse=True)[1]
    cell = _merged_small(cell, weights, people)
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    last = np.append(first[1:], len(cell)) - 1
    low, high = values[first].copy(), values[last].copy()
    low[0] = values[np.searchsorted(np.cumsum(weights), people)]
    high[-1] = values[len(values) - 1 - np.searchsorted(np.cumsum(weights[::-1]), people)]
    low[0], high[-1] = min(low[0], high[0]), max(low[-1], high[-1])
    rows = np.add.reduceat(weights, first)
    if len(low) <= MAX_SINGLE_BINS:
        return Cells(atoms, low, high, np.arange(len(low), dtype=np.int64), atom_rows, rows)
    bin_ = np.minimum(((np.cumsum(rows) - rows / 2) * BINS / mass).astype(np.int64), BINS - 1)
    starts = np.flatnonzero(np.diff(bin_, prepend=-1)).astype(np.int64)
    return Cells(atoms, low, high, starts, atom_rows, np.add.reduceat(rows, starts))


def heavy(weights: npt.NDArray[np.float64], people: int) -> npt.NDArray[np.int64]:
    """Which values get a token of their own, in order: at most MAX_ATOMS of those that many people hold."""
    least = people if len(weights) <= MAX_ATOMS else max(people, 20, ATOM_SHARE * weights.sum())
    frequent = np.flatnonzero(weights >= least)
    return np.sort(frequent[np.argsort(-weights[frequent], kind="stable")][:MAX_ATOMS])


def _merged_small(cell: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], people: int) -> npt.NDArray[np.int64]:
    """Cells with fewer than `people` rows join their left neighbour (the first its right one)."""
    mass = np.bincount(cell, weights=weights)
    target = np.arange(len(mass))
    held = 0.0
    current = 0
    for i, m in enumerate(mass):
        if held >= people and m >= people:
            current, held = i, 0.0
        target[i] = current
        held += m
    if held < people and current > 0:
        target[target == current] = target[current - 1]
    return np.unique(target[cell], return_inverse=True)[1]
