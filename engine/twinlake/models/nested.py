"""Nested columns as columns of leaves, and back. A codec, a model and the metrics know leaves alone.

A struct is told by its members (`address.city`) and, where it may be null, by whether it is there (`address`: true or null).
An array is told by how many elements it has (`tags.length`, null of a null array) and by them, one by one, up to a bound
(`tags[0]`, `orders[1].price`). Both are gates: what lies behind a closed one, a member of a null struct or an element that the
array has not, is null in the flat row and nowhere in the nested one. What is not modelled inside (maps, binary) is null.

Which leaves there are is decided in models/shapes.py. Knows nothing of tokens and of files.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Leaf:
    """What a flat column tells. `path`: the table's column, then members by name and elements by position. `kind`: value,
    present (true or null) of a struct, length (int) of an array, of which `most` elements are told. `filled`: null only
    where its gate is closed (or in fewer rows than count)."""

    path: Path
    kind: str = "value"
    filled: bool = False
    most: int = 0

    @property
    def name(self) -> str:
        """As users write it in a condition: address.city, tags[0], tags.length."""
        steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path[1:]]
        return "".join([str(self.path[0]), *steps, ".length" if self.kind == "length" else ""])

    @property
    def element(self) -> Path:
        """The innermost array element that it is part of; empty where it is in none."""
        last = max((at for at, step in enumerate(self.path) if isinstance(step, int)), default=-1)
        return self.path[: last + 1]


@dataclass(frozen=True)
class Gate:
    """The flat column that opens a leaf: one of kind present, or a length, which must be above `position`."""

    column: int
    position: int | None = None

    def opened(self, cells: pa.Array) -> npt.NDArray[np.bool_]:
        """In which rows of the gate's column it is open."""
        told = cells.is_valid() if self.position is None else pc.fill_null(pc.greater(cells, self.position), False)
        return np.asarray(told.to_numpy(zero_copy_only=False), dtype=bool)


def gates_of(leaves: Sequence[Leaf]) -> dict[int, Gate]:
    """For each leaf that may be closed its nearest gate, by position; a gate comes before what it opens."""
    at = {(leaf.path, leaf.kind): number for number, leaf in enumerate(leaves)}
    out = {}
    for number, leaf in enumerate(leaves):
        for end in range(len(leaf.path) - 1, 0, -1):
            above, step = leaf.path[:end], leaf.path[end]
            if isinstance(step, int):
                out[number] = Gate(at[above, "length"], step)
                break
            if (above, "present") in at:
                out[number] = Gate(at[above, "present"])
                break
    return out


def flat_schema(table: pa.Schema, leaves: Sequence[Leaf], columns: Sequence[tuple[str, bool]]) -> pa.Schema:
    """The schema of flat rows. `columns`: name and nullability of each leaf."""

    def kind_of(leaf: Leaf) -> pa.DataType:
        kind = table.field(str(leaf.path[0])).type
        for step in leaf.path[1:]:
            kind = kind.value_type if isinstance(step, int) else kind.field(step).type
        return {"present": pa.bool_(), "length": pa.int32()}.get(leaf.kind, kind)

    fields = [pa.field(name, kind_of(leaf), nullable) for leaf, (name, nullable) in zip(leaves, columns, strict=True)]
    return pa.schema(fields, table.metadata)


def flatten(batch: pa.RecordBatch, leaves: Sequence[Leaf]) -> list[pa.Array]:
    """Rows of a table -> the cells of each leaf."""
    known: dict[Path, pa.Array] = {(name,): column for name, column in zip(batch.schema.names, batch.columns, strict=True)}

    def at(path: Path) -> pa.Array:
        if path not in known:
            above, step = at(path[:-1]), path[-1]
            inner = (
                _element(above, step) if isinstance(step, int) else pc.struct_field(above, [above.type.get_field_index(step)])
            )
            known[path] = inner
        return known[path]

    return [_told(at(leaf.path), leaf) for leaf in leaves]


def _member(array: pa.Array, name: str) -> pa.Array:
    """A member of each struct, null where the struct is."""
    return pc.struct_field(array, [array.type.get_field_index(name)])


def _element(array: pa.Array, position: int) -> pa.Array:
    """Element `position` of each list, null where it has not as many."""
    has = pc.fill_null(pc.greater(pc.list_value_length(array), position), False).to_numpy(zero_copy_only=False)
    at = array.offsets.to_numpy(zero_copy_only=False)[:-1] + position
    return array.values.take(pa.array(at, mask=~has))


def _told(array: pa.Array, leaf: Leaf) -> pa.Array:
    if leaf.kind == "present":
        return pc.if_else(array.is_valid(), pa.scalar(True), pa.scalar(None, pa.bool_()))
    if leaf.kind == "length":
        return pc.min_element_wise(pc.list_value_length(array), pa.scalar(leaf.most, pa.int32()), skip_nulls=False)
    return array


