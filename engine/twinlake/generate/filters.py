"""Filters of generated rows: which are too near to a train row, and which lie where hardly any real row does.

Runs where rows are drawn, and those that it refuses are drawn again (generate/blocks.py). Whether a row passes follows from the
row, the filters' index of the train rows and three limits (generate/filter_index.py); so a row stays a pure function of
(model, filters, seed, row id, attempt).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from twinlake.core.seeds import derive
from twinlake.generate.nearest import Forest, Tree
from twinlake.generate.points import Places
from twinlake.models.codec import Codec
from twinlake.models.column import Tokens
from twinlake.models.store import RowSampler

INDEX = "index.json"
SIMILARITY, OUTLIERS = "similarity", "outliers"


@dataclass(frozen=True)
class Filters:
    """What a row must keep to. `folder`, `digest`: the index of the train rows. A row passes unless its squared distance to the
    nearest train row of fewer than min_people is below `near`, or that to the nearest of all is above `far`, or its log
    probability is below `unlikely`; None: not asked. `strict`: rows that can't be drawn so that they pass are an error."""

    folder: str
    digest: str
    near: float | None = None
    far: float | None = None
    unlikely: float | None = None
    strict: bool = False


@dataclass(frozen=True)
class Screen:
    """Filters with their index. `sampler`: the network that knows probabilities, None where there is none."""

    filters: Filters
    places: Places
    forest: Forest
    sampler: RowSampler | None

    @classmethod
    def of(cls, filters: Filters, sampler: RowSampler | None) -> Screen:
        """The index is mapped into memory, once for each process."""
        places, forest = load_index(filters.folder, filters.digest)
        return cls(filters, places, forest, sampler)

    def refused(self, tokens: Tokens) -> dict[str, npt.NDArray[np.bool_]]:
        """By filter the rows of `tokens` [rows, S] that do not pass it, bool [rows]."""
        own, nearest, told = measured(tokens, self.places, self.forest, self.sampler, self.filters)
        out = {name: np.zeros(len(tokens), np.bool_) for name in (SIMILARITY, OUTLIERS)}
        if self.filters.near is not None:
            out[SIMILARITY] = own < self.filters.near
        if self.filters.far is not None:
            out[OUTLIERS] |= nearest > self.filters.far
        if self.filters.unlikely is not None:
            out[OUTLIERS] |= told < self.filters.unlikely
        return out


def measured(
    tokens: Tokens, places: Places, forest: Forest, sampler: RowSampler | None, filters: Filters
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Of rows of tokens: squared distances to the nearest own row and to the nearest row, and log probabilities (0 where none
    is asked), float32 [rows] each."""
    nothing = np.zeros(len(tokens), np.float32)
    own, nearest = (
        forest.nearest(places.points(tokens)) if filters.near is not None or filters.far is not None else (nothing,) * 2
    )
    if filters.unlikely is None or sampler is None:
        return own, nearest, nothing
    return own, nearest, sampler.log_prob(tokens).astype(np.float32)


@lru_cache(maxsize=2)
def load_index(folder: str, digest: str) -> tuple[Places, Forest]:
    """The index in a folder (`digest` is the cache's key); what grows with the table is mapped into memory."""
    root = Path(folder)
    facts = json.loads((root / INDEX).read_text())
    places = Places.of(
        Codec.from_json((root / "codec.json").read_text(encoding="utf-8")), [np.array(c, np.int64) for c in facts["counts"]]
    )
    trees = []
    for number in range(facts["trees"]):
        asked = np.load(root / f"tree-{number:02d}.npz")
        order = np.load(root / f"order-{number:02d}.npy", mmap_mode="r")
        trees.append(Tree(derive(0, "filters", number), asked["column"], asked["cut"], asked["child"], order))
    points = np.load(root / "points.npy", mmap_mode="r")
    return places, Forest(points, np.load(root / "own.npy"), places.numbers, tuple(trees))
