"""FF1, the format-preserving mode of NIST SP 800-38G (2016; kept by the second draft of revision 1, February 2025).

A numeral string of `radix` becomes another of the same length under an AES key and a tweak. The algorithm is section 5.1
of that document, over the block cipher of `cryptography`; the tests hold its nine sample vectors. A domain of fewer than
1,000,000 strings is refused, as the revision requires. One key and tweak serves a whole column: what depends on the
length alone is worked out once, and strings of one length go through each round together. Knows nothing of text, columns
or keys' names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

UInt64 = npt.NDArray[np.uint64]
MIN_DOMAIN = 1_000_000
_ROUNDS = 10
_WORD = 1 << 32
_FEW = 16


@dataclass(frozen=True)
class _Shape:
    """What depends on the length of the string alone."""

    left: int
    right: int
    width: int
    drawn: int
    start: int
    padding: bytes


class FF1:
    """The cipher for one key (16, 24 or 32 bytes), radix (2 to 65,536) and tweak.

    Strings are sequences of numbers below `radix`. Errors: ValueError for a domain under 1,000,000.
    """

    def __init__(self, key: bytes, radix: int, tweak: bytes = b"") -> None:
        if not 2 <= radix <= 1 << 16:
            raise ValueError(f"radix must be from 2 to 65536, got {radix}")
        self.radix, self._tweak = radix, tweak
        # single blocks alone: FF1's PRF is CBC-MAC, chained here
        self._block: Any = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update
        self._shape = lru_cache(maxsize=64)(self._make_shape)

    def encrypt(self, text: Sequence[int]) -> list[int]:
        """The string that stands for `text`."""
        shape = self._shape(len(text))
        a, b = self._number(text[: shape.left]), self._number(text[shape.left :])
        sizes = (self.radix**shape.left, self.radix**shape.right)
        for number in range(_ROUNDS):
            a, b = b, (a + self._round(shape, number, b)) % sizes[number & 1]
        return [*self._numerals(a, shape.left), *self._numerals(b, shape.right)]

    def decrypt(self, text: Sequence[int]) -> list[int]:
        """The string that `text` stands for."""
        shape = self._shape(len(text))
        a, b = self._number(text[: shape.left]), self._number(text[shape.left :])
        sizes = (self.radix**shape.left, self.radix**shape.right)
        for number in reversed(range(_ROUNDS)):
            a, b = (b - self._round(shape, number, a)) % sizes[number & 1], a
        return [*self._numerals(a, shape.left), *self._numerals(b, shape.right)]

    def encrypt_all(self, texts: UInt64) -> UInt64:
        """The string that stands for each row of `texts`: [n, length] of numerals, as `encrypt` gives them one by one."""
        shape = self._shape(texts.shape[1])
        if not self._together(texts, shape):
            return _rows([self.encrypt(text) for text in texts.tolist()], texts)
        a, b = self._numbers(texts[:, : shape.left]), self._numbers(texts[:, shape.left :])
        sizes = [np.uint64(self.radix**half) for half in (shape.left, shape.right)]
        for number in range(_ROUNDS):
            size = sizes[number & 1]
            a, b = b, (a + self._rounds(shape, number, b, size)) % size
        return np.hstack([self._split(a, shape.left), self._split(b, shape.right)])

    def decrypt_all(self, texts: UInt64) -> UInt64:
        """The string that each row of `texts` stands for."""
        shape = self._shape(texts.shape[1])
        if not self._together(texts, shape):
            return _rows([self.decrypt(text) for text in texts.tolist()], texts)
        a, b = self._numbers(texts[:, : shape.left]), self._numbers(texts[:, shape.left :])
        sizes = [np.uint64(self.radix**half) for half in (shape.left, shape.right)]
        for number in reversed(range(_ROUNDS)):
            size = sizes[number & 1]
            a, b = (b + size - self._rounds(shape, number, a, size)) % size, a
        return np.hstack([self._split(a, shape.left), self._split(b, shape.right)])

    def _make_shape(self, length: int) -> _Shape:
        if self.radix**length < MIN_DOMAIN:
            raise ValueError(f"a string of {length} of {self.radix} symbols is one of fewer than {MIN_DOMAIN:,}")
        left = length // 2
        right = length - left
        width = ((self.radix**right - 1).bit_length() + 7) // 8
        head = bytes([1, 2, 1]) + self.radix.to_bytes(3, "big") + bytes([_ROUNDS, left % 256])
        head += length.to_bytes(4, "big") + len(self._tweak).to_bytes(4, "big")
        padding = self._tweak + bytes((-len(self._tweak) - width - 1) % 16)
        start = int.from_bytes(self._block(head), "big")
        # whole blocks before the one that holds the round number do not change either
        while len(padding) >= 16:
            start = self._chain(start, padding[:16])
            padding = padding[16:]
        return _Shape(left, right, width, 4 * ((width + 3) // 4) + 4, start, padding)

    def _chain(self, state: int, block: bytes) -> int:
        return int.from_bytes(self._block((state ^ int.from_bytes(block, "big")).to_bytes(16, "big")), "big")

    def _round(self, shape: _Shape, number: int, half: int) -> int:
        state = shape.start
        text = shape.padding + bytes([number]) + half.to_bytes(shape.width, "big")
        for at in range(0, len(text), 16):
            state = self._chain(state, text[at : at + 16])
        drawn = state.to_bytes(16, "big")
        for counter in range(1, (shape.drawn + 15) // 16):
            drawn += self._block((state ^ counter).to_bytes(16, "big"))
        return int.from_bytes(drawn[: shape.drawn], "big")

    def _together(self, texts: UInt64, shape: _Shape) -> bool:
        # a larger half and what is drawn for it fit no number of numpy's; few strings cost less one by one
        return self.radix**shape.right <= _WORD and len(texts) >= _FEW

    def _rounds(self, shape: _Shape, number: int, halves: UInt64, size: np.uint64) -> UInt64:
        """What `_round` draws for each half, modulo `size`. A half and what is drawn for it are at most 4 and 8 bytes."""
        text = np.zeros((len(halves), len(shape.padding) + 1 + shape.width), np.uint8)
        text[:, : len(shape.padding)] = np.frombuffer(shape.padding, np.uint8)
        text[:, len(shape.padding)] = number
        text[:, -shape.width :] = halves.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - shape.width :]
        state = np.frombuffer(shape.start.to_bytes(16, "big"), np.uint8)[None, :]
        for at in range(0, text.shape[1], 16):
            mixed = (text[:, at : at + 16] ^ state).tobytes()
            state = np.frombuffer(self._block(mixed), np.uint8).reshape(-1, 16)
        drawn = np.ascontiguousarray(state[:, :8]).view(">u8")[:, 0].astype(np.uint64)
        return np.asarray(drawn % size)

    def _numbers(self, numerals: UInt64) -> UInt64:
        numbers = np.zeros(len(numerals), np.uint64)
        for column in numerals.T:
            numbers = numbers * np.uint64(self.radix) + column
        return numbers

    def _split(self, numbers: UInt64, length: int) -> UInt64:
        out = np.empty((len(numbers), length), np.uint64)
        for at in range(length - 1, -1, -1):
            numbers, out[:, at] = np.divmod(numbers, np.uint64(self.radix))
        return out

    def _number(self, numerals: Sequence[int]) -> int:
        number = 0
        for numeral in numerals:
            number = number * self.radix + numeral
        return number

    def _numerals(self, number: int, length: int) -> list[int]:
        out = [0] * length
        for at in range(length - 1, -1, -1):
            number, out[at] = divmod(number, self.radix)
        return out


def _rows(made: list[list[int]], like: UInt64) -> UInt64:
    return np.array(made, np.uint64).reshape(like.shape)
