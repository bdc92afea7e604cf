"""The Spark data source: the rows of Model.generate, by format name and from SQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

import twinlake
from twinlake.generate.model import Model

ROWS = 20_000


@pytest.fixture(scope="module")
def session(spark: SparkSession) -> SparkSession:
    twinlake.register(spark)
    return spark


def read(session: SparkSession, model: Path, **options: Any) -> Any:
    return session.read.format("twinlake").options(**options).load(str(model))


def test_rows_are_those_of_the_model(session: SparkSession, random_model: Path, content_hash: Any) -> None:
    made = read(session, random_model, rows=ROWS)
    wanted = Model.load(random_model).generate(session, ROWS)
    assert made.schema == wanted.schema
    assert content_hash(made.toArrow()) == content_hash(wanted.toArrow())
    assert content_hash(read(session, random_model, rows=ROWS, seed=8).toArrow()) != content_hash(wanted.toArrow())


def test_conditions_columns_and_limit(session: SparkSession, random_model: Path) -> None:
    female = read(session, random_model, rows=5_000, conditions=json.dumps({"sex": "Female"}))
    assert {row["sex"] for row in female.select("sex").distinct().collect()} == {"Female"}
    some = session.read.format("twinlake").schema("sex string, income string").option("rows", 5_000).load(str(random_model))
    assert some.columns == ["sex", "income"] and some.count() == 5_000
    few = read(session, random_model, rows=10**9).limit(3).collect()  # all of them would take hours
    assert [row["id"] for row in few] == [row["id"] for row in Model.load(random_model).generate(session, 3).collect()]
    assert read(session, random_model, rows=0).count() == 0


def test_a_table_made_from_sql(session: SparkSession, random_model: Path) -> None:
    session.sql(f"CREATE TEMPORARY VIEW twin USING twinlake OPTIONS (path '{random_model}', rows '10000')")
    session.sql("CREATE TABLE made USING parquet AS SELECT sex, count(*) AS n FROM twin GROUP BY sex")
    try:
        assert session.table("made").groupBy().sum("n").first()[0] == 10_000
    finally:
        session.sql("DROP TABLE made")
        session.catalog.dropTempView("twin")


def test_a_column_of_another_type_is_refused(session: SparkSession, random_model: Path) -> None:
    with pytest.raises(PySparkException, match="column sex int: the model has it as string"):
        session.read.format("twinlake").schema("sex int").option("rows", 5).load(str(random_model)).collect()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "option rows must be a whole number"),
        ({"rows": "ten"}, "option rows must be a whole number"),
        ({"rows": 5, "sed": 3}, "unknown option sed.*seed"),
        ({"rows": 5, "conditions": "Female"}, "must be a JSON object"),
        ({"rows": 5, "conditions": '{"sexx": "Female"}'}, "no column 'sexx'"),
    ],
)
def test_wrong_options_are_named(session: SparkSession, random_model: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(PySparkException, match=named):
        read(session, random_model, **options).collect()
