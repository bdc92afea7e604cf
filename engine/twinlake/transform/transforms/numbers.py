"""Coarser numbers without a key: `bucket` (ranges as text), `round` (to a multiple), `clip` (top and bottom code).

NaN stays NaN, and is in no bucket: it becomes the text `NaN`. All three are Spark column expressions too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Context, Parameter, SqlColumn, Transform
from twinlake.transform.transforms.values import arrow_type, family

if TYPE_CHECKING:
    from pyspark.sql import Column


def is_number(spark_type: str) -> bool:
    """Whether values of the type are numbers."""
    return family(spark_type) in ("integer", "real", "decimal")


# ---- bucket


def bucket(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """Each number as the name of its range, text: `[20, 30)`, or the label given for it."""
    values = array.cast(pa.float64(), safe=False)
    if "width" in parameters:
        width, start = float(parameters["width"]), float(parameters.get("start", 0))
        low = pc.multiply(pc.floor(pc.divide(pc.subtract(values, start), width)), width)
        low = pc.add(low, start)
        return _by_distinct(low, lambda edge: _range_name(edge, edge + width))
    edges = [float(edge) for edge in parameters["edges"]]
    names = pa.array(_names(edges, parameters), pa.string())
    numbers = np.asarray(values.fill_null(math.nan).to_numpy(zero_copy_only=False))
    at = np.searchsorted(np.array(edges), numbers, side="right")
    out = names.take(pa.array(at))
    out = pc.if_else(pa.array(np.isnan(numbers)), "NaN", out)
    return pc.if_else(array.is_valid(), out, pa.scalar(None, pa.string()))


def _by_distinct(values: pa.Array, name: Any) -> pa.Array:
    encoded = values.dictionary_encode()
    return pa.array([name(edge) for edge in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def _range_name(low: float, high: float) -> str:
    if math.isnan(low):
        return "NaN"
    return f"[{_short(low)}, {_short(high)})"


def _short(number: float) -> str:
    return str(int(number)) if math.isfinite(number) and number == int(number) else f"{number:.12g}"


def _names(edges: Sequence[float], parameters: Mapping[str, Any]) -> list[str]:
    """The names of: below the first edge, between each two, from the last edge on."""
    given = [str(label) for label in parameters.get("labels", ())]
    between = given or [_range_name(low, high) for low, high in pairwise(edges)]
    below = str(parameters.get("below", f"< {_short(edges[0])}"))
    return [below, *between, str(parameters.get("above", f">= {_short(edges[-1])}"))]


def _bucket_native(cell: Column, parameters: Mapping[str, Any], context: Context, sql: SqlColumn) -> Column | None:
    from pyspark.sql import functions as F

    if "edges" not in parameters:
        return None  # Spark writes doubles as 20.0 and 1.0E10
    edges = [float(edge) for edge in parameters["edges"]]
    names = _names(edges, parameters)
    number = cell.cast("double")
    out = F.when(cell.isNull(), F.lit(None).cast("string")).when(F.isnan(number), F.lit("NaN"))
    for edge, name in zip(edges, names[:-1], strict=True):
        out = out.when(number < F.lit(edge), F.lit(name))
    return out.otherwise(F.lit(names[-1]))


def _bucket_valid(parameters: Mapping[str, Any]) -> str | None:
    if ("width" in parameters) == ("edges" in parameters):
        return "give `width` or `edges`: where a range ends"
    if "width" in parameters:
        extra = {"labels", "below", "above"} & set(parameters)
        return f"{', '.join(sorted(extra))} go with `edges`, not with `width`" if extra else None
    edges = parameters["edges"]
    if not edges or not all(isinstance(e, int | float) and not isinstance(e, bool) and math.isfinite(e) for e in edges):
        return "edges must be a list of numbers"
    if list(edges) != sorted(set(edges)):
        return "edges must rise, each larger than the one before"
    labels = parameters.get("labels")
    if labels is not None and len(labels) != len(edges) - 1:
        return f"{len(edges)} edges make {len(edges) - 1} ranges, got {len(labels)} labels"
    return None


# ---- round


def round_to(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """Each number as the nearest multiple of `to`, halves away from zero; of the same type. A multiple that the type
    can't hold is the next one towards zero."""
    kind, to = array.type, parameters["to"]
    if pa.types.is_integer(kind):
        step = max(1, round(float(to)))
        return pa.array(_nearest_whole(array, step), kind, mask=_nulls(array))
    if pa.types.is_decimal(kind):
        return _rounded_decimals(array, to)
    values = np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.abs(values) / float(to)
        out = np.where(np.isfinite(steps), np.copysign(np.floor(steps + 0.5), values) * float(to), values)
    # 0.1 has no exact double: the product is written as its decimal reads
    small = np.abs(out) < 1e9
    out = np.where(small, np.round(np.where(small, out, 0), 12), out) if float(to) < 1 else out
    return pa.array(out.astype(f"float{kind.bit_width}"), kind, mask=_nulls(array))


