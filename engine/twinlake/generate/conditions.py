"""Conditions: values that a column must take, as tokens that may be drawn.

Nothing is rejected: the columns that are given come first in the order of drawing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.errors import ConfigError, escaped, in_quotes, nearest
from twinlake.models.codec import Codec, ColumnCodec, Tokens, encode_column, from_text
from twinlake.models.sampler import Given

MAX_SHOWN = 20


@dataclass(frozen=True)
class Condition:
    """The values that a column may take, and the tokens of each; without tokens all rows get `values[0]`."""

    column: int
    values: pa.Array
    tokens: Tokens | None

    def apply(self, array: pa.Array, tokens: Tokens, uniform: npt.NDArray[np.float64]) -> pa.Array:
        """The decoded column with the very values that were asked for (decoding alone gives some value of the same
        bin); of several values in one bin each is as likely."""
        if self.tokens is None or len(self.values) == 1:
            return (
                pa.repeat(self.values[0], len(array)) if self.values[0].is_valid else pa.nulls(len(array), array.type)
            )
        same = (tokens[:, None, :] == self.tokens[None, :, :]).all(axis=2)
        wanted = np.floor(uniform * same.sum(axis=1)).astype(np.int64)
        chosen = same & (same.cumsum(axis=1) - 1 == wanted[:, None])
        return self.values.take(pa.array(chosen.argmax(axis=1)))


def read_conditions(conditions: Mapping[str, Any], codec: Codec) -> list[Condition]:
    """Conditions by column name: a value, null, or a list of values.

    Errors: ConfigError naming the column and what is known of it: unknown column, wrong type, a value that the model
    has never seen (or that too few people hold), a number outside the learned range, null where there was none.
    """
    names = [c.name for c in codec.columns]
    out = []
    for name, wanted in conditions.items():
        if name not in names:
            raise ConfigError(f"generate.conditions: no column {in_quotes(name)}{nearest(name, names)}")
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values or any(isinstance(v, dict | list) for v in values):
            raise ConfigError(f"generate.conditions.{escaped(name)}: must be a value, null or a list of values")
        out.append(_condition(names.index(name), values, codec))
    return out


def givens(conditions: list[Condition]) -> list[Given]:
    """What the sampler has to know of the conditions."""
    return [Given(c.column, c.tokens) for c in conditions if c.tokens is not None]


def _condition(position: int, values: list[Any], codec: Codec) -> Condition:
    column, kind = codec.columns[position], codec.schema.field(position).type
    where = f"generate.conditions.{escaped(column.name)}"
    try:
        array = from_text(pa.array([None if v is None else _text(v) for v in values], pa.string()), kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(f"{where}: a value does not fit the column's type {column.type}") from None
    if array.null_count and not codec.schema.field(position).nullable:
        raise ConfigError(f"{where}: null was asked for and the column is NOT NULL")
    if not column.sizes:
        if len(values) > 1:
            raise ConfigError(f"{where}: a list of values needs a modelled column; this one is made by {column.method}")
        return Condition(position, array, None)
    tokens = encode_column(column, array)
    if column.method in ("category", "number"):
        _check_known(where, column, array, tokens, kind)
    return Condition(position, array, tokens)


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
        from twinlake.models.codec import to_domain

        values, numbers = to_domain(column, array)
        ends = np.concatenate([atoms, low[:1], high[-1:]])
        if (values[numbers] < ends.min()).any() or (values[numbers] > ends.max()).any():
            raise ConfigError(f"{where}: a value lies outside the range that the model has learned")
