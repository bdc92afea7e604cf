"""`paths` changes leaves of a nested column, or of JSON text, each by its own transform, and leaves the rest.

    transform: paths
    paths: {".email": fake, ".orders[].note": {transform: spans}, ".tags{values}": redact}
    rest: keep                   # or redact: every leaf that is not named

`.name` is a member of a struct or JSON object, `[]` the elements of an array, `{keys}` and `{values}` those of a map.
Null, empty and absent stay what they are at every level. Text that is no JSON is redacted whole. A path that leads
to a struct, array or map makes all of it null when redacted, and can only be kept or redacted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Apply, Context, Inner, Parameter, Transform, spec_of
from twinlake.transform.transforms.conditional import no_key
from twinlake.transform.transforms.values import family, is_text, repaired, spark_type_of

Leaf = tuple[str, pa.Array]


def paths(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` with the named leaves transformed."""

    def change(leaf: pa.Array, path: str, inner: Inner) -> pa.Array:
        own = replace(context, column=f"{context.column}{path}", type=spark_type_of(leaf.type), nullable=True)
        own = replace(own, entity=_entity(inner) or context.entity, others={})
        parameters = {key: value for key, value in inner.parameters.items() if key != "entity"}
        return context.known[inner.transform].apply(leaf, parameters, keys, own)

    return _walked(array, parameters, change, context)


def restore_paths(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """The leaves that can be restored, restored. Text leaves alone: see `_valid_leaf`."""

    def change(leaf: pa.Array, path: str, inner: Inner) -> pa.Array:
        back: Apply | None = context.known[inner.transform].restore
        if back is None:
            return leaf
        own = replace(context, column=f"{context.column}{path}", type=spark_type_of(leaf.type), nullable=True)
        own = replace(own, entity=_entity(inner) or context.entity, others={})
        return back(leaf, {k: v for k, v in inner.parameters.items() if k != "entity"}, keys, own)

    return _walked(array, parameters, change, context)


def _entity(inner: Inner) -> str | None:
    entity = inner.parameters.get("entity")
    return None if entity is None else str(entity)


def _walked(array: pa.Array, parameters: Mapping[str, Any], change: Any, context: Context) -> pa.Array:
    named = {str(path): spec_of(str(path), raw) for path, raw in parameters.get("paths", {}).items()}
    rest = None if parameters.get("rest", "keep") == "keep" else Inner("rest", str(parameters["rest"]), {})
    if pa.types.is_string(array.type):
        return _json(array, named, rest, change, context)
    return _nested(array, "", named, rest, change)


# ---- Arrow values


def _nested(array: pa.Array, path: str, named: Mapping[str, Inner], rest: Inner | None, change: Any) -> pa.Array:
    kind = array.type
    if path in named:
        out = array if named[path].transform == "keep" else change(array, path, named[path])
        return out if out.type == kind else out.cast(kind)
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        parts = [_nested(a, f"{path}.{f.name}", named, rest, change) for a, f in zip(array.flatten(), fields, strict=True)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=array.is_null()) if fields else array
    if pa.types.is_list(kind):
        inside = _nested(array.flatten(), f"{path}[]", named, rest, change)
        return pa.ListArray.from_arrays(_offsets(array, pc.list_value_length(array)), inside, type=kind)
    if pa.types.is_map(kind):
        lengths = pc.list_value_length(array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))))
        first, last = array.offsets[0].as_py(), array.offsets[len(array)].as_py()
        made = [
            _nested(part.slice(first, last - first), f"{path}{name}", named, rest, change)
            for name, part in (("{keys}", array.keys), ("{values}", array.items))
        ]
        return pa.MapArray.from_arrays(_offsets(array, lengths), *made, type=kind)
    if rest is None or pa.types.is_null(kind):
        return array
    out = change(array, path, rest)
    return out if out.type == kind else out.cast(kind)


def _offsets(array: pa.Array, lengths: pa.Array) -> pa.Array:
    """Where each list starts; null where the list is null, as Arrow's builders take it."""
    ends = np.cumsum(np.asarray(lengths.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int32))
    starts = np.concatenate([[0], ends]).astype(np.int32)
    return pa.array(starts, pa.int32(), mask=np.append(np.asarray(array.is_null().to_numpy(zero_copy_only=False)), False))


# ---- JSON text


