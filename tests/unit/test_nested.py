"""Nested columns as columns of leaves and back: what is told apart, what is bounded, and that whatever is drawn is valid."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from twinlake.models.nested import Gate, Leaf, flat_schema, flatten, gates_of, has_column, nest, shut
from twinlake.models.shapes import DEEPEST, ROOM, Shapes, add_shapes, chosen

ADDRESS = T.StructType(
    [
        T.StructField("city", T.StringType()),
        T.StructField("geo", T.StructType([T.StructField("lat", T.DoubleType())])),
    ]
)
ORDER = T.StructType([T.StructField("price", T.DecimalType(6, 2), False), T.StructField("at", T.TimestampType())])
TABLE = T.StructType(
    [
        T.StructField("id", T.IntegerType(), False),
        T.StructField("address", ADDRESS),
        T.StructField("tags", T.ArrayType(T.StringType())),
        T.StructField("orders", T.ArrayType(ORDER, False), False),
        T.StructField("more", T.MapType(T.StringType(), T.IntegerType())),
    ]
)
NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
ROWS: list[dict[str, Any]] = [
    {"id": 1, "address": {"city": "a", "geo": None}, "tags": ["x", None], "orders": [], "more": None},
    {"id": 2, "address": None, "tags": None, "orders": [{"price": Decimal(2), "at": NOON}, {"price": Decimal(3), "at": None}]},
    {"id": 3, "address": {"city": None, "geo": {"lat": None}}, "tags": [], "orders": [{"price": Decimal(4), "at": NOON}]},
    {"id": 4, "address": {"city": "b", "geo": {"lat": 0.5}}, "tags": [None], "orders": []},
]

Chosen = list[tuple[Leaf, str, bool]]


def batch_of(rows: list[dict[str, Any]], table: T.StructType) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=to_arrow_schema(table, timezone="UTC"))


def leaves_in(batch: pa.RecordBatch, table: T.StructType, people: int = 1, room: int = ROOM) -> Chosen:
    shapes: Shapes = {}
    for name in table.names:
        add_shapes(batch.column(name), (name,), shapes)
    found: Chosen = []
    for f in table.fields:
        own = chosen(f, (f.name,), shapes, people, room)
        found += own or [(Leaf((f.name,)), f.dataType.simpleString(), f.nullable)]
    return found


def flat_of(batch: pa.RecordBatch, found: Chosen) -> pa.RecordBatch:
    leaves = [leaf for leaf, _, _ in found]
    schema = flat_schema(batch.schema, leaves, [(leaf.name, nullable) for leaf, _, nullable in found])
    return pa.RecordBatch.from_arrays(flatten(batch, leaves), schema=schema)


def test_every_state_is_told_apart() -> None:
    """By hand: null struct and null member, null array, empty array and array of a null."""
    batch = batch_of(ROWS, TABLE)
    found = leaves_in(batch, TABLE)
    flat = flat_of(batch, found)
    assert flat.to_pydict() == {
        "id": [1, 2, 3, 4],
        "address": [True, None, True, True],
        "address.city": ["a", None, None, "b"],
        "address.geo": [None, None, True, True],
        "address.geo.lat": [None, None, None, 0.5],
        "tags.length": [2, None, 0, 1],
        "tags[0]": ["x", None, None, None],
        "tags[1]": [None, None, None, None],
        "orders.length": [0, 2, 1, 0],
        "orders[0].price": [None, Decimal("2.00"), Decimal("4.00"), None],
        "orders[0].at": [None, NOON, NOON, None],
        "orders[1].price": [None, Decimal("3.00"), None, None],
        "orders[1].at": [None, None, None, None],
        "more": [None, None, None, None],
    }
    assert [type_ for _, type_, _ in found][5:11] == ["int", "string", "string", "int", "decimal(6,2)", "timestamp"]
    assert [flat.schema.field(name).nullable for name in ("id", "orders.length", "orders[0].price")] == [False, False, True]
    back = nest(flat, [leaf for leaf, _, _ in found], batch.schema)
    back.validate(full=True)
    assert back.schema.equals(batch.schema) and back.to_pylist() == batch.to_pylist()


def test_a_leaf_knows_its_nearest_gate() -> None:
    found = leaves_in(batch_of(ROWS, TABLE), TABLE)
    names = [leaf.name for leaf, _, _ in found]
    gates = {names[at]: (names[g.column], g.position) for at, g in gates_of([leaf for leaf, _, _ in found]).items()}
    assert gates["address.city"] == ("address", None) and gates["address.geo"] == ("address", None)
    assert gates["address.geo.lat"] == ("address.geo", None)
    assert gates["tags[1]"] == ("tags.length", 1) and gates["orders[1].at"] == ("orders.length", 1)
    assert not {"id", "address", "tags.length", "more"} & set(gates)


def test_what_lies_behind_a_closed_gate_is_emptied() -> None:
    flat = pa.record_batch({"n": pa.array([0, 1, None, 2], pa.int32()), "a": ["p", "q", "r", "s"], "b": ["p", "q", "r", "s"]})
    made, emptied = shut(flat, {1: Gate(0, 0), 2: Gate(0, 1)})
    assert made.to_pydict() == {"n": [0, 1, None, 2], "a": [None, "q", None, "s"], "b": [None, None, None, "s"]}
    assert {at: rows.tolist() for at, rows in emptied.items()} == {
        1: [True, False, True, False],
        2: [True, True, True, False],
    }


def test_few_rows_decide_nothing() -> None:
    """200 arrays: 30 of one element, 12 of two, 9 of three; 9 null structs, and 12 of another."""
    table = T.StructType(
        [
            T.StructField("list", T.ArrayType(T.IntegerType())),
            T.StructField("rare", T.StructType([T.StructField("x", T.IntegerType())])),
            T.StructField("often", T.StructType([T.StructField("x", T.IntegerType())])),
        ]
    )
    lengths = [3] * 9 + [2] * 12 + [1] * 30 + [0] * 149
    rows = [
        {"list": [1] * n, "rare": None if i < 9 else {"x": 1}, "often": None if i < 12 else {"x": None if i > 190 else 1}}
        for i, n in enumerate(lengths)
    ]
    found = {leaf.name: leaf for leaf, _, _ in leaves_in(batch_of(rows, table), table, people=10)}
    assert list(found) == ["list.length", "list[0]", "list[1]", "rare.x", "often", "often.x"]
    assert found["list.length"].most == 2 and found["list.length"].filled
    assert found["rare.x"].filled and found["often.x"].filled  # 9 nulls in structs that are there


def test_long_arrays_are_told_up_to_the_length_of_nearly_all() -> None:
    table = T.StructType([T.StructField("list", T.ArrayType(T.IntegerType()))])
    rows = [{"list": [0] * n} for n in [2] * 1_900 + [5] * 85 + [9] * 15]  # 99% have at most 5
    (length, _, _), *elements = leaves_in(batch_of(rows, table), table, people=10)
    assert length.most == 5 and len(elements) == 5
    flat = flat_of(batch_of(rows, table), [(length, "int", True), *elements])
    assert max(flat.column("list.length").to_pylist()) == 5
    wide = [{"list": [0] * 300}] * 50
    assert len(leaves_in(batch_of(wide, table), table)) == 1 + ROOM
    pair = T.StructType([T.StructField("a", T.IntegerType()), T.StructField("b", T.ArrayType(T.IntegerType()))])
    both = T.StructType([T.StructField("list", T.ArrayType(pair))])
    deep = [{"list": [{"a": 1, "b": [1] * 40}] * 4}] * 50
    names = [leaf.name for leaf, _, _ in leaves_in(batch_of(deep, both), both)]
    assert len(names) <= 1 + ROOM and {"list[3].a", "list[3].b.length", "list[3].b[0]"} <= set(names)


def test_what_is_not_simple_is_null() -> None:
    """Maps, binary values and what lies too deep; members that Spark can't tell apart take their struct with them."""
    deep: T.DataType = T.IntegerType()
    cell: Any = 1
    for _ in range(DEEPEST + 1):
        deep, cell = T.StructType([T.StructField("x", deep)]), {"x": cell}
    twins = T.StructType([T.StructField("a", T.IntegerType()), T.StructField("A", T.IntegerType())])
    inner = T.StructType(
        [
            T.StructField("m", T.MapType(T.StringType(), T.IntegerType()), False),
            T.StructField("raw", T.BinaryType()),
            T.StructField("n", T.IntegerType()),
            T.StructField("twins", twins),
        ]
    )
    table = T.StructType([T.StructField("s", inner, False), T.StructField("deep", deep)])
    rows = [{"s": {"m": {"k": 1}, "raw": b"x", "n": 7, "twins": {"a": 1, "A": 2}}, "deep": cell}]
    batch = batch_of(rows, table)
    found = leaves_in(batch, table)
    assert [leaf.name for leaf, _, _ in found] == ["s.n", "deep"] and found[1][0].kind == "value"
    flat = flat_of(batch, found).set_column(1, "deep", pa.nulls(1, batch.schema.field("deep").type))
    back = nest(flat, [leaf for leaf, _, _ in found], batch.schema)
    assert back.to_pylist() == [{"s": {"m": [], "raw": None, "n": 7, "twins": None}, "deep": None}]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("address", True), ("address.city", True), ("address.geo.lat", True), ("tags.length", True), ("tags[12]", True),
        ("orders[0].price", True), ("orders[0]", True), ("address.town", False), ("tags", True), ("tags.city", False),
        ("id.length", False), ("orders.price", False), ("more.key", False),
    ],
)  # fmt: skip
def test_names_are_known_before_any_row_is_read(name: str, known: bool) -> None:
    assert has_column(TABLE, name) is known


