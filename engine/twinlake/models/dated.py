"""Dates and moments as people write them: `3/8/1971`, `08.03.1971 14:05`, `2016-02-03T07:55:29.120Z`, to integers and back.

A style is a text in which Y, m, d, h, M, S and f stand for year, month, day, hour, minute, second and thousandths; a doubled
letter is written with its zero (`mm/dd/Y hh:MM`). Only text that the style itself would write is read. Knows nothing of
columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
PARTS = {
    "Y": ("Y", "[0-9]{4}", 4),
    "m": ("m", "[1-9]|1[0-2]", 1),
    "mm": ("m", "0[1-9]|1[0-2]", 2),
    "d": ("d", "[1-9]|[12][0-9]|3[01]", 1),
    "dd": ("d", "0[1-9]|[12][0-9]|3[01]", 2),
    "h": ("h", "[0-9]|1[0-9]|2[0-3]", 1),
    "hh": ("h", "[01][0-9]|2[0-3]", 2),
    "MM": ("M", "[0-5][0-9]", 2),
    "SS": ("S", "[0-5][0-9]", 2),
    "fff": ("f", "[0-9]{3}", 3),
}
_TOKEN = re.compile("fff|Y|mm?|dd?|hh?|MM|SS")
# the month first where the separator is a slash, else the day first, as most of the world writes
DATES = (
    *("m/d/Y", "mm/dd/Y", "d/m/Y", "dd/mm/Y"),
    *("d.m.Y", "dd.mm.Y", "d-m-Y", "dd-mm-Y", "m-d-Y", "mm-dd-Y", "m.d.Y", "mm.dd.Y"),
    *("Y/m/d", "Y/mm/dd", "Y.mm.dd", "Y-m-d", "Y-mm-dd"),
)
CLOCKS = ("h:MM", "hh:MM", "h:MM:SS", "hh:MM:SS", "hh:MM:SS.fff")
LOOSE = re.compile(r"[0-9]{1,4}[/.-][0-9]{1,2}[/.-][0-9]{1,4}([ T][0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{3})?)?Z?)?")
STYLES = (*DATES, *(f"{date}{gap}{clock}{zone}" for date, gap, clock, zone in product(DATES, " T", CLOCKS, ("", "Z"))))


def is_style(way: str) -> bool:
    """Whether a way of writing is one of these styles."""
    return "Y" in way


def candidates(texts: Sequence[str], at_most: int = 50) -> list[str]:
    """The styles in which one of some of the texts is written, in order of preference."""
    some = [t for t in texts[:: max(1, len(texts) // at_most)] if LOOSE.fullmatch(t)]
    return [style for style in STYLES if any(matcher(style).fullmatch(t) for t in some)]


@lru_cache(maxsize=512)
def matcher(style: str) -> re.Pattern[str]:
    """The regular expression of a style; February 30 passes."""
    return re.compile(_expression(style))


def _expression(style: str) -> str:
    pieces = _TOKEN.split(style)
    out = re.escape(pieces[0])
    for token, after in zip(_TOKEN.findall(style), pieces[1:], strict=True):
        name, allowed, _ = PARTS[token]
        out += f"(?P<{name}>{allowed}){re.escape(after)}"
    return out


def units_a_day(style: str) -> int:
    """How many units of its grid a day has: days, minutes, seconds or thousandths of them."""
    return 86_400_000 if "f" in style else 86_400 if "S" in style else 1_440 if "M" in style else 1


def is_dated(text: str, style: str) -> bool:
    """Whether `text` is a date written in this style."""
    match = matcher(style).fullmatch(text)
    return match is not None and bool(_whole(style, {k: np.array([int(v)]) for k, v in match.groupdict().items()})[1][0])


def whole_dates(texts: Iterable[str], style: str) -> Ints:
    """Texts of this style in units of its grid since 1970."""
    return read_dates(pa.array(list(texts), pa.string()), style)[0]


def read_dates(array: pa.Array, style: str) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Texts in units of the grid since 1970, and which are written in this style (the rest is 0)."""
    found = pc.extract_regex(array.cast(pa.string()), pattern=f"^(?:{_expression(style)})$")
    fits = found.is_valid().to_numpy(zero_copy_only=False)
    parts = {}
    for i, field in enumerate(found.type):
        texts = pc.if_else(pa.array(fits), found.field(i), "1")
        parts[field.name] = texts.cast(pa.int64()).to_numpy(zero_copy_only=False)
    whole, real = _whole(style, parts)
    return np.where(fits & real, whole, 0), fits & real


def _whole(style: str, parts: dict[str, Ints]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Units since 1970, and whether the month has such a day."""
    months = ((parts["Y"] - 1970) * 12 + parts["m"] - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (parts["d"] - 1)
    real = np.asarray(days.astype("datetime64[M]") == months)
    out = days.astype(np.int64)
    for name, units in (("h", 24), ("M", 60), ("S", 60), ("f", 1_000)):
        out = out * units + parts[name] if name in parts else out
    return out, real


def write_dates(whole: Ints, style: str) -> pa.Array:
    """Units of the grid since 1970 as texts of this style."""
    rest, per = np.asarray(whole, np.int64), units_a_day(style)
    days, inside = np.divmod(rest, per)
    date = days.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    year = date.astype("datetime64[Y]")
    parts = {
        "Y": year.astype(np.int64) + 1970,
        "m": (month - year).astype(np.int64) + 1,
        "d": (date - month).astype(np.int64) + 1,
    }
    for name, units in (("f", 1_000), ("S", 60), ("M", 60)):
        if name in style:
            inside, parts[name] = np.divmod(inside, units)
    parts["h"] = inside
    pieces = _TOKEN.split(style)
    columns = [pa.scalar(pieces[0])]
    for token, after in zip(_TOKEN.findall(style), pieces[1:], strict=True):
        name, _, width = PARTS[token]
        columns += [pc.utf8_lpad(pa.array(parts[name]).cast(pa.string()), width, "0"), pa.scalar(after)]
    return pc.binary_join_element_wise(*columns, "")
