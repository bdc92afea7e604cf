"""Which leaves nested columns have: counts of nulls and lengths at every place, made on executors, and what follows from them.

A place that fewer than `people` rows reach is not modelled, a struct that is null in fewer is taken for one that never is. An
array is told up to the length that COVERED of its rows have at most, within ROOM leaves for a column of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.models.nested import Leaf, Path
from twinlake.profile.statistics import Column
from twinlake.tables.parts import read_part, run_tasks, spark_schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COVERED = 0.99
ROOM = 48
DEEPEST = 16
"""Less deep than classification looks (classify/nested.py)."""
LONGEST = (48, 16, 4)
"""Elements that are looked at of an array, of an array within one, and deeper."""


@dataclass
class Shape:
    """Of one place: the rows that reach it, those of them with a null, and how many lists have each length, int64 [L]; the
    last length stands for longer ones too."""

    rows: int = 0
    nulls: int = 0
    lengths: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(LONGEST[0] + 1, np.int64))


Shapes = dict[Path, Shape]


def add_shapes(cells: pa.Array, path: Path, found: Shapes, level: int = 0) -> None:
    """Counts the cells of one place and of those inside it."""
    shape = found.setdefault(path, Shape())
    shape.rows, shape.nulls = shape.rows + len(cells), shape.nulls + cells.null_count
    cells, kind = cells.drop_null(), cells.type
    if len(path) > DEEPEST or not len(cells):
        return
    if pa.types.is_struct(kind):
        for at in range(kind.num_fields):
            add_shapes(pc.struct_field(cells, [at]), (*path, kind.field(at).name), found, level)
    elif pa.types.is_list(kind):
        most = LONGEST[min(level, len(LONGEST) - 1)]
        lengths = pc.list_value_length(cells).to_numpy()
        shape.lengths += np.bincount(np.minimum(lengths, most), minlength=len(shape.lengths))
        starts = cells.offsets.to_numpy()[:-1]
        for position in range(min(int(lengths.max()), most)):
            inside = cells.values.take(pa.array(starts[lengths > position] + position))
            add_shapes(inside, (*path, position), found, level + 1)


def shapes_of(spark: SparkSession, files: Sequence[str], names: Sequence[str]) -> Shapes:
    """The shapes of the columns `names` in all parts."""
    total: Shapes = {}
    for row in run_tasks(spark, range(len(files)), None, partial(_part_shapes, files=list(files), names=list(names))):
        shape = total.setdefault(tuple(row["path"]), Shape())
        shape.rows, shape.nulls = shape.rows + row["rows"], shape.nulls + row["nulls"]
        shape.lengths += np.array(row["lengths"] or 0, np.int64)
    return total


def _part_shapes(number: int, files: list[str], names: list[str]) -> Iterator[dict[str, Any]]:
    found: Shapes = {}
    for batch in read_part(files[number]):
        for name in names:
            add_shapes(batch.column(name), (name,), found)
    for path, shape in found.items():
        lengths = shape.lengths.tolist() if shape.lengths.any() else None
        yield {"path": list(path), "rows": shape.rows, "nulls": shape.nulls, "lengths": lengths}


def leaves_of(
    spark: SparkSession, files: Sequence[str], schema: pa.Schema, columns: tuple[Column, ...], people: int
) -> tuple[tuple[Leaf, ...], tuple[Column, ...]]:
    """The leaves of a table and their columns, as the codec's fit wants them; no leaves where no nested column is modelled.

    `columns[...].extra`: the plan's `synthesis`, and under `leaves` that of paths with a transform of their own.
    """
    kinds = {f.name: f for f in spark_schema(schema.metadata).fields}
    nested = [c.name for c in columns if c.extra.get("synthesis", "model") == "model" and is_nested(kinds[c.name].dataType)]
    if not nested:
        return (), columns
    shapes = shapes_of(spark, files, nested)
    leaves: list[Leaf] = []
    flat: list[Column] = []
    taken = {c.name for c in columns}
    for column in columns:
        if column.name not in nested:
            leaves.append(Leaf((column.name,)))
            flat.append(column)
            continue
        own = chosen(kinds[column.name], (column.name,), shapes, people)
        for leaf, type_, nullable in own or [(Leaf((column.name,)), column.type, column.nullable)]:
            name = leaf.name
            while name in taken and leaf.path != (name,):
                name += "_"
            taken.add(name)
            leaves.append(leaf)
            flat.append(Column(name, type_, nullable, _made(leaf, column) if own else {"synthesis": "null"}))
    return tuple(leaves), tuple(flat)


def is_nested(kind: Any) -> bool:
    """Whether a Spark type has leaves that can be modelled."""
    return kind.typeName() in ("struct", "array")


def chosen(
    member: Any, path: Path, shapes: Mapping[Path, Shape], people: int, room: int = ROOM, nullable: bool = False
) -> list[tuple[Leaf, str, bool]]:
    """(leaf, Spark type, nullable) of all leaves of a StructField of Spark, gates first. `nullable`: of what holds it."""
    kind, shape, nullable = member.dataType, shapes.get(path, Shape()), nullable or member.nullable
    filled, inner = shape.nulls < people, partial(chosen, shapes=shapes, people=people)
    if len(path) > DEEPEST:
        return []
    if kind.typeName() == "struct":
        names = {f.name.casefold() for f in kind.fields}
        arrays = sum(f.dataType.typeName() == "array" for f in kind.fields)
        room = max(1, (room - len(kind.fields)) // max(1, arrays))  # a length is a leaf too
        inside = [leaf for f in kind.fields for leaf in inner(f, (*path, f.name), room=room, nullable=nullable)]
        if len(names) < len(kind.fields):  # Spark can't tell such members apart by name
            return []
        return inside if filled else [(Leaf(path, "present"), "boolean", True), *inside]
    if kind.typeName() == "array":
        wanted, out = _wanted(shape, people, room), list[tuple[Leaf, str, bool]]()
        element = type(member)("element", kind.elementType, kind.containsNull)
        for position in range(wanted):
            inside = inner(element, (*path, position), room=room // wanted, nullable=True)
            if out and len(out) + len(inside) > room:
                wanted = position
                break
            out += inside
        return [(Leaf(path, "length", filled, wanted), "int", nullable), *out]
    known = kind.typeName() in SCALARS
    return [(Leaf(path, "value", filled), kind.simpleString(), nullable)] if known else []


SCALARS = (
    *("string", "boolean", "byte", "short", "integer", "long", "float", "double", "decimal"),
    *("date", "timestamp", "timestamp_ntz"),
)


def _wanted(shape: Shape, people: int, room: int) -> int:
    """How many elements of an array are told."""
    total = shape.lengths.sum()
    covering = int(np.searchsorted(np.cumsum(shape.lengths), COVERED * total)) if total else 0
    reached = shape.lengths[::-1].cumsum()[::-1][1:]  # of each position, the rows that have it
    return min(covering, int((reached >= people).sum()), max(1, room))


def _made(leaf: Leaf, column: Column) -> dict[str, Any]:
    """How a leaf is made: as its path is planned; else as its values ask for."""
    if leaf.kind != "value":
        return {"synthesis": "count" if leaf.kind == "length" else "model"}
    path = "".join("[]" if isinstance(step, int) else f".{step}" for step in leaf.path[1:])
    found: dict[str, Any] = column.extra.get("leaves", {}).get(path, {"synthesis": "leaf"})
    return found
