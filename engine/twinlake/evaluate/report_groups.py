"""The groups of rows in the report: those that the twin gets worst, and those that it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinlake.core.errors import escaped
from twinlake.evaluate.evaluate import Evaluation


def segments(evaluation: Evaluation) -> list[dict[str, Any]]:
    """A table of the groups of rows that the twin gets worst, and one of those that it lacks."""
    result = evaluation.results.get("segment_tv")
    detail = result.detail if result is not None else {}
    rows = [
        [
            f"{_group(w)}; farthest in {escaped(w['most'])}",
            f"{w['tv'] if w['at_reference_n'] is None else w['at_reference_n']:.3f}",
            "–" if w["reference"] is None else f"{w['reference']:.3f}",
            f"{w['n']:,}",
        ]
        for w in detail.get("worst", [])
    ]
    head = ["Rows where", "Twin", "Holdout", "Rows"]
    title = "Groups of rows: total variation of the other columns at equal numbers of rows"
    out = [{"title": title, "head": head, "rows": rows}] if rows else []
    lacking = [[_group(one), f"{one['n']:,}"] for one in detail.get("lacking", [])]
    title = "Groups of rows of which the twin has less than half as many"
    return out + ([{"title": title, "head": ["Rows where", "Rows"], "rows": lacking}] if lacking else [])


def _group(told: Mapping[str, Any]) -> str:
    return f"{escaped(told['column'])} = {escaped(told['group'])}"
