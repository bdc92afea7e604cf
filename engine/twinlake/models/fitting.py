"""Fits the codec of one column to its statistics. Runs where the statistics were merged; only the codec comes back.

What may enter a codec is decided here: a category or single number held by fewer than `people` rows does not, curves
have at most one knot for `people` rows, and outer ends are the k-th smallest and largest value (DESIGN decision 6).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.models.cells import MAX_ATOMS, MAX_SINGLE_BINS, cells_of, heavy
from twinlake.models.column import BLOCK, STATES, ColumnCodec
from twinlake.models.dated import candidates, is_style, read_dates, units_a_day
from twinlake.models.times import DAY_US, STEPS_US, Phase, period_of
from twinlake.models.written import BEYOND, CLOCKS, TIME_FORMATS, is_canonical, is_time, whole_times
from twinlake.profile.kinds import decimals_of, kind_of
from twinlake.profile.statistics import ColumnStatistics

MAX_CATEGORIES = 262_144
CONFORMING = 0.98
KEPT_SHARE = 0.5


def fit_column(stats: ColumnStatistics, people: int) -> str:
    """The codec of a column as JSON. `stats.extra` holds the plan's synthesis, and the entity of a labelled column."""
    return json.dumps(asdict(replace(_fit(stats, people), entity=stats.extra.get("entity") or "")))


def fit_difference(stats: ColumnStatistics, people: int) -> str:
    """The codec of differences that are told in place of a column; empty where a row has none, and the column is told as it
    is. `stats` holds -1 for such rows (models/times.py)."""
    if not len(stats.low) or stats.low[0] < 0:
        return ""
    found = _fit_number(stats, people)
    return json.dumps(asdict(found)) if found is not None else ""


def _surrogate(stats: ColumnStatistics, people: int) -> ColumnCodec:
    return ColumnCodec(stats.name, stats.type, "surrogate", states=_null_state(stats, people))


def _fit(stats: ColumnStatistics, people: int) -> ColumnCodec:
    synthesis = stats.extra.get("synthesis", "model")
    if synthesis == "leaf":  # of a nested column, whose profile says nothing of it
        synthesis = {"key": "key", "text": "format"}.get(kind_of(stats), "model")
    if synthesis == "null" or stats.non_null == 0:
        return _nothing(stats)
    if synthesis == "surrogate":
        return _surrogate(stats, people)
    if synthesis in ("key", "format"):
        return _regenerated(stats, synthesis, people)
    if synthesis == "text":
        return _prose(stats, people)
    if stats.distinct == 1 and stats.non_null >= people > stats.nulls and not stats.uncounted and stats.counts:
        return ColumnCodec(stats.name, stats.type, "constant", values=tuple(stats.counts))
    if synthesis == "count":  # few whole numbers, each with a token of its own (models/nested.py)
        return _fit_category(stats, people)
    if stats.type not in ("string", "boolean"):
        return _fit_number(stats, people) or _fit_category(stats, people)
    if (
        stats.type == "string"
        and (written := _written_as(stats))
        and (stats.distinct > MAX_ATOMS or (is_time(written[0]) and _kept_share(stats, people) < KEPT_SHARE))
    ):
        number = _fit_number(stats, people, written)
        if number is not None:
            return number
    return _fit_category(stats, people)


def _nothing(stats: ColumnStatistics) -> ColumnCodec:
    """No value may be shown: nulls, or one neutral value where the column allows none."""
    if stats.nullable:
        return ColumnCodec(stats.name, stats.type, "null")
    neutral = {"string": "", "binary": "", "boolean": "false", "date": "1970-01-01"}
    value = "1970-01-01 00:00:00" if stats.type.startswith("timestamp") else neutral.get(stats.type, "0")
    return ColumnCodec(stats.name, stats.type, "constant", values=(value,))


def _null_state(stats: ColumnStatistics, people: int) -> tuple[str, ...]:
    return ("null",) if stats.nulls >= people else ()


def _kept(stats: ColumnStatistics, people: int) -> list[str]:
    return [value for value, count in stats.counts.items() if count >= people][:MAX_CATEGORIES]


def _kept_share(stats: ColumnStatistics, people: int) -> float:
    """How many of the rows hold a value that may be shown."""
    return sum(stats.counts[value] for value in _kept(stats, people)) / max(1, stats.non_null)


