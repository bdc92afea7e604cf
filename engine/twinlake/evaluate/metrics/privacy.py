"""Does the twin repeat its train rows? Exact copies, and distances to the closest record, beside holdout rows.

Copies are counted over all rows by a native groupBy. Distances are taken for at most 5,000 twin and 5,000 holdout rows
(by hash) against every train row. A number adds the squared difference of 1 / (1 + exp(-1.702 z)), z standardized on
train (a smooth stand-in for its rank), a category or a gap on one side adds 1. These are smoke tests: a twin that
passes can still be attacked ("The DCR Delusion", arXiv 2505.01524); only differential privacy is a guarantee.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from twinlake.evaluate.counters import Floats
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed, wilson
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, as_text, at_most, row_counts, sampled, typed
from twinlake.evaluate.neighbours import Best, Cells, collected, compact, scaled, squared_distances
from twinlake.evaluate.passes import facts
from twinlake.evaluate.risk import Try, deviate

QUERIES = 5000
FEWEST_RATIOS = 20
FEWEST_QUERIES = 500
PAIRS = 1_000_000_000  # distances computed for each side: the cost stays linear in the train rows, with a small factor
QUERY_BYTES = 4_000_000
BLOCK = 1024
QUERIES_AT_ONCE = 256  # the block of distances then stays in the processor's cache
NEAR_COPY = 0.01  # the share of holdout rows that are as near to a train row as a near copy is
ALL, SAMPLE, HELD = 0, 1, 2
SAME = 1e-6
DDL = "query bigint, flag int, distance double"
OUT = pa.schema([("query", pa.int64()), ("flag", pa.int32()), ("distance", pa.float64())])


@dataclass(frozen=True)
class Copies:
    """Rows that coincide, of all rows, by side: `of_train` are equal to some train row, `in_twin` to some twin row."""

    of_train: dict[int, int]
    in_twin: dict[int, int]


def coincident(evidence: Evidence) -> Copies:
    """Rows that are equal in all modelled columns."""
    return evidence.once("coincident", _coincident)


def _coincident(evidence: Evidence) -> Copies:
    sides = [(TRAIN, evidence.real), (TWIN, evidence.synthetic)]
    sides += [(HOLDOUT, evidence.holdout)] if evidence.holdout is not None else []
    tagged = [_keys(frame, evidence).select(F.lit(side).alias("side"), "*") for side, frame in sides]
    whole = tagged[0]
    for more in tagged[1:]:
        whole = whole.unionAll(more)
    # A group is one distinct row; grouping holds missing equal to missing, as a join on 15 columns would not.
    kinds = [F.count(F.when(F.col("side") == side, 1)).alias(f"k{side}") for side, _ in sides]
    distinct = whole.groupBy(*[c for c in whole.columns if c != "side"]).agg(*kinds)
    sums = [
        F.sum(F.when(F.col(f"k{of}") > 0, F.col(f"k{side}"))).alias(f"k{of}_{side}")
        for of in (TRAIN, TWIN)
        for side, _ in sides
    ]
    found = distinct.agg(*sums).toArrow().to_pylist()[0]
    told = [{side: int(found[f"k{of}_{side}"] or 0) for side, _ in sides} for of in (TRAIN, TWIN)]
    return Copies(told[0], told[1])


def exact_copies(evidence: Evidence) -> Result:
    """The share of twin rows equal in all modelled columns to some train row, beside the holdout's own share."""
    rows = row_counts(evidence)
    if not evidence.columns:
        return not_computed("no column is modelled")
    if not rows[TRAIN] or not rows[TWIN]:
        return not_computed("one of the tables has no rows")
    hits = coincident(evidence).of_train
    copied, held = hits[TWIN], hits.get(HOLDOUT, 0)
    reference = held / rows[HOLDOUT] if rows.get(HOLDOUT) else None
    detail: dict[str, Any] = {
        "copies": copied,
        "n": rows[TWIN],
        "holdout_copies": held,
        "n_reference": rows.get(HOLDOUT),
    }
    if reference is not None:
        detail["reference_interval"] = list(wilson(held, rows[HOLDOUT]))
        detail["excess"] = excess(copied, rows[TWIN], held, rows[HOLDOUT])
    return Result(copied / rows[TWIN], wilson(copied, rows[TWIN]), reference, None, detail)


def excess(hits: int, n: int, control_hits: int, control_n: int) -> list[float]:
    """The share beyond the control, and its interval."""
    risk = Try("", hits, n, control_hits, control_n).risk(deviate())
    return [risk.value, risk.low, risk.high]


def near_copies(evidence: Evidence) -> Result:
    """The share of twin rows as near to a train row as the nearest 1% of half the holdout; beside it that of the other half."""
    found = nearest(evidence)
    if isinstance(found, str):
        return not_computed(found)
    half = len(found.holdout[ALL]) // 2
    if not half:
        return not_computed("there is no holdout to compare with")
    bound = float(np.quantile(found.holdout[ALL][half:], NEAR_COPY, method="inverted_cdf"))
    hits, held = int((found.twin[ALL] <= bound).sum()), int((found.holdout[ALL][:half] <= bound).sum())
    n = found.twin.shape[1]
    detail = {"n": n, "n_reference": half, "bound": bound, "reference_interval": list(wilson(held, half))}
    return Result(hits / n, wilson(hits, n), held / half, None, {**detail, "excess": excess(hits, n, held, half)})


