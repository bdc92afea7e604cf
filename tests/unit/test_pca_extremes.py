"""A column whose squares overflow is left out of the principal components; the others keep theirs."""

from __future__ import annotations

import numpy as np

from twinlake.evaluate.histograms import axes_of


def test_a_column_that_overflows_is_left_out() -> None:
    rows = np.array([[1.0, 2.0, 1e308], [2.0, 1.0, -1e308], [4.0, 3.0, 1e308], [3.0, 6.0, 1e308]])
    with np.errstate(over="ignore", invalid="ignore"):
        axes = axes_of(rows.sum(0), rows.T @ rows, 4.0, ["a", "b", "c"])

    assert axes is not None
    assert np.isfinite(axes.mean).all() and np.isfinite(axes.std).all()
    assert (axes.weights[2] == 0).all()
    # two standardized columns with correlation r have the components (1, 1) and (1, -1) over the square root of two
    assert np.allclose(np.abs(axes.weights[:2]), np.sqrt(0.5))
