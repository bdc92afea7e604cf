"""The report in a few lines of Markdown, for a pull request or a chat: report.md. It reads an `Evaluation`, never a table."""

from __future__ import annotations

from typing import Any

from twinlake.core.errors import escaped
from twinlake.core.text_tables import markdown, markdown_text
from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.metrics.attacks import ATTACKED
from twinlake.evaluate.report import groups, headline, worst
from twinlake.evaluate.report_groups import segments

WORST = 5


def markdown_summary(evaluation: Evaluation, name: str) -> str:
    """Score, a table of each group of metrics, and the columns and pairs that differ most. Names are escaped."""
    score = "none" if evaluation.score is None else f"{evaluation.score:.1f} of 100, {evaluation.grade}"
    rows = [f"{count:,} {side}" for side, count in evaluation.facts.get("rows", {}).items() if count is not None]
    parts = [f"# {markdown_text(escaped(name))}", f"**Quality score: {score}.** {headline(evaluation)}"]
    parts.append(f"Rows: {', '.join(rows)}.")
    if line := evaluation.protection:
        parts.insert(2, f"**Protection: {markdown_text(line)}** {evaluation.model_exposure or ''}".rstrip())
    for group in groups(evaluation):
        table = [["", "twin", "real holdout rows", "what it means"]]
        table += [[m["title"], _value(m), m["reference"], m["verdict"]] for m in group["metrics"]]
        if len(table) > 1:
            parts += [f"## {group['title']}", markdown(table)]
    for one in (*worst(evaluation), *segments(evaluation)):
        parts += [f"## {one['title']}", markdown([one["head"], *one["rows"][:WORST]])]
    return "\n\n".join(parts) + "\n"


def _value(metric: dict[str, Any]) -> str:
    """What was measured; of attacks with the interval, without which a risk says little."""
    value = str(metric["value"])
    return f"{value} ({metric['interval']})" if metric["name"] in ATTACKED and metric["interval"] else value
