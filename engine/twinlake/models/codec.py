"""The codec: any table as rows of small integers (tokens), and back to exact types.

A `ColumnCodec` is plain data (JSON), fitted by models/fitting.py. Methods:

- category: one token a value, in order of frequency; above 512 values two tokens (block, member of the block);
- number: token A is a state (null, NaN, infinities), a frequent single value (atom) or one of up to 96 bins; token B,
  where there are more cells, a sub-bin. A cell [low, high] is decoded uniformly on the column's own grid less atoms (integers,
  decimals, whole seconds), so every type comes back exactly. Dates, timestamps and numbers or dates written as text
  are numbers too; they may be folded by a period or told by the time since another column (models/times.py);
- constant and null: no token, the value is written;
- surrogate, key, format: regenerated from the row id (models/regenerate.py); one token tells null from present if nulls
  occur.

The last token value of a category or number column stands for rare values. It is learned, and never drawn.
Knows nothing of models, Spark or files.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import ModelError
from twinlake.models.people import keys_for
from twinlake.models.regenerate import regenerate
from twinlake.models.times import Phase, Since, difference, moved
from twinlake.models.written import (
    floats_as_decimals,
    read_decimals,
    read_texts,
    write_decimals,
    write_texts,
)
from twinlake.profile.partials import as_text

Tokens = npt.NDArray[np.uint16]
UInt64 = npt.NDArray[np.uint64]
BLOCK = 256
WIDE = 512
STATES = ("null", "nan", "+inf", "-inf")
FORMAT = 1


@dataclass(frozen=True)
class ColumnCodec:
    """How one column becomes tokens. Fields that a method does not use keep their defaults.

    `values`: texts of a category in order of frequency, or the one text of a constant. `states`: which of STATES occur
    ("present" and "null" for regenerated columns). `texts`: frequent values that the domain can't hold, as text.
    `atoms`, `low`, `high`: in domain units (integers of the grid, or floats); `bin_start[i]`: first cell of bin i.
    `domain`: "int" or "float". `scale`: decimal places; `step`: grid of times in domain units. `text`: how numbers are
    written as text (models/written.py). `coarse`: one of at most 16 bins for each value of the first token, for
    pairwise counts. `period`: of a folded column, in domain units; then token A is about whole periods, and token B is the
    `phase`. `since`: the domain is the difference from another column. `ends`: what a condition leaves of a folded column.
    """

    name: str
    type: str
    method: str
    values: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    atoms: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    bin_start: tuple[int, ...] = ()
    domain: str = "int"
    scale: int = 0
    step: int = 1
    text: str = ""
    entity: str = ""
    recipe: dict[str, Any] | None = None
    coarse: tuple[int, ...] = ()
    period: int = 0
    phase: Phase | None = None
    since: Since | None = None
    ends: tuple[int, ...] = ()

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Vocabulary of each token of the column; empty when nothing is learned."""
        if self.method == "category":
            count = len(self.values)
            head = -(-count // BLOCK) if count > WIDE else count
            return (head + len(self.states) + 1, BLOCK) if count > WIDE else (head + len(self.states) + 1,)
        if self.method == "number":
            first = len(self.states) + len(self.texts) + len(self.atoms) + len(self.bin_start) + 1
            if self.phase is not None:
                return (first, self.phase.size)
            widest = int(np.diff([*self.bin_start, len(self.low)]).max()) if self.bin_start else 1
            return (first, widest) if widest > 1 else (first,)
        return (2,) if "null" in self.states and self.method in ("surrogate", "key", "format") else ()

    @cached_property
    def drawable(self) -> npt.NDArray[np.bool_]:
        """Which values of the first token may be drawn: all but the rare one."""
        mask = np.ones(self.sizes[0] if self.sizes else 0, dtype=bool)
        if self.method in ("category", "number") and mask[:-1].any():
            mask[-1] = False
        return mask

    @cached_property
    def _cells(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int64]]:
        kind = np.int64 if self.domain == "int" else np.float64
        return (
            np.array(self.atoms, kind),
            np.array(self.low, kind),
            np.array(self.high, kind),
            np.array(self.bin_start, np.int64),
        )

    @cached_property
    def _value_set(self) -> pa.Array:
        return pa.array(self.values, pa.string())


@dataclass(frozen=True)
class Relation:
    """What every row keeps (models/relations.py). `columns`: positions in the codec. `map`, of determines: for each code of
    the first column that of the second, -1 where the train rows do not have it."""

    kind: str
    columns: tuple[int, ...]
    map: tuple[int, ...] = ()


