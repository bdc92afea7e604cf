"""Statistics of Arrow batches that can be merged: counters, sketches and a keyed sample of each column.

Everything here is independent of how rows are spread over partitions: sums aside (equal to 1e-12 or so), merging in any
order gives the same result. Distinct counts use the k minimum values of a 64-bit hash (Bar-Yossef et al., "Counting
distinct elements in a data stream", RANDOM 2002), exact below its size. The sample is chosen by row key, not by
position. Knows nothing of Spark, of kinds or of what is published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.seeds import derive, generator, mix

Numbers = npt.NDArray[Any]
"""Integers and times as int64 (days, microseconds), other numbers as float64. Both cross Spark as 64-bit words."""
MINIMA = 2048
MAX_TEXT = 64
BATCH_ROWS = 65_536
BATCH_CELLS = 1_000_000
_PART = "(0?[1-9]|[12][0-9]|3[01])"  # a month or a day: 3/8/1971 and 08.03.1971 are dates too
_DATE = f"[0-9]{{4}}[-/.]{_PART}[-/.]{_PART}|{_PART}[-/.]{_PART}[-/.][0-9]{{4}}"
_CLOCK = r"([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
FORMATS = {
    "integer": r"^[+-]?[0-9]+$",
    "decimal": r"^[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?$|^[+-]?[0-9]+[eE][+-]?[0-9]+$",
    "date": f"^({_DATE})$",
    "datetime": f"^({_DATE})[ T]{_CLOCK}" + r"(Z|[+-][0-9]{2}:?[0-9]{2})?$",
    "time": f"^{_CLOCK}$",
    "boolean": r"^(?i:true|false|yes|no|y|n|t|f)$",
    "json": r"^\s*[\{\[].*[\}\]]\s*$",
}
_BYTE_TABLE = generator(derive(0, "text hash")).integers(0, 2**64, size=(256, 256), dtype=np.uint64)


@dataclass(frozen=True)
class Limits:
    """What a pass keeps of each column.

    `values` distinct values with counts (numbers: `numbers`), the `people` smallest and largest numbers, and the rows
    whose scrambled key falls below `share` of the key space.
    """

    values: int
    numbers: int
    people: int
    share: float
    seed: int


@dataclass
class _State:
    """Running statistics of one column of one partition."""

    rows: int = 0
    nulls: int = 0
    nan: int = 0
    plus: int = 0
    minus: int = 0
    finite: int = 0
    mean: float = 0.0
    deviations: float = 0.0
    lengths: int = 0
    spaces: int = 0
    length_min: int = 2**62
    length_max: int = -1
    formats: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(FORMATS), np.int64))
    hashes: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    low: Numbers = field(default_factory=lambda: np.empty(0))
    high: Numbers = field(default_factory=lambda: np.empty(0))
    counts: dict[str, int] = field(default_factory=dict)
    uncounted: int = 0
    sample: list[pa.Array] = field(default_factory=list)
    keys: list[npt.NDArray[np.int64]] = field(default_factory=list)


def is_numeric(kind: pa.DataType) -> bool:
    """Types whose values are numbers or points in time."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or is_time(kind))


def is_time(kind: pa.DataType) -> bool:
    """Dates and timestamps."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def is_opaque(kind: pa.DataType) -> bool:
    """Types that are not looked into: binary, nested, intervals."""
    return not (is_numeric(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def decoded(array: pa.Array) -> pa.Array:
    """The values of a dictionary array; others as they are."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def as_text(array: pa.Array) -> pa.Array:
    """Values as canonical text: what `from_text` reads back exactly. Times in UTC, -0.0 as 0.0."""
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64()).cast(pa.timestamp("us")) if array.type.unit == "us" else array.cast(pa.timestamp("us"))
    if pa.types.is_floating(array.type):
        array = pc.add(array, pa.scalar(0.0, array.type))
    return _all_years(array) if is_time(array.type) else array.cast(pa.string())


def _all_years(array: pa.Array) -> pa.Array:
    """Dates and times without zone as text. Arrow writes no year beyond 32767: milliseconds that were taken for seconds."""
    text = array.cast(pa.string())
    beyond = pc.fill_null(pc.starts_with(text, "<"), False)
    if not pc.any(beyond).as_py():
        return text
    days = pa.types.is_date(array.type)
    whole = array.filter(beyond).cast(pa.int32() if days else pa.int64()).to_numpy()
    written = np.char.replace(np.datetime_as_string(whole.astype("datetime64[D]" if days else "datetime64[us]")), "T", " ")
    return pc.replace_with_mask(text, beyond, pa.array(written, pa.string()))


