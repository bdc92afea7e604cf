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
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import functions as F

from twinlake.evaluate.counters import Floats, doubles
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed, wilson
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, as_text, at_most, row_counts, sampled, typed
from twinlake.evaluate.passes import facts

QUERIES = 5000
FEWEST_QUERIES = 500
PAIRS = 1_000_000_000  # distances computed for each side: the cost stays linear in the train rows, with a small factor
QUERY_BYTES = 4_000_000
BLOCK = 1024
ALL, SAMPLE, HELD = 0, 1, 2
SAME = 1e-6
DDL = "query bigint, flag int, distance double"
OUT = pa.schema([("query", pa.int64()), ("flag", pa.int32()), ("distance", pa.float64())])


def exact_copies(evidence: Evidence) -> Result:
    """The share of twin rows equal in all modelled columns to some train row, beside the holdout's own share."""
    rows = row_counts(evidence)
    if not evidence.columns:
        return not_computed("no column is modelled")
    if not rows[TRAIN] or not rows[TWIN]:
        return not_computed("one of the tables has no rows")
    sides = [(TRAIN, evidence.real), (TWIN, evidence.synthetic)]
    sides += [(HOLDOUT, evidence.holdout)] if evidence.holdout is not None else []
    tagged = [_keys(frame, evidence).select(F.lit(side).alias("side"), "*") for side, frame in sides]
    whole = tagged[0]
    for more in tagged[1:]:
        whole = whole.unionAll(more)
    # A group is one distinct row; grouping holds missing equal to missing, as a join on 15 columns would not.
    kinds = [F.count(F.when(F.col("side") == side, 1)).alias(f"k{side}") for side, _ in sides]
    distinct = whole.groupBy(*[c for c in whole.columns if c != "side"]).agg(*kinds).where(F.col(f"k{TRAIN}") > 0)
    found = distinct.agg(*[F.sum(f"k{side}").alias(f"k{side}") for side, _ in sides]).toArrow().to_pylist()[0]
    hits = {side: int(found[f"k{side}"] or 0) for side, _ in sides}
    copied, held = hits.get(TWIN, 0), hits.get(HOLDOUT, 0)
    reference = held / rows[HOLDOUT] if rows.get(HOLDOUT) else None
    detail: dict[str, Any] = {
        "copies": copied,
        "n": rows[TWIN],
        "holdout_copies": held,
        "n_reference": rows.get(HOLDOUT),
    }
    if reference is not None:
        detail["reference_interval"] = list(wilson(held, rows[HOLDOUT]))
    return Result(copied / rows[TWIN], wilson(copied, rows[TWIN]), reference, None, detail)


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
class Queries:
    """The rows whose nearest real rows are wanted: scaled numbers (NaN when missing), hashes of categories."""

    numbers: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Nearest:
    """Distances of the queries. Rows: all of train, a train sample of the holdout's size, the holdout."""

    twin: Floats
    holdout: Floats
    rows: dict[int, int]
    sample: int


def nearest(evidence: Evidence) -> Nearest | str:
    """The distances of twin and holdout queries to their closest real rows, or why there are none."""
    return evidence.once("nearest", _nearest)


def _compact(frame: Any, evidence: Evidence) -> Any:
    numbers = [F.col(f"n{i}") for i in range(len(evidence.numeric()))]
    codes = [F.hash(F.coalesce(F.col(f"s{i}"), F.lit("\x00"))).alias(f"h{i}") for i in range(len(evidence.categorical()))]
    return frame.select(*numbers, *codes)


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
        some = at_most(_compact(typed(frame, evidence), evidence), most, rows[side], evidence.seed)
        # Rows of a stated, bounded size: 5,000 each at most, sent back to the tasks as the small side.
        table = some.toArrow().combine_chunks()
        batches = table.to_batches()
        parts.append([_scaled(b, shift, scale, len(evidence.categorical())) for b in batches])
    counts = [sum(len(q.codes) for q in p) for p in parts]
    flat = [q for p in parts for q in p]
    if not counts[0]:
        return "the sample of twin rows came out empty"
    queries = Queries(np.concatenate([q.numbers for q in flat]), np.concatenate([q.codes for q in flat]))
    real = _compact(typed(evidence.real, evidence), evidence)
    share = min(1.0, rows.get(HOLDOUT, 0) / rows[TRAIN])
    searched = real.select(F.lit(ALL).alias("flag"), "*")
    if evidence.holdout is not None and rows.get(HOLDOUT):
        held = _compact(typed(evidence.holdout, evidence), evidence)
        searched = searched.unionAll(sampled(real, share, evidence.seed).select(F.lit(SAMPLE).alias("flag"), "*"))
        searched = searched.unionAll(held.select(F.lit(HELD).alias("flag"), "*"))
    task = partial(nearest_task, queries, shift, scale)
    found = searched.mapInArrow(task, DDL).groupBy("query", "flag").agg(F.min("distance").alias("distance")).toArrow()
    out = np.full((3, len(queries.codes)), np.nan)
    where = found.column("flag").to_numpy(), found.column("query").to_numpy()
    out[where] = np.sqrt(found.column("distance").to_numpy())
    out[out < SAME] = 0.0
    return Nearest(out[:, : counts[0]], out[:, counts[0] :], rows, round(share * rows[TRAIN]))


