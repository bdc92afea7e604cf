"""Conditions: values that a column must take, as tokens that may be drawn.

Nothing is rejected: the columns that are given come first in the order of drawing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.errors import ConfigError, escaped, in_quotes, nearest
from twinlake.models.codec import BLOCK, Codec, ColumnCodec, Tokens, decode_column, encode_column, from_text, to_domain
from twinlake.models.sampler import Given

MAX_SHOWN = 20


@dataclass(frozen=True)
class Condition:
    """The values that a column may take, and the tokens of each; without tokens all rows get `values[0]`. Of a range
    there are no values, but the column's codec cut to it, and the share of each token that it leaves."""

    column: int
    values: pa.Array
    tokens: Tokens | None
    given: Given | None
    cut: ColumnCodec | None = None

    def apply(self, array: pa.Array, tokens: Tokens, uniform: npt.NDArray[np.float64]) -> pa.Array:
        """The decoded column with the very values that were asked for (decoding alone gives some value of the same
        bin); of several values in one bin each is as likely."""
        if self.cut is not None:
            return decode_column(self.cut, tokens, uniform, np.empty(0, np.uint64), 0, array.type)
        if self.tokens is None or len(self.values) == 1:
            return pa.repeat(self.values[0], len(array)) if self.values[0].is_valid else pa.nulls(len(array), array.type)
        same = (tokens[:, None, :] == self.tokens[None, :, :]).all(axis=2)
        wanted = np.floor(uniform * same.sum(axis=1)).astype(np.int64)
        chosen = same & (same.cumsum(axis=1) - 1 == wanted[:, None])
        return self.values.take(pa.array(chosen.argmax(axis=1)))


def read_conditions(conditions: Mapping[str, Any], codec: Codec) -> list[Condition]:
    """Conditions by column name: a value, null, a list of values, or a range {min: ..., max: ...} (both ends belong to it,
    either may be left out).

    Errors: ConfigError naming the column and what is known of it: unknown column, wrong type, a value that the model
    has never seen (or that too few people hold), a number outside the learned range, null where there was none.
    """
    names = [c.name for c in codec.columns]
    out = []
    for name, wanted in conditions.items():
        if name not in names:
            raise ConfigError(f"generate.conditions: no column {in_quotes(name)}{nearest(name, names)}")
        if isinstance(wanted, dict):
            out.append(_range(names.index(name), wanted, codec))
            continue
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values or any(isinstance(v, dict | list) for v in values):
            raise ConfigError(
                f"generate.conditions.{escaped(name)}: must be a value, null, a list of values, or a range with min and max"
            )
        out.append(_condition(names.index(name), values, codec))
    return out


def _condition(position: int, values: list[Any], codec: Codec) -> Condition:
    column, kind = codec.columns[position], codec.schema.field(position).type
    where = f"generate.conditions.{escaped(column.name)}"
    array = _typed(where, values, column, kind)
    if array.null_count and not codec.schema.field(position).nullable:
        raise ConfigError(f"{where}: null was asked for and the column is NOT NULL")
    if not column.sizes:
        if len(values) > 1:
            raise ConfigError(f"{where}: a list of values needs a modelled column; this one is made by {column.method}")
        return Condition(position, array, None, None)
    tokens = encode_column(column, array)
    if column.method in ("category", "number"):
        _check_known(where, column, array, tokens, kind)
    return Condition(position, array, tokens, _given(position, column, tokens, np.ones(len(tokens))))


