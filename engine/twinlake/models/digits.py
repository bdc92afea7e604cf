"""Numbers and times digit by digit: the tokens of a column of method "digits", and the automaton of its legal cells.

The first token is the sign, or a state (null, NaN, infinities), a frequent text that is no number, or `rare`; then come
digits, the most significant first. Of dates and times the digits are YYYYMMDD and, as far as the column's grid goes, hhmmss
and the fraction of a second. Legal are the numbers between the column's outer ends and its frequent single values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.models.automaton import Automaton, Builder, days_between, merged
from twinlake.models.column import ColumnCodec, Tokens
from twinlake.models.dated import is_style, units_a_day
from twinlake.models.numbers import from_domain, in_state, to_domain
from twinlake.models.times import DAY_US
from twinlake.models.written import from_text
from twinlake.profile.partials import as_text

CLOCK_DIGITS = {1: 0, 24: 2, 1_440: 4, 86_400: 6, 86_400_000: 9, DAY_US: 12}
FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31
POSITIVE, NEGATIVE = 0, 1


def in_digits(column: ColumnCodec) -> ColumnCodec:
    """A number column told digit by digit; as it is where its domain is floats, or all its values are single ones."""
    if column.method != "number" or column.domain != "int" or not column.low:
        return column
    day = _units_a_day(column)
    low, high = column.ends or (int(min(column.low)), int(max(column.high)))
    if day:
        low, high = max(low, FIRST_DAY * day), min(high, (LAST_DAY + 1) * day - 1)
    alone = () if column.period else tuple(int(a) for a in column.atoms if not low <= a <= high)
    if day:
        alone = tuple(a for a in alone if FIRST_DAY * day <= a <= (LAST_DAY + 1) * day - 1)
    width = 8 + CLOCK_DIGITS[day] if day else len(str(max(abs(v) for v in (low, high, *alone))))
    return replace(
        column,
        method="digits",
        atoms=alone,
        low=(low,),
        high=(high,),
        bin_start=(),
        coarse=(),
        phase=None,
        period=0,
        ends=(),
        day=day,
        width=width,
    )


def _units_a_day(column: ColumnCodec) -> int:
    """How many domain units a day has where the column is dates or times (of a grid that digits can write), else 0."""
    if column.since is not None:
        return 0
    if column.type == "date" or column.text == "date":
        return 1
    if column.text in ("datetime", "datetime-t"):
        return 86_400
    if is_style(column.text):
        return units_a_day(column.text)
    whole = column.type.startswith("timestamp") and DAY_US % column.step == 0
    day = DAY_US // column.step if whole else 0
    return day if day in CLOCK_DIGITS else 0


def encode_digits(column: ColumnCodec, array: pa.Array) -> Tokens:
    """Values -> tokens [rows, 1 + width]. A number that is no legal one becomes the next outer end."""
    values, numbers = to_domain(column, array)
    if column.since is not None:
        numbers &= values >= 0
    states = len(column.states)
    out = np.zeros((len(array), len(column.sizes)), np.uint16)
    out[:, 0] = column.sizes[0] - 1
    values = _legal(column, values)
    out[:, 0] = np.where(numbers, np.where((values < 0) & (not column.day), NEGATIVE, POSITIVE), out[:, 0])
    out[:, 1:] = np.where(numbers[:, None], written(column, values), 0)
    if column.texts:
        codes = pc.index_in(as_text(array), pa.array(column.texts, pa.string())).fill_null(-1)
        codes = codes.to_numpy(zero_copy_only=False)
        out[:, 0] = np.where(codes >= 0, 2 + states + codes, out[:, 0])
        out[codes >= 0, 1:] = 0
    for number, state in enumerate(column.states):
        mask = in_state(array, state)
        out[mask, 0] = 2 + number
        out[mask, 1:] = 0
    return out


def _legal(column: ColumnCodec, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    atoms = np.array(column.atoms, np.int64)
    clipped = np.clip(values, int(column.low[0]), int(column.high[0]))
    return np.where(np.isin(values, atoms), values, clipped) if len(atoms) else clipped


def written(column: ColumnCodec, values: npt.NDArray[np.int64]) -> Tokens:
    """The digits [rows, width] of domain values, without their signs (times have none)."""
    if not column.day:
        return _split(np.abs(values), column.width)
    days, inside = np.divmod(values, column.day)
    date = days.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    months = month.astype(np.int64)
    number = (months // 12 + 1970) * 10_000 + (months % 12 + 1) * 100 + (date - month).astype(np.int64) + 1
    clock = CLOCK_DIGITS[column.day]
    second, fraction = np.divmod(inside * (86_400 // min(column.day, 86_400)), max(1, column.day // 86_400))
    hms = second // 3600 * 10_000 + second // 60 % 60 * 100 + second % 60
    whole = _split(hms, 6)[:, : min(clock, 6)]
    return np.concatenate([_split(number, 8), whole, _split(fraction, max(0, clock - 6))], axis=1)


def _read(column: ColumnCodec, digits: Tokens) -> npt.NDArray[np.int64]:
    """The inverse of `written`."""
    if not column.day:
        return _joined(digits)
    clock = CLOCK_DIGITS[column.day]
    number = _joined(digits[:, :8])
    months = (number // 10_000 - 1970) * 12 + number // 100 % 100 - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + number % 100 - 1
    hms = _joined(digits[:, 8 : 8 + min(clock, 6)]) * 10 ** (6 - min(clock, 6))
    second = hms // 10_000 * 3600 + hms // 100 % 100 * 60 + hms % 100
    inside = second // (86_400 // min(column.day, 86_400)) * max(1, column.day // 86_400) + _joined(digits[:, 14:])
    return np.asarray(days * column.day + inside, np.int64)


def _split(values: npt.NDArray[np.int64], width: int) -> Tokens:
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.uint64)
    return (values.astype(np.uint64)[:, None] // powers % np.uint64(10)).astype(np.uint16)


def _joined(digits: Tokens) -> npt.NDArray[np.int64]:
    powers = 10 ** np.arange(digits.shape[1] - 1, -1, -1, dtype=np.int64)
    return np.asarray((digits.astype(np.int64) * powers).sum(axis=1))


def decode_digits(column: ColumnCodec, tokens: Tokens, kind: pa.DataType) -> pa.Array:
    """Tokens [rows, 1 + width] -> values of Arrow type `kind`; words of `legal_cells` decode to legal values."""
    first = tokens[:, 0].astype(np.int64)
    number = first <= NEGATIVE
    digits = np.where(number[:, None], tokens[:, 1:], written(column, np.zeros(1, np.int64)))
    value = _read(column, digits.astype(np.uint16))
    value = _legal(column, np.where(first == NEGATIVE, -value, value))
    out = from_domain(column, value, kind)
    texts_at = 2 + len(column.states)
    if column.texts:
        texts = from_text(pa.array(column.texts, pa.string()), kind)
        texts = texts.take(pa.array(np.clip(first - texts_at, 0, len(column.texts) - 1)))
        out = pc.if_else(pa.array((first >= texts_at) & (first < texts_at + len(column.texts))), texts, out)
    for place, state in enumerate(column.states):
        value_ = pa.scalar(None if state == "null" else float(state), kind)
        out = pc.if_else(pa.array(first == 2 + place), value_, out)
    return pc.if_else(pa.array(first == column.sizes[0] - 1), pa.scalar(None, kind), out)


def legal_cells(
    column: ColumnCodec, ranges: Sequence[tuple[int, int]] | None = None, others: Sequence[int] | None = None
) -> Automaton | None:
    """The cells that may be drawn, None where there are none. `ranges`: only numbers in these (domain units, ends in);
    `others`: only these first tokens besides numbers (default: all states and texts)."""
    own = [(int(column.low[0]), int(column.high[0])), *((int(a), int(a)) for a in column.atoms)]
    legal = merged(own) if ranges is None else _both(merged(own), merged(ranges))
    builder = Builder(max(column.sizes))
    arcs: dict[int, int] = {}
    pad = builder.chain([0] * column.width)
    for symbol in range(2, column.sizes[0] - 1) if others is None else others:
        arcs[symbol] = pad
    if column.day:
        arcs[POSITIVE] = _times(builder, column, legal)
    else:
        arcs[POSITIVE] = builder.within(tuple((max(a, 0), b) for a, b in legal if b >= 0), column.width)
        arcs[NEGATIVE] = builder.within(merged([(max(1, -b), -a) for a, b in legal if a < 0]), column.width)
    arcs = {symbol: after for symbol, after in arcs.items() if after != -1}
    return builder.build(builder.state(arcs)) if arcs else None


def _times(builder: Builder, column: ColumnCodec, legal: Sequence[tuple[int, int]]) -> int:
    """Whole days: what lies beyond the ends within a day is moved to the ends by decoding."""
    ranges: list[tuple[int, int]] = []
    for low, high in legal:
        first, last = (_joined(written(column, np.array([v], np.int64))[:, :8])[0] for v in (low, high))
        ranges += days_between(int(first), int(last))
    clock = CLOCK_DIGITS[column.day]
    return builder.within(tuple(sorted(set(ranges))), 8, builder.clock(clock)) if clock else builder.within(tuple(ranges), 8)


def _both(a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    out: list[Any] = []
    for low, high in a:
        out += [(max(low, x), min(high, y)) for x, y in b if max(low, x) <= min(high, y)]
    return merged(out)
