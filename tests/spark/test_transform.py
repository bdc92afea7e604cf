"""A plan applied by Spark: the same answers as by hand, joins held, and no value or key in what Spark shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from twinlake.core.errors import KeyReferenceError, PolicyError
from twinlake.core.keys import Keyring, ephemeral_keyring, make_key
from twinlake.tables.parts import publish
from twinlake.tables.split import Split
from twinlake.transform.apply import apply_plan
from twinlake.transform.plan import ColumnPlan, Plan
from twinlake.transform.protect import stage_rows
from twinlake.transform.restore import count_foreign, restore_column
from twinlake.transform.transforms import TRANSFORMS, Context, Transform

MATERIAL = bytes.fromhex("c0ffee00112233445566778899aabbccddeeff0102030405060708090a0b0c0d")
KEYS = Keyring((make_key("pseudonyms", MATERIAL),))


def plan_for(df: DataFrame, **chosen: Any) -> Plan:
    """A plan that keeps every column but the `chosen` ones: name -> transform, or (transform, entity, parameters)."""
    columns = []
    for field in df.schema.fields:
        if field.name.startswith("__twinlake_"):
            continue
        choice = chosen.get(field.name, "keep")
        transform, entity, parameters = (choice, None, {}) if isinstance(choice, str) else choice
        kind = field.dataType.simpleString()
        output = "string" if transform in ("hash", "encrypt") else kind
        columns.append(ColumnPlan(field.name, kind, field.nullable, entity, transform, parameters, output, "model", ""))
    return Plan(tuple(columns))


def rows(df: DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in df.collect()]


def test_keep_and_drop_run_no_python(spark: SparkSession) -> None:
    df = spark.createDataFrame([(1, "a", 2.0)], "`a.b` int, `tick``s` string, c double")
    out = apply_plan(df, plan_for(df, c="drop"), Keyring())
    assert rows(out) == [(1, "a")]
    assert out.columns == ["a.b", "tick`s"]
    assert "Python" not in out._jdf.queryExecution().toString() if hasattr(out, "_jdf") else True


def test_values_types_comments_and_nullability_come_through(spark: SparkSession) -> None:
    ddl = (
        "id bigint not null comment 'the key', email string, n int, d decimal(10,2), t timestamp, z timestamp_ntz, "
        "day date, arr array<string>, m map<string,int>, s struct<a:int,b:string>, raw binary, ok boolean, f float"
    )
    moment = dt.datetime(2024, 3, 10, 2, 30)
    full = (
        9007199254740993,
        "ann@corp.com",
        1,
        Decimal("1.25"),
        moment,
        moment,
        dt.date(1582, 10, 10),
        ["x", None],
        {"k": None},
        (1, "b"),
        bytearray(b"\x00"),
        True,
        0.5,
    )
    empty = (-(2**63), *[None] * 12)
    df = spark.createDataFrame([full, empty], ddl)
    out = apply_plan(df, plan_for(df, email=("fake", "EMAIL_ADDRESS", {})), KEYS)
    assert out.schema == df.schema
    assert out.schema["id"].metadata == {"comment": "the key"}
    before, after = rows(df), rows(out)
    assert [(*row[:1], *row[2:]) for row in after] == [(*row[:1], *row[2:]) for row in before]
    assert "@" in after[0][1] and after[0][1] != "ann@corp.com"
    assert after[1][1] is None


def test_hostile_names_are_addressed_by_position(spark: SparkSession) -> None:
    names = ["a.b", "tick`s", "select", "a b", "emoji 🦆", "'; DROP TABLE t; --"]
    df = spark.createDataFrame([tuple(f"v{n}" for n in range(6))], names)
    out = apply_plan(df, plan_for(df, **{"a.b": "redact", "select": "hash", "a b": "drop"}), KEYS)
    [row] = rows(out)
    assert out.columns == [name for name in names if name != "a b"]
    assert row[0] == "<REDACTED>"
    assert (row[1], row[3], row[4]) == ("v1", "v4", "v5")
    assert len(row[2]) == 64


def test_internal_leading_columns_pass_through(spark: SparkSession) -> None:
    df = spark.createDataFrame([(3, "x", "ann")], "__twinlake_row bigint, __twinlake_side string, name string")
    assert rows(apply_plan(df, plan_for(df, name="redact"), KEYS)) == [(3, "x", "<REDACTED>")]
    assert rows(apply_plan(df, plan_for(df), KEYS)) == [(3, "x", "ann")]


def test_joins_hold_over_surrogates_hashes_and_ciphertexts(spark: SparkSession) -> None:
    people = spark.range(500).select(
        F.concat(F.lit("p"), F.col("id"), F.lit("@corp.com")).alias("email"), (F.col("id") % 7).alias("team")
    )
    orders = (
        spark.range(3000)
        .repartition(5)
        .select(F.concat(F.lit("p"), (F.col("id") * 13 % 600), F.lit("@corp.com")).alias("buyer"), F.col("id").alias("n"))
    )
    expected = rows(orders.join(people, orders.buyer == people.email).groupBy("team").count().orderBy("team"))
    for choice in (("fake", "EMAIL_ADDRESS", {}), ("hash", "EMAIL_ADDRESS", {}), ("encrypt", "EMAIL_ADDRESS", {})):
        left = apply_plan(orders, plan_for(orders, buyer=choice), KEYS)
        right = apply_plan(people, plan_for(people, email=choice), KEYS)
        assert rows(left.join(right, left.buyer == right.email).groupBy("team").count().orderBy("team")) == expected


def test_another_table_is_refused_with_the_difference(spark: SparkSession) -> None:
    df = spark.createDataFrame([(1, "a")], "id bigint, name string")
    other = spark.createDataFrame([(1, "a")], "id int, nam string")
    with pytest.raises(PolicyError) as caught:
        apply_plan(other, plan_for(df), KEYS)
    assert "id is bigint in the plan and int in the table" in str(caught.value)
    assert "name is in the plan and not in the table (did you mean 'nam'?)" in str(caught.value)


def test_missing_keys_and_fakes_are_refused_before_anything_runs(spark: SparkSession) -> None:
    df = spark.createDataFrame([("DE89",)], "iban string")
    with pytest.raises(KeyReferenceError, match=r"keys\.pseudonyms"):
        apply_plan(df, plan_for(df, iban="hash"), Keyring())
    with pytest.raises(KeyReferenceError, match="nothing could restore it"):
        apply_plan(df, plan_for(df, iban="encrypt"), ephemeral_keyring())
    numbers = spark.createDataFrame([(1,)], "iban int")
    with pytest.raises(PolicyError, match="no values of type int"):
        apply_plan(numbers, plan_for(numbers, iban=("fake", "IBAN_CODE", {})), KEYS)


def test_encrypted_columns_are_restored_to_their_type(spark: SparkSession) -> None:
    df = spark.createDataFrame(
        [(1, Decimal("1.50"), dt.date(9999, 12, 31), "x"), (None, None, None, None)],
        "id bigint, d decimal(10,2), day date, s string",
    )
    hidden = apply_plan(df, plan_for(df, **dict.fromkeys(["id", "d", "day", "s"], "encrypt")), KEYS)
    assert hidden.dtypes == [("id", "string"), ("d", "string"), ("day", "string"), ("s", "string")]
    out = hidden
    for name, kind in df.dtypes:
        out = restore_column(out, name, KEYS, domain=name, output_type=kind)
    assert out.dtypes == df.dtypes
    assert rows(out) == rows(df)


def test_foreign_text_is_counted_and_left(spark: SparkSession) -> None:
    df = spark.createDataFrame([("ann",), ("bob",), (None,), ("",)], "s string")
    mixed = apply_plan(df, plan_for(df, s="encrypt"), KEYS).union(spark.createDataFrame([("plain",)] * 3, "s string"))
    assert count_foreign(mixed, "s") == 3
    assert sorted(str(value) for (value,) in rows(restore_column(mixed, "s", KEYS, domain="s"))) == sorted(
        ["ann", "bob", "None", "", *["plain"] * 3]
    )


def _breaks_on_canary(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    for value in array.to_pylist():
        if value is not None and "CANARY" in value:
            raise ValueError(f"cannot parse {value} with {keys.keys[0].material.hex()}")
    return array


def test_a_failing_cell_is_located_and_never_shown(spark: SparkSession) -> None:
    own = {**TRANSFORMS, "breaks": Transform("breaks", _breaks_on_canary)}
    df = spark.createDataFrame([("fine",), ("fine",), ("CANARY-7f3a",)], "c string").coalesce(1)
    out = apply_plan(df, plan_for(df, c="breaks"), KEYS, transforms=own)
    with pytest.raises(Exception, match="column 'c' of type string: breaks failed at row 2 of a batch of 3") as caught:
        out.collect()
    text = f"{caught.value!r} {caught.value} {getattr(caught.value, '_stackTrace', '')}"
    assert "ValueError" in text
    assert "7f3a" not in text
    assert MATERIAL.hex() not in text


def test_a_tampered_ciphertext_fails_without_showing_itself(spark: SparkSession) -> None:
    df = spark.createDataFrame([(f"{KEYS['pseudonyms'].key_id}.{'A' * 40}",)], "s string")
    with pytest.raises(Exception, match="restore failed at row 0 of a batch of 1: a ciphertext was changed") as caught:
        restore_column(df, "s", KEYS, domain="s").collect()
    assert "AAAA" not in str(caught.value)


def test_no_plan_text_or_setting_holds_the_key(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    df = spark.createDataFrame([("ann@corp.com",)], "email string")
    before = spark.conf.getAll if isinstance(getattr(spark.conf, "getAll", None), dict) else None
    out = apply_plan(df, plan_for(df, email="encrypt"), KEYS)
    out.explain(True)
    text = capsys.readouterr().out
    assert "MapInArrow" in text
    for shown in (MATERIAL.hex(), str(MATERIAL), KEYS["pseudonyms"].subkey("encrypt", length=64).hex()):
        assert shown not in text
    after = spark.conf.getAll if before is not None else None
    assert before == after


def test_nulls_in_a_column_that_allows_none_are_named(spark: SparkSession) -> None:
    df = spark.createDataFrame([(None, "x"), (1, "y")], "id int, s string")
    good = plan_for(df, s="redact")
    strict = Plan(tuple(ColumnPlan(**{**vars(c), "nullable": c.name != "id"}) for c in good.columns))
    with pytest.raises(Exception, match="column 'id' allows no nulls"):
        apply_plan(df, strict, KEYS).collect()


def test_partitions_and_batches_do_not_change_a_value(spark: SparkSession) -> None:
    df = spark.range(2000).select(F.concat(F.lit("p"), F.col("id") % 900).alias("name"))
    plan = plan_for(df, name=("fake", "PERSON", {}))
    counts = [sorted(rows(apply_plan(df.repartition(n), plan, KEYS))) for n in (1, 7)]
    assert counts[0] == counts[1]


def test_rows_that_the_plan_alone_rules_out_are_an_empty_part(spark: SparkSession, tmp_path: Path) -> None:
    """Spark runs no task then."""
    for side in ("train", "holdout"):
        (tmp_path / side).mkdir()
    none = spark.range(10).where("1 = 0")
    assert stage_rows(none, Split(7, 0.1), 1, tmp_path / "train", tmp_path / "holdout") == (0, 0)
    for side in ("train", "holdout"):
        assert [part.rows for part in publish(tmp_path / side, tmp_path / f"{side}-done", 1, {})] == [0]
