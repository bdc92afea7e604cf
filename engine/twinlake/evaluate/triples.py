"""Counts of how three columns hang together, for a fixed choice of triples: their bins, and the counts of a batch of rows.

Numbers fall into six bins between the sextiles of the train rows (Greenwald and Khanna, SIGMOD 2001: off by at most 1e-3 in
rank), categories into their six most frequent train values; then any other value, and missing.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.counters import Floats, Ints, doubles
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import cells_of, typed
from twinlake.evaluate.passes import categories, recoded

CODES = 8
BINS, OTHER, MISSING = 6, 6, 7
MOST_TRIPLES = 128
ACCURACY = 1000
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Bins:
    """`edges` of each number, ascending; how many values of each category are `listed`; `triples` of positions, numbers before
    categories."""

    edges: list[Floats]
    listed: list[int]
    triples: list[Triple]

    def codes(self, batch: pa.RecordBatch, listed: list[Ints]) -> list[Ints]:
        """The bin of each row in each column; `listed` as the coder found them."""
        out = []
        for x, edges in zip(doubles(batch, [f"n{i}" for i in range(len(self.edges))]).T, self.edges, strict=True):
            out.append(np.where(np.isnan(x), MISSING, np.searchsorted(edges, x, side="left")))
        return [*out, *(recoded(n, OTHER).take(found) for n, found in zip(self.listed, listed, strict=True))]


def triple_bins(view: Evidence) -> Bins:
    """The bins of the train rows, and which triples are looked at: MOST_TRIPLES at most, chosen by the seed."""
    width, found = len(view.numeric()), {}
    if width:
        cuts = F.percentile_approx("x", [i / BINS for i in range(1, BINS)], ACCURACY).alias("cuts")
        cells = typed(view.real, view).select(cells_of(F.col(f"n{i}") for i in range(width)))
        found = {row["cell"]: row["cuts"] for row in cells.groupBy("cell").agg(cuts).toArrow().to_pylist()}
    edges = [np.unique(np.array(found.get(i) or [], np.float64)) for i in range(width)]
    listed = [len(values) for values in categories(view).values]
    every = list(itertools.combinations(range(len(edges) + len(listed)), 3))
    chosen = sorted(generator(derive(view.seed, "triples")).permutation(len(every))[:MOST_TRIPLES].tolist())
    return Bins(edges, listed, [every[i] for i in chosen])


def triple_step(bins: Bins, batch: pa.RecordBatch, listed: list[Ints]) -> Floats:
    """Counts [triples, CODES, CODES, CODES] of one batch."""
    codes = bins.codes(batch, listed)
    cells = [np.bincount((codes[a] * CODES + codes[b]) * CODES + codes[c], minlength=CODES**3) for a, b, c in bins.triples]
    return np.array(cells, np.float64).reshape(-1, CODES, CODES, CODES)
