"""The twin rows nearest to each target: by all columns, by two halves of them, and by all but a secret one.

The targets are the small side and travel with the tasks; every task keeps the nearest rows of its partition, and Spark merges
them. The whole twin is searched. Rows at equal distance are told apart by a hash of theirs, so that partitions do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import functions as F

from twinlake.evaluate.attacks.targets import Targets, targets
from twinlake.evaluate.counters import Floats, Ints
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import TWIN, row_counts, typed
from twinlake.evaluate.neighbours import Best, Bools, Cells, Distances, compact, scaled, terms

SECRETS = 8  # columns guessed where none are named
MOST_SECRETS = 30
NEIGHBOURS = 10  # twin rows that link the two halves of a target, in twins of 1,000 rows or more
ALL, LEFT, RIGHT, FIRST_SECRET = 0, 1, 2, 3
ROWS, BLOCK = 256, 1024  # targets and twin rows at once: a block of distances then stays in the processor's cache
TIE = np.float32(1e-6)  # the most by which a hash moves a squared distance
DDL = "target int, what int, distance float, row bigint, value double"
OUT = pa.schema(
    [("target", pa.int32()), ("what", pa.int32()), ("distance", pa.float32()), ("row", pa.int64()), ("value", pa.float64())]
)


@dataclass(frozen=True)
class Halves:
    """What is searched for: `left` [columns], whether a column is in the left half, and the places of the secret columns."""

    left: tuple[bool, ...]
    secrets: tuple[int, ...]
    neighbours: int


@dataclass(frozen=True)
class Nearby:
    """Of each target [n]: the distance of the nearest twin row; the rows [n, k] nearest by each half (-1: none); the value that
    the nearest row by all other columns has in each secret column [n, S]."""

    asked: Targets
    halves: Halves
    distance: Floats
    left: Ints
    right: Ints
    guesses: Floats


def nearby(evidence: Evidence) -> Nearby | str:
    """What the search found, or why there was none."""
    return evidence.once("nearby", _nearby)


def _nearby(evidence: Evidence) -> Nearby | str:
    asked = targets(evidence)
    if isinstance(asked, str):
        return asked
    halves = _halves(evidence, asked)
    twin = compact(typed(evidence.synthetic, evidence), evidence)
    task = partial(search_task, asked, halves)
    best = F.array_sort(F.collect_list(F.struct("distance", "row", "value")))
    found = (
        twin.withColumn("row", F.xxhash64(*twin.columns))
        .mapInArrow(task, DDL)
        .groupBy("target", "what")
        .agg(F.slice(best, 1, halves.neighbours).alias("best"))
        .select("target", "what", F.posexplode("best").alias("place", "one"))
        .select("target", "what", "place", "one.*")
        .toArrow()
    )
    what, place, target = (found.column(c).to_numpy() for c in ("what", "place", "target"))
    rows, values, distances = (found.column(c).to_numpy() for c in ("row", "value", "distance"))
    n = len(asked.cells)
    links = np.full((2, n, halves.neighbours), -1, np.int64)
    links[1] = -2  # two gaps are no link
    linked = (what == LEFT) | (what == RIGHT)
    links[what[linked] - LEFT, target[linked], place[linked]] = rows[linked]
    first = place == 0
    guesses = np.full((n, len(halves.secrets)), np.nan)
    guessed = first & (what >= FIRST_SECRET)
    guesses[target[guessed], what[guessed] - FIRST_SECRET] = values[guessed]
    distance = np.full(n, np.nan)
    nearest = first & (what == ALL)
    distance[target[nearest]] = np.sqrt(np.where(distances[nearest] <= 2 * TIE, 0.0, distances[nearest]))
    return Nearby(asked, halves, distance, links[0], links[1], guesses)


def _halves(evidence: Evidence, asked: Targets) -> Halves:
    """Halves that tell people apart about equally well: columns by falling entropy, each to the half that has less of it."""
    bits = [_entropy(asked.values(c)) for c in range(len(asked.names))]
    sums, left = [0.0, 0.0], [True] * len(bits)
    for c in sorted(range(len(bits)), key=lambda c: (-bits[c], c)):
        left[c] = sums[0] <= sums[1]
        sums[0 if left[c] else 1] += bits[c]
    place = {name: c for c, name in enumerate(asked.names)}
    if evidence.secrets:
        secrets = [place[c] for c in evidence.secrets if c in place][:MOST_SECRETS]
    else:
        wanted = [place[c] for c in (evidence.target, *evidence.protected) if c in place]
        wanted += [place[c] for c in evidence.columns if c in place and bits[place[c]] > 0]
        secrets = list(dict.fromkeys(wanted))[:SECRETS]
    secrets = secrets if len(bits) > 1 else []
    few = max(1, row_counts(evidence)[TWIN] // 100)
    return Halves(tuple(left), tuple(secrets), min(NEIGHBOURS, few))


def _entropy(values: Floats) -> float:
    """Bits that a value of the column tells, by its frequencies in the sample."""
    share = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(share * np.log2(share)).sum())


def _told(best: Best, what: int) -> pa.RecordBatch:
    """What was found, as rows of OUT."""
    target, place = np.nonzero(np.isfinite(best.distance))
    columns = [target, np.full(len(target), what), *(x[target, place] for x in (best.distance, best.row, best.value))]
    return pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns, OUT, strict=True)], schema=OUT)


def search_task(asked: Targets, halves: Halves, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For every target the nearest rows of a partition, one batch for each thing searched for."""
    n, texts = len(asked.cells), asked.cells.codes.shape[1]
    sizes = [1, halves.neighbours, halves.neighbours, *(1 for _ in halves.secrets)]
    best = [Best(n, k) for k in sizes]
    for batch in batches:
        rows = batch.column("row").to_numpy(zero_copy_only=False)
        cells = scaled(batch, asked.shift, asked.scale, texts)
        for start in range(0, len(rows), BLOCK):
            block, own = cells.cut(slice(start, start + BLOCK)), rows[start : start + BLOCK]
            for first in range(0, n, ROWS):
                _search(best, asked.cells, slice(first, min(first + ROWS, n)), block, own, halves)
    for what, one in enumerate(best):
        yield _told(one, what)


def _search(best: list[Best], all_targets: Cells, at: slice, block: Cells, rows: Ints, halves: Halves) -> None:
    # A hash of 20 bits in place of the order of rows that are equally near.
    tie = ((rows >> 40) & 0xFFFFF).astype(np.float32) * (TIE / np.float32(1 << 20))
    some = all_targets.cut(at)
    left = np.repeat(tie[None, :], len(some), axis=0)
    right = left.copy()
    hidden: dict[int, Distances | Bools] = {}
    for c, term in enumerate(terms(some, block)):
        half = left if halves.left[c] else right
        half += term
        if c in halves.secrets:
            hidden[c] = term
    best[LEFT].add(at, left, rows)
    best[RIGHT].add(at, right, rows)
    whole = left
    whole += right
    best[ALL].add(at, whole, rows)
    numbers = block.numbers.shape[1]
    for place, c in enumerate(halves.secrets):
        values = block.numbers[:, c] if c < numbers else block.codes[:, c - numbers]
        best[FIRST_SECRET + place].add(at, whole - hidden[c], rows, values.astype(np.float64))


def told_guesses(found: Nearby) -> npt.NDArray[np.bool_]:
    """Whose secret the nearest row tells [n, S]: a category, or a number to 0.02 of the smooth rank."""
    columns = [found.asked.same(c, found.guesses[:, s]) for s, c in enumerate(found.halves.secrets)]
    return np.column_stack(columns) if columns else np.zeros((len(found.distance), 0), bool)
