"""Can a classifier tell twin rows from real rows that the model never saw?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.downstream import answered, in_tasks
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, at_most, row_counts, typed
from twinlake.evaluate.learners import alone, encode, learner, machine
from twinlake.evaluate.rows import gather
from twinlake.evaluate.scores import area

ROW_CAP = 15_000
FOLDS = 5


def detection(evidence: Evidence) -> Result:
    """Cross-validated AUC of gradient boosting telling twin rows from holdout rows: 0.5 is ideal, 1 told apart at once.

    The reference is the same for train rows against holdout rows, with equal numbers of rows of each.
    """
    if evidence.holdout is None:
        return not_computed("there is no holdout to compare with")
    rows = row_counts(evidence)
    n = min(*rows.values(), ROW_CAP)
    if n < 50:
        return not_computed("fewer than 50 rows on one side")
    widths = len(evidence.numeric()), len(evidence.categorical())
    if not any(widths):
        return not_computed("no column is a number or a category")
    sides = [(TRAIN, evidence.real), (TWIN, evidence.synthetic), (HOLDOUT, evidence.holdout)]
    frames = [at_most(typed(f, evidence), n, rows[s], evidence.seed).select(F.lit(s).alias("side"), "*") for s, f in sides]
    frame = frames[0].unionAll(frames[1]).unionAll(frames[2])
    found = in_tasks(frame, partial(_task, widths, evidence.seed), ["twin", "train"])
    if "twin" not in found:
        return not_computed("no rows were left to learn from")
    areas = {name: answer["areas"] for name, answer in found.items()}
    value, half = float(np.mean(areas["twin"])), 1.96 * float(np.std(areas["twin"])) / FOLDS**0.5
    return Result(value, (value - half, value + half), float(np.mean(areas["train"])), None, {"n_each": n, "folds": FOLDS})


def _task(widths: tuple[int, int], seed: int, name: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows = gather(batches, *widths)
    if rows is None:
        return
    use = np.flatnonzero((rows.side == HOLDOUT) | (rows.side == (TWIN if name == "twin" else TRAIN)))
    label = (rows.side[use] == HOLDOUT).astype(np.int64)
    boosting = learner("gradient_boosting", "classification")
    data, _, kinds = encode(boosting.features, rows, use, use[:0])
    fold = generator(derive(seed, "detection", "folds")).permutation(len(label)) % FOLDS
    areas = []
    for f in range(FOLDS):
        with alone():
            one = machine(boosting, seed, kinds, len(label)).fit(data[fold != f], label[fold != f])
            chance = one.predict_proba(data[fold == f])
        found = area(label[fold == f], chance, 2)(np.ones(len(chance)))
        areas += [] if found is None else [found]
    yield answered(name, {"areas": areas})


DETECTION = {"detection": Metric("detection", "Telling the twin from real rows (AUC)", "utility", "lower", detection)}
