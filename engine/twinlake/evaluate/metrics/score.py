"""The quality score (SQS) and its parts: field distributions (FDS), field correlations (FCS), deep structure (PCS); of tables
with free text also its structure and its words (see `texts`).

Formulas of NSS 0.1.16 (Apache-2.0), the successor of Gretel's report, on all rows instead of 5,000:
FDS from the mean Jensen-Shannon distance d of the columns, FCS from the mean absolute difference e of the square
association matrices (diagonal included, constant columns zero), PCS from the mean distance s of two components.
Departures: a column that is neither number nor category is left out, where NSS counts it as a perfect one; a category
with a number is always a correlation ratio. Two components see little of a wide table, so trust `association` and
`bivariate_tv` first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from twinlake.evaluate.counters import Floats
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, TWIN_AT
from twinlake.evaluate.histograms import histograms, jensen_shannon, principal_axes
from twinlake.evaluate.metrics.correlation import association_matrix
from twinlake.evaluate.passes import categories, facts, others, paired

ONE_SIDE_EMPTY = 0.5887
TABULAR = {"deep_structure": 0.84, "field_distribution": 0.86, "field_correlation": 1.0}
OF_TEXTS = {"text_semantics": 0.7, "text_structure": 0.3}
GRADES = ((80.0, "Excellent"), (60.0, "Very Good"), (40.0, "Good"), (20.0, "Moderate"), (-1.0, "Poor"))


def field_distribution_score(d: float) -> float:
    """FDS in 0..10 of a mean Jensen-Shannon distance."""
    return 0.0 if d > 0.99 else 10.0 if d < 0.02 else _clip(7.44 * d * d - 16.646 * d + 10.305)


def field_correlation_score(e: float) -> float:
    """FCS in 0..10 of a mean absolute difference of associations."""
    return 0.0 if e > 0.46 else 10.0 if e < 0.01 else _clip(37.562 * e * e - 35.643 * e + 10.056)


def deep_structure_score(s: float) -> float:
    """PCS in 0..10 of a mean Jensen-Shannon distance of principal components."""
    return 10.0 * math.exp(-1.6 * s)


def quality_score(parts: Mapping[str, float | None], tabular: int = 1, texts: int = 0) -> float | None:
    """10 * SQS, in 0..100: the weighted means of the TABULAR parts and of those OF_TEXTS, each counted as often as there are
    such columns (`tabular`, `texts`). What could not be computed is not averaged in; None where nothing could be.
    """
    means = [(_weighted(parts, TABULAR), tabular), (_weighted(parts, OF_TEXTS), texts)]
    known = [(mean, columns) for mean, columns in means if mean is not None and columns]
    return 10 * sum(mean * n for mean, n in known) / sum(n for _, n in known) if known else None


def _weighted(parts: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    present = {name: value for name in weights if (value := parts.get(name)) is not None}
    return sum(weights[n] * v for n, v in present.items()) / sum(weights[n] for n in present) if present else None


def grade(score: float | None) -> str:
    """The word for a score of 0..100."""
    return "not computed" if score is None else next(word for least, word in GRADES if score >= least)


def _clip(value: float) -> float:
    return min(10.0, max(0.0, value))


def _scored(distance: dict[int, float | None], score: object, evidence: Evidence, **more: object) -> Result:
    assert callable(score)
    rows = facts(evidence).rows
    value = distance[TWIN]
    if value is None:
        return not_computed("no column could be compared")
    floor, at = distance.get(HOLDOUT), distance.get(TWIN_AT)
    detail = {
        "distance": value,
        "distance_reference": floor,
        "n": int(rows[TWIN]),
        "n_reference": int(rows[HOLDOUT]) if floor is not None else None,
        "at_reference_n": score(at) if at is not None else None,
        **more,
    }
    return Result(score(value), None, score(floor) if floor is not None else None, None, detail)


def _empty(evidence: Evidence) -> Result | None:
    rows = facts(evidence).rows
    if rows[TRAIN] < 2 or rows[TWIN] < 2:
        return not_computed("one of the tables has fewer than two rows")
    return None


def column_distances(evidence: Evidence, side: int) -> dict[str, float]:
    """The Jensen-Shannon distance of each column that has values in train; 0.5887 where the other side has none."""
    seen, out = histograms(evidence), {}
    for c, name in enumerate(evidence.numeric()):
        a, b = seen.train[side][c], seen.own[side][c]
        d = jensen_shannon(a, b)
        if a.sum() > 0:
            out[name] = ONE_SIDE_EMPTY if d is None else d
    for c, name in enumerate(evidence.categorical()):
        d = float(categories(evidence).distance[side, c])
        if np.isfinite(d):
            out[name] = d
    return out


def field_distribution(evidence: Evidence) -> Result:
    """FDS over all modelled numbers and categories."""
    if (none := _empty(evidence)) is not None:
        return none
    rows = facts(evidence).rows
    each = {s: column_distances(evidence, s) for s in others(evidence) if rows[s] > 1}
    mean = {s: float(np.mean(list(v.values()))) if v else None for s, v in each.items()}
    return _scored(mean, field_distribution_score, evidence, each=each[TWIN])


def field_correlation(evidence: Evidence) -> Result:
    """FCS over the square matrix, with Theil's U between categories."""
    evidence = paired(evidence)
    if (none := _empty(evidence)) is not None:
        return none
    if len(evidence.numeric()) + len(evidence.categorical()) < 2:
        return not_computed("fewer than two columns")
    rows = facts(evidence).rows

    def square(side: int) -> Floats:
        out = np.nan_to_num(association_matrix(evidence, side, score=True))
        np.fill_diagonal(out, 1.0)
        return out

    real = square(TRAIN)
    if not (real - np.eye(len(real))).any():
        return not_computed("no two columns vary together in the train rows")
    gap = {s: np.abs(real - square(s)) for s in others(evidence) if rows[s] > 1}
    mean: dict[int, float | None] = {s: float(g.mean()) for s, g in gap.items()}
    size = len(real)
    off = float(gap[TWIN].sum() / (size * (size - 1)))
    return _scored(mean, field_correlation_score, evidence, off_diagonal=off)


