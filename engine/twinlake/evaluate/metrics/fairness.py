"""Does a model treat groups of people alike, and does learning from the twin, or from both, change that?

For each protected column: what the learners do to each of its groups (see `evaluate.groups`), by training set. A metric
is the widest of the protected columns' gaps, each the mean over the learners. A gap of the greatest less the least is
never negative and grows by chance in small groups: the interval beside it, and the paired change, tell more than its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from twinlake.evaluate.downstream import Downstream, downstream
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_asked, not_computed
from twinlake.evaluate.groups import GAPS, RATES
from twinlake.evaluate.learning import SETS, Answer
from twinlake.evaluate.scores import averaged, difference, summary


def demographic_parity_gap(evidence: Evidence) -> Result:
    """The difference of selection rates of models that learned from the twin; the reference learned from the real rows."""
    return _gap(evidence, "demographic_parity")


def equalized_odds_gap(evidence: Evidence) -> Result:
    """The greater of the differences of recall and of false-positive rate; the reference learned from the real rows."""
    return _gap(evidence, "equalized_odds")


def _gap(evidence: Evidence, gap: str) -> Result:
    if not evidence.protected:
        return not_asked("no protected column was named (evaluate.protected)")
    found = downstream(evidence)
    if isinstance(found, str):
        return not_computed(found)
    told = by_column(found)
    if isinstance(told, str):
        return not_computed(told)
    columns = told["columns"]
    known = {c: x["gaps"][gap] for c, x in columns.items() if "gaps" in x and x["gaps"][gap]["synthetic"][0] is not None}
    if not known:
        reasons = {x.get("reason", f"fewer than two groups have {evidence.k} rows of each class") for x in columns.values()}
        return not_computed("; ".join(sorted(reasons)), **told)
    widest = max(known, key=lambda c: known[c]["synthetic"][0])
    value, low, high = known[widest]["synthetic"]
    about = {"target": evidence.target, "widest": widest, "change": known[widest]["synthetic_minus_real"], "k": evidence.k}
    detail = {**about, **(told if gap == GAPS[0] else {"columns": {c: {"gaps": {gap: x}} for c, x in known.items()}})}
    return Result(value, None if low is None else (low, high), known[widest]["real"][0], None, detail)


def by_column(found: Downstream) -> dict[str, Any] | str:
    """{"positive": class, "columns": {name: told}}, or why there is none. `told`: "groups", "n", rows without a value
    ("missing") or "in_small_groups"; "rates": {training set: {rate: [mean over learners by group]}}; "gaps": {gap: {training
    set or difference: [value, lower, upper]}}; "learners": rates and gaps of each; or a "reason" instead of the numbers."""
    if found.task == "regression":
        return "the target is a number; fairness is computed for two classes"
    columns: dict[str, Any] = {c: {"reason": "it is not a modelled column"} for c in found.unmodelled}
    first = next(iter(found.answers.values())).get("fairness", {"reason": "no protected column is modelled"})
    if "reason" in first:
        return str(first["reason"])
    for name, told in first["columns"].items():
        columns[name] = _column(name, told, found.answers)
    return {"positive": first["positive"], "columns": columns}


def _column(column: str, told: dict[str, Any], answers: dict[str, Answer]) -> dict[str, Any]:
    if "reason" in told:
        return told
    rates = {name: {s: a["rates"][s][column] for s in SETS} for name, a in answers.items()}
    gaps = {name: {s: {g: a["scores"][s][f"{g} of {column}"] for g in GAPS} for s in SETS} for name, a in answers.items()}
    return {
        **told,
        "rates": {s: {r: _mean([x[s][r] for x in rates.values()]) for r in RATES} for s in SETS},
        "gaps": {g: _told({s: averaged([x[s][g] for x in gaps.values()]) for s in SETS}) for g in GAPS},
        "learners": {
            name: {s: {**rates[name][s], **{f"{g}_gap": x[s][g]["value"] for g in GAPS}} for s in SETS}
            for name, x in gaps.items()
        },
    }


def _mean(rates: Sequence[Sequence[float | None]]) -> list[float | None]:
    """By group; the groups that have a rate are the same for all learners."""
    return [None if None in of_group else float(np.mean(of_group)) for of_group in zip(*rates, strict=True)]


def _told(held: dict[str, dict[str, Any]]) -> dict[str, Any]:
    changes = {f"{s}_minus_real": difference(held[s], held["real"]) for s in SETS[1:]}
    return {name: summary(x["value"], x["draws"]) for name, x in {**held, **changes}.items()}


# fmt: off
FAIRNESS = {
    "demographic_parity_gap": Metric("demographic_parity_gap", "Difference of positive predictions between groups",
                                     "fairness", "lower", demographic_parity_gap),
    "equalized_odds_gap": Metric("equalized_odds_gap", "Difference of recall or false alarms between groups",
                                 "fairness", "lower", equalized_odds_gap),
}
# fmt: on
