"""Which column hangs on which: a spanning forest over columns, and the tree of the tokens of a row that follows from it.

Chow and Liu, "Approximating discrete probability distributions with dependence trees", IEEE Transactions on Information Theory
1968: of all trees the one of the most mutual information is the likeliest. One column of few values, the hub, may stand beside
the tree: all others hang on it as well (Friedman, Geiger and Goldszmidt, "Bayesian network classifiers", Machine Learning 1997,
have the class there). Knows nothing of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinlake.models.codec import Codec
from twinlake.profile.counts import TokenCounts

HUBS, MANY_PAIRS = 8, 200_000
Edge = tuple[int, int]
Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.int64]


def pair_tables(codec: Codec, counts: TokenCounts) -> Iterator[tuple[int, int, Table]]:
    """The codec's positions of two columns and the coarse counts [16, 16] of their pair."""
    index = {c.name: i for i, c in enumerate(codec.columns)}
    for (a, b), table in zip(counts.pair_list(), counts.pairs, strict=True):
        yield index[counts.columns[a]], index[counts.columns[b]], table


def information_of(codec: Codec, counts: TokenCounts) -> Floats:
    """Mutual information of column pairs in nats, [C, C]; zero where nothing was counted."""
    out = np.zeros((len(codec.columns), len(codec.columns)))
    for i, j, table in pair_tables(codec, counts):
        out[i, j] = out[j, i] = information(table)
    return out


def information(table: Table) -> float:
    """Mutual information of a table of counts, in nats."""
    joint = table / max(1, table.sum())
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return max(0.0, float(np.nansum(joint * np.log(joint / product))))


def chance(table: Table) -> float:
    """(rows - 1) (columns - 1) / 2N (Miller, "Note on the bias of information estimates", 1955); 0 of an empty table."""
    rows, columns = np.count_nonzero(table.sum(1)), np.count_nonzero(table.sum(0))
    return max(0, int(rows) - 1) * max(0, int(columns) - 1) / (2 * max(1, int(table.sum())))


def largest(scores: Floats) -> int:
    """The position of the largest score; of equal ones the first."""
    return int(scores.argmax())


def spanning_forest(
    pairs: Sequence[Edge], scores: Floats, forced: Sequence[Edge] = (), choose: Callable[[Floats], int] = largest
) -> list[Edge]:
    """Edges without a cycle between the columns of `pairs`: the `forced` ones as far as they close none, then one after the
    other what `choose` takes of the `scores` [pairs] of those that would close none, until it takes none (a number that is no
    place). Scores of -inf are never chosen.

    With `largest` this is Kruskal's maximum spanning forest; with a random choice it is that of the exponential mechanism.
    """
    found: list[Edge] = []
    count = 1 + max((max(pair) for pair in (*pairs, *forced)), default=-1)
    part = np.arange(count)

    def join(edge: Edge) -> None:
        a, b = part[edge[0]], part[edge[1]]
        if a != b:
            part[part == b] = a
            found.append(edge)

    for edge in forced:
        join(edge)
    ends, scores = np.array(pairs, np.int64).reshape(-1, 2), np.array(scores, np.float64)
    while True:
        left = np.flatnonzero((part[ends[:, 0]] != part[ends[:, 1]]) & (scores > -np.inf))
        if not len(left):
            return found
        ends, scores = ends[left], scores[left]
        chosen = choose(scores)
        if chosen >= len(ends):
            return found
        a, b = ends[chosen].tolist()
        join((a, b))


@dataclass(frozen=True)
class Structure:
    """`hub`: the column that all others hang on, -1 for none; `edges`: pairs of the others that hang together."""

    hub: int
    edges: tuple[Edge, ...]


