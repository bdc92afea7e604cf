"""Is every row of the twin one that the table could hold? Checks that pass or fail, over all rows.

What a value may be is what the codec publishes of the train rows, with nothing that fewer than k people have: so train rows
themselves can fail, by an extreme or a rare value. No check looks at how often a value occurs; other metrics do.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.evaluate.counters import Floats, summed
from twinlake.evaluate.evidence import Evidence, Metric, Promised, Result, not_computed
from twinlake.evaluate.frames import TWIN, row_counts
from twinlake.generate.rules import ROW, RULES, Rule, broken
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.numbers import in_state, to_domain
from twinlake.models.times import whole
from twinlake.profile.partials import as_text
from twinlake.tables.names import quoted

BOUND = ("number", "digits")
LISTED = ("category", "constant")
Bools = np.ndarray[Any, np.dtype[np.bool_]]


def validity(evidence: Evidence) -> Result:
    """The share of checks that all twin rows pass; `checks` of the detail: each one, and how many rows fail it."""
    promised, rows = evidence.promised, row_counts(evidence)[TWIN]
    if promised is None:
        return not_computed("what the columns may hold was not given")
    if not rows:
        return not_computed("the twin has no rows")
    failing = {**_types(promised, rows), **_values(promised), **_rules(promised, evidence.k)}
    checks = [{"check": kind, "of": name, "passed": not n, "rows": n} for (kind, name), n in failing.items()]
    if not checks:
        return not_computed("no column can be checked")
    share = sum(not n for n in failing.values()) / len(checks)
    return Result(share, None, None, None, {"n": rows, "checks": checks})


Failing = dict[tuple[str, str], int]


def _types(promised: Promised, rows: int) -> Failing:
    names = dict.fromkeys((*promised.real.columns, *promised.mistyped))
    return {("type", name): rows if name in promised.mistyped else 0 for name in names}


def _values(promised: Promised) -> Failing:
    """Values that the codec does not know, and nulls where the train rows have none."""
    from pyspark.sql import functions as F

    codec = promised.codec
    cells = [
        F.col(quoted(c.name)) if _is_looked_at(codec, i) else F.lit(None).cast("string") for i, c in enumerate(codec.columns)
    ]
    frame = promised.twin.select(F.lit(TWIN).alias("side"), *[cell.alias(f"c{i}") for i, cell in enumerate(cells)])
    width = len(codec.columns)
    found = summed(frame, partial(validity_step, codec), {"value": (width,), "null": (width,)})[TWIN]
    out: Failing = {}
    for i, column in enumerate(codec.columns):
        if not _is_looked_at(codec, i):
            continue
        if column.method in (*BOUND, *LISTED):
            out["range" if column.method in BOUND else "category", column.name] = int(found["value"][i])
        if i not in codec.gates:  # the nulls of a leaf depend on what it lies in
            out["null", column.name] = int(found["null"][i])
    return out


def _is_looked_at(codec: Codec, at: int) -> bool:
    """A column of nulls may be of a type that Arrow has not; whether a struct is there its leaves tell."""
    return codec.columns[at].method != "null" and not (codec.leaves and codec.leaves[at].kind == "present")


def validity_step(codec: Codec, batch: pa.RecordBatch, side: int) -> Mapping[str, Floats]:
    """How many cells of each column hold a value that the codec does not know, or a null that it does not."""
    arrays = batch.columns[1:]
    value, null = np.zeros(len(arrays)), np.zeros(len(arrays))
    for i, (column, array) in enumerate(zip(codec.columns, arrays, strict=True)):
        if not _is_looked_at(codec, i):
            continue
        if column.method in BOUND:
            value[i] = np.count_nonzero(~_within(column, array))
        elif column.method in LISTED:
            known = pc.is_in(as_text(array), value_set=column.value_set)
            value[i] = np.count_nonzero(~(known.to_numpy(zero_copy_only=False) | in_state(array, "null")))
        follows = column.since is not None and "null" in codec.columns[column.since.base].states
        null[i] = 0 if "null" in column.states or follows else array.null_count
    return {"value": value, "null": null}


def _within(column: ColumnCodec, array: pa.Array) -> Bools:
    """Which cells are null, or lie within the published ends, or are a state or a text that the column has."""
    fine = in_state(array, "null")
    if column.since is not None:  # its tokens tell a difference, its ends are those of the column
        values = whole(array).fill_null(0).to_numpy(zero_copy_only=False)
        return np.asarray(fine | ((values >= column.since.least) & (values <= column.since.most)))
    values, numbers = to_domain(column, array)
    ends: tuple[float, ...] = column.ends or (*column.atoms, *column.low, *column.high)
    if ends:
        fine = fine | (numbers & (values >= min(ends)) & (values <= max(ends)))
    for state in column.states:
        fine = fine | in_state(array, state)
    if column.texts:
        listed = pc.is_in(as_text(array), value_set=pa.array(column.texts, pa.string()))
        fine = fine | listed.to_numpy(zero_copy_only=False)
    return np.asarray(fine)


def _rules(promised: Promised, people: int) -> Failing:
    """Keys that occur again, and rows that break a rule of the run."""
    from pyspark.sql import functions as F

    codec = promised.codec
    once = [i for i, c in enumerate(codec.columns) if c.method == "key" and not (codec.leaves and codec.leaves[i].element)]
    keys = [Rule("unique", codec.names[i], (codec.names[i],)) for i in once]
    rules = (*keys, *promised.rules)
    if not rules:
        return {}
    # Which of equal rows counts as the first does not matter: only how many do.
    cells = [F.col(quoted(c.name)) for c in codec.columns if c.coarse]
    numbered = promised.twin.withColumn(ROW, F.xxhash64(*cells) if cells else F.lit(0).cast("bigint"))
    found = broken(numbered, rules, promised.real, people).select(F.explode(RULES).alias("rule"))
    counts = {row["rule"]: row["n"] for row in found.groupBy("rule").agg(F.count(F.lit(1)).alias("n")).toArrow().to_pylist()}
    return {("key" if i < len(keys) else "rule", rule.text): counts.get(i, 0) for i, rule in enumerate(rules)}


VALIDITY = {"validity": Metric("validity", "Checks that all rows pass", "fidelity", "higher", validity)}
