"""Joins survive: the same counts, in total and by group, over protected tables, whatever the plan of the key."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plans import plan_for
from pyspark.sql import DataFrame, SparkSession

from twinlake.core.keys import Keyring, make_key
from twinlake.transform.apply import apply_plan

KEYS = Keyring((make_key("pseudonyms", bytes(range(32))),))
PAIR = Path(__file__).resolve().parents[2] / "data" / "people_orders"


def protected(df: DataFrame, **chosen: tuple[str, dict[str, Any]]) -> DataFrame:
    return apply_plan(df, plan_for(df, chosen), KEYS)


def counts(left: DataFrame, right: DataFrame, key: str, other: str, group: str) -> list[tuple[Any, ...]]:
    """Rows of the join for each value of `group`, a column that is kept."""
    renamed = right.withColumnRenamed(other, "other_key")
    joined = left.join(renamed, left[key] == renamed["other_key"])
    return sorted((tuple(row) for row in joined.groupBy(group).count().collect()), key=str)


CHOICES = [
    ("encrypt", {"domain": "customer"}),
    ("hash", {"domain": "customer", "length": 32}),
    ("fake", {"domain": "customer", "as": "UUID"}),
]


@pytest.mark.parametrize(("transform", "parameters"), CHOICES)
def test_people_and_orders_join_alike(spark: SparkSession, transform: str, parameters: dict[str, Any]) -> None:
    people, orders = (spark.read.parquet(str(PAIR / f"{name}.parquet")) for name in ("people", "orders"))
    before = counts(orders, people.select("customer_id", "state"), "customer_id", "customer_id", "state")
    assert sum(count for _, count in before) == 1894  # counted with pyarrow when the pair was made
    choice = (transform, parameters)
    left, right = protected(orders, customer_id=choice), protected(people.select("customer_id", "state"), customer_id=choice)
    assert counts(left, right, "customer_id", "customer_id", "state") == before
    assert left.where("customer_id like 'C0%'").count() == 0


def test_what_the_readme_of_the_pair_says_is_so() -> None:
    people, orders = (pq.read_table(PAIR / f"{name}.parquet") for name in ("people", "orders"))
    assert (people.num_rows, orders.num_rows) == (100, 2000)
    assert orders.join(people, "customer_id", join_type="inner").num_rows == 1894
    assert orders.join(people, "email", join_type="inner").num_rows == 1271
    readme = (PAIR / "README.md").read_text(encoding="utf-8")
    assert "MIT License" in readme and "Posit" in readme


def read(spark: SparkSession, file: Path, table: str, columns: list[str]) -> DataFrame:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        names = ", ".join(f'"{column}"' for column in columns)
        rows = connection.execute(f'SELECT {names} FROM "{table}"').fetchall()
    return spark.createDataFrame(pa.table({c: pa.array([row[n] for row in rows]) for n, c in enumerate(columns)}))


DATABASES = [
    ("chinook", "Chinook_Sqlite.sqlite", ("Invoice", "CustomerId", "BillingCountry"), ("Customer", "CustomerId", "Email")),
    ("chinook", "Chinook_Sqlite.sqlite", ("Customer", "SupportRepId", "Country"), ("Employee", "EmployeeId", "LastName")),
    ("northwind", "northwind.sqlite", ("Orders", "CustomerID", "ShipCountry"), ("Customers", "CustomerID", "ContactName")),
    ("northwind", "northwind.sqlite", ("Orders", "EmployeeID", "ShipCountry"), ("Employees", "EmployeeID", "LastName")),
]


@pytest.mark.parametrize(("data", "file", "child", "parent"), DATABASES)
def test_foreign_keys_of_real_databases_survive(
    spark: SparkSession,
    shared_data: Callable[[str], Path],
    data: str,
    file: str,
    child: tuple[str, ...],
    parent: tuple[str, ...],
) -> None:
    path = shared_data(data) / file
    orders, people = (read(spark, path, table, list(columns)) for table, *columns in (child, parent))
    before = counts(orders, people, child[1], parent[1], child[2])
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        [(total,)] = connection.execute(
            f'SELECT count(*) FROM "{child[0]}" c JOIN "{parent[0]}" p ON c."{child[1]}" = p."{parent[1]}"'
        )
    assert sum(count for _, count in before) == total > 0
    choice = ("encrypt", {"domain": "person"})
    hidden = {parent[2]: ("redact", {})}
    left, right = protected(orders, **{child[1]: choice}), protected(people, **{parent[1]: choice, **hidden})
    assert counts(left, right, child[1], parent[1], child[2]) == before
