"""From token counts to what a small plot shows: a few bars for each column, none of fewer than k rows.

Knows bins only by their labels: "20 .. 24" and "[20, 25)" are ranges of numbers or ISO dates, a number is an atom,
anything else is a category.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinlake.core.errors import escaped
from twinlake.evaluate.counters import Floats
from twinlake.profile.counts import Counts, TokenCounts

INTERVAL = re.compile(r"^[\[(]\s*(.+?)\s*,\s*(.+?)\s*[\])]$")
RANGE = re.compile(r"^(.+?) \.\. (.+)$")
DISPLAY_BINS = 24
MOST_BARS = 9
SPECIAL = ("null", "(rare)", "(other)", "missing")


@dataclass(frozen=True)
class Bars:
    """Shares of real and twin rows. `edges` for numbers (dates as days when `dates`), else `names` of categories.

    A share is NaN where fewer than k rows stand behind it.
    """

    column: str
    real: Floats
    twin: Floats
    names: list[str]
    edges: Floats | None
    dates: bool
    note: str


def _point(text: str) -> tuple[float, bool] | None:
    try:
        value = float(text)
        return (value, False) if np.isfinite(value) else None
    except ValueError:
        pass
    if re.match(r"^\d{4}-\d\d", text):
        try:
            # Without its zone: a plot of months does not need it, and numpy would warn.
            naive = re.sub(r"(Z|[+-]\d\d:?\d\d)$", "", text.replace(" ", "T"))
            return float(np.datetime64(naive).astype("datetime64[s]").astype(np.int64)) / 86400, True
        except ValueError:
            return None
    return None


def _interval(label: str) -> tuple[float, float, bool] | None:
    match = INTERVAL.match(label)
    if match:
        low, high = _point(match[1]), _point(match[2])
        return None if low is None or high is None else (low[0], high[0], low[1])
    closed = RANGE.match(label)
    if closed:
        low, high = _point(closed[1]), _point(closed[2])
        if low is None or high is None:
            return None
        # 20 .. 24 covers five whole numbers.
        whole = not low[1] and low[0] < high[0] and low[0].is_integer() and high[0].is_integer()
        return low[0], high[0] + whole, low[1]
    point = _point(label)
    return None if point is None else (point[0], point[0], point[1])


def column_bars(real: TokenCounts, twin: TokenCounts, column: int, k: int) -> Bars:
    """The bars of one column."""
    labels = real.labels[column]
    spans = {i: s for i, label in enumerate(labels) if (s := _interval(label)) is not None}
    ranges = sum(low < high for low, high, _ in spans.values())
    inside = sum(int(real.single[column][i]) for i in spans)
    if (ranges >= 2 or len(spans) > MOST_BARS) and 2 * inside >= real.single[column].sum():
        return _number_bars(real, twin, column, k, spans)
    return _category_bars(real, twin, column, k)


def _share(count: Floats, rows: int, k: int) -> Floats:
    return np.asarray(np.where((count >= k) | (count == 0), count / max(rows, 1), np.nan))


def _category_bars(real: TokenCounts, twin: TokenCounts, column: int, k: int) -> Bars:
    a, b, labels = real.single[column], twin.single[column], real.labels[column]
    order = [i for i in np.argsort(-(a + b), kind="stable") if a[i] + b[i] > 0]
    # A category that too few real rows hold is not named.
    shown = [i for i in order if a[i] >= k or labels[i] in SPECIAL][:MOST_BARS]
    rest = [i for i in order if i not in set(shown)]
    names = [escaped(labels[i]) for i in shown]
    first, second = [float(a[i]) for i in shown], [float(b[i]) for i in shown]
    if rest:
        names.append(f"{len(rest)} more")
        first.append(float(a[rest].sum()))
        second.append(float(b[rest].sum()))
    name = escaped(real.columns[column])
    shares = _share(np.array(first), real.rows, k), _share(np.array(second), twin.rows, k)
    return Bars(name, *shares, names, None, False, "")


def _spread(counts: Counts, spans: dict[int, tuple[float, float, bool]], edges: Floats) -> Floats:
    """The rows of each display bin: a bin's rows are spread evenly over its interval, ends take what lies outside."""
    out = np.zeros(len(edges) - 1)
    for i, (low, high, _) in spans.items():
        if high <= low:
            at = int(np.clip(np.searchsorted(edges, low, "right") - 1, 0, len(out) - 1))
            out[at] += counts[i]
            continue
        cover = np.clip((edges - low) / (high - low), 0, 1)
        cover[0], cover[-1] = 0.0, 1.0
        out += counts[i] * np.diff(cover)
    return out


def _number_bars(
    real: TokenCounts, twin: TokenCounts, column: int, k: int, spans: dict[int, tuple[float, float, bool]]
) -> Bars:
    a, b = real.single[column], twin.single[column]
    order = sorted(spans, key=lambda i: spans[i][:2])
    total = np.cumsum([a[i] for i in order]).astype(np.float64)
    inside: npt.NDArray[np.bool_] = (total > 0.005 * total[-1]) & (np.r_[0.0, total[:-1]] < 0.995 * total[-1])
    kept = [i for i, keep in zip(order, inside, strict=True) if keep] or order
    low, high = min(spans[i][0] for i in kept), max(spans[i][1] for i in kept)
    bins = DISPLAY_BINS
    if high - low <= 60 and max(abs(low), abs(high)) < 2**53 and all(float(x).is_integer() for i in kept for x in spans[i][:2]):
        # Whole numbers: bins one or more whole steps wide, or gaps would look like structure. A lone value needs one.
        high = max(spans[i][1] + (spans[i][0] == spans[i][1]) for i in kept)
        step = max(1, int(np.ceil((high - low) / DISPLAY_BINS)))
        bins = int(np.ceil((high - low) / step))
        edges = low + step * np.arange(bins + 1, dtype=np.float64)
    else:
        # labels have six digits: large numbers may share one, and beyond 2^53 one more is the same float
        edges = np.linspace(low, high if high > low else low + max(1.0, 1e-6 * abs(low)), bins + 1)
    first, second = _spread(a, spans, edges), _spread(b, spans, edges)
    missing = [i for i in range(len(a)) if i not in spans and real.labels[column][i] != "(rare)"]
    note = ""
    if missing and a[missing].sum() >= k:
        note = f"no number: real {a[missing].sum() / real.rows:.1%}, twin {b[missing].sum() / max(twin.rows, 1):.1%}"
    dates = any(spans[i][2] for i in order)
    shares = _share(first, real.rows, k), _share(second, twin.rows, k)
    return Bars(escaped(real.columns[column]), *shares, [], edges, dates, note)
