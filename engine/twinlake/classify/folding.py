"""Texts in one spelling of digits, spaces and dashes, with the way back to the places in the text as given.

Unlike `text.normalize` it keeps one character for each character, but for invisible ones, which are left out and
remembered: spans must be told in characters of the original.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.features import Features, buffers, features

Ints = npt.NDArray[np.int64]
INVISIBLE = frozenset(
    [0xAD, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x206A)]
)
DASHES = frozenset([*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63])
QUOTES = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2032: "'"}


class _Table(dict[int, str]):
    """One character for each: filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if code in DASHES:
            folded = "-"
        elif code in QUOTES:
            folded = QUOTES[code]
        elif char.isdecimal():
            folded = str(unicodedata.decimal(char))
        else:
            wide = unicodedata.normalize("NFKC", char)
            folded = wide if len(wide) == 1 else char
        self[code] = folded
        return folded


_TABLE = _Table({2: " ", 3: " ", 0: " "})


@dataclass(frozen=True)
class Folded:
    """Folded texts, their features, and for texts that lost characters the original place of each that is left."""

    texts: pa.StringArray
    features: Features
    places: dict[int, Ints]

    def cut(self, rows: Ints, starts: Ints, ends: Ints) -> pa.StringArray:
        """The pieces at these bytes."""
        offsets, data = self.features.offsets, self.features.data
        lengths = ends - starts
        total = np.concatenate([[0], np.cumsum(lengths)])
        at = np.repeat(offsets[rows] + starts - total[:-1], lengths) + np.arange(total[-1])
        return pa.StringArray.from_buffers(
            len(rows), pa.py_buffer(total.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(data[at]))
        )

    def characters(self, rows: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
        """Bytes of the folded texts as characters of the originals."""
        offsets, data = self.features.offsets, self.features.data
        if not self.places and (len(data) == 0 or int(data.max()) < 128):
            return starts, ends
        begins = np.concatenate([[0], np.cumsum((data & 0xC0) != 0x80)])
        base = begins[offsets[rows]]
        first, last = begins[offsets[rows] + starts] - base, begins[offsets[rows] + ends] - base
        for i in np.flatnonzero(np.isin(rows, np.array(list(self.places), dtype=np.int64))).tolist():
            place = self.places[int(rows[i])]
            first[i], last[i] = place[first[i]], place[last[i] - 1] + 1
        return first.astype(np.int64), last.astype(np.int64)


def fold(texts: pa.Array) -> Folded:
    """`texts` ready to be searched; null becomes empty."""
    plain = texts.cast(pa.string()).fill_null("")
    if isinstance(plain, pa.ChunkedArray):
        plain = plain.combine_chunks()
    _, data = buffers(plain)
    places: dict[int, Ints] = {}
    if len(data) and (int(data.max()) > 127 or bool((data < 4).any())):
        plain, places = _translated(plain)
    return Folded(plain, features(plain), places)


def _translated(texts: pa.StringArray) -> tuple[pa.StringArray, dict[int, Ints]]:
    odd = pc.match_substring_regex(texts, pattern="[^\\x04-\\x7F]").to_numpy(zero_copy_only=False)
    out, places = texts.to_pylist(), {}
    for row in np.flatnonzero(odd).tolist():
        text = out[row]
        if any(ord(ch) in INVISIBLE for ch in text if ch > "~"):
            kept = [i for i, ch in enumerate(text) if ord(ch) not in INVISIBLE]
            places[row] = np.array(kept or [0], dtype=np.int64)
            text = "".join(text[i] for i in kept)
        out[row] = text.translate(_TABLE)
    return pa.array(out, pa.string()), places
