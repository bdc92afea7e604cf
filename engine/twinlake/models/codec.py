"""The codec: any table as rows of small integers (tokens), and back to exact types.

A `ColumnCodec` is plain data (JSON), fitted by models/fitting.py. Methods:

- category: one token a value, in order of frequency; above 512 values two tokens (block, member of the block);
- number: token A is a state (null, NaN, infinities), a frequent single value (atom) or one of up to 96 bins; token B,
  where there are more cells, a sub-bin. A cell [low, high] is decoded uniformly on the column's own grid less atoms (integers,
  decimals, whole seconds), so every type comes back exactly. Dates, timestamps and numbers or dates written as text
  are numbers too; they may be folded by a period or told by the time since another column (models/times.py);
- digits: a number, date or time digit by digit (models/digits.py), for models that write;
- text: nothing here; its pieces are told by models/script.py;
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

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import ModelError
from twinlake.core.seeds import derive, mix
from twinlake.models.column import BLOCK, ColumnCodec, Tokens, column_from_json
from twinlake.models.digits import decode_digits, encode_digits
from twinlake.models.nested import Gate, Leaf, flatten, gates_of, nest
from twinlake.models.numbers import decode_number, encode_number
from twinlake.models.people import keys_for
from twinlake.models.regenerate import regenerate
from twinlake.models.times import difference, moved
from twinlake.models.written import from_text
from twinlake.profile.partials import as_text

UInt64 = npt.NDArray[np.uint64]
FORMAT = 1


@dataclass(frozen=True)
class Relation:
    """What every row keeps (models/relations.py). `columns`: positions in the codec. `map`, of determines: for each code of
    the first column that of the second, -1 where the train rows do not have it."""

    kind: str
    columns: tuple[int, ...]
    map: tuple[int, ...] = ()


@dataclass(frozen=True)
class Codec:
    """The codecs of all columns, in table order, the Arrow schema of the decoded rows, and what they keep.

    Where a column of the table is nested, `columns` and `schema` are those of flat rows (models/nested.py): `leaves` says what
    each is, and `nested` is the schema of the table. The metadata of both holds the table's Spark schema.
    """

    columns: tuple[ColumnCodec, ...]
    schema: pa.Schema
    relations: tuple[Relation, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    nested: pa.Schema | None = None

    @property
    def table(self) -> pa.Schema:
        """The schema of the rows that users get."""
        return self.schema if self.nested is None else self.nested

    @cached_property
    def gates(self) -> dict[int, Gate]:
        """What opens each column that lies inside another one."""
        return gates_of(self.leaves)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of `columns`: those that conditions and metrics use."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def filled(self) -> frozenset[int]:
        """The columns that are leaves of nested ones, and null only where their gate is closed."""
        return frozenset(i for i in self.gates if self.leaves[i].filled)

    def flat(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the table -> rows of `schema`."""
        return pa.RecordBatch.from_arrays(flatten(batch, self.leaves), schema=self.schema) if self.leaves else batch

    def whole(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of `schema` -> rows of the table."""
        return batch if self.nested is None else nest(batch, self.leaves, self.nested)

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
            ids, element = row_ids, self.leaves[i].element if self.leaves else ()
            if column.method == "surrogate":  # each element of an array is about somebody else
                whose = mix(row_ids, derive(seed, "element", *element)) if element else row_ids
                ids = keys_for(column.entity, whose, seed, {} if element else drawn)
            told = kind if column.since is None else pa.int64()
            arrays[i] = decode_column(column, tokens[:, list(self.slots[i])], uniforms[:, i], ids, seed, told)
            if column.since is not None:
                arrays[i] = moved(arrays[column.since.base], arrays[i], column.since, kind)
            if column.entity and column.method != "surrogate" and not element:
                drawn.setdefault(column.entity, arrays[i])
        return pa.RecordBatch.from_arrays([arrays[i] for i in range(len(arrays))], schema=self.schema)

    def index(self, name: str) -> int:
        """Position of a column. Errors: KeyError."""
        return {c.name: i for i, c in enumerate(self.columns)}[name]

    def to_json(self) -> str:
        """The content of codec.json."""
        relations = [asdict(r) for r in self.relations]
        content = {"format": FORMAT, "columns": [asdict(c) for c in self.columns], "relations": relations}
        content |= {"schema": _schema_text(self.schema)}
        if self.nested is not None:
            content |= {"leaves": [asdict(leaf) for leaf in self.leaves], "nested": _schema_text(self.nested)}
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
                _schema_of(raw["schema"]),
                tuple(Relation(r["kind"], tuple(r["columns"]), tuple(r["map"])) for r in raw.get("relations", ())),
                tuple(Leaf(**{**leaf, "path": tuple(leaf["path"])}) for leaf in raw.get("leaves", ())),
                _schema_of(raw["nested"]) if "nested" in raw else None,
            )
        except (ValueError, KeyError, TypeError, pa.ArrowInvalid):
            raise ModelError("codec.json is damaged; train the model again") from None


def _schema_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def _schema_of(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


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
        return encode_number(column, array)
    if column.method == "digits":
        return encode_digits(column, array)
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False), np.uint16)[:, None]


def decode_column(
    column: ColumnCodec, tokens: Tokens, uniform: npt.NDArray[np.float64], row_ids: UInt64, seed: int, kind: pa.DataType
) -> pa.Array:
    """Tokens -> values of Arrow type `kind`; of a column told by the time since another differences, int64."""
    if column.method == "category":
        return _decode_category(column, tokens, kind)
    if column.method == "number":
        return decode_number(column, tokens, uniform, kind)
    if column.method == "digits":
        return decode_digits(column, tokens, kind)
    if column.method in ("null", "text"):
        return pa.nulls(len(tokens), kind)
    if column.method == "constant":
        return pa.repeat(from_text(pa.array(column.values, pa.string()), kind)[0], len(tokens))
    made = regenerate(column.name, column.method, column.entity, column.recipe or {}, row_ids, seed)
    made = from_text(made, kind)
    return pc.if_else(pa.array(tokens[:, 0] == 0), made, pa.scalar(None, kind)) if column.sizes else made


def _encode_category(column: ColumnCodec, array: pa.Array) -> Tokens:
    codes = pc.index_in(as_text(array), column.value_set).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
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
    return from_text(column.value_set, kind).take(pa.array(codes, mask=missing))
