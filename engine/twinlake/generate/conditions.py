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
import pyarrow.compute as pc

from twinlake.core.errors import ConfigError, escaped, in_quotes, nearest
from twinlake.generate.gates import with_gates
from twinlake.models.automaton import Automaton, of_words
from twinlake.models.codec import Codec, decode_column, encode_column
from twinlake.models.column import ColumnCodec, Tokens
from twinlake.models.digits import legal_cells
from twinlake.models.numbers import to_domain
from twinlake.models.sampler import Given
from twinlake.models.times import Span, base_range, difference, whole
from twinlake.models.written import from_text

MAX_SHOWN = 20


@dataclass(frozen=True)
class Condition:
    """The values that a column may take, and the tokens of each; without tokens each is as likely. Of a range there are no
    values, but the column's codec cut to it, and the share of each token that it leaves. Of a column that is told by the
    time since another: what it asks of that one (`before`), and the `span` of a range. `free`: it asks nothing."""

    column: int
    values: pa.Array
    tokens: Tokens | None
    given: Given | None
    cut: ColumnCodec | None = None
    before: Given | None = None
    span: Span | None = None
    free: bool = False

    def apply(self, array: pa.Array, tokens: Tokens, uniform: npt.NDArray[np.float64]) -> pa.Array:
        """The decoded column with the very values that were asked for (decoding alone gives some value of the same
        bin); of several values in one bin each is as likely."""
        if self.free:
            return array
        if self.cut is not None:
            return decode_column(self.cut, tokens, uniform, np.empty(0, np.uint64), 0, array.type)
        if self.span is not None:
            return self.span.place(array, uniform)
        if self.tokens is None and len(self.values) > 1:
            return self.values.take(pa.array(np.floor(uniform * len(self.values)).astype(np.int64)))
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
    for name, wanted in (with_gates(conditions, codec) if codec.gates else conditions).items():
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
    asked = {c.column: c for c in out}
    return [_between_both(c, asked, codec) for c in out]


def anything(position: int, codec: Codec) -> Condition:
    """The condition that every value of a column meets."""
    none = pa.nulls(0, codec.schema.field(position).type)
    return Condition(position, none, None, Given(position, np.ones(codec.columns[position].sizes[0])), free=True)


def _between_both(condition: Condition, asked: Mapping[int, Condition], codec: Codec) -> Condition:
    """Where a time and the one that it is told by are both given, so is the time between them."""
    column = codec.columns[condition.column]
    if column.since is None or column.since.base not in asked:
        return condition
    values, others = condition.values, asked[column.since.base].values
    if len(values) != 1 or len(others) != 1 or values.null_count or others.null_count:
        return replace(condition, before=None)
    gap = difference(values, others, column.since)
    if gap[0].as_py() < 0:
        base = escaped(codec.columns[column.since.base].name)
        raise ConfigError(f"generate.conditions.{escaped(column.name)}: no train row has it on that side of {base}")
    given = _given(condition.column, column, encode_column(column, gap), np.ones(1))
    return replace(condition, before=None, given=given)


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
    if column.since is not None and array.null_count < len(array):
        if array.null_count:
            raise ConfigError(f"{where}: null and values can't be asked for together; the column is told by another time")
        days = pc.min_max(whole(array)).as_py()
        return _after(position, codec, days, array)
    tokens = encode_column(column, array)
    if column.method in ("category", "number", "digits"):
        _check_known(where, column, array, tokens, kind)
    return Condition(position, array, tokens, _given(position, column, tokens, np.ones(len(tokens))))


