"""The pass over all rows of all tables that pairs and triples of columns share, and what it adds up.

A row crosses from Spark to Python once for all of it: that costs more than the sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from twinlake.evaluate.counters import Floats, Ints, summed
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
    numbers, listed = code.numbers(batch), code.listed(batch)
    z, mask = _known(numbers)
    square = z * z
    features, codes = code.features(numbers, listed), code.codes(listed)
    out = {
        "power": _powers(z, mask),
        "pairs": np.stack([mask.T @ mask, z.T @ mask, square.T @ mask, z.T @ z]),
        "feature": features.sum(0),
        "outer": features.T @ features,
        "triples": triple_step(bins, batch, listed),
    }
    weights = np.hstack([mask, z, square])
    for a, row in enumerate(codes):
        high = code.width(a)
        out[f"group{a}"] = _grouped(row, weights, high).reshape(high, 3, -1).transpose(1, 0, 2)
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
    return {"power": _powers(*_known(code.numbers(batch)))}


def _known(numbers: Floats) -> tuple[Floats, Floats]:
    """The numbers with 0 where they are missing, and 1 where they are not."""
    return np.nan_to_num(numbers), (~np.isnan(numbers)).astype(np.float64)


def _powers(z: Floats, mask: Floats) -> Floats:
    square = z * z  # `z**3` calls pow for every cell: ten times as long
    return np.stack([mask.sum(0), z.sum(0), square.sum(0), (square * z).sum(0)])


def _grouped(codes: Ints, weights: Floats, width: int) -> Floats:
    """Sums of the rows of `weights` by their code, [width, weights]."""
    from scipy.sparse import csr_matrix  # scikit-learn brings it

    at = np.arange(len(codes) + 1)
    return np.asarray(csr_matrix((np.ones(len(codes)), codes, at), (len(codes), width)).T @ weights)
