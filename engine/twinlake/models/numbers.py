"""Numbers, dates and times as tokens, and back to exact values on the column's own grid.

The domain of a column is whole numbers of its grid (units, cents, seconds), or floats. Knows nothing of rows and tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.models.column import ColumnCodec, Tokens
from twinlake.models.written import floats_as_decimals, from_text, read_decimals, read_texts, write_decimals, write_texts
from twinlake.profile.partials import as_text


def to_domain(column: ColumnCodec, array: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Values in domain units, and which of them are numbers at all (the rest is 0)."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return read_texts(array, column.text, column.scale, column.step)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if column.domain == "float":
        values = np.asarray(array.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False))
        finite = np.isfinite(values) & valid
        return np.where(finite, values, 0.0) + 0.0, finite
    if pa.types.is_floating(array.type):
        raw = array.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        finite = np.isfinite(raw) & valid
        return np.rint(np.where(finite, raw, 0.0) * 10.0**column.scale).astype(np.int64), finite
    if pa.types.is_decimal(array.type):
        return read_decimals(array), valid
    if pa.types.is_date(array.type):
        array = array.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz))
    whole = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return whole // column.step, valid


def encode_number(column: ColumnCodec, array: pa.Array) -> Tokens:
    """Values of a number column -> tokens [rows, len(column.sizes)]."""
    values, numbers = to_domain(column, array)
    if column.since is not None:
        numbers &= values >= 0
    phase = np.zeros(len(array), np.int64)
    if column.phase is not None:
        values, inside = np.divmod(values, column.period)
        phase = np.where(numbers, column.phase.encode(inside), 0)
    least, most = column.span if column.domain == "int" else (0, len(values))
    if most - least < len(values):  # each is found once for all
        at = np.clip(values, least, most) - least
        first, second = (found[at] for found in column.placed_span)
    else:
        first, second = column.placed(values)
    texts_at = len(column.states)
    first, second = np.where(numbers, first, column.sizes[0] - 1), np.where(numbers, second, 0)
    if column.texts:
        codes = pc.index_in(as_text(array), pa.array(column.texts, pa.string())).fill_null(-1)
        codes = codes.to_numpy(zero_copy_only=False)
        first, second = np.where(codes >= 0, texts_at + codes, first), np.where(codes >= 0, 0, second)
    for number, state in enumerate(column.states):
        first = np.where(in_state(array, state), number, first)
    second = second if column.phase is None else phase
    return np.stack([first, second][: len(column.sizes)], axis=1).astype(np.uint16)


def in_state(array: pa.Array, state: str) -> npt.NDArray[np.bool_]:
    """Which cells are null, NaN or an infinity, by the name in STATES; bool [rows]."""
    if state == "null":
        return np.asarray(array.is_null().to_numpy(zero_copy_only=False))
    raw = array.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
    return np.asarray(np.isnan(raw) if state == "nan" else raw == float(state))


def decode_number(column: ColumnCodec, tokens: Tokens, uniform: npt.NDArray[np.float64], kind: pa.DataType) -> pa.Array:
    """Tokens [rows, len(column.sizes)] -> values of Arrow type `kind`; `uniform` [rows] in [0, 1) place them in cells."""
    atoms, low, high, bin_start = column.cells
    first = tokens[:, 0].astype(np.int64)
    texts_at = len(column.states)
    atoms_at = texts_at + len(column.texts)
    bins_at = atoms_at + len(atoms)
    value = np.zeros(len(tokens), low.dtype)
    if len(atoms):
        value = np.where((first >= atoms_at) & (first < bins_at), atoms[np.clip(first - atoms_at, 0, len(atoms) - 1)], value)
    if len(low):
        bin_ = np.clip(first - bins_at, 0, len(bin_start) - 1)
        cells = np.diff(np.append(bin_start, len(low)))[bin_]
        cell = bin_start[bin_] + (tokens[:, 1] % cells if len(column.sizes) == 2 and column.phase is None else 0)
        value = np.where(first >= bins_at, _within(low[cell], high[cell], uniform, atoms), value)
    if column.phase is not None:
        value = _unfolded(column, value, first, tokens[:, 1].astype(np.int64), uniform)
    missing = first == column.states.index("null") if "null" in column.states else np.zeros(len(tokens), bool)
    out = from_domain(column, value, kind)
    if column.texts:
        texts = from_text(pa.array(column.texts, pa.string()), kind)
        texts = texts.take(pa.array(np.clip(first - texts_at, 0, len(column.texts) - 1)))
        out = pc.if_else(pa.array((first >= texts_at) & (first < atoms_at)), texts, out)
    for number, state in enumerate(column.states):
        if state != "null":
            out = pc.if_else(pa.array(first == number), pa.scalar(float(state), kind), out)
    return pc.if_else(pa.array(missing), pa.scalar(None, kind), out) if missing.any() else out


def _unfolded(
    column: ColumnCodec,
    period: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    uniform: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """Domain values of a folded column from the whole `period`s drawn and the phase; within `ends` where a condition cut it.

    The low bits of `uniform`, which the choice of a period hardly uses, place the time within its phase.
    """
    assert column.phase is not None
    low, high = column.phase.cells(second)
    atoms = np.array(column.phase.atoms, np.int64)
    fine = uniform * 2.0**20 % 1.0
    if column.ends:
        least, most = column.ends
        bins_at = len(column.states) + len(column.texts) + len(column.atoms)
        if column.low:
            cell = np.clip(first - bins_at, 0, len(column.low) - 1)
            bottom = np.maximum(np.array(column.low, np.int64)[cell], -((high - least) // column.period))
            top = np.minimum(np.array(column.high, np.int64)[cell], (most - low) // column.period)
            cut = _within(bottom, np.maximum(top, bottom), uniform, np.array(column.atoms, np.int64))
            period = np.where(first >= bins_at, cut, period)
        low = np.maximum(low, least - period * column.period)
        high = np.maximum(np.minimum(high, most - period * column.period), low)
    single = second < len(atoms)
    inside = np.where(single, low, _within(low, high, fine, atoms))
    return np.asarray(period * column.period + inside, np.int64)


def _within(
    low: npt.NDArray[Any], high: npt.NDArray[Any], uniform: npt.NDArray[np.float64], atoms: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """A value of [low, high], uniform on the grid without the sorted `atoms` (they have tokens of their own); integers without
    overflow over the whole int64 range."""
    if low.dtype == np.float64:
        return np.asarray(np.clip(low * (1.0 - uniform) + high * uniform, low, high))
    before, upto = np.searchsorted(atoms, low, "left"), np.searchsorted(atoms, high, "right")
    span = high.astype(np.float64) - low.astype(np.float64) + 1.0
    free = np.maximum(span - (upto - before), 1.0)
    with np.errstate(over="ignore"):
        value = (low.view(np.uint64) + np.floor(uniform * free).astype(np.uint64)).view(np.int64)
        # the n-th free value has n values and all atoms below it before it; an atom less its number never falls
        value += np.searchsorted(atoms - np.arange(len(atoms)), value - before, "right") - before
    return np.asarray(np.minimum(np.maximum(value, low), high))


def from_domain(column: ColumnCodec, value: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Domain units -> values of Arrow type `kind`."""
    if pa.types.is_string(kind):
        return write_texts(value, column.text, column.scale, column.step)
    if column.domain == "float":
        return floats_as_decimals(value, kind) if pa.types.is_decimal(kind) else pa.array(value).cast(kind, safe=False)
    if pa.types.is_floating(kind):
        return pa.array(value / 10.0**column.scale).cast(kind, safe=False)
    if pa.types.is_decimal(kind):
        return write_decimals(value, column.scale, kind)
    if pa.types.is_date(kind):
        return pa.array((value * column.step).astype(np.int32)).cast(pa.date32())
    if pa.types.is_timestamp(kind):
        return pa.array(value * column.step).cast(kind)
    return pa.array(value).cast(kind)
