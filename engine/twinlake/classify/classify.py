"""Labels the columns of a Spark table: samples rows by hash, counts evidence on the executors, decides on the driver.

Only counters come back, one row for each column and entity, whatever the size of the table. Text, whole numbers, dates
and times are looked at; a float or decimal is, where it is whole (a column of numbers with nulls often became one).
Nested, binary and boolean columns are not looked into, and the label says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twinlake.classify.decide import contained, decide
from twinlake.classify.detector import Detector, Family
from twinlake.classify.detectors import DETECTORS
from twinlake.classify.evidence import WORDS, Counters, count, merge, read
from twinlake.classify.labels import ColumnLabel, Labels
from twinlake.core.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

HASH_RANGE = 2**40
ROUNDS = (1, 8, 64)
"""A table of few distinct rows may hash past its threshold: it is raised by these, then all rows are read."""
NUMBERS = ["a", "b", "c"]
BITMAPS = [f"w{i}" for i in range(WORDS)]


def classify_table(
    df: DataFrame,
    sample_rows: int = 10_000,
    seed: int = 7,
    kinds: dict[str, str] | None = None,
    detectors: dict[str, Detector] | None = None,
) -> Labels:
    """Labels of `df` from about `sample_rows` rows; the same rows on every run, however the table is partitioned.

    kinds: profile kind by column name, where known. detectors: in place of DETECTORS.
    Errors: DataError when a detector fails (it names the entity, never a value).
    """
    chosen = DETECTORS if detectors is None else detectors
    fields = df.schema.fields
    families = {i: family for i, f in enumerate(fields) if (family := _family(f.dataType))}
    rows = df.count() if families else 0
    counters = _sampled(df, families, rows, sample_rows, seed, chosen) if rows else {}
    columns = []
    for i, f in enumerate(fields):
        columns.append(
            label(f.name, f.dataType.simpleString(), (kinds or {}).get(f.name), counters.get(i), chosen, i in families)
        )
    return Labels(tuple(columns), sample_rows)


def classify_arrow(
    table: pa.Table, kinds: dict[str, str] | None = None, detectors: dict[str, Detector] | None = None
) -> Labels:
    """Labels of a table in memory, all rows looked at: for small tables and for tests of the decision."""
    chosen = DETECTORS if detectors is None else detectors
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        family = _arrow_family(column.type)
        counters: dict[int, Counters] = {}
        for chunk in column.chunks if family else ():
            merge(counters, 0, count(_arrow_text(chunk, family or "text"), family or "text", chosen))
        columns.append(
            label(name, str(column.type), (kinds or {}).get(name), counters.get(0), chosen, family is not None)
        )
    return Labels(tuple(columns), table.num_rows)


def label(
    name: str,
    type_: str,
    kind: str | None,
    counters: Counters | None,
    detectors: Mapping[str, Detector],
    looked: bool = True,
) -> ColumnLabel:
    """The label that follows from the counters of one column."""
    if not looked:
        return ColumnLabel(name, type_, evidence={"not_looked_into": {"nested_or_binary": True}})
    counts = read(counters or {})
    entity, score, evidence = decide(name, kind, counts, detectors)
    return ColumnLabel(name, type_, entity, score, counts.rows, counts.filled, evidence, contained(entity, counts))


def _sampled(
    df: DataFrame,
    families: dict[int, Family],
    rows: int,
    sample_rows: int,
    seed: int,
    detectors: Mapping[str, Detector],
) -> dict[int, Counters]:
    from pyspark.sql import functions as F

    names = [f"c{i}" for i in range(len(df.columns))]
    types = [f.dataType for f in df.schema.fields]
    # by position: names may hold dots and backticks, or differ only by case
    texts = df.toDF(*names).select(*[_text(names[i], types[i]).alias(names[i]) for i in families])
    place = F.pmod(F.xxhash64(F.lit(seed), *[F.col(names[i]) for i in families]), F.lit(HASH_RANGE))
    counters: dict[int, Counters] = {}
    for factor in (*ROUNDS, None):
        share = 1.0 if factor is None else min(1.0, factor * sample_rows / rows)
        sample = texts if share >= 1.0 else texts.filter(place < F.lit(int(share * HASH_RANGE)))
        counters = _counted(sample, list(families.items()), detectors)
        seen = max((int(c["rows"][0]) for c in counters.values()), default=0)
        if share >= 1.0 or seen >= sample_rows / 2:
            break
    return counters


def _counted(
    sample: DataFrame, families: list[tuple[int, Family]], detectors: Mapping[str, Detector]
) -> dict[int, Counters]:
    from pyspark.sql import functions as F

    schema = "column int, entity string, " + ", ".join(f"{name} bigint" for name in NUMBERS + BITMAPS)
    partial = sample.mapInArrow(_counter_of(families, dict(detectors)), schema)
    sums: list[Column] = [F.sum(name).alias(name) for name in NUMBERS]
    total = partial.groupBy("column", "entity").agg(*sums, *[F.bit_or(name).alias(name) for name in BITMAPS])
    out: dict[int, Counters] = {}
    for row in _fetched(total).to_pylist():
        counter = np.array([row[name] for name in NUMBERS + BITMAPS], dtype=np.int64)
        out.setdefault(int(row["column"]), {})[str(row["entity"])] = counter
    return out


def _fetched(counters: DataFrame) -> pa.Table:
    from pyspark.errors import PythonException

    try:
        return counters.toArrow()
    except PythonException as error:  # Spark wraps the executor's error in its own, with the whole trace as text
        ours = re.search(r"DataError: (detector \S+ failed on a column: \w+)", str(error))
        if ours is None:
            raise
        raise DataError(ours.group(1)) from None


def _counter_of(
    families: list[tuple[int, Family]], detectors: dict[str, Detector]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counters: dict[int, Counters] = {}
        for batch in batches:
            for position, (column, family) in enumerate(families):
                merge(counters, column, count(batch.column(position), family, detectors))
        keys = [(column, entity) for column, found in counters.items() for entity in found]
        if keys:
            yield _as_batch(keys, np.stack([counters[column][entity] for column, entity in keys]))

    return counted


def _as_batch(keys: list[tuple[int, str]], numbers: Any) -> pa.RecordBatch:
    arrays = [pa.array([c for c, _ in keys], pa.int32()), pa.array([e for _, e in keys], pa.string())]
    arrays += [pa.array(np.ascontiguousarray(numbers[:, i])) for i in range(numbers.shape[1])]
    return pa.RecordBatch.from_arrays(arrays, names=["column", "entity", *NUMBERS, *BITMAPS])


def _family(data_type: DataType) -> Family | None:
    from pyspark.sql import types as T

    if isinstance(data_type, (T.StringType, T.CharType, T.VarcharType)):
        return "text"
    if isinstance(data_type, (T.IntegralType, T.FractionalType)):
        return "number"
    return "date" if isinstance(data_type, (T.DateType, T.TimestampType, T.TimestampNTZType)) else None


def _text(name: str, data_type: DataType) -> Column:
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    column = F.col(name)
    if isinstance(data_type, T.FractionalType):
        whole = column.try_cast("decimal(20,0)")
        return F.when(whole == column, whole.cast("string")).otherwise(column.cast("string"))
    return column.cast("string")


def _arrow_family(data_type: pa.DataType) -> Family | None:
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
        return "text"
    if pa.types.is_integer(data_type) or pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        return "number"
    return "date" if pa.types.is_date(data_type) or pa.types.is_timestamp(data_type) else None


def _arrow_text(column: pa.Array, family: Family) -> pa.Array:
    text = column.cast(pa.string())
    if family == "number" and not pa.types.is_integer(column.type):
        values = [
            None if v is None else str(int(v)) if v == v and abs(v) < 1e19 and v == int(v) else str(v)
            for v in column.to_pylist()
        ]
        return pa.array(values, pa.string())
    return text
