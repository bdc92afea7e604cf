"""Columns that are not modelled but made anew from the row id: surrogates of people's data, keys, texts by format.

A value is a pure function of (row id, seed, column). Keys are unique by construction: the row id is permuted within the
space of the format. Knows nothing of the rows of the real table.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import ModelError, in_quotes
from twinlake.core.seeds import derive, mix, permute, uniform

UInt64 = npt.NDArray[np.uint64]


def regenerate(name: str, method: str, entity: str, recipe: dict[str, Any], row_ids: UInt64, seed: int) -> pa.Array:
    """Texts for `row_ids`. `method`: key or format (by `recipe`, see models/fitting.py), or surrogate of `entity`, for which
    the ids are keys of people or places (models/people.py)."""
    if method == "surrogate":
        from twinlake.classify.detectors import DETECTORS

        return DETECTORS[entity].fake(row_ids)
    if recipe["kind"] in ("integers", "spread"):
        return _integers(name, recipe, row_ids, derive(seed, name, "integers")).cast(pa.string())
    if recipe["kind"] == "words":
        return _words(recipe, row_ids, derive(seed, name, "words"))
    return _patterned(recipe["patterns"], row_ids, derive(seed, name, "pattern"), unique=method == "key")


def _integers(name: str, recipe: dict[str, Any], row_ids: UInt64, seed: int) -> pa.Array:
    if len(row_ids) and int(row_ids.max()) >= recipe["room"]:
        raise ModelError(f"column {in_quotes(name)}: its type has room for {recipe['room']:,} new ids; ask for fewer rows")
    if recipe["kind"] == "spread":
        return pa.array(permute(row_ids.astype(np.int64), recipe["room"], seed))
    return pa.array(row_ids.astype(np.int64) * recipe["sign"] + recipe["start"])


def _patterned(patterns: list[dict[str, Any]], row_ids: UInt64, seed: int, unique: bool) -> pa.Array:
    """`patterns`: [{weight, positions: [characters allowed at each position]}], drawn by weight."""
    weights = np.cumsum([p["weight"] for p in patterns])
    chosen = np.searchsorted(weights / weights[-1], uniform(row_ids, seed), side="right")
    out = np.empty(len(row_ids), dtype=object)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(chosen == number)
        if len(rows):
            out[rows] = _fill(pattern["positions"], row_ids[rows], derive(seed, number), unique)
    return pa.array(out, pa.string())


def _fill(positions: list[str], row_ids: UInt64, seed: int, unique: bool) -> npt.NDArray[Any]:
    columns: list[npt.NDArray[Any]] = []
    for number, group in enumerate(_groups(positions)):
        size = math.prod(len(characters) for characters in group)
        group_seed = derive(seed, number)
        if unique and number == 0 and int(row_ids.max()) < size:
            drawn = permute(row_ids.astype(np.int64), size, group_seed)
        else:
            drawn = (mix(row_ids, group_seed) % np.uint64(size)).astype(np.int64)
        for characters in group:
            columns.append(np.array(list(characters))[drawn % len(characters)])
            drawn = drawn // len(characters)
    return np.asarray(["".join(row) for row in zip(*columns, strict=True)], dtype=object)


def _groups(positions: list[str]) -> list[list[str]]:
    """Runs of positions whose space stays below 2^60; the first is the largest prefix, so a permuted id fits it."""
    groups: list[list[str]] = [[]]
    space = 1
    for characters in positions:
        if space * len(characters) >= 2**60:
            groups.append([])
            space = 1
        groups[-1].append(characters)
        space *= len(characters)
    return groups


def _words(recipe: dict[str, Any], row_ids: UInt64, seed: int) -> pa.Array:
    """Placeholder prose: words of the public lorem ipsum text, about as many as the real texts have."""
    from faker.providers.lorem.la import Provider

    words = pa.array(list(Provider.word_list), pa.string())
    low, high = recipe["words"]
    count = (low + uniform(row_ids, seed) * (high - low + 1)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    place = (np.arange(offsets[-1]) - np.repeat(offsets[:-1], count)).astype(np.uint64)
    keys = np.repeat(row_ids, count) * np.uint64(1_000_003) + place
    drawn = words.take(pa.array((mix(keys, seed) % np.uint64(len(words))).astype(np.int64)))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), drawn), " ")