def _range(position: int, wanted: dict[str, Any], codec: Codec) -> Condition:
    column, kind = codec.columns[position], codec.schema.field(position).type
    where = f"generate.conditions.{escaped(column.name)}"
    if not wanted or set(wanted) - {"min", "max"} or None in wanted.values():
        raise ConfigError(f"{where}: a range has min, max or both, got {', '.join(map(escaped, map(str, wanted))) or 'none'}")
    if column.method != "number":
        raise ConfigError(f"{where}: a range needs a modelled number, date or time; this column is made as {column.method}")
    ends, numbers = to_domain(column, _typed(where, list(wanted.values()), column, kind))
    if not numbers.all():
        raise ConfigError(f"{where}: an end of the range does not fit the column's type {column.type}")
    atoms, low, high, bin_start = column._cells
    by_end = dict(zip(wanted, ends, strict=True))
    edges = np.concatenate([atoms, low, high])
    least, most = by_end.get("min", edges.min()), by_end.get("max", edges.max())
    bottom, top = np.maximum(low, least), np.minimum(high, most)
    width, left = _room(column, low, high), _room(column, bottom, np.maximum(top, bottom))
    shares = np.where(width > 0, left / np.where(width > 0, width, 1), 1.0)
    shares = np.where(bottom <= top, shares, 0.0)
    atoms_at = len(column.states) + len(column.texts)
    bins_at = atoms_at + len(atoms)
    cells = np.arange(len(low))
    bins = np.searchsorted(bin_start, cells, side="right") - 1
    inside = (atoms >= least) & (atoms <= most)
    first = np.concatenate([atoms_at + np.flatnonzero(inside), bins_at + bins[shares > 0]])
    second = np.concatenate([np.zeros(int(inside.sum()), np.int64), (cells - bin_start[bins])[shares > 0]])
    if not len(first):
        raise ConfigError(f"{where}: the model has learned no value in this range")
    tokens = np.stack([first, second][: len(column.sizes)], axis=1).astype(np.uint16)
    given = _given(position, column, tokens, np.concatenate([np.ones(int(inside.sum())), shares[shares > 0]]))
    kept = shares > 0
    cut = replace(
        column,
        low=tuple(np.where(kept, bottom, low).tolist()),
        high=tuple(np.where(kept, top, high).tolist()),
    )
    return Condition(position, pa.nulls(0, kind), None, given, cut)


def _room(column: ColumnCodec, low: npt.NDArray[Any], high: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """How much may be drawn between both ends: of whole numbers, how many that have no token of their own."""
    if column.domain != "int":
        return np.asarray(high - low)
    atoms = column._cells[0]
    return np.asarray(high - low + 1 - (np.searchsorted(atoms, high, "right") - np.searchsorted(atoms, low, "left")))


def _given(position: int, column: ColumnCodec, tokens: Tokens, shares: npt.NDArray[np.float64]) -> Given:
    """The shares of the tokens that are left: a first token counts by the mean of the cells (or members) behind it."""
    first = np.zeros(column.sizes[0])
    if len(column.sizes) == 1:
        first[tokens[:, 0]] = shares
        return Given(position, first)
    second = np.zeros(column.sizes)
    second[tokens[:, 0], tokens[:, 1]] = shares
    return Given(position, second.sum(axis=1) / _behind(column), second)


def _behind(column: ColumnCodec) -> npt.NDArray[np.int64]:
    """How many values of the second token each value of the first one has; [V0]."""
    out = np.ones(column.sizes[0], np.int64)
    if column.method == "category":
        blocks = -(-len(column.values) // BLOCK)
        out[:blocks] = np.minimum(BLOCK, len(column.values) - BLOCK * np.arange(blocks))
    else:
        out[-1 - len(column.bin_start) : -1] = np.diff([*column.bin_start, len(column.low)])
    return out


def _typed(where: str, values: list[Any], column: ColumnCodec, kind: pa.DataType) -> pa.Array:
    try:
        return from_text(pa.array([None if v is None else _text(v) for v in values], pa.string()), kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(f"{where}: a value does not fit the column's type {column.type}") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ")
    return str(value)


def _check_known(where: str, column: ColumnCodec, array: pa.Array, tokens: Tokens, kind: pa.DataType) -> None:
    rare = column.sizes[0] - 1
    if array.null_count and "null" not in column.states:
        raise ConfigError(f"{where}: null was asked for, and fewer people than privacy.min_people have a null there")
    if (tokens[:, 0] == rare).any():
        known = ", ".join(repr(escaped(v)) for v in column.values[:MAX_SHOWN])
        more = f" and {len(column.values) - MAX_SHOWN} more" if len(column.values) > MAX_SHOWN else ""
        raise ConfigError(
            f"{where}: a value is unknown to the model (or too rare); known are {known}{more}"
            if known
            else f"{where}: a value is unknown to the model"
        )
    atoms, low, high, _ = column._cells
    if column.method == "number" and len(low):
        values, numbers = to_domain(column, array)
        ends = np.concatenate([atoms, low[:1], high[-1:]])
        if (values[numbers] < ends.min()).any() or (values[numbers] > ends.max()).any():
            raise ConfigError(f"{where}: a value lies outside the range that the model has learned")
