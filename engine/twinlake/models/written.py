"""Numbers and times as they are written: text and decimals to integers of a grid, and back to the very same characters.

A way of writing is a name: integer, fixed:<places>, shortest, date, datetime, datetime-t, time, time-hm; or a style of
models/dated.py (`m/d/Y`). Only text that this module would write itself is read. Knows nothing of tokens.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.models.dated import is_dated, is_style, read_dates, whole_dates, write_dates

TEXT_RULES = {
    "integer": r"^-?[0-9]{1,15}$",
    "shortest": r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$",
    "fixed": r"^-?[0-9]{1,15}\.[0-9]{1,9}$",
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    "datetime": r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$",
    "datetime-t": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$",
    "time": r"^[0-9]{2}:[0-9]{2}:[0-9]{2}$",
    "time-hm": r"^[0-9]{2}:[0-9]{2}$",
}
CLOCKS = {"time": "%H:%M:%S", "time-hm": "%H:%M"}
TIME_FORMATS = {"date": "%Y-%m-%d", "datetime": "%Y-%m-%d %H:%M:%S", "datetime-t": "%Y-%m-%dT%H:%M:%S", **CLOCKS}
DAY = 86_400
UNITS = {"date": DAY, "time-hm": 60}
BEYOND = 2**62
FAR_YEAR = r"^(-[0-9]{3,6}|[0-9]{5,6})-[0-9]{2}-[0-9]{2}"


def is_canonical(text: str, way: str) -> bool:
    """Whether writing the number or time again gives the same text (leading and trailing zeros, "-0" do not)."""
    if is_style(way):
        return is_dated(text, way)
    name = way.split(":", maxsplit=1)[0]
    if not re.match(TEXT_RULES[name], text):
        return False
    if name in TIME_FORMATS:
        try:
            whole_time(text, name)
        except ValueError:
            return False
        return True
    whole, _, decimals = text.lstrip("-").partition(".")
    if (len(whole) > 1 and whole.startswith("0")) or (text.startswith("-") and not text.strip("-0.")):
        return False
    places = way.partition(":")[2]
    return not places or len(decimals) == int(places) if name == "fixed" else not decimals.endswith("0")


def is_time(way: str) -> bool:
    """Whether dates or times are written this way, not numbers."""
    return way in TIME_FORMATS or is_style(way)


def whole_times(texts: list[str], way: str) -> npt.NDArray[np.int64]:
    """Written dates or times in units of their grid. Errors: ValueError."""
    return whole_dates(texts, way) if is_style(way) else np.array([whole_time(t, way) for t in texts], np.int64)


def whole_time(text: str, way: str) -> int:
    """A date or time as TIME_FORMATS write it in units of its grid: days, minutes, or seconds. Errors: ValueError."""
    moment = np.datetime64(f"1970-01-01T{text}" if way in CLOCKS else text.replace(" ", "T"), "s")
    return int(moment.astype(np.int64)) // UNITS.get(way, 1)


def read_texts(array: pa.Array, way: str, scale: int, step: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Texts as integers of the grid, and which of them are written that way (the rest is 0)."""
    if is_style(way):
        whole, fits = read_dates(array, way)
        return whole // step, fits
    fitting = pc.match_substring_regex(array, TEXT_RULES[way.split(":", maxsplit=1)[0]]).fill_null(False)
    safe = pc.if_else(fitting, array, pa.scalar(None, array.type))
    if way in TIME_FORMATS:
        parsed = pc.strptime(safe, format=TIME_FORMATS[way], unit="s", error_is_null=True).cast(pa.int64())
        seconds = parsed.fill_null(0).to_numpy(zero_copy_only=False)
        whole = (seconds % DAY if way in CLOCKS else seconds) // UNITS.get(way, 1) // step  # a clock starts in 1900
        again = write_texts(whole, way, scale, step)  # February 30 is read as March 1
        return whole, pc.equal(again, safe).fill_null(False).to_numpy(zero_copy_only=False)
    numbers = safe.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
    ok = fitting.to_numpy(zero_copy_only=False) & (np.abs(numbers) * 10.0**scale < 2**53)
    whole = np.rint(np.where(ok, numbers, 0.0) * 10.0**scale).astype(np.int64)
    again = write_texts(whole, way, scale, step)
    return whole, ok & pc.equal(again, array).fill_null(False).to_numpy(zero_copy_only=False)


def write_texts(whole: npt.NDArray[np.int64], way: str, scale: int, step: int) -> pa.Array:
    """Integers of the grid as texts."""
    if is_style(way):
        return write_dates(whole * step, way)
    if way in TIME_FORMATS:
        seconds = whole * step * UNITS.get(way, 1)
        return pc.strftime(pa.array(seconds).cast(pa.timestamp("s")), format=TIME_FORMATS[way])
    if not scale:
        return pa.array(whole).cast(pa.string())
    text = _plain(write_decimals(whole, scale, pa.decimal128(38, scale)), scale)
    return text if way.startswith("fixed") else pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), ".")


def _plain(decimals: pa.Array, scale: int) -> pa.Array:
    """Arrow writes small decimals with an exponent (1E-7); those are few, and written by Python."""
    text = decimals.cast(pa.string())
    if not pc.any(pc.match_substring(text, "E")).as_py():
        return text
    return pa.array([f"{value:.{scale}f}" for value in decimals.to_pylist()], pa.string())


def read_decimals(array: pa.Array) -> npt.NDArray[np.int64]:
    """The unscaled integers of decimals (0 for nulls), at most 2^62 in size: the 128-bit words are read directly."""
    words = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + len(array))]
    low, high = words[0::2], words[1::2]
    whole = np.where(high == low >> 63, np.clip(low, -BEYOND, BEYOND), np.where(high < 0, -BEYOND, BEYOND))
    return np.where(array.is_valid().to_numpy(zero_copy_only=False), whole, 0)


def write_decimals(whole: npt.NDArray[np.int64], scale: int, kind: pa.DataType) -> pa.Array:
    """Integers of 10^-scale as decimals of type `kind`, exactly: the 128-bit words are written directly."""
    words = np.empty((len(whole), 2), np.int64)
    words[:, 0], words[:, 1] = whole, whole >> 63
    wide = pa.Array.from_buffers(pa.decimal128(38, scale), len(whole), [None, pa.py_buffer(words.tobytes())])
    return wide.cast(kind)


def floats_as_decimals(value: npt.NDArray[np.float64], kind: pa.DataType) -> pa.Array:
    """Floats as decimals of type `kind`, kept within what it can hold."""
    most = np.nextafter(10.0 ** (kind.precision - kind.scale), 0.0)
    return pa.array(np.clip(value, -most, most)).cast(kind, safe=False)


def _of_far_years(texts: pa.Array) -> pa.Array:
    """The same of dates and times before 0 or after 9999, which Arrow does not read. Errors: ArrowInvalid."""
    try:
        return pa.array(np.array(texts.to_pylist(), "datetime64[us]"))
    except ValueError:
        raise pa.ArrowInvalid("a text is no date or time") from None


def from_text(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Canonical texts (`as_text`) -> values of Arrow type `kind`."""
    if (pa.types.is_timestamp(kind) or pa.types.is_date(kind)) and pc.any(pc.match_substring_regex(texts, FAR_YEAR)).as_py():
        return _of_far_years(texts).cast(kind)
    if pa.types.is_timestamp(kind):
        return texts.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.timestamp("us", kind.tz))
    if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_binary(kind):
        return texts.cast(kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_date(kind):
        return texts.cast(kind)
    return pa.nulls(len(texts), kind)
