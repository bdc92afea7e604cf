"""What the values of a column's first token are called in plots and errors."""

from __future__ import annotations

import datetime as dt

import numpy as np

from twinlake.models.column import BLOCK, ColumnCodec
from twinlake.models.dated import is_style, units_a_day
from twinlake.models.written import CLOCKS, is_time, write_texts


def bin_labels(column: ColumnCodec) -> list[str]:
    """A short text for each value of the first token, for plots: categories and atoms by value, bins by range."""
    rare = ["(rare)"]
    if column.method == "category":
        if len(column.sizes) == 2:
            return (
                [
                    f"values {i * BLOCK + 1}-{min((i + 1) * BLOCK, len(column.values))}"
                    for i in range(column.sizes[0] - 1 - len(column.states))
                ]
                + list(column.states)
                + rare
            )
        return [*column.values, *column.states, *rare]
    if column.method != "number":
        return ["present", "null"]
    ends = [*column.bin_start[1:], len(column.low)] if column.bin_start else []
    shown = [_shown(column, v) for v in column.atoms]
    bins = [
        f"{_shown(column, column.low[a])} .. {_shown(column, column.high[b - 1])}"
        for a, b in zip(column.bin_start, ends, strict=True)
    ]
    return [*column.states, *column.texts, *shown, *bins, *rare]


def _shown(column: ColumnCodec, value: float) -> str:
    if column.since is not None:
        gap = dt.timedelta(**{"days" if column.type == "date" else "microseconds": int(value) * column.since.unit})
        return f"{'+' if column.since.sign == 1 else '-'}{gap}"
    if column.text in CLOCKS:
        return str(write_texts(np.array([int(value)]), column.text, 0, 1)[0])
    value = value * column.period if column.period else value
    if column.type in ("date", "timestamp", "timestamp_ntz") or is_time(column.text):
        unit = "D" if column.type == "date" or column.text == "date" else "s" if column.text else "us"
        if is_style(column.text):
            unit = {1: "D", 1_440: "m", 86_400: "s"}.get(units_a_day(column.text), "ms")
        shown = str(np.array(int(value) * column.step, np.int64).astype(f"datetime64[{unit}]"))
        return shown.replace("T", " ")[: 10 if unit == "D" else 16]
    return f"{value / 10**column.scale:.6g}" if column.domain == "int" else f"{value:.6g}"