# -- any table ---------------------------------------------------------------------------------------------------------

SCALARS: dict[str, tuple[T.DataType, st.SearchStrategy[Any]]] = {
    "int": (T.IntegerType(), st.integers(-9, 9)),
    "text": (T.StringType(), st.text(max_size=3)),
    "flag": (T.BooleanType(), st.booleans()),
    "day": (T.DateType(), st.dates()),
    "cents": (T.DecimalType(6, 2), st.decimals(-99, 99, places=2)),
}


@st.composite
def kinds(draw: st.DrawFn, depth: int = 0) -> tuple[T.DataType, st.SearchStrategy[Any]]:
    """A Spark type, and values of it."""
    kind = draw(st.sampled_from([*SCALARS, *(["struct", "array"] if depth < 3 else [])]))
    if kind == "array":
        (inner, cells), nulls = draw(kinds(depth + 1)), draw(st.booleans())
        return T.ArrayType(inner, nulls), st.lists(st.none() | cells if nulls else cells, max_size=3)
    if kind == "struct":
        members = [(f"m.{i}`", *draw(kinds(depth + 1)), draw(st.booleans())) for i in range(draw(st.integers(1, 3)))]
        fields = [T.StructField(name, inner, nulls) for name, inner, _, nulls in members]
        cells = {name: st.none() | values if nulls else values for name, _, values, nulls in members}
        return T.StructType(fields), st.fixed_dictionaries(cells)
    return SCALARS[kind]


