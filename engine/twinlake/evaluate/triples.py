"""Counts of how three columns hang together: a pass over all rows of all tables, for a fixed choice of triples.

Numbers fall into six bins between the sextiles of the train rows (Greenwald and Khanna, SIGMOD 2001: off by at most 1e-4 in
rank), categories into their six most frequent train values; then any other value, and missing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.counters import Floats, doubles, summed
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import all_sides, cells_of, typed
from twinlake.evaluate.passes import categories, paired

CODES = 8
BINS, OTHER, MISSING = 6, 6, 7
MOST_TRIPLES = 128
ACCURACY = 10_000
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Bins:
    """`edges` of each number, ascending; `values` of each category; `triples` of positions, numbers before categories."""

    edges: list[Floats]
    values: list[list[str]]
    triples: list[Triple]

    def codes(self, batch: pa.RecordBatch) -> list[np.ndarray]:
        """The bin of each row in each column, int64."""
        import pyarrow.compute as pc

        out = []
        for x, edges in zip(doubles(batch, [f"n{i}" for i in range(len(self.edges))]).T, self.edges, strict=True):
            out.append(np.where(np.isnan(x), MISSING, np.searchsorted(edges, x, side="left")))
        for c, values in enumerate(self.values):
            column = batch.column(f"s{c}")
            found = pc.fill_null(pc.index_in(column, value_set=pa.array(values, column.type), skip_nulls=True), OTHER)
            missing = column.is_null().to_numpy(zero_copy_only=False)
            out.append(np.where(missing, MISSING, found.to_numpy(zero_copy_only=False)).astype(np.int64))
        return out


def triple_counts(evidence: Evidence) -> list[Floats]:
    """Of each side: counts [triples, CODES, CODES, CODES]; no triples where fewer than three columns are measured."""
    return evidence.once("triples", _triple_counts)


def _triple_counts(evidence: Evidence) -> list[Floats]:
    view = paired(evidence)
    bins = _bins(view)
    shape = (len(bins.triples), CODES, CODES, CODES)
    if not bins.triples:
        return [np.zeros(shape)] * 4
    return [held["triples"] for held in summed(all_sides(view), partial(_step, bins), {"triples": shape})]


def _bins(view: Evidence) -> Bins:
    width, found = len(view.numeric()), {}
    if width:
        cuts = F.percentile_approx("x", [i / BINS for i in range(1, BINS)], ACCURACY).alias("cuts")
        cells = typed(view.real, view).select(cells_of(F.col(f"n{i}") for i in range(width)))
        found = {row["cell"]: row["cuts"] for row in cells.groupBy("cell").agg(cuts).toArrow().to_pylist()}
    edges = [np.unique(np.array(found.get(i) or [], np.float64)) for i in range(width)]
    values = [v[:BINS] for v in categories(view).values]
    every = list(itertools.combinations(range(len(edges) + len(values)), 3))
    chosen = sorted(generator(derive(view.seed, "triples")).permutation(len(every))[:MOST_TRIPLES].tolist())
    return Bins(edges, values, [every[i] for i in chosen])


def _step(bins: Bins, batch: pa.RecordBatch, side: int) -> Mapping[str, Floats]:
    codes = bins.codes(batch)
    cells = [np.bincount((codes[a] * CODES + codes[b]) * CODES + codes[c], minlength=CODES**3) for a, b, c in bins.triples]
    return {"triples": np.stack(cells).reshape(-1, CODES, CODES, CODES).astype(np.float64)}
