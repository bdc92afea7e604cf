"""Vectorized building blocks of fakes: every draw is a pure function of (64-bit key, name of the draw).

Knows nothing of entities. No global random state: `twinlake.core.seeds` alone turns keys into numbers, so the same key
gives the same fake on every machine and in every order.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Keys
from twinlake.core.seeds import derive, mix

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@cache
def _salt(name: str) -> int:
    return derive(0, "fake", name)


def draw(keys: Keys, name: str, size: int) -> Ints:
    """A number in range(size) for each key; draws of different names are independent of each other."""
    # the bias of the remainder is below size / 2^64
    return (mix(np.asarray(keys, dtype=np.uint64), _salt(name)) % np.uint64(size)).astype(np.int64)


def pick(words: pa.StringArray, index: Ints) -> pa.StringArray:
    """The words at `index`."""
    return words.take(pa.array(index))


def joined(*parts: pa.StringArray | str) -> pa.StringArray:
    """Parts glued row by row; a plain string stands for itself in every row."""
    return pc.binary_join_element_wise(*parts, "")


def digits(number: Ints, width: int) -> pa.StringArray:
    """Non-negative numbers as exactly `width` decimal digits."""
    return from_bytes(digit_matrix(number, width) + np.uint8(48))


def digit_matrix(number: Ints, width: int) -> Bytes:
    """The last `width` decimal digits of each number, most significant first: uint8 [n, width]."""
    out = np.empty((len(number), width), dtype=np.uint8)
    rest = number.copy()
    for column in range(width - 1, -1, -1):
        out[:, column] = rest % 10
        rest //= 10
    return out


def hexadecimal(keys: Keys, name: str, width: int) -> Bytes:
    """`width` hexadecimal digits (values 0 to 15) for each key: uint8 [n, width], at most 16 wide."""
    word = mix(np.asarray(keys, dtype=np.uint64), _salt(name))
    shifts = np.arange(width, dtype=np.uint64) * np.uint64(4)
    return ((word[:, None] >> shifts) & np.uint64(15)).astype(np.uint8)


def hex_letters(matrix: Bytes) -> Bytes:
    """Hexadecimal digits as ASCII codes."""
    return np.frombuffer(b"0123456789abcdef", dtype=np.uint8)[matrix]


def from_bytes(codes: Bytes) -> pa.StringArray:
    """ASCII codes [n, width] as n strings of equal length."""
    rows, width = codes.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(codes)))
