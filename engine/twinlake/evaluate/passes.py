"""The facts of single columns that metrics share: ranges and moments of numbers, lists of categories.

Each pass runs once for all sides (train, holdout, twin, twin at the holdout's size) and is kept in `Evidence.memo`. They
know no scores: `metrics/` turns their sums into numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from twinlake.evaluate.counters import Floats, Ints, doubles
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, TWIN_AT, all_sides, cells_of, typed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Bools = npt.NDArray[np.bool_]
CATEGORY_CAP = 100
LISTED_CATEGORIES = 1000
CELL_BUDGET = 1 << 22
PAIRED = 128


@dataclass(frozen=True)
class Facts:
    """Of each side and numeric column: n, mean, std, least and greatest value; train medians where needed."""

    rows: Ints
    n: Floats
    mean: Floats
    std: Floats
    low: Floats
    high: Floats
    median: Floats

    def shift(self) -> Floats:
        """Train means, 0 where there is none: sums are taken around them, so that they don't cancel."""
        return np.asarray(np.nan_to_num(self.mean[TRAIN]))

    def scale(self) -> Floats:
        """Train standard deviations, 1 where a column does not vary."""
        std = self.std[TRAIN]
        return np.asarray(np.where(np.isfinite(std) & (std > 0), std, 1.0))


def facts(evidence: Evidence) -> Facts:
    """Counts, means, deviations and ranges by native aggregates."""
    return evidence.once("facts", _facts)


def _facts(evidence: Evidence) -> Facts:
    width = len(evidence.numeric())
    out = np.full((5, 4, width), np.nan)
    rows = np.zeros(4, dtype=np.int64)
    # The first cell of a row is a constant, so that a table without numbers has its rows counted.
    long = all_sides(evidence).select("side", cells_of([F.lit(0.0), *(F.col(f"n{i}") for i in range(width))]))
    wanted = [f("x").cast("double").alias(f.__name__) for f in (F.count, F.avg, F.stddev_pop, F.min, F.max)]
    for row in long.groupBy("side", "cell").agg(F.count(F.lit(1)).alias("rows"), *wanted).toArrow().to_pylist():
        side, cell = row.pop("side"), row.pop("cell")
        rows[side] = row.pop("rows")
        if cell:
            out[:, side, cell - 1] = [np.nan if x is None else x for x in row.values()]
    n, mean, std, low, high = out
    return Facts(rows, n, mean, std, low, high, _medians(evidence, (np.nan_to_num(n) < rows[:, None]).any(0)))


def _medians(evidence: Evidence, wanted: Bools) -> Floats:
    """Train medians of the columns that have a gap on some side: they fill gaps before the PCA and nothing else.

    Exact up to about 100,000 distinct values; beyond that off by at most 1e-5 in rank.
    """
    out, columns = np.full(len(wanted), np.nan), np.flatnonzero(wanted)
    if len(columns):
        long = typed(evidence.real, evidence).select(cells_of(F.col(f"n{i}") for i in columns))
        median = F.percentile_approx("x", 0.5, 100_000).alias("median")
        for row in long.groupBy("cell").agg(median).toArrow().to_pylist():
            out[columns[row["cell"]]] = np.nan if row["median"] is None else row["median"]
    return out


@dataclass(frozen=True)
class Categories:
    """Of each categorical column: its most frequent train values, their counts, and the divergence of all values.

    `distance[side][c]` is the Jensen-Shannon distance of all values of column c, missing included, between train and
    that side; NaN where a side has no rows.
    """

    values: list[list[str]]
    counts: list[Floats]
    distance: Floats
    nulls: Floats
    cap: int


def categories(evidence: Evidence) -> Categories:
    """Value counts by one native groupBy; at most 1,000 values a column come back."""
    return evidence.once("categories", _categories)


def _categories(evidence: Evidence) -> Categories:
    width = len(evidence.categorical())
    # So that the tables of all pairs stay within CELL_BUDGET cells in each task.
    cap = min(CATEGORY_CAP, max(4, int((2 * CELL_BUDGET) ** 0.5 / max(width, 1)) - 2))
    values: list[list[str]] = [[] for _ in range(width)]
    counts: list[list[float]] = [[] for _ in range(width)]
    distance = np.full((4, width), np.nan)
    if not width:
        return Categories(values, [], distance, np.zeros(0), cap)
    total = facts(evidence).rows
    nulls = np.zeros(width)
    table = _value_counts(evidence, width)
    share = [F.col(f"k{s}") / int(total[s] or 1) for s in range(4)]
    column = Window.partitionBy("i")
    listed = F.col("v").isNotNull() & (F.col(f"k{TRAIN}") > 0)
    order = column.orderBy(F.desc(listed), F.desc(f"k{TRAIN}"), "v")
    missing = F.sum(F.when(F.col("v").isNull(), F.col(f"k{TRAIN}")).otherwise(0)).over(column).alias("nulls")
    terms = [F.sum(_divergence(share[TRAIN], share[s])).over(column).alias(f"d{s}") for s in range(4)]
    kept = (F.col("rank") <= LISTED_CATEGORIES) & (listed | (F.col("rank") == 1))
    ranked = table.select("i", "v", f"k{TRAIN}", F.row_number().over(order).alias("rank"), missing, *terms).where(kept)
    # The first row of a column brings its sums, whether its value is one to list or not.
    for row in sorted(ranked.toArrow().to_pylist(), key=lambda row: (row["i"], row["rank"])):
        i = row["i"]
        if row["rank"] == 1:
            nulls[i] = row["nulls"]
            compared = [s for s in range(4) if total[TRAIN] and total[s]]
            distance[compared, i] = [np.sqrt(max(0.0, row[f"d{s}"])) for s in compared]
        if row["v"] is not None and row[f"k{TRAIN}"]:
            values[i].append(row["v"])
            counts[i].append(float(row[f"k{TRAIN}"]))
    return Categories(values, [np.array(n) for n in counts], distance, nulls, cap)


