"""Counts what the detectors find in Arrow batches. Counters can be added up in any order; no value is among them.

Each distinct value of a batch is matched once and weighted by how often it occurs, and a detector sees only values that
its gate lets through. Distinct values over all batches are estimated by linear counting (Whang et al., ACM TODS 1990) in
512 bits, which merge by OR: good to a few percent below 1,000, and never above some 3,000, enough for "few or many".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Detector, Family, as_mask, estimating
from twinlake.classify.features import LETTER, MARKS, WIDE, Features, Gate, features
from twinlake.classify.lexicon import where
from twinlake.classify.nested import json_leaves, leaves
from twinlake.classify.spans import find_spans
from twinlake.classify.text import is_missing, normalize
from twinlake.core.errors import DataError

WORDS = 8
BITS = 64 * WORDS
ROWS = "rows"
"""Key of the counter of rows; the others are entities, INSIDE and an entity, or STAT and what was counted."""
INSIDE = "inside "
STAT = "stat "
PATH = "\t"
"""Stands between the path of a nested leaf and the key of its counter."""
LONGEST_MISSING = 8
# where a value in free text may begin; a bare number or code is a whole value, not text that contains one
TEXT_MARKS = np.uint32(sum(1 << MARKS.index(mark) for mark in ' @{[<"\n'))

Ints: TypeAlias = npt.NDArray[np.int64]
Finder: TypeAlias = Callable[[pa.StringArray, Mapping[str, Detector]], pa.Table]
"""Finds entities in texts, as `find_spans` does."""
Counters: TypeAlias = dict[str, npt.NDArray[np.int64]]
"""Key -> [a, b, c, w0 .. w7]. ROWS: rows, rows with a value. An entity: matches, those that may decide alone, those of
its shape; w: bitmap of the distinct matches (of all values for ROWS). STAT: a alone."""


@dataclass(frozen=True)
class Found:
    """What was counted for one entity in one column."""

    hits: int = 0
    alone: int = 0
    shape: int = 0
    distinct: int = 0


@dataclass(frozen=True)
class Counts:
    """What was counted in one column: rows, rows with a value, distinct values, entities, entities inside text, and the
    profile (decades of years, tens of small whole numbers, shares of kinds of text)."""

    rows: int = 0
    filled: int = 0
    distinct: int = 0
    found: dict[str, Found] = field(default_factory=dict)
    inside: dict[str, int] = field(default_factory=dict)
    stats: dict[str, int] = field(default_factory=dict)


def count_column(
    column: pa.Array,
    family: Family | None,
    detectors: Mapping[str, Detector],
    asked: Mapping[str, Detector] | None = None,
    find: Finder = find_spans,
) -> Counters:
    """Counters of one column of one batch with those of its leaves, each under its path and PATH.

    asked: the detectors that have a say on the column as a whole (`decide.relevant`); texts are searched for all.
    find: how texts are searched (`ner.find_spans_ner` with the extra).
    """
    if family is None:
        out: Counters = {ROWS: _counter(len(column), len(column) - column.null_count, 0)}
        found = list(leaves(column))
    else:
        text = column.cast(pa.string())
        members = json_leaves(text) if family == "text" else None
        if members is None:
            return count(text, family, detectors, asked, find)
        found = members
        out = {ROWS: _counter(len(column), len(column) - column.null_count, 0)}
    for path, values, kind in found:
        for key, counter in count(values, kind, detectors, None, find).items():
            out[f"{path}{PATH}{key}"] = counter
    return out


def count(
    column: pa.Array,
    family: Family,
    detectors: Mapping[str, Detector],
    asked: Mapping[str, Detector] | None = None,
    find: Finder = find_spans,
) -> Counters:
    """Counters of one column of one batch (already text). Errors: DataError naming the entity, never a value."""
    out: Counters = {}
    raw = pc.value_counts(column.cast(pa.string()))
    values, weights = raw.field("values"), raw.field("counts").to_numpy().astype(np.int64)
    values = normalize(values)
    lengths = pc.binary_length(values).fill_null(0).to_numpy()
    kept = np.ones(len(values), dtype=np.bool_)
    short = np.flatnonzero(lengths <= LONGEST_MISSING)
    kept[short] = ~as_mask(is_missing(values.take(pa.array(short))))
    out[ROWS] = _counter(len(column), int(weights[kept].sum()), 0)
    if not kept.all():
        values, weights = values.filter(pa.array(kept)), weights[kept]
    if not len(values):
        return out
    of = features(values)
    buckets = (of.hashes >> np.uint64(32)).astype(np.int64) % BITS
    out[ROWS][3:] = _bitmap(buckets)
    _count_stats(out, values, of, weights, family)
    cut: dict[Gate, tuple[Ints, pa.StringArray]] = {}
    for entity, detector in (detectors if asked is None else asked).items():
        if family not in detector.reads:
            continue
        if detector.gate not in cut:
            at = np.flatnonzero(detector.gate.passes(of))
            cut[detector.gate] = (at, values if len(at) == len(values) else values.take(pa.array(at)))
        at, some = cut[detector.gate]
        if len(at):
            try:
                with estimating():
                    _count_entity(out, detector, some, weights[at], buckets[at])
            except Exception as error:  # its text may hold a value, so only its type goes on
                raise DataError(f"detector {entity} failed on a column: {type(error).__name__}") from None
    if family == "text":
        texts = ((of.marks & TEXT_MARKS) != 0) & ((of.marks & np.uint32(LETTER)) != 0)
        if texts.any():
            _count_inside(out, values.filter(pa.array(texts)), weights[texts], detectors, find)
    return out


def _count_entity(out: Counters, detector: Detector, values: pa.StringArray, weights: Ints, buckets: Ints) -> None:
    hit = detector.match(values)
    if not hit.any():
        return
    alone = hit
    if detector.alone is not detector.match:  # what may decide alone matches besides: only matches are asked
        alone = where(values, hit, detector.alone) if detector.alone else np.zeros_like(hit)
    # a shape decides only where some values match: it is not worth looking at otherwise
    wanted = detector.shape is not None and hit.mean() >= 0.5 * detector.shape_least
    shape = detector.shape(values) | hit if wanted and detector.shape else hit
    if shape.any():
        counter = _counter(int(weights[hit].sum()), int(weights[alone].sum()), int(weights[shape].sum()))
        counter[3:] = _bitmap(buckets[hit])
        out[detector.entity] = counter


def _count_inside(
    out: Counters, values: pa.StringArray, weights: Ints, detectors: Mapping[str, Detector], find: Finder
) -> None:
    spans = find(values, detectors)
    held: dict[str, set[int]] = {}
    for row, entity in zip(spans["row"].to_pylist(), spans["entity"].to_pylist(), strict=True):
        held.setdefault(entity, set()).add(row)
    for entity, at in held.items():
        out[INSIDE + entity] = _counter(int(weights[sorted(at)].sum()), 0, 0)


def _count_stats(out: Counters, values: pa.StringArray, of: Features, weights: Ints, family: Family) -> None:
    """The profile that headerless decisions lean on: decades of years in dates, tens of small whole numbers."""

    def add(name: str, mask: npt.NDArray[np.bool_]) -> None:
        if n := int(weights[mask].sum()):
            out[STAT + name] = _counter(n, 0, 0)

    add("spaced", of.spaces > 0)
    add("worded", (2 * of.letters >= of.length) | ((of.marks & np.uint32(WIDE)) != 0))
    whole = (of.digits == of.length) & (of.length <= 3)
    if whole.any():
        numbers = np.full(len(values), -1, dtype=np.int64)
        numbers[whole] = pc.cast(values.filter(pa.array(whole)), pa.int64()).to_numpy()
        small = whole & (numbers < BITS)
        counter = _counter(int(weights[small].sum()), 0, 0)
        counter[3:] = _bitmap(numbers[small])
        out[STAT + "small"] = counter
        for ten in np.unique(numbers[small] // 10).tolist():
            add(f"ten {ten}", small & (numbers // 10 == ten))
    dated = (of.digits >= 4) & (of.length >= 6) & (of.length <= 40) & (of.digits <= 20)
    if dated.any() and family != "number":
        years = pc.extract_regex(values.filter(pa.array(dated)), pattern=YEAR).field("y")
        decades = pc.utf8_slice_codeunits(years.fill_null(""), 0, 3)
        part = weights[dated]
        for decade in pc.unique(decades).to_pylist():
            if decade:
                n = int(part[as_mask(pc.equal(decades, decade))].sum())
                out[STAT + f"decade {decade}"] = _counter(n, 0, 0)


YEAR = "(?:^|[^0-9])(?P<y>19[0-9]{2}|20[0-9]{2})(?:[^0-9]|$)"


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
    found, inside, stats = {}, {}, {}
    for key, counter in counters.items():
        if key.startswith(INSIDE):
            inside[key.removeprefix(INSIDE)] = int(counter[0])
        elif key.startswith(STAT):
            stats[key.removeprefix(STAT)] = int(counter[0])
            if key == STAT + "small":
                seen = np.flatnonzero(np.unpackbits(counter[3:].copy().view(np.uint8)))
                stats |= {"least": int(seen.min()), "most": int(seen.max()), "different": len(seen)} if len(seen) else {}
        elif key != ROWS:
            found[key] = Found(int(counter[0]), int(counter[1]), int(counter[2]), _distinct(counter))
    return Counts(int(rows[0]), int(rows[1]), _distinct(rows), found, inside, stats)


def split_paths(counters: Counters) -> dict[str, Counters]:
    """The counters of nested leaves by path; the column's own under the empty path."""
    out: dict[str, Counters] = {}
    for key, counter in counters.items():
        path, _, rest = key.rpartition(PATH)
        out.setdefault(path, {})[rest] = counter
    return out


def _counter(first: int, second: int, third: int) -> Ints:
    return np.array([first, second, third, *[0] * WORDS], dtype=np.int64)


def _bitmap(buckets: Iterable[int] | Ints) -> Ints:
    bits = np.zeros(BITS, dtype=np.uint8)
    bits[np.asarray(buckets)] = 1
    return np.packbits(bits).view(np.int64)


def _distinct(counter: Ints) -> int:
    set_bits = int(np.unpackbits(counter[3:].copy().view(np.uint8)).sum())
    empty = max(BITS - set_bits, 1)
    return round(BITS * float(np.log(BITS / empty)))
