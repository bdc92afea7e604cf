"""Statistics of a table's train rows without moving the rows: those that have a twin are counted apart.

The side and the key of a row depend on its number among identical rows (tables/split.py). A row without an equal is
number 1, and is counted where it lies. Which contents come twice or more is found with a shuffle of 8-byte hashes; a task
puts one row of each such content aside, and where the partial statistics of a column are merged, that row stands for all
its copies, numbered. So the statistics are those of the shuffled rows, however the rows lie. Knows nothing of kinds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.profile.partials import Limits, collect
from twinlake.tables.split import CELLS_PER_PART, CONTENT, Split, is_held_out, keys_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MOST = 100_000
MOST_ASIDE = 1_000_000  # by all tasks: the cells of a column meet in one task
BLOCK = 1_000_000
BLOCK_DDL = "bucket int, contents binary, twice binary, counts binary"
REPEATED_DDL = "content bigint, count bigint, pieces bigint"
BLOCK_NAMES = ("bucket", "contents", "twice", "counts")
CHUNK = 65_536
START = np.uint64(44)


@dataclass(frozen=True)
class Repeats:
    """The contents that more than one row has: their hashes (int64, ascending), how many rows have each (int64), and the
    split by which those rows are told apart."""

    contents: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    split: Split

    def find(self, contents: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these are repeated."""
        found: npt.NDArray[np.bool_] = self._starts[contents.view(np.uint64) >> START]
        some = contents[found]  # a few in a hundred, if not repeated themselves
        at = np.searchsorted(self.contents, some)
        found[found] = self.contents[np.minimum(at, len(self.contents) - 1)] == some
        return found

    @cached_property
    def _starts(self) -> npt.NDArray[np.bool_]:
        """Whether any repeated content starts with these bits."""
        marks = np.zeros(1 << 20, np.bool_)  # the 64 - START first bits
        marks[self.contents.view(np.uint64) >> START] = True
        return marks