def _range(position: int, wanted: dict[str, Any], codec: Codec) -> Condition:
    column, kind = codec.columns[position], codec.schema.field(position).type
    where = f"generate.conditions.{escaped(column.name)}"
    if not wanted or set(wanted) - {"min", "max"} or None in wanted.values():
        raise ConfigError(f"{where}: a range has min, max or both, got {', '.join(map(escaped, map(str, wanted))) or 'none'}")
    if column.method not in ("number", "digits"):
        raise ConfigError(f"{where}: a range needs a modelled number, date or time; this column is made as {column.method}")
    array = _typed(where, list(wanted.values()), column, kind)
    if column.since is not None:
        return _after(position, codec, dict(zip(wanted, whole(array).to_pylist(), strict=True)))
    ends, numbers = to_domain(column, array)
    if not numbers.all():
        raise ConfigError(f"{where}: an end of the range does not fit the column's type {column.type}")
    found = _between(position, column, dict(zip(wanted, ends, strict=True)))
    if found is None:
        raise ConfigError(f"{where}: the model has learned no value in this range")
    return Condition(position, pa.nulls(0, kind), None, *found)


def _between(position: int, column: ColumnCodec, by_end: Mapping[str, Any]) -> tuple[Given, ColumnCodec] | None:
    """What may be drawn of a number between `min` and `max` (domain units), and its codec cut to that; None: nothing."""
    if column.phase is not None:
        return _between_times(position, column, by_end)
    if column.method == "digits":
        return _between_digits(position, column, by_end)
    atoms, low, high, bin_start = column.cells
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
    inner = (atoms >= least) & (atoms <= most)
    first = np.concatenate([atoms_at + np.flatnonzero(inner), bins_at + bins[shares > 0]])
    second = np.concatenate([np.zeros(int(inner.sum()), np.int64), (cells - bin_start[bins])[shares > 0]])
    if not len(first):
        return None
    tokens = np.stack([first, second][: len(column.sizes)], axis=1).astype(np.uint16)
    given = _given(position, column, tokens, np.concatenate([np.ones(int(inner.sum())), shares[shares > 0]]))
    kept = shares > 0
    cut = replace(
        column,
        low=tuple(np.where(kept, bottom, low).tolist()),
        high=tuple(np.where(kept, top, high).tolist()),
    )
    return given, cut


def _between_digits(position: int, column: ColumnCodec, by_end: Mapping[str, Any]) -> tuple[Given, ColumnCodec] | None:
    """The same of a column told digit by digit."""
    atoms, low, high, _ = column.cells
    least, most = (int(by_end.get(end, far)) for end, far in (("min", min([*low, *atoms])), ("max", max([*high, *atoms]))))
    words = legal_cells(column, [(least, most)], others=())
    if words is None:
        return None
    inner = tuple(int(a) for a in atoms if least <= a <= most)
    ends = max(int(low[0]), least), min(int(high[0]), most)
    low_, high_ = ends if ends[0] <= ends[1] else (inner[0], inner[0])
    return _in_words(position, column, words), replace(column, atoms=inner, low=(low_,), high=(high_,))


def _in_words(position: int, column: ColumnCodec, words: Automaton) -> Given:
    return Given(position, (words.next[words.start, : column.sizes[0]] >= 0).astype(np.float64), None, words)


def _between_times(position: int, column: ColumnCodec, by_end: Mapping[str, Any]) -> tuple[Given, ColumnCodec] | None:
    """The same of a folded column: whole periods are in or out, of the first and the last a part of each phase is in."""
    assert column.phase is not None
    atoms, low, high, _ = column.cells
    from_, upto = np.concatenate([atoms, low]), np.concatenate([atoms, high])
    period = column.period
    ends = column.ends or (from_.min() * period, upto.max() * period + period - 1)
    least, most = int(max(by_end.get("min", ends[0]), ends[0])), int(min(by_end.get("max", ends[1]), ends[1]))
    first, last = least // period, most // period
    inner = np.maximum(np.minimum(upto, last - 1) - np.maximum(from_, first + 1) + 1, 0)[:, None].astype(np.float64)
    start, end = column.phase.cells(np.arange(column.phase.size))
    for edge in sorted({first, last}):
        part = np.minimum(end, most - edge * period) - np.maximum(start, least - edge * period) + 1
        held = (from_ <= edge) & (edge <= upto)
        inner = inner + held[:, None] * np.maximum(part, 0)[None, :] / (end - start + 1)[None, :]
    shares = np.zeros(column.sizes)
    at = len(column.states) + len(column.texts)
    shares[at : at + len(from_)] = inner / (upto - from_ + 1)[:, None]
    if not shares.any():
        return None
    return Given(position, shares.mean(axis=1), shares), replace(column, ends=(least, most))


