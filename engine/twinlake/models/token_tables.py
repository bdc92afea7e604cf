"""How often the values of each token occur beside those of one other token, over all rows: what a marginal model is made of.

Tasks count token shards, one each; the counts add up on the driver. They are exact, so they are private.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from twinlake.core.errors import DataError
from twinlake.tables.parts import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CHUNK = 65_536
FILE = "tables.npz"
Table = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenTables:
    """`counts[t]`, int64 [values of token parents[t], values of t]: how often both occur in a row; of a root, whose parent
    is -1, [1, values]."""

    rows: int
    parents: tuple[int, ...]
    counts: tuple[Table, ...]

    def save(self, path: Path) -> None:
        """Writes an npz of integer arrays."""
        shapes = np.array([c.shape for c in self.counts], np.int64).reshape(-1, 2)
        flat = np.concatenate([*(c.ravel() for c in self.counts), np.zeros(0, np.int64)])
        with path.open("wb") as out:
            np.savez_compressed(
                out, rows=np.int64(self.rows), parents=np.array(self.parents, np.int64), shapes=shapes, flat=flat
            )

    @classmethod
    def load(cls, path: Path) -> TokenTables:
        """The tables that `save` wrote. Errors: DataError."""
        try:
            with np.load(path, allow_pickle=False) as held:
                shapes = held["shapes"]
                pieces = np.split(held["flat"], np.cumsum(shapes.prod(axis=1))[:-1]) if len(shapes) else []
                counts = tuple(piece.reshape(shape) for piece, shape in zip(pieces, shapes.tolist(), strict=True))
                return cls(int(held["rows"]), tuple(held["parents"].tolist()), counts)
        except (ValueError, KeyError, OSError):
            raise DataError("the token tables of this run are missing or damaged; run again from the stage encode") from None


def count_tables(spark: SparkSession, shards: Path, sizes: Sequence[int], parents: Sequence[int]) -> TokenTables:
    """The tables of the token shards in the folder `shards`, of a row's tokens of `sizes` values."""
    files = [s["file"] for s in json.loads((shards / "manifest.json").read_text())["shards"] if s["rows"]]
    task = partial(_count_shard, folder=str(shards), files=files, sizes=tuple(sizes), parents=tuple(parents))
    total = empty_tables(sizes, parents)
    for written in run_tasks(spark, range(len(files)), None, task):
        file = shards / written["file"]
        total = added(total, TokenTables.load(file))
        file.unlink()
    return total


def empty_tables(sizes: Sequence[int], parents: Sequence[int]) -> TokenTables:
    """The tables of no rows."""
    counts = tuple(np.zeros((1 if p < 0 else sizes[p], sizes[t]), np.int64) for t, p in enumerate(parents))
    return TokenTables(0, tuple(parents), counts)


def added(a: TokenTables, b: TokenTables) -> TokenTables:
    """The tables of the rows of both."""
    return TokenTables(a.rows + b.rows, a.parents, tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)))


def tables_of(tokens: npt.NDArray[np.integer], sizes: Sequence[int], parents: Sequence[int]) -> TokenTables:
    """The tables of `tokens`, uint16 [rows, len(sizes)]."""
    total = empty_tables(sizes, parents)
    for start in range(0, len(tokens), CHUNK):
        values = np.ascontiguousarray(tokens[start : start + CHUNK].T, dtype=np.int64)
        for token, (parent, counts) in enumerate(zip(parents, total.counts, strict=True)):
            both = values[token] if parent < 0 else values[parent] * sizes[token] + values[token]
            counts += np.bincount(both, minlength=counts.size).reshape(counts.shape)
    return TokenTables(len(tokens), total.parents, total.counts)


def _count_shard(
    number: int, folder: str, files: list[str], sizes: tuple[int, ...], parents: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    tokens = np.load(f"{folder}/{files[number]}", mmap_mode="r", allow_pickle=False)
    name = f"tables-{number:05d}.npz"
    tables_of(tokens, sizes, parents).save(Path(folder) / name)
    yield {"file": name}
