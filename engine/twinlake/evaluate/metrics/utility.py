"""Is the twin as good to learn from as the real rows? Train on synthetic (TSTR) or real (TRTR) rows, test on real.

Three classifiers (gradient boosting, random forest, logistic regression) are trained inside Spark tasks, one task each,
on at most 50,000 rows a side chosen by hash, and tested on the same holdout rows; the driver sees a few numbers. The
interval of the gap is a paired bootstrap over the test rows. `detection` trains one more classifier to tell twin rows
from holdout rows. None of them is tuned, and a good gap for one target says little about another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.counters import Floats, Ints, doubles
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, as_text, at_most, row_counts, typed
from twinlake.evaluate.learners import LEARNERS, auc, encode, learner

ROW_CAP = 50_000
DETECTION_CAP = 15_000
MOST_CLASSES = 20
FOLDS = 5
REPLICATES = 200
Downstream = dict[str, dict[str, tuple[float, list[float]]]] | str
DDL = "model string, name string, value double, draws array<double>"
OUT = pa.schema(
    [
        ("model", pa.string()),
        ("name", pa.string()),
        ("value", pa.float64()),
        ("draws", pa.list_(pa.float64())),
    ]
)


def downstream(evidence: Evidence) -> Downstream:
    """model -> number -> (value, bootstrap draws), or the reason why there are none."""
    return evidence.once("downstream", _downstream)


def _downstream(evidence: Evidence) -> Downstream:
    if evidence.target is None:
        return "no target column was named (evaluate.target)"
    if evidence.target not in evidence.columns:
        return "the target is not a modelled column"
    if evidence.holdout is None:
        return "there is no holdout to test on"
    rows = row_counts(evidence)
    if min(rows.values()) < 2:
        return "one of the tables has fewer than two rows"
    # Both training sets have the same number of rows, as the comparison asks.
    least = min(rows[TRAIN], rows[TWIN], ROW_CAP)
    sides = [(TRAIN, evidence.real, least), (TWIN, evidence.synthetic, least), (HOLDOUT, evidence.holdout, ROW_CAP)]
    at = evidence.real.columns.index(evidence.target)
    features = [c for c in evidence.columns if c != evidence.target]
    view = Evidence(evidence.real, evidence.synthetic, tuple(features), evidence.kinds)
    frames = []
    for side, frame, most in sides:
        kinds = {**evidence.kinds, _LABEL: "category"}
        label = as_text(F.col(f"c{at}"), frame.schema.fields[at].dataType).alias(_LABEL)
        labelled = frame.toDF(*[f"c{i}" for i in range(len(frame.columns))]).select("*", label).toDF(*frame.columns, _LABEL)
        both = Evidence(labelled, labelled, (*features, _LABEL), kinds)
        frames.append(at_most(typed(labelled, both), most, rows[side], evidence.seed).select(F.lit(side).alias("side"), "*"))
    all_rows = frames[0].unionAll(frames[1]).unionAll(frames[2])
    widths = len(view.numeric()), len(view.categorical())
    found: Downstream = _run(all_rows, partial(_utility_task, widths, evidence.seed), list(LEARNERS))
    return found


_LABEL = "\x00label"


def _run(frame: Any, task: Callable[..., Any], models: list[str]) -> Any:
    one = frame.repartition(1)
    tasks = [one.mapInArrow(partial(task, model), DDL) for model in models]
    out = tasks[0]
    for more in tasks[1:]:
        out = out.unionAll(more)
    found: dict[str, dict[str, tuple[float, list[float]]]] = {}
    for row in out.toArrow().to_pylist():
        if row["value"] is None:
            return row["name"]
        found.setdefault(row["model"], {})[row["name"]] = (row["value"], row["draws"])
    return found or "no rows were left to learn from"


def _gather(batches: Iterator[pa.RecordBatch], numbers: int, texts: int) -> tuple[Ints, Floats, list[Any]]:
    """The task's rows in an order that does not depend on how they arrived."""
    side, x, text = [], [], []
    for batch in batches:
        side.append(batch.column("side").to_numpy(zero_copy_only=False))
        x.append(doubles(batch, [f"n{i}" for i in range(numbers)]))
        text.append([batch.column(f"s{i}").to_numpy(zero_copy_only=False) for i in range(texts)])
    sides, values = np.concatenate(side).astype(np.int64), np.concatenate(x)
    columns = [np.concatenate([t[i] for t in text]) for i in range(texts)]
    codes = [np.unique(["" if v is None else "=" + v for v in c], return_inverse=True)[1] for c in columns]
    order = np.lexsort([*np.nan_to_num(values.T, nan=-1e300), *codes, sides])
    return sides[order], values[order], [c[order] for c in columns]


