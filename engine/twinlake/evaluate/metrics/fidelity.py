"""Total variation between the bins of the twin and of the train rows, for columns and for pairs of columns.

TV(p, q) = 0.5 * sum |p - q|, in [0, 1], 0 when equal. It is biased upward in small samples, so the holdout's own value
stands beside it. Works on token counts alone and reads no table.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twinlake.evaluate.counters import Floats
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.profile.counts import Counts, TokenCounts

WORST = 10


def total_variation(a: Counts | Floats, b: Counts | Floats) -> float | None:
    """0.5 * sum |a / sum(a) - b / sum(b)|; None when either side is empty."""
    if a.sum() == 0 or b.sum() == 0:
        return None
    return float(0.5 * np.abs(a / a.sum() - b / b.sum()).sum())


def by_column(a: TokenCounts, b: TokenCounts) -> dict[str, float]:
    """The total variation of each column that varies in `a` (a constant column is right by construction: no news)."""
    sides = zip(a.columns, a.single, b.single, strict=True)
    values = {c: total_variation(x, y) for c, x, y in sides if (x > 0).sum() > 1}
    return {c: v for c, v in values.items() if v is not None}


def by_pair(a: TokenCounts, b: TokenCounts) -> dict[tuple[int, int], float]:
    """The total variation of each pair of columns that vary in `a`, on coarse bins."""
    varies = [(x > 0).sum() > 1 for x in a.single]
    sides = zip(a.pair_list(), a.pairs, b.pairs, strict=True)
    values = {p: total_variation(x, y) for p, x, y in sides if varies[p[0]] and varies[p[1]]}
    return {p: v for p, v in values.items() if v is not None}


def univariate_tv(evidence: Evidence) -> Result:
    """The mean over columns of the total variation of their bins."""
    return _summary(evidence, pairs=False)


def bivariate_tv(evidence: Evidence) -> Result:
    """The mean over unordered column pairs of the total variation of their coarse joint bins."""
    return _summary(evidence, pairs=True)


def _distances(a: TokenCounts, b: TokenCounts, pairs: bool) -> dict[tuple[str, ...], float]:
    a.check_same_bins(b)
    if pairs:
        return {(a.columns[i], a.columns[j]): v for (i, j), v in by_pair(a, b).items()}
    return {(c,): v for c, v in by_column(a, b).items()}


def _mean(values: dict[tuple[str, ...], float]) -> float | None:
    return float(np.mean(list(values.values()))) if values else None


def _summary(evidence: Evidence, pairs: bool) -> Result:
    real, twin = evidence.counts_real, evidence.counts_synthetic
    if real is None or twin is None:
        return not_computed("no token counts were given")
    if real.rows == 0 or twin.rows == 0:
        return not_computed("one of the tables has no rows")
    values = _distances(real, twin, pairs)
    if not values:
        return not_computed("fewer than two columns vary" if pairs else "no column varies")
    same, at = evidence.counts_holdout, evidence.counts_synthetic_at_holdout
    floor = _distances(real, same, pairs) if same is not None and same.rows else {}
    fair = _distances(real, at, pairs) if at is not None and at.rows else {}
    worst = sorted(values.items(), key=lambda item: (-item[1], item[0]))[:WORST]
    detail: dict[str, Any] = {
        "n": twin.rows,
        "n_reference": same.rows if same is not None else None,
        "at_reference_n": _mean(fair),
        "worst": [{"columns": list(c), "tv": v, "at_reference_n": fair.get(c), "reference": floor.get(c)} for c, v in worst],
        "measured": len(values),
    }
    if not pairs:
        detail["each"] = {c[0]: v for c, v in values.items()}
    return Result(_mean(values), None, _mean(floor), None, detail)


FIDELITY = {
    "univariate_tv": Metric("univariate_tv", "Column distributions", "fidelity", "lower", univariate_tv),
    "bivariate_tv": Metric("bivariate_tv", "Column pairs", "fidelity", "lower", bivariate_tv),
}
