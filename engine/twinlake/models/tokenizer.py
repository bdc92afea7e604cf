"""Text as pieces: a SentencePiece model of the words that enough people hold, and nothing of the others.

A text is cut into units (a word, a digit or a mark, with the space before it). Units that fewer than `min_people` rows of the
sample hold never reach the tokenizer, and are one `rare` piece to the model, which learns it and never draws it; so what
a single person wrote is neither in a vocabulary nor in what a model can learn. Digits of rare numbers are replaced by others,
so that the shape of a text stays. Pieces: Kudo, "Subword regularization" (ACL 2018); encoding loses nothing.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sentencepiece

from twinlake.core.errors import ModelError
from twinlake.core.seeds import derive
from twinlake.models.column import Tokens

UNIT = re.compile(r" ?[^\W\d_]+| ?[0-9]+| ?[^\s]|\s")
BREAKS = ("\n", "\r", "\t")
END, NULL, RARE = 0, 1, 2
FIRST_PIECE = 3
CACHED = 500_000
AUTO_VOCABULARY = ((2_000, 1_024), (8_000, 2_048), (30_000, 4_096))
LARGEST = 8_192


def units_of(text: str) -> list[str]:
    """The units of a text: joined they are the text."""
    return UNIT.findall(text)


def train_tokenizer(words: Mapping[str, int], vocabulary: int | None = None) -> bytes:
    """A SentencePiece model of `words` (units and how many rows hold each), as the bytes of its file.

    `vocabulary`: pieces at most; 0 means characters, None follows the number of words. No row is needed. Errors: ModelError.
    """
    if not words:
        raise ModelError("no word is held by privacy.min_people rows; there is nothing to learn of the texts")
    size = vocabulary or next((v for most, v in AUTO_VOCABULARY if len(words) <= most), LARGEST)
    spelled = {unit.replace(" ", "\u2581") for unit in words}
    characters = len(set("".join(spelled)))
    model = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="twinlake-") as folder:
        file = Path(folder) / "words.tsv"
        file.write_text("".join(f"{u}\t{n}\n" for u, n in sorted(words.items()) if u not in BREAKS), "utf-8")
        try:
            sentencepiece.SentencePieceTrainer.train(
                input=str(file),
                input_format="tsv",
                model_writer=model,
                model_type="char" if vocabulary == 0 else "unigram",
                vocab_size=max(size, characters + 300),
                hard_vocab_limit=False,
                character_coverage=1.0,
                split_digits=True,
                byte_fallback=True,
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                normalization_rule_name="identity",
                num_threads=1,
                bos_id=-1,
                eos_id=-1,
                user_defined_symbols=[b for b in BREAKS if b in words],
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            raise ModelError(
                f"the tokenizer could not be trained ({type(error).__name__}): lower model.language.vocab_size"
            ) from None
    return model.getvalue()


@dataclass
class Tokenizer:
    """A SentencePiece model and the units that may be told. Ids of texts: END, NULL, RARE, then the pieces."""

    model: bytes
    common: frozenset[str]
    seed: int = 0
    _processor: sentencepiece.SentencePieceProcessor = field(init=False, repr=False)
    _known: dict[str, tuple[int, ...]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(self.model)
        except RuntimeError:
            raise ModelError("tokenizer.model is damaged; train the model again") from None

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[bytes, frozenset[str], int]]:
        return Tokenizer, (self.model, self.common, self.seed)

    @property
    def size(self) -> int:
        """Ids of texts."""
        return FIRST_PIECE + int(self._processor.GetPieceSize())

    def drawable(self) -> npt.NDArray[np.bool_]:
        """Which ids may be drawn: not RARE, and no single bytes, which may not make up a character."""
        mask = np.ones(self.size, np.bool_)
        mask[RARE] = False
        for piece in range(self.size - FIRST_PIECE):
            if self._processor.IsByte(piece) or self._processor.IsUnknown(piece) or self._processor.IsControl(piece):
                mask[FIRST_PIECE + piece] = False
        return mask

    def pieces(self, text: str) -> list[int]:
        """The ids of a whole text, without END."""
        out: list[int] = []
        for unit in units_of(text):
            ids = self._known.get(unit)
            if ids is None:
                ids = self._unit(unit)
                if len(self._known) < CACHED:
                    self._known[unit] = ids
            out += ids
        return out

    def _unit(self, unit: str) -> tuple[int, ...]:
        if unit not in self.common:
            if not unit.strip().isdigit():
                return (RARE,)
            draw = derive(self.seed, "digits", unit)
            unit = "".join(c if c.isspace() else str(draw // 10**place % 10) for place, c in enumerate(unit))
        return tuple(FIRST_PIECE + piece for piece in self._processor.EncodeAsIds(unit))

    def encode(self, texts: pa.Array, width: int, cut: int | None = None) -> Tokens:
        """Ids, uint16 [rows, width]: those of a text, then END; a null is NULL. What is longer than `width` is left out.

        A text of `cut` characters is the beginning of one that went on: RARE behind it says that what followed is not known, so
        no end is learned there."""
        out = np.full((len(texts), width), END, np.uint16)
        for row, text in enumerate(texts.to_pylist()):
            ids = [NULL] if text is None else self.pieces(text)
            if cut is not None and text is not None and len(text) >= cut:
                ids = [*ids, RARE]
            out[row, : len(ids)] = ids[:width]
        return out

    def decode(self, ids: Tokens) -> pa.Array:
        """Ids [rows, width] -> texts; what lies behind the first END does not count."""
        texts: list[str | None] = []
        for row in ids.astype(np.int64):
            ends = np.flatnonzero(row == END)
            kept = row[: ends[0]] if len(ends) else row
            pieces = (kept[kept >= FIRST_PIECE] - FIRST_PIECE).tolist()
            texts.append(None if len(kept) and kept[0] == NULL else self._processor.DecodeIds(pieces))
        return pa.array(texts, pa.string())


def count_units(rows: Iterable[Sequence[str | None]], counts: dict[str, int]) -> None:
    """Adds to `counts` how many of these rows hold each unit, in any of their texts."""
    for texts in rows:
        for unit in {unit for text in texts if text for unit in units_of(text)}:
            counts[unit] = counts.get(unit, 0) + 1
