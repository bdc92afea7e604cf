"""Shifts: `date_shift`, `number_shift` and `noise`.

A shift is constant for each value of the column `per` (a person, an account), or for the whole join domain without it:
order and gaps between the dates of one person stay exactly. It is a keyed function of that value, so it is the same in
every table and run, and nobody without the key can undo it. `number_shift` with `by` adds a fixed number and needs no
key. `noise` draws anew for each value (equal values get equal noise). A result that its type can't hold is shifted the
other way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.keys import DEFAULT_KEY, Keyring
from twinlake.transform.transforms.base import DOMAIN, KEY, Context, Parameter, SqlColumn, Transform
from twinlake.transform.transforms.dates import as_days, restored_text
from twinlake.transform.transforms.prf import array_keys, spread, value_keys
from twinlake.transform.transforms.values import family, is_text

if TYPE_CHECKING:
    from pyspark.sql import Column

Ints = npt.NDArray[np.int64]
_FIRST = (dt.date(1, 1, 1) - dt.date(1970, 1, 1)).days
_LAST = (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days
_DAY = 86_400_000_000
PER = Parameter("per", str, minimum=1, help="column whose value decides the shift, such as the person's id")


def _amounts(parameters: Mapping[str, Any], keys: Keyring, context: Context, purpose: str, rows: int) -> Ints:
    """The shift of each row, from `min` to `max`; 0 is left out, so that something always moves."""
    low, high = _range(parameters)
    domain = str(parameters.get("domain") or parameters.get("per") or context.entity or context.column)
    subkey = keys[str(parameters.get("key", DEFAULT_KEY))].subkey(purpose, domain)
    if (per := parameters.get("per")) is not None:
        numbers = array_keys(context.others[str(per)], subkey)
    else:
        numbers = np.repeat(value_keys([b""], subkey), rows)
    shifts = spread(numbers, low, high - 1 if low <= 0 <= high else high)
    return np.where((shifts >= 0) & (low <= 0 <= high), shifts + 1, shifts)


def _range(parameters: Mapping[str, Any]) -> tuple[int, int]:
    within = int(parameters.get("within", 0))
    return (int(parameters["min"]), int(parameters["max"])) if "min" in parameters else (-within, within)


def _reads_per(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    return (str(parameters["per"]),) if "per" in parameters else ()


def _range_valid(parameters: Mapping[str, Any]) -> str | None:
    if ("min" in parameters) != ("max" in parameters):
        return "min and max belong together; give both, or `within`"
    if ("min" in parameters) == ("within" in parameters):
        return "give `within`, or `min` and `max`: how far a value may move"
    low, high = _range(parameters)
    return None if low < high else f"min must be below max, got {low} and {high}"


# ---- date_shift


def date_shift(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` of dates, timestamps or text with dates, moved by whole days."""
    days = _amounts(parameters, keys, context, "date shift", len(array))
    kind = array.type
    if pa.types.is_date(kind):
        return pa.array(_moved(_ints(array), days, _FIRST, _LAST), pa.int32(), mask=_nulls(array)).cast(kind)
    if pa.types.is_timestamp(kind):
        moments = _ints(array.cast(pa.timestamp("us", kind.tz)))
        out = _moved(moments, days * _DAY, _FIRST * _DAY, (_LAST + 1) * _DAY - 1)
        return pa.array(out, pa.int64(), mask=_nulls(array)).cast(pa.timestamp("us", kind.tz)).cast(kind)
    read = as_days(array, tuple(parameters.get("formats", ())))
    moved = _moved(read.days, days, _FIRST, _LAST)
    return restored_text(read, moved)


def _moved(values: Ints, by: Ints, low: int, high: int) -> Ints:
    there = values + by
    return np.where((there < low) | (there > high), values - by, there)


def _ints(array: pa.Array) -> Ints:
    kind = pa.int32() if pa.types.is_date32(array.type) else pa.int64()
    return np.asarray(array.cast(kind).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _nulls(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False))


def _is_time(spark_type: str) -> bool:
    return family(spark_type) in ("date", "timestamp") or is_text(spark_type)


# ---- number_shift and noise


def _is_number(spark_type: str) -> bool:
    return family(spark_type) in ("integer", "real", "decimal")


