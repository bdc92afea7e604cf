"""Token shards as one long table, and which rows make up each batch.

Rows are addressed by their number in the concatenation of the shards. Validation rows are the first of one seeded
permutation of all rows; each epoch permutes the rest anew. Which rows a global batch holds depends on (seed, step)
alone, so it is the same for any number of workers: each takes its slice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from twinlake.core.errors import DataError
from twinlake.core.seeds import derive, permute

Tokens = npt.NDArray[np.uint16]
VALIDATION_SHARE = 0.05
MAX_VALIDATION = 50_000
CHOSEN_FROM = 2_000
ENOUGH = 500


@dataclass(frozen=True)
class Shards:
    """Memory-mapped shards and the number of their first rows."""

    arrays: tuple[Tokens, ...]
    starts: npt.NDArray[np.int64]
    rows: int

    def take(self, index: npt.NDArray[np.int64]) -> Tokens:
        """Rows by number, [len(index), S]: uint16, or uint32 of a language model's own tokens."""
        shard = np.searchsorted(self.starts, index, side="right") - 1
        out = np.empty((len(index), self.arrays[0].shape[1]), self.arrays[0].dtype)
        for number in np.unique(shard):
            chosen = shard == number
            out[chosen] = self.arrays[number][index[chosen] - self.starts[number]]
        return out


def open_shards(folder: str | Path) -> Shards:
    """The shards that models/encode.py published. Errors: DataError."""
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    arrays = tuple(
        np.load(Path(folder) / s["file"], mmap_mode="r", allow_pickle=False) for s in manifest["shards"] if s["rows"]
    )
    if not arrays:
        raise DataError("there are no encoded rows to train on")
    return Shards(arrays, np.cumsum([0, *(len(a) for a in arrays[:-1])]), sum(map(len, arrays)))


@dataclass(frozen=True)
class Schedule:
    """Which rows are for validation and which row each training step sees."""

    rows: int
    seed: int
    batch: int

    @property
    def validation_rows(self) -> int:
        """5% of the rows, at most 50,000, at least one; of 2,000 to 10,000 rows up to a tenth, since settings are chosen by
        them."""
        share = 2 * VALIDATION_SHARE if self.rows >= CHOSEN_FROM else VALIDATION_SHARE
        most = max(round(self.rows * VALIDATION_SHARE), min(ENOUGH, round(self.rows * share)))
        return max(1, min(MAX_VALIDATION, most))

    @property
    def train_rows(self) -> int:
        """Rows that are trained on."""
        return self.rows - self.validation_rows

    def validation(self) -> npt.NDArray[np.int64]:
        """Row numbers of the validation rows."""
        return permute(np.arange(self.validation_rows), self.rows, derive(self.seed, "validation"))

    def step(self, step: int) -> npt.NDArray[np.int64]:
        """Row numbers of the global batch of `step`; a batch may span two epochs, every row is seen once in each."""
        position = step * self.batch + np.arange(self.batch)
        epoch, place = position // self.train_rows, position % self.train_rows
        index = np.empty(len(position), np.int64)
        for number in np.unique(epoch):
            chosen = epoch == number
            index[chosen] = permute(place[chosen], self.train_rows, derive(self.seed, "epoch", int(number)))
        return permute(index + self.validation_rows, self.rows, derive(self.seed, "validation"))
