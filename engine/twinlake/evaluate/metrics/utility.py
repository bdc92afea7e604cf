"""Is the twin as good to learn from as the real rows, and do both together make better models?

The learners of `evaluate.learners` are trained on real rows, on the twin and on both, and tested on the same holdout
rows. A metric is the mean over all learners that could be trained; what can't be computed is never averaged in. How the
intervals come about: `evaluate.learning`. A good gap for one target says little about another.
"""

from __future__ import annotations

from typing import Any

from twinlake.evaluate.downstream import Downstream, downstream
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_asked, not_computed
from twinlake.evaluate.learning import AT_N, SETS
from twinlake.evaluate.scores import averaged, difference, summary

SCORES = {"classification": ("accuracy", "auc", "balanced_accuracy"), "regression": ("r2", "absolute_error")}


def auc_gap(evidence: Evidence) -> Result:
    """The mean over learners of AUC(real) - AUC(synthetic) on the holdout (of several classes one against the rest, macro).

    Both learned from as many rows; other real rows instead of the twin would have no gap on average.
    """
    return _gap(evidence, "auc")


def accuracy_gap(evidence: Evidence) -> Result:
    """The mean over learners of accuracy(real) - accuracy(synthetic) on the holdout."""
    return _gap(evidence, "accuracy")


def r2_gap(evidence: Evidence) -> Result:
    """The mean over learners of R2(real) - R2(synthetic) on the holdout, where the target is a number or a date."""
    return _gap(evidence, "r2")


def augmented_gain(evidence: Evidence) -> Result:
    """The mean over learners of accuracy (or R2) of real and synthetic rows together, less that of the real rows alone."""
    found = downstream(evidence)
    if isinstance(found, str):
        return not_asked(found)
    told = of_score(found, SCORES[found.task][0])
    value, low, high = told["mean"]["augmented_minus_real"]
    if value is None:
        return not_computed("a score of a learner could not be computed")
    detail = {"target": evidence.target, "score": SCORES[found.task][0], "n_test": _about(found)["n_test"]}
    detail["learners"] = {name: held["augmented_minus_real"] for name, held in told["learners"].items()}
    return Result(value, None if low is None else (low, high), 0.0, None, detail)


def _gap(evidence: Evidence, score: str) -> Result:
    found = downstream(evidence)
    if isinstance(found, str):
        return not_computed(found) if score == "accuracy" else not_asked(found)  # once is enough
    if score not in SCORES[found.task]:
        return not_asked("the target is a number: see r2_gap" if score != "r2" else "the target has classes: see accuracy_gap")
    told = of_score(found, score)
    value, low, high = told["mean"]["synthetic_minus_real"]
    if value is None:
        return not_computed("a score of a learner could not be computed")
    detail = {"target": evidence.target, "score": score, **told, **_about(found)}
    if score == SCORES[found.task][0]:
        detail["others"] = {other: of_score(found, other) for other in SCORES[found.task] if other not in ("auc", score)}
    return Result(0.0 - value, None if low is None else (0.0 - high, 0.0 - low), 0.0, None, detail)


def of_score(found: Downstream, score: str) -> dict[str, Any]:
    """{"learners": {name: told}, "mean": told}, where told maps a training set or a difference to [value, lower, upper].

    `synthetic_minus_real` compares at equal numbers of rows; `augmented_minus_real` compares with all real rows.
    """
    held = {name: {s: x[score] for s, x in answer["scores"].items()} for name, answer in found.answers.items()}
    sets = [*SETS, *([AT_N] if all(AT_N in x for x in held.values()) else [])]
    mean = {s: averaged([x[s] for x in held.values()]) for s in sets}
    return {"learners": {name: _told(x) for name, x in held.items()}, "mean": _told(mean)}


def _told(held: dict[str, dict[str, Any]]) -> dict[str, Any]:
    told = {s: summary(x["value"], x["draws"]) for s, x in held.items()}
    pairs = {"synthetic": held.get(AT_N, held["real"]), "augmented": held["real"]}
    gaps = {f"{s}_minus_real": difference(held[s], base) for s, base in pairs.items()}
    return {**told, **{name: summary(x["value"], x["draws"]) for name, x in gaps.items()}}


def _about(found: Downstream) -> dict[str, Any]:
    first = next(iter(found.answers.values()))
    about = {"n_test": first["n_test"], "rows": {n: a["rows"] for n, a in found.answers.items()}, "left_out": found.left_out}
    return {**about, "majority": first["majority"]} if "majority" in first else about


# fmt: off
UTILITY = {
    "auc_gap": Metric("auc_gap", "Loss of AUC when learning from the twin", "utility", "lower", auc_gap),
    "accuracy_gap": Metric("accuracy_gap", "Loss of accuracy when learning from the twin", "utility", "lower", accuracy_gap),
    "r2_gap": Metric("r2_gap", "Loss of R² when learning from the twin", "utility", "lower", r2_gap),
    "augmented_gain": Metric("augmented_gain", "Gain when learning from real rows and twin together",
                             "utility", "higher", augmented_gain),
}
# fmt: on