def shut(batch: pa.RecordBatch, gates: Mapping[int, Gate]) -> tuple[pa.RecordBatch, dict[int, npt.NDArray[np.bool_]]]:
    """Flat rows with null behind closed gates; and by column the rows that had a cell there."""
    emptied = {}
    for column, gate in gates.items():  # a gate comes before what it opens, so it is shut itself by now
        own = batch.column(column)
        wrong = ~gate.opened(batch.column(gate.column)) & own.is_valid().to_numpy(zero_copy_only=False)
        if wrong.any():
            emptied[column] = wrong
            kept = pc.if_else(pa.array(~wrong), own, pa.scalar(None, own.type))
            batch = batch.set_column(column, batch.schema.field(column), kept)
    return batch, emptied


def nest(flat: pa.RecordBatch, leaves: Sequence[Leaf], table: pa.Schema) -> pa.RecordBatch:
    """The cells of each leaf -> rows of `table`, exactly of its types. Whatever the cells are, no array has an element beyond
    its length, no null struct a member, and no cell that allows no null is one."""
    cells = {(leaf.path, leaf.kind): (flat.column(at), leaf) for at, leaf in enumerate(leaves)}
    arrays = [_whole(field, (field.name,), cells, flat.num_rows) for field in table]
    return pa.RecordBatch.from_arrays(arrays, schema=table)


def _whole(field: pa.Field, path: Path, cells: Mapping[tuple[Path, str], tuple[pa.Array, Leaf]], rows: int) -> pa.Array:
    kind = field.type
    if (path, "value") in cells:
        array = cells[path, "value"][0]
    elif (path, "length") in cells:
        array = _list(kind, path, cells, rows)
    elif pa.types.is_struct(kind) and any(known[: len(path)] == path for known, _ in cells):
        members = [kind.field(at) for at in range(kind.num_fields)]
        parts = [_whole(member, (*path, member.name), cells, rows) for member in members]
        mask = cells[path, "present"][0].is_null() if (path, "present") in cells else None
        array = pa.StructArray.from_arrays(parts, fields=members, mask=mask)
    else:
        array = pa.nulls(rows, kind)
    if array.null_count and not field.nullable:
        array = pc.if_else(array.is_valid(), array, pa.scalar(_neutral(kind), kind))
    return array


def _list(kind: pa.DataType, path: Path, cells: Mapping[tuple[Path, str], tuple[pa.Array, Leaf]], rows: int) -> pa.Array:
    told, leaf = cells[path, "length"]
    lengths = np.minimum(told.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64), leaf.most)
    elements = [_whole(kind.value_field, (*path, i), cells, rows) for i in range(leaf.most)]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    row = np.repeat(np.arange(rows), lengths)
    position = np.arange(starts[-1]) - starts[row]
    inside = pa.concat_arrays(elements).take(pa.array(position * rows + row)) if elements else pa.nulls(0, kind.value_type)
    missing = np.append(told.is_null().to_numpy(zero_copy_only=False), False)
    return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32), mask=missing), inside, type=kind)


def _neutral(kind: pa.DataType) -> Any:
    """What stands where nothing may be shown and no null is allowed."""
    if pa.types.is_struct(kind):
        return {kind.field(i).name: _neutral(kind.field(i).type) for i in range(kind.num_fields)}
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return []
    if pa.types.is_date(kind):
        return dt.date(1970, 1, 1)
    if pa.types.is_timestamp(kind):
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC if kind.tz else None)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return "" if pa.types.is_string(kind) else b""
    return False if pa.types.is_boolean(kind) else Decimal(0) if pa.types.is_decimal(kind) else 0


# -- Spark -----------------------------------------------------------------------------------------------------------


def has_column(schema: StructType, name: str) -> bool:
    """Whether a table of this Spark schema has a column `name`, or may have a leaf of that name."""
    if name in schema.names:
        return True
    found = {text for member in schema.fields for text in _names(member.name, member.dataType)}
    return re.sub(r"\[\d+\]", "[]", name).rstrip("_") in found


def _names(name: str, kind: Any) -> Iterator[str]:
    yield name
    if kind.typeName() == "struct":
        for member in kind.fields:
            yield from _names(f"{name}.{member.name}", member.dataType)
    if kind.typeName() == "array":
        yield f"{name}.length"
        yield from _names(f"{name}[]", kind.elementType)


def flat_frame(df: DataFrame, names: Sequence[str], leaves: Sequence[Leaf]) -> DataFrame:
    """A table's rows as flat ones, lazy: `flatten` as column expressions. Without leaves the table as it is."""
    return df.select(*[_expression(leaf).alias(name) for name, leaf in zip(names, leaves, strict=True)]) if leaves else df


def with_leaves(df: DataFrame, names: Sequence[str], leaves: Sequence[Leaf]) -> DataFrame:
    """A table with its leaves at the end, so that they can be named."""
    new = [(name, leaf) for name, leaf in zip(names, leaves, strict=False) if name not in df.columns]
    return df.select("*", *[_expression(leaf).alias(name) for name, leaf in new]) if new else df


def _expression(leaf: Leaf) -> Column:
    from pyspark.sql import functions as F

    cell = F.col(quoted(str(leaf.path[0])))
    for step in leaf.path[1:]:
        cell = F.get(cell, F.lit(step)) if isinstance(step, int) else cell.getField(step)
    if leaf.kind == "present":
        return F.when(cell.isNotNull(), F.lit(True))
    if leaf.kind == "length":
        return F.when(cell.isNotNull(), F.least(F.array_size(cell), F.lit(leaf.most)))
    return cell
