"""The report's plots as inline SVG that follows the page's colours. matplotlib is imported on first use.

The same input gives the same bytes: no date, salted ids. Texts are drawn as they are, never read as formulas.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from twinlake.core.errors import escaped
from twinlake.evaluate.bars import Bars
from twinlake.evaluate.counters import Floats

# Stand-ins that the page's own colours replace: CSS variables can't pass through matplotlib.
INK, SOFT, REAL, TWIN, QUIET, CARD = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f", "#101112"
COLOURS = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    REAL: "var(--real)",
    TWIN: "var(--twin)",
    QUIET: "var(--quiet)",
    CARD: "var(--card)",
}
# Training sets: told apart by shape as much as by colour.
MARKS = {"real": ("s", QUIET), "synthetic": ("o", TWIN), "augmented": ("D", INK)}
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "twinlake",
    "text.parse_math": False,
    "font.size": 9,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.0,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "font.family": "DejaVu Sans",
}
NO_DATE = {"Date": None, "Creator": None, "Format": None, "Type": None}


class Plotter:
    """Draws plots one after another; `count` keeps their ids apart on one page."""

    def __init__(self) -> None:
        self.count = 0

    def figure(self, width: float, height: float) -> tuple[Any, Any]:
        """An empty figure without a window behind it, and its axes."""
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        with rc_context(SETTINGS):
            made = Figure(figsize=(width, height), layout="constrained")
            FigureCanvasSVG(made)
            return made, made.add_subplot()

    def svg(self, figure: Any, label: str) -> str:
        """The figure as an SVG element that stands alone in a page, with `label` for those who can't see it."""
        from matplotlib import rc_context

        out = io.StringIO()
        with rc_context(SETTINGS), warnings.catch_warnings():
            # A letter that the bundled font lacks is drawn by the reader's own font.
            warnings.simplefilter("ignore")
            figure.savefig(out, format="svg", transparent=True, metadata=NO_DATE)
        text = out.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        for stand_in, colour in COLOURS.items():
            text = text.replace(stand_in, colour)
        self.count += 1
        mark = f"p{self.count}-"
        text = re.sub(r'\bid="', f'id="{mark}', text)
        text = text.replace("url(#", f"url(#{mark}").replace('href="#', f'href="#{mark}')
        text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
        return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)

    def bars(self, bars: Bars) -> str:
        """Real rows filled, the twin as a line (numbers) or as dots (categories)."""
        if bars.edges is None:
            return self._category(bars)
        figure, axes = self.figure(3.4, 1.9)
        real, twin = np.nan_to_num(bars.real) * 100, np.nan_to_num(bars.twin) * 100
        axes.stairs(real, bars.edges, fill=True, color=REAL)
        axes.stairs(twin, bars.edges, color=TWIN, linewidth=1.8, baseline=None)
        axes.set_ylim(0, max(float(real.max()), float(twin.max()), 1e-9) * 1.08)
        axes.yaxis.set_major_locator(_locator(3))
        axes.xaxis.set_major_locator(_locator(5))
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}%")
        axes.xaxis.set_major_formatter(_date if bars.dates else _number)
        axes.grid(axis="y", color=SOFT, linewidth=0.5, alpha=0.5)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        return self.svg(figure, f"Distribution of {bars.column}: real rows filled, twin as a line")

    def _category(self, bars: Bars) -> str:
        rows = max(len(bars.names), 1)
        figure, axes = self.figure(3.4, 0.45 + 0.23 * max(rows, 3))
        at = np.arange(rows)
        axes.barh(at, np.nan_to_num(bars.real) * 100, height=0.62, color=REAL)
        axes.plot(bars.twin * 100, at, "o", color=TWIN, markersize=5.5, clip_on=False)
        axes.set_yticks(at, [_cut(n, 18) for n in bars.names])
        axes.set_ylim(max(rows, 3) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(_locator(4))
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}%")
        axes.spines["left"].set_visible(False)
        return self.svg(figure, f"Shares of {bars.column}: real rows as bars, twin as dots")

    def dots(self, names: list[str], series: Mapping[str, list[list[float | None]]], label: str, percent: bool) -> str:
        """For each name a dot for each training set of MARKS: `series[set][i]` is [value, lower, upper], with a line where
        it has an interval."""
        figure, axes = self.figure(5.2, 0.6 + 0.34 * max(len(names), 2))
        for place, (training, told) in enumerate(series.items()):
            shape, colour = MARKS[training]
            at = np.arange(len(names)) + 0.22 * (place - (len(series) - 1) / 2)
            table = np.array(told, dtype=np.float64) * (100 if percent else 1)
            axes.hlines(at, table[:, 1], table[:, 2], color=colour, linewidth=1.2)
            axes.plot(table[:, 0], at, shape, color=colour, markersize=4.5, clip_on=False)
        axes.set_yticks(np.arange(len(names)), [_cut(escaped(n), 26) for n in names])
        axes.set_ylim(max(len(names), 2) - 0.5, -0.5)
        axes.xaxis.set_major_locator(_locator(5))
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}%" if percent else f"{v:g}")
        axes.grid(axis="x", color=SOFT, linewidth=0.5, alpha=0.5)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        return self.svg(figure, label)

    def risks(self, names: list[str], found: list[tuple[float, tuple[float, float]]], label: str) -> str:
        """A dot and a line for each risk [0..1] and its interval; the control is the line at 0."""
        figure, axes = self.figure(6.4, 0.7 + 0.36 * max(len(names), 2))
        at = np.arange(len(names))
        table = np.array([[value, *interval] for value, interval in found]) * 100
        axes.axvline(0, color=QUIET, linewidth=1.2, linestyle="--")
        axes.hlines(at, table[:, 1], table[:, 2], color=TWIN, linewidth=2.2)
        axes.plot(table[:, 0], at, "o", color=TWIN, markersize=6, clip_on=False)
        axes.set_yticks(at, [_cut(escaped(n), 34) for n in names])
        axes.set_ylim(max(len(names), 2) - 0.5, -0.5)
        axes.set_xlim(-2, 102)
        axes.set_xlabel("risk beyond people never seen (dashed line)")
        axes.xaxis.set_major_locator(_locator(6))
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}%")
        axes.grid(axis="x", color=SOFT, linewidth=0.5, alpha=0.5)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        return self.svg(figure, label)

    def heat(self, matrix: Floats, names: list[str], label: str, signed: bool, top: float = 1.0) -> str:
        """A square of associations. Undefined cells stay empty."""
        figure, axes = self.figure(4.2, 4.2)
        low = -top if signed else 0.0
        axes.imshow(matrix, cmap=_signed() if signed else _rising(), vmin=low, vmax=top, interpolation="none")
        if len(names) <= 50:
            size = 8 if len(names) <= 20 else 5.5 if len(names) <= 40 else 4.5
            shown = [_cut(escaped(n), 16) for n in names]
            axes.set_yticks(range(len(names)), shown, fontsize=size)
            axes.set_xticks(range(len(names)), shown, fontsize=size, rotation=90)
            axes.tick_params(length=0)
        else:
            axes.set_axis_off()
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        return self.svg(figure, label)

    def density(self, counts: Floats, window: Floats, label: str) -> str:
        """Rows by their first two principal components; the darker the more."""
        figure, axes = self.figure(5.0, 3.8)
        x, y = float(window[0]), float(window[1])
        shown = np.where(counts > 0, np.log1p(counts), np.nan).T
        axes.imshow(shown, cmap=_rising(), origin="lower", extent=(-x, x, -y, y), aspect="auto", interpolation="none")
        axes.set_xlabel("first component")
        axes.set_ylabel("second component")
        axes.xaxis.set_major_locator(_locator(5))
        axes.yaxis.set_major_locator(_locator(5))
        return self.svg(figure, label)

    def losses(self, epochs: list[float], train: list[float], checked: list[float] | None) -> str:
        """The loss of each epoch."""
        figure, axes = self.figure(7.4, 2.4)
        axes.plot(epochs, train, color=TWIN, linewidth=1.8)
        if checked:
            axes.plot(epochs, checked, color=INK, linewidth=1.2, linestyle="--")
        axes.set_xlabel("epoch")
        axes.grid(axis="y", color=SOFT, linewidth=0.5, alpha=0.5)
        axes.xaxis.set_major_locator(_locator(8))
        axes.yaxis.set_major_locator(_locator(4))
        return self.svg(figure, "Loss for each epoch: train as a line, validation dashed")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _number(value: float, _: Any = None) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}"


def _date(days: float, _: Any = None) -> str:
    return str(np.datetime64(int(days * 86400), "s").astype("datetime64[M]"))


def _locator(most: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=most, min_n_ticks=2)


def _signed() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    # Clear in the middle: zero is the page itself, light or dark.
    stops = [(0.0, "#d9822bff"), (0.5, "#80808010"), (1.0, "#2f6fd6ff")]
    return LinearSegmentedColormap.from_list("signed", stops)


def _rising() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("rising", [(0.0, "#6f4fe010"), (1.0, "#6f4fe0ff")])
