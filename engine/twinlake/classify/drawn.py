"""Fakes by a shape: "AA-999" is two letters, a dash and three digits, drawn by key. Knows no entity.

`shaped` is vectorized. `completed` adds check characters in Python, value by value, by asking the scheme's own validator.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from twinlake.classify.detector import Fake, Keys
from twinlake.classify.fakes import digits, draw, from_bytes, joined, pick

UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SETS = {
    "9": "0123456789",
    "8": "123456789",
    "q": "1234567",
    "A": UPPER,
    "a": UPPER.lower(),
    "B": "ABCDEFGHJKLMNPRSTVWXYZ",
    "h": "0123456789abcdef",
    "X": UPPER + "0123456789",
    "x": UPPER.lower() + "0123456789",
    "m": UPPER + UPPER.lower() + "0123456789",
}
"""A letter of a shape -> the characters it may become; everything else stands for itself."""


def shaped(shape: str, name: str, literal: str = "", tail: str = "") -> Fake:
    """A fake of this shape. `literal`, `tail`: a beginning and an end that are taken as they are, whatever their letters."""

    def fake(keys: Keys) -> pa.StringArray:
        out = np.empty((len(keys), len(shape)), dtype=np.uint8)
        for i, letter in enumerate(shape):
            chars = np.frombuffer(SETS.get(letter, letter).encode(), dtype=np.uint8)
            out[:, i] = chars[draw(keys, f"{name} {i}", len(chars))] if len(chars) > 1 else chars[0]
        return joined(literal, from_bytes(out), tail) if literal or tail else from_bytes(out)

    return fake


def dated(order: str, name: str, rest: str = "", years: tuple[int, int] = (1940, 1999)) -> Fake:
    """A date as digits in `order` (such as "ymd", "dmy", or "Ymd" with the whole year), then the shape `rest`."""

    def fake(keys: Keys) -> pa.StringArray:
        year = draw(keys, f"{name} year", years[1] - years[0] + 1) + years[0]
        parts = {
            "Y": digits(year, 4),
            "y": digits(year % 100, 2),
            "m": digits(draw(keys, f"{name} month", 12) + 1, 2),
            "d": digits(draw(keys, f"{name} day", 28) + 1, 2),
        }
        return (
            joined(*(parts[letter] for letter in order), shaped(rest, name)(keys))
            if rest
            else joined(*(parts[letter] for letter in order))
        )

    return fake


def completed(body: Fake, finish: Callable[[str], str]) -> Fake:
    """`body` with what `finish` makes of each, value by value."""

    def fake(keys: Keys) -> pa.StringArray:
        return pa.array([finish(text) for text in body(keys).to_pylist()], pa.string())

    return fake


def ending(valid: Callable[[str], bool], alphabet: str = "0123456789") -> Callable[[str], str]:
    """Adds the character that makes a number valid; where none does, the last digit of the body moves on first."""

    def finish(body: str) -> str:
        for step in range(10):
            last = str((int(body[-1]) + step) % 10) if body[-1].isdigit() else body[-1]
            for char in alphabet:
                if valid(body[:-1] + last + char):
                    return body[:-1] + last + char
        return body + alphabet[0]

    return finish


def chosen(words: pa.StringArray, name: str) -> Fake:
    """One of `words`."""

    def fake(keys: Keys) -> pa.StringArray:
        return pick(words, draw(keys, name, len(words)))

    return fake
