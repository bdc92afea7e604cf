"""How well test rows were predicted: numbers as functions of the rows' weights, so that a bootstrap weighs and re-counts.

A weight is how often a row was drawn; ones give the number itself. What can't be computed is None, never a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.counters import Floats, Ints

Score = Callable[[Floats], float | None]
REPLICATES = 200
LEAST_DRAWS = 50
BOUNDS = {"r2": (-np.inf, 1.0), "absolute_error": (0.0, np.inf)}  # of all others 0 and 1


def area(truth: Ints, chance: Floats, classes: int) -> Score:
    """The area under the ROC curve by ranks (ties half); of more than two classes the mean of each against the rest.

    `chance` [n, classes or more]: the higher, the likelier. A class that no row or every row has is left out.
    """
    ready = [(np.unique(chance[:, j], return_inverse=True)[1], truth == j) for j in ([1] if classes == 2 else range(classes))]

    def of(weights: Floats) -> float | None:
        found = []
        for place, hit in ready:
            ones, zeros = np.bincount(place, weights * hit), np.bincount(place, weights * ~hit)
            pairs = ones.sum() * zeros.sum()
            if pairs:
                found.append(float(ones @ (np.cumsum(zeros) - zeros / 2) / pairs))
        return float(np.mean(found)) if found else None

    return of


def class_scores(truth: Ints, chance: Floats, classes: int) -> dict[str, Score]:
    """Accuracy, balanced accuracy (mean recall of the classes that the rows have) and AUC; the prediction is the likeliest."""
    hit = (chance.argmax(axis=1) == truth).astype(np.float64)

    def balanced(weights: Floats) -> float:
        rows, hits = np.bincount(truth, weights), np.bincount(truth, weights * hit)
        return float((hits[rows > 0] / rows[rows > 0]).mean())

    return {
        "accuracy": lambda weights: float(weights @ hit / weights.sum()),
        "balanced_accuracy": balanced,
        "auc": area(truth, chance, classes),
    }


def number_scores(truth: Floats, predicted: Floats) -> dict[str, Score]:
    """R2, and the mean absolute error in standard deviations of the rows' own target; none of a constant target."""

    def spread(weights: Floats) -> float:
        mean = float(weights @ truth / weights.sum())
        return float(weights @ (truth - mean) ** 2)

    def r2(weights: Floats) -> float | None:
        whole = spread(weights)
        return None if whole <= 0 else 1.0 - float(weights @ (truth - predicted) ** 2) / whole

    def error(weights: Floats) -> float | None:
        whole, rows = spread(weights), float(weights.sum())
        return None if whole <= 0 else float(weights @ np.abs(truth - predicted) / rows) / (whole / rows) ** 0.5

    return {"r2": r2, "absolute_error": error}


def draws(rows: int, seed: int) -> Iterator[Floats]:
    """The weights of each bootstrap replicate [n]: the same for every learner and training set, so that they pair."""
    picks = generator(derive(seed, "utility", "bootstrap"))
    for _ in range(REPLICATES):
        yield np.bincount(picks.integers(0, rows, rows), minlength=rows).astype(np.float64)


def replicated(
    whole: Mapping[str, Mapping[str, Score]], halves: Sequence[Mapping[str, Mapping[str, Score]]], rows: int, seed: int
) -> dict[str, dict[str, Any]]:
    """training set -> score -> {"value", "draws"}: of the whole, and with other test rows and other training rows.

    A draw is the score of a bootstrap replicate, moved by how far one of the `halves` lies from their mean (widened by
    sqrt(h / (h - 1)) of h halves); None where it can't be computed.
    """
    ones = np.ones(rows)
    answer: dict[str, Any] = {s: {n: {"value": of(ones), "draws": []} for n, of in held.items()} for s, held in whole.items()}
    moves = {s: {n: _moves([h[s][n](ones) for h in halves]) for n in held} for s, held in whole.items()}
    for i, weights in enumerate(draws(rows, seed)):
        for s, held in whole.items():
            for n, of in held.items():
                drawn, by = of(weights), moves[s][n][i % len(halves)]
                low, high = BOUNDS.get(n, (0.0, 1.0))
                answer[s][n]["draws"].append(None if drawn is None or by is None else min(max(drawn + by, low), high))
    return answer


def _moves(halves: Sequence[float | None]) -> list[float | None]:
    known = [x for x in halves if x is not None]
    if len(known) < len(halves):
        return [None] * len(halves)
    return [(x - float(np.mean(known))) * (len(known) / (len(known) - 1)) ** 0.5 for x in known]


def summary(value: float | None, replicates: Any) -> list[float | None]:
    """[value, lower, upper]: a 95% percentile interval where at least 50 replicates have a number."""
    known = np.asarray(replicates, np.float64)
    known = known[~np.isnan(known)]
    if value is None or len(known) < LEAST_DRAWS:
        return [value, None, None]
    return [value, float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975))]


def averaged(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of {"value", "draws"} over learners, replicate by replicate; None where one of them has none."""
    values = [a["value"] for a in answers]
    value = None if None in values or not values else float(np.mean(values))
    return {"value": value, "draws": np.mean([np.array(a["draws"], np.float64) for a in answers], axis=0)}


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """a - b of two {"value", "draws"}, paired by replicate."""
    value = None if a["value"] is None or b["value"] is None else a["value"] - b["value"]
    return {"value": value, "draws": np.array(a["draws"], np.float64) - np.array(b["draws"], np.float64)}