def _utility_task(
    widths: tuple[int, int], seed: int, model: str, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    rows = [b for b in batches if b.num_rows]
    if not rows:
        return
    side, numbers, texts = _gather(iter(rows), widths[0], widths[1] + 1)
    label = np.array(["" if v is None else "=" + v for v in texts.pop()])
    test = side == HOLDOUT
    classes = np.unique(label[test])
    if len(classes) < 2 or len(np.unique(label[side == TRAIN])) < 2:
        yield _table([(model, "the target has one class only", None, [])])
        return
    if len(classes) > MOST_CLASSES:
        yield _table([(model, f"the target has more than {MOST_CLASSES} classes", None, [])])
        return
    chance = {}
    for name, fit in (("trtr", side == TRAIN), ("tstr", side == TWIN)):
        chance[name] = fit_predict(model, numbers, texts, label, fit, test, classes, seed)
    yield _table(_paired(model, label[test], classes, chance, seed))


def fit_predict(
    model: str, numbers: Floats, texts: list[Any], label: Any, fit: Any, test: Any, classes: Any, seed: int
) -> Floats:
    """The predicted probability of each of `classes` for the test rows; one-class training rows predict that class."""
    seen = np.unique(label[fit])
    out = np.zeros((int(test.sum()), len(classes)))
    if len(seen) < 2:
        out[:, classes == (seen[0] if len(seen) else "")] = 1.0
        return out
    data, kinds = encode(model, numbers, texts, fit)
    machine = learner(model, seed, kinds)
    machine.fit(data[fit], label[fit])
    found = machine.predict_proba(data[test])
    for j, name in enumerate(machine.classes_):
        out[:, classes == name] = found[:, [j]]
    return out


def _paired(model: str, truth: Any, classes: Any, chance: dict[str, Floats], seed: int) -> list[Any]:
    """AUC and accuracy of both training sets and of their gap, with paired bootstrap draws shared by all models."""
    right = {k: (classes[p.argmax(1)] == truth).astype(np.float64) for k, p in chance.items()}
    picks = generator(derive(seed, "utility", "bootstrap"))
    draws: dict[str, list[float]] = {n: [] for n in ("auc_gap", "accuracy_gap")}
    for _ in range(REPLICATES):
        some = picks.integers(0, len(truth), len(truth))
        areas = {k: auc(truth[some], p[some], classes) for k, p in chance.items()}
        if areas["trtr"] is not None and areas["tstr"] is not None:
            draws["auc_gap"].append(areas["trtr"] - areas["tstr"])
        draws["accuracy_gap"].append(float((right["trtr"][some] - right["tstr"][some]).mean()))
    whole = {k: auc(truth, p, classes) or 0.5 for k, p in chance.items()}
    hit = {k: float(r.mean()) for k, r in right.items()}
    majority = max(float((truth == c).mean()) for c in classes)
    rows: list[Any] = [(model, f"auc_{k}", v, []) for k, v in whole.items()] + [
        (model, f"accuracy_{k}", v, []) for k, v in hit.items()
    ]
    rows.append((model, "auc_gap", whole["trtr"] - whole["tstr"], draws["auc_gap"]))
    rows.append((model, "accuracy_gap", hit["trtr"] - hit["tstr"], draws["accuracy_gap"]))
    return [*rows, (model, "majority", majority, []), (model, "n_test", float(len(truth)), [])]


def _table(rows: list[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), OUT, strict=True)], schema=OUT
    )


def auc_gap(evidence: Evidence) -> Result:
    """The mean over models of AUC(TRTR) - AUC(TSTR) on the holdout (one against the rest, macro)."""
    return _gap(evidence, "auc")