@dataclass(frozen=True)
class Codec:
    """The codecs of all columns, in table order, the Arrow schema of the decoded table, and what its rows keep."""

    columns: tuple[ColumnCodec, ...]
    schema: pa.Schema
    relations: tuple[Relation, ...] = ()

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Vocabulary of each token of a row."""
        return tuple(size for column in self.columns for size in column.sizes)

    @cached_property
    def slots(self) -> tuple[tuple[int, ...], ...]:
        """For each column the positions of its tokens in a row."""
        out, start = [], 0
        for column in self.columns:
            out.append(tuple(range(start, start + len(column.sizes))))
            start += len(column.sizes)
        return tuple(out)

    def encode(self, batch: pa.RecordBatch) -> Tokens:
        """Rows of the decoded table's schema -> tokens, uint16 [rows, len(sizes)]."""
        out = np.zeros((batch.num_rows, len(self.sizes)), np.uint16)
        for position, (column, slots) in enumerate(zip(self.columns, self.slots, strict=True)):
            if slots:
                out[:, slots[0] : slots[-1] + 1] = encode_column(column, self.measured(batch, position))
        return out

    def measured(self, batch: pa.RecordBatch, position: int) -> pa.Array:
        """What the tokens of a column are about: its cells, or how far they are from those of another column."""
        since, own = self.columns[position].since, batch.column(position)
        return own if since is None else difference(own, batch.column(since.base), since)

    def depth(self, position: int) -> int:
        """How many columns a column's cells follow from, one after the other."""
        since = self.columns[position].since
        return 0 if since is None else 1 + self.depth(since.base)

    def decode(self, tokens: Tokens, uniforms: npt.NDArray[np.float64], row_ids: UInt64, seed: int) -> pa.RecordBatch:
        """Tokens [rows, len(sizes)] -> rows.

        `uniforms` [rows, columns] place numbers within cells; regenerated columns follow from `row_ids` and `seed`.
        """
        arrays: dict[int, pa.Array] = {}
        drawn: dict[str, pa.Array] = {}
        # surrogates come last: they agree with the gender and state that the model drew
        for i in sorted(range(len(self.columns)), key=lambda i: (self.columns[i].method == "surrogate", self.depth(i))):
            column, kind = self.columns[i], self.schema.field(i).type
            ids = keys_for(column.entity, row_ids, seed, drawn) if column.method == "surrogate" else row_ids
            told = kind if column.since is None else pa.int64()
            arrays[i] = decode_column(column, tokens[:, list(self.slots[i])], uniforms[:, i], ids, seed, told)
            if column.since is not None:
                arrays[i] = moved(arrays[column.since.base], arrays[i], column.since, kind)
            if column.entity and column.method != "surrogate":
                drawn.setdefault(column.entity, arrays[i])
        return pa.RecordBatch.from_arrays([arrays[i] for i in range(len(arrays))], schema=self.schema)

    def index(self, name: str) -> int:
        """Position of a column. Errors: KeyError."""
        return {c.name: i for i, c in enumerate(self.columns)}[name]

    def to_json(self) -> str:
        """The content of codec.json."""
        schema = base64.b64encode(self.schema.serialize().to_pybytes()).decode()
        relations = [asdict(r) for r in self.relations]
        content = {"format": FORMAT, "columns": [asdict(c) for c in self.columns], "relations": relations, "schema": schema}
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Codec:
        """The codec that `to_json` wrote. Errors: ModelError."""
        try:
            raw = json.loads(text)
            if raw["format"] != FORMAT:
                raise ModelError(f"codec.json has format {raw['format']}; this version reads {FORMAT}")
            return cls(
                tuple(column_from_json(c) for c in raw["columns"]),
                pa.ipc.read_schema(pa.py_buffer(base64.b64decode(raw["schema"]))),
                tuple(Relation(r["kind"], tuple(r["columns"]), tuple(r["map"])) for r in raw.get("relations", ())),
            )
        except (ValueError, KeyError, TypeError, pa.ArrowInvalid):
            raise ModelError("codec.json is damaged; train the model again") from None


