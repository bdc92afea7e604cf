"""Models for a target, learned from real rows, from the twin, and from both, and tested on the same real holdout rows.

Each learner is one Spark task: it gathers the sampled rows, trains once for each training set, and answers with numbers
(values, their bootstrap replicates, rates by group). The driver never sees a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as t

from twinlake.evaluate.evidence import NUMERIC_KINDS, Evidence
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, at_most, row_counts, typed
from twinlake.evaluate.learners import LEARNERS, ROWS, Task
from twinlake.evaluate.learning import Answer, Protected, Study, learn
from twinlake.evaluate.rows import gather

MOST_CELLS = 10_000_000  # of a table in one task: rows times columns
DDL = "learner string, answer string"
OUT = pa.schema([("learner", pa.string()), ("answer", pa.string())])


@dataclass(frozen=True)
class Downstream:
    """The answers of the learners that could be trained, why the others could not, and what was asked."""

    task: Task
    answers: dict[str, Answer]
    left_out: dict[str, str]
    unmodelled: tuple[str, ...]  # protected columns that are not modelled


def downstream(evidence: Evidence) -> Downstream | str:
    """What the learners found, or the reason why nothing could be."""
    return evidence.once("downstream", _downstream)


def _downstream(evidence: Evidence) -> Downstream | str:
    target = evidence.target
    if target is None:
        return "no target column was named (evaluate.target)"
    if target not in evidence.columns:
        return "the target is not a modelled column"
    if evidence.holdout is None:
        return "there is no holdout to test on"
    if min(row_counts(evidence).values()) < 2:
        return "one of the tables has fewer than two rows"
    task: Task = "regression" if _is_regression(evidence, target) else "classification"
    features = [c for c in evidence.columns if c != target]
    kind = evidence.kinds[target] if task == "regression" else "category"
    view = replace(evidence, columns=(*features, target), kinds={**evidence.kinds, target: kind})
    widths = len(view.numeric()), len(view.categorical())
    if sum(widths) < 2:
        return "no column besides the target is a number or a category"
    last = f"n{widths[0] - 1}" if task == "regression" else f"s{widths[1] - 1}"
    cap = max(2, min(ROWS, MOST_CELLS // sum(widths)))
    sides = [(TRAIN, evidence.real), (TWIN, evidence.synthetic), (HOLDOUT, evidence.holdout)]
    frames = [_sample(view, side, frame, last, cap) for side, frame in sides]
    usable = set(view.numeric() + view.categorical()) - {target}
    protected = tuple(_protected(view, c) for c in evidence.protected if c in usable)
    study = Study(task, widths, protected, evidence.positive, evidence.k, evidence.seed, cap)
    names = [x.name for x in LEARNERS if x.task == task]
    found = in_tasks(frames[0].unionAll(frames[1]).unionAll(frames[2]), partial(_task, study), names)
    refused = [a["refused"] for a in found.values() if "refused" in a]
    if refused or not found:
        return refused[0] if refused else "no row has a target"
    left_out = {n: a["left_out"] for n, a in found.items() if "left_out" in a}
    answers = {n: a for n, a in sorted(found.items()) if n not in left_out}
    if not answers:
        return "no learner could be trained"
    return Downstream(task, answers, left_out, tuple(c for c in evidence.protected if c not in usable))


def _is_regression(evidence: Evidence, target: str) -> bool:
    """Whether the target is a number or a date of more than two values: fewer are classes."""
    if evidence.kinds[target] not in NUMERIC_KINDS:
        return False
    values = typed(evidence.real, replace(evidence, columns=(target,)))
    return values.where(F.col("n0").isNotNull()).distinct().limit(3).count() > 2


def _sample(view: Evidence, side: int, frame: DataFrame, last: str, cap: int) -> DataFrame:
    """Some more than `cap` of the rows that have a target, so that a task can take exactly as many."""
    rows = typed(frame, view).where(F.col(last).isNotNull())
    total, most = row_counts(view)[side], cap + 5 * int(cap**0.5)
    if total > most:
        total = rows.count()
    return at_most(rows, most, total, view.seed).select(F.lit(side).alias("side"), "*")


def _protected(view: Evidence, name: str) -> Protected:
    if name in view.categorical():
        return Protected(name, False, view.categorical().index(name))
    day = 0.0
    if view.kinds[name] == "datetime":
        day = 1.0 if isinstance(view.real.schema[name].dataType, t.DateType) else 86400.0
    return Protected(name, True, view.numeric().index(name), day)


def in_tasks(frame: DataFrame, task: Callable[..., Any], names: list[str]) -> dict[str, Answer]:
    """`task(name, batches)` over all rows of `frame`, one Spark task for each name; what each answers."""
    one = frame.repartition(1)
    parts = [one.mapInArrow(partial(task, name), DDL) for name in names]
    out = parts[0]
    for more in parts[1:]:
        out = out.unionAll(more)
    return {row["learner"]: json.loads(row["answer"]) for row in out.toArrow().to_pylist()}


def answered(name: str, answer: Answer) -> pa.RecordBatch:
    """What a task of `in_tasks` yields."""
    text = json.dumps(answer, allow_nan=False)
    return pa.RecordBatch.from_arrays([pa.array([name]), pa.array([text])], schema=OUT)


def _task(study: Study, name: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows = gather(batches, *study.widths)
    if rows is not None:
        yield answered(name, learn(study, name, rows))
