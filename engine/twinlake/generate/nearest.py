"""The nearest of many rows, found by looking at few: a forest of random trees. Knows nothing of tokens or files.

A row is a point, float32 [columns]: a number is its rank among the train rows, in [0, 1]; a category, a gap or another state is
a whole number that names it (of a number column 2 or more). Two rows differ in a column by min(1, |a - b|), so a category that
differs counts 1, and their squared distance is the sum of the squares (Gower, "A general coefficient of similarity", 1971).

A tree cuts the rows in two, and each side again, until few are left: two rows of a side are taken at random, and a column in
which they differ, the likelier the more they do; what is above the middle between them goes right. Categories are put in a
random order of each tree's own. A point is compared with the rows beside the place where it ends up, a fixed number of them,
so that a search costs the same however rows crowd (random kd-trees: Silpa-Anan and Hartley, "Optimised KD-trees for fast image
descriptor matching", CVPR 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinlake.core.seeds import derive, generator, uniform

Points = npt.NDArray[np.float32]
TREES = 12
BESIDE = 16
DEPTH = 96
BLOCK_CELLS = 1 << 18


@dataclass(frozen=True)
class Tree:
    """`column`, `cut`: what each node asks, the columns of leaves are -1. `child`: a node's left child, before the right one;
    of a leaf the middle of its rows in `order`, uint32 [rows], which may be memory-mapped."""

    seed: int
    column: npt.NDArray[np.int32]
    cut: npt.NDArray[np.float32]
    child: npt.NDArray[np.int64]
    order: npt.NDArray[np.uint32]

    def place(self, points: Points, numbers: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Where in `order` each point ends up, int64 [rows]."""
        node, todo = np.zeros(len(points), np.int64), np.arange(len(points))
        while len(todo):
            at = node[todo]
            todo = todo[self.column[at] >= 0]
            at = node[todo]
            column = self.column[at]
            asked = _placed(points[todo, column], column, numbers, self.seed)
            node[todo] = self.child[at] + (asked > self.cut[at])
        return self.child[node]


@dataclass(frozen=True)
class Forest:
    """`points` [rows, columns], none twice, in an order that says nothing; may be memory-mapped. `own` bool [rows]: the rows
    that a search may be about alone. `numbers` bool [columns]."""

    points: Points
    own: npt.NDArray[np.bool_]
    numbers: npt.NDArray[np.bool_]
    trees: tuple[Tree, ...]

    @classmethod
    def of(cls, points: Points, own: npt.NDArray[np.bool_], numbers: npt.NDArray[np.bool_], seed: int) -> Forest:
        """A forest over `points`, all in memory."""
        return cls(points, own, numbers, tuple(grow(points, numbers, derive(seed, "tree", tree)) for tree in range(TREES)))

    def nearest(self, points: Points) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The squared distances of `points` to the nearest row found, of those marked `own` and of all, float32 [rows] each;
        infinite where there is none. Never less than the true ones."""
        own, every = (np.full(len(points), np.inf, np.float32) for _ in range(2))
        if not len(self.points):
            return own, every
        beside, last = np.arange(-BESIDE // 2, BESIDE - BESIDE // 2), len(self.points) - 1
        step = max(1, BLOCK_CELLS // (BESIDE * max(1, points.shape[1])))
        for tree in self.trees:
            at = tree.place(points, self.numbers)
            sorted_ = np.argsort(at, kind="stable")
            for start in range(0, len(points), step):
                some = sorted_[start : start + step]
                rows = tree.order[np.clip(at[some, None] + beside, 0, last)]
                found = squared_distances(points[some, None, :], self.points[rows])
                every[some] = np.minimum(every[some], found.min(axis=1))
                own[some] = np.minimum(own[some], np.where(self.own[rows], found, np.float32(np.inf)).min(axis=1))
        return own, every


def squared_distances(a: Points, b: Points) -> npt.NDArray[np.float32]:
    """Squared distances of points [..., columns], paired as numpy broadcasts them."""
    apart = np.subtract(a, b)
    np.minimum(np.abs(apart, out=apart), np.float32(1.0), out=apart)
    total: npt.NDArray[np.float32] = np.square(apart, out=apart).sum(axis=-1)
    return total


def grow(points: Points, numbers: npt.NDArray[np.bool_], seed: int) -> Tree:
    """A tree over `points`: level by level, all nodes of a level at once."""
    random, order = generator(seed), np.arange(len(points), dtype=np.uint32)
    columns, cuts, children = [np.full(1, -1, np.int32)], [np.zeros(1, np.float32)], [np.full(1, len(points) // 2)]
    start, size, nodes = np.zeros(1, np.int64), np.array([len(points)]), 1
    for _ in range(DEPTH):
        large = np.flatnonzero(size > BESIDE)
        begin, count = start[large], size[large]
        a, b = (points[order[begin + (random.random(len(large)) * count).astype(np.int64)]] for _ in range(2))
        column = (np.minimum(np.abs(a - b), 1.0) * (0.5 + random.random(a.shape))).argmax(axis=1).astype(np.int32)
        ends = [_placed(side[np.arange(len(large)), column], column, numbers, seed) for side in (a, b)]
        apart = ends[0] != ends[1]
        large, start, size, column = large[apart], begin[apart], count[apart], column[apart]
        cut = ((ends[0] + ends[1]) / np.float32(2))[apart]
        columns[-1][large], cuts[-1][large], children[-1][large] = column, cut, nodes + 2 * np.arange(len(large))
        if not len(large):
            break
        where = np.repeat(np.arange(len(size)), size)
        first = np.cumsum(size) - size
        at = np.arange(len(where)) - first[where] + start[where]
        mine = order[at]
        right = _placed(points[mine, column[where]], column[where], numbers, seed) > cut[where]
        before: npt.NDArray[np.int64] = np.cumsum(right) - right
        rights = np.add.reduceat(right, first, dtype=np.int64)
        behind: npt.NDArray[np.int64] = before - before[first][where]
        target = np.where(right, (start + size - rights)[where] + behind, at - behind)
        order[target] = mine
        start = np.stack([start, start + size - rights], axis=1).ravel()
        size = np.stack([size - rights, rights], axis=1).ravel()
        nodes += len(size)
        columns.append(np.full(len(size), -1, np.int32))
        cuts.append(np.zeros(len(size), np.float32))
        children.append(start + size // 2)
    return Tree(seed, np.concatenate(columns), np.concatenate(cuts), np.concatenate(children), order)


def _placed(
    values: npt.NDArray[np.float32], column: npt.NDArray[np.int32], numbers: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.float32]:
    """`values` of `column` as a tree orders them: numbers as they are, all else at random."""
    codes = ~numbers[column]
    if codes.any():
        mixed = values[codes].astype(np.uint64) + (column[codes].astype(np.uint64) << np.uint64(32))
        values = values.copy()
        values[codes] = uniform(mixed, seed)
    return values