def _value_counts(evidence: Evidence, width: int) -> DataFrame:
    """Of each categorical column `i` and value `v`: how many rows of each side have it, `k0` to `k3`."""
    cells = F.posexplode(F.array(*[F.col(f"s{i}") for i in range(width)])).alias("i", "v")
    sides = [F.sum((F.col("side") == s).cast("long")).alias(f"k{s}") for s in range(4)]
    return all_sides(evidence).select("side", cells).groupBy("i", "v").agg(*sides)


def _divergence(p: Any, q: Any) -> Any:
    """One value's part of the Jensen-Shannon divergence in bits."""
    middle = (p + q) / 2
    left = F.when(p > 0, p * F.log2(p / middle)).otherwise(0.0)
    right = F.when(q > 0, q * F.log2(q / middle)).otherwise(0.0)
    return (left + right) / 2


@dataclass(frozen=True)
class Coder:
    """How tasks read a batch: standardized numbers, category codes, and the features of the PCA."""

    shift: Floats
    scale: Floats
    fill: Floats
    values: list[list[str]]
    shares: list[Floats]
    cap: int

    def numbers(self, batch: pa.RecordBatch) -> Floats:
        """(x - train mean) / train std, missing as NaN."""
        return (doubles(batch, [f"n{i}" for i in range(len(self.shift))]) - self.shift) / self.scale

    def width(self, c: int) -> int:
        """Codes of categorical column c: the listed values up to the cap, other, missing."""
        return min(len(self.values[c]), self.cap) + 2

    def listed(self, batch: pa.RecordBatch) -> list[Ints]:
        """Of each categorical column: the position of each row's value among the listed ones, their number if it is none of
        them, and one more where it is missing."""
        out = []
        for c, values in enumerate(self.values):
            column = batch.column(f"s{c}")
            found = pc.index_in(column, value_set=pa.array(values, column.type), skip_nulls=True)
            places = pc.fill_null(found, len(values)).to_numpy(zero_copy_only=False).astype(np.int64)
            if column.null_count:
                places[column.is_null().to_numpy(zero_copy_only=False)] = len(values) + 1
            out.append(places)
        return out

    def codes(self, listed: list[Ints]) -> list[Ints]:
        """The code of each row in each categorical column: see `width`."""
        return [recoded(len(values), self.width(c) - 2).take(listed[c]) for c, values in enumerate(self.values)]

    def features(self, numbers: Floats, listed: list[Ints]) -> Floats:
        """Numbers with missing ones at the train median, then categories as their train share (unseen: 0)."""
        shares = [share.take(found) for share, found in zip(self.shares, listed, strict=True)]
        return np.column_stack([np.where(np.isnan(numbers), self.fill, numbers), *shares])


def recoded(listed: int, most: int) -> Ints:
    """What becomes of the positions of `Coder.listed` where the first `most` values are kept apart: theirs, `most` for any
    other value, one more for missing. [listed + 2], int64."""
    return np.array([*np.minimum(np.arange(listed), most), most, most + 1])


def coder(evidence: Evidence) -> Coder:
    """The coder fitted on the train rows."""
    known, listed = facts(evidence), categories(evidence)
    total = max(1, int(known.rows[TRAIN]))
    # A share for each listed value, then 0 for any other, then that of missing.
    shares = [np.array([*n, 0.0, missing]) / total for n, missing in zip(listed.counts, listed.nulls, strict=True)]
    fill = np.nan_to_num((known.median - known.shift()) / known.scale())
    return Coder(known.shift(), known.scale(), fill, listed.values, shares, listed.cap)


def paired(evidence: Evidence) -> Evidence:
    """What is measured on pairs of columns looks at PAIRED columns at most, evenly taken in table order: all pairs of a
    thousand columns would be tens of millions of cells in each task."""
    measured = [c for c in evidence.columns if c in {*evidence.numeric(), *evidence.categorical()}]
    if len(measured) <= PAIRED:
        return evidence
    chosen = tuple(measured[i * len(measured) // PAIRED] for i in range(PAIRED))
    return evidence.once("paired", lambda whole: replace(whole, columns=chosen, memo={}))


def others(evidence: Evidence) -> list[int]:
    """The sides that are compared with train."""
    return [TWIN] if evidence.holdout is None else [HOLDOUT, TWIN, TWIN_AT]
