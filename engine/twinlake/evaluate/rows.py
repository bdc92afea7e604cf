"""The rows that one Spark task gathers, in an order that does not depend on how they arrived. Knows nothing of Spark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.counters import Floats, Ints, doubles


@dataclass(frozen=True)
class Rows:
    """`side` [n]; `numbers` [n, N], missing as NaN; `codes` [n, C] of categories, the text of one is `names[c][code]`."""

    side: Ints
    numbers: Floats
    codes: Ints
    names: tuple[tuple[str | None, ...], ...]

    def without_number(self, at: int) -> Rows:
        """The rows without their number `at`."""
        return Rows(self.side, np.delete(self.numbers, at, axis=1), self.codes, self.names)

    def without_category(self, at: int) -> Rows:
        """The rows without their category `at`."""
        names = tuple(n for i, n in enumerate(self.names) if i != at)
        return Rows(self.side, self.numbers, np.delete(self.codes, at, axis=1), names)


def gather(batches: Iterator[pa.RecordBatch], numbers: int, texts: int) -> Rows | None:
    """The rows of `batches` (side, n0.., s0..); None where there are none."""
    held = [b for b in batches if b.num_rows]
    if not held:
        return None
    side = np.concatenate([b.column("side").to_numpy(zero_copy_only=False) for b in held]).astype(np.int64)
    values = np.concatenate([doubles(b, [f"n{i}" for i in range(numbers)]) for b in held])
    table = pa.Table.from_batches(held)
    coded = [_coded(table.column(f"s{i}")) for i in range(texts)]
    codes = np.column_stack([c for c, _ in coded]) if coded else np.zeros((len(side), 0), np.int64)
    order = np.lexsort([*np.nan_to_num(values.T, nan=-1e300), *codes.T, side])
    return Rows(side[order], values[order], codes[order], tuple(names for _, names in coded))


def _coded(column: pa.ChunkedArray) -> tuple[Ints, tuple[str | None, ...]]:
    """A text column as codes, 0 for missing, and the texts of the codes in their own order."""
    found = column.combine_chunks().dictionary_encode()
    texts = found.dictionary.to_pylist()
    order = sorted(range(len(texts)), key=lambda i: texts[i])
    place = np.empty(len(texts) + 1, np.int64)
    place[order], place[-1] = np.arange(1, len(texts) + 1), 0
    return place[found.indices.fill_null(-1).to_numpy(zero_copy_only=False)], (None, *(texts[i] for i in order))


def picked(side: Ints, wanted: int, most: int, seed: int) -> Ints:
    """Where at most `most` rows of a side stand: a seeded choice, of which a smaller one is a part."""
    at = np.flatnonzero(side == wanted)
    if len(at) <= most:
        return at
    order = generator(derive(seed, "learn", wanted)).permutation(len(at))
    return np.sort(at[order[:most]])
