"""The keyed pseudo-random function behind surrogates, shifts and noise: 64 bits of keyed BLAKE2b (RFC 7693) a value.

The same value under the same sub-key gives the same number in every table, batch and run; without the key the number
tells nothing about the value. Knows nothing of what the numbers are used for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.transform.transforms.values import all_differ, by_distinct, canonical

__all__ = ["array_keys", "by_distinct", "spread", "value_keys"]

UInt64 = npt.NDArray[np.uint64]


def value_keys(texts: Sequence[bytes], subkey: bytes) -> UInt64:
    """A 64-bit number for each text: uint64 [len(texts)]."""
    prepared = hashlib.blake2b(digest_size=8, key=subkey)
    copy = prepared.copy
    out = []
    for text in texts:  # absorbing the key once and copying the state is twice as fast as keying each digest
        state = copy()
        state.update(text)
        out.append(state.digest())
    return np.frombuffer(b"".join(out), dtype="<u8").astype(np.uint64)


def array_keys(array: pa.Array, subkey: bytes) -> UInt64:
    """A 64-bit number for each value of `array` by its canonical text; nulls count as one value of their own."""
    if all_differ(array):
        return value_keys(canonical(array), subkey)
    encoded = array.dictionary_encode()
    values = encoded.dictionary
    numbers = value_keys([*canonical(values), b"\x00null"], subkey)
    at = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return np.asarray(numbers[at], dtype=np.uint64)


def spread(numbers: UInt64, low: int, high: int) -> npt.NDArray[np.int64]:
    """`numbers` as whole numbers from `low` to `high`, both included, equally likely up to (high - low) / 2^64."""
    return (numbers % np.uint64(high - low + 1)).astype(np.int64) + low
