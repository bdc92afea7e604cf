"""Leaves of nested columns and of JSON text, by path: `.name` of a struct or object, `[]` of an array, `{keys}`, `{values}`
of a map. Knows no entity.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Family

Leaf: TypeAlias = tuple[str, pa.Array, Family]
DEEPEST = 20
MEMBERS = 2_000
"""Different paths of one JSON column that are followed; a document with generated member names has no end of them."""
JSON_LEAST = 0.5
"""Share of a batch's values that must begin as JSON for the column to be read as JSON."""
LONGEST_JSON = 1_000_000


def family_of(data_type: pa.DataType) -> Family | None:
    """text, number or date; None for what is nested or not looked into."""
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
        return "text"
    if pa.types.is_integer(data_type) or pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        return "number"
    return "date" if pa.types.is_date(data_type) or pa.types.is_timestamp(data_type) else None


def is_nested(data_type: pa.DataType) -> bool:
    """Whether `leaves` can go into it."""
    return bool(pa.types.is_struct(data_type) or pa.types.is_map(data_type) or _is_list(data_type))


def leaves(column: pa.Array, path: str = "", depth: int = 0) -> Iterator[Leaf]:
    """(path, values, family) of every leaf under `column` that can be looked into."""
    kind = column.type
    if depth > DEEPEST:
        return
    if pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            yield from leaves(pc.struct_field(column, [i]), f"{path}.{kind.field(i).name}", depth + 1)
    elif pa.types.is_map(kind):
        column = column.drop_null()
        yield from leaves(column.keys, path + "{keys}", depth + 1)
        yield from leaves(column.items, path + "{values}", depth + 1)
    elif _is_list(kind):
        yield from leaves(pc.list_flatten(column), path + "[]", depth + 1)
    elif (family := family_of(kind)) is not None:
        yield path, as_text(column, family), family


def json_leaves(texts: pa.StringArray) -> list[Leaf] | None:
    """The leaves of JSON documents in a text column; None where it does not hold JSON."""
    begins = pc.match_substring_regex(texts, pattern="^\\s*[\\[{]").fill_null(False)
    filled = len(texts) - texts.null_count
    if not filled or pc.sum(begins).as_py() < JSON_LEAST * filled:
        return None
    found: dict[str, list[str | None]] = {}
    read = 0
    for text in texts.filter(begins).to_pylist():
        document = _parsed(text)
        if document is not None:
            read += 1
            _collect(document, "", found, 0)
    if read < JSON_LEAST * filled:
        return None
    return [(path, pa.array(values, pa.string()), "text") for path, values in found.items()]


def as_text(column: pa.Array, family: Family) -> pa.Array:
    """Values as text; a whole float without its fraction, as it often was an integer before nulls came."""
    text = column.cast(pa.string())
    if family == "number" and not pa.types.is_integer(column.type):
        values = pc.cast(column, pa.float64(), safe=False)
        with np.errstate(invalid="ignore"):
            numbers = values.to_numpy(zero_copy_only=False)
            whole = np.isfinite(numbers) & (np.abs(numbers) < 2.0**53) & (numbers == np.floor(numbers))
        bare = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.string())
        return pc.if_else(pc.and_(pa.array(whole), pc.is_valid(column)), bare, text)
    return text


def last_name(column: str, path: str) -> str:
    """The name that speaks for a leaf: its own member name, else that of what holds it; nothing for the keys of a map."""
    if path.endswith("{keys}"):
        return ""
    for part in reversed(path.replace("[]", "").replace("{values}", "").replace("{keys}", "").split(".")):
        if part:
            return part
    return column


def _parsed(text: str) -> Any:
    if len(text) > LONGEST_JSON:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _collect(document: Any, path: str, found: dict[str, list[str | None]], depth: int) -> None:
    if depth > DEEPEST:
        return
    if isinstance(document, dict):
        for name, value in document.items():
            _collect(value, f"{path}.{name}", found, depth + 1)
    elif isinstance(document, list):
        for value in document:
            _collect(value, path + "[]", found, depth + 1)
    elif path in found or len(found) < MEMBERS:
        text = None if document is None or isinstance(document, bool) else str(document)
        found.setdefault(path, []).append(text)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
