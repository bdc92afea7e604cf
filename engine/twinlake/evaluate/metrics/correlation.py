"""Associations of column pairs, from joint sums: Pearson r, correlation ratio, Cramer's V and Theil's U.

Number with number: Pearson r over rows where both are present. Category with number: the correlation ratio eta.
Category with category: Cramer's V with Bergsma's correction ("A bias-correction for Cramer's V", 2013) in the headline
matrix, Theil's U in the score (see `score`). Missing is a category of its own. A column keeps its 100 most frequent
train values (fewer above some 28 categorical columns), the rest is "other". It does not see how three columns hang
together. Of more than 128 columns as many are looked at (`paired`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twinlake.evaluate.counters import Floats
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, TWIN_AT
from twinlake.evaluate.joint import joint
from twinlake.evaluate.passes import categories, facts, paired

WORST = 10


def pearson(pairs: Floats) -> Floats:
    """r of each pair of numbers from (n, sum x, sum x^2, sum xy) over rows where both are present; NaN if undefined."""
    n, x, xx, xy = pairs
    cover = n * xy - x * x.T
    spread = np.sqrt(np.maximum(n * xx - x * x, 0.0))
    # What rounding leaves of a constant column is not a spread.
    spread = np.where(spread > 1e-7 * np.sqrt(np.maximum(n * xx, 1e-300)), spread, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread * spread.T > 0, np.clip(cover / (spread * spread.T), -1, 1), np.nan))


def correlation_ratio(group: Floats) -> Floats:
    """eta of one category with each number, from (n, sum x, sum x^2) for each code; NaN if the number does not vary."""
    n, x, xx = group
    total = n.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = x.sum(0) / total
        all_squares = xx.sum(0) - total * mean**2
        between = np.where(n > 0, n * (x / n - mean) ** 2, 0.0).sum(0)
        eta = np.sqrt(np.clip(between / all_squares, 0.0, 1.0))
    return np.asarray(np.where(all_squares > 1e-12 * np.maximum(xx.sum(0), 1e-300), eta, np.nan))


def cramers_v(table: Floats) -> float:
    """Bias-corrected Cramer's V of a contingency table; NaN if one of the two does not vary."""
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    n, (r, k) = table.sum(), table.shape
    if min(r, k) < 2:
        return float("nan")
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / n
    phi = max(0.0, ((table - expected) ** 2 / expected).sum() / n - (k - 1) * (r - 1) / (n - 1))
    rows, columns = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return float(np.sqrt(phi / max(1e-12, min(rows - 1, columns - 1))))


def theils_u(table: Floats) -> float:
    """U(row | column) = (H(row) - H(row | column)) / H(row); NaN if the row variable does not vary."""
    p = table / max(table.sum(), 1)
    row, column = p.sum(1), p.sum(0)
    own = -float((row[row > 0] * np.log(row[row > 0])).sum())
    if own <= 0:
        return float("nan")
    i, j = np.nonzero(p)
    given = -float((p[i, j] * np.log(p[i, j] / column[j])).sum())
    return (own - given) / own


def association_matrix(evidence: Evidence, side: int, score: bool = False) -> Floats:
    """The association of all pairs of numeric, then categorical columns; NaN where undefined.

    `score` takes Theil's U (asymmetric: the row given the column) for pairs of categories instead of Cramer's V.
    """
    sums = joint(evidence)[side]
    n, c = len(evidence.numeric()), len(evidence.categorical())
    out = np.full((n + c, n + c), np.nan)
    out[:n, :n] = pearson(sums["pairs"])
    for a in range(c):
        out[n + a, :n] = out[:n, n + a] = correlation_ratio(sums[f"group{a}"])
        varies = (sums[f"group{a}"][0] > 0).any(1).sum() > 1 if n else True
        if not varies:
            out[n + a, :n] = out[:n, n + a] = np.nan
        for b in range(a + 1, c):
            table = sums[f"table{a},{b}"]
            if score:
                out[n + a, n + b], out[n + b, n + a] = theils_u(table), theils_u(table.T)
            else:
                out[n + a, n + b] = out[n + b, n + a] = cramers_v(table)
    return out


def difference(real: Floats, other: Floats) -> Floats:
    """|real - other| of the pairs i < j that are defined in `real`; a pair undefined in `other` counts as 0 there."""
    upper = np.triu(np.isfinite(real), 1)
    return np.asarray(np.where(upper, np.abs(real - np.nan_to_num(other)), np.nan))


def association(evidence: Evidence) -> Result:
    """The mean |association in train - association in the twin| over unordered column pairs."""
    return _compare(evidence, numbers_only=False)


def pearson_difference(evidence: Evidence) -> Result:
    """The mean |r in train - r in the twin| over unordered pairs of numeric columns."""
    return _compare(evidence, numbers_only=True)


def _mean(values: Floats) -> float | None:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else None


def _compare(evidence: Evidence, numbers_only: bool) -> Result:
    evidence = paired(evidence)
    rows = facts(evidence).rows
    if rows[TRAIN] < 2 or rows[TWIN] < 2:
        return not_computed("one of the tables has fewer than two rows")
    names = evidence.numeric() + ([] if numbers_only else evidence.categorical())
    if len(names) < 2:
        return not_computed(f"fewer than two {'numeric ' if numbers_only else ''}columns")
    held = len(names)
    sides = [TRAIN, TWIN] if evidence.holdout is None else [TRAIN, HOLDOUT, TWIN, TWIN_AT]
    matrix = {s: association_matrix(evidence, s)[:held, :held] for s in sides if rows[s] > 1}
    for square in matrix.values():
        # A column with itself is no news.
        np.fill_diagonal(square, np.nan)
    gap = {s: difference(matrix[TRAIN], matrix[s]) for s in matrix if s != TRAIN}
    value = _mean(gap[TWIN])
    if value is None:
        return not_computed("no two columns vary together: every pair has a constant or empty column")
    reference = _mean(gap[HOLDOUT]) if HOLDOUT in gap else None
    flat = sorted(((-v, i, j) for (i, j), v in np.ndenumerate(gap[TWIN]) if np.isfinite(v)))[:WORST]
    detail: dict[str, Any] = {
        "n": int(rows[TWIN]),
        "n_reference": int(rows[HOLDOUT]) if HOLDOUT in gap else None,
        "at_reference_n": _mean(gap[TWIN_AT]) if TWIN_AT in gap else None,
        "worst": [
            {
                "columns": [names[i], names[j]],
                "real": _json(matrix[TRAIN][i, j]),
                "twin": _json(matrix[TWIN][i, j]),
                "difference": -v,
                "reference": _json(gap[HOLDOUT][i, j]) if HOLDOUT in gap else None,
            }
            for v, i, j in flat
        ],
        "category_cap": categories(evidence).cap,
    }
    if not numbers_only:
        order = [names.index(c) for c in evidence.columns if c in names]
        detail["columns"] = [names[i] for i in order]
        for title, side in (("real", TRAIN), ("twin", TWIN)):
            detail[title] = [[_json(x) for x in row] for row in matrix[side][np.ix_(order, order)]]
    return Result(value, None, reference, None, detail)


def _json(x: Any) -> float | None:
    return round(float(x), 6) if np.isfinite(x) else None


CORRELATION = {
    "association": Metric("association", "Associations of column pairs", "correlation", "lower", association),
    "pearson": Metric("pearson", "Linear correlation of numbers", "correlation", "lower", pearson_difference),
}
