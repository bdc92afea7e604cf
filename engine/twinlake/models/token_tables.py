"""How often the values of each token occur beside those of two others, over all rows: what a marginal model is made of.

Tasks count token shards, one each; the counts add up on the driver. They are exact, so they are private.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from twinlake.core.errors import DataError
from twinlake.models.codec import Codec
from twinlake.models.tree import Structure, parents_first, token_parents
from twinlake.tables.parts import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CHUNK = 65_536
FILE = "tables.npz"
Table = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenTree:
    """What each token hangs on: `parents[t]`, a token, or -1; and the token `hub`, if not -1, for those that are `hubbed`."""

    sizes: tuple[int, ...]
    parents: tuple[int, ...]
    hub: int
    hubbed: tuple[bool, ...]

    def shape(self, token: int) -> tuple[int, int, int]:
        """Values of the hub, of the parent and of the token itself; 1 for what it does not hang on."""
        above = 1 if self.parents[token] < 0 else self.sizes[self.parents[token]]
        return self.sizes[self.hub] if self.hubbed[token] else 1, above, self.sizes[token]

    @property
    def order(self) -> list[int]:
        """The tokens, each behind those that it hangs on."""
        return sorted(parents_first(self.parents), key=lambda token: token != self.hub)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> TokenTree:
        """A tree from what `asdict` made of one."""
        return cls(tuple(raw["sizes"]), tuple(raw["parents"]), int(raw["hub"]), tuple(raw["hubbed"]))

    @classmethod
    def of(cls, codec: Codec, structure: Structure) -> TokenTree:
        """The tree of the tokens of a row."""
        parents = token_parents(codec.slots, structure.edges)
        if structure.hub < 0:
            return cls(codec.sizes, tuple(parents), -1, (False,) * len(parents))
        hub, firsts = codec.slots[structure.hub][0], {slots[0] for slots in codec.slots if slots}
        return cls(codec.sizes, tuple(parents), hub, tuple(t in firsts and t != hub for t in range(len(parents))))


@dataclass(frozen=True)
class TokenTables:
    """`counts[t]`, int64 of the tree's shape of token t: how often its values occur in a row beside those it hangs on."""

    rows: int
    tree: TokenTree
    counts: tuple[Table, ...]

    def save(self, path: Path) -> None:
        """Writes an npz of integer arrays."""
        shapes = np.array([c.shape for c in self.counts], np.int64).reshape(-1, 3)
        flat = np.concatenate([*(c.ravel() for c in self.counts), np.zeros(0, np.int64)])
        with path.open("wb") as out:
            np.savez_compressed(out, tree=json.dumps(asdict(self.tree)), rows=np.int64(self.rows), shapes=shapes, flat=flat)

    @classmethod
    def load(cls, path: Path) -> TokenTables:
        """The tables that `save` wrote. Errors: DataError."""
        try:
            with np.load(path, allow_pickle=False) as held:
                shapes = held["shapes"]
                pieces = np.split(held["flat"], np.cumsum(shapes.prod(axis=1))[:-1]) if len(shapes) else []
                counts = tuple(piece.reshape(shape) for piece, shape in zip(pieces, shapes.tolist(), strict=True))
                return cls(int(held["rows"]), TokenTree.from_json(json.loads(str(held["tree"]))), counts)
        except (ValueError, KeyError, OSError):
            raise DataError("the token tables of this run are missing or damaged; run again from the stage encode") from None


def count_tables(spark: SparkSession, shards: Path, tree: TokenTree) -> TokenTables:
    """The tables of the token shards in the folder `shards`."""
    files = [s["file"] for s in json.loads((shards / "manifest.json").read_text())["shards"] if s["rows"]]
    total = empty_tables(tree)
    for written in run_tasks(spark, range(len(files)), None, partial(_count_shard, folder=str(shards), files=files, tree=tree)):
        file = shards / written["file"]
        total = added(total, TokenTables.load(file))
        file.unlink()
    return total


def empty_tables(tree: TokenTree) -> TokenTables:
    """The tables of no rows."""
    return TokenTables(0, tree, tuple(np.zeros(tree.shape(token), np.int64) for token in range(len(tree.sizes))))


def added(a: TokenTables, b: TokenTables) -> TokenTables:
    """The tables of the rows of both."""
    return TokenTables(a.rows + b.rows, a.tree, tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)))


def tables_of(tokens: npt.NDArray[np.integer], tree: TokenTree) -> TokenTables:
    """The tables of `tokens`, uint16 [rows, tokens]."""
    total = empty_tables(tree)
    for start in range(0, len(tokens), CHUNK):
        values = np.ascontiguousarray(tokens[start : start + CHUNK].T, dtype=np.int64)
        for token, counts in enumerate(total.counts):
            _, above, size = counts.shape
            cell = values[token].copy()
            cell += values[tree.parents[token]] * size if tree.parents[token] >= 0 else 0
            cell += values[tree.hub] * (above * size) if tree.hubbed[token] else 0
            counts += np.bincount(cell, minlength=counts.size).reshape(counts.shape)
    return TokenTables(len(tokens), tree, total.counts)


def _count_shard(number: int, folder: str, files: list[str], tree: TokenTree) -> Iterator[dict[str, Any]]:
    tokens = np.load(f"{folder}/{files[number]}", mmap_mode="r", allow_pickle=False)
    name = f"tables-{number:05d}.npz"
    tables_of(tokens, tree).save(Path(folder) / name)
    yield {"file": name}