def find_repeats(hashed: DataFrame, split: Split, rows: int) -> Repeats | None:
    """The repeated contents of `hashed` (see with_content), which has `rows` rows; None where they are too many, or lie in
    too many places, to be put aside. One pass over the table; at most 100,001 hashes with their counts come to the driver.

    Sorted hashes cross in blocks, a few rows of bytes a task: half the time of Spark's own aggregate of as many rows.
    """
    most = min(MOST, CELLS_PER_PART // max(1, len(hashed.columns)))
    blocks = hashed.select(CONTENT).mapInArrow(partial(_blocks, buckets=max(1, rows // BLOCK)), BLOCK_DDL)
    counted = blocks.groupBy("bucket").applyInArrow(_repeated, REPEATED_DDL).limit(most + 1).toArrow()
    contents, counts, pieces = (column.to_numpy().astype(np.int64) for column in counted.columns)
    if len(contents) > most or pieces.sum() > MOST_ASIDE:
        return None
    order = np.argsort(contents)
    return Repeats(contents[order], counts[order], split)


def _blocks(batches: Iterable[pa.RecordBatch], buckets: int) -> Iterator[pa.RecordBatch]:
    held: list[npt.NDArray[np.int64]] = []
    for batch in batches:
        held.append(batch.column(0).to_numpy())
        if sum(map(len, held)) >= BLOCK:
            yield _block(held, buckets)
            held = []
    if held:
        yield _block(held, buckets)


def _block(held: list[npt.NDArray[np.int64]], buckets: int) -> pa.RecordBatch:
    """The distinct contents, those that come twice or more, and their counts, int64 as bytes, by equal ranges of the hash."""
    contents, counts = np.unique(np.concatenate(held).view(np.uint64), return_counts=True)
    several = counts > 1
    sides = []
    for values, by in ((contents, contents), (contents[several], contents[several]), (counts[several], contents[several])):
        bucket = (by >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)
        cuts = np.searchsorted(bucket, np.arange(buckets + 1, dtype=np.uint64)).tolist()
        sides.append(pa.array([values[a:b].tobytes() for a, b in itertools.pairwise(cuts)]))
    return pa.RecordBatch.from_arrays([pa.array(range(buckets), pa.int32()), *sides], names=list(BLOCK_NAMES))


def _repeated(table: pa.Table) -> pa.Table:
    found, twice, counts = (np.frombuffer(b"".join(table.column(n).to_pylist()), np.int64) for n in BLOCK_NAMES[1:])
    contents, pieces = np.unique(found, return_counts=True)
    rows = pieces + np.bincount(np.searchsorted(contents, twice), counts - 1, len(contents)).astype(np.int64)
    several = rows > 1
    return pa.table({"content": contents[several], "count": rows[several], "pieces": pieces[several]})


@dataclass
class Aside:
    """One row of each repeated content that a task has seen, and the hashes of their contents."""

    contents: list[npt.NDArray[np.int64]] = field(default_factory=list)
    batches: list[pa.RecordBatch] = field(default_factory=list)

    def column(self, position: int) -> dict[str, Any]:
        """The cells of a column, as `replayed` reads them."""
        if not self.batches:
            return {"aside": None, "cells": None}
        cells = pa.Table.from_batches([pa.record_batch([b.column(position)], names=["c"]) for b in self.batches])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, cells.schema) as writer:
            writer.write_table(cells)
        return {"aside": np.concatenate(self.contents).tobytes(), "cells": sink.getvalue().to_pybytes()}


def single_train_rows(batches: Iterable[pa.RecordBatch], repeats: Repeats, aside: Aside) -> Iterator[pa.RecordBatch]:
    """Rows (CONTENT, with a split by entity HOLDOUT, then columns) -> the train rows among those that are alone (KEY, columns).

    One row of each repeated content goes to `aside`, unless its entity is held out.
    """
    seen: set[int] = set()
    told = repeats.split.by_entity
    for batch in batches:
        contents, columns = batch.column(0).to_numpy(), batch.columns[1 + told :]
        names = ["key", *(str(i) for i in range(len(columns)))]
        repeated = repeats.find(contents)
        keys = keys_of(contents, np.ones(len(contents), np.int64))
        held_out = batch.column(1).to_numpy(zero_copy_only=False) if told else is_held_out(repeats.split, keys)
        new = []
        for at in np.flatnonzero(repeated & ~(held_out & told)).tolist():
            content = int(contents[at])
            if content not in seen:
                seen.add(content)
                new.append(at)
        if new:
            aside.contents.append(contents[new])
            aside.batches.append(pa.RecordBatch.from_arrays(batch.take(pa.array(new)).columns[1 + told :], names=names[1:]))
        alone = pa.RecordBatch.from_arrays([pa.array(keys), *columns], names=names)
        yield alone.filter(pa.array(~repeated & ~held_out))


def replayed(rows: list[dict[str, Any]], repeats: Repeats, limits: Limits) -> list[dict[str, Any]]:
    """The partial statistics of the repeated train rows of one column, from what all tasks put aside of it."""
    told = [row for row in rows if row["cells"] is not None]
    if not told:
        return []
    cells = pa.concat_tables([pa.ipc.open_stream(row["cells"]).read_all() for row in told]).column(0).combine_chunks()
    contents, first = np.unique(np.concatenate([np.frombuffer(row["aside"], np.int64) for row in told]), return_index=True)
    counts = repeats.rows[np.searchsorted(repeats.contents, contents)]
    return list(collect(_copies(contents, cells.take(pa.array(first)), counts, repeats.split), 1, limits))


def _copies(
    contents: npt.NDArray[np.int64], cells: pa.Array, counts: npt.NDArray[np.int64], split: Split
) -> Iterator[pa.RecordBatch]:
    ends = np.cumsum(counts)
    for start in range(0, int(ends[-1]), CHUNK):
        number = np.arange(start, min(start + CHUNK, int(ends[-1])))
        group = np.searchsorted(ends, number, side="right")
        keys = keys_of(contents[group], number - (ends - counts)[group] + 1)
        train = np.ones(len(keys), np.bool_) if split.by_entity else ~is_held_out(split, keys)
        yield pa.RecordBatch.from_arrays([pa.array(keys[train]), cells.take(pa.array(group[train]))], names=["key", "cell"])