def neighbour_ratio(evidence: Evidence) -> Result:
    """Distance to the closest over that to the second closest real row, the least 5% of twin rows: small where a twin row sits
    on one real row. Of a train sample of the holdout's size; the reference is that of the holdout."""
    found = nearest(evidence)
    if isinstance(found, str):
        return not_computed(found)
    if not found.rows.get(HOLDOUT):
        return not_computed("there is no holdout to compare with")
    with np.errstate(divide="ignore", invalid="ignore"):
        # Two real rows at distance 0: none of them stands out.
        ratio = np.where(found.second == 0, 1.0, found.twin / found.second)
    known = [np.sort(ratio[flag][np.isfinite(ratio[flag])]) for flag in (SAMPLE, HELD)]
    if min(len(x) for x in known) < FEWEST_RATIOS:
        return not_computed("too few rows have two real rows to compare")
    n = len(known[0])
    places = [int(np.clip(round(n * 0.05 + s * 1.96 * (n * 0.05 * 0.95) ** 0.5), 0, n - 1)) for s in (-1, 1)]
    low, high = (float(known[0][i]) for i in places)
    value, reference = (float(np.quantile(x, 0.05)) for x in known)
    return Result(value, (min(low, value), max(high, value)), reference, None, {"n": n, "n_train_sample": found.sample})


def _keys(frame: Any, evidence: Evidence) -> Any:
    """The modelled columns as x0..; -0.0 is 0.0, a type that can't be compared is text."""
    from pyspark.sql import types as t

    fields = {f.name: i for i, f in enumerate(frame.schema.fields)}
    plain = frame.toDF(*[f"c{i}" for i in range(len(frame.columns))])
    cells = []
    for j, name in enumerate(evidence.columns):
        i = fields[name]
        kind, column = frame.schema.fields[i].dataType, F.col(f"c{i}")
        if isinstance(kind, (t.FloatType, t.DoubleType)):
            column = column + F.lit(0.0).cast(kind)
        elif isinstance(kind, (t.MapType, t.ArrayType, t.StructType, t.VariantType, t.BinaryType)):
            column = as_text(column, kind)
        cells.append(column.alias(f"x{j}"))
    return plain.select(*cells)


@dataclass(frozen=True)
class Nearest:
    """Distances of the queries. Rows: all of train, a train sample of the holdout's size, the holdout. `second` of the twin's
    queries: the distance to the second closest."""

    twin: Floats
    holdout: Floats
    second: Floats
    rows: dict[int, int]
    sample: int


def nearest(evidence: Evidence) -> Nearest | str:
    """The distances of twin and holdout queries to their closest real rows, or why there are none."""
    return evidence.once("nearest", _nearest)


