"""What a twin looks like as JSON lines and CSV: read again by its schema, every cell is the same."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from twinlake.generate.stage import WRITTEN

DDL = (
    "a string, b bigint, c double, d float, e decimal(38,10), f date, g timestamp, h timestamp_ntz, i boolean, j tinyint, "
    "`k.l` string, m int"
)
MOMENT = dt.datetime(2024, 3, 10, 2, 30, 0, 123457)
ROWS: list[tuple[Any, ...]] = [
    ('say "hi", \\n;', 2**63 - 1, 0.1, 1.5, Decimal("12345678901234567890.0000000001"), dt.date(1900, 1, 1), MOMENT, MOMENT,
     True, -128, "ü 雪", 1),
    ("'quoted'", -(2**63), 1e-300, -0.0, Decimal(0), dt.date(9999, 12, 31), dt.datetime(1969, 12, 31, 23, 59, 59, 999999),
     dt.datetime(9999, 12, 31, 23, 59, 59, 999999), False, 127, "NULL", None),
    (None, None, None, None, None, None, None, None, None, None, None, None),
    ("null", 0, math.inf, -math.inf, None, None, None, None, None, None, "#x", 3),
]  # fmt: skip


def written(frame: DataFrame, path: Path, format_: str) -> Any:
    frame.coalesce(1).write.format(format_).options(**WRITTEN[format_]).save(str(path))
    reader = frame.sparkSession.read.schema(frame.schema).option("mode", "FAILFAST").option("timeZone", "UTC")
    return reader.option("header", "true").option("escape", '"') if format_ == "csv" else reader


@pytest.mark.parametrize("format_", ["json", "csv"])
def test_every_type_comes_back(spark: SparkSession, tmp_path: Path, format_: str) -> None:
    frame = spark.createDataFrame(ROWS, DDL)
    reader = written(frame, tmp_path / "out", format_)
    read = reader.format(format_).load(str(tmp_path / "out"))
    assert list(map(repr, read.collect())) == list(map(repr, frame.collect()))


def test_json_tells_nested_nothings_apart(spark: SparkSession, tmp_path: Path) -> None:
    rows = [({"x": None}, []), (None, None), ({"x": 1}, [None]), ({"x": 2}, [{"y": ""}, {"y": None}])]
    frame = spark.createDataFrame(rows, "s struct<x:int>, l array<struct<y:string>>")
    read = written(frame, tmp_path / "out", "json").json(str(tmp_path / "out"))
    assert read.collect() == frame.collect()


def test_csv_has_a_header_and_empty_text_is_no_null(spark: SparkSession, tmp_path: Path) -> None:
    written(spark.createDataFrame([("", None), (None, "x")], "a string, b string"), tmp_path / "out", "csv")
    assert next((tmp_path / "out").glob("part-*.csv")).read_text().splitlines() == ["a,b", '"",', ",x"]
