"""A score that shuffled columns can't fool: how much of what real rows show does the twin show, beyond what is trivial?

Skill = 1 - (d - ceiling) / (trivial - ceiling), within [0, 1] (Murphy, "Skill scores based on the mean square error", Monthly
Weather Review 116, 1988). d: mean total variation between twin and train rows, at as many rows as the holdout has; ceiling:
that of the holdout rows; trivial: that of a table that knows nothing. For columns this is the uniform distribution over the
values that occur, for pairs and triples the product of the columns' own distributions, which shuffled columns have. So 1 is as
good as other real rows, 0 as good as nothing. The strict score is 100 times the geometric mean of the three: a twin that is
right in its columns and wrong in how they hang together gets 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from twinlake.evaluate.counters import Floats
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, TWIN_AT, row_counts
from twinlake.evaluate.joint import triple_counts
from twinlake.evaluate.metrics.fidelity import by_column, by_pair, total_variation
from twinlake.profile.counts import Counts, TokenCounts


def skill(distance: float, ceiling: float, trivial: float) -> float | None:
    """1 at the ceiling or below it, 0 at the trivial or above it; None where real rows are no better than the trivial."""
    if trivial <= ceiling:
        return None
    return float(np.clip(1.0 - (distance - ceiling) / (trivial - ceiling), 0.0, 1.0))


def _answer(distances: list[float], ceilings: list[float] | None, trivials: list[float], rows: int) -> Result:
    """Skill from the means over columns, pairs or triples; without a holdout the ceiling is a distance of 0."""
    distance, trivial = float(np.mean(distances)), float(np.mean(trivials))
    ceiling = float(np.mean(ceilings)) if ceilings else 0.0
    detail = {"distance": distance, "ceiling": ceiling, "trivial": trivial, "measured": len(distances), "n": rows}
    value = skill(distance, ceiling, trivial)
    if value is None:
        return not_computed("held-out rows are as far from the train rows as a table that knows nothing", **detail)
    return Result(value, None, 1.0 if ceilings else None, None, detail)


def column_skill(evidence: Evidence) -> Result:
    """Of single columns, beyond the uniform distribution over the bins that occur."""
    return _from_counts(evidence, _columns, "no column varies")


def pair_skill(evidence: Evidence) -> Result:
    """Of pairs of columns on coarse bins, beyond columns that know nothing of each other."""
    return _from_counts(evidence, _pairs, "fewer than two columns vary")


def _columns(real: TokenCounts, other: TokenCounts | None) -> list[float]:
    """Distances of single columns of `other`; of a table that knows nothing, where there is none."""
    if other is not None:
        return list(by_column(real, other).values())
    single = dict(zip(real.columns, real.single, strict=True))
    return [total_variation(single[c], (single[c] > 0).astype(np.float64)) or 0.0 for c in by_column(real, real)]


def _pairs(real: TokenCounts, other: TokenCounts | None) -> list[float]:
    """The same of pairs."""
    if other is not None:
        return list(by_pair(real, other).values())
    tables = dict(zip(real.pair_list(), real.pairs, strict=True))
    return [total_variation(tables[p], _product(tables[p])) or 0.0 for p in by_pair(real, real)]


Distances = Callable[[TokenCounts, TokenCounts | None], list[float]]


def _from_counts(evidence: Evidence, distances: Distances, nothing: str) -> Result:
    """At the holdout's number of rows where the twin was counted there."""
    real, twin, held = evidence.counts_real, evidence.counts_synthetic, evidence.counts_holdout
    at = evidence.counts_synthetic_at_holdout
    if real is None or twin is None:
        return not_computed("no token counts were given")
    if min(real.rows, twin.rows) == 0:
        return not_computed("one of the tables has no rows")
    fair = at if at is not None and at.rows else twin
    own = distances(real, fair)
    if not own:
        return not_computed(nothing)
    ceilings = distances(real, held) if held is not None and held.rows else None
    return _answer(own, ceilings, distances(real, None), fair.rows)


def _product(table: Counts | Floats) -> Floats:
    """What counts of this many columns would be on average if the columns knew nothing of each other."""
    out = np.ones(())
    for axis in range(table.ndim):
        others = tuple(a for a in range(table.ndim) if a != axis)
        out = np.multiply.outer(out, table.sum(others) / table.sum())
    return np.asarray(out)


def triple_skill(evidence: Evidence) -> Result:
    """Of triples of columns, beyond columns that know nothing of each other: 128 triples at most, chosen by the seed."""
    if min(row_counts(evidence).values()) == 0:
        return not_computed("one of the tables has no rows")
    sides = triple_counts(evidence)
    varies = [all((t.sum(tuple(a for a in range(3) if a != axis)) > 0).sum() > 1 for axis in range(3)) for t in sides[TRAIN]]
    chosen = np.flatnonzero(varies)
    if not len(chosen):
        return not_computed("fewer than three columns vary")
    twin = TWIN if evidence.holdout is None else TWIN_AT

    def distances(side: int) -> list[float]:
        return [total_variation(sides[TRAIN][t], sides[side][t]) or 0.0 for t in chosen]

    trivials = [total_variation(sides[TRAIN][t], _product(sides[TRAIN][t])) or 0.0 for t in chosen]
    ceilings = distances(HOLDOUT) if evidence.holdout is not None else None
    return _answer(distances(twin), ceilings, trivials, int(sides[twin][0].sum()))


def strict_score(evidence: Evidence) -> Result:
    """100 times the geometric mean of the skills that can be computed; column skill is among them always."""
    parts = {"columns": column_skill(evidence), "pairs": pair_skill(evidence), "triples": triple_skill(evidence)}
    known = {name: r.value for name, r in parts.items() if r.value is not None}
    if "pairs" not in known:
        return not_computed(f"pairs: {parts['pairs'].reason}")
    value = 100.0 * float(np.prod(list(known.values()))) ** (1.0 / len(known))
    reasons = {name: r.reason for name, r in parts.items() if r.reason is not None}
    return Result(value, None, 100.0 if parts["pairs"].reference else None, None, {"parts": known, "left_out": reasons})


SKILL = {
    "strict_score": Metric("strict_score", "Strict score, 0 for shuffled columns", "fidelity", "higher", strict_score),
    "column_skill": Metric("column_skill", "Columns, beyond the uniform", "fidelity", "higher", column_skill),
    "pair_skill": Metric("pair_skill", "Pairs, beyond independence", "fidelity", "higher", pair_skill),
    "triple_skill": Metric("triple_skill", "Triples, beyond independence", "fidelity", "higher", triple_skill),
}