def column_from_json(raw: dict[str, Any]) -> ColumnCodec:
    """A ColumnCodec from its JSON form."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    if raw.get("phase"):
        fields["phase"] = Phase(**{k: tuple(v) for k, v in raw["phase"].items()})
    if raw.get("since"):
        fields["since"] = Since(**raw["since"])
    return ColumnCodec(**fields)


def encode_column(column: ColumnCodec, array: pa.Array) -> Tokens:
    """Values (of a column told by the time since another: differences) -> tokens [rows, len(column.sizes)]. Of a dictionary
    array each value is looked at once."""
    if pa.types.is_dictionary(array.type):
        values = encode_column(column, pa.concat_arrays([array.dictionary, pa.nulls(1, array.type.value_type)]))
        taken: Tokens = values[array.indices.fill_null(len(values) - 1).to_numpy()]
        return taken
    if column.method == "category":
        return _encode_category(column, array)
    if column.method == "number":
        return _encode_number(column, array)
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False), np.uint16)[:, None]


def decode_column(
    column: ColumnCodec, tokens: Tokens, uniform: npt.NDArray[np.float64], row_ids: UInt64, seed: int, kind: pa.DataType
) -> pa.Array:
    """Tokens -> values of Arrow type `kind`; of a column told by the time since another differences, int64."""
    if column.method == "category":
        return _decode_category(column, tokens, kind)
    if column.method == "number":
        return _decode_number(column, tokens, uniform, kind)
    if column.method == "null":
        return pa.nulls(len(tokens), kind)
    if column.method == "constant":
        return pa.repeat(from_text(pa.array(column.values, pa.string()), kind)[0], len(tokens))
    made = regenerate(column.name, column.method, column.entity, column.recipe or {}, row_ids, seed)
    made = from_text(made, kind)
    return pc.if_else(pa.array(tokens[:, 0] == 0), made, pa.scalar(None, kind)) if column.sizes else made


def from_text(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Canonical texts (`as_text`) -> values of Arrow type `kind`."""
    if pa.types.is_timestamp(kind):
        return texts.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.timestamp("us", kind.tz))
    if pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return texts.cast(kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_date(kind):
        return texts.cast(kind)
    return pa.nulls(len(texts), kind)


def _encode_category(column: ColumnCodec, array: pa.Array) -> Tokens:
    codes = pc.index_in(as_text(array), column._value_set).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    rare = column.sizes[0] - 1
    wide = len(column.sizes) == 2
    first = np.where(codes >= 0, codes // BLOCK if wide else codes, rare)
    if column.states:
        first = np.where(array.is_null().to_numpy(zero_copy_only=False), rare - 1, first)
    second = [np.where(codes >= 0, codes % BLOCK, 0)] if wide else []
    return np.stack([first, *second], axis=1).astype(np.uint16)


def _decode_category(column: ColumnCodec, tokens: Tokens, kind: pa.DataType) -> pa.Array:
    rare = column.sizes[0] - 1
    codes = tokens[:, 0].astype(np.int64)
    if len(column.sizes) == 2:
        members = np.minimum(BLOCK, len(column.values) - codes * BLOCK)
        codes = codes * BLOCK + tokens[:, 1] % np.maximum(members, 1)
    missing = tokens[:, 0] >= rare - len(column.states)
    return from_text(column._value_set, kind).take(pa.array(codes, mask=missing))


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


def _encode_number(column: ColumnCodec, array: pa.Array) -> Tokens:
    atoms, low, _, bin_start = column._cells
    values, numbers = to_domain(column, array)
    if column.since is not None:
        numbers &= values >= 0
    texts_at = len(column.states)
    atoms_at = texts_at + len(column.texts)
    bins_at = atoms_at + len(atoms)
    first = np.full(len(array), column.sizes[0] - 1, np.int64)
    second = np.zeros(len(array), np.int64)
    phase = np.zeros(len(array), np.int64)
    if column.phase is not None:
        values, inside = np.divmod(values, column.period)
        phase = np.where(numbers, column.phase.encode(inside), 0)
    if len(low):
        cell = np.maximum(np.searchsorted(low, values, side="right") - 1, 0)
        bin_ = np.searchsorted(bin_start, cell, side="right") - 1
        first = np.where(numbers, bins_at + bin_, first)
        second = np.where(numbers, cell - bin_start[bin_], 0)
    if len(atoms):
        at = np.minimum(np.searchsorted(atoms, values), len(atoms) - 1)
        hit = numbers & (atoms[at] == values)
        first, second = np.where(hit, atoms_at + at, first), np.where(hit, 0, second)
    if column.texts:
        codes = pc.index_in(as_text(array), pa.array(column.texts, pa.string())).fill_null(-1)
        codes = codes.to_numpy(zero_copy_only=False)
        first, second = np.where(codes >= 0, texts_at + codes, first), np.where(codes >= 0, 0, second)
    for number, state in enumerate(column.states):
        first = np.where(_in_state(array, state), number, first)
    second = second if column.phase is None else phase
    return np.stack([first, second][: len(column.sizes)], axis=1).astype(np.uint16)


def _in_state(array: pa.Array, state: str) -> npt.NDArray[np.bool_]:
    if state == "null":
        return np.asarray(array.is_null().to_numpy(zero_copy_only=False))
    raw = array.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
    return np.asarray(np.isnan(raw) if state == "nan" else raw == float(state))


def _decode_number(column: ColumnCodec, tokens: Tokens, uniform: npt.NDArray[np.float64], kind: pa.DataType) -> pa.Array:
    atoms, low, high, bin_start = column._cells
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
