"""What is shown of a sweep: a text table, trials.csv, and sweep.html with a picture of parallel coordinates.

Names and settings are the user's words: escaped everywhere. The page opens offline, runs no script and follows the reader's
light or dark colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinlake.core.errors import escaped
from twinlake.core.text_tables import aligned, csv_text
from twinlake.evaluate.plots import CARD, INK, SOFT, TWIN, Plotter
from twinlake.sweep.ranking import ranked
from twinlake.sweep.record import Trial
from twinlake.sweep.space import Dimension, Objective, told
from twinlake.tables.parts import write_text

SHOWN = 30  # trials in the text table
TICKS = 12  # choices that are named on an axis
FAINT = 0.25  # how much of the colour the worst trial has


@dataclass(frozen=True)
class Axis:
    """A vertical axis: its name, where a trial stands on it (0 to 1, None: nowhere), and the (place, text) of its ticks."""

    name: str
    place: Callable[[Trial], float | None]
    ticks: tuple[tuple[float, str], ...]


def summary_text(folder: Path, trials: Sequence[Trial], best: Sequence[Trial], objectives: Sequence[Objective]) -> str:
    """The trials, best first, and where things are."""
    rows = _rows(trials, best, objectives)
    more = [f"and {len(rows) - 1 - SHOWN} more in trials.csv"] if len(rows) - 1 > SHOWN else []
    numbers = ", ".join(str(trial.number) for trial in best)
    which = f"trial {numbers}" if len(best) == 1 else f"trials {numbers}: none is beaten in all; best.yaml is of the first"
    ends = [("best", which), ("config", folder / "best.yaml"), ("page", folder / "sweep.html")]
    return "\n".join([aligned(rows[: SHOWN + 1]), *more, "", *(f"{name:<9} {what}" for name, what in ends)])


def trials_csv(trials: Sequence[Trial], objectives: Sequence[Objective], space: Sequence[Dimension]) -> str:
    """One line a trial, in the order they ran."""
    head = ["trial", "state", *(o.name for o in objectives), *(d.name for d in space), "seconds", "reason"]
    rows: list[list[str | int | float]] = [list(head)]
    for t in trials:
        values = [t.values.get(o.name, "") for o in objectives]
        settings = [v if isinstance(v, int | float) and not isinstance(v, bool) else told(v) for v in t.settings.values()]
        rows.append([t.number, t.state, *values, *settings, t.seconds, t.reason or ""])
    return csv_text(rows)


def write_page(
    path: Path,
    name: str,
    trials: Sequence[Trial],
    best: Sequence[Trial],
    objectives: Sequence[Objective],
    space: Sequence[Dimension],
) -> Path:
    """Writes sweep.html; the same input gives the same bytes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    loader, escaping = PackageLoader("twinlake.sweep", "."), select_autoescape(default=True)
    pages = Environment(loader=loader, autoescape=escaping, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    failed = [(trial.number, escaped(trial.reason or "")) for trial in trials if trial.state == "failed"]
    text = pages.get_template("sweep.html").render(
        name=escaped(name),
        rows=_rows(trials, best, objectives),
        objectives=[(o.name, "lower" if o.lower else "higher") for o in objectives],
        best=[trial.number for trial in best],
        settings=[(escaped(key), _cell(value)) for key, value in best[0].settings.items()],
        values=[(key, f"{value:.4g}") for key, value in best[0].values.items()],
        counts=[(state, sum(t.state == state for t in trials)) for state in ("finished", "given up", "failed")],
        failed=failed,
        picture=parallel(trials, best, objectives, space),
        axes=len(space) + len(objectives),
    )
    write_text(path, text)
    return path


def _rows(trials: Sequence[Trial], best: Sequence[Trial], objectives: Sequence[Objective]) -> list[list[str]]:
    """Head and trials as text: the best first, those that did not finish last."""
    names = [escaped(name) for name in trials[0].settings]
    rows = [["trial", *(o.name for o in objectives), *names, "seconds", "state"]]
    finished = [*best, *(trial for trial in ranked(trials, objectives) if trial not in best)]
    for trial in [*finished, *(trial for trial in trials if not trial.values)]:
        values = [f"{trial.values[o.name]:.4g}" if trial.values else "" for o in objectives]
        settings = [_cell(value) for value in trial.settings.values()]
        rows.append([str(trial.number), *values, *settings, f"{trial.seconds:.0f}", "best" if trial in best else trial.state])
    return rows


def _cell(value: Any) -> str:
    return escaped(told(value))


def parallel(
    trials: Sequence[Trial], best: Sequence[Trial], objectives: Sequence[Objective], space: Sequence[Dimension]
) -> str:
    """One line a trial across an axis for each setting and objective, as an SVG element; the stronger its colour the better."""
    axes = [*map(_of_setting, space), *(_of_objective(o, trials) for o in objectives)]
    order = ranked(trials, objectives)
    strength = {t.number: 1 - (1 - FAINT) * i / max(1, len(order) - 1) for i, t in enumerate(order)}
    plots = Plotter()
    figure, canvas = plots.figure(max(4.5, 1.5 * len(axes)), 3.6)
    canvas.set_axis_off()
    for trial in [*(t for t in trials if t.given_up), *reversed(order)]:
        points = [(x, y) for x, axis in enumerate(axes) if (y := axis.place(trial)) is not None]
        style: dict[str, Any] = {"color": SOFT, "linewidth": 1.0, "linestyle": "--"}
        if trial.values:
            style = {"color": TWIN, "alpha": strength[trial.number], "linewidth": 2.6 if trial in best else 1.2}
        (line,) = canvas.plot(*zip(*points, strict=True), **style)
        line.set_gid(f"trial-{trial.number}")
    behind = {"facecolor": CARD, "edgecolor": "none", "pad": 1.0, "alpha": 0.8}
    for x, axis in enumerate(axes):
        canvas.axvline(x, 0, 1, color=INK, linewidth=0.8)
        canvas.text(x, 1.06, _in_lines(axis.name), ha="center", va="bottom", color=INK, parse_math=False)
        for y, text in axis.ticks:
            canvas.text(x + 0.05, y, _cut(text), va="center", fontsize=8, color=INK, parse_math=False, bbox=behind)
    canvas.set_xlim(-0.35, len(axes) - 0.35)
    canvas.set_ylim(0, 1)
    names = ", ".join(escaped(d.name) for d in space)
    reached = ", ".join(f"{escaped(name)} {_cell(value)}" for name, value in best[0].settings.items())
    label = (
        f"Parallel coordinates of {len(trials)} trials: {names}, and {', '.join(o.name for o in objectives)}; best: {reached}"
    )
    return plots.svg(figure, label)


def _of_setting(dimension: Dimension) -> Axis:
    def place(trial: Trial) -> float | None:
        return dimension.place(trial.settings[dimension.name])

    if dimension.choices:
        named = dimension.choices if len(dimension.choices) <= TICKS else (dimension.choices[0], dimension.choices[-1])
        values = named
    else:
        low, high = dimension.low, dimension.high
        middle = (low * high) ** 0.5 if dimension.log else (low + high) / 2
        values = (low, round(middle) if dimension.integer else middle, high)
    return Axis(escaped(dimension.name), place, tuple((dimension.place(v), _tick(v)) for v in values))


def _tick(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else _cell(value)


def _of_objective(objective: Objective, trials: Sequence[Trial]) -> Axis:
    """The better the higher, whichever way the number goes."""
    values = [trial.values[objective.name] for trial in trials if trial.values]
    low, high = min(values), max(values)

    def height(value: float) -> float:
        share = 0.5 if low == high else (value - low) / (high - low)
        return 1 - share if objective.lower else share

    def place(trial: Trial) -> float | None:
        return height(trial.values[objective.name]) if trial.values else None

    ends = [low] if low == high else [low, (low + high) / 2, high]
    return Axis(objective.name, place, tuple((height(v), f"{v:.4g}") for v in ends))


def _in_lines(name: str) -> str:
    """A dotted name over two lines."""
    parents, dot, last = name.rpartition(".")
    return f"{_cut(parents)}{dot}\n{_cut(last)}" if dot else _cut(last)


def _cut(text: str) -> str:
    return text if len(text) <= 18 else text[:17] + "…"