def accuracy_gap(evidence: Evidence) -> Result:
    """The mean over models of accuracy(TRTR) - accuracy(TSTR) on the holdout."""
    return _gap(evidence, "accuracy")


def _gap(evidence: Evidence, what: str) -> Result:
    found = downstream(evidence)
    if isinstance(found, str):
        return not_computed(found)
    models = sorted(found)
    value = float(np.mean([found[m][f"{what}_gap"][0] for m in models]))
    length = min(len(found[m][f"{what}_gap"][1]) for m in models)
    draws = np.mean([found[m][f"{what}_gap"][1][:length] for m in models], axis=0)
    interval = (float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))) if length >= 50 else None
    plain = {m: {k: v for k, (v, _) in found[m].items() if k.startswith(what)} for m in models}
    detail: dict[str, Any] = {"models": plain, "row_cap": ROW_CAP, "target": evidence.target}
    for side in ("trtr", "tstr"):
        detail[side] = float(np.mean([found[m][f"{what}_{side}"][0] for m in models]))
    detail |= {"majority": found[models[0]]["majority"][0], "n_test": int(found[models[0]]["n_test"][0])}
    # Training on other real rows of the same number would have no gap on average.
    return Result(value, interval, 0.0, None, detail)


def detection(evidence: Evidence) -> Result:
    """Cross-validated AUC of gradient boosting telling twin rows from holdout rows: 0.5 is ideal, 1 told apart at once.

    The reference is the same for train rows against holdout rows, with equal numbers of rows of each.
    """
    if evidence.holdout is None:
        return not_computed("there is no holdout to compare with")
    rows = row_counts(evidence)
    n = min(*rows.values(), DETECTION_CAP)
    if n < 50:
        return not_computed("fewer than 50 rows on one side")
    if not evidence.numeric() and not evidence.categorical():
        return not_computed("no column is a number or a category")
    sides = [(TRAIN, evidence.real), (TWIN, evidence.synthetic), (HOLDOUT, evidence.holdout)]
    frames = [at_most(typed(f, evidence), n, rows[s], evidence.seed).select(F.lit(s).alias("side"), "*") for s, f in sides]
    widths = len(evidence.numeric()), len(evidence.categorical())
    frame = frames[0].unionAll(frames[1]).unionAll(frames[2])
    found = _run(frame, partial(_detection_task, widths, evidence.seed), ["twin", "train"])
    if isinstance(found, str):
        return not_computed(found)
    value, folds = found["twin"]["auc"]
    half = 1.96 * float(np.std(folds)) / len(folds) ** 0.5
    return Result(value, (value - half, value + half), found["train"]["auc"][0], None, {"n_each": n, "folds": FOLDS})


def _detection_task(
    widths: tuple[int, int], seed: int, model: str, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    rows = [b for b in batches if b.num_rows]
    if not rows:
        return
    side, numbers, texts = _gather(iter(rows), *widths)
    use = (side == HOLDOUT) | (side == (TWIN if model == "twin" else TRAIN))
    label = np.where(side[use] == HOLDOUT, "real", "other")
    data, kinds = encode("gradient_boosting", numbers[use], [t[use] for t in texts], np.ones(int(use.sum()), bool))
    fold = generator(derive(seed, "detection", "folds")).permutation(len(label)) % FOLDS
    areas = []
    for f in range(FOLDS):
        machine = learner("gradient_boosting", seed, kinds)
        machine.fit(data[fold != f], label[fold != f])
        area = auc(label[fold == f], machine.predict_proba(data[fold == f]), machine.classes_)
        areas += [] if area is None else [area]
    yield _table([(model, "auc", float(np.mean(areas)), areas)])


UTILITY = {
    "auc_gap": Metric("auc_gap", "Loss of AUC when learning from the twin", "utility", "lower", auc_gap),
    "accuracy_gap": Metric("accuracy_gap", "Loss of accuracy when learning from the twin", "utility", "lower", accuracy_gap),
    "detection": Metric("detection", "Telling the twin from real rows (AUC)", "utility", "lower", detection),
}
