"""The report's part on privacy: the level and why, a picture of all attacks, what each means, the guarantee, what is not known.

It reads an `Evaluation`, never a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinlake.core.errors import escaped
from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.plots import Plotter

MEANING = {
    "copies": "The whole row of someone trained on stands in the twin, exactly or almost.",
    "singling_out": "A description is read off the twin that fits one single person.",
    "linkability": "Half of someone's columns lie in one place, half in another: the twin tells that they belong together.",
    "attribute_inference": "All of someone's columns but one are known: the twin tells the last.",
    "membership_inference": "Someone's whole row is known: the twin tells that it was trained on.",
    "model_membership": "The same by the model folder, which is not part of the twin. It does not count for the level.",
}
NOT_MEASURED = (
    "Attacks that nobody has thought of, or that know more than the twin: other tables, gradients of the model, earlier twins.",
    "People with several rows: an attack is made on a row, not on all rows of one person.",
    "Columns that are replaced instead of modelled (names, keys, e-mail addresses, texts).",
)


def guarantee_lines(guarantee: Mapping[str, Any] | None) -> list[str]:
    """What differential privacy promises, and what was treated as public (`public`: what -> why); nothing without one."""
    if not guarantee:
        return []
    terms = ", ".join(f"{key} {guarantee[key]:g}" for key in ("epsilon", "delta") if guarantee.get(key) is not None)
    unit = escaped(str(guarantee.get("unit", "row")))
    lines = [f"Guaranteed by differential privacy, whatever the attack: {terms}; unit of privacy: {unit}."]
    held = guarantee.get("public") or {}
    public = [escaped(f"{k} ({v})" if v else str(k)) for k, v in held.items()]
    return [*lines, f"Treated as public: {', '.join(public) if public else 'nothing'}."]


def attacks(evaluation: Evaluation, plots: Plotter, guarantee: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """The level, the picture of all attacks, and a table of what each is and found; None where no attack was tried."""
    known = evaluation.facts.get("metrics", {})
    found = {n: evaluation.results[n] for n in MEANING if n in evaluation.results and n in known}
    risks = {n: (r.value, r.interval) for n, r in found.items() if r.value is not None and r.interval is not None}
    if not found:
        return None
    rows = []
    for name, result in found.items():
        row: dict[str, Any] = {"title": known[name]["title"], "meaning": MEANING[name], "best": "", "cells": ["–"] * 4}
        if result.value is None:
            row["meaning"] += f" Not tried: {escaped(str(result.reason))}."
        else:
            best: dict[str, Any] = next(
                (t for t in result.detail.get("tries", []) if t["name"] == result.detail.get("strongest")), {}
            )
            low, high = result.interval or (0.0, 1.0)
            spread = f"{_percent(low)} to {_percent(high)}"
            row |= {"best": escaped(str(best.get("name", ""))), "cells": [*_rates(best), _percent(result.value), spread]}
        rows.append(row)
    titles = [known[n]["title"] for n in risks]
    whole = evaluation.results.get("privacy_risk")
    detail = whole.detail if whole is not None else {}
    spoken = "; ".join(
        f"{known[n]['title']} {_percent(v)} ({_percent(i[0])} to {_percent(i[1])})" for n, (v, i) in risks.items()
    )
    return {
        "level": detail.get("level"),
        "why": detail.get("why"),
        "model": evaluation.model_exposure,
        "guarantee": guarantee_lines(guarantee),
        "svg": plots.risks(titles, list(risks.values()), f"Risk of each attack beyond its control: {spoken}")
        if risks
        else None,
        "head": ["Attack", "Trained on", "Never seen", "Risk", "95% interval"],
        "rows": rows,
        "names": [*found, "privacy_risk"],
        "unknown": NOT_MEASURED,
    }


def _rates(best: Mapping[str, Any]) -> list[str]:
    """Success with people trained on, and with people never seen."""
    if best.get("kind") == "area":
        return [f"AUC {best['attack']:.3f}", "AUC 0.500"]
    return [_percent(best.get("attack")), _percent(best.get("control"))]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"
