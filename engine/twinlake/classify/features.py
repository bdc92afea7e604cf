"""What a batch of texts is made of: lengths, counts of digits and letters, which marks occur. Knows no entity.

Computed once for a batch, by numpy over the buffer of bytes (a few nanoseconds a byte); a `Gate` then tells which of a
hundred patterns can match a value at all, so that each value is shown to few of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]

MARKS = "@:.-/+(,#_='&{\"[<$%; \n"
"""Characters whose presence is noted, one bit each; then any digit, any letter, any byte beyond ASCII."""
DIGIT, LETTER, WIDE = 1 << len(MARKS), 2 << len(MARKS), 4 << len(MARKS)
LONGEST = 60_000
"""Counts of one text are kept in fields of 16 bits; a longer text counts as this many of each."""


def _tables() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64], Bytes]:
    bits, counts = np.zeros(256, dtype=np.uint32), np.zeros(256, dtype=np.uint64)
    for i, mark in enumerate(MARKS):
        bits[ord(mark)] |= np.uint32(1 << i)
    bits[ord("0") : ord("9") + 1] |= np.uint32(DIGIT)
    counts[ord("0") : ord("9") + 1] = 1
    for first, last in ("az", "AZ"):
        bits[ord(first) : ord(last) + 1] |= np.uint32(LETTER)
        counts[ord(first) : ord(last) + 1] = 1 << 16
    counts[ord(" ")] = 1 << 32
    bits[128:] |= np.uint32(WIDE)
    lower = np.arange(256, dtype=np.uint8)
    lower[ord("A") : ord("Z") + 1] += 32
    return bits, counts, lower


BITS, COUNTS, LOWER = _tables()
POWERS = np.array([pow(0x9E3779B97F4A7C15, i + 1, 1 << 64) for i in range(64)], dtype=np.uint64)


def buffers(texts: pa.StringArray) -> tuple[Ints, Bytes]:
    """Offsets [n + 1] and bytes of an array without regard to nulls (they are empty)."""
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2], dtype=np.uint8) if texts.buffers()[2] else np.empty(0, np.uint8)
    if not len(offsets):
        offsets = np.zeros(1, dtype=np.int32)
    return (offsets - offsets[0]).astype(np.int64), data[offsets[0] : offsets[-1]]


@dataclass(frozen=True)
class Features:
    """Of each text: bytes, digits, ASCII letters, spaces, and which of MARKS (and kinds of characters) occur."""

    length: Ints
    digits: Ints
    letters: Ints
    spaces: Ints
    marks: npt.NDArray[np.uint32]
    offsets: Ints
    data: Bytes

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """A number for each text, equal for texts that differ by ASCII case alone. Only the first 64 bytes count."""
        place = np.arange(len(self.data), dtype=np.int64) - np.repeat(self.offsets[:-1], self.length)
        codes = LOWER[self.data].astype(np.uint64) + np.uint64(1)
        with np.errstate(over="ignore"):
            codes *= POWERS[np.minimum(place, 63)]
            codes[place >= 64] = 0
            total = _sums(codes, self.offsets)
            total ^= total >> np.uint64(29)
            return total * np.uint64(0xBF58476D1CE4E5B9)


def features(texts: pa.StringArray) -> Features:
    """Features of `texts`; null counts as empty."""
    offsets, data = buffers(texts)
    length = np.diff(offsets)
    packed = _sums(COUNTS[data], offsets)
    field = np.uint64(0xFFFF)
    digits, letters, spaces = ((packed >> np.uint64(s)) & field for s in (0, 16, 32))
    long = length > LONGEST
    digit, letter, space = (np.where(long, LONGEST, c.astype(np.int64)) for c in (digits, letters, spaces))
    marks = np.zeros(len(texts), dtype=np.uint32)
    filled = length > 0
    if filled.any():
        marks[filled] = np.bitwise_or.reduceat(BITS[data], offsets[:-1][filled])
    return Features(length, digit, letter, space, marks, offsets, data)


def _sums(codes: npt.NDArray[np.uint64], offsets: Ints) -> npt.NDArray[np.uint64]:
    total = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes, out=total[1:])
    with np.errstate(over="ignore"):
        out: npt.NDArray[np.uint64] = total[offsets[1:]] - total[offsets[:-1]]
    return out


@dataclass(frozen=True)
class Gate:
    """What a text must be made of for a pattern to have a chance. Bounds are inclusive.

    needs: marks that must all occur. some: marks of which one must. ascii: nothing beyond ASCII.
    A gate must never refuse what the match accepts: the contract suite tries every valid case.
    """

    least: int = 1
    most: int = 1 << 30
    digits: tuple[int, int] = (0, 1 << 30)
    letters: tuple[int, int] = (0, 1 << 30)
    spaces: tuple[int, int] = (0, 1 << 30)
    needs: str = ""
    some: str = ""
    ascii: bool = False

    def passes(self, of: Features) -> Bools:
        """True where a text may match."""
        ok = (of.length >= self.least) & (of.length <= self.most)
        for (low, high), counts in zip(
            (self.digits, self.letters, self.spaces), (of.digits, of.letters, of.spaces), strict=True
        ):
            if low > 0:
                ok &= counts >= low
            if high < 1 << 30:
                ok &= (counts <= high) | (of.length > LONGEST)
        if self.needs:
            bits = np.uint32(sum(1 << MARKS.index(mark) for mark in self.needs))
            ok &= (of.marks & bits) == bits
        if self.some:
            ok &= (of.marks & np.uint32(sum(1 << MARKS.index(mark) for mark in self.some))) != 0
        if self.ascii:
            ok &= (of.marks & np.uint32(WIDE)) == 0
        return ok


ANY = Gate()
