"""Times in nanoseconds, as pandas writes them to Parquet: Spark has none and reads them, where its session allows, as numbers.

Here they become what Spark has, microseconds; what is finer is cut off. Top-level columns of local files; knows nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from twinlake.core.errors import TableError, in_quotes
from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

AS_LONG = "spark.sql.legacy.parquet.nanosAsLong"


def nanoseconds(file: Path) -> dict[str, bool]:
    """The columns of a Parquet file that hold times in nanoseconds, and whether as instants (in UTC) or local ones. A file that
    can't be read is left to Spark."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError):
        return {}
    return {f.name: f.type.tz is not None for f in schema if pa.types.is_timestamp(f.type) and f.type.unit == "ns"}


def check_session(spark: SparkSession, columns: Mapping[str, bool]) -> None:
    """Errors: TableError where the session can't read `columns`."""
    if columns and spark.conf.get(AS_LONG, "false") != "true":
        name = in_quotes(next(iter(columns)))
        raise TableError(
            f"column {name} holds times in nanoseconds, which this session can't read: set {AS_LONG} to true, or write "
            'microseconds (pandas: to_parquet(..., coerce_timestamps="us"))'
        )


def in_microseconds(df: DataFrame, columns: Mapping[str, bool]) -> DataFrame:
    """`df` with the numbers of `columns` as times."""
    from pyspark.sql import functions as F

    def time_of(name: str, instant: bool) -> Column:
        cell = quoted(name)  # integers alone: a double has no room for microseconds of our times
        micros = f"({cell} - pmod({cell}, 1000L)) div 1000L"
        local = f"timestampadd(MICROSECOND, {micros}, TIMESTAMP_NTZ'1970-01-01 00:00:00')"
        return F.expr(f"timestamp_micros({micros})" if instant else local).alias(name)

    return df.select(*[time_of(c, columns[c]) if c in columns else df[quoted(c)] for c in df.columns])