def _nearest_whole(array: pa.Array, step: int) -> npt.NDArray[Any]:
    name = f"int{array.type.bit_width}"
    limits = np.iinfo(name)
    values = np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    rest = np.fmod(values, step)
    down = values - rest
    away = down + np.where(values < 0, -step, step)
    up = (np.abs(rest) * 2 >= step) & (away >= limits.min) & (away <= limits.max) & (np.sign(away) == np.sign(values))
    return np.asarray(np.where(up, away, down).astype(name))


def _rounded_decimals(array: pa.Array, to: float) -> pa.Array:
    from decimal import ROUND_HALF_UP, Decimal
    from decimal import Context as Digits

    kind, exact, step = array.type, Digits(prec=76), Decimal(repr(to))
    limit = Decimal(10) ** (kind.precision - kind.scale)
    out: list[Decimal | None] = []
    for value in array.to_pylist():
        if value is None:
            out.append(None)
            continue
        count = exact.divide(value, step).quantize(Decimal(1), ROUND_HALF_UP, exact)
        made = exact.multiply(count, step)
        if made.copy_abs() >= limit:
            made = exact.multiply(exact.subtract(count, Decimal(1).copy_sign(count)), step)
        out.append(exact.quantize(made, Decimal(1).scaleb(-kind.scale)))
    return pa.array(out, kind)


def _round_native(cell: Column, parameters: Mapping[str, Any], context: Context, sql: SqlColumn) -> Column | None:
    from pyspark.sql import functions as F

    if family(context.type) != "integer":
        return None  # fractions are rounded in decimal digits, which Spark's doubles don't do
    step = max(1, round(float(parameters["to"])))
    wide = cell.cast("decimal(20,0)")
    count = F.floor(F.abs(wide) / F.lit(step).cast("decimal(20,0)") + F.lit(0.5).cast("decimal(2,1)"))
    made = (count * F.lit(step).cast("decimal(20,0)")) * F.when(cell < 0, F.lit(-1)).otherwise(F.lit(1))
    nearer = F.when(cell < 0, made + F.lit(step)).otherwise(made - F.lit(step))
    return F.coalesce(made.try_cast(context.type), nearer.try_cast(context.type), cell)


def _nulls(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False))


# ---- clip


def clip(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """Numbers above `top` become `top`, those below `bottom` become `bottom`: HIPAA's ages of 90 or more."""
    out = array
    for name, beyond in (("top", pc.greater), ("bottom", pc.less)):
        if name in parameters:
            limit = _limit(parameters[name], array.type)
            out = pc.if_else(beyond(out, limit), limit, out)
    return out.cast(array.type)


def _limit(value: float, kind: pa.DataType) -> pa.Scalar[Any]:
    from decimal import Decimal

    if pa.types.is_decimal(kind):
        return pa.scalar(Decimal(repr(value)).quantize(Decimal(1).scaleb(-kind.scale)), kind)
    return pa.scalar(value if pa.types.is_floating(kind) else round(value), kind)


def _clip_native(cell: Column, parameters: Mapping[str, Any], context: Context, sql: SqlColumn) -> Column | None:
    from pyspark.sql import functions as F

    out = cell
    for name in ("top", "bottom"):
        if name in parameters:
            # the value, not Spark's least: NaN is larger than every number there, and 7 in a DECIMAL has its scale
            limit = F.lit(str(_limit(parameters[name], arrow_type(context.type)).as_py())).cast(context.type)
            beyond = (out > limit) & ~F.isnan(out.cast("double")) if name == "top" else out < limit
            out = F.when(beyond, limit).otherwise(out)
    return out


def _clip_valid(parameters: Mapping[str, Any]) -> str | None:
    top, bottom = parameters.get("top"), parameters.get("bottom")
    if top is None and bottom is None:
        return "give `top`, `bottom` or both"
    wrong = top is not None and bottom is not None and bottom >= top
    return f"bottom must be below top, got {bottom} and {top}" if wrong else None


BUCKET = Transform(
    "bucket",
    bucket,
    (
        Parameter("width", float, minimum=1e-9, help="width of every range"),
        Parameter("start", float, help="where a range starts; default 0"),
        Parameter("edges", list, help="where ranges start, rising; the last one ends the last range"),
        Parameter("labels", list, help="names of the ranges between edges"),
        Parameter("below", str, minimum=1, help="name of what is below the first edge"),
        Parameter("above", str, minimum=1, help="name of what is at or above the last edge"),
    ),
    output="string",
    takes=is_number,
    native=_bucket_native,
    valid=_bucket_valid,
)
ROUND = Transform(
    "round",
    round_to,
    (Parameter("to", float, minimum=1e-9, help="round to multiples of this: 5, 1000, 0.1"),),
    takes=is_number,
    native=_round_native,
    quicker_in_arrow=lambda parameters: True,
    valid=lambda parameters: None if "to" in parameters else "`to` is missing; write `to: 10` for tens",
)
CLIP = Transform(
    "clip",
    clip,
    (Parameter("top", float, help="larger numbers become this"), Parameter("bottom", float, help="smaller ones this")),
    takes=is_number,
    native=_clip_native,
    quicker_in_arrow=lambda parameters: True,
    valid=_clip_valid,
)
