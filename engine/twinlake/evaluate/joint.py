"""The pass over all rows of all tables that pairs and triples of columns share, and what it adds up.

A row crosses from Spark to Python once for all of it: that costs more than the sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from twinlake.evaluate.counters import Floats, summed
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import TRAIN, all_sides
from twinlake.evaluate.passes import Coder, coder, paired
from twinlake.evaluate.triples import CODES, Bins, triple_bins, triple_step

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def joint(evidence: Evidence) -> list[dict[str, Floats]]:
    """Of each side: sums of pairs of numbers, numbers by category, pairs of categories, PCA features, counts of triples. Asked
    of `paired` evidence alone, since its cost grows with the square of the columns."""
    return evidence.once("joint", _joint)


def _joint(evidence: Evidence) -> list[dict[str, Floats]]:
    code, bins = coder(evidence), triple_bins(evidence)
    n, c = len(code.shift), len(code.values)
    shapes: dict[str, tuple[int, ...]] = {
        "power": (4, n),
        "pairs": (4, n, n),
        "feature": (n + c,),
        "outer": (n + c, n + c),
        "triples": (len(bins.triples), CODES, CODES, CODES),
    }
    for a in range(c):
        shapes[f"group{a}"] = (3, code.width(a), n)
        shapes |= {f"table{a},{b}": (code.width(a), code.width(b)) for b in range(a + 1, c)}
    return summed(all_sides(evidence), partial(joint_step, code, bins), shapes)


def joint_step(code: Coder, bins: Bins, batch: pa.RecordBatch, side: int) -> Mapping[str, Floats]:
    """The sums of one batch."""
    z = code.numbers(batch)
    mask = (~np.isnan(z)).astype(np.float64)
    z = np.nan_to_num(z)
    out = {
        **power_step(code, batch, side),
        "triples": triple_step(bins, batch),
        "pairs": np.stack([mask.T @ mask, z.T @ mask, (z**2).T @ mask, z.T @ z]),
    }
    features = code.features(batch)
    out["feature"], out["outer"] = features.sum(0), features.T @ features
    codes = [code.codes(batch, c) for c in range(len(code.values))]
    for a, row in enumerate(codes):
        high = code.width(a)
        weights = (mask, z, z**2)
        out[f"group{a}"] = (
            np.stack([np.stack([np.bincount(row, w[:, j], high) for j in range(z.shape[1])], 1) for w in weights])
            if z.shape[1]
            else np.zeros((3, high, 0))
        )
        for b in range(a + 1, len(codes)):
            cells = np.bincount(row * code.width(b) + codes[b], minlength=high * code.width(b))
            out[f"table{a},{b}"] = cells.reshape(high, -1).astype(np.float64)
    return out


def triple_counts(evidence: Evidence) -> list[Floats]:
    """Of each side: counts [triples, CODES, CODES, CODES]; no triples where fewer than three columns are measured."""
    view = paired(evidence)
    if len(view.numeric()) + len(view.categorical()) < 3:
        return [np.zeros((0, CODES, CODES, CODES))] * 4
    return [sums["triples"] for sums in joint(view)]


def power_sums(evidence: Evidence) -> Floats:
    """n and the sums of z, z^2 and z^3 of the standardized train numbers, [4, numbers]."""
    if paired(evidence) is evidence:
        return joint(evidence)[TRAIN]["power"]
    code, shape = coder(evidence), (4, len(evidence.numeric()))
    return summed(numbers_of(evidence), partial(power_step, code), {"power": shape})[TRAIN]["power"]


def numbers_of(evidence: Evidence) -> DataFrame:
    """The sides' numbers alone: what categories tell is not read."""
    return all_sides(evidence).select("side", *[f"n{i}" for i in range(len(evidence.numeric()))])


def power_step(code: Coder, batch: pa.RecordBatch, side: int) -> Mapping[str, Floats]:
    """The power sums of one batch."""
    z = code.numbers(batch)
    known = ~np.isnan(z)
    z = np.nan_to_num(z)
    return {"power": np.stack([known.sum(0).astype(np.float64), z.sum(0), (z**2).sum(0), (z**3).sum(0)])}