def as_float(array: pa.Array) -> npt.NDArray[np.float64]:
    """Numbers as float64; dates as days and timestamps as microseconds since 1970; nulls as NaN."""
    if pa.types.is_date(array.type):
        array = array.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz)).cast(pa.int64())
    return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def text_hashes(array: pa.Array) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each string (nulls as the empty text): a scrambled sum of random words by (position, byte)."""
    array = array.fill_null("").cast(pa.large_binary())
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    data = array.buffers()[2]
    if data is None or offsets[-1] == offsets[0]:
        return mix(np.zeros(len(array), np.uint64), 2)
    raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    lengths = np.diff(offsets)
    position = np.arange(len(raw)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    words = _BYTE_TABLE[position & 255, raw] + (position >> 8).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        sums = np.concatenate([[np.uint64(0)], np.cumsum(mix(words, 1), dtype=np.uint64)])
        hashes = sums[offsets[1:] - offsets[0]] - sums[offsets[:-1] - offsets[0]] + lengths.astype(np.uint64)
    return mix(hashes, 2)


def collect(batches: Iterable[pa.RecordBatch], keys: int, limits: Limits) -> Iterator[dict[str, Any]]:
    """Partial statistics (one dict a column, see `_row`) of batches whose first `keys` columns are not data.

    The first column is the row key (int64) that chooses the sample.
    """
    states: list[_State] = []
    for batch in _larger(batches):
        states = states or [_State() for _ in range(batch.num_columns - keys)]
        if batch.num_rows == 0:
            continue
        row_keys = batch.column(0).to_numpy().astype(np.uint64)
        sampled = np.flatnonzero(mix(row_keys, limits.seed) < np.uint64(min(limits.share, 1.0) * (2**64 - 2048)))
        if limits.share >= 1.0:
            sampled = np.arange(batch.num_rows)
        for position, state in enumerate(states):
            _update(state, batch.column(keys + position), row_keys, sampled, limits)
    for position, state in enumerate(states):
        yield _row(position, state, limits)


def _larger(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small batches joined: what is done once a batch and column costs more than the rows of a small one."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        most = min(BATCH_ROWS, BATCH_CELLS // max(1, batch.num_columns))
        if held and rows + batch.num_rows > most:
            yield pa.concat_batches(held)
            held, rows = [], 0
        held.append(batch)
        rows += batch.num_rows
    if held:
        yield pa.concat_batches(held)


def _update(
    state: _State, array: pa.Array, row_keys: npt.NDArray[np.uint64], sampled: npt.NDArray[np.int64], limits: Limits
) -> None:
    state.rows += len(array)
    state.nulls += array.null_count
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if is_opaque(kind) or array.null_count == len(array):
        return
    some = array.drop_null()
    if is_numeric(kind) and state.uncounted:
        state.uncounted += len(some)
        _update_numbers(state, some, np.ones(len(some), np.int64), limits.people)
    else:  # of values that repeat, each is looked at once
        values, counts = pc.value_counts(some).flatten()
        if is_numeric(kind):
            _update_numbers(state, values, counts.to_numpy(), limits.people)
            _count(state, values, counts, limits.numbers, 0)
        else:
            values = as_text(decoded(values))
            _update_text(state, values, counts.to_numpy(), pa.types.is_boolean(kind))
            _count(state, values, counts, limits.values, limits.values)
    if len(sampled):
        _sample(state, decoded(array.take(pa.array(sampled))), row_keys[sampled])


def _update_numbers(state: _State, array: pa.Array, counts: npt.NDArray[np.int64], people: int) -> None:
    """Takes numbers and times (no nulls), each of which `counts` rows hold."""
    values = finite = as_float(array)
    rows = counts
    if pa.types.is_floating(array.type):
        values = np.where(np.isnan(values), np.nan, values)  # one NaN of many bit patterns
        state.nan += int(counts[np.isnan(values)].sum())
        state.plus += int(counts[np.isposinf(values)].sum())
        state.minus += int(counts[np.isneginf(values)].sum())
        number = np.isfinite(values)
        finite, rows = values[number], counts[number]
    if len(finite):
        with np.errstate(over="ignore", invalid="ignore"):
            total = int(rows.sum())
            mean = float((finite * rows).sum()) / total
            new = (total, mean, float((np.square(finite - mean) * rows).sum()))
            state.finite, state.mean, state.deviations = merge_moments((state.finite, state.mean, state.deviations), new)
    if pa.types.is_floating(array.type):
        ordered, bits = finite, (values + 0.0).view(np.uint64)
    elif pa.types.is_decimal(array.type):
        ordered, bits = finite, text_hashes(as_text(array))
    else:
        whole = array.cast(pa.int32()) if pa.types.is_date(array.type) else array
        ordered = whole.cast(pa.int64(), safe=False).to_numpy()
        bits = ordered.view(np.uint64)
    below, above = np.ones((2, len(ordered)), np.bool_)
    if len(state.low) == people:  # few of the later values are near an end
        below, above = ordered < state.low[-1], ordered > state.high[-1]
    state.low = smallest(_with(state.low, ordered[below], rows[below], people), people)
    state.high = largest(_with(state.high, ordered[above], rows[above], people), people)
    state.hashes = _minima(state.hashes, mix(bits, 3))


def _with(kept: Numbers, values: Numbers, counts: npt.NDArray[np.int64], most: int) -> Numbers:
    """`kept` and `values`, each as often as it is counted but at most `most` times."""
    copies = values if len(values) and counts.max() == 1 else np.repeat(values, np.minimum(counts, most))
    return np.concatenate([kept.astype(values.dtype), copies])


def _update_text(state: _State, values: pa.Array, counts: npt.NDArray[np.int64], boolean: bool) -> None:
    state.hashes = _minima(state.hashes, text_hashes(values))
    if boolean:
        return
    lengths = pc.utf8_length(values).to_numpy()
    state.lengths += int((lengths * counts).sum())
    state.length_min = min(state.length_min, int(lengths.min()))
    state.length_max = max(state.length_max, int(lengths.max()))
    state.spaces += int((pc.count_substring(values, " ").to_numpy() * counts).sum())
    for number, pattern in enumerate(FORMATS.values()):
        state.formats[number] += int(counts[pc.match_substring_regex(values, pattern).to_numpy(zero_copy_only=False)].sum())


def _count(state: _State, values: pa.Array, counts: pa.Array, room: int, kept: int) -> None:
    """Adds counts of values; of more than twice `room` the `kept` most frequent stay."""
    if pa.types.is_floating(values.type):
        finite = pc.is_finite(values)
        values, counts = values.filter(finite), counts.filter(finite)
    if not kept and len(values) > 2 * room:  # none of them would stay
        state.uncounted += sum(state.counts.values()) + (pc.sum(counts).as_py() or 0)
        state.counts = {}
        return
    for text, count in zip(as_text(values).to_pylist(), counts.to_pylist(), strict=True):
        state.counts[text] = state.counts.get(text, 0) + count
    if len(state.counts) > 2 * room:
        most = dict(sorted(state.counts.items(), key=lambda item: (-item[1], item[0]))[:kept]) if kept else {}
        state.uncounted += sum(state.counts.values()) - sum(most.values())
        state.counts = most


def _sample(state: _State, array: pa.Array, row_keys: npt.NDArray[np.uint64]) -> None:
    text = as_text(array)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        text = pc.if_else(pc.less_equal(pc.utf8_length(text), MAX_TEXT), text, pa.scalar(None, pa.string()))
    keep = text.is_valid().to_numpy(zero_copy_only=False)
    state.sample.append(text.drop_null())
    state.keys.append(row_keys[keep].view(np.int64))


def merge_moments(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[int, float, float]:
    """Count, mean and sum of squared deviations of two sets together (Chan, Golub and LeVeque, 1979)."""
    count = a[0] + b[0]
    if not a[0] or not b[0]:
        return a if a[0] else b
    step = b[1] - a[1]
    return count, a[1] + step * b[0] / count, a[2] + b[2] + step * step * a[0] * b[0] / count


def smallest(values: Numbers, count: int) -> Numbers:
    """The `count` smallest values, ascending."""
    return np.sort(values if len(values) <= count else np.partition(values, count - 1)[:count])


def largest(values: Numbers, count: int) -> Numbers:
    """The `count` largest values, descending."""
    return np.sort(values if len(values) <= count else np.partition(values, -count)[-count:])[::-1]


def _minima(kept: npt.NDArray[np.uint64], new: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    if len(kept) == MINIMA:
        new = new[new < kept[-1]]
    return np.unique(np.concatenate([kept, new]))[:MINIMA] if len(new) else kept


def _row(position: int, state: _State, limits: Limits) -> dict[str, Any]:
    """What a task knows of a column. Lists are arrays, of int64 (`low`, `high` of floats: their bits) or text."""
    return {
        "column": position,
        "rows": state.rows,
        "nulls": state.nulls,
        "nan": state.nan,
        "plus": state.plus,
        "minus": state.minus,
        "finite": state.finite,
        "mean": state.mean,
        "deviations": state.deviations,
        "lengths": state.lengths,
        "length_min": state.length_min,
        "length_max": state.length_max,
        "spaces": state.spaces,
        "formats": state.formats,
        "hashes": state.hashes.view(np.int64),
        "low": state.low.view(np.int64),
        "high": state.high.view(np.int64),
        "values": pa.array(state.counts, pa.string()),
        "counts": np.fromiter(state.counts.values(), np.int64),
        "uncounted": state.uncounted,
        "sample": pa.concat_arrays([pa.array([], pa.string()), *state.sample]),
        "keys": np.concatenate([np.empty(0, np.int64), *state.keys]),
    }


def packed(row: dict[str, Any]) -> bytes:
    """A partial row as one Arrow stream, which crosses Spark as it is: the JVM takes long over arrays."""
    arrays = []
    for value in row.values():
        if isinstance(value, np.ndarray | pa.Array):
            arrays.append(pa.ListArray.from_arrays(pa.array([0, len(value)], pa.int32()), pa.array(value)))
        else:
            arrays.append(pa.array([value]))
    sink = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_arrays(arrays, names=list(row))
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def unpacked(stream: bytes) -> dict[str, Any]:
    """The row that `packed` wrote."""
    batch = pa.ipc.open_stream(stream).read_next_batch()
    pairs = zip(batch.schema.names, batch.columns, strict=True)
    return {name: column.values if pa.types.is_list(column.type) else column[0].as_py() for name, column in pairs}
