"""All metrics of a twin, its score of 0 to 100, and the ceiling that real holdout rows reach.

The score is 10 * SQS (see `metrics.score`). It says nothing of privacy. A metric that can't be computed has a reason
instead of a number and is not averaged in.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from twinlake.core.errors import ConfigError, DataError, nearest
from twinlake.core.progress import Progress, Silent
from twinlake.evaluate.evidence import Evidence, Metric, Result
from twinlake.evaluate.metrics import METRICS
from twinlake.evaluate.metrics.score import OF_TEXTS, TABULAR, grade, quality_score
from twinlake.evaluate.protection import SMALL

Number = int | float


def evaluate_tables(
    evidence: Evidence, metrics: Mapping[str, Metric] | None = None, progress: Progress | None = None
) -> Evaluation:
    """Computes every metric (more can be passed by name) and the score."""
    chosen, told = {**METRICS, **(metrics or {})}, progress or Silent()
    results: dict[str, Result] = {}
    seconds: dict[str, float] = {}
    for number, (name, metric) in enumerate(chosen.items()):
        told.update(number, len(chosen), metric.title)
        start = time.monotonic()
        results[name] = metric.compute(evidence)
        # Metrics share passes: the first one of a pass carries its time.
        seconds[metric.group] = round(seconds.get(metric.group, 0.0) + time.monotonic() - start, 3)
    quality = quality_of(results, len(evidence.numeric()) + len(evidence.categorical()), len(evidence.texts))
    score, results = quality.value, {"quality_score": quality, **results}
    facts = {
        "columns": list(evidence.columns),
        "kinds": {c: evidence.kinds.get(c, "") for c in evidence.columns},
        "target": evidence.target,
        "protected": list(evidence.protected),
        "seed": evidence.seed,
        "rows": _rows(evidence),
        "seconds": seconds,
        "metrics": {n: {"title": m.title, "group": m.group, "better": m.better} for n, m in chosen.items()},
    }
    return Evaluation(score, grade(score), results, facts)


def quality_of(results: Mapping[str, Result], tabular: int, texts: int) -> Result:
    """The quality score of so many tabular columns and columns of free text, beside that of the holdout: of the same parts."""
    weights = {**TABULAR, **OF_TEXTS} if texts else TABULAR
    known = {n: results[n] for n in weights if n in results}
    held = {n: r for n, r in known.items() if r.value is not None and r.reference is not None}

    def scored(parts: Mapping[str, float | None]) -> float | None:
        return quality_score(parts, tabular, texts)

    score = scored(parts := {n: r.value for n, r in known.items()})
    at = scored({n: r.comparable() for n, r in (held or known).items()})
    ceiling = scored({n: r.reference for n, r in held.items()})
    detail = {"parts": parts, "at_reference_n": at, "weights": weights, "columns": {"tabular": tabular, "texts": texts}}
    return Result(score, None, ceiling, None if score is not None else "none of its parts could be computed", detail)


def _rows(evidence: Evidence) -> dict[str, int | None]:
    from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, row_counts

    rows = row_counts(evidence)
    return {"train": rows[TRAIN], "holdout": rows.get(HOLDOUT), "synthetic": rows[TWIN]}


def _strict(value: Any) -> Any:
    """`value` with plain Python numbers; DataError where a number is not finite, for JSON has no NaN."""
    if isinstance(value, dict):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError("a metric returned a number that is not finite; it must say `not_computed` instead")
    return value


@dataclass(frozen=True)
class Evaluation:
    """What `evaluation.json` holds. `score`: 0..100 or None; `results` has `quality_score` and each metric by name."""

    score: float | None
    grade: str
    results: dict[str, Result]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def protection(self) -> str | None:
        """The protection level that attacks measured, and why, in one line; None where none could be tried."""
        result = self.results.get("privacy_risk")
        told = result.detail if result is not None else {}
        return f"{told['level']}. {told['why']}" if told.get("level") else None

    @property
    def model_exposure(self) -> str | None:
        """What whoever has the model itself surely gains, in one line; None where that is little, or could not be tried."""
        result = self.results.get("model_membership")
        low = result.interval[0] if result is not None and result.interval is not None else 0.0
        told = f"Whoever has the model folder tells people trained on from others (risk {low:.0%} or more)"
        return f"{told}: keep it as private as the table." if low > SMALL else None

    def to_json(self) -> str:
        """Strict JSON text."""
        whole = {"format": 1, "score": self.score, "grade": self.grade, "facts": self.facts}
        whole["results"] = {name: asdict(result) for name, result in self.results.items()}
        return json.dumps(_strict(whole), ensure_ascii=False, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """The evaluation that `to_json` wrote (DataError for anything else)."""
        try:
            raw = json.loads(text)
            results = {}
            for name, r in raw["results"].items():
                interval = None if r["interval"] is None else (float(r["interval"][0]), float(r["interval"][1]))
                results[name] = Result(r["value"], interval, r["reference"], r["reason"], r["detail"])
            return cls(raw["score"], raw["grade"], results, raw["facts"])
        except (ValueError, KeyError, TypeError, IndexError):
            raise DataError("evaluation.json is damaged or of another format") from None

    def failed(self, fail_under: Mapping[str, float]) -> list[str]:
        """A line for each limit that is missed: below it, above it where lower is better, or without a number."""
        lines = []
        for name, limit in fail_under.items():
            if name not in self.results:
                raise ConfigError(f"evaluate.fail_under: no metric {name!r}{nearest(name, self.results)}")
            value = self.results[name].value
            low = self.facts.get("metrics", {}).get(name, {}).get("better") == "lower"
            if value is None:
                lines.append(f"{name}: can't be computed ({self.results[name].reason}), limit {limit:g}")
            elif value > limit if low else value < limit:
                lines.append(f"{name}: {value:.4g} is {'above' if low else 'below'} the limit {limit:g}")
        return lines

    def to_text(self) -> str:
        """A summary for a terminal: the score, then a line for each metric."""
        ceiling = self.results["quality_score"].reference
        beside = "no holdout" if ceiling is None else f"real holdout rows: {ceiling:.1f}"
        lines = [f"quality {_short(self.score, 1)} of 100, {self.grade} ({beside})"]
        lines += [f"protection {self.protection}"] if self.protection else []
        lines += [self.model_exposure] if self.model_exposure else []
        lines.append("")
        lines.append(f"{'metric':<24}{'twin':>10}{'holdout':>10}  better")
        for name, result in self.results.items():
            if name == "quality_score" or not result.asked():
                continue
            better = self.facts.get("metrics", {}).get(name, {}).get("better", "")
            note = better if result.value is not None else f"not computed: {result.reason}"
            lines.append(f"{name:<24}{_short(result.comparable()):>10}{_short(result.reference):>10}  {note}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.to_text())}</pre>"


def _short(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