def column_tree(codec: Codec, counts: TokenCounts) -> Structure:
    """The likeliest structure as far as pairs tell: without a hub, or with one of the HUBS columns of few values (of very wide
    tables one) that have the most information in common with the others. Pairs without twice the information that chance gives
    do not hang together."""
    tables = {(i, j): table / max(1, table.sum()) for i, j, table in pair_tables(codec, counts)}
    by_chance = {(i, j): chance(table) for i, j, table in pair_tables(codec, counts)}
    common = np.zeros((len(codec.columns), len(codec.columns)))
    for i, j, table in pair_tables(codec, counts):
        beyond = information(table) - by_chance[i, j]
        common[i, j] = common[j, i] = beyond if beyond > by_chance[i, j] else 0.0
    few = [c for c in hub_candidates(codec) if common[c].any()]
    found, best = Structure(-1, ()), -np.inf
    tried = max(1, min(HUBS, MANY_PAIRS // max(1, len(tables))))
    for hub in (-1, *sorted(few, key=lambda c: (-common[c].sum(), c))[:tried]):
        pairs = [pair for pair in tables if hub not in pair]
        by_luck = np.array([by_chance[pair] for pair in pairs])
        gains = np.array([_divergence(tables[p], implied(tables, p, hub)) for p in pairs]) - by_luck
        scores = np.where(gains > by_luck, gains, -np.inf)
        edges = spanning_forest(pairs, scores, [e for e in forced_edges(codec) if hub not in e])
        gain = dict(zip(pairs, gains.tolist(), strict=True))
        total = sum(gain.get((min(e), max(e)), 0.0) for e in edges) + (common[hub].sum() if hub >= 0 else 0.0)
        if total > best:
            found, best = Structure(hub, tuple(edges)), total
    return found


def hub_candidates(codec: Codec) -> list[int]:
    """The columns of one token whose values are all counted apart in pairs."""
    return [c for c, column in enumerate(codec.columns) if column.coarse == tuple(range(sum(column.sizes)))]


def implied(tables: Mapping[Edge, Floats], pair: Edge, hub: int) -> Floats:
    """The shares [16, 16] of a pair of columns that have nothing in common but the hub (-1: nothing at all). `tables`: shares
    of pairs i < j."""
    if hub < 0:
        own = tables[pair]
        return np.asarray(own.sum(axis=1)[:, None] * own.sum(axis=0)[None, :])
    a, b = (tables[c, hub] if c < hub else tables[hub, c].T for c in pair)
    shares = b.sum(axis=0)
    return np.asarray((a / np.where(shares > 0, shares, 1.0)) @ b.T)


def _divergence(found: Floats, expected: Floats) -> float:
    """Kullback-Leibler divergence in nats."""
    some = found > 0
    return float((found[some] * np.log(found[some] / np.maximum(expected[some], 1e-12))).sum())


def forced_edges(codec: Codec) -> list[Edge]:
    """Pairs of columns that must hang together whatever is counted: a nested column and its gate, then a column and the one
    that decides it. Of several that do, the one of the fewest values: it follows from the others by the same way."""
    gates = [(gate.column, column) for column, gate in codec.gates.items() if codec.slots[column] and codec.slots[gate.column]]
    deciding = [r.columns for r in codec.relations if r.kind == "determines"]
    narrow = [(a, b) for a, b in deciding if len(codec.slots[a]) == len(codec.slots[b]) == 1]
    return gates + sorted(narrow, key=lambda edge: codec.columns[edge[0]].sizes[0])


def token_parents(slots: Sequence[Sequence[int]], edges: Sequence[Edge]) -> list[int]:
    """The token that each token hangs on, -1 for roots: first tokens along the `edges` of their columns, which start from the
    first column of each tree, and second ones on the first of their column."""
    out = [-1] * sum(map(len, slots))
    near: dict[int, list[int]] = {}
    for a, b in edges:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    seen: set[int] = set()
    for root in range(len(slots)):
        todo = [] if root in seen else [root]
        seen.add(root)
        while todo:
            column = todo.pop()
            for other in sorted(set(near.get(column, ())) - seen):
                out[slots[other][0]] = slots[column][0]
                seen.add(other)
                todo.append(other)
    for own in slots:
        for token in own[1:]:
            out[token] = own[0]
    return out


def parents_first(parents: Sequence[int]) -> list[int]:
    """The tokens, each behind the one that it hangs on."""
    hanging: dict[int, list[int]] = {}
    for token, parent in enumerate(parents):
        hanging.setdefault(parent, []).append(token)
    out = list(hanging.get(-1, ()))
    for token in out:  # grows while it is read
        out += hanging.get(token, ())
    return out
