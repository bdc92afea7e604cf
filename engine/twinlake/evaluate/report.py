"""The report: one HTML file that opens offline, asks nothing of the network and runs no script.

Everything that comes from a table (names, labels) is escaped; plots are inline SVG; no bar or cell of fewer than k rows
is shown. It reads an `Evaluation` and token counts, never a table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twinlake.core.errors import escaped
from twinlake.evaluate import report_privacy, report_use
from twinlake.evaluate.bars import column_bars
from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.evidence import Result
from twinlake.evaluate.plots import Plotter
from twinlake.evaluate.report_brief import brief
from twinlake.evaluate.report_groups import segments
from twinlake.evaluate.verdicts import verdict
from twinlake.profile.counts import TokenCounts

OPEN_COLUMNS = 60
DRAWN_COLUMNS = 300
GROUPS = {
    "fidelity": ("Columns and pairs", "Does each column, and each pair of columns, have the same distribution?"),
    "correlation": ("Associations", "Do columns hang together as they do in the real table?"),
    "structure": ("Deep structure", "Do whole rows fill the same space?"),
    "utility": ("Downstream", "Does a model learn the same from the twin, and can a classifier tell the twin apart?"),
    "fairness": ("Fairness", "Do models treat groups of people alike, and does learning from the twin change that?"),
    "privacy": ("Privacy", "What do attackers learn of people trained on, beyond what they learn of people never seen?"),
}
PERCENT = {"validity", "exact_copies", "near_copies", "text_copies", "closer_to_train"}
PERCENT |= {"demographic_parity_gap", "equalized_odds_gap", "privacy_risk", *report_privacy.MEANING}
BESIDE = {"fairness": ("Trained on the twin", "Trained on real rows")}


def write_report(
    path: str | Path,
    evaluation: Evaluation,
    real: TokenCounts | None = None,
    synthetic: TokenCounts | None = None,
    facts: Mapping[str, Any] | None = None,
    k: int = 10,
) -> Path:
    """Writes the page to `path` and returns it. The same input gives the same bytes.

    `facts`, all optional: `name` of the run; `run`, `versions`, `timings`, `privacy` as flat mappings (timings in
    seconds by stage); `plan` as a list of {"column", "transform", "detail"}; `losses` as a list of {"epoch", "train",
    "validation"}; `guarantee` of differential privacy, as in model.json.
    """
    target = Path(path)
    text = render_report(evaluation, real, synthetic, facts, k)
    half = target.with_name(target.name + ".part")
    half.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(half, target)
    return target


def render_report(
    evaluation: Evaluation,
    real: TokenCounts | None = None,
    synthetic: TokenCounts | None = None,
    facts: Mapping[str, Any] | None = None,
    k: int = 10,
) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    loader = PackageLoader("twinlake.evaluate", ".")
    pages = Environment(
        loader=loader,
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    told, plots = dict(facts or {}), Plotter()
    return pages.get_template("report.html").render(
        name=escaped(str(told.get("name", "twin"))),
        score=evaluation.score,
        grade=evaluation.grade,
        headline=headline(evaluation),
        brief=brief(evaluation),
        rows=evaluation.facts.get("rows", {}),
        k=k,
        quality=evaluation.results.get("quality_score", Result(None, reason="not measured")),
        groups=groups(evaluation),
        columns=columns(evaluation, real, synthetic, plots, k),
        open_columns=OPEN_COLUMNS,
        of_columns=len(real.columns) if real is not None else 0,
        looked_at=looked_at(evaluation),
        heats=heats(evaluation, plots),
        densities=densities(evaluation, plots),
        worst=worst(evaluation),
        segments=segments(evaluation),
        giveaways=giveaways(evaluation),
        checks=checks(evaluation),
        downstream=report_use.downstream(evaluation, plots),
        fairness=report_use.fairness(evaluation, plots),
        attacks=report_privacy.attacks(evaluation, plots, told.get("guarantee")),
        sheets=sheets(evaluation, told),
        plan=plan(told),
        losses=losses(told, plots),
    )


def headline(evaluation: Evaluation) -> str:
    """The sentence under the score."""
    quality = evaluation.results.get("quality_score")
    if evaluation.score is None or quality is None:
        return "The score could not be computed; the reasons stand with each metric."
    at = quality.detail.get("at_reference_n")
    if quality.reference is None or at is None:
        return "There was no holdout, so there is no ceiling to hold the score against."
    gap = quality.reference - at
    scale = f"At equal numbers of rows the twin scores {at:.1f}, real rows never seen by the model {quality.reference:.1f}."
    close = (
        "That is as good as real rows get."
        if gap <= 1
        else "That is close to what real rows get."
        if gap <= 5
        else ("The gap is what is left to gain.")
    )
    return f"{scale} {close}"


def groups(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The metrics of each group with their verdicts."""
    known = evaluation.facts.get("metrics", {})
    out = []
    for key, (title, question) in GROUPS.items():
        rows = []
        for name, result in evaluation.results.items():
            about = known.get(name)
            if about is None or about["group"] != key or not result.asked():
                continue
            told = verdict(name, result, about["better"])
            rows.append(
                {
                    "name": name,
                    "title": about["title"],
                    "better": about["better"],
                    "tone": told.tone,
                    "verdict": told.text,
                    "value": number(name, result.comparable()),
                    "reference": number(name, result.reference),
                    "interval": interval(name, result),
                    "note": _note(result),
                }
            )
        beside = BESIDE.get(key, ("Twin", "Held-out real rows"))
        out.append({"key": key, "title": title, "question": question, "metrics": rows, "beside": beside})
    # Fairness is measured on request.
    return [g for g in out if g["metrics"] or g["key"] != "fairness"]


