"""The report's sections on downstream use and on fairness: what `metrics.utility` and `metrics.fairness` told, as charts,
tables and sentences. Reads an `Evaluation`, never a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twinlake.core.errors import escaped
from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.groups import GAPS, RATES
from twinlake.evaluate.learning import AT_N, SETS
from twinlake.evaluate.plots import Plotter

TRAINED = {"real": "Real rows", "synthetic": "Twin", "augmented": "Real rows and twin", AT_N: "As many real rows as twin"}
CHANGES = {"synthetic_minus_real": "Twin less real", "augmented_minus_real": "Both less real"}
SCORES = {
    "accuracy": "Accuracy",
    "auc": "AUC",
    "balanced_accuracy": "Balanced accuracy",
    "r2": "R²",
    "absolute_error": "Mean absolute error, in standard deviations",
}
PERCENT = ("accuracy", "balanced_accuracy")
RATE_NAMES = dict(zip(RATES, ("Predicted positive", "Accuracy", "Recall", "False-positive rate"), strict=True))
GAP_NAMES = dict(zip(GAPS, ("Demographic parity", "Equalized odds", "Accuracy"), strict=True))
Table = dict[str, Any]
Told = Sequence[float | None]


def downstream(evaluation: Evaluation, plots: Plotter) -> dict[str, Any] | None:
    """The chart and tables of the learners, where there was a target."""
    found = {n: evaluation.results.get(n) for n in ("accuracy_gap", "r2_gap", "auc_gap")}
    told = {r.detail["score"]: r.detail for r in found.values() if r is not None and "learners" in r.detail}
    if not told:
        return None
    first = next(iter(told.values()))
    scores = {first["score"]: first, **{s: x for s, x in told.items() if s != first["score"]}, **first.get("others", {})}
    target, what = escaped(str(first["target"])), SCORES[first["score"]]
    names = [*first["learners"], "mean"]
    held = [*first["learners"].values(), first["mean"]]
    label = f"{what} of each learner for {target}, trained on real rows (squares), twin (dots), both (diamonds)"
    series = {s: [list(x[s]) for x in held] for s in SETS}
    notes = [f"{_sizes(first['rows'])} Tested on {first['n_test']:,} held-out real rows. Lines are 95% intervals."]
    if "majority" in first:
        notes.append(f"Always guessing the commonest class is right for {_percent(first['majority'])}.")
    notes += [f"Left out: {_plain(n)} ({why})." for n, why in first["left_out"].items()]
    return {
        "target": target,
        "what": what,
        "svg": plots.dots([_plain(n) for n in names], series, label, first["score"] in PERCENT),
        "note": " ".join(notes),
        "tables": [_scores(f"{SCORES[s]} of each learner", s, x) for s, x in scores.items()],
    }


def _sizes(rows: dict[str, dict[str, int]]) -> str:
    """How many rows of each training set; once for all learners that had as many."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, counts in rows.items():
        alike.setdefault(tuple(counts[s] for s in SETS), []).append(_plain(name))
    told: list[str] = []
    for (real, twin, both), names in sorted(alike.items(), reverse=True):
        who = f"{', '.join(names)}: " if told else ""
        told.append(f"{who}{real:,} real rows, {twin:,} of the twin, {both:,} of both")
    return f"Learned from {'; '.join(told)}."


def _scores(title: str, score: str, told: dict[str, Any]) -> Table:
    columns = {**TRAINED, **CHANGES}
    columns = {c: name for c, name in columns.items() if c in told["mean"]}

    def cell(column: str, value: Told) -> str:
        return _change(value, score in PERCENT) if column in CHANGES else _value(value[0], score in PERCENT)

    rows = [[_plain(n), *(cell(c, x[c]) for c in columns)] for n, x in {**told["learners"], "mean": told["mean"]}.items()]
    return {"title": title, "head": ["Learner", *columns.values()], "rows": rows}


def fairness(evaluation: Evaluation, plots: Plotter) -> list[dict[str, Any]]:
    """For each protected column a sentence, charts by group and a table of gaps."""
    result = evaluation.results.get("demographic_parity_gap")
    if result is None or "columns" not in result.detail:
        return []
    target = escaped(str(result.detail.get("target", evaluation.facts.get("target"))))
    positive = escaped(str(result.detail["positive"]))
    out: list[dict[str, Any]] = []
    for column, told in result.detail["columns"].items():
        name = escaped(column)
        if "reason" in told:
            out.append({"name": name, "sentence": f"Not computed: {told['reason']}.", "charts": [], "table": None, "note": ""})
            continue
        charts = [
            {
                "title": RATE_NAMES[rate],
                "svg": plots.dots(
                    told["groups"],
                    {s: [[x, None, None] for x in told["rates"][s][rate]] for s in SETS},
                    f"{RATE_NAMES[rate]} by group of {name}, trained on real rows (squares), twin (dots), both (diamonds)",
                    True,
                ),
            }
            for rate in RATES
        ]
        columns = {**{s: TRAINED[s] for s in SETS}, **CHANGES}
        rows = [
            [GAP_NAMES[g], *(_change(x[c], True) if c in CHANGES else _spanned(x[c]) for c in columns)]
            for g, x in told["gaps"].items()
        ]
        out.append(
            {
                "name": name,
                "sentence": _sentence(told["gaps"], name, target, positive),
                "charts": charts,
                "table": {
                    "title": f"Widest difference between groups of {name}",
                    "head": ["Gap", *columns.values()],
                    "rows": rows,
                },
                "note": _rows_note(told),
            }
        )
    return out


def _sentence(gaps: dict[str, Any], name: str, target: str, positive: str) -> str:
    parity = gaps["demographic_parity"]
    shares = [_value(parity[s][0], True, " points") for s in SETS]
    text = (
        f"How often models predict {positive} for {target} differs between groups of {name} by up to {shares[0]} when they "
        f"learned from real rows, {shares[1]} from the twin, {shares[2]} from both."
    )
    moved = (_moved("The twin", parity["synthetic_minus_real"]), _moved("Adding the twin", parity["augmented_minus_real"]))
    return " ".join((text, *moved))


def _moved(what: str, change: Told) -> str:
    _, low, high = change
    if low is None or high is None or low <= 0 <= high:
        return f"{what} changes that by no more than chance does."
    return f"{what} {'widens' if low > 0 else 'narrows'} the gap."


def _rows_note(told: dict[str, Any]) -> str:
    parts = ["; ".join(f"{escaped(g)}: {n:,} rows" for g, n in zip(told["groups"], told["n"], strict=True))]
    if told["missing"]:
        parts.append(f"{told['missing']:,} rows without a value")
    if told["in_small_groups"]:
        parts.append(f"{told['in_small_groups']:,} rows in groups too small to show")
    return "; ".join(parts) + "."


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _value(value: float | None, percent: bool, unit: str = "%") -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}{unit}" if percent else f"{value:.3f}"


def _spanned(told: Told) -> str:
    value, low, high = told
    return (
        _value(value, True) if low is None or high is None else f"{_value(value, True)} ({100 * low:.1f} to {100 * high:.1f})"
    )


def _change(told: Told, percent: bool) -> str:
    if told[0] is None:
        return "–"
    by, digits = (100, 1) if percent else (1, 3)
    # Adding zero turns what rounds to -0.0 into 0.0.
    shown, *ends = (f"{round(by * x, digits) + 0.0:+.{digits}f}" for x in told if x is not None)
    return f"{shown} ({' to '.join(ends)})" if ends else shown
