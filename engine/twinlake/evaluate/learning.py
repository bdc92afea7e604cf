"""What happens inside the Spark task of one learner: trained for each training set, tested on the same rows. Knows no Spark.

The intervals take in other test rows (a paired bootstrap) and other training rows: the learner is trained again on halves
of the training rows, whose spread is what the whole would show in other draws of it (the delete-half jackknife of Shao
and Wu, Annals of Statistics 17, 1989). Halves and replicates are the same for every learner and training set, so all pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.counters import Floats, Ints
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN
from twinlake.evaluate.groups import RATES, Groups, by_range, by_value, fair_scores, rates_shown
from twinlake.evaluate.learners import ROWS, Learner, Task, alone, encode, learner, machine
from twinlake.evaluate.rows import Rows, picked
from twinlake.evaluate.scores import Score, class_scores, number_scores, replicated

MOST_CLASSES = 20
REPEATS = 3
SETS = ("real", "synthetic", "augmented")
AT_N = "real_at_n"
Answer = dict[str, Any]


@dataclass(frozen=True)
class Protected:
    """A protected column among the features: which number or category it is, and how many of its units make a day (or 0)."""

    name: str
    number: bool
    at: int
    day: float = 0.0


@dataclass(frozen=True)
class Study:
    """What every task is told. `widths`: how many numbers and categories the rows have, the target last of its sort;
    `rows`: how many of each table are looked at, at most."""

    task: Task
    widths: tuple[int, int]
    protected: tuple[Protected, ...]
    positive: str | None
    k: int
    seed: int
    rows: int = ROWS


@dataclass(frozen=True)
class Judged:
    """The scores of one training, and by protected column the rates of each group."""

    scores: dict[str, Score]
    rates: dict[str, dict[str, list[float | None]]]


def learn(study: Study, name: str, rows: Rows) -> Answer:
    """What one learner reaches from each training set, or {"refused": why no learner can} or {"left_out": why it can't}."""
    one = learner(name, study.task)
    most = min(one.rows, study.rows)
    test = picked(rows.side, HOLDOUT, study.rows, study.seed)
    sets = training_sets(rows.side, most, study.seed)
    if min(len(test), *map(len, sets.values())) < 2:
        return {"refused": "one of the tables has fewer than two rows with a target"}
    told, judge = (_of_numbers if study.task == "regression" else _of_classes)(study, one, rows, sets["real"], test)
    if judge is None:
        return told
    # Fewer synthetic rows than real ones: compared with so many real rows.
    wanted = SETS if len(sets["synthetic"]) == len(sets["real"]) else (*SETS, AT_N)
    try:
        with alone():
            whole = {s: judge(sets[s]) for s in wanted}
            halves = []
            for r in range(REPEATS):
                some = training_sets(half(rows.side, r, study.seed), (most + 1) // 2, study.seed)
                halves.append({s: judge(some[s]).scores for s in wanted})
    except ImportError:
        return {"left_out": "its library is not installed (twinlake[utility])"}
    except ValueError:
        # Its text may hold values of the table.
        return {"left_out": "its library refused these rows"}
    scores = replicated({s: x.scores for s, x in whole.items()}, halves, len(test), study.seed)
    rates = {s: whole[s].rates for s in SETS}
    return {**told, "scores": scores, "rates": rates, "rows": {s: len(sets[s]) for s in wanted}, "n_test": len(test)}


def training_sets(side: Ints, most: int, seed: int) -> dict[str, Ints]:
    """Where the rows of each training set stand, at most `most` of each table.

    "synthetic" has no more rows than "real", and "real_at_n" as many as "synthetic"; "augmented" is all real and all
    synthetic rows within the bound.
    """
    real, twin = picked(side, TRAIN, most, seed), picked(side, TWIN, most, seed)
    return {
        "real": real,
        "synthetic": picked(side, TWIN, min(len(real), most), seed),
        "augmented": np.concatenate([real, twin]),
        AT_N: picked(side, TRAIN, min(len(twin), most), seed),
    }


def half(side: Ints, repeat: int, seed: int) -> Ints:
    """`side` with half of the training rows, real and synthetic, taken out (-1)."""
    out = side.copy()
    for wanted in (TRAIN, TWIN):
        at = np.flatnonzero(side == wanted)
        order = generator(derive(seed, "utility", "half", wanted), repeat).permutation(len(at))
        out[at[order[(len(at) + 1) // 2 :]]] = -1
    return out


def fit_predict(one: Learner, rows: Rows, label: Ints, fit: Ints, test: Ints, classes: int, seed: int) -> Floats:
    """How likely each of `classes` is for the rows `test`: [n, classes]; rows of one class teach that class alone."""
    seen, codes = np.unique(label[fit], return_inverse=True)
    out = np.full((len(test), classes), -np.inf)
    if len(seen) < 2:
        out[:, seen] = 1.0
        return out
    data, asked, kinds = encode(one.features, rows, fit, test)
    trained = machine(one, seed, kinds, len(fit)).fit(data, codes)
    if hasattr(trained, "predict_proba"):
        chance = trained.predict_proba(asked)
    else:
        chance = trained.decision_function(asked)
        chance = chance if chance.ndim == 2 else np.column_stack([-chance, chance])
    out[:, seen] = chance
    return out


Judge = Callable[[Ints], Judged]


def _of_numbers(study: Study, one: Learner, rows: Rows, real: Ints, test: Ints) -> tuple[Answer, Judge | None]:
    at = study.widths[0] - 1
    target, rows = rows.numbers[:, at], rows.without_number(at)
    top = float(np.abs(target[real]).max()) or 1.0
    known = target[real] / top
    if known.std() <= 0 or np.ptp(target[test] / top) <= 0:
        return {"refused": "the target has one value only"}, None
    # In deviations of the real rows: what penalties and margins of the learners are made for. The scores have no unit.
    scaled = np.clip((target / top - known.mean()) / known.std(), -1e6, 1e6)

    def judge(fit: Ints) -> Judged:
        data, asked, kinds = encode(one.features, rows, fit, test)
        trained = machine(one, study.seed, kinds, len(fit)).fit(data, scaled[fit])
        return Judged(number_scores(scaled[test], np.asarray(trained.predict(asked), np.float64)), {})

    return {}, judge


def _of_classes(study: Study, one: Learner, rows: Rows, real: Ints, test: Ints) -> tuple[Answer, Judge | None]:
    at = study.widths[1] - 1
    target, names, rows = rows.codes[:, at], rows.names[at], rows.without_category(at)
    classes = np.unique(target[rows.side != TWIN])
    if len(np.unique(target[test])) < 2 or len(np.unique(target[real])) < 2:
        return {"refused": "the target has one class only"}, None
    if len(classes) > MOST_CLASSES:
        return {"refused": f"the target has more than {MOST_CLASSES} classes"}, None
    place = np.full(len(names), len(classes))  # one class more for what only the twin has
    place[classes] = np.arange(len(classes))
    label = place[target]
    told: Answer = {"majority": float(np.bincount(label[test]).max() / len(test))}
    groups: dict[str, Groups] = {}
    positive = -1
    if study.protected:
        fairness, positive, groups = _fairness(study, rows, label, [names[c] for c in classes], test)
        told["fairness"] = fairness
    truth = (label[test] == positive).astype(np.int64)

    def judge(fit: Ints) -> Judged:
        chance = fit_predict(one, rows, label, fit, test, len(classes) + 1, study.seed)
        scores, by_group = class_scores(label[test], chance, len(classes)), {}
        guess = (chance.argmax(axis=1) == positive).astype(np.int64)
        for column, held in groups.items():
            scores |= {f"{gap} of {column}": of for gap, of in fair_scores(held, truth, guess, study.k).items()}
            shown = rates_shown(held, truth, guess, study.k)
            by_group[column] = {r: [None if np.isnan(x) else float(x) for x in shown[r]] for r in RATES}
        return Judged(scores, by_group)

    return told, judge


def _fairness(
    study: Study, rows: Rows, label: Ints, classes: list[str | None], test: Ints
) -> tuple[Answer, int, dict[str, Groups]]:
    """What is told of the protected columns, the positive class, and the groups of the columns that have two or more."""
    if len(classes) != 2:
        return {"reason": f"the target has {len(classes)} classes; fairness is computed for two"}, -1, {}
    positive = positive_class(study.positive, classes, np.bincount(label[rows.side == TRAIN], minlength=2))
    if positive is None:
        return {"reason": "evaluate.positive is not a class of the target"}, -1, {}
    if np.bincount(label[test], minlength=2).min() < study.k:
        return {"reason": f"a class of the target has fewer than {study.k} test rows"}, -1, {}
    told: Answer = {}
    groups: dict[str, Groups] = {}
    for held in study.protected:
        if held.number:
            found = by_range(rows.numbers[test, held.at], study.k, held.day)
        else:
            found = by_value(rows.codes[test, held.at], rows.names[held.at], study.k)
        told[held.name] = found.told()
        if len(found.labels) > 1:
            groups[held.name] = found
        else:
            told[held.name]["reason"] = f"fewer than two groups have {study.k} test rows"
    return {"positive": classes[positive], "columns": told}, positive, groups


def positive_class(wanted: str | None, classes: list[str | None], count: Ints) -> int | None:
    """Which of two classes is the positive one: by its text, by its number, or the rarer one of the real rows."""
    if wanted is None:
        return int(count[1] <= count[0])
    if wanted in classes:
        return classes.index(wanted)
    try:
        return [float(c or "nan") for c in classes].index(float(wanted))
    except ValueError:
        return None
