"""What every row of a twin should keep: violations planted by hand are counted, and nothing else is."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

import twinlake
from twinlake.evaluate.evidence import Evidence, Promised
from twinlake.evaluate.metrics import METRICS
from twinlake.evaluate.metrics.validity import validity, validity_step
from twinlake.generate.rules import read_rules
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.times import Since

DDL = "id bigint, `a.``b` int, city string, since date, pay double"
START = dt.date(2020, 1, 1)


def rows(n: int) -> list[tuple[Any, ...]]:
    """Every end and every value is held by 20 people or more; `pay` alone misses values."""
    return [
        (i, 20 + i % 10, ("Rome", "Oslo", "Bern")[i % 3], START + dt.timedelta(i % 12), None if i % 8 == 0 else 1.5 * (i % 7))
        for i in range(n)
    ]


def failed(found: Any) -> dict[tuple[str, str], int]:
    return {(c["check"], c["of"]): c["rows"] for c in found.detail["checks"] if not c["passed"]}


@pytest.fixture
def only_validity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        import_module("twinlake.evaluate.evaluate"), "METRICS", {name: METRICS[name] for name in ("validity", "text_copies")}
    )


def test_planted_violations_are_counted(spark: Any, only_validity: None) -> None:
    real = spark.createDataFrame(rows(320), DDL)
    twin = rows(320)
    twin[3] = (4, 19, "Rome", START - dt.timedelta(1), float("nan"))
    twin[5] = (6, 30, None, START, float("inf"))
    twin[7] = (8, None, "rome", START, 9.1)
    twin[9] = (8, 29, "", START, 9.0)
    ddl = DDL.replace("city string", "city string, extra int").replace("`a.``b` int", "`a.``b` bigint")
    other = spark.createDataFrame([(*r[:3], 1, *r[3:]) for r in twin], ddl)
    note = F.concat(F.lit("the card of number "), F.col("id"), F.lit(" was lost on the way to Rome"))
    results = twinlake.evaluate(real.withColumn("note", note), other.withColumn("note", F.upper(note))).results
    found = results["validity"]
    expected = {
        ("type", "a.`b"): 320,
        ("type", "extra"): 320,
        ("range", "a.`b"): 2,
        ("range", "since"): 1,
        ("range", "pay"): 3,
        ("category", "city"): 2,
        ("null", "a.`b"): 1,
        ("null", "city"): 1,
        ("key", "id"): 4,  # 4, 6 and 8 twice, and 8 once more: four rows too many
    }
    assert failed(found) == expected
    kinds = [c["check"] for c in found.detail["checks"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {"type": 7, "range": 3, "category": 1, "null": 6, "key": 1}
    assert found.value == pytest.approx(1 - len(expected) / 18, abs=1e-12) and found.detail["n"] == 320
    assert results["text_copies"].value == 1.0  # the notes of the train rows, in other letters


def test_rules_of_the_run_are_asked_of_all_rows(spark: Any) -> None:
    real, twin = rows(60), rows(60)
    twin[2] = (*twin[2][:3], START - dt.timedelta(9), 2.0)
    twin[4] = twin[5] = (5, 20, "Pisa", START, 0.0)
    frames = [spark.createDataFrame(r, DDL) for r in (real, twin)]
    rules = read_rules(["since >= '2020-01-01'", {"combination": ["city"]}, "id >= 0"])
    held = Evidence(*frames, (), {}, k=10, promised=Promised(Codec((), pa.schema([])), *frames, rules))
    found = validity(held)
    assert failed(found) == {("rule", "since >= '2020-01-01'"): 1, ("rule", "combination (city)"): 2}
    assert found.value == pytest.approx(6 / 8, abs=1e-12)  # five columns have their names and types
    none = validity(replace(held, promised=None, memo={}))
    assert none.value is None and none.reason == "what the columns may hold was not given"
    assert validity(replace(held, synthetic=frames[1].limit(0), memo={})).reason == "the twin has no rows"


def test_values_are_held_against_what_the_codec_publishes() -> None:
    """Exact integers, decimals, texts that are numbers, states, times told since another, constants, without Spark."""
    big = 2**62
    columns = (
        ColumnCodec("big", "bigint", "number", low=(big - 2,), high=(big,), atoms=(-7,)),
        ColumnCodec("money", "decimal(9,2)", "number", low=(100,), high=(250,), scale=2, states=("null",)),
        ColumnCodec("code", "string", "number", low=(1,), high=(9,), text="integer", texts=("n/a",)),
        ColumnCodec("x", "double", "number", low=(0.5,), high=(1.5,), domain="float", states=("nan",)),
        ColumnCodec("on", "date", "number", low=(0,), high=(9,), states=("null",)),
        ColumnCodec("until", "date", "number", low=(0,), high=(3,), since=Since(4, 1, 1, 2, 12)),
        ColumnCodec("one", "boolean", "constant", values=("true",)),
        ColumnCodec("void", "string", "null"),
    )
    days = [dt.date(1970, 1, 1) + dt.timedelta(n) for n in range(20)]
    arrays = {
        "big": pa.array([big, big + 1, -7, -8], pa.int64()),
        "money": pa.array([Decimal("1.00"), Decimal("2.51"), None, Decimal("0.99")], pa.decimal128(9, 2)),
        "code": pa.array(["9", "n/a", "10", "x"]),
        "x": pa.array([float("nan"), float("inf"), 1.5, None]),
        "on": pa.array([days[0], days[9], None, days[10]]),
        "until": pa.array([days[2], days[12], None, days[13]]),
        "one": pa.array([True, False, None, True]),
        "void": pa.array([None] * 4, pa.string()),
    }
    codec = Codec(columns, pa.schema([pa.field(n, a.type) for n, a in arrays.items()]))
    batch = pa.RecordBatch.from_pydict({"side": pa.array([2] * 4), **{f"c{i}": a for i, a in enumerate(arrays.values())}})
    found = validity_step(codec, batch, 2)
    assert found["value"].tolist() == [2, 2, 2, 1, 1, 1, 1, 0]
    assert found["null"].tolist() == [0, 0, 0, 1, 0, 0, 1, 0]  # a column that is always null is not looked at
    assert np.isfinite(found["value"]).all()