def _note(result: Result) -> str:
    detail, parts = result.detail, []
    if result.value is not None and detail.get("at_reference_n") is not None and detail.get("n"):
        parts.append(f"all {detail['n']:,} twin rows: {result.value:.4g}")
    elif detail.get("n"):
        parts.append(f"{detail['n']:,} twin rows")
    if detail.get("n_reference"):
        parts.append(f"{detail['n_reference']:,} holdout rows")
    for key, words in (("n_each", "rows of each kind"), ("n_test", "test rows")):
        if detail.get(key):
            parts.append(f"{detail[key]:,} {words}")
    return "; ".join(parts)


def number(name: str, value: float | None) -> str:
    """A metric's value as shown."""
    if value is None:
        return "–"
    if name in PERCENT:
        return f"{100 * value:.2f}%" if value < 0.1 else f"{100 * value:.1f}%"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def interval(name: str, result: Result) -> str:
    """The 95% interval as shown, or nothing."""
    return "" if result.interval is None else " to ".join(number(name, x) for x in result.interval)


def columns(
    evaluation: Evaluation, real: TokenCounts | None, twin: TokenCounts | None, plots: Plotter, k: int
) -> list[dict[str, Any]]:
    """A plot for each column; of very wide tables the worst ones."""
    if real is None or twin is None or not real.rows or not twin.rows:
        return []
    held = evaluation.results.get("univariate_tv")
    each = held.detail.get("each", {}) if held is not None else {}
    order = list(range(len(real.columns)))
    if len(order) > DRAWN_COLUMNS:
        order = sorted(order, key=lambda c: -each.get(real.columns[c], 0.0))[:DRAWN_COLUMNS]
    out = []
    for c in order:
        bars = column_bars(real, twin, c, k)
        tv = each.get(real.columns[c])
        tv_text = None if tv is None else f"{tv:.3f}"
        out.append({"name": bars.column, "at": c, "svg": plots.bars(bars), "note": bars.note, "tv": tv_text})
    return out


