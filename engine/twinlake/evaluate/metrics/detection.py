"""Can a classifier tell twin rows from real rows that the model never saw, and what gives the twin away?

What gives it away is asked of the same classifiers, on the rows of the fold that each did not see (permutation importance;
Breiman, "Random forests", Machine Learning 45, 2001). Of a column: the loss of AUC when its values are shuffled among the rows.
Of a pair: twin rows and real rows are shuffled apart from each other, so that every column keeps its distribution in both; the
AUC when both columns move together, less that when each moves on its own. Columns that are wrong alone show no pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.counters import Floats, Ints
from twinlake.evaluate.downstream import answered, in_tasks
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, at_most, row_counts, typed
from twinlake.evaluate.learners import alone, encode, learner, machine
from twinlake.evaluate.rows import gather
from twinlake.evaluate.scores import area

ROW_CAP = 15_000
FOLDS = 5
STUDENT = 2.7764451051977987  # the 97.5% quantile of Student's t with FOLDS - 1 degrees of freedom
SHUFFLED = 60  # columns whose loss of AUC is taken; of wider tables those that move the first fold's answers most
FEW_ROWS = 500  # about as many, by which that is judged
PAIRED = 6  # columns of the greatest loss, of which all pairs are taken
NAMED = 10


def detection(evidence: Evidence) -> Result:
    """Cross-validated AUC of gradient boosting telling twin rows from holdout rows: 0.5 is ideal, 1 told apart at once.

    The reference is the same for train rows against holdout rows, with equal numbers of rows of each. `columns` and `pairs` of
    the detail: those that give the twin away most, with the mean loss of AUC over the folds and its interval.
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
    names = [*evidence.numeric(), *evidence.categorical()]
    told = {of: _most(found["twin"][of], names) for of in ("columns", "pairs")}
    value, interval = _over_folds(areas["twin"])
    return Result(value, interval, float(np.mean(areas["train"])), None, {"n_each": n, "folds": FOLDS, **told})


def _over_folds(values: list[float]) -> tuple[float, tuple[float, float]]:
    """The mean and its 95% interval, which takes the folds for independent."""
    mean, half = float(np.mean(values)), STUDENT * float(np.std(values, ddof=1)) / FOLDS**0.5
    return mean, (mean - half, mean + half)


def _most(losses: Mapping[str, list[float]], names: list[str]) -> list[dict[str, Any]]:
    """The columns or pairs of the greatest mean loss that is no accident of the folds, the worst first."""
    found = [(_over_folds(values), [names[int(c)] for c in key.split(",")]) for key, values in losses.items()]
    worst = sorted((-loss, columns, interval) for (loss, interval), columns in found if interval[0] > 0)[:NAMED]
    return [{"columns": columns, "loss": -loss, "interval": list(interval)} for loss, columns, interval in worst]


@dataclass(frozen=True)
class Fold:
    """A classifier and the rows that it did not see: `data` [n, columns], `label` [n], 1 for real rows."""

    model: Any
    data: Floats
    label: Ints
    seed: int

    def chances(self, *groups: tuple[int, ...], apart: bool = False) -> Floats:
        """The chances [n, 2] when the columns of each group move together from row to row; `apart`: among rows of a label."""
        moved = self.data.copy()
        for group in groups:
            draw, order = generator(derive(self.seed, *group)), np.arange(len(moved))
            for rows in [np.flatnonzero(self.label == k) for k in (0, 1)] if apart else [order.copy()]:
                order[rows] = draw.permutation(rows)
            moved[:, list(group)] = self.data[order][:, list(group)]
        return np.asarray(self.model.predict_proba(moved))

    def area(self, *groups: tuple[int, ...], apart: bool = False) -> float:
        """The AUC of `chances`; that of a guess where all rows have one label."""
        found = area(self.label, self.chances(*groups, apart=apart), 2)(np.ones(len(self.label)))
        return 0.5 if found is None else found


def _task(widths: tuple[int, int], seed: int, name: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows = gather(batches, *widths)
    if rows is None:
        return
    use = np.flatnonzero((rows.side == HOLDOUT) | (rows.side == (TWIN if name == "twin" else TRAIN)))
    label = (rows.side[use] == HOLDOUT).astype(np.int64)
    boosting = learner("gradient_boosting", "classification")
    data, _, kinds = encode(boosting.features, rows, use, use[:0])
    fold = generator(derive(seed, "detection", "folds")).permutation(len(label)) % FOLDS
    with alone():
        folds = []
        for f in range(FOLDS):
            one = machine(boosting, seed, kinds, len(label)).fit(data[fold != f], label[fold != f])
            folds.append(Fold(one, data[fold == f], label[fold == f], derive(seed, "detection", f)))
        areas = [f.area() for f in folds]
        losses = giveaways(folds, areas) if name == "twin" else {}
    yield answered(name, {"areas": areas, **losses})


def giveaways(folds: list[Fold], areas: list[float]) -> dict[str, dict[str, list[float]]]:
    """The loss of AUC in each fold by column and by pair of columns, which are named by their places in the data."""
    step = max(1, len(folds[0].label) // FEW_ROWS)  # real rows come after the others
    few = replace(folds[0], data=folds[0].data[::step], label=folds[0].label[::step])
    chosen = list(range(few.data.shape[1]))
    if len(chosen) > SHUFFLED:
        before = few.chances()
        moves = {c: float(np.abs(few.chances((c,)) - before).mean()) for c in chosen}
        chosen = sorted(chosen, key=lambda c: (-moves[c], c))[:SHUFFLED]
    columns = {c: [whole - f.area((c,)) for f, whole in zip(folds, areas, strict=True)] for c in chosen}
    top = sorted(columns, key=lambda c: (-float(np.mean(columns[c])), c))[:PAIRED]
    pairs = {
        f"{a},{b}": [f.area((a, b), apart=True) - f.area((a,), (b,), apart=True) for f in folds]
        for a, b in combinations(sorted(top), 2)
    }
    return {"columns": {str(c): values for c, values in columns.items()}, "pairs": pairs}


DETECTION = {"detection": Metric("detection", "Telling the twin from real rows (AUC)", "utility", "lower", detection)}
