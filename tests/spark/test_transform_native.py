"""What runs as column expressions gives what the Arrow functions give, runs no Python, and keeps the plan's schema."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from plans import plan_for
from pyspark.sql import DataFrame, SparkSession

from twinlake.core.errors import PolicyError
from twinlake.core.keys import Keyring, make_key
from twinlake.transform.apply import apply_plan
from twinlake.transform.plan import Plan
from twinlake.transform.transforms import TRANSFORMS, Context
from twinlake.transform.transforms.values import arrow_type

KEYS = Keyring((make_key("pseudonyms", bytes(range(32))),))
ROWS = {
    "s": ("string", ["02139", "036 01", "03601-1234", None, "x"]),
    "i": ("int", [17, -2147483648, 2147483647, None, 95]),
    "t": ("tinyint", [127, -128, 12, None, 13]),
    "b": ("bigint", [2**63 - 1, -(2**63), 90, None, -13]),
    "f": ("double", [1.5, float("nan"), float("inf"), None, -0.5]),
    "d": ("decimal(10,2)", [Decimal("99999999.99"), Decimal("-0.05"), Decimal("90.00"), None, Decimal("90.01")]),
    "day": ("date", [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2024, 2, 29), None, dt.date(1582, 10, 10)]),
}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("redact", "s", {}),
    ("redact", "s", {"with": "constant", "value": "it's gone"}),
    ("redact", "i", {}),
    ("number_shift", "t", {"by": 3}),
    ("number_shift", "b", {"by": -7}),
    ("number_shift", "f", {"by": 0.25}),
    ("bucket", "i", {"edges": [18, 65]}),
    ("bucket", "f", {"edges": [0, 1.5], "labels": ["low"], "below": "none"}),
    ("bucket", "d", {"edges": [0, 90]}),
    ("round", "t", {"to": 5}),
    ("round", "i", {"to": 10}),
    ("round", "b", {"to": 100}),
    ("clip", "i", {"top": 90}),
    ("clip", "f", {"top": 1, "bottom": 0}),
    ("clip", "d", {"top": 90.0}),
    ("generalize", "s", {"to": "zip3"}),
    *[("generalize", "day", {"to": unit}) for unit in ("year", "quarter", "month")],
]


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> DataFrame:
    ddl = ", ".join(f"{name} {kind}" for name, (kind, _) in ROWS.items())
    return spark.createDataFrame(list(zip(*[cells for _, cells in ROWS.values()], strict=True)), ddl).coalesce(1)


def runs_python(df: DataFrame) -> bool:
    return "MapInArrow" in df._jdf.queryExecution().toString()


def test_column_expressions_give_what_arrow_gives_and_run_no_python(table: DataFrame) -> None:
    plans = [plan_for(table, {name: (transform, parameters)}) for transform, name, parameters in CASES]
    for (transform, name, parameters), plan in zip(CASES, plans, strict=True):
        out = apply_plan(table, plan, Keyring())
        assert not runs_python(out), transform
        kind, cells = ROWS[name]
        import pyarrow as pa

        arrow = TRANSFORMS[transform].apply(pa.array(cells, arrow_type(kind)), parameters, KEYS, Context(name, kind))
        found = [row[name] for row in out.select(name).collect()]
        assert repr(found) == repr(arrow.to_pylist()), (transform, name, parameters)
        assert out.schema[name].nullable


def test_a_mixed_plan_is_one_pass_and_keeps_order_types_and_comments(spark: SparkSession) -> None:
    df = spark.createDataFrame(
        [(1, "ann", 17, dt.date(2024, 5, 17), "DE"), (2, "bob", 70, dt.date(2024, 5, 18), "FR"), (3, None, None, None, None)],
        "`the id` bigint not null comment 'key', name string, age int, day date, land string",
    )
    plan = plan_for(
        df,
        {
            "the id": ("number_shift", {"by": 100}),
            "name": ("when", {"condition": "land = 'DE'", "then": "hash", "otherwise": "redact"}),
            "age": ("bucket", {"edges": [18, 65]}),
            "day": ("date_shift", {"per": "the id", "within": 30}),
            "land": ("sql", {"expression": "length(land) + `the id`", "returns": "int"}),
        },
    )
    out = apply_plan(df, plan, KEYS)
    text = out._jdf.queryExecution().toString()
    assert text.count("MapInArrow [") <= text.count("== ")
    assert [(f.name, f.dataType.simpleString(), f.nullable) for f in out.schema.fields] == [
        ("the id", "bigint", False),
        ("name", "string", True),
        ("age", "string", True),
        ("day", "date", True),
        ("land", "int", True),
    ]
    assert out.schema["the id"].metadata == {"comment": "key"}
    rows = out.collect()
    assert [row[0] for row in rows] == [101, 102, 103]
    assert len(rows[0]["name"]) == 64 and [row["name"] for row in rows[1:]] == ["<REDACTED>", None]
    assert [row["age"] for row in rows] == ["< 18", ">= 65", None]
    assert [row["land"] for row in rows] == [3, 4, None]
    assert 1 <= abs((rows[0]["day"] - dt.date(2024, 5, 17)).days) <= 30


def test_rows_are_dropped_by_value_and_by_condition(spark: SparkSession) -> None:
    df = spark.createDataFrame([(1, "x", 5), (2, None, 6), (3, None, None)], "id int, secret string, n int")
    by_value = apply_plan(df, plan_for(df, {"secret": ("drop_row", {})}), KEYS).collect()
    assert [tuple(row) for row in by_value] == [(2, None, 6), (3, None, None)]
    by_condition = plan_for(df, {"secret": ("drop_row", {"where": "n > 5"}), "n": ("redact", {})})
    assert [tuple(row) for row in apply_plan(df, by_condition, KEYS).collect()] == [(1, "<REDACTED>", None), (3, None, None)]


@pytest.mark.parametrize("expression", ["nosuch + 1", "id +", "count(*)", "(select 1", "id; drop table t"])
def test_an_expression_that_spark_can_not_take_is_refused_before_anything_runs(spark: SparkSession, expression: str) -> None:
    df = spark.createDataFrame([(1, "x")], "id int, name string")
    with pytest.raises(PolicyError, match="can't be used on this table"):
        apply_plan(df, plan_for(df, {"name": ("sql", {"expression": expression})}), KEYS).collect()


def test_a_column_that_is_not_there_is_refused(spark: SparkSession) -> None:
    df = spark.createDataFrame([(1, dt.date(2024, 1, 1))], "person int, day date")
    with pytest.raises(PolicyError, match=r"looks at column 'persn'.*did you mean 'person'"):
        apply_plan(df, plan_for(df, {"day": ("date_shift", {"per": "persn", "within": 3})}), KEYS)


def test_nested_columns_come_through_spark(spark: SparkSession) -> None:
    ddl = "s struct<email:string,orders:array<struct<note:string,n:int>>>, m map<string,string>, j string"
    rows = [
        (("a@b.org", [("x", 1), (None, 2)]), {"k": "v", "l": None}, '{"mail": "a@b.org", "n": 1.10}'),
        ((None, []), {}, None),
        (None, None, "no json"),
    ]
    df = spark.createDataFrame(rows, ddl)
    plan = plan_for(
        df,
        {
            "s": ("paths", {"paths": {".email": "hash", ".orders[].note": "redact"}}),
            "m": ("paths", {"paths": {"{values}": "redact"}}),
            "j": ("paths", {"paths": {".mail": "redact"}}),
        },
    )
    out = apply_plan(df, plan, KEYS)
    assert out.schema == df.schema
    first, second, third = out.collect()
    assert len(first["s"]["email"]) == 64
    assert [tuple(order) for order in first["s"]["orders"]] == [("<REDACTED>", 1), (None, 2)]
    assert first["m"] == {"k": "<REDACTED>", "l": None}
    assert first["j"] == '{"mail": "<REDACTED>", "n": 1.10}'
    assert (second["s"]["email"], second["s"]["orders"], second["m"], second["j"]) == (None, [], {}, None)
    assert (third["s"], third["m"], third["j"]) == (None, None, "<REDACTED>")


def test_a_map_of_ten_thousand_keys_passes(spark: SparkSession) -> None:
    df = spark.createDataFrame([({f"k{n}": "v" for n in range(10_000)},)], "m map<string,string>")
    [row] = apply_plan(df, plan_for(df, {"m": ("paths", {"paths": {"{values}": "redact"}})}), KEYS).collect()
    assert len(row["m"]) == 10_000 and set(row["m"].values()) == {"<REDACTED>"}


HOSTILE = [
    "a.b", "tick`s", "select", "a b", "emoji 🦆", "'; DROP TABLE t; --", "1", "`", "``", "a;b", "a,b", "a)b", "$x", "%s", "{0}",
    "{{x}}", "\\", "\\n", "a\tb", "a\nb", "=1+1", "@x", "-x", "+x", "<script>", "&amp;", "|", "*", "?", "#", "c0", "s0", "C1",
    "__x", "\u202egnp", "ﬁ", "É", "\u00e9", "null", "true",
]  # fmt: skip


def test_forty_hostile_names_are_transformed_and_restored(spark: SparkSession) -> None:
    from twinlake.transform.restore import restore_plan

    assert len(HOSTILE) == 40
    df = spark.createDataFrame([tuple(f"value {n}" for n in range(40))], HOSTILE)
    turns: list[tuple[str, dict[str, Any]]] = [("encrypt", {}), ("redact", {}), ("hash", {}), ("keep", {})]
    plan = plan_for(df, {name: turns[n % 4] for n, name in enumerate(HOSTILE)})
    plan = Plan.from_yaml(plan.to_yaml(), table=[(name, "string") for name in HOSTILE])
    out = apply_plan(df, plan, KEYS)
    assert out.columns == HOSTILE
    back = restore_plan(out, plan, KEYS)
    assert back.columns == HOSTILE
    [row] = back.collect()
    assert [row[n] for n in range(0, 40, 4)] == [f"value {n}" for n in range(0, 40, 4)]
    assert [row[n] for n in range(1, 40, 4)] == ["<REDACTED>"] * 10
    assert [row[n] for n in range(3, 40, 4)] == [f"value {n}" for n in range(3, 40, 4)]


def test_a_column_that_others_read_travels_once_and_is_no_condition(spark: SparkSession) -> None:
    df = spark.createDataFrame(
        [("ann", dt.date(2024, 5, 17), "x"), ("bob", dt.date(2024, 5, 17), "y")], "id string, day date, `sql:id = 'ann'` string"
    )
    chosen: dict[str, tuple[str, dict[str, Any]]] = {
        "id": ("hash", {}),
        "day": ("date_shift", {"per": "id", "within": 30}),
        "sql:id = 'ann'": ("when", {"condition": "id = 'ann'", "then": "hash", "otherwise": "redact"}),
    }
    out = apply_plan(df, plan_for(df, {name: chosen[name] for name in ("id", "day")}), KEYS)
    assert out._jdf.queryExecution().analyzed().toString().count("AS c3") == 0
    rows = apply_plan(df, plan_for(df, chosen), KEYS).collect()
    assert [row["day"] for row in rows] == [row["day"] for row in out.collect()]
    assert [len(row[2]) for row in rows] == [64, len("<REDACTED>")]


def test_with_python_in_the_plan_zip_codes_and_numbers_go_through_arrow_with_the_same_result(table: DataFrame) -> None:
    chosen: dict[str, tuple[str, dict[str, Any]]] = {
        "s": ("generalize", {"to": "zip3"}),
        "i": ("clip", {"top": 90}),
        "t": ("round", {"to": 5}),
        "b": ("number_shift", {"by": -7}),
        "f": ("number_shift", {"by": 0.25}),
        "d": ("clip", {"top": 90.0}),
    }
    alone = apply_plan(table, plan_for(table, chosen), KEYS)
    mixed = apply_plan(table, plan_for(table, {**chosen, "day": ("date_shift", {"within": 3})}), KEYS)
    assert not runs_python(alone) and runs_python(mixed)
    assert "RLIKE" in alone._jdf.queryExecution().toString() and "RLIKE" not in mixed._jdf.queryExecution().toString()
    assert repr(mixed.select(*chosen).collect()) == repr(alone.select(*chosen).collect())
