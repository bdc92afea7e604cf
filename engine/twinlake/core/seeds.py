"""Every random number of twinlake starts here: named seeds, counter-based streams and a seeded permutation.

`derive` turns names into a 64-bit seed with BLAKE2b over length-prefixed parts, so that no two name tuples share an
encoding. Streams are Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a pure function of
key and counter, hence independent of partitions, retries and the number of workers.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

UInt64 = npt.NDArray[np.uint64]


def derive(seed: int, *parts: str | int) -> int:
    """A seed in [0, 2^64) for the stream named by `parts` under `seed` (any non-negative integer below 2^63)."""
    digest = hashlib.blake2b(digest_size=8, key=int(seed).to_bytes(8, "little"))
    for part in parts:
        if isinstance(part, str):
            raw = b"s" + part.encode("utf-8", "surrogatepass")
        else:
            raw = b"i" + int(part).to_bytes(9, "little", signed=True)
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return int.from_bytes(digest.digest(), "little")


def as_long(seed: int) -> int:
    """The 64 bits of `seed` as a signed number in [-2^63, 2^63), as the JVM and SQL have them."""
    return seed - (1 << 64) if seed >= 1 << 63 else seed


def generator(seed: int, *counters: int) -> np.random.Generator:
    """A Philox generator keyed by `seed`, started at up to three 64-bit `counters` (block, attempt, ...)."""
    if len(counters) > 3:
        raise ValueError(f"at most three counters, got {len(counters)}")
    key = np.array([seed, 0], dtype=np.uint64)
    counter = np.array([0, *counters, 0, 0, 0][:4], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def mix(values: UInt64, seed: int) -> UInt64:
    """Scrambles uint64 `values` bijectively under `seed` (the finalizer of SplitMix64, Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(seed & 0xFFFFFFFFFFFFFFFF) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(values: UInt64, seed: int) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1), one for each uint64 of `values`: a pure function of (value, seed)."""
    return (mix(values, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permute(index: npt.NDArray[np.int64], size: int, seed: int) -> npt.NDArray[np.int64]:
    """Where a seeded permutation of range(size) sends each `index`, without ever holding the permutation.

    A 6-round Feistel network over the next even power of two with cycle walking (Black and Rogaway, "Ciphers with
    arbitrary finite domains", CT-RSA 2002). Memory and time grow with len(index) alone.
    """
    if size <= 0 or (len(index) and (index.min() < 0 or index.max() >= size)):
        raise ValueError(f"indices must lie in range({size})")
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    keys = [derive(seed, "feistel", round_) for round_ in range(6)]

    def once(x: UInt64) -> UInt64:
        left, right = x >> np.uint64(half), x & mask
        for key in keys:
            left, right = right, left ^ (mix(right, key) & mask)
        return (left << np.uint64(half)) | right

    out = once(index.astype(np.uint64))
    outside = np.flatnonzero(out >= size)
    while len(outside):
        out[outside] = once(out[outside])
        outside = outside[out[outside] >= size]
    return out.astype(np.int64)
