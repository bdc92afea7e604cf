"""Filters of generated rows: those too near to a train row, and those where hardly any real row lies, are drawn again.

Runs where rows are drawn. Whether a row passes follows from the row, the filters' index of the train rows and three limits
(generate/filter_index.py); so a row stays a pure function of (model, filters, seed, row id, attempt).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.seeds import derive, mix, uniform
from twinlake.generate.nearest import Forest, Tree
from twinlake.generate.points import Places
from twinlake.models.codec import Codec
from twinlake.models.column import Tokens
from twinlake.models.sampler import Known
from twinlake.models.store import RowSampler

if TYPE_CHECKING:
    from twinlake.generate.blocks import Maker

UInt64 = npt.NDArray[np.uint64]
INDEX = "index.json"
SIMILARITY, OUTLIERS = "similarity", "outliers"
ATTEMPTS = 30
STEPS = 20
"""Of these so many keep columns of a row that was near to a train row."""
STAY = 0.75
"""The chance of each column."""
APART = 16  # bits: the n-th redraw of attempt a is attempt a + n 2^16, which no rule asks for


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


def settled(
    maker: Maker, screen: Screen, tokens: Tokens, rows: pa.RecordBatch, ids: UInt64, attempts: npt.NDArray[np.int64]
) -> tuple[Tokens, pa.RecordBatch, Mapping[str, int]]:
    """Decoded `rows` with those that do not pass drawn again, at most ATTEMPTS times, and their tokens; how many rows each
    filter refused, and how many are `left` as the last attempt made them. `attempts`: which of each row these are.

    An outlier gives way to a fresh row. A row that is near to a train row most often lies where people are many; fresh rows in
    its place would thin them out. So most of its columns stay and the others are drawn given those (a step of a Gibbs sampler,
    Geman and Geman, IEEE PAMI 6, 1984, which leaves the model's distribution as it is); the last attempts are fresh ones.
    """
    counts: Counter[str] = Counter()
    kept, taken, made = [rows], np.arange(len(tokens)), len(tokens)
    tokens = tokens.copy()
    todo, near = np.arange(len(tokens)), np.zeros(len(tokens), np.bool_)
    given = maker.model.sampler is not None and not maker.model.writes_rows  # others draw given columns slowly, or not at all
    for again in range(ATTEMPTS + 1):
        steps = near & given & (again <= STEPS)
        for some, stays in ((todo[steps], True), (todo[~steps], False)) if again else ():
            if not len(some):
                continue
            attempt = attempts[some] + (again << APART)
            known = _staying(maker, tokens[some], ids[some], attempt) if stays else None
            tokens[some], fresh = maker.decode(*maker.rows(ids[some], attempt, known), ids[some])
            kept.append(fresh)
            taken[some] = made + np.arange(len(some))
            made += len(some)
        refused = screen.refused(tokens[todo])
        counts.update({name: int(hits.sum()) for name, hits in refused.items()})
        failing = refused[SIMILARITY] | refused[OUTLIERS]
        todo, near = todo[failing], (refused[SIMILARITY] & ~refused[OUTLIERS])[failing]
        if not len(todo):
            break
    counts["left"] += len(todo)
    whole = rows if len(kept) == 1 else pa.Table.from_batches(kept).take(pa.array(taken)).combine_chunks().to_batches()[0]
    return tokens, whole, counts


def _staying(maker: Maker, tokens: Tokens, ids: UInt64, attempts: npt.NDArray[np.int64]) -> Known:
    """`tokens` [rows, S], of which those of most columns are known: which ones, the row's id and attempt decide."""
    codec, mask = maker.codec, np.zeros(tokens.shape, np.bool_)
    numbers = mix(mix(ids, derive(maker.job.seed, "filters")) + attempts.astype(np.uint64), derive(maker.job.seed, "stay"))
    for column, slots in enumerate(codec.slots):
        mask[:, list(slots)] = (uniform(numbers, derive(maker.job.seed, "stay", column)) < STAY)[:, None]
    return Known(tokens, mask)
