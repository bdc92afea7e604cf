"""Rows as distances see them, and the distance between two.

A number adds the squared difference of 1 / (1 + exp(-1.702 z)), z standardized on train (a smooth stand-in for its rank), a
category or a gap on one side adds 1: Gower's mix ("A general coefficient of similarity", Biometrics 27, 1971), squared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.evaluate.counters import Floats, Ints, doubles
from twinlake.evaluate.evidence import Evidence

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

T = TypeVar("T", np.float32, np.int32)
Distances = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """Rows as they are compared: `numbers` [n, N] in 0..1, missing as NaN; `codes` [n, C], hashes of categories."""

    numbers: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.codes)

    def cut(self, at: slice | npt.NDArray[np.int64]) -> Cells:
        """Some of the rows."""
        return Cells(self.numbers[at], self.codes[at])

    @property
    def width(self) -> int:
        """How many columns there are: numbers first."""
        return int(self.numbers.shape[1] + self.codes.shape[1])


def compact(frame: DataFrame, evidence: Evidence) -> DataFrame:
    """A `typed` frame with hashes h0.. in place of categories."""
    from pyspark.sql import functions as F

    numbers = [F.col(f"n{i}") for i in range(len(evidence.numeric()))]
    codes = [F.hash(F.coalesce(F.col(f"s{i}"), F.lit("\x00"))).alias(f"h{i}") for i in range(len(evidence.categorical()))]
    return frame.select(*numbers, *codes)


def scaled(batch: pa.RecordBatch, shift: Floats, scale: Floats, texts: int) -> Cells:
    """The rows of a `compact` batch."""
    z = (doubles(batch, [f"n{i}" for i in range(len(shift))]) - shift) / scale
    codes = [batch.column(f"h{i}").to_numpy(zero_copy_only=False) for i in range(texts)]
    hashed = np.column_stack(codes) if codes else np.zeros((len(z), 0))
    rank = 1.0 / (1.0 + np.exp(-1.702 * np.clip(z, -30, 30)))
    return Cells(rank.astype(np.float32), hashed.astype(np.int32))


def collected(frame: DataFrame, shift: Floats, scale: Floats, texts: int) -> Cells:
    """The rows of a `compact` frame; for samples of a stated, bounded size, sent back to tasks as the small side."""
    batches = frame.toArrow().combine_chunks().to_batches()
    parts = [scaled(b, shift, scale, texts) for b in batches]
    empty = Cells(np.zeros((0, len(shift)), np.float32), np.zeros((0, texts), np.int32))
    return Cells(
        np.concatenate([empty.numbers, *(p.numbers for p in parts)]), np.concatenate([empty.codes, *(p.codes for p in parts)])
    )


def terms(a: Cells, b: Cells) -> Iterator[Distances | Bools]:
    """What each column, numbers first (categories as bools), adds to the squared distance of each row of `a` to each of `b`."""
    for x, y in zip(_columns(a.numbers), _columns(b.numbers), strict=True):
        gap_x, gap_y = np.isnan(x), np.isnan(y)
        step = np.where(gap_x, np.float32(0.5), x)[:, None] - np.where(gap_y, np.float32(0.5), y)[None, :]
        np.square(step, out=step)
        if gap_x.any() or gap_y.any():
            step += gap_x[:, None] != gap_y[None, :]
        yield step
    for i, j in zip(_columns(a.codes), _columns(b.codes), strict=True):
        yield i[:, None] != j[None, :]


def _columns(rows: npt.NDArray[T]) -> npt.NDArray[T]:
    return np.ascontiguousarray(rows.T)  # side by side in memory: several times as fast


def squared_distances(a: Cells, b: Cells) -> Distances:
    """The squared distance of each row of `a` to each row of `b`."""
    out = np.zeros((len(a), len(b)), dtype=np.float32)
    unequal = np.zeros(out.shape, np.uint16)  # counted apart: cheaper than adding each as a float
    for term in terms(a, b):
        if term.dtype == np.bool_:
            unequal += term.view(np.uint8)
        else:
            out += term
    out += unequal
    return out


class Best:
    """The nearest rows so far of each target: at most k, the farthest first to go."""

    def __init__(self, targets: int, k: int) -> None:
        self.distance = np.full((targets, k), np.inf, np.float32)
        self.row = np.zeros((targets, k), np.int64)
        self.value = np.full((targets, k), np.nan)

    def add(self, at: slice, block: Distances, rows: Ints, values: npt.NDArray[np.float64] | None = None) -> None:
        """Takes in the distances [targets of `at`, rows] of a block; `values` of its rows."""
        worst = self.distance[at, -1]
        some = np.flatnonzero(block.min(1) <= worst)
        if not len(some):
            return
        inside, k = some + at.start, self.distance.shape[1]
        near = block[some]
        take = np.argpartition(near, min(k, near.shape[1]) - 1, axis=1)[:, :k] if k > 1 else near.argmin(1)[:, None]
        distance = np.concatenate([self.distance[inside], np.take_along_axis(near, take, 1)], axis=1)
        row = np.concatenate([self.row[inside], rows[take]], axis=1)
        order = np.lexsort([row, distance])[:, :k]
        self.distance[inside] = np.take_along_axis(distance, order, 1)
        self.row[inside] = np.take_along_axis(row, order, 1)
        if values is not None:
            value = np.concatenate([self.value[inside], values[take]], axis=1)
            self.value[inside] = np.take_along_axis(value, order, 1)