def _matrix(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    return np.array([[np.nan if x is None else x for x in row] for row in rows], dtype=np.float64)


def heats(evaluation: Evaluation, plots: Plotter) -> list[dict[str, str]]:
    """Association maps of the real table, the twin, and their difference."""
    result = evaluation.results.get("association")
    if result is None or result.value is None or "real" not in result.detail:
        return []
    names, real, twin = result.detail["columns"], _matrix(result.detail["real"]), _matrix(result.detail["twin"])
    gap = np.abs(real - np.nan_to_num(twin))
    top = max(0.2, float(np.nanmax(gap)))
    return [
        {"title": "Real", "svg": plots.heat(real, names, "Associations of column pairs in the real rows", True)},
        {"title": "Twin", "svg": plots.heat(twin, names, "Associations of column pairs in the twin", True)},
        {
            "title": f"Difference, up to {float(np.nanmax(gap)):.2f}",
            "svg": plots.heat(gap, names, "Absolute difference of the associations", False, top),
        },
    ]


def looked_at(evaluation: Evaluation) -> str:
    """How many columns the maps have, where that is not all."""
    result = evaluation.results.get("association")
    shown, known = len(result.detail.get("columns", [])) if result is not None else 0, len(evaluation.facts.get("columns", []))
    return f"; {shown:,} of {known:,} columns" if 0 < shown < known else ""


def densities(evaluation: Evaluation, plots: Plotter) -> dict[str, Any] | None:
    """Rows on the first two principal components."""
    result = evaluation.results.get("deep_structure")
    if result is None or "density" not in result.detail:
        return None
    held, window = result.detail["density"], np.array(result.detail["window"])
    maps = [
        {
            "title": title,
            "svg": plots.density(np.array(held[key], dtype=np.float64), window, f"{title} rows by two components"),
        }
        for key, title in (("real", "Real"), ("twin", "Twin"))
    ]
    told = [", ".join(escaped(n) for n, _ in loads[:3]) for loads in result.detail.get("loadings", [])]
    share = [f"{100 * x:.0f}%" for x in result.detail.get("explained", [])]
    return {"maps": maps, "loadings": list(zip(told, share, strict=False))}


def worst(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Tables of the columns and pairs that differ most."""
    out = []
    for name, title in (("univariate_tv", "Columns"), ("bivariate_tv", "Pairs")):
        result = evaluation.results.get(name)
        if result is None or not result.detail.get("worst"):
            continue
        rows = [
            [
                " × ".join(escaped(c) for c in w["columns"]),
                number(name, w["tv"] if w["at_reference_n"] is None else w["at_reference_n"]),
                number(name, w["reference"]),
            ]
            for w in result.detail["worst"]
        ]
        head = [title, "Twin", "Holdout"]
        out.append({"title": f"{title}: total variation at equal numbers of rows", "head": head, "rows": rows})
    result = evaluation.results.get("association")
    if result is not None and result.detail.get("worst"):
        rows = [
            [" × ".join(escaped(c) for c in w["columns"]), number("", w["real"]), number("", w["twin"])]
            for w in result.detail["worst"]
        ]
        out.append({"title": "Pairs: association", "head": ["Pairs", "Real", "Twin"], "rows": rows})
    return out


CHECKS = {
    "type": "Names and types",
    "range": "Numbers and dates within the published bounds",
    "category": "Known categories",
    "null": "Missing only where train rows miss values",
    "key": "Unique keys",
    "rule": "Rules of the run",
}
FAILED = 5


def checks(evaluation: Evaluation) -> dict[str, Any] | None:
    """What every row should keep, a line for each kind of check, and below it the worst of those that fail."""
    result = evaluation.results.get("validity")
    found = result.detail.get("checks", []) if result is not None else []
    rows = []
    for kind, title in CHECKS.items():
        own = [c for c in found if c["check"] == kind]
        failed = sorted((c for c in own if not c["passed"]), key=lambda c: -c["rows"])
        rows += [[title, f"{len(own) - len(failed)} of {len(own)}", "–" if not failed else ""]] if own else []
        rows += [[f"↳ {escaped(c['of'])}", "fails", f"{c['rows']:,}"] for c in failed[:FAILED]]
        rows += [[f"↳ {len(failed) - FAILED} more", "fail", ""]] if len(failed) > FAILED else []
    return {"title": "Checks of every row", "head": ["Check", "Passed", "Rows that fail"], "rows": rows} if rows else None


def giveaways(evaluation: Evaluation) -> dict[str, Any] | None:
    """The columns and pairs by which a classifier tells the twin from real rows, as a table; None where there are none."""
    result = evaluation.results.get("detection")
    found = [one for of in ("columns", "pairs") for one in result.detail.get(of, [])] if result is not None else []
    rows = [
        [
            " × ".join(escaped(c) for c in one["columns"]),
            number("", one["loss"]),
            " to ".join(number("", x) for x in one["interval"]),
        ]
        for one in found
    ]
    head = ["Column, or pair", "Loss of AUC when shuffled", "95% interval"]
    return {"title": "What gives the twin away", "head": head, "rows": rows} if rows else None


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return escaped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def sheets(evaluation: Evaluation, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The facts of the run as short tables."""
    rows = {f"{side} rows": n for side, n in evaluation.facts.get("rows", {}).items()}
    run = {
        **rows,
        "columns": len(evaluation.facts.get("columns", [])),
        "seed": evaluation.facts.get("seed"),
        **told.get("run", {}),
    }
    stages = {k: f"{v:.1f} s" if isinstance(v, (int, float)) else v for k, v in told.get("timings", {}).items()}
    parts = {
        "Run": run,
        "Privacy settings": told.get("privacy", {}),
        "Time": stages,
        "Versions": told.get("versions", {}),
    }
    return [
        {"title": title, "rows": [(escaped(str(k).replace("_", " ")), _plain(v)) for k, v in held.items()]}
        for title, held in parts.items()
        if held
    ]


def plan(told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What was done to each column."""
    return [
        (escaped(str(row["column"])), escaped(str(row.get("transform", ""))), escaped(str(row.get("detail", ""))))
        for row in told.get("plan", [])
    ]


def losses(told: Mapping[str, Any], plots: Plotter) -> str | None:
    """The loss curve, where at least two epochs were told."""
    rows = [r for r in told.get("losses", []) if r.get("train") is not None]
    if len(rows) < 2:
        return None
    checked = [float(r["validation"]) for r in rows] if all(r.get("validation") is not None for r in rows) else None
    return plots.losses([float(r["epoch"]) for r in rows], [float(r["train"]) for r in rows], checked)
