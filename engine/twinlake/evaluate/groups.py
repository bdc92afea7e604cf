"""Fairness by group: how rows fall into groups of a protected column, and what a classifier does to each group.

Definitions as in fairlearn: selection rate P(predicted positive), demographic parity difference = its greatest less its
least over groups, equalized odds difference = the greater of the differences of recall and of false-positive rate. Of
groups, and of positive or negative rows in a group, fewer than k test rows are neither shown nor counted in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import floor, log10
from typing import Any

import numpy as np

from twinlake.evaluate.counters import Floats, Ints
from twinlake.evaluate.scores import Score

RATES = ("selection_rate", "accuracy", "recall", "false_positive_rate")
GAPS = ("demographic_parity", "equalized_odds", "accuracy")
QUANTILE_GROUPS = 4
MOST_GROUPS = 12
DAY = 86400.0


@dataclass(frozen=True)
class Groups:
    """`code` [n]: the group of each row, -1 for none; `labels` of the groups; rows without a value, and in small groups."""

    code: Ints
    labels: tuple[str, ...]
    missing: int
    small: int

    def told(self) -> dict[str, Any]:
        """The groups and their rows, fit for publication."""
        rows = [int(n) for n in np.bincount(self.code[self.code >= 0], minlength=len(self.labels))]
        return {"groups": list(self.labels), "n": rows, "missing": self.missing, "in_small_groups": self.small}


def by_value(codes: Ints, names: tuple[str | None, ...], k: int) -> Groups:
    """The most frequent values of at least k rows, at most 12. `codes` [n] into `names`; a missing value is in no group."""
    known = np.array([name is not None for name in names], bool)
    count = np.where(known, np.bincount(codes, minlength=len(names)), 0)
    shown = sorted(i for i in np.argsort(-count, kind="stable")[:MOST_GROUPS] if count[i] >= max(k, 1))
    place = np.full(len(names), -1, np.int64)
    place[shown] = np.arange(len(shown))
    missing = int((~known[codes]).sum())
    labels = tuple(str(names[i]) for i in shown)
    return Groups(place[codes], labels, missing, int((place[codes] < 0).sum()) - missing)


def by_range(x: Floats, k: int, day: float = 0.0) -> Groups:
    """At most four groups of about as many rows, each of at least k, between rounded bounds; a number of at most four values
    by value. `day`: how many units of `x` make a day, where it is a date or a time; 0 for plain numbers."""
    known = x[~np.isnan(x)]
    values = np.unique(known)
    if len(values) <= QUANTILE_GROUPS and not day:
        names = (None, *(f"{v:.15g}" for v in values))
        return by_value(np.where(np.isnan(x), 0, 1 + np.searchsorted(values, x)), names, k)
    missing = len(x) - len(known)
    if len(known) < max(k, 1):
        return Groups(np.full(len(x), -1), (), missing, len(known))
    bounds = _bounds(known, k, day)
    code = np.where(np.isnan(x), -1, np.searchsorted(np.array(bounds), x, side="right"))
    shown = [_date(b / day) if day else f"{b:.10g}" for b in bounds]
    labels = [f"{a} to below {b}" for a, b in pairwise(shown)]
    labels = [f"below {shown[0]}", *labels, f"{shown[-1]} and above"] if shown else ["all"]
    return Groups(code, tuple(labels), missing, 0)


def _bounds(known: Floats, k: int, day: float) -> list[float]:
    """Quartiles, rounded, such that every group between them has k rows."""
    quartiles = np.quantile(known, [0.25, 0.5, 0.75], method="inverted_cdf")
    middle = float(quartiles[2] - quartiles[0]) or float(np.ptp(known)) or 1.0
    unit = day or 1.0
    step = max(10.0 ** (floor(log10(middle / unit)) - 1) * unit, day)
    rounded = sorted({float(np.round(q / step) * step) for q in quartiles})
    bounds: list[float] = []
    for bound in rounded:
        low = bounds[-1] if bounds else -np.inf
        if min(((known >= low) & (known < bound)).sum(), (known >= bound).sum()) >= max(k, 1):
            bounds.append(bound)
    return bounds


def _date(days: float) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=round(days))).date().isoformat()
    except OverflowError:
        return f"day {days:.6g}"


def cells(code: Ints, truth: Ints, predicted: Ints, groups: int, weights: Floats) -> Floats:
    """Rows by group, truth and prediction (both 0 or 1, 1 positive): [G, 2, 2]. Rows of no group are left out."""
    inside = code >= 0
    at = code[inside] * 4 + truth[inside] * 2 + predicted[inside]
    return np.bincount(at, weights[inside], minlength=groups * 4).reshape(groups, 2, 2).astype(np.float64)


def rates(held: Floats) -> dict[str, Floats]:
    """Each of RATES by group [G] from `cells`; NaN where there is nothing to divide by."""
    rows, true = held.sum(axis=(1, 2)), held.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "selection_rate": held[:, :, 1].sum(axis=1) / rows,
            "accuracy": (held[:, 0, 0] + held[:, 1, 1]) / rows,
            "recall": held[:, 1, 1] / true[:, 1],
            "false_positive_rate": held[:, 0, 1] / true[:, 0],
        }


def enough(held: Floats, k: int) -> dict[str, Floats]:
    """1 where a rate rests on at least k rows, NaN elsewhere; to multiply `rates` with. The same for every classifier."""
    rows, true = held.sum(axis=(1, 2)), held.sum(axis=2)
    below = {"selection_rate": rows, "accuracy": rows, "recall": true[:, 1], "false_positive_rate": true[:, 0]}
    return {name: np.where(n >= max(k, 1), 1.0, np.nan) for name, n in below.items()}


def rates_shown(groups: Groups, truth: Ints, predicted: Ints, k: int) -> dict[str, Floats]:
    """Each of RATES by group, NaN where fewer than k rows stand behind it."""
    held = cells(groups.code, truth, predicted, len(groups.labels), np.ones(len(truth)))
    return {name: rate * enough(held, k)[name] for name, rate in rates(held).items()}


def fair_scores(groups: Groups, truth: Ints, predicted: Ints, k: int) -> dict[str, Score]:
    """Each of GAPS as a function of the rows' weights; which rates count follows from the rows themselves."""
    rests = enough(cells(groups.code, truth, predicted, len(groups.labels), np.ones(len(truth))), k)

    def of(gap: str) -> Score:
        def score(weights: Floats) -> float | None:
            held = rates(cells(groups.code, truth, predicted, len(groups.labels), weights))
            return gaps({name: rate * rests[name] for name, rate in held.items()})[gap]

        return score

    return {gap: of(gap) for gap in GAPS}


def gaps(by_group: dict[str, Floats]) -> dict[str, float | None]:
    """Each of GAPS; None where fewer than two groups have the rates that it compares."""

    def spread(rate: str) -> float | None:
        known = by_group[rate][~np.isnan(by_group[rate])]
        return float(np.ptp(known)) if len(known) > 1 else None

    odds = [spread("recall"), spread("false_positive_rate")]
    return {
        "demographic_parity": spread("selection_rate"),
        "equalized_odds": None if odds[0] is None or odds[1] is None else max(odds[0], odds[1]),
        "accuracy": spread("accuracy"),
    }