def deep_structure(evidence: Evidence) -> Result:
    """PCS of the first two components of the train rows."""
    evidence = paired(evidence)
    if (none := _empty(evidence)) is not None:
        return none
    axes = principal_axes(evidence)
    if axes is None:
        return not_computed("fewer than two columns vary in the train rows")
    seen, rows, first = histograms(evidence), facts(evidence).rows, len(evidence.numeric())
    mean: dict[int, float | None] = {}
    for side in others(evidence):
        pairs = zip(seen.train[side][first:], seen.own[side][first:], strict=True)
        distances = [jensen_shannon(a, b) for a, b in pairs] if rows[side] > 1 else [None]
        defined = [d for d in distances if d is not None]
        mean[side] = float(np.mean(defined)) if defined else None
    density = {
        name: np.where(seen.density[s] >= evidence.k, seen.density[s], 0).astype(int).tolist()
        for name, s in (("real", TRAIN), ("twin", TWIN))
    }
    loadings = [
        [[axes.names[i], round(float(axes.weights[i, c]), 4)] for i in np.argsort(-np.abs(axes.weights[:, c]))[:5]]
        for c in range(2)
    ]
    more = {
        "density": density,
        "window": seen.window.tolist(),
        "explained": axes.explained.tolist(),
        "loadings": loadings,
        "suppressed_below": evidence.k,
    }
    return _scored(mean, deep_structure_score, evidence, **more)


SCORE = {
    "field_distribution": Metric("field_distribution", "Field distributions (FDS)", "fidelity", "higher", field_distribution),
    "field_correlation": Metric("field_correlation", "Field correlations (FCS)", "correlation", "higher", field_correlation),
    "deep_structure": Metric("deep_structure", "Deep structure (PCS)", "structure", "higher", deep_structure),
}
