"""The rows of a table as text: what a fine-tuned LLM reads and writes, cell by cell, and back to exact types.

A row is a JSON object or a line of CSV. It is told as the codec's tokens tell it, so that rare values never reach the text:
they are the mark of models/spelling.py, which is learned and never drawn. In JSON the columns of a row may come in any order.
Columns without tokens (constants, keys, surrogates) are not told. Knows nothing of networks and of Spark.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.errors import ModelError, escaped
from twinlake.core.seeds import derive
from twinlake.models.automaton import Automaton
from twinlake.models.codec import Codec, decode_column
from twinlake.models.column import ColumnCodec, Tokens
from twinlake.models.digits import NEGATIVE, POSITIVE
from twinlake.models.script import Script, Text
from twinlake.models.spelling import MARK, Digits, Prose, Spelling
from twinlake.models.tokenizer import END, NULL, units_of
from twinlake.profile.partials import as_text
from twinlake.tables.parts import write_text

FIRST_BYTE = 3
ROOM = 3  # bytes that finish a character when a text has to end
DATE_MARKS = {4: 0x2D, 6: 0x2D, 8: 0x20, 10: 0x3A, 12: 0x3A, 14: 0x2E}
BARE = ("tinyint", "smallint", "int", "bigint", "float", "double", "boolean", "decimal")
ROWS_FILE = "script.json"
JSON_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
LAST = {"json": b"}", "csv": b"\n"}


@dataclass
class Prosaic:
    """Texts as bytes, with END, NULL before them; `common`: the units that enough people hold (see models/tokenizer.py)."""

    common: frozenset[str]
    seed: int = 0
    model: bytes = b""
    size: int = FIRST_BYTE + 256
    _known: dict[str, str] = field(init=False, repr=False, default_factory=dict)

    def told(self, text: str) -> str:
        """`text` with MARK for each unit that is too rare; rare numbers become other numbers of as many digits."""
        return "".join(self._unit(unit) for unit in units_of(text))

    def _unit(self, unit: str) -> str:
        if unit in self.common:
            return "".join(c if c >= " " or c in "\n\r\t" else MARK for c in unit.replace("\x7f", MARK))
        if unit.strip().isdigit() and unit.isascii():
            draw = derive(self.seed, "digits", unit)
            return "".join(c if c.isspace() else str(draw // 10**place % 10) for place, c in enumerate(unit))
        return MARK

    def pieces(self, text: str) -> list[int]:
        """The bytes of a text as ids."""
        return [FIRST_BYTE + byte for byte in self.told(text).encode("utf-8")]

    def encode(self, texts: pa.Array, width: int, cut: int | None = None) -> Tokens:
        """Ids, uint16 [rows, width], as Tokenizer.encode; what is longer is cut off between characters. A text that was `cut`
        has its end like any other: prompts and rows are one text, in which nothing can be left out."""
        out = np.full((len(texts), width), END, np.uint16)
        for row, text in enumerate(texts.to_pylist()):
            ids = [NULL] if text is None else self.pieces(text)
            at = min(len(ids), width - ROOM if text is not None else width)
            while at < len(ids) and 0x80 <= ids[at] - FIRST_BYTE < 0xC0:
                at -= 1
            out[row, :at] = ids[:at]
        return out

    def decode(self, ids: Tokens) -> pa.Array:
        """Ids [rows, width] -> texts."""
        return pa.array([_text_of(row) for row in ids], pa.string())


def _text_of(ids: npt.NDArray[Any]) -> str | None:
    ends = np.flatnonzero(ids == END)
    kept = ids[: ends[0]] if len(ends) else ids
    if len(kept) and kept[0] == NULL:
        return None
    return (kept.astype(np.int64) - FIRST_BYTE).astype(np.uint8).tobytes().decode("utf-8")


@dataclass(frozen=True)
class RowScript(Script):
    """A script whose rows are text. Its `tokenizer` is a Prosaic, a text's bound is in bytes (ROOM of them are spare).
    `format`: json or csv; `prompt`: what every row stands behind; `width`: tokens of a row in training; `source` and `base`:
    the folder of the language model and the hash of its files."""

    format: str = "json"
    prompt: str = ""
    width: int = 0
    source: str = ""
    base: str = ""

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """The columns that are told, in the order of the table."""
        texts = {t.column for t in self.texts}
        return tuple(i for i, c in enumerate(self.codec.columns) if c.sizes or i in texts)

    @cached_property
    def text_of(self) -> dict[int, tuple[Text, int]]:
        """Of each text column its Text and the place where its ids begin."""
        starts = np.cumsum([self.layout.closed, *(t.bound for t in self.texts)]).tolist()
        return {t.column: (t, start) for t, start in zip(self.texts, starts, strict=False)}

    def places(self, column: int) -> slice:
        """Where the tokens of a column are in a row's."""
        if column in self.text_of:
            text, start = self.text_of[column]
            return slice(start, start + text.bound)
        slots = self.codec.slots[column]
        return slice(slots[0], slots[-1] + 1)

    def key(self, column: int, first: bool) -> bytes:
        """What stands before a cell; nothing in CSV."""
        if self.format == "csv":
            return b""
        name = json.dumps(self.codec.columns[column].name, ensure_ascii=False)
        return f"{'{' if first else ' '}{name}:".encode()

    def end(self, last: bool) -> bytes:
        """What ends a cell."""
        return LAST[self.format] if last else b","

    def cell(self, column: int, tokens: npt.NDArray[Any], last: bool) -> bytes:
        """The cell that these tokens of a column tell, with what ends it."""
        codec = self.codec.columns[column]
        end = self.end(last)
        if column in self.text_of:
            text = _text_of(tokens)
            return self._quoted(text, True) + end if text is not None else self._null + end
        key = tokens.astype(np.uint16).tobytes()
        if codec.method == "digits" and tokens[0] in (POSITIVE, NEGATIVE):
            return self._digits(column, tokens) + end
        return self._words[column].get(key, self._bare(MARK)) + end

    def read(self, column: int, cell: bytes) -> npt.NDArray[np.uint16]:
        """The tokens of a legal cell: the inverse of `cell`."""
        body, codec = cell[:-1], self.codec.columns[column]
        if column in self.text_of:
            return self._read_text(body, self.text_of[column][0].bound)
        found = self._read[column].get(body)
        if found is None:
            assert codec.method == "digits"
            text = body.strip(b' "')
            digits = bytes(b for b in text if 0x30 <= b <= 0x39).rjust(codec.width, b"0")[-codec.width :]
            sign = NEGATIVE if text[:1] == b"-" else POSITIVE
            return np.array([sign, *(b - 0x30 for b in digits)], np.uint16)
        return found

    def spelling(self, column: int, allowed: Automaton, last: bool, nulls: bool = True) -> Spelling:
        """How the cells of a column are spelled that `allowed` (over the column's tokens) leaves; of a text all, null only
        with `nulls`."""
        end, codec = self.end(last), self.codec.columns[column]
        if column in self.text_of:
            words = [self._null + end] if nulls else []
            return Spelling(words, prose=Prose(self.format == "json", b' "' if self.format == "json" else b'"', end))
        cells = [(np.frombuffer(key, np.uint16), text) for key, text in self._words[column].items()]
        legal = allowed.run(np.array([tokens for tokens, _ in cells])) if cells else np.zeros(0, np.bool_)
        words = [text + end for (_, text), fine in zip(cells, legal, strict=True) if fine]
        return Spelling(words, self._spelled_digits(column, allowed, end) if codec.method == "digits" else None)

    def room(self, column: int) -> int:
        """Bytes that a cell of a text column may have before its text has to end."""
        return self.text_of[column][0].bound - ROOM + (2 if self.format == "json" else 1)

    def longest(self, column: int) -> int:
        """Bytes of the longest cell of a column, with what ends it: no cell takes more tokens."""
        codec = self.codec.columns[column]
        if column in self.text_of:
            return self.text_of[column][0].bound + 4
        digits = 2 * len(DATE_MARKS) + codec.width + max(0, codec.scale + 1 - codec.width) if codec.method == "digits" else 0
        return max([digits, *(len(text) for text in self._words[column].values())]) + 4

    # -- cells ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _words(self) -> dict[int, dict[bytes, bytes]]:
        """Of each closed column the texts of the cells that are no digits, by their tokens: no text twice."""
        found: dict[int, dict[bytes, bytes]] = {}
        for column, codec in enumerate(self.codec.columns):
            if codec.sizes and column not in self.text_of:
                found[column] = {}
                seen: set[bytes] = set()
                for tokens, text in zip(*words_of(codec, self.codec.schema.field(column).type), strict=True):
                    told = self._null if text is None else self._written(column, text)
                    if told not in seen:
                        found[column][tokens.tobytes()] = told
                        seen.add(told)
        return found

    @cached_property
    def _read(self) -> dict[int, dict[bytes, npt.NDArray[np.uint16]]]:
        return {c: {text: np.frombuffer(key, np.uint16) for key, text in own.items()} for c, own in self._words.items()}

    @property
    def _null(self) -> bytes:
        return b"" if self.format == "csv" else b" null"

    def _written(self, column: int, text: str) -> bytes:
        return self._bare(JSON_NUMBERS.get(text, text)) if self._is_bare(column) else self._quoted(text, False)

    def _is_bare(self, column: int) -> bool:
        """Whether cells are written without quotes: numbers and truth values."""
        codec = self.codec.columns[column]
        made = codec.method not in ("category", "number", "digits")  # only whether there is one is told
        return made or codec.since is not None or codec.type.startswith(BARE)

    def _bare(self, text: str) -> bytes:
        return f"{' ' if self.format == 'json' else ''}{text}".encode()

    def _quoted(self, text: str, always: bool) -> bytes:
        if self.format == "json":
            return b" " + json.dumps(text, ensure_ascii=False).encode()
        needed = always or not text or text == MARK or any(c in text for c in ',"\n\r')
        return ('"' + text.replace('"', '""') + '"' if needed else text).encode()

    def _read_text(self, body: bytes, bound: int) -> npt.NDArray[np.uint16]:
        out = np.full(bound, END, np.uint16)
        if body in (b"", b" null"):
            out[0] = NULL
            return out
        text = json.loads(body) if self.format == "json" else body[1:-1].decode().replace('""', '"')
        spelled = np.frombuffer(text.encode(), np.uint8)
        out[: len(spelled)] = spelled.astype(np.uint16) + FIRST_BYTE
        return out

    def _frame(self, column: int) -> tuple[bytes, bytes]:
        """What stands before and behind the digits of a cell."""
        quote = b'"' if self.format == "json" and not self._is_bare(column) else b""
        return (b" " if self.format == "json" else b"") + quote, quote

    def _digits(self, column: int, tokens: npt.NDArray[Any]) -> bytes:
        codec = self.codec.columns[column]
        before, behind = self._frame(column)
        text = "".join(map(str, tokens[1:].tolist()))
        if codec.day:
            text = "".join((chr(DATE_MARKS[i]) if i in DATE_MARKS else "") + digit for i, digit in enumerate(text))
        else:
            text = text.rjust(codec.scale + 1, "0")
            whole, decimals = text[: len(text) - codec.scale], text[len(text) - codec.scale :]
            text = (whole.lstrip("0") or "0") + ("." + decimals if codec.scale else "")
        return before + (b"-" if tokens[0] == NEGATIVE else b"") + text.encode() + behind

    def _spelled_digits(self, column: int, allowed: Automaton, end: bytes) -> Digits:
        codec = self.codec.columns[column]
        before, behind = self._frame(column)
        if codec.day:
            return Digits(allowed, codec.width, DATE_MARKS, 0, 0, before, behind + end)
        whole = codec.width - codec.scale
        marks = {whole: 0x2E} if codec.scale else {}
        return Digits(allowed, codec.width, marks, min(0, whole - 1), whole - 1, before, behind + end)

    # -- files ---------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Writes the files that Script.save writes; script.json holds the rest."""
        super().save(folder)
        file = folder / ROWS_FILE
        names = ("format", "prompt", "width", "source", "base")
        content = json.loads(file.read_text("utf-8")) | {"rows": {name: getattr(self, name) for name in names}}
        write_text(file, json.dumps(content))

    @classmethod
    def load(cls, folder: Path) -> RowScript:
        """What `save` wrote. Errors: ModelError."""
        try:
            raw = json.loads((folder / ROWS_FILE).read_text("utf-8"))
            words = frozenset(json.loads((folder / "words.txt").read_text("utf-8")))
            texts = tuple(Text(**t) for t in raw["texts"])
            tokenizer: Any = Prosaic(words, raw["seed"]) if texts else None
            return cls(Codec.from_json(raw["codec"]), texts, tokenizer, False, **raw["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelError(f"the model's script in {escaped(str(folder))} is missing or damaged; train it again") from None


def words_of(codec: ColumnCodec, kind: pa.DataType) -> tuple[npt.NDArray[np.uint16], list[str | None]]:
    """The cells of a column that are no digits: tokens [cells, len(sizes)], and the text of each, None of null. Nothing of
    the rare value. Numbers in cells of a range are told by one in the middle."""
    first = len(codec.sizes) and codec.sizes[0]
    if codec.method == "digits":
        heads = np.arange(2, first - 1)
        tokens = np.zeros((len(heads), len(codec.sizes)), np.uint16)
        tokens[:, 0] = heads
    elif codec.method not in ("category", "number"):
        return np.arange(2, dtype=np.uint16)[:, None], ["true", None]
    elif len(codec.sizes) == 1:
        tokens = np.arange(first - 1, dtype=np.uint16)[:, None]
    else:
        behind = codec.behind[:-1]
        tokens = np.stack([np.repeat(np.arange(first - 1), behind), np.concatenate([np.arange(n) for n in behind])], axis=1)
    tokens = tokens.astype(np.uint16)
    told = pa.int64() if codec.since is not None else kind
    rows = len(tokens)
    values = decode_column(codec, tokens, np.full(rows, 0.5), np.zeros(rows, np.uint64), 0, told)
    texts = as_text(values).to_pylist()
    if codec.method == "number" and codec.domain == "float":
        short = [t if t is None else f"{float(t):.5g}" for t in texts]
        texts = short if len(set(short)) == len(short) else texts
    return tokens, texts