def _after(position: int, codec: Codec, by_end: Mapping[str, int], values: pa.Array | None = None) -> Condition:
    """A condition on a column that is told by the time since another: that one is drawn where it leaves room for the
    condition, and follows where the time between them misses it. `by_end`: days of dates, microseconds of times."""
    column, kind = codec.columns[position], codec.schema.field(position).type
    assert column.since is not None
    known = np.ones(column.sizes[0])
    if "null" in column.states:
        known[column.states.index("null") + 2 * (column.method == "digits")] = 0.0
    atoms, low, high, _ = column.cells
    gaps = np.concatenate([atoms, low, high])
    base = codec.columns[column.since.base]
    before = None
    if base.method in ("number", "digits") and base.since is None:
        is_date = pa.types.is_date(codec.schema.field(column.since.base).type)
        reach = base_range(by_end, (int(gaps.min()), int(gaps.max())), column.since, pa.types.is_date(kind), is_date)
        found = _between(column.since.base, base, {name: end // base.step for name, end in reach.items()})
        before = found[0] if found is not None else None
    words = None
    if column.method == "digits":
        words = legal_cells(column, others=[2 + i for i, state in enumerate(column.states) if state != "null"])
    width = int(gaps.max() - gaps.min()) * column.since.unit
    span = Span(by_end.get("min"), by_end.get("max"), width) if values is None else None
    held = pa.nulls(0, kind) if values is None else values
    return Condition(position, held, None, Given(position, known, None, words), None, before, span)


def _room(column: ColumnCodec, low: npt.NDArray[Any], high: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """How much may be drawn between both ends: of whole numbers, how many that have no token of their own."""
    if column.domain != "int":
        return np.asarray(high - low)
    atoms = column.cells[0]
    return np.asarray(high - low + 1 - (np.searchsorted(atoms, high, "right") - np.searchsorted(atoms, low, "left")))


def _given(position: int, column: ColumnCodec, tokens: Tokens, shares: npt.NDArray[np.float64]) -> Given:
    """The shares of the tokens that are left: a first token counts by the mean of the cells (or members) behind it."""
    if column.method == "digits":
        return _in_words(position, column, of_words(tokens, max(column.sizes)))
    first = np.zeros(column.sizes[0])
    if len(column.sizes) == 1:
        first[tokens[:, 0]] = shares
        return Given(position, first)
    second = np.zeros(column.sizes)
    second[tokens[:, 0], tokens[:, 1]] = shares
    return Given(position, second.sum(axis=1) / column.behind, second)


def _typed(where: str, values: list[Any], column: ColumnCodec, kind: pa.DataType) -> pa.Array:
    try:
        return from_text(pa.array([None if v is None else _text(v) for v in values], pa.string()), kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(f"{where}: a value does not fit the column's type {column.type}") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return in_utc(value).isoformat(sep=" ")
    return str(value)


def in_utc(moment: dt.datetime) -> dt.datetime:
    """A moment as conditions write it: in UTC, without a zone; what has none stays as it is."""
    return moment if moment.tzinfo is None else moment.astimezone(dt.UTC).replace(tzinfo=None)


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
    told = decode_column(column, tokens, np.zeros(len(tokens)), np.zeros(len(tokens), np.uint64), 0, kind)
    if column.method == "digits" and column.since is None and not told.equals(array):
        raise ConfigError(f"{where}: a value lies outside the range that the model has learned")
    atoms, low, high, _ = column.cells
    if column.method == "number" and len(low):
        values, numbers = to_domain(column, array)
        values = values // column.period if column.period else values
        ends = np.concatenate([atoms, low[:1], high[-1:]])
        if (values[numbers] < ends.min()).any() or (values[numbers] > ends.max()).any():
            raise ConfigError(f"{where}: a value lies outside the range that the model has learned")
