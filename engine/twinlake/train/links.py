"""What pairs of columns have in common, by the coarse pair counts, and how much of it is more than chance.

Few rows show links everywhere. A network with whole weights for all of them learns its rows by heart; one that begins with the
links that pairs show, and little of the others, does so far less. Knows nothing of networks and rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from twinlake.models.codec import Codec
from twinlake.models.places import NOWHERE, places_of
from twinlake.models.tree import chance, information, pair_tables
from twinlake.profile.counts import COARSE_BINS, TokenCounts

CHANCE = 2.0
GROUPS = 4
PLENTY = 20_000
Table = npt.NDArray[np.int64]


def links_of(codec: Codec, counts: TokenCounts, parents: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """How strongly each token begins to look at each of its `parents` (int64 [S, K]): float32 [S, K] in [0, 1].

    sqrt(1 - CHANCE * chance / information) of the two columns, as the positive part of a Stein estimate keeps it (Efron and
    Morris, "Stein's estimation rule and its competitors", JASA 1973), where chance is what independent columns have in the mean
    (`chance`); the better of the counts as they are and of the same with GROUPS groups of neighbouring numbers. No link is
    weaker than rows / PLENTY: pairs do not show what three columns have in common, and many rows could.
    """
    if counts.rows >= PLENTY:
        return np.ones(parents.shape, np.float32)
    links = np.ones((len(codec.columns), len(codec.columns)))
    groups = _groups(codec, counts)
    for i, j, table in pair_tables(codec, counts):
        if any(codec.columns[column].phase is not None for column in (i, j)):
            continue  # what hangs on the day of the week or the hour is not in the counts
        both = table, groups[i].T @ table @ groups[j]
        links[i, j] = links[j, i] = max(map(_beyond_chance, both))
    column_of = np.array([c for c, slots in enumerate(codec.slots) for _ in slots])
    found = np.maximum(np.sqrt(links), counts.rows / PLENTY)
    out: npt.NDArray[np.float32] = found[column_of[:, None], column_of[parents]].astype(np.float32)
    return out


def _beyond_chance(table: Table) -> float:
    """The share of the information that is more than CHANCE times what chance gives; 1 where there is nothing to share."""
    expected = chance(table)
    return 1.0 if expected == 0.0 else max(0.0, 1.0 - CHANCE * expected / max(information(table), 1e-12))


def _groups(codec: Codec, counts: TokenCounts) -> dict[int, npt.NDArray[np.int64]]:
    """For each counted column which group each coarse bin is in, zeros and ones [16, 16 + GROUPS]: GROUPS of equal mass in
    order of the places of its numbers; bins that have no place stay apart."""
    out = {}
    index = {c.name: i for i, c in enumerate(codec.columns)}
    places = places_of(codec)
    for name, single, coarse in zip(counts.columns, counts.single, counts.coarse, strict=True):
        column = index[name]
        place = np.array(places[codec.slots[column][0]])
        mass = np.where(place != NOWHERE, single, 0).astype(np.float64)
        in_bin = np.bincount(coarse, mass, COARSE_BINS)
        mean = np.bincount(coarse, mass * place, COARSE_BINS) / np.maximum(in_bin, 1.0)
        order = np.flatnonzero(in_bin)[np.argsort(mean[in_bin > 0], kind="stable")]
        middle = np.cumsum(in_bin[order]) - in_bin[order] / 2
        group = np.arange(COARSE_BINS)
        group[order] = COARSE_BINS + (middle * GROUPS / max(1.0, in_bin.sum())).astype(np.int64)
        out[column] = np.eye(COARSE_BINS + GROUPS, dtype=np.int64)[group]
    return out
