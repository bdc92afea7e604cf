"""Statistics of every column of a table in one distributed pass, handed to a function that runs where they are merged.

`summarize` makes partial statistics on executors (profile/partials.py), merges those of each column in a task of its
own and applies `finish` there, so that only what `finish` returns (a profile entry, a fitted codec) reaches the driver.
Knows nothing of what is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.profile.partials import (
    FORMATS,
    MINIMA,
    Limits,
    Numbers,
    collect,
    largest,
    merge_moments,
    packed,
    smallest,
    unpacked,
)
from twinlake.profile.repeats import Aside, Repeats, replayed, single_train_rows
from twinlake.tables.split import HOLDOUT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WHOLE = ("tinyint", "smallint", "int", "bigint", "date", "timestamp", "timestamp_ntz")
PARTIAL_DDL = "column int, partial binary"
MERGED_DDL = "column int, payload string"
SAMPLE_CELLS = 3_000_000


@dataclass(frozen=True)
class ColumnStatistics:
    """All that a pass learned of one column. Holds raw values: never published as it is.

    `counts` maps values (canonical text) to their rows, most frequent first, and is complete if `uncounted` is 0.
    `low` and `high` are the k smallest (ascending) and k largest (descending) finite numbers, integers and times
    exactly. `sample` holds the texts of non-null values of rows chosen by key, in key order; `share` is the share of
    rows chosen.
    """

    name: str
    type: str
    nullable: bool
    rows: int
    nulls: int
    nan: int
    plus: int
    minus: int
    mean: float | None
    std: float | None
    length_min: int | None
    length_max: int | None
    length_mean: float | None
    spaces_mean: float
    formats: dict[str, float]
    distinct: int
    distinct_exact: bool
    low: Numbers
    high: Numbers
    counts: dict[str, int]
    uncounted: int
    sample: tuple[str, ...]
    share: float
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def non_null(self) -> int:
        """Rows that hold a value."""
        return self.rows - self.nulls


@dataclass(frozen=True)
class Column:
    """Name and Spark type (simple string) of a column, and whatever `finish` wants to know of it."""

    name: str
    type: str
    nullable: bool
    extra: dict[str, Any] = field(default_factory=dict)


Finish = Callable[[ColumnStatistics], str]
Batches = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def columns_of(df: DataFrame) -> tuple[Column, ...]:
    """The columns of a frame as `summarize` wants them."""
    return tuple(Column(f.name, f.dataType.simpleString(), f.nullable) for f in df.schema.fields)


def limits_for(rows: int, columns: int, people: int, seed: int, sample: int, values: int) -> Limits:
    """Limits that keep memory bounded: `sample` rows and `values` counted values at most, fewer for a wide table."""
    sample = max(2_000, min(sample, SAMPLE_CELLS // max(1, columns)))
    values = max(1_000, min(values, 4 * SAMPLE_CELLS // max(1, columns)))
    return Limits(values, min(values, 4_096), people, min(1.0, sample / max(1, rows)), seed)


def summarize(
    source: DataFrame, before: Batches, columns: tuple[Column, ...], keys: int, limits: Limits, finish: Finish
) -> list[str]:
    """What `finish` makes of each column's statistics, in column order.

    `source` is mapped through `before` (rows of `source` -> batches whose first `keys` columns are keys, the first of
    them the int64 row key, then `columns`). `before` and `finish` are module-level functions or partials of them.
    """
    return _merged(source, partial(_partials, before=before, keys=keys, limits=limits), columns, limits, finish)


def summarize_train(
    hashed: DataFrame, repeats: Repeats, columns: tuple[Column, ...], limits: Limits, finish: Finish
) -> list[str]:
    """The same of the train rows of `hashed` (CONTENT, HOLDOUT, then `columns`), without moving its rows."""
    work = partial(_train_partials, repeats=repeats, limits=limits)
    rows = hashed if repeats.split.by_entity else hashed.drop(HOLDOUT)
    return _merged(rows, work, columns, limits, finish, partial(replayed, repeats=repeats, limits=limits))


def _merged(
    source: DataFrame,
    work: Batches,
    columns: tuple[Column, ...],
    limits: Limits,
    finish: Finish,
    more: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] | None = None,
) -> list[str]:
    # by position: mapInArrow fails on names with dots or backticks
    named = source.toDF(*[f"c{position}" for position in range(len(source.columns))])
    partials = named.mapInArrow(work, PARTIAL_DDL)
    merged = partials.groupBy("column").applyInArrow(_merger(columns, limits, finish, more), MERGED_DDL).toArrow()
    found = dict(zip(merged.column("column").to_pylist(), merged.column("payload").to_pylist(), strict=True))
    empty = [finish(merge_column(c, [], limits)) if i not in found else found[i] for i, c in enumerate(columns)]
    return [str(text) for text in empty]


def as_they_are(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The `before` of a frame that already has its keys first."""
    yield from batches


