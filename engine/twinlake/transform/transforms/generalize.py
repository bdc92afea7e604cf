"""`generalize` makes a date, a ZIP code or a coordinate coarser, without a key.

Dates and timestamps become the first day of their year, quarter, month or week. ZIP codes become their first three
digits, and 000 where those stand for 20,000 people or fewer: the Safe Harbor rule of 45 CFR 164.514(b)(2)(i)(B).
Latitudes and longitudes become the corner of a grid cell. All are Spark column expressions too, but for dates in text.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Context, Parameter, SqlColumn, Transform
from twinlake.transform.transforms.dates import as_days, restored_text
from twinlake.transform.transforms.values import family, repaired, texts_of

if TYPE_CHECKING:
    from pyspark.sql import Column

UNITS = ("year", "quarter", "month", "week")
SPARSE_2000 = tuple("036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893".split())  # noqa: SIM905
"""The 17 prefixes of the Census of 2000, as the Department of Health and Human Services lists them."""
SPARSE_2010 = tuple("036 059 102 202 203 204 205 369 556 692 753 772 821 823 878 879 884 893".split())  # noqa: SIM905
"""Those of the Census of 2010. The rule asks for current data: the default takes a prefix that is on either list."""
_SPARSE = {"2000": SPARSE_2000, "2010": SPARSE_2010, "any": tuple(sorted({*SPARSE_2000, *SPARSE_2010}))}


def generalize(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` made coarser as `to` says."""
    to, array = str(parameters["to"]), repaired(array)
    if to == "zip3":
        return _zip3(array, str(parameters.get("census", "any")))
    if to == "grid":
        return _grid(array, float(parameters.get("degrees", 0.01)))
    return _period(array, to, tuple(parameters.get("formats", ())))


def _zip3(array: pa.Array, census: str) -> pa.Array:
    texts = pc.utf8_trim(texts_of(array), " ")
    if not pa.types.is_string(array.type):
        # a number has lost its leading zeros
        texts = pc.if_else(pc.less(pc.utf8_length(texts), 6), pc.utf8_lpad(texts, 5, "0"), pc.utf8_lpad(texts, 9, "0"))
    first = pc.utf8_slice_codeunits(texts, 0, 3)
    # what is no ZIP code may be anything, so nothing of it stays
    shown = pc.match_substring_regex(texts, r"^[0-9]{5}(?:[ -]?[0-9]{4})?\z")
    shown = pc.and_(shown, pc.invert(pc.is_in(first, value_set=pa.array(_SPARSE[census]))))
    out = pc.if_else(shown, first, "000")
    return pc.if_else(array.is_valid(), out, pa.scalar(None, pa.string()))


def _grid(array: pa.Array, degrees: float) -> pa.Array:
    if is_text_array(array):
        numbers = [_number(text) for text in array.to_pylist()]
        cells = _grid(pa.array(numbers, pa.float64()), degrees)
        return pa.array([None if cell is None else repr(cell) for cell in cells.to_pylist()], pa.string())
    values = array.cast(pa.float64(), safe=False)
    # what is no angle may be anything, so nothing of it stays
    values = pc.if_else(pc.less_equal(pc.abs(values), 360), values, pa.scalar(None, pa.float64()))
    cells = np.asarray(pc.floor(pc.divide(values, degrees)).to_numpy(zero_copy_only=False)) * degrees
    out = pa.array(np.round(cells, 9), pa.float64(), mask=np.asarray(values.is_null().to_numpy(zero_copy_only=False)))
    if pa.types.is_decimal(array.type):
        from decimal import Decimal

        unit = Decimal(1).scaleb(-array.type.scale)
        return pa.array([None if v is None else Decimal(repr(v)).quantize(unit) for v in out.to_pylist()], array.type)
    return out.cast(array.type, safe=False)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def is_text_array(array: pa.Array) -> bool:
    """Whether an array holds text."""
    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def _period(array: pa.Array, to: str, formats: tuple[str, ...]) -> pa.Array:
    if is_text_array(array):
        read = as_days(array, formats)
        read = type(read)(read.days, [None if s is None else (s[0], s[1], "") for s in read.styles], read.rows)
        days = pa.array(read.days.astype(np.int32)).cast(pa.date32())
        return restored_text(read, _floored(days, to).cast(pa.int32()).to_numpy().astype(np.int64))
    if pa.types.is_timestamp(array.type):
        zone = array.type.tz
        plain = array.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")) if zone else array.cast(pa.timestamp("us"))
        days = _floored(plain.cast(pa.date32(), safe=False), to).cast(pa.timestamp("us"))
        return (pc.assume_timezone(days, "UTC").cast(array.type) if zone else days).cast(array.type)
    return _floored(array, to)


