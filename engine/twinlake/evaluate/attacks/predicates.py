"""Singling out: predicates that hold for one row of the twin, and for how many real rows each of them holds.

Univariate: a column equals a twin row's value, or lies at an end of the twin's values. Multivariate: several columns of a twin
row at once, categories by their value, numbers on the row's side of the median (Giomi et al., section 5.1). All rows of all
tables are counted in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.attacks.targets import Targets, targets
from twinlake.evaluate.counters import Floats, Ints, summed
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, TWIN_AT, all_sides, at_most, row_counts, typed
from twinlake.evaluate.neighbours import Cells, collected, compact, scaled
from twinlake.evaluate.passes import facts

EACH = 1000  # candidates of either kind, and twin rows that they are taken from
ROUNDS = 5  # candidates drawn from each of those rows, at most
FEWEST_COLUMNS, MOST_COLUMNS = 3, 8  # of a multivariate predicate


@dataclass(frozen=True)
class Predicate:
    """Holds for a row where every column does: a number within [low, high] (a gap where both are NaN), a category of a hash."""

    numbers: tuple[tuple[int, float, float], ...]
    codes: tuple[tuple[int, int], ...]

    def holds(self, cells: Cells) -> npt.NDArray[np.bool_]:
        """Where it holds [n]."""
        out = np.ones(len(cells), bool)
        for c, low, high in self.numbers:
            x = cells.numbers[:, c]
            out &= np.isnan(x) if np.isnan(low) else (x >= np.float32(low)) & (x <= np.float32(high))
        for c, code in self.codes:
            out &= cells.codes[:, c] == code
        return out


@dataclass(frozen=True)
class Singled:
    """Of each predicate that one twin row keeps, by kind: how many train and holdout rows keep it, [n, 2]."""

    univariate: Ints
    multivariate: Ints
    rows: tuple[int, int]


def singled(evidence: Evidence) -> Singled | str:
    """The counts, or why there are none."""
    return evidence.once("singled", _singled)


def _singled(evidence: Evidence) -> Singled | str:
    asked = targets(evidence)
    if isinstance(asked, str):
        return asked
    rows = row_counts(evidence)
    found, kinds = candidates(evidence, asked)
    task = partial(_count, found, asked)
    sides = all_sides(evidence, lambda frame, e: compact(typed(frame, e), e))
    held = summed(sides.where(f"side <> {TWIN_AT}"), task, {"rows": (len(found),)})
    counts = np.stack([held[side]["rows"] for side in (TRAIN, HOLDOUT, TWIN)], axis=1).astype(np.int64)
    unique = counts[:, 2] == 1
    parts = [counts[unique & (kinds == kind), :2] for kind in (0, 1)]
    return Singled(parts[0], parts[1], (rows[TRAIN], rows[HOLDOUT]))


def _count(found: list[Predicate], asked: Targets, batch: pa.RecordBatch, side: int) -> Mapping[str, Floats]:
    cells = scaled(batch, asked.shift, asked.scale, asked.cells.codes.shape[1])
    return {"rows": np.array([one.holds(cells).sum() for one in found], dtype=np.float64)}


def candidates(evidence: Evidence, asked: Targets) -> tuple[list[Predicate], Ints]:
    """Predicates that hold for some twin row, and the kind of each: 0 univariate, 1 multivariate."""
    rows, known, texts = row_counts(evidence), facts(evidence), asked.cells.codes.shape[1]
    twin = compact(typed(evidence.synthetic, evidence), evidence)
    cells = collected(at_most(twin, EACH, rows[TWIN], derive(evidence.seed, "singled") >> 1), asked.shift, asked.scale, texts)
    ends = (np.stack([known.low[TWIN], known.high[TWIN]]) - asked.shift) / asked.scale
    ends = 1.0 / (1.0 + np.exp(-1.702 * np.clip(ends, -30, 30)))
    return drawn(cells, ends, derive(evidence.seed, "predicates"))


def drawn(cells: Cells, ends: Floats, seed: int) -> tuple[list[Predicate], Ints]:
    """Predicates of the twin rows `cells`, whose numbers have the least and greatest values `ends` [2, N]."""
    draw, width, numbers = generator(seed), cells.width, cells.numbers.shape[1]
    order = np.lexsort([*np.nan_to_num(cells.numbers, nan=-1.0).T, *cells.codes.T])
    cells = cells.cut(order)
    with np.errstate(all="ignore"):
        middle = np.array([np.median(x[~np.isnan(x)]) if (~np.isnan(x)).any() else np.nan for x in cells.numbers.T])
    found: dict[Predicate, int] = {}
    for c in range(numbers):
        if not np.isnan(ends[0, c]):
            found.setdefault(Predicate(((c, -np.inf, float(np.float32(ends[0, c]))),), ()), 0)
            found.setdefault(Predicate(((c, float(np.float32(ends[1, c])), np.inf),), ()), 0)
    least = min(FEWEST_COLUMNS, width)
    for kind in (0, 1) if width > 1 else (0,):
        for row in [int(x) for _ in range(ROUNDS) for x in draw.permutation(len(cells))]:
            if len(found) >= EACH * (kind + 1):
                break
            some = 1 if kind == 0 else int(draw.integers(least, min(MOST_COLUMNS, width) + 1))
            one = _of(cells, row, draw.permutation(width)[:some], middle if kind else None)
            # What holds for several rows of the sample does so for several of the twin.
            if one not in found and one.holds(cells).sum() == 1:
                found[one] = kind
    return list(found), np.array(list(found.values()), np.int64)


def _of(cells: Cells, row: int, columns: Ints, middle: Floats | None) -> Predicate:
    """What a row keeps in `columns`; numbers on their side of the `middle`, or exactly where there is none."""
    numbers, codes = [], []
    for c in sorted(int(x) for x in columns):
        if c >= cells.numbers.shape[1]:
            at = c - cells.numbers.shape[1]
            codes.append((at, int(cells.codes[row, at])))
            continue
        x = float(cells.numbers[row, c])
        if middle is None or np.isnan(x):
            numbers.append((c, x, x))
        else:
            numbers.append((c, x, np.inf) if x >= middle[c] else (c, -np.inf, x))
    return Predicate(tuple(numbers), tuple(codes))
