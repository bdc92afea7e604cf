"""Histograms of numbers and of principal components, binned the same way on both sides, and their distance.

Bin count after Doane ("Aesthetic frequency classifications", 1976) as numpy computes it, from the train rows' n, range
and skewness; the bins span the pooled range; 500 bins where the rule gives more. All rows are read, none collected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from twinlake.evaluate.counters import Floats, doubles, summed
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import TRAIN, all_sides
from twinlake.evaluate.joint import joint, numbers_of, power_sums
from twinlake.evaluate.passes import Coder, coder, facts, others, paired

MOST_BINS = 500
DENSITY = 40
Bins = dict[int, list[tuple[float, float, int]]]


def jensen_shannon(a: Floats, b: Floats) -> float | None:
    """The Jensen-Shannon distance (square root, base 2) of two count vectors; None when either is empty."""
    if a.sum() <= 0 or b.sum() <= 0:
        return None
    p, q = a / a.sum(), b / b.sum()
    m = (p + q) / 2
    left, right = p > 0, q > 0
    bits = (p[left] * np.log2(p[left] / m[left])).sum() + (q[right] * np.log2(q[right] / m[right])).sum()
    return float(np.sqrt(max(0.0, bits / 2)))


def doane_bins(n: float, std: float, skew: float, width: float, low: float, high: float, whole: bool = False) -> int:
    """How many bins `numpy.histogram_bin_edges(x, "doane", (low, high))` makes of n values spread over `width`."""
    step = 0.0
    if n > 2 and std > 0:
        error = np.sqrt(6.0 * (n - 2) / ((n + 1.0) * (n + 3)))
        step = width / (1.0 + np.log2(n) + np.log2(1.0 + abs(skew) / error))
    if whole and 0 < step < 1:
        # numpy never makes bins of whole numbers narrower than one.
        step = 1.0
    count = int(np.ceil((high - low) / step)) if step > 0 else 1
    return MOST_BINS if count + 1 > MOST_BINS else max(1, count)


def moments(power: Floats, column: int) -> tuple[float, float, float, float]:
    """n, mean, standard deviation and skewness from (n, sum z, sum z^2, sum z^3)."""
    n, one, two, three = (float(x) for x in power[:, column])
    if n <= 0:
        return 0.0, 0.0, 0.0, 0.0
    mean = one / n
    variance = max(0.0, two / n - mean**2)
    third = three / n - 3 * mean * two / n + 2 * mean**3
    std = float(np.sqrt(variance))
    return n, mean, std, third / std**3 if std > 1e-12 else 0.0


@dataclass(frozen=True)
class Axes:
    """The first two principal components of the train rows' standardized features."""

    mean: Floats
    std: Floats
    weights: Floats
    explained: Floats
    names: list[str]


def principal_axes(evidence: Evidence) -> Axes | None:
    """PCA(2) of the train rows from their distributed covariance; None with fewer than two columns that vary, or too many
    for pairs (ask for those of the `paired` evidence)."""
    return evidence.once("axes", _principal_axes) if paired(evidence) is evidence else None


def _principal_axes(evidence: Evidence) -> Axes | None:
    sums, n = joint(evidence)[TRAIN], float(facts(evidence).rows[TRAIN])
    return axes_of(sums["feature"], sums["outer"], n, [*evidence.numeric(), *evidence.categorical()])


def axes_of(feature: Floats, outer: Floats, n: float, names: list[str]) -> Axes | None:
    """PCA(2) from the sums of `n` rows' features [F] and of their outer products [F, F]; a column whose squares pass the
    range of floats is left out."""
    if n < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        mean = feature / n
        cover = outer / n - np.outer(mean, mean)
        std = np.sqrt(np.maximum(np.diag(cover), 0.0))
        varies = np.isfinite(std) & (std > 1e-9)
    if varies.sum() < 2:
        return None
    cover = cover[np.ix_(varies, varies)] / np.outer(std[varies], std[varies])
    values, vectors = np.linalg.eigh(cover)
    top = vectors[:, ::-1][:, :2]
    # A component's sign is arbitrary: fix it by its largest loading, so that runs agree.
    top = top * np.sign(top[np.abs(top).argmax(0), [0, 1]])
    weights = np.zeros((len(std), 2))
    weights[varies] = top
    return Axes(np.where(varies, mean, 0.0), np.where(varies, std, 1.0), weights, values[::-1][:2] / values.sum(), names)


def project(code: Coder, axes: Axes, batch: pa.RecordBatch) -> Floats:
    """The two components of each row."""
    features = code.features(code.numbers(batch), code.listed(batch))
    return np.asarray(((features - axes.mean) / axes.std) @ axes.weights)


