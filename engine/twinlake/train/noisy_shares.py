"""Shares from noisy counts. Pure functions of noisy answers: nothing here costs any budget."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROUNDS = 20
Floats = npt.NDArray[np.float64]


def shares_near(noisy: Floats) -> Floats:
    """The shares nearest to noisy counts: the same amount less for each, none below zero (Euclidean projection on the simplex,
    of the sum that the counts have)."""
    total = max(1.0, float(noisy.sum()))
    ranked = np.sort(noisy.ravel())[::-1]
    over = (ranked.cumsum() - total) / np.arange(1, noisy.size + 1)
    least = over[np.flatnonzero(ranked > over)[-1]]
    return np.asarray(np.maximum(noisy - least, 0.0) / total)


def fitted(noisy: Floats, rows: Floats, columns: Floats) -> Floats:
    """The shares of a noisy table, brought to the shares of single columns, which were measured with less noise (iterative
    proportional fitting)."""
    table = shares_near(noisy) + 1e-3 * np.outer(rows, columns)
    for _ in range(ROUNDS):
        table *= (rows / np.maximum(table.sum(axis=1), 1e-300))[:, None]
        table *= (columns / np.maximum(table.sum(axis=0), 1e-300))[None]
    return np.asarray(table / table.sum())


def shrunk(noisy: Floats, expected: Floats, variance: float) -> Floats:
    """Noisy counts drawn to those `expected` by as much as their distance may be noise of `variance` a cell: where it is no
    farther than noise is, nothing of it is left (the positive part of the estimator of James and Stein 1961)."""
    apart = noisy - expected
    square = float((apart**2).sum())
    return np.asarray(expected + max(0.0, 1.0 - variance * apart.size / max(square, 1e-300)) * apart)
