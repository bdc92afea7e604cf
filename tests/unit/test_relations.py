"""Relations between columns: found where all rows have them, restored on rows that break them. Worked out by hand."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from twinlake.models.codec import Codec, Relation
from twinlake.models.column import ColumnCodec
from twinlake.models.encode import _encode_part
from twinlake.models.relations import Check, candidates, restore
from twinlake.tables.parts import publish, write_part

CITY = ColumnCodec("city", "string", "category", values=("Bonn", "Lyon", "Nice"), coarse=(0, 1, 2, 3))
LAND = ColumnCodec("land", "string", "category", values=("FR", "DE"), coarse=(0, 1, 2))
TOWN = ColumnCodec("town", "string", "category", values=("Bonn", "Lyon", "Nice"), coarse=(0, 1, 2, 3))


def money(name: str, scale: int = 2) -> ColumnCodec:
    return ColumnCodec(
        name,
        "decimal(9,2)",
        "number",
        ("null",),
        low=(0, 500),
        high=(499, 9_999),
        bin_start=(0, 1),
        scale=scale,
        coarse=(0, 1, 2),
    )


def day(name: str) -> ColumnCodec:
    return ColumnCodec(name, "date", "number", states=("null",), low=(0,), high=(999,), bin_start=(0,), coarse=(0, 1))


COLUMNS = (CITY, LAND, TOWN, money("net"), money("tax"), money("gross"), day("sent"), day("paid"))
SCHEMA = pa.schema(
    [
        (c.name, pa.string() if c.method == "category" else pa.date32() if c.type == "date" else pa.decimal128(9, 2))
        for c in COLUMNS
    ]
)
CODEC = Codec(COLUMNS, SCHEMA)
FOUND = [
    Relation("copy", (0, 2)),
    Relation("order", (6, 7)),
    Relation("sum", (3, 4, 5)),
    Relation("determines", (0, 1)),
    Relation("determines", (0, 2)),
    Relation("determines", (2, 1)),
]


def rows(**changed: list[Any]) -> pa.RecordBatch:
    count = 200
    cents = [(i * 37) % 4_000 for i in range(count)]
    tax = [(i * 13) % 900 for i in range(count)]
    start = [i % 90 for i in range(count)]
    columns: dict[str, list[Any]] = {
        "city": [("Bonn", "Lyon", "Nice")[i % 3] for i in range(count)],
        "land": [("DE", "FR", "FR")[i % 3] for i in range(count)],
        "town": [("Bonn", "Lyon", "Nice")[i % 3] for i in range(count)],
        "net": [Decimal(c).scaleb(-2) for c in cents],
        "tax": [Decimal(t).scaleb(-2) for t in tax],
        "gross": [Decimal(c + t).scaleb(-2) if i % 7 else None for i, (c, t) in enumerate(zip(cents, tax, strict=True))],
        "sent": [dt.date(1970, 1, 1) + dt.timedelta(days=s) for s in start],
        "paid": [None if i % 5 == 0 else dt.date(1970, 1, 1) + dt.timedelta(days=s + i % 30) for i, s in enumerate(start)],
    }
    for name, head in changed.items():
        columns[name] = head + columns[name][len(head) :]
    return pa.record_batch([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)


def test_candidates_are_the_relations_that_all_rows_have() -> None:
    assert candidates(CODEC, CODEC.encode(rows()), rows()) == FOUND


@pytest.mark.parametrize(
    ("changed", "lost"),
    [
        ({"town": ["Nice"]}, [FOUND[0], FOUND[4], FOUND[5]]),
        ({"paid": [None, dt.date(1970, 1, 1)]}, [FOUND[1]]),
        ({"gross": [None, Decimal("0.51")]}, [FOUND[2]]),
        ({"land": ["FR"]}, [FOUND[3], FOUND[5]]),
    ],
)
def test_one_row_that_breaks_a_relation_ends_it(changed: dict[str, list[Any]], lost: list[Relation], tmp_path: Path) -> None:
    whole, other = Check(CODEC, FOUND), Check(CODEC, FOUND)
    whole.add(CODEC.encode(rows()), rows())
    assert [r.kind for r in whole.result()] == [r.kind for r in FOUND]
    assert whole.result()[3].map == (1, 0, 0, -1)  # Bonn: DE; Lyon, Nice: FR; the rare city leads nowhere
    bad = rows(**changed)
    other.add(CODEC.encode(bad), bad)
    other.save(tmp_path / "found.npz")
    whole.take(tmp_path / "found.npz")
    assert [(r.kind, r.columns) for r in whole.result()] == [(r.kind, r.columns) for r in FOUND if r not in lost]


def test_a_part_sends_no_map_to_the_driver(with_spark_schema: Any, tmp_path: Path) -> None:
    """20,000 codes decide their groups: what the part tells stays small, and the map is whole in its file."""
    codes, groups = [f"code {n:05d}" for n in range(20_000)], ("even", "odd")
    columns = (
        ColumnCodec("code", "string", "category", values=tuple(codes), coarse=(0,) * 20_001),
        ColumnCodec("group", "string", "category", values=groups, coarse=(0, 1, 2)),
    )
    schema = with_spark_schema(pa.schema([("code", pa.string()), ("group", pa.string())]))
    table = pa.table({"code": codes, "group": [groups[n % 2] for n in range(20_000)]}, schema=schema)
    (tmp_path / "staging").mkdir()
    write_part(tmp_path / "staging", 0, schema, table.to_batches())
    publish(tmp_path / "staging", tmp_path / "table", 1, {})
    codec, wanted = Codec(columns, schema), [Relation("determines", (0, 1))]
    (tmp_path / "codec.json").write_text(codec.to_json())
    out = tmp_path / "encoded"
    out.mkdir()
    [told] = _encode_part(0, str(tmp_path / "table"), str(tmp_path / "codec.json"), str(out), True, 1.0, wanted)
    assert len(json.dumps(told)) < 1_000
    check = Check(codec, wanted)
    check.take(out / told["relations"])
    [found] = check.result()
    assert codec.encode(table.to_batches()[0])[:2].tolist() == [[0, 0, 0], [0, 1, 1]]  # a code has two tokens
    assert found.map[:20_000] == (0, 1) * 10_000 and set(found.map[20_000:]) == {-1}


def small(cells: dict[str, list[Any]]) -> pa.RecordBatch:
    count = len(next(iter(cells.values())))
    return pa.record_batch([pa.array(cells.get(f.name, [None] * count), f.type) for f in SCHEMA], schema=SCHEMA)


def test_cells_are_changed_where_they_are_free() -> None:
    codec = Codec(COLUMNS, SCHEMA, tuple(FOUND[:3]))
    d, day_ = Decimal, lambda n: dt.date(1970, 1, 1) + dt.timedelta(days=n)
    batch = small(
        {
            "city": ["Bonn", "Lyon", None],
            "town": ["Nice", "Lyon", "Bonn"],
            "net": [d("1.10"), d("2.00"), d("3.00")],
            "tax": [d("0.20"), None, d("0.50")],
            "gross": [d("9.99"), d("9.99"), d("3.50")],
            "sent": [day_(9), day_(3), None],
            "paid": [day_(4), day_(3), day_(1)],
        }
    )
    made, changed = restore(codec, batch, batch, {})
    assert made["town"].to_pylist() == ["Bonn", "Lyon", None]
    assert made["gross"].to_pylist() == [d("1.30"), d("9.99"), d("3.50")]  # a part is null: nothing to add up
    assert made["sent"].to_pylist() == [day_(4), day_(3), None] and made["paid"].to_pylist() == [day_(9), day_(3), day_(1)]
    assert {2, 5, 6, 7} == set(changed)
    fixed = np.zeros(3, bool)
    made, _ = restore(codec, batch, batch, {2: fixed, 5: fixed, 7: fixed})
    assert made["city"].to_pylist() == ["Nice", "Lyon", "Bonn"]
    assert made["net"].to_pylist() == [d("9.79"), d("2.00"), d("3.00")] and made["gross"] == batch["gross"]
    assert made["sent"].to_pylist() == [day_(4), day_(3), None] and made["paid"] == batch["paid"]


def test_a_codec_with_relations_survives_json() -> None:
    codec = Codec(COLUMNS, SCHEMA, (FOUND[0], Relation("determines", (0, 1), (1, 0, 0, -1))))
    assert Codec.from_json(codec.to_json()).relations == codec.relations
