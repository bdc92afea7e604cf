"""Parquet as pandas writes it: times in nanoseconds become the microseconds that Spark has."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from twinlake.core.config import SourceConfig
from twinlake.core.errors import TableError
from twinlake.tables.nanoseconds import AS_LONG
from twinlake.tables.source import open_source

TIMES = ["1869-05-04 10:11:12.123456999", "1969-12-31 23:59:59.999999999", "2024-02-29 12:00:00.000001", None]
MICROS = [(1869, 5, 4, 10, 11, 12, 123456), (1969, 12, 31, 23, 59, 59, 999999), (2024, 2, 29, 12, 0, 0, 1)]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    local = pd.to_datetime(pd.Series(TIMES)).astype("datetime64[ns]")
    frame = pd.DataFrame({"born at": local, "seen": local.dt.tz_localize("UTC"), "n": range(4)})
    frame.to_parquet(tmp_path / "people.parquet")
    return tmp_path / "people.parquet"


def test_times_in_nanoseconds_lose_what_is_finer_than_microseconds(spark: Any, written: Path) -> None:
    spark.conf.set(AS_LONG, "true")
    try:
        df = open_source(spark, SourceConfig(path=str(written))).df
        assert [(f.name, f.dataType.simpleString()) for f in df.schema.fields] == [
            ("born at", "timestamp_ntz"), ("seen", "timestamp"), ("n", "bigint"),
        ]  # fmt: skip
        told = df.orderBy("n").toArrow()
        assert told["born at"].to_pylist() == [*(datetime(*t) for t in MICROS), None]
        assert told["seen"].to_pylist() == [*(datetime(*t, tzinfo=UTC) for t in MICROS), None]
    finally:
        spark.conf.unset(AS_LONG)


def test_a_session_that_cannot_read_them_is_told_so(spark: Any, written: Path) -> None:
    with pytest.raises(TableError, match=r"'born at' holds times in nanoseconds.*nanosAsLong to true"):
        open_source(spark, SourceConfig(path=str(written)))
