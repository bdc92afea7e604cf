"""Labels the columns of a Spark table: samples rows by hash, counts evidence on the executors, decides on the driver.

Only counters come back, one row for each column and entity, whatever the size of the table. Text, whole numbers, dates
and times are looked at; a float or decimal is, where it is whole (a column of numbers with nulls often became one).
Structs, arrays, maps and JSON in text are looked into by path; binary and boolean columns are not, and the label says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from twinlake.classify.decide import relevant
from twinlake.classify.detector import Detector, Family
from twinlake.classify.detectors import DETECTORS
from twinlake.classify.evidence import WORDS, Counters, count_column, merge
from twinlake.classify.judge import judged
from twinlake.classify.labels import Labels
from twinlake.classify.ner import MISSING, check_ner, finder
from twinlake.classify.nested import as_text, family_of, is_nested
from twinlake.core.errors import DataError, UserError
from twinlake.core.seeds import as_long

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

HASH_RANGE = 2**40
ROUNDS = (1, 8, 64)
"""A table of few distinct rows may hash past its threshold: it is raised by these, then all rows are read."""
NUMBERS = ["a", "b", "c"]
BITMAPS = [f"w{i}" for i in range(WORDS)]

Looked = Family | None
"""How a column is looked at; None: by its leaves."""


def classify_table(
    df: DataFrame,
    sample_rows: int = 10_000,
    seed: int = 7,
    kinds: dict[str, str] | None = None,
    detectors: Mapping[str, Detector] | None = None,
    full_scan: bool = False,
    ner: bool = False,
) -> Labels:
    """Labels of `df` from about `sample_rows` rows; the same rows on every run, however the table is partitioned.

    kinds: profile kind by column name, where known. detectors: in place of DETECTORS. full_scan: look at all rows.
    ner: search texts by the model of the extra `twinlake[ner]` too.
    Errors: DataError when a detector fails (it names the entity, never a value); UserError for `ner` without the extra.
    """
    if ner:
        check_ner()
    chosen = DETECTORS if detectors is None else detectors
    fields = df.schema.fields
    families = {i: family for i, f in enumerate(fields) if (family := _family(f.dataType)) != "none"}
    names = {i: fields[i].name for i in families}
    looked: dict[int, Looked] = {i: None if family == "nested" else family for i, family in families.items()}
    rows = df.count() if families else 0
    asked = rows if full_scan else sample_rows
    counters = _sampled(df, looked, names, rows, asked, seed, chosen, ner) if rows else {}
    columns = [(f.name, f.dataType.simpleString(), (kinds or {}).get(f.name), i in looked) for i, f in enumerate(fields)]
    return Labels(judged(columns, counters, chosen, rows), rows if full_scan else sample_rows, rows)


def classify_arrow(
    table: pa.Table,
    kinds: dict[str, str] | None = None,
    detectors: Mapping[str, Detector] | None = None,
    ner: bool = False,
) -> Labels:
    """Labels of a table in memory, all rows looked at: for small tables and for tests of the decision."""
    chosen = DETECTORS if detectors is None else detectors
    find = finder(ner)
    counters: dict[int, Counters] = {}
    columns = []
    for i, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        family = family_of(column.type)
        looked = family is not None or is_nested(column.type)
        asked = None if family is None else relevant(name, chosen)
        for chunk in column.chunks if looked else ():
            values = chunk if family is None else as_text(chunk, family)
            merge(counters, i, count_column(values, family, chosen, asked, find))
        columns.append((name, str(column.type), (kinds or {}).get(name), looked))
    return Labels(judged(columns, counters, chosen, table.num_rows), table.num_rows, table.num_rows)


def _sampled(
    df: DataFrame,
    families: dict[int, Looked],
    names: dict[int, str],
    rows: int,
    sample_rows: int,
    seed: int,
    detectors: Mapping[str, Detector],
    ner: bool,
) -> dict[int, Counters]:
    from pyspark.sql import functions as F

    inner = [f"c{i}" for i in range(len(df.columns))]
    types = [f.dataType for f in df.schema.fields]
    # by position: names may hold dots and backticks, or differ only by case
    seen = df.toDF(*inner).select(*[_text(inner[i], types[i]).alias(inner[i]) for i in families])
    hashed = [F.col(inner[i]) if family else F.to_json(F.struct(F.col(inner[i]))) for i, family in families.items()]
    place = F.pmod(F.xxhash64(F.lit(as_long(seed)), *hashed), F.lit(HASH_RANGE))
    counters: dict[int, Counters] = {}
    for factor in (*ROUNDS, None):
        share = 1.0 if factor is None else min(1.0, factor * sample_rows / rows)
        sample = seen if share >= 1.0 else seen.filter(place < F.lit(int(share * HASH_RANGE)))
        counters = _counted(sample, list(families.items()), names, detectors, ner)
        found = max((int(c["rows"][0]) for c in counters.values()), default=0)
        if share >= 1.0 or found >= sample_rows / 2:
            break
    return counters


def _counted(
    sample: DataFrame,
    families: list[tuple[int, Looked]],
    names: dict[int, str],
    detectors: Mapping[str, Detector],
    ner: bool,
) -> dict[int, Counters]:
    from pyspark.sql import functions as F

    schema = "column int, entity string, " + ", ".join(f"{name} bigint" for name in NUMBERS + BITMAPS)
    # built-in detectors are taken from the executor's own package: only custom ones travel
    custom = {entity: d for entity, d in detectors.items() if DETECTORS.get(entity) is not d}
    partial = sample.mapInArrow(_counter_of(families, names, sorted(detectors), custom, ner), schema)
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
        ours = re.search(r"DataError: (detector \S+ failed on a (?:column|text): \w+)", str(error))
        if ours is None and MISSING in str(error):
            raise UserError(f"an executor lacks the extra: {MISSING}") from None
        if ours is None:
            raise
        raise DataError(ours.group(1)) from None


def _counter_of(
    families: list[tuple[int, Looked]], names: dict[int, str], entities: list[str], custom: dict[str, Detector], ner: bool
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from twinlake.classify.detectors import DETECTORS as BUILT_IN

        find = finder(ner)
        given = {**BUILT_IN, **custom}
        every = {entity: given[entity] for entity in entities}
        asked = {i: relevant(names[i], every) if family else None for i, family in families}
        counters: dict[int, Counters] = {}
        for batch in batches:
            for position, (column, family) in enumerate(families):
                merge(counters, column, count_column(batch.column(position), family, every, asked[column], find))
        keys = [(column, entity) for column, found in counters.items() for entity in found]
        if keys:
            yield _as_batch(keys, np.stack([counters[column][entity] for column, entity in keys]))

    return counted


def _as_batch(keys: list[tuple[int, str]], numbers: Any) -> pa.RecordBatch:
    arrays = [pa.array([c for c, _ in keys], pa.int32()), pa.array([e for _, e in keys], pa.string())]
    arrays += [pa.array(np.ascontiguousarray(numbers[:, i])) for i in range(numbers.shape[1])]
    return pa.RecordBatch.from_arrays(arrays, names=["column", "entity", *NUMBERS, *BITMAPS])


def _family(data_type: DataType) -> Literal["text", "number", "date", "nested", "none"]:
    from pyspark.sql import types as T

    if isinstance(data_type, (T.StringType, T.CharType, T.VarcharType)):
        return "text"
    if isinstance(data_type, (T.IntegralType, T.FractionalType)):
        return "number"
    if isinstance(data_type, (T.DateType, T.TimestampType, T.TimestampNTZType)):
        return "date"
    return "nested" if isinstance(data_type, (T.StructType, T.ArrayType, T.MapType)) and _plain(data_type) else "none"


def _plain(data_type: DataType) -> bool:
    """Whether Arrow and JSON can carry a nested type: intervals and variants inside are not looked into."""
    from pyspark.sql import types as T

    if isinstance(data_type, T.StructType):
        return all(_plain(f.dataType) for f in data_type.fields)
    if isinstance(data_type, T.ArrayType):
        return _plain(data_type.elementType)
    if isinstance(data_type, T.MapType):
        return _plain(data_type.keyType) and _plain(data_type.valueType)
    return isinstance(
        data_type, (T.StringType, T.NumericType, T.DateType, T.TimestampType, T.TimestampNTZType, T.BooleanType, T.BinaryType)
    )


def _text(name: str, data_type: DataType) -> Column:
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    column = F.col(name)
    if isinstance(data_type, (T.StructType, T.ArrayType, T.MapType)):
        return column
    if isinstance(data_type, T.FractionalType):
        whole = column.try_cast("decimal(20,0)")
        return F.when(whole == column, whole.cast("string")).otherwise(column.cast("string"))
    return column.cast("string")