@dataclass(frozen=True)
class Histograms:
    """Counts for each side compared with train: `own[s][c]` of side s and `train[s][c]` of train on the same bins.

    Columns are the numeric ones, then the two components where there are any. `density[s]` is the 2-D histogram of the
    components in a window of four train standard deviations.
    """

    own: dict[int, list[Floats]]
    train: dict[int, list[Floats]]
    density: dict[int, Floats]
    window: Floats


def histograms(evidence: Evidence) -> Histograms:
    """All histograms, in two passes: the components' ranges and skewness, then the counts."""
    return evidence.once("histograms", _histograms)


def _histograms(evidence: Evidence) -> Histograms:
    known, code, axes = facts(evidence), coder(evidence), principal_axes(evidence)
    frame, sides = all_sides(evidence) if axes is not None else numbers_of(evidence), others(evidence)
    whole = _whole_numbers(evidence)
    power = power_sums(evidence)
    bins: Bins = {s: [] for s in sides}
    for c, is_whole in enumerate(whole):
        n, _, std, skew = moments(power, c)
        width = known.high[TRAIN, c] - known.low[TRAIN, c]
        for s in sides:
            bins[s].append(_bins(known.low[:, c], known.high[:, c], s, n, std, skew, width, is_whole))
    window = np.zeros(2)
    if axes is not None:
        ranges = summed(frame, partial(range_step, code, axes), {"power": (4, 2), "max_ends": (2, 2)})
        high, low = (np.stack([r["max_ends"][i] for r in ranges]) for i in (0, 1))
        low, high = (np.where(np.isfinite(x), x, np.nan) for x in (-low, high))
        for c in range(2):
            n, _, std, skew = moments(ranges[TRAIN]["power"], c)
            window[c] = 4 * std or 1.0
            for s in sides:
                width = float(high[TRAIN, c] - low[TRAIN, c])
                bins[s].append(_bins(low[:, c], high[:, c], s, n, std, skew, width, False))
    shapes: dict[str, tuple[int, ...]] = {f"{s},{c}": (bins[s][c][2],) for s in sides for c in range(len(bins[s]))}
    if axes is not None:
        shapes["density"] = (DENSITY, DENSITY)
    got = summed(frame, partial(histogram_step, code, axes, bins, window), shapes) if shapes else [{}] * 4
    own = {s: [got[s][f"{s},{c}"] for c in range(len(bins[s]))] for s in sides}
    train = {s: [got[TRAIN][f"{s},{c}"] for c in range(len(bins[s]))] for s in sides}
    density = {s: got[s]["density"] for s in (TRAIN, *sides)} if axes is not None else {}
    return Histograms(own, train, density, window)


def _whole_numbers(evidence: Evidence) -> list[bool]:
    from pyspark.sql.types import IntegralType

    kinds = {f.name: f.dataType for f in evidence.real.schema.fields}
    return [isinstance(kinds[c], IntegralType) for c in evidence.numeric()]


def _bins(
    low: Floats, high: Floats, side: int, n: float, std: float, skew: float, width: float, whole: bool
) -> tuple[float, float, int]:
    ends = low[[TRAIN, side]], high[[TRAIN, side]]
    if not np.isfinite(ends[0]).any():
        return 0.0, 1.0, 1
    start, end = float(np.nanmin(ends[0])), float(np.nanmax(ends[1]))
    if start == end:
        return start - 0.5, end + 0.5, 1
    return start, end, doane_bins(n, std, skew, width, start, end, whole)


def range_step(code: Coder, axes: Axes, batch: pa.RecordBatch, side: int) -> Mapping[str, Floats]:
    """Power sums and both ends of the components of one batch."""
    z = project(code, axes, batch)
    power = np.stack([np.full(2, float(len(z))), z.sum(0), (z**2).sum(0), (z**3).sum(0)])
    return {"power": power, "max_ends": np.stack([z.max(0), -z.min(0)])}


def histogram_step(
    code: Coder, axes: Axes | None, bins: Bins, window: Floats, batch: pa.RecordBatch, side: int
) -> Mapping[str, Floats]:
    """The counts of one batch: its own side's bins, or every side's for train rows."""
    numbers = doubles(batch, [f"n{i}" for i in range(len(code.shift))])
    out = {}
    if axes is not None:
        z = project(code, axes, batch)
        numbers = np.column_stack([numbers, z])
        cell = np.floor((z / window + 1) / 2 * DENSITY).astype(np.int64)
        cell = cell[((cell >= 0) & (cell < DENSITY)).all(1)]
        flat = np.bincount(cell[:, 0] * DENSITY + cell[:, 1], minlength=DENSITY * DENSITY)
        out["density"] = flat.reshape(DENSITY, DENSITY).astype(np.float64)
    for s in bins if side == TRAIN else [side]:
        for c, (low, high, count) in enumerate(bins[s]):
            x = numbers[:, c]
            out[f"{s},{c}"] = np.histogram(x[~np.isnan(x)], count, (low, high))[0].astype(np.float64)
    return out