class _Literal(str):
    """A JSON number as it was written: 1.10 stays 1.10."""

    __slots__ = ()


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object in order, repeated names included."""

    __slots__ = ()


def _json(array: pa.Array, named: Mapping[str, Inner], rest: Inner | None, change: Any, context: Context) -> pa.Array:
    encoded = repaired(array).dictionary_encode()
    trees = [_parsed(text) for text in encoded.dictionary.to_pylist()]
    leaves: dict[str, list[tuple[list[Any], int]]] = {}
    for tree in trees:
        if tree is not None:
            _collect(tree, 0, "", named, leaves)
    for path, places in leaves.items():
        inner = named.get(path, rest)
        if inner is None or inner.transform == "keep":
            continue
        _replace(places, path, inner, change, context)
    label = f"<{context.entity or 'REDACTED'}>"
    written = [label if tree is None else _dumped(tree[0]) for tree in trees]
    return pa.array(written, array.type).take(encoded.indices)


def _parsed(text: str) -> list[Any] | None:
    """The JSON value in a list of one, so that it can be replaced; None for text that is none."""
    try:
        return [json.loads(text, parse_float=_Literal, parse_int=_Literal, parse_constant=_Literal, object_pairs_hook=_Members)]
    except (ValueError, RecursionError):
        return None


def _collect(holder: list[Any], at: int, path: str, named: Mapping[str, Inner], out: dict[str, list[Any]]) -> None:
    value = holder[at]
    if path in named or not isinstance(value, list):
        if value is not None and not isinstance(value, bool):
            out.setdefault(path, []).append((holder, at))
    elif isinstance(value, _Members):
        for number, (name, member) in enumerate(value):
            cell = [member]
            value[number] = (name, cell)
            _collect(cell, 0, f"{path}.{name}", named, out)
    else:
        for number in range(len(value)):
            _collect(value, number, f"{path}[]", named, out)


def _replace(places: list[tuple[list[Any], int]], path: str, inner: Inner, change: Any, context: Context) -> None:
    values = [holder[at] for holder, at in places]
    takes = context.known[inner.transform].takes
    if takes("string"):
        texts = [value if isinstance(value, str) else _dumped(value) for value in values]
        out = change(pa.array([str(text) for text in texts], pa.string()), path, inner).cast(pa.string()).to_pylist()
    else:
        numbers = pa.array([float(v) if isinstance(v, _Literal) else None for v in values], pa.float64())
        out = [None if n is None else _Literal(repr(n)) for n in change(numbers, path, inner).to_pylist()]
    for (holder, at), old, new in zip(places, values, out, strict=True):
        number = isinstance(old, _Literal) and new is not None and _is_number(new)
        holder[at] = _Literal(new) if number else new


def _is_number(text: str) -> bool:
    try:
        return isinstance(json.loads(text), int | float)
    except ValueError:
        return False


def _dumped(value: Any) -> str:
    if isinstance(value, _Literal):
        return str(value)
    if isinstance(value, _Members):
        cells = [(name, cell[0] if isinstance(cell, list) and not isinstance(cell, _Members) else cell) for name, cell in value]
        return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {_dumped(cell)}" for name, cell in cells) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dumped, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _inner(parameters: Mapping[str, Any]) -> tuple[Inner, ...]:
    """The leaves' transforms, without the entity that the plan notes beside each."""
    specs = (spec_of(str(path), raw) for path, raw in parameters.get("paths", {}).items())
    return tuple(Inner(s.place, s.transform, {k: v for k, v in s.parameters.items() if k != "entity"}) for s in specs)


def _valid(parameters: Mapping[str, Any]) -> str | None:
    if not parameters.get("paths") and parameters.get("rest", "keep") == "keep":
        return "`paths` is missing: name a leaf and its transform, such as `paths: {.email: redact}`"
    for inner in _inner(parameters):
        if inner.transform in ("drop", "drop_row", "when", "combine", "paths", "sql"):
            return f"{inner.transform} can't work on a leaf; use redact"
        if "per" in inner.parameters:
            return f"{inner.transform} of a leaf can't look at another column; leave `per` out"
    return None


def takes_paths(spark_type: str) -> bool:
    """Nested types, and text that may hold JSON."""
    return is_text(spark_type) or (family(spark_type) == "other" and spark_type != "binary")


PATHS = Transform(
    "paths",
    paths,
    (
        Parameter("paths", dict, help="path of a leaf: transform"),
        Parameter("rest", str, "keep", ("keep", "redact"), help="what becomes of leaves that are not named"),
    ),
    takes=takes_paths,
    restore=restore_paths,
    needs_key=no_key,
    inner=_inner,
    valid=_valid,
)
