"""The script of a table: how its rows are told as tokens by a language model, and back to exact types.

Closed columns are told as a codec has them: categories and single numbers by one token, other numbers and times digit by digit.
Free texts are told in pieces of a SentencePiece model, up to a bound that nearly all real texts keep. What may be drawn in a
column is its automaton. Knows nothing of networks and of Spark.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import ModelError
from twinlake.models.automaton import Automaton, of_sets
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec, Tokens
from twinlake.models.digits import in_digits, legal_cells
from twinlake.models.layout import Layout
from twinlake.models.tokenizer import Tokenizer
from twinlake.tables.parts import write_text

FORMAT = 2
FILES = ("script.json", "tokenizer.model", "words.txt")


@dataclass(frozen=True)
class Text:
    """A free-text column: its position, the most pieces and characters it may have, whether it may be null, and whether its
    texts of `longest` characters are the beginnings of longer ones (cut to fit a column, say)."""

    column: int
    bound: int
    longest: int
    nulls: bool
    cut: bool = False


@dataclass(frozen=True)
class Script:
    """`codec`: the closed columns, and the schema; `texts`: the columns told in pieces. `given`: closed cells are drawn by
    another model, only the texts are told."""

    codec: Codec
    texts: tuple[Text, ...] = ()
    tokenizer: Tokenizer | None = None
    given: bool = False

    @cached_property
    def layout(self) -> Layout:
        """The places of a row."""
        codec = self.codec
        told: list[int] = []
        for column, slots in enumerate(codec.slots):
            forced = self.automata[column].forced(len(slots)) if slots else []
            told += [place for place, fixed in zip(slots, forced, strict=True) if not fixed]
        texts = tuple((t.column, t.bound) for t in self.texts)
        pieces = self.tokenizer.size if self.tokenizer is not None and texts else 0
        return Layout(codec.sizes, codec.slots, tuple(told), texts, pieces, self.given)

    @cached_property
    def automata(self) -> dict[int, Automaton]:
        """Of each closed column that has tokens: the cells that may be drawn. A leaf of a nested column that has a value
        wherever it can have one is never null: what cannot have one is emptied afterwards."""
        return {i: automaton_of(c, i not in self.codec.filled) for i, c in enumerate(self.codec.columns) if c.sizes}

    @cached_property
    def _legal(self) -> dict[int, Automaton]:
        return {i: automaton_of(c) for i, c in enumerate(self.codec.columns) if c.sizes}

    def encode(self, batch: pa.RecordBatch) -> Tokens:
        """Rows of the codec's schema -> tokens, uint16 [rows, places]."""
        closed = self.codec.encode(batch)
        if self.tokenizer is None:
            return closed
        texts = [
            self.tokenizer.encode(batch.column(t.column).cast(pa.string()), t.bound, t.longest if t.cut else None)
            for t in self.texts
        ]
        return np.concatenate([closed, *texts], axis=1)

    def decode(
        self, tokens: Tokens, uniforms: npt.NDArray[np.float64], row_ids: npt.NDArray[np.uint64], seed: int
    ) -> pa.RecordBatch:
        """Tokens -> rows; `uniforms` [rows, columns] place what has cells (see Codec.decode)."""
        batch = self.codec.decode(tokens[:, : self.layout.closed], uniforms, row_ids, seed)
        return self.with_texts(batch, tokens)

    def with_texts(self, batch: pa.RecordBatch, tokens: Tokens) -> pa.RecordBatch:
        """`batch` with the texts that `tokens` tell."""
        place = self.layout.closed
        for text in self.texts:
            assert self.tokenizer is not None
            told = self.tokenizer.decode(tokens[:, place : place + text.bound])
            told = pc.utf8_slice_codeunits(told, 0, text.longest)
            field = self.codec.schema.field(text.column)
            batch = batch.set_column(text.column, field, told.cast(field.type))
            place += text.bound
        return batch

    def invalid(self, batch: pa.RecordBatch) -> int:
        """How many rows hold a cell that no automaton allows: none of what was drawn; the net below the construction."""
        tokens, bad = self.codec.encode(self.codec.flat(batch)), np.zeros(batch.num_rows, np.bool_)
        for column, automaton in self._legal.items():
            bad |= ~automaton.run(tokens[:, list(self.codec.slots[column])])
        return int(bad.sum())

    def save(self, folder: Path) -> None:
        """Writes the files of FILES (`codec` aside: the caller keeps it)."""
        content = {
            "format": FORMAT,
            "texts": [asdict(t) for t in self.texts],
            "given": self.given,
            "codec": self.codec.to_json(),
        }
        content["seed"] = self.tokenizer.seed if self.tokenizer else 0
        write_text(folder / FILES[0], json.dumps(content))
        (folder / FILES[1]).write_bytes(self.tokenizer.model if self.tokenizer else b"")
        words = sorted(self.tokenizer.common) if self.tokenizer else []
        write_text(folder / FILES[2], json.dumps(words, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> Script:
        """What `save` wrote. Errors: ModelError."""
        try:
            raw = json.loads((folder / FILES[0]).read_text("utf-8"))
            if raw["format"] != FORMAT:
                raise ModelError(f"script.json has format {raw['format']}; this version reads {FORMAT}")
            words = frozenset(json.loads((folder / FILES[2]).read_text("utf-8")))
            model = (folder / FILES[1]).read_bytes()
            tokenizer = Tokenizer(model, words, raw["seed"]) if model else None
            return cls(Codec.from_json(raw["codec"]), tuple(Text(**t) for t in raw["texts"]), tokenizer, raw["given"])
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelError("the model's script is missing or damaged; train the model again") from None


def closed_codec(codec: Codec, texts: frozenset[int]) -> Codec:
    """`codec` as a language model tells it: numbers digit by digit, and the columns `texts` left to their pieces."""
    columns = [
        replace(c, method="text", recipe=None, states=()) if i in texts else in_digits(c) for i, c in enumerate(codec.columns)
    ]
    return replace(codec, columns=tuple(columns))


def automaton_of(column: ColumnCodec, nulls: bool = True) -> Automaton:
    """The cells of a column with tokens that may be drawn; without `nulls` no null, unless there is nothing else."""
    first = column.drawable.copy()
    if not nulls and column.null is not None and first.sum() > 1:
        first[column.null] = False
    if column.method == "digits":
        found = legal_cells(column, others=[s for s in range(2, column.sizes[0] - 1) if first[s]])
        assert found is not None
        return found
    if len(column.sizes) == 1:
        return of_sets(first)
    return of_sets(first, np.arange(column.sizes[1])[None, :] < column.behind[:, None])