def _fit_category(stats: ColumnStatistics, people: int) -> ColumnCodec:
    kept, share = _kept(stats, people), _kept_share(stats, people)
    if stats.type == "string" and share < KEPT_SHARE and stats.extra.get("entity"):
        return _surrogate(stats, people)
    if stats.type == "string" and share < KEPT_SHARE:
        return _prose(stats, people)
    if not kept:
        return _nothing(stats)
    codec = ColumnCodec(stats.name, stats.type, "category", values=tuple(kept), states=_null_state(stats, people))
    counts = np.array([stats.counts[value] for value in kept], np.int64)
    if len(codec.sizes) == 2:
        counts = np.add.reduceat(counts, np.arange(0, len(counts), BLOCK))
    rare = stats.non_null - int(counts.sum())
    return replace(codec, coarse=coarse_map(codec, np.array([*counts, *([stats.nulls] if codec.states else []), rare])))


# -- numbers ---------------------------------------------------------------------------------------------------------


def _fit_number(stats: ColumnStatistics, people: int, written: tuple[str, int] | None = None) -> ColumnCodec | None:
    """The number codec, or None when too few people hold anything but nulls."""
    texts, weights = _observed(stats)
    if written is not None:
        conforming = [i for i, t in enumerate(texts) if is_canonical(t, written[0])]
        texts, weights = [texts[i] for i in conforming], weights[conforming]
    domain, scale, step = _domain(stats, texts, written)
    others: dict[str, float] = _other_texts(stats, written, people)
    if stats.type.startswith("decimal") and domain == "float":  # frequent values stay exact as text
        frequent = heavy(weights, people)
        others = {texts[i]: float(weights[i]) for i in frequent}
        rest = np.setdiff1d(np.arange(len(texts)), frequent)
        texts, weights = [texts[i] for i in rest], weights[rest]
    values = parsed(texts, stats.type, domain, scale, step, written)
    keep = np.isfinite(values) if domain == "float" else np.ones(len(values), bool)
    values, weights = _grouped(values[keep], weights[keep])
    cells, period, phase = cells_of(values, weights, people), 0, None
    ends: tuple[int, ...] = ()
    if day := _day(stats, step, written):
        width = float(np.median(cells.high - cells.low + 1)) if len(cells.low) else 1.0
        period = period_of(values, weights, day, width)
    if period:
        ends = int(min([*cells.atoms, *cells.low])), int(max([*cells.atoms, *cells.high]))
        inside = cells_of(*_grouped(values % period, weights), people)
        phase = Phase(*(tuple(map(int, ends)) for ends in (inside.atoms, inside.low, inside.high)))
        cells = cells_of(*_grouped(values // period, weights), people, MAX_SINGLE_BINS)
    special = dict(zip(STATES, (stats.nulls, stats.nan, stats.plus, stats.minus), strict=True))
    states = tuple(name for name, count in special.items() if count >= people)
    if not (len(cells.atoms) or len(cells.low) or others or set(states) - {"null"}):
        return None
    codec = ColumnCodec(
        stats.name,
        stats.type,
        "number",
        states=states,
        texts=tuple(others),
        atoms=_plain(cells.atoms, domain),
        low=_plain(cells.low, domain),
        high=_plain(cells.high, domain),
        bin_start=tuple(int(s) for s in cells.bin_start),
        domain=domain,
        scale=scale,
        step=step,
        text=written[0] if written else "",
        period=period,
        phase=phase,
        ends=ends,
    )
    share = 1.0 if not stats.uncounted else stats.share
    masses = np.concatenate([cells.atom_rows, cells.bin_rows]) / share
    rows = [*(special[s] for s in states), *others.values(), *np.rint(masses), 0]
    return replace(codec, coarse=coarse_map(codec, np.array(rows, np.int64)))


def _day(stats: ColumnStatistics, step: int, written: tuple[str, int] | None) -> int:
    """How many units of the domain a day has; 0 where the column holds no dates or times."""
    if written is not None:
        if is_style(written[0]):
            return units_a_day(written[0])
        dated = is_time(written[0]) and written[0] not in CLOCKS
        return 1 if written[0] == "date" else 86_400 * dated
    return 1 if stats.type == "date" else DAY_US // step if stats.type.startswith("timestamp") else 0


def _plain(values: npt.NDArray[Any], domain: str) -> tuple[float, ...]:
    return tuple(int(v) if domain == "int" else float(v) for v in values)


def _observed(stats: ColumnStatistics) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Values and the rows they stand for: exact counts where the pass could keep them all, else the sample."""
    if not stats.uncounted:
        return list(stats.counts), np.array(list(stats.counts.values()), dtype=float)
    values, counts = np.unique(np.array(stats.sample, dtype=object).astype(str), return_counts=True)
    return values.tolist(), counts.astype(float)


def _domain(stats: ColumnStatistics, texts: list[str], written: tuple[str, int] | None) -> tuple[str, int, int]:
    """Domain ("int" or "float"), decimal places, and the step of the grid of times."""
    if written is not None:
        return "int", written[1], 1
    if stats.type in ("float", "double"):
        scale = decimals_of(tuple(texts))
        largest = max((abs(float(t)) for t in texts if math.isfinite(float(t))), default=0.0)
        return (
            ("int", scale, 1)
            if scale is not None and stats.type == "double" and largest * 10**scale < 2**52
            else ("float", 0, 1)
        )
    if match := re.fullmatch(r"decimal\((\d+),(\d+)\)", stats.type):
        scale = int(match[2])
        small = int(match[1]) <= 18 or all(abs(Decimal(t).scaleb(scale)) < BEYOND for t in texts)
        return ("int", scale, 1) if small else ("float", 0, 1)
    if stats.type.startswith("timestamp"):
        micros = np.array([np.datetime64(t, "us").astype(np.int64) for t in texts[:20_000]])
        return (
            "int",
            0,
            next((s for s in STEPS_US if not np.any(micros % s)), 1),
        )
    return "int", 0, 1


def parsed(
    texts: list[str], type_: str, domain: str, scale: int, step: int, written: tuple[str, int] | None = None
) -> npt.NDArray[Any]:
    """Texts of a column of type `type_` in domain units; `written`: how a string column writes them."""
    if written is not None and is_time(written[0]):
        return whole_times(texts, written[0])
    if type_.startswith("timestamp"):
        return np.array([np.datetime64(t, "us") for t in texts], "datetime64[us]").astype(np.int64) // step
    if type_ == "date":
        return np.array([np.datetime64(t, "D") for t in texts], "datetime64[D]").astype(np.int64)
    if domain == "float":
        kind = np.float32 if type_ == "float" else np.float64
        return np.array(texts, dtype=kind).astype(np.float64)
    if type_ in ("tinyint", "smallint", "int", "bigint"):
        return np.array([int(t) for t in texts], np.int64)
    return np.array([int(Decimal(t).scaleb(scale).to_integral_value()) if _finite(t) else 0 for t in texts], np.int64)


def _finite(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _grouped(values: npt.NDArray[Any], weights: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    unique, where = np.unique(values, return_inverse=True)
    return unique, np.bincount(where, weights=weights, minlength=len(unique)).astype(np.float64)


def _other_texts(stats: ColumnStatistics, written: tuple[str, int] | None, people: int) -> dict[str, float]:
    """Frequent texts of a column of written numbers that are none, and their rows."""
    if written is None:
        return {}
    found = [(v, float(n)) for v, n in stats.counts.items() if n >= people and not is_canonical(v, written[0])]
    return dict(found[:MAX_ATOMS])


def _written_as(stats: ColumnStatistics) -> tuple[str, int] | None:
    """How a string column writes numbers or times, and its decimal places; None when it does not."""
    texts, weights = _observed(stats)
    total = weights.sum()
    for name in (*TIME_FORMATS, *_styles(texts, weights), "integer", "fixed", "shortest"):
        fitting = [i for i, t in enumerate(texts) if is_canonical(t, name)]
        if weights[fitting].sum() < CONFORMING * total:
            continue
        places = {len(texts[i].partition(".")[2]) for i in fitting}
        if name == "fixed" and len(places) > 1:
            continue
        scale = 0 if is_time(name) else max(places)
        return (f"fixed:{scale}" if name == "fixed" else name), scale
    return None


def _styles(texts: list[str], weights: npt.NDArray[np.float64]) -> list[str]:
    """The styles of dates that most rows may be written in: the day and the month are told apart by all of them."""
    held = {style: weights[read_dates(pa.array(texts, pa.string()), style)[1]].sum() for style in candidates(texts)}
    return sorted(held, key=lambda style: -held[style])


# -- keys and formats ------------------------------------------------------------------------------------------------


def _regenerated(stats: ColumnStatistics, method: str, people: int) -> ColumnCodec:
    recipe = _recipe(stats, method, people)
    return ColumnCodec(stats.name, stats.type, method, states=_null_state(stats, people), recipe=recipe)


def _prose(stats: ColumnStatistics, people: int) -> ColumnCodec:
    """A text that a language model may learn to write where it is one of words; made anew by its format elsewhere."""
    made = _regenerated(stats, "format", people)
    return replace(made, recipe={**(made.recipe or {}), "prose": True})


def _recipe(stats: ColumnStatistics, method: str, people: int) -> dict[str, Any]:
    if stats.type != "string":
        return _integer_recipe(stats)
    if stats.spaces_mean < 1 and (patterns := _patterns(stats, method == "key", people)):
        return {"kind": "patterns", "patterns": patterns}
    words = max(1.0, stats.spaces_mean + 1)
    return {"kind": "words", "words": [max(1, round(0.5 * words)), max(1, round(1.5 * words))]}


def _integer_recipe(stats: ColumnStatistics) -> dict[str, Any]:
    """New ids start at a power of ten above every real one, or count down from below them where the type has no room.

    Where it has none there either, they are spread over the whole type; of 64 bits, they hardly ever meet a real id.
    """
    digits = re.fullmatch(r"decimal\((\d+),(\d+)\)", stats.type)
    beyond = {"tinyint": 2**7, "smallint": 2**15, "int": 2**31, "bigint": 2**63}.get(stats.type, 10**18)
    end = (10 ** min(18, int(digits[1]) - int(digits[2])) if digits else beyond) - 1
    top = max(1, int(stats.high[0]) if len(stats.high) else 1)
    start = 10 ** len(str(top))
    if start + max(10_000_000, 100 * stats.rows) <= end:
        return {"kind": "integers", "start": start, "sign": 1, "room": end - start}
    bottom = int(stats.low[0]) if len(stats.low) else 0
    start = -1 if bottom >= 0 else -(10 ** len(str(-bottom)))
    if start - 2 * stats.rows >= -end:
        return {"kind": "integers", "start": start, "sign": -1, "room": end + start}
    return {"kind": "spread", "room": end}


def _patterns(stats: ColumnStatistics, unique: bool, people: int) -> list[dict[str, Any]]:
    """For each length held by at least `people` values: the characters seen at each position by at least `people`.

    Keys get extra positions where the space is small, so that new ones are as good as never equal to real ones.
    """
    by_length: dict[int, list[str]] = {}
    for text in stats.sample:
        by_length.setdefault(len(text), []).append(text)
    out: list[dict[str, Any]] = []
    for length, texts in sorted(by_length.items()):
        if len(texts) < people or length == 0:
            continue
        positions = [_characters([t[i] for t in texts], people) for i in range(length)]
        if unique:
            space = math.prod(len(p) for p in positions)
            while space < max(10**9, 1_000 * stats.rows**2):
                positions.append("0123456789")
                space *= 10
        out.append({"weight": len(texts), "positions": positions})
    if unique and out:  # one length: uniqueness then follows from the permutation alone
        out = [max(out, key=lambda p: p["weight"])]
    return out


CLASSES = (
    "0123456789",
    "0123456789abcdef",
    "0123456789ABCDEF",
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
)


def _characters(seen: list[str], people: int) -> str:
    counts: dict[str, int] = {}
    for character in seen:
        counts[character] = counts.get(character, 0) + 1
    common = "".join(sorted(c for c, n in counts.items() if n >= people))
    if len(common) == len(counts) and len(common) <= 4:
        return common
    for known in CLASSES:
        if set(counts) <= set(known):
            return known
    letters = "".join(c for c in CLASSES if set(c) & set(counts))
    return "".join(sorted(set(letters) | set(common))) or "0123456789"


def coarse_map(column: ColumnCodec, counts: npt.NDArray[np.int64], at_most: int = 16) -> tuple[int, ...]:
    """Value of the first token -> one of at most 16 coarse bins.

    The most frequent single values keep a bin of their own (ties: the lower value), the bins of numbers are grouped in
    order into equal masses, the rest shares one.
    """
    size = len(counts)
    if size <= at_most:
        return tuple(range(size))
    out = np.full(size, at_most - 1)
    bins_at = size - 1 - len(column.bin_start)
    singles = np.arange(size) < bins_at
    in_bins = counts[bins_at:-1]
    groups = min(len(in_bins), max(2, round((at_most - 2) * in_bins.sum() / max(1, counts.sum())))) if len(in_bins) else 0
    order = np.argsort(-np.where(singles, counts, -1), kind="stable")[: min(at_most - 1 - groups, int(singles.sum()))]
    out[order] = np.arange(len(order))
    if groups:
        middle = np.cumsum(in_bins) - in_bins / 2
        out[bins_at:-1] = len(order) + np.minimum((middle * groups / max(1, in_bins.sum())).astype(int), groups - 1)
    return tuple(int(c) for c in out)