def _nearest(evidence: Evidence) -> Nearest | str:
    rows = row_counts(evidence)
    width = len(evidence.numeric()) + len(evidence.categorical())
    if not width:
        return "no column is a number or a category"
    if not rows[TRAIN] or not rows[TWIN]:
        return "one of the tables has no rows"
    known = facts(evidence)
    shift, scale = known.shift(), known.scale()
    affordable = max(FEWEST_QUERIES, PAIRS // rows[TRAIN])
    most = min(QUERIES, affordable, max(100, QUERY_BYTES // (8 * width)))
    asked = [(TWIN, evidence.synthetic)]
    if evidence.holdout is not None and rows.get(HOLDOUT):
        asked.append((HOLDOUT, evidence.holdout))
    parts = []
    for side, frame in asked:
        some = at_most(compact(typed(frame, evidence), evidence), most, rows[side], evidence.seed)
        parts.append(collected(some, shift, scale, len(evidence.categorical())))
    counts = [len(p) for p in parts]
    if not counts[0]:
        return "the sample of twin rows came out empty"
    queries = Cells(np.concatenate([p.numbers for p in parts]), np.concatenate([p.codes for p in parts]))
    real = compact(typed(evidence.real, evidence), evidence)
    share = min(1.0, rows.get(HOLDOUT, 0) / rows[TRAIN])
    searched = real.select(F.lit(ALL).alias("flag"), "*")
    if evidence.holdout is not None and rows.get(HOLDOUT):
        held = compact(typed(evidence.holdout, evidence), evidence)
        searched = searched.unionAll(sampled(real, share, evidence.seed).select(F.lit(SAMPLE).alias("flag"), "*"))
        searched = searched.unionAll(held.select(F.lit(HELD).alias("flag"), "*"))
    task = partial(nearest_task, queries, shift, scale)
    two = F.array_sort(F.collect_list("distance"))
    found = (
        searched.mapInArrow(task, DDL)
        .groupBy("query", "flag")
        .agg(F.get(two, 0).alias("first"), F.get(two, 1).alias("second"))
        .select("query", "flag", "first", F.coalesce("second", F.lit(float("nan"))).alias("second"))
        .toArrow()
    )
    out = np.full((2, 3, len(queries)), np.nan)
    for place, name in enumerate(("first", "second")):
        out[place, found.column("flag").to_numpy(), found.column("query").to_numpy()] = np.sqrt(found.column(name).to_numpy())
    out[out < SAME] = 0.0
    first, second = out
    return Nearest(first[:, : counts[0]], first[:, counts[0] :], second[:, : counts[0]], rows, round(share * rows[TRAIN]))


def nearest_task(queries: Cells, shift: Floats, scale: Floats, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For each flag in the partition the two least squared distances of every query."""
    least: dict[int, Best] = {}
    for whole in batches:
        flags = whole.column("flag").to_numpy(zero_copy_only=False)
        for flag in np.unique(flags):
            batch = whole if (flags == flag).all() else whole.filter(pa.array(flags == flag))
            rows = scaled(batch, shift, scale, queries.codes.shape[1])
            best = least.setdefault(int(flag), Best(len(queries), 2))
            for start in range(0, len(rows), BLOCK):
                block = rows.cut(slice(start, start + BLOCK))
                for first in range(0, len(queries), QUERIES_AT_ONCE):
                    at = slice(first, min(first + QUERIES_AT_ONCE, len(queries)))
                    best.add(at, squared_distances(queries.cut(at), block), np.zeros(len(block), np.int64))
    for flag, best in least.items():
        query, place = np.nonzero(np.isfinite(best.distance))
        columns = [query, np.full(len(query), flag), best.distance[query, place]]
        yield pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns, OUT, strict=True)], schema=OUT)


def closest_record(evidence: Evidence) -> Result:
    """The median distance of twin rows to their closest train row; the reference is that of holdout rows."""
    found = nearest(evidence)
    if isinstance(found, str):
        return not_computed(found)
    twin, held = found.twin[ALL], found.holdout[ALL]
    n = len(twin)
    half = 0.98 * n**0.5
    ordered = np.sort(twin)
    interval = (float(ordered[max(0, int(n / 2 - half))]), float(ordered[min(n - 1, int(np.ceil(n / 2 + half)))]))
    reference = float(np.median(held)) if len(held) else None
    value = float(np.median(twin))
    detail = {
        "p5": float(np.quantile(twin, 0.05)),
        "p5_reference": float(np.quantile(held, 0.05)) if len(held) else None,
        "ratio": value / reference if reference else None,
        "zero": float((twin == 0).mean()),
        "zero_reference": float((held == 0).mean()) if len(held) else None,
        "n": n,
        "n_reference": len(held),
    }
    return Result(value, interval, reference, None, detail)


def _share(found: Nearest, flag: int) -> tuple[float, int]:
    a, b = found.twin[flag], found.twin[HELD]
    ok = np.isfinite(a) & np.isfinite(b)
    return float((a < b)[ok].sum() + 0.5 * (a == b)[ok].sum()), int(ok.sum())


def closer_to_train(evidence: Evidence) -> Result:
    """The share of twin rows nearer to a train sample of the holdout's size than to the holdout (ties half).

    0.5 is ideal.
    """
    found = nearest(evidence)
    if isinstance(found, str):
        return not_computed(found)
    if not found.rows.get(HOLDOUT):
        return not_computed("there is no holdout to compare with")
    hits, n = _share(found, SAMPLE)
    if not n:
        return not_computed("the sample of train rows came out empty")
    return Result(hits / n, wilson(hits, n), 0.5, None, {"n": n, "n_train_sample": found.sample})


def nearest_in_train_lift(evidence: Evidence) -> Result:
    """The share of twin rows whose nearest real row is a train row, over what chance expects.

    Chance expects n_train / (n_train + n_holdout). 1 is ideal; 1 / expected means that every row sits on a train row.
    """
    found = nearest(evidence)
    if isinstance(found, str):
        return not_computed(found)
    if not found.rows.get(HOLDOUT):
        return not_computed("there is no holdout to compare with")
    hits, n = _share(found, ALL)
    expected = found.rows[TRAIN] / (found.rows[TRAIN] + found.rows[HOLDOUT])
    low, high = wilson(hits, n)
    detail = {"share": hits / n, "expected": expected, "n": n}
    return Result(hits / n / expected, (low / expected, high / expected), 1.0, None, detail)


PRIVACY = {
    "exact_copies": Metric("exact_copies", "Exact copies of train rows", "privacy", "lower", exact_copies),
    "near_copies": Metric("near_copies", "Near copies of train rows", "privacy", "lower", near_copies),
    "closest_record": Metric("closest_record", "Distance to the closest train row", "privacy", "higher", closest_record),
    "closer_to_train": Metric("closer_to_train", "Nearer to train than to holdout", "privacy", "lower", closer_to_train),
    "nearest_in_train_lift": Metric(
        "nearest_in_train_lift", "Nearest real row is a train row (lift)", "privacy", "lower", nearest_in_train_lift
    ),
    "neighbour_ratio": Metric("neighbour_ratio", "Closest over second closest row", "privacy", "higher", neighbour_ratio),
}