@st.composite
def tables(draw: st.DrawFn) -> tuple[T.StructType, pa.RecordBatch]:
    """A table of up to three columns of any type, and up to eight rows, or none."""
    columns = [(f"c{i}", *draw(kinds()), draw(st.booleans())) for i in range(draw(st.integers(1, 3)))]
    table = T.StructType([T.StructField(name, kind, nulls) for name, kind, _, nulls in columns])
    cells = {name: st.none() | values if nulls else values for name, _, values, nulls in columns}
    rows = draw(st.lists(st.fixed_dictionaries(cells), max_size=8))
    return table, batch_of(rows, table)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_flat_rows_nest_to_the_same_rows(given_: tuple[T.StructType, pa.RecordBatch]) -> None:
    table, batch = given_
    found = leaves_in(batch, table, people=1, room=10_000)
    flat = flat_of(batch, found)
    assert not shut(flat, gates_of([leaf for leaf, _, _ in found]))[1]
    back = nest(flat, [leaf for leaf, _, _ in found], batch.schema)
    back.validate(full=True)
    assert back.schema.equals(batch.schema) and back.to_pylist() == batch.to_pylist()


def missing(value: Any, kind: pa.DataType) -> Iterator[str]:
    """Where a value has a null that its type does not allow."""
    if pa.types.is_list(kind):
        for element in value or []:
            if element is None and not kind.value_field.nullable:
                yield "element"
            yield from missing(element, kind.value_type)
    elif pa.types.is_struct(kind) and value is not None:
        for at in range(kind.num_fields):
            member = kind.field(at)
            if value[member.name] is None and not member.nullable:
                yield member.name
            yield from missing(value[member.name], member.type)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables(), st.randoms(use_true_random=False))
