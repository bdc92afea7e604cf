"""The shares of a marginal model from exact counts. Shares of few rows lean on coarser ones: by a Dirichlet prior whose weight
is the one that foretells left-out rows best. Pure functions of counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.store import doors_of
from twinlake.models.token_tables import TokenTables
from twinlake.profile.counts import COARSE_BINS

WEIGHTS = 2.0 ** np.arange(16, -4, -1)
ROUNDS = 20
ALL = np.ones((1, 1), np.bool_)
Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def conditionals(codec: Codec, tables: TokenTables) -> list[Floats]:
    """For each token its shares beside what it hangs on, float64 of the tree's shape of the token, of sum 1 over the last."""
    column_of = [c for c, slots in enumerate(codec.slots) for _ in slots]
    forbidden, tree, out = allowed_pairs(codec), tables.tree, []
    for token, found in enumerate(tables.counts):
        column, parent = codec.columns[column_of[token]], tree.parents[token]
        if token != codec.slots[column_of[token]][0]:
            out.append(leaning(found, within(column, found[0])))
            continue
        own, above = coarse_of(column), None if parent < 0 else coarse_of(codec.columns[column_of[parent]])
        masks = [forbidden.get((column_of[t], column_of[token]), ALL) if t >= 0 else ALL for t in (tree.hub, parent)]
        mask = masks[0][:, None] & masks[1][None] if tree.hubbed[token] else masks[1][None]
        usual = (found.sum(axis=(0, 1)) + 1e-9) / (found.sum() + 1e-9 * len(own))
        prior = usual[None, None] if above is None else beside(found.sum(axis=0), above, own, masks[1])[None]
        if tree.hubbed[token]:
            few = np.arange(found.shape[0])
            with_hub = beside(found.sum(axis=1), few, own, masks[0])
            weights = found.sum(axis=2)
            prior = together(prior[0] * weights.sum(axis=0)[:, None], with_hub * weights.sum(axis=1)[:, None], weights)
        out.append(leaning(found, prior, mask))
    return out


def together(parent_own: Floats, hub_own: Floats, hub_parent: Floats) -> Floats:
    """Shares of a token beside hub and parent, [K, Vp, V], of sum 1 over the last: those of the greatest entropy that have
    these tables of two, [Vp, V], [K, V] and [K, Vp], by iterative proportional fitting (Deming and Stephan 1940)."""
    cube = np.repeat(parent_own[None], len(hub_own), axis=0) + 1e-12
    for _ in range(ROUNDS):
        for axis, wanted in ((1, hub_own), (2, hub_parent), (0, parent_own)):
            cube *= np.expand_dims(wanted / np.maximum(cube.sum(axis=axis), 1e-300), axis)
    cube += 1e-12 * parent_own[None] + 1e-300
    return np.asarray(cube / cube.sum(axis=2, keepdims=True))


def coarse_of(column: ColumnCodec) -> npt.NDArray[np.int64]:
    """The coarse bin of each value of a column's first token; of what is not counted in pairs the value itself."""
    return np.array(column.coarse or range(column.sizes[0]), np.int64)


def within(column: ColumnCodec, found: Table) -> Floats:
    """What second tokens lean on, [V0, V1]: parts of a bin are alike, phases (of a day, of a week) as they are at all times."""
    usual = found.sum(axis=0) + 1.0 if column.phase is not None else np.ones(found.shape[1])
    shares = np.where(np.arange(found.shape[1]) < column.behind[:, None], usual, 0.0)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def beside(found: Table, above: npt.NDArray[np.int64], own: npt.NDArray[np.int64], mask: Mask = ALL) -> Floats:
    """Shares of first tokens beside those of another column, [V, W] as the counts `found`: leaning on the shares of coarse
    bins (`above` [V], `own` [W]), which lean on the column's own. `mask` [V, W]: what may be at all."""
    usual = (found.sum(axis=0) + 1e-9) / (found.sum() + 1e-9 * found.shape[1])
    groups = np.zeros((COARSE_BINS, len(found)))
    groups[above, np.arange(len(found))] = 1.0
    bins = np.zeros((found.shape[1], COARSE_BINS))
    bins[np.arange(found.shape[1]), own] = 1.0
    coarse = leaning((groups @ found @ bins).astype(np.int64), np.broadcast_to(usual @ bins, (COARSE_BINS, COARSE_BINS)))
    return leaning(found, spread(coarse, usual, above, own), mask)


def spread(coarse: Floats, usual: Floats, above: npt.NDArray[np.int64], own: npt.NDArray[np.int64]) -> Floats:
    """Shares of coarse bins, [16, 16], as those of values, [V, W]: within a bin values have their `usual` shares [W]."""
    in_bin = np.bincount(own, usual, COARSE_BINS)[own]
    out: Floats = coarse[above][:, own] * (usual / np.where(in_bin > 0, in_bin, 1.0))
    return out


def leaning(found: Table, prior: Floats, mask: Mask = ALL) -> Floats:
    """(found + w prior) / (sum + w) along the last axis, the posterior mean under a Dirichlet prior: `w` of WEIGHTS is the one
    under which each row of the table, left out, is likeliest (Stone, "Cross-validatory choice", 1974). `mask`: what may be."""
    prior, found = np.broadcast_to(prior, found.shape), found * mask
    kept = prior * mask
    mass = kept.sum(axis=-1, keepdims=True)
    prior = np.where(mass > 0, kept / np.where(mass > 0, mass, 1.0), prior)
    some = found > 0
    times, others = found[some], np.broadcast_to(found.sum(axis=-1, keepdims=True), found.shape)[some] - 1
    expected = np.maximum(prior[some], 1e-12)
    scores = [(times * np.log((times - 1 + w * expected) / (others + w))).sum() for w in WEIGHTS]
    weight = float(WEIGHTS[int(np.argmax(scores))])  # of equal ones the heaviest
    out: Floats = (found + weight * prior) / (found.sum(axis=-1, keepdims=True) + weight)
    return out


def allowed_pairs(codec: Codec) -> dict[tuple[int, int], Mask]:
    """By pair of columns, either way round, which first tokens may stand together, where relations or gates forbid some."""
    out: dict[tuple[int, int], Mask] = {}

    def ask(a: int, b: int, mask: Mask) -> None:
        out[a, b] = out[a, b] & mask if (a, b) in out else mask
        out[b, a] = out[a, b].T

    for relation in codec.relations:
        if relation.kind == "determines" and all(len(codec.slots[c]) == 1 for c in relation.columns):
            a, b = relation.columns
            decided = np.array(relation.map)[:, None]
            ask(a, b, (decided < 0) | (decided == np.arange(codec.columns[b].sizes[0])))
    for door in doors_of(codec):
        null = np.arange(codec.columns[door.column].sizes[0]) == door.null
        ask(door.by, door.column, np.where(door.opened[:, None], ~null if door.filled else True, null))
    return out
