"""The report in a minute: one sentence on each question that readers ask, the worst answer of each group of metrics."""

from __future__ import annotations

from typing import Any

from twinlake.core.errors import escaped
from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.verdicts import Verdict, verdict

TONES = ("good", "fair", "poor")
QUESTIONS = (
    ("Is it like the real table?", ("strict_score", "univariate_tv", "bivariate_tv")),
    ("Can it be told from real rows?", ("detection",)),
    ("Does a model learn from it?", ("accuracy_gap", "r2_gap")),
    ("Is it fair?", ("demographic_parity_gap", "equalized_odds_gap")),
    (
        "Does it give real rows away?",
        ("privacy_risk", "exact_copies", "closest_record", "closer_to_train", "nearest_in_train_lift"),
    ),
)


def brief(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Of each question that something was measured for: the question, a tone, a sentence, and the number that it rests on."""
    known = evaluation.facts.get("metrics", {})
    lines = []
    for question, names in QUESTIONS:
        told: list[tuple[int, str, Verdict]] = []
        for name in names:
            result = evaluation.results.get(name)
            if result is not None and result.value is not None and name in known:
                found = verdict(name, result, known[name]["better"])
                if found.tone in TONES:
                    told.append((TONES.index(found.tone), name, found))
        if told:
            worst, name, found = max(told, key=lambda one: one[0])
            more = _strict(evaluation) if name == "strict_score" else known[name]["title"]
            lines.append({"question": question, "tone": TONES[worst], "text": found.text, "basis": more})
    if (pair := _worst_pair(evaluation)) is not None:
        lines.append({"question": "What is least like it?", "tone": "none", "text": pair, "basis": "Column pairs"})
    return lines


def _strict(evaluation: Evaluation) -> str:
    value = evaluation.results["strict_score"].value
    return f"Strict score {value:.0f} of 100: 0 is what shuffled columns reach, 100 what other real rows reach"


def _worst_pair(evaluation: Evaluation) -> str | None:
    result = evaluation.results.get("bivariate_tv")
    if result is None or not result.detail.get("worst"):
        return None
    return " with ".join(escaped(name) for name in result.detail["worst"][0]["columns"])
