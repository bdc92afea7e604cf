"""CSV columns that Spark takes for numbers or times, and whose text says more: they stay text.

Spark reads `007` as the number 7, `+4930123456` as one without its plus, the code `12D` as the fraction 12.0, and the clock
time `11:38:36` as that time of today. Knows nothing of files but what a reader gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, DataFrameReader
    from pyspark.sql import types as T

HEAD_ROWS = 100_000
CODES = r"^\s*(0[0-9]|\+[0-9]{7})|[0-9.][dDfF]\s*$"
CLOCKS = r"^\s*T?[0-9]{1,2}:[0-9]{2}"
NUMBERS = ("int", "bigint", "double")


def with_texts_kept(df: DataFrame, reader: DataFrameReader, path: str) -> DataFrame:
    """`df`, which `reader` reads at `path` with inferred types, with such columns as text. The first HEAD_ROWS rows decide."""
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    fields = df.schema.fields
    doubted = {i: pattern for i, f in enumerate(fields) if (pattern := _pattern(f.dataType))}
    if not doubted:
        return df
    texts = T.StructType([T.StructField(f.name, T.StringType()) for f in fields])
    head = reader.schema(texts).load(path).limit(HEAD_ROWS)
    found: list[Column] = [F.bool_or(F.col(quoted(fields[i].name)).rlike(p)).alias(str(i)) for i, p in doubted.items()]
    [row] = head.select(*found).collect()
    kept = {int(name) for name, says_more in row.asDict().items() if says_more}
    if not kept:
        return df
    types = [T.StringType() if i in kept else f.dataType for i, f in enumerate(fields)]
    schema = T.StructType([T.StructField(f.name, type_) for f, type_ in zip(fields, types, strict=True)])
    return reader.schema(schema).load(path)


def _pattern(kind: T.DataType) -> str:
    name = kind.simpleString()
    if name in NUMBERS or name.startswith("decimal"):
        return CODES
    return CLOCKS if name.startswith("timestamp") else ""