def _floored(days: pa.Array, to: str) -> pa.Array:
    """Date32 days floored to the unit: by the calendar of Python, which is exact from year 1 on."""
    encoded = days.dictionary_encode()
    return pa.array([_first_day(day, to) for day in encoded.dictionary.to_pylist()], pa.date32()).take(encoded.indices)


def _first_day(day: dt.date, to: str) -> dt.date:
    if to == "week":
        return day - dt.timedelta(min(day.weekday(), day.toordinal() - 1))
    month = {"year": 1, "quarter": 3 * ((day.month - 1) // 3) + 1, "month": day.month}[to]
    return day.replace(month=month, day=1)


def _native(cell: Column, parameters: Mapping[str, Any], context: Context, sql: SqlColumn) -> Column | None:
    from pyspark.sql import functions as F

    to, kind = str(parameters["to"]), family(context.type)
    if to == "zip3" and kind == "text":
        text = F.trim(cell)
        sparse = list(_SPARSE[str(parameters.get("census", "any"))])
        shown = text.rlike(r"^[0-9]{5}([ -]?[0-9]{4})?\z") & ~F.substring(text, 1, 3).isin(sparse)
        return F.when(cell.isNull(), F.lit(None).cast("string")).when(shown, F.substring(text, 1, 3)).otherwise(F.lit("000"))
    if to in UNITS and kind == "date":
        return F.trunc(cell, to)
    return None


def _output(spark_type: str, parameters: Mapping[str, Any]) -> str:
    return "string" if parameters.get("to") == "zip3" else spark_type


def _takes(spark_type: str) -> bool:
    return family(spark_type) not in ("boolean", "other")


def check_generalize(spark_type: str, parameters: Mapping[str, Any]) -> str | None:
    """Why values of the type can't be made coarser so, or None."""
    to, kind = str(parameters.get("to")), family(spark_type)
    fits = {"zip3": ("text", "integer"), "grid": ("text", "real", "decimal")}.get(to, ("text", "date", "timestamp"))
    return None if kind in fits else f"generalize to {to} works on {', '.join(fits)}, not on {spark_type}"


def _valid(parameters: Mapping[str, Any]) -> str | None:
    if "to" not in parameters:
        return f"`to` is missing; one of {', '.join((*UNITS, 'zip3', 'grid'))}"
    wrong = {"degrees": "grid", "census": "zip3"}
    for name, to in wrong.items():
        if name in parameters and parameters["to"] != to:
            return f"{name} goes with `to: {to}` only"
    return None


GENERALIZE = Transform(
    "generalize",
    generalize,
    (
        Parameter("to", str, None, (*UNITS, "zip3", "grid"), help="what a value becomes"),
        Parameter("degrees", float, minimum=1e-6, maximum=180, help="size of a grid cell; 0.01 is about 1 km"),
        Parameter("census", str, "any", tuple(_SPARSE), help="whose list of sparse ZIP prefixes"),
        Parameter("formats", list, help="of dates in text: strptime formats such as '%d.%m.%Y'"),
    ),
    output=_output,
    takes=_takes,
    native=_native,
    quicker_in_arrow=lambda parameters: parameters.get("to") == "zip3",
    valid=_valid,
)