def number_shift(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` of numbers plus `by`, or plus a keyed whole number."""
    if "by" in parameters:
        return _added(array, np.full(1, float(parameters["by"])), parameters["by"])
    return _added(array, _amounts(parameters, keys, context, "number shift", len(array)), None)


def noise(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` plus noise of standard deviation `scale` (or `percent` of the value), a keyed function of the value."""
    domain = str(parameters.get("domain") or context.entity or context.column)
    subkey = keys[str(parameters.get("key", DEFAULT_KEY))].subkey("noise", domain)
    drawn = _standard(array_keys(array, subkey), str(parameters.get("shape", "normal")))
    if "percent" in parameters:
        values = array.cast(pa.float64(), safe=False).fill_null(0).to_numpy(zero_copy_only=False)
        size = np.abs(np.where(np.isfinite(values), values, 0)) * (float(parameters["percent"]) / 100)
    else:
        size = np.full(len(array), float(parameters.get("scale", 0)))
    return _added(array, drawn * size, None)


def _standard(numbers: npt.NDArray[np.uint64], shape: str) -> npt.NDArray[np.float64]:
    """Draws of mean 0 and deviation 1; normal ones by Box and Muller (1958) from two halves of the number."""
    first = ((numbers >> np.uint64(32)).astype(np.float64) + 0.5) * 2.0**-32
    second = ((numbers & np.uint64(0xFFFFFFFF)).astype(np.float64) + 0.5) * 2.0**-32
    if shape == "uniform":
        return np.asarray((2 * first - 1) * np.sqrt(3.0))
    if shape == "laplace":
        return np.asarray(np.where(second < 0.5, np.log(first), -np.log(first)) / np.sqrt(2.0))
    return np.asarray(np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second))


def _added(array: pa.Array, amounts: npt.NDArray[Any], fixed: float | None) -> pa.Array:
    """`array` plus `amounts` in its own type, the other way where the type can't hold the sum."""
    kind = array.type
    if pa.types.is_decimal(kind):
        return _added_decimals(array, amounts)
    if pa.types.is_floating(kind):
        values = array.to_numpy(zero_copy_only=False)
        out = (values + amounts.astype(values.dtype)).astype(values.dtype)
        return pa.array(out, kind, mask=_nulls(array))
    whole = np.rint(amounts).astype(np.int64) if fixed is None or not isinstance(fixed, int) else np.int64(fixed)
    values = np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    limits = np.iinfo(f"int{kind.bit_width}")
    with np.errstate(over="ignore"):
        there = values + whole
        wrapped = ((values ^ there) & (whole ^ there)) < 0
        out = np.where(wrapped | (there < limits.min) | (there > limits.max), values - whole, there)
    return pa.array(out.astype(f"int{kind.bit_width}"), kind, mask=_nulls(array))


def _added_decimals(array: pa.Array, amounts: npt.NDArray[Any]) -> pa.Array:
    from decimal import Context as Digits
    from decimal import Decimal

    kind, exact = array.type, Digits(prec=76)
    unit, limit = Decimal(1).scaleb(-kind.scale), Decimal(10) ** (kind.precision - kind.scale)
    out: list[Decimal | None] = []
    for value, amount in zip(array.to_pylist(), np.broadcast_to(amounts, len(array)).tolist(), strict=True):
        if value is None:
            out.append(None)
            continue
        by = exact.quantize(Decimal(repr(amount)), unit)
        there = exact.add(value, by)
        out.append(there if there.copy_abs() < limit else exact.subtract(value, by))
    return pa.array(out, kind)


def shift_native(cell: Column, parameters: Mapping[str, Any], context: Context, sql: SqlColumn) -> Column | None:
    """A fixed number added by Spark; None for keyed shifts and for decimals with fractions."""
    from pyspark.sql import functions as F

    if "by" not in parameters or family(context.type) == "decimal":
        return None
    by = parameters["by"]
    if family(context.type) == "real":
        return (cell + F.lit(float(by)).cast(context.type)).cast(context.type)
    whole = F.lit(int(by) if isinstance(by, int) else round(float(by))).cast("bigint")
    there = F.try_add(cell.cast("bigint"), whole).try_cast(context.type)
    back = F.try_subtract(cell.cast("bigint"), whole).try_cast(context.type)
    return (
        F.coalesce(there, back, F.when(cell.isNotNull(), F.lit(0).cast(context.type)))
        if context.nullable
        else F.coalesce(there, back, cell)
    )


def _shift_valid(parameters: Mapping[str, Any]) -> str | None:
    if "by" in parameters:
        extra = {"min", "max", "within", "per"} & set(parameters)
        return f"`by` is a fixed shift; {', '.join(sorted(extra))} don't go with it" if extra else None
    return _range_valid(parameters)


def _noise_valid(parameters: Mapping[str, Any]) -> str | None:
    if ("scale" in parameters) == ("percent" in parameters):
        return "give `scale` or `percent`: how large the noise is"
    return None


_RANGE = (
    Parameter("within", int, minimum=1, maximum=10**15, help="largest shift either way"),
    Parameter("min", int, minimum=-(10**15), maximum=10**15, help="smallest shift; negative is back"),
    Parameter("max", int, minimum=-(10**15), maximum=10**15, help="largest shift"),
)
_DAYS = tuple(Parameter(p.name, int, None, (), -36_500 if p.minimum != 1 else 1, 36_500, p.help + ", in days") for p in _RANGE)
DATE_SHIFT = Transform(
    "date_shift",
    date_shift,
    (KEY, DOMAIN, PER, *_DAYS, Parameter("formats", list, help="of text: strptime formats such as '%d.%m.%Y'")),
    takes=_is_time,
    reads=_reads_per,
    valid=_range_valid,
)
NUMBER_SHIFT = Transform(
    "number_shift",
    number_shift,
    (KEY, DOMAIN, PER, *_RANGE, Parameter("by", float, help="a fixed number to add; needs no key")),
    takes=_is_number,
    reads=_reads_per,
    needs_key=lambda parameters: "by" not in parameters,
    native=shift_native,
    quicker_in_arrow=lambda parameters: True,
    valid=_shift_valid,
)
NOISE = Transform(
    "noise",
    noise,
    (
        KEY,
        DOMAIN,
        Parameter("scale", float, minimum=0, help="standard deviation of the noise"),
        Parameter("percent", float, minimum=0, maximum=1000, help="standard deviation in percent of the value"),
        Parameter("shape", str, "normal", ("normal", "laplace", "uniform"), help="distribution of the noise"),
    ),
    takes=_is_number,
    valid=_noise_valid,
)
