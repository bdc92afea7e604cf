"""The structure and the shares of a marginal model from noisy counts alone: select, measure, generate.

As in "Winning the NIST contest" (McKenna, Miklau and Sheldon 2021): noisy counts of single columns; which pairs hang together,
by the exponential mechanism on how far their counts are from what the model says so far; noisy counts of those pairs. A hub
(see models/tree.py) is chosen and measured first. Pairs of which noise would outweigh the gain are left out, as in "AIM"
(McKenna et al. 2022), of which the rounds are an option (train/private_rounds.py). All is asked of exact pair counts on the
driver; whatever leaves this module is noisy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinlake.models.codec import Codec
from twinlake.models.token_tables import TokenTree
from twinlake.models.tree import Edge, Structure, hub_candidates, implied, spanning_forest
from twinlake.profile.counts import TokenCounts
from twinlake.train.conditionals import together
from twinlake.train.noisy_shares import fitted, shares_near
from twinlake.train.private_rounds import in_rounds
from twinlake.train.spender import Choose, Spender

SIGNIFICANT = 3.0  # deviations of the noise below which a value is counted with others
Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """Noisy shares, each table of sum 1. `hub`: a column or -1; `edges`: pairs of other columns. `singles[c]`; `beside[c]`: of
    hub and column [hub, values of c]; `pairs[a, b]`: of both columns of an edge."""

    hub: int
    edges: tuple[Edge, ...]
    singles: tuple[Floats, ...]
    beside: Mapping[int, Floats]
    pairs: Mapping[Edge, Floats]


def measure(pairs: Mapping[Edge, Table], sizes: Sequence[int], hubs: Sequence[int], spender: Spender) -> Measured:
    """Selects and measures. `pairs`: exact counts [sizes[i], sizes[j]] of all i < j; `hubs`: columns that may be the hub."""
    columns = range(len(sizes))
    exact = [_single(pairs, c, len(sizes)) for c in columns]
    noisy, deviation = spender.counts("single columns", exact)
    rows = float(np.mean([single.sum() for single in noisy]))  # those that were counted: of wide tables a sample
    singles = [shares_near(single) for single in noisy]
    merged = [_merged(single, SIGNIFICANT * deviation) for single in noisy]
    short = [_grouped(single, groups) for single, groups in zip(singles, merged, strict=True)]

    def table(pair: Edge) -> Table:
        a, b = pair
        found = merged[a].T @ (pairs[a, b] if a < b else pairs[b, a].T) @ merged[b]
        return found.astype(np.int64)

    def gain(pair: Edge, base: Floats, noise: float) -> float:
        """How far the counts of a pair are from those expected, less what noise of deviation `noise` would be."""
        return float(np.abs(table(pair) - rows * base).sum() - math.sqrt(2 / math.pi) * noise * base.size)

    hub, deviation, found = -1, math.inf, list[Floats]()
    if len(hubs) and len(sizes) > 2:
        # the mean over the other columns: a unit changes it by no more than each of its terms
        apart = {h: [gain((h, c), np.outer(short[h], short[c]), 0.0) for c in columns if c != h] for h in hubs}
        hub = hubs[spender.choice("the hub", 1)(np.array([np.mean(apart[h]) for h in hubs]))]
        found, deviation = spender.counts("pairs with the hub", [table((hub, c)) for c in columns if c != hub])
    others = [c for c in columns if c != hub]
    hubbed = {(hub, c): one for c, one in zip(others, found, strict=False)}  # none without a hub
    if spender.selection == "adaptive":
        every = {pair: table(pair) for pair in (*hubbed, *itertools.combinations(others, 2))}
        shares = in_rounds(every, short, rows, hub, hubbed, deviation, spender)
        beside = {c: shares.pop((hub, c)) for _, c in hubbed}
        tables, edges = shares, list(shares)
    else:
        beside = {c: fitted(one, short[hub], short[c]) for (_, c), one in hubbed.items()}
        known = {(min(hub, c), max(hub, c)): one if hub < c else one.T for c, one in beside.items()}
        bases = {
            (a, b): implied(known, (a, b), hub) if hub >= 0 else np.outer(short[a], short[b])
            for a, b in itertools.combinations(others, 2)
        }
        edges, tables = [], {}
        if bases:
            noise = spender.most * math.sqrt((len(others) - 1) / (2.0 * spender.share("pairs")))
            gains = {pair: gain(pair, base, noise) for pair, base in bases.items()}
            choose = spender.choice("which pairs", len(others) - 1)
            edges = spanning_forest(list(gains), np.array(list(gains.values())), choose=_or_none(choose))
            found, _ = spender.counts("pairs", [table(edge) for edge in edges])
            tables = {edge: fitted(one, short[edge[0]], short[edge[1]]) for edge, one in zip(edges, found, strict=True)}
    return Measured(
        hub,
        tuple(edges),
        tuple(singles),
        {c: _spread(one, (hub, c), singles, merged) for c, one in beside.items()},
        {edge: _spread(one, edge, singles, merged) for edge, one in tables.items()},
    )


def measured_tables(
    codec: Codec, counts: TokenCounts, shares: Sequence[Floats], spender: Spender
) -> tuple[TokenTree, list[Floats]]:
    """The tree of tokens and the shares of each beside what it hangs on, as `conditionals` has them. `shares`: noisy shares of
    the values of each token, which they keep within a coarse bin; of `counts` nothing but noisy answers is used."""
    place = {c.name: i for i, c in enumerate(codec.columns)}
    at = [place[name] for name in counts.columns]
    bins = [np.array(coarse, np.int64) for coarse in counts.coarse]
    sizes = [int(own.max()) + 1 for own in bins]
    pairs = {(i, j): table[: sizes[i], : sizes[j]] for (i, j), table in zip(counts.pair_list(), counts.pairs, strict=True)}
    firsts = {codec.slots[c][0]: i for i, c in enumerate(at)}
    few = [i for i, c in enumerate(at) if c in hub_candidates(codec)]
    found = measure(pairs, sizes, few, spender) if len(at) > 1 else Measured(-1, (), (), {}, {})
    structure = Structure(at[found.hub] if found.hub >= 0 else -1, tuple((at[a], at[b]) for a, b in found.edges))
    tree, out = TokenTree.of(codec, structure), []
    for token, own in enumerate(shares):
        i, above = firsts.get(token, -1), firsts.get(tree.parents[token], -1)
        hubbed = tree.hubbed[token] and i in found.beside
        if i < 0 or not found.singles:
            out.append(np.broadcast_to(own, tree.shape(token)))
            continue
        single = found.singles[i]
        if above >= 0:
            pair = found.pairs[above, i] if (above, i) in found.pairs else found.pairs[i, above].T
            beside = together(pair, found.beside[i], found.beside[above]) if hubbed else _by_row(pair, single)[None]
            beside = beside[:, bins[above]]
        else:
            beside = _by_row(found.beside[i], single)[:, None] if hubbed else single[None, None]
        in_bin = np.bincount(bins[i], own, sizes[i])[bins[i]]
        out.append(beside[:, :, bins[i]] * np.where(in_bin > 0, own / np.where(in_bin > 0, in_bin, 1.0), 1.0))
    return tree, out


def _by_row(table: Floats, otherwise: Floats) -> Floats:
    """Rows of sum 1; empty ones are `otherwise`."""
    mass = table.sum(axis=1, keepdims=True)
    return np.where(mass > 0, table / np.where(mass > 0, mass, 1.0), otherwise)


def _or_none(choose: Choose) -> Choose:
    """The same, where stopping is a choice of score 0."""
    return lambda scores: choose(np.append(scores, 0.0))


def _single(pairs: Mapping[Edge, Table], column: int, columns: int) -> Table:
    other = 1 if column == 0 else 0
    return np.asarray(pairs[column, other].sum(axis=1) if column < other else pairs[other, column].sum(axis=0))


def _merged(noisy: Floats, least: float) -> Floats:
    """Which group each value is in, zeros and ones [V, groups]: values of fewer than `least` noisy rows share the last one."""
    large = noisy >= least
    group = np.where(large, np.cumsum(large) - 1, large.sum())
    return np.eye(int(group.max()) + 1)[group]


def _grouped(shares: Floats, groups: Floats) -> Floats:
    return np.asarray(shares @ groups)


def _spread(found: Floats, pair: Edge, singles: Sequence[Floats], merged: Sequence[Floats]) -> Floats:
    """A table of groups as one of values: within a group they have the shares of single columns."""
    for axis, column in enumerate(pair):
        inside = singles[column] @ merged[column]
        share = merged[column] * singles[column][:, None] / np.where(inside > 0, inside, 1.0)
        found = np.moveaxis(np.tensordot(share, found, axes=(1, axis)), 0, axis)
    return found
