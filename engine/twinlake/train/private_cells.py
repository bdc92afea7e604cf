"""Codecs of single columns from noisy counts alone: where the numbers of a column lie, and which values are frequent.

Numbers are found in two rounds. The first counts them in public cells (powers of two, or years), the second in cells that
split those where the first found many. What is made of noisy counts is post-processing and costs nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from twinlake.models.column import STATES, WIDE, ColumnCodec
from twinlake.models.fitting import coarse_map
from twinlake.models.times import DAY_US
from twinlake.profile.statistics import Column

Floats = npt.NDArray[np.float64]
Ends = npt.NDArray[Any]  # of int64 or float64, as the domain is
CERTAIN = 4.0  # deviations of the noise above which one of very many counts is taken for more than noise
SIGNIFICANT = 2.5  # the same of one count among few
PER_CELL = 4.0  # deviations of the noise that a cell of the second round should hold
MOST_SPLITS = 64
MOST_BINS = 64
MOST_DECIMALS = 6
SMALLEST, LARGEST = -30, 60  # powers of two that floats are told apart by
FIRST_DAY, LAST_DAY = -36_525, 73_050  # 1870 to 2170
DAYS_A_CELL = 365


def number_domain(column: Column, decimals: int | None) -> ColumnCodec | None:
    """The codec of a number or time without cells, by its type and public `decimals`; None for other types."""
    states: tuple[str, ...] = ("null",) if column.nullable else ()
    if column.type in ("float", "double"):
        states += STATES[1:]
        if column.type == "double" and decimals is not None and decimals <= MOST_DECIMALS:
            return ColumnCodec(column.name, column.type, "number", states=states, scale=decimals)
        return ColumnCodec(column.name, column.type, "number", states=states, domain="float")
    if match := re.fullmatch(r"decimal\((\d+),(\d+)\)", column.type):
        whole = int(match[1]) <= 18
        domain, scale = ("int", int(match[2])) if whole else ("float", 0)
        return ColumnCodec(column.name, column.type, "number", states=states, domain=domain, scale=scale)
    if column.type.startswith("timestamp"):
        return ColumnCodec(column.name, column.type, "number", states=states, step=1_000_000)
    whole_types = ("tinyint", "smallint", "int", "bigint", "date")
    return ColumnCodec(column.name, column.type, "number", states=states) if column.type in whole_types else None


def public_cells(codec: ColumnCodec, limits: tuple[float, float] | None) -> ColumnCodec:
    """`codec` with the cells of the first round: between the declared `limits` if there are any (in the column's own units), of
    times a year each, of other numbers from one power of two to the next."""
    day = {"date": 1}.get(codec.type, DAY_US // codec.step if codec.type.startswith("timestamp") else 0)
    if limits is not None:
        least, most = (round(v * 10**codec.scale) if codec.domain == "int" else v for v in limits)
        parts = int(min(32, most - least + 1)) if codec.domain == "int" else 32
        edges = [least + (most + (codec.domain == "int") - least) * i / parts for i in range(parts + 1)]
        return with_cells(codec, *_between(np.array(edges), codec.domain))
    if day:
        return with_cells(codec, *_between(np.arange(FIRST_DAY, LAST_DAY + 1, DAYS_A_CELL) * day, "int"))
    if codec.domain == "float":
        steps = 2.0 ** np.arange(SMALLEST, LARGEST)
        return with_cells(codec, *_between(np.concatenate([-steps[::-1], steps]), "float"))
    powers = 2 ** np.arange(0, _bits(codec.type) + 1, dtype=np.int64)
    return with_cells(codec, *_between(np.concatenate([1 - powers[::-1], powers]), "int"))


def _bits(type_: str) -> int:
    """Of the largest whole number of a column's domain, at most 62."""
    if match := re.fullmatch(r"decimal\((\d+),\d+\)", type_):
        return min(62, int(int(match[1]) * 3.32))
    return {"tinyint": 7, "smallint": 15, "int": 31}.get(type_, 62)


def _between(edges: Ends, domain: str) -> tuple[Ends, Ends]:
    """Cells from each edge to the next: whole numbers up to the one before it."""
    if domain == "float":
        return edges[:-1].astype(np.float64), edges[1:].astype(np.float64)
    whole = np.ceil(edges).astype(np.int64) if edges.dtype.kind == "f" else edges
    whole = np.unique(whole)
    return whole[:-1], whole[1:] - 1


def with_cells(codec: ColumnCodec, low: Ends, high: Ends, atoms: Sequence[float] = ()) -> ColumnCodec:
    """`codec` with a bin for each cell [low, high], and `atoms`; its coarse bins say nothing."""
    plain = int if codec.domain == "int" else float
    own = replace(
        codec,
        atoms=tuple(plain(a) for a in atoms),
        low=tuple(plain(v) for v in low),
        high=tuple(plain(v) for v in high),
        bin_start=tuple(range(len(low))),
    )
    return replace(own, coarse=(0,) * own.sizes[0])


def refined(codec: ColumnCodec, counts: Floats, deviation: float, after: float, atoms: Sequence[float]) -> ColumnCodec:
    """The cells of the second round by the noisy `counts` [tokens] of the first, of noise `deviation`: from the first cell to
    the last that holds more than noise, each split into parts of about PER_CELL deviations of the next round's noise,
    `after`."""
    inside = counts[len(codec.states) + len(codec.atoms) : -1]
    known = np.flatnonzero(inside > CERTAIN * deviation)
    known = known if len(known) else np.array([int(np.argmax(inside))])
    low: list[float] = []
    high: list[float] = []
    for cell in range(known[0], known[-1] + 1):
        wanted = int(np.clip(inside[cell] / (PER_CELL * after), 1, MOST_SPLITS)) if cell in known else 1
        ends = (codec.low[cell], codec.high[cell])
        if codec.domain == "int":
            first, last = int(ends[0]), int(ends[1])
            parts = min(wanted, last - first + 1)
            cuts = [first + (last + 1 - first) * i // parts for i in range(parts + 1)]
            low += cuts[:-1]
            high += [c - 1 for c in cuts[1:]]
        else:
            edges = np.linspace(*ends, wanted + 1)
            low += edges[:-1].tolist()
            high += edges[1:].tolist()
    return with_cells(codec, _array(low, codec), _array(high, codec), atoms)


def _array(values: Sequence[float], codec: ColumnCodec) -> Ends:
    return np.array(values, np.int64 if codec.domain == "int" else np.float64)


def finished(codec: ColumnCodec, counts: Floats, deviation: float, people: int) -> tuple[ColumnCodec, Floats]:
    """The codec to be used and the share of each value of its token, from the noisy `counts` [tokens] of the second round.

    Neighbouring cells are joined until they hold more than noise (and `people`); what lies beyond the outer ones becomes them.
    A state that noise hides is left out."""
    least = max(SIGNIFICANT * deviation, float(people))
    at = len(codec.states)
    kept = [i for i in range(at) if counts[i] >= least]
    states = tuple(codec.states[i] for i in kept)
    atoms, bins = counts[at : at + len(codec.atoms)], counts[at + len(codec.atoms) : -1]
    mass = max(least, np.maximum(bins, 0.0).sum() / MOST_BINS)
    low, high, rows = [], [], list[float]()
    start, held = 0, 0.0
    for cell, count in enumerate(bins):
        if held < deviation and count < deviation:  # an empty stretch: nothing is drawn there
            start, held = cell + 1, 0.0
            continue
        held += count
        if held >= mass:
            low.append(codec.low[start])
            high.append(codec.high[cell])
            rows.append(held)
            start, held = cell + 1, 0.0
    if held > 0 and rows:  # the rest joins its neighbour
        if start < len(bins) and held >= deviation:
            high[-1] = codec.high[len(bins) - 1]
        rows[-1] += held
    if not rows and not len(codec.atoms):
        low, high, rows = [codec.low[0]], [codec.high[-1]], [max(1.0, bins.sum())]
    own = with_cells(replace(codec, states=states), _array(low, codec), _array(high, codec), codec.atoms)
    found = np.maximum(np.array([*(counts[i] for i in kept), *atoms, *rows, 0.0]), 0.0)
    return replace(own, coarse=coarse_map(own, np.rint(found).astype(np.int64))), shares_of(found)


def category(codec: ColumnCodec, values: dict[str, float], nulls: float, rows: int, least: float) -> tuple[ColumnCodec, Floats]:
    """The codec of a category from noisy counts of the values that passed their threshold, and the shares of its values."""
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))[:WIDE]  # one token each
    states = ("null",) if codec.states and nulls >= least else ()
    found = [*(max(0.0, n) for _, n in ranked), *([nulls] if states else [])]
    own = replace(codec, values=tuple(v for v, _ in ranked), states=states)
    counts = np.array([*found, max(0.0, rows - sum(found))])
    return replace(own, coarse=coarse_map(own, np.rint(counts).astype(np.int64))), shares_of(counts)


def shares_of(counts: Floats) -> Floats:
    """Shares that sum to one, of counts that may be below zero; even where there is nothing."""
    positive = np.maximum(counts, 0.0)
    return positive / positive.sum() if positive.sum() > 0 else np.full(len(counts), 1.0 / len(counts))


def threshold(deviation: float, most: int, values: int, delta: float) -> float:
    """The noisy count from which a value is kept: one that is held by a single unit (in `most` rows at most) passes with less
    than `delta` for any of the `values` that a unit may have alone."""
    return most + deviation * NormalDist().inv_cdf(1.0 - delta / max(1, values))