def _partials(batches: Iterable[pa.RecordBatch], before: Batches, keys: int, limits: Limits) -> Iterator[pa.RecordBatch]:
    for row in collect(before(batches), keys, limits):
        yield _partial(row)


def _train_partials(batches: Iterable[pa.RecordBatch], repeats: Repeats, limits: Limits) -> Iterator[pa.RecordBatch]:
    aside = Aside()
    for row in collect(single_train_rows(batches, repeats, aside), 1, limits):
        yield _partial(row | aside.column(row["column"]))


def _partial(row: dict[str, Any]) -> pa.RecordBatch:
    cells = [pa.array([row["column"]], pa.int32()), pa.array([packed(row)], pa.binary())]
    return pa.RecordBatch.from_arrays(cells, names=["column", "partial"])


def _merger(
    columns: tuple[Column, ...],
    limits: Limits,
    finish: Finish,
    more: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] | None,
) -> Callable[[pa.Table], pa.Table]:
    # a closure with type hints, not a partial: applyInArrow tells its protocols apart by the hints
    def merge(table: pa.Table) -> pa.Table:
        rows = [unpacked(stream) for stream in table.column("partial").to_pylist()]
        rows += more(rows) if more is not None else []
        position = rows[0]["column"]
        payload = finish(merge_column(columns[position], rows, limits))
        return pa.table({"column": pa.array([position], pa.int32()), "payload": pa.array([payload], pa.string())})

    return merge


def merge_column(column: Column, rows: list[dict[str, Any]], limits: Limits) -> ColumnStatistics:
    """One column's statistics from its partial rows, the same in whatever order they come."""
    total = {
        name: sum(r[name] for r in rows) for name in ("rows", "nulls", "nan", "plus", "minus", "lengths", "spaces", "uncounted")
    }
    moments = (0, 0.0, 0.0)
    counts: dict[str, int] = {}
    for row in rows:
        moments = merge_moments(moments, (row["finite"], row["mean"], row["deviations"]))
        for value, count in zip(row["values"].to_pylist(), row["counts"].tolist(), strict=True):
            counts[value] = counts.get(value, 0) + count
    distinct, exact = _distinct(_joined(rows, "hashes", np.int64).view(np.uint64))
    order = np.argsort(_joined(rows, "keys", np.int64), kind="stable")
    sample = pa.concat_arrays([pa.array([], pa.string()), *(row["sample"] for row in rows)]).take(pa.array(order))
    non_null = total["rows"] - total["nulls"]
    texts = any(row["length_max"] >= 0 for row in rows)
    formats = np.sum([r["formats"] for r in rows], axis=0) if rows else np.zeros(len(FORMATS))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = ranked[: limits.values]
    ordered = np.int64 if column.type in WHOLE else np.float64
    return ColumnStatistics(
        column.name,
        column.type,
        column.nullable,
        total["rows"],
        total["nulls"],
        total["nan"],
        total["plus"],
        total["minus"],
        _number(moments[1]) if moments[0] else None,
        _number(float(np.sqrt(moments[2] / (moments[0] - 1)))) if moments[0] > 1 else None,
        min(r["length_min"] for r in rows) if texts else None,
        max(r["length_max"] for r in rows) if texts else None,
        _number(total["lengths"] / non_null) if texts and non_null else None,
        total["spaces"] / non_null if non_null else 0.0,
        {name: _number(float(n) / non_null) or 0.0 for name, n in zip(FORMATS, formats, strict=True) if n} if texts else {},
        distinct,
        exact,
        smallest(_joined(rows, "low", np.int64).view(ordered), limits.people),
        largest(_joined(rows, "high", np.int64).view(ordered), limits.people),
        dict(kept),
        total["uncounted"] + sum(n for _, n in ranked[limits.values :]),
        tuple(sample.to_pylist()),
        limits.share,
        column.extra,
    )


def _joined(rows: list[dict[str, Any]], name: str, kind: type) -> npt.NDArray[Any]:
    return np.concatenate([np.asarray(row[name], dtype=kind) for row in rows]) if rows else np.empty(0, kind)


def _distinct(hashes: npt.NDArray[np.uint64]) -> tuple[int, bool]:
    unique = np.unique(hashes)
    if len(unique) < MINIMA:
        return len(unique), True
    return round((MINIMA - 1) / ((float(unique[MINIMA - 1]) + 1.0) / 2.0**64)), False


def _number(value: float) -> float | None:
    """12 significant digits: sums differ in the last ones with the order of partitions."""
    return float(f"{value:.12g}") if np.isfinite(value) else None


def frame_of_tasks(spark: SparkSession, count: int) -> DataFrame:
    """A frame of task numbers 0..count-1, one a partition."""
    return spark.range(0, max(1, count), 1, max(1, count))