def _scaled(batch: pa.RecordBatch, shift: Floats, scale: Floats, texts: int) -> Queries:
    z = (doubles(batch, [f"n{i}" for i in range(len(shift))]) - shift) / scale
    codes = [batch.column(f"h{i}").to_numpy(zero_copy_only=False) for i in range(texts)]
    hashed = np.column_stack(codes) if codes else np.zeros((len(z), 0))
    rank = 1.0 / (1.0 + np.exp(-1.702 * np.clip(z, -30, 30)))
    return Queries(rank.astype(np.float32), hashed.astype(np.int32))


def squared_distances(a: Queries, b: Queries) -> npt.NDArray[np.float32]:
    """The squared distance of each row of `a` to each row of `b`."""
    out = np.zeros((len(a.codes), len(b.codes)), dtype=np.float32)
    for x, y in zip(a.numbers.T, b.numbers.T, strict=True):
        gap_x, gap_y = np.isnan(x), np.isnan(y)
        step = np.where(gap_x, np.float32(0.5), x)[:, None] - np.where(gap_y, np.float32(0.5), y)[None, :]
        out += np.square(step, out=step)
        if gap_x.any() or gap_y.any():
            out += gap_x[:, None] != gap_y[None, :]
    for i, j in zip(a.codes.T, b.codes.T, strict=True):
        out += i[:, None] != j[None, :]
    return out


def nearest_task(queries: Queries, shift: Floats, scale: Floats, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For each flag in the partition the least squared distance of every query."""
    least: dict[int, npt.NDArray[np.float32]] = {}
    for whole in batches:
        flags = whole.column("flag").to_numpy(zero_copy_only=False)
        for flag in np.unique(flags):
            batch = whole if (flags == flag).all() else whole.filter(pa.array(flags == flag))
            rows = _scaled(batch, shift, scale, queries.codes.shape[1])
            best = least.setdefault(int(flag), np.full(len(queries.codes), np.inf, dtype=np.float32))
            for start in range(0, len(rows.codes), BLOCK):
                cut = slice(start, start + BLOCK)
                block = Queries(rows.numbers[cut], rows.codes[cut])
                np.minimum(best, _block_min(queries, block), out=best)
    for flag, best in least.items():
        columns = [
            pa.array(np.arange(len(best)), pa.int64()),
            pa.array(np.full(len(best), flag), pa.int32()),
            pa.array(best.astype(np.float64)),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=OUT)


def _block_min(queries: Queries, block: Queries) -> npt.NDArray[np.float32]:
    # 512 queries at a time: the block of distances then stays in the processor's cache.
    parts = []
    for start in range(0, len(queries.codes), 512):
        cut = slice(start, start + 512)
        parts.append(squared_distances(Queries(queries.numbers[cut], queries.codes[cut]), block).min(1))
    return np.concatenate(parts)


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
    "closest_record": Metric("closest_record", "Distance to the closest train row", "privacy", "higher", closest_record),
    "closer_to_train": Metric("closer_to_train", "Nearer to train than to holdout", "privacy", "lower", closer_to_train),
    "nearest_in_train_lift": Metric(
        "nearest_in_train_lift", "Nearest real row is a train row (lift)", "privacy", "lower", nearest_in_train_lift
    ),
}