def test_whatever_is_drawn_is_valid(given_: tuple[T.StructType, pa.RecordBatch], chance: Any) -> None:
    """Each flat column shuffled for itself, with nulls anywhere and lengths beyond what is told."""
    table, batch = given_
    found = leaves_in(batch, table, people=1, room=10_000)
    leaves = [leaf for leaf, _, _ in found]
    flat, rows = flat_of(batch, found), batch.num_rows
    for at, leaf in enumerate(leaves):
        cells = flat.column(at).take(pa.array([chance.choice([None, *range(rows)]) for _ in range(rows)], pa.int64()))
        if leaf.kind == "length":
            cells = pa.array([chance.choice([None, 0, leaf.most, leaf.most + 3]) for _ in range(rows)], pa.int32())
        flat = flat.set_column(at, flat.schema.field(at).with_nullable(True), cells)
    closed, _ = shut(flat, gates_of(leaves))
    made = nest(closed, leaves, batch.schema)
    made.validate(full=True)
    assert made.schema.equals(batch.schema)
    row_type = pa.struct(list(batch.schema))
    assert [where for row in made.to_pylist() for where in missing(row, row_type)] == []
    for leaf, cells in zip(leaves, closed.columns, strict=True):
        if len(leaf.path) == 1 and leaf.kind == "length":
            told = [None if n is None else min(n, leaf.most) for n in cells.to_pylist()]
            nullable = batch.schema.field(leaf.path[0]).nullable
            lengths = [None if v is None else len(v) for v in made.column(leaf.path[0]).to_pylist()]
            assert lengths == [0 if n is None and not nullable else n for n in told]


def test_shapes_of_slices_add_up() -> None:
    batch = batch_of(ROWS * 5, TABLE)
    whole: Shapes = {}
    parts: Shapes = {}
    add_shapes(batch.column("orders"), ("orders",), whole)
    for start in range(0, 20, 7):
        add_shapes(batch.slice(start, 7).column("orders"), ("orders",), parts)
    assert set(whole) == set(parts)
    for path, shape in whole.items():
        assert (shape.rows, shape.nulls) == (parts[path].rows, parts[path].nulls)
        assert np.array_equal(shape.lengths, parts[path].lengths)
    assert (whole["orders", 0, "at"].rows, whole["orders", 0, "at"].nulls) == (10, 0)
    assert (whole["orders", 1, "at"].rows, whole["orders", 1, "at"].nulls) == (5, 5)
    assert Leaf(("a", 0, "b", 1, "c")).element == ("a", 0, "b", 1) and Leaf(("a", "b")).element == ()
