"""Counts what the detectors find in Arrow batches. Counters can be added up in any order; no value is among them.

Each distinct value of a batch is matched once and weighted by how often it occurs. Distinct values over all batches are
estimated by linear counting (Whang et al., ACM TODS 1990) in 512 bits, which merge by OR: good to a few percent below
1,000, and never above some 3,000, which is enough for "few or many".
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Detector, Family, as_mask, matches
from twinlake.classify.spans import find_spans
from twinlake.classify.text import is_missing, normalize
from twinlake.core.errors import DataError

WORDS = 8
BITS = 64 * WORDS
ROWS = "rows"
"""Key of the counter of rows; the others are entities, or INSIDE and an entity."""
INSIDE = "inside "
# where a value in free text may begin; a bare number or code is a whole value, not text that contains one
TEXT = '.*\\pL.*\\s.*|.*[{\\[<"].*|.*@.*'

Counters: TypeAlias = dict[str, npt.NDArray[np.int64]]
"""Key -> [a, b, c, w0 .. w7]. ROWS: rows, rows with a value. An entity: matches, those that may decide alone, those of
its shape; w: bitmap of the distinct matches (of all values for ROWS)."""


@dataclass(frozen=True)
class Found:
    """What was counted for one entity in one column."""

    hits: int = 0
    alone: int = 0
    shape: int = 0
    distinct: int = 0


@dataclass(frozen=True)
class Counts:
    """What was counted in one column: rows, rows with a value, distinct values, entities, entities inside text."""

    rows: int = 0
    filled: int = 0
    distinct: int = 0
    found: dict[str, Found] = field(default_factory=dict)
    inside: dict[str, int] = field(default_factory=dict)


def count(column: pa.Array, family: Family, detectors: Mapping[str, Detector]) -> Counters:
    """Counters of one column of one batch (already text). Errors: DataError naming the entity, never a value."""
    out: Counters = {}
    raw = pc.value_counts(column.cast(pa.string()))
    values, weights = raw.field("values"), raw.field("counts").to_numpy().astype(np.int64)
    values = normalize(values)
    missing = as_mask(is_missing(values))
    out[ROWS] = _counter(len(column), int(weights[~missing].sum()), 0)
    values, weights = values.filter(pa.array(~missing)), weights[~missing]
    if not len(values):
        return out
    buckets = np.array([zlib.crc32(value.encode("utf-8")) % BITS for value in values.to_pylist()])
    out[ROWS][3:] = _bitmap(buckets)
    texts = matches(values, TEXT) if family == "text" else np.zeros(len(values), dtype=np.bool_)
    for entity, detector in detectors.items():
        if family in detector.reads:
            try:
                _count_entity(out, detector, values, weights, buckets)
            except Exception as error:  # its text may hold a value, so only its type goes on
                raise DataError(f"detector {entity} failed on a column: {type(error).__name__}") from None
    if texts.any():
        _count_inside(out, values.filter(pa.array(texts)), weights[texts], detectors)
    return out


def _count_inside(
    out: Counters, values: pa.StringArray, weights: npt.NDArray[np.int64], detectors: Mapping[str, Detector]
) -> None:
    spans = find_spans(values, detectors)
    rows, entities = spans["row"].to_numpy(), spans["entity"].to_pylist()
    held: dict[str, set[int]] = {}
    for row, entity in zip(rows.tolist(), entities, strict=True):
        held.setdefault(entity, set()).add(row)
    for entity, at in held.items():
        out[INSIDE + entity] = _counter(int(weights[list(at)].sum()), 0, 0)


def _count_entity(
    out: Counters,
    detector: Detector,
    values: pa.StringArray,
    weights: npt.NDArray[np.int64],
    buckets: npt.NDArray[np.int64],
) -> None:
    hit = detector.match(values)
    alone = (
        hit if detector.alone is detector.match else detector.alone(values) if detector.alone else np.zeros_like(hit)
    )
    shape = detector.shape(values) | hit if detector.shape else hit
    if shape.any():
        counter = _counter(int(weights[hit].sum()), int(weights[alone].sum()), int(weights[shape].sum()))
        counter[3:] = _bitmap(buckets[hit])
        out[detector.entity] = counter


def merge(into: dict[int, Counters], column: int, counters: Counters) -> None:
    """Adds `counters` to those of `column`: sums, and OR of the bitmaps."""
    mine = into.setdefault(column, {})
    for key, counter in counters.items():
        if key in mine:
            mine[key][:3] += counter[:3]
            mine[key][3:] |= counter[3:]
        else:
            mine[key] = counter.copy()


def read(counters: Counters) -> Counts:
    """The counters as numbers to decide on."""
    rows = counters.get(ROWS, _counter(0, 0, 0))
    found, inside = {}, {}
    for key, counter in counters.items():
        if key.startswith(INSIDE):
            inside[key.removeprefix(INSIDE)] = int(counter[0])
        elif key != ROWS:
            found[key] = Found(int(counter[0]), int(counter[1]), int(counter[2]), _distinct(counter))
    return Counts(int(rows[0]), int(rows[1]), _distinct(rows), found, inside)


def _counter(first: int, second: int, third: int) -> npt.NDArray[np.int64]:
    return np.array([first, second, third, *[0] * WORDS], dtype=np.int64)


def _bitmap(buckets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    bits = np.zeros(BITS, dtype=np.uint8)
    bits[buckets] = 1
    return np.packbits(bits).view(np.int64)


def _distinct(counter: npt.NDArray[np.int64]) -> int:
    set_bits = int(np.unpackbits(counter[3:].copy().view(np.uint8)).sum())
    empty = max(BITS - set_bits, 1)
    return round(BITS * float(np.log(BITS / empty)))
