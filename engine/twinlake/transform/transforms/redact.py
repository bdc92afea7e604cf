"""`redact` replaces a value: by the entity's label, by a constant, or character by character.

Text becomes `<EMAIL_ADDRESS>`, a constant, or a mask such as `xxxx-xxxx-1234`. A column of another type becomes null
or, where nulls are not allowed, the type's zero (0, false, 1970-01-01). `keep_first` and `keep_last` show that many
characters of each value on purpose, `mask_after: "@"` and `mask_until: "@"` what stands on one side of a character; a
value of which nothing would be hidden is masked whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import PolicyError
from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Context, Parameter, SqlColumn, Transform
from twinlake.transform.transforms.masks import Mask, masked
from twinlake.transform.transforms.values import is_scalar, is_text

if TYPE_CHECKING:
    from pyspark.sql import Column

ZERO = {"boolean": "false", "date": "1970-01-01", "timestamp": "1970-01-01", "timestamp_ntz": "1970-01-01"}


def redact(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` with each non-null value replaced."""
    method = parameters.get("with", "label")
    if method == "characters" and is_text(context.type):
        return _masked(array, parameters)
    text = replacement(parameters, context)
    if text is None:
        return pa.nulls(len(array), array.type)
    value = pa.scalar(text, pa.string()) if is_text(context.type) else _typed(text, array.type)
    return pc.if_else(pc.is_valid(array), value, pa.scalar(None, value.type)).cast(array.type)


def replacement(parameters: Mapping[str, Any], context: Context) -> str | None:
    """The text that stands for every value of a column redacted by label or constant; None for null."""
    if is_text(context.type):
        if parameters.get("with", "label") == "constant":
            return str(parameters.get("value", ""))
        return f"<{context.entity or 'REDACTED'}>"
    if context.nullable:
        return None
    if not is_scalar(context.type):
        raise PolicyError(f"a column of type {context.type} that allows no nulls can't be redacted; drop it")
    return ZERO.get(context.type, "0")


def _typed(text: str, kind: pa.DataType) -> pa.Scalar[Any]:
    if pa.types.is_decimal(kind):
        return pa.scalar(Decimal(text), kind)
    if pa.types.is_timestamp(kind):
        return pa.scalar(0, pa.int64()).cast(kind)
    return pa.scalar(text, pa.string()).cast(kind)


def _masked(array: pa.Array, parameters: Mapping[str, Any]) -> pa.Array:
    mask = Mask(
        str(parameters.get("char", "x")),
        int(parameters.get("keep_first", 0)),
        int(parameters.get("keep_last", 0)),
        str(parameters.get("mask_after", "")),
        str(parameters.get("mask_until", "")),
        bool(parameters.get("greedy", False)),
    )
    return masked(array, mask).cast(array.type)


def redact_native(cell: Column, parameters: Mapping[str, Any], context: Context, sql: SqlColumn) -> Column | None:
    """The same in Spark; None for masks, which Arrow does faster."""
    from pyspark.sql import functions as F

    if parameters.get("with") == "characters" and is_text(context.type):
        return None
    text = replacement(parameters, context)
    value = F.lit(None) if text is None else F.lit(text)
    typed = value.cast(context.type) if is_scalar(context.type) else None
    if typed is None:
        return None
    return F.when(cell.isNotNull(), typed) if context.nullable else typed


def _valid(parameters: Mapping[str, Any]) -> str | None:
    masks = {"char", "keep_first", "keep_last", "mask_after", "mask_until", "greedy"} & set(parameters)
    if masks and parameters.get("with") != "characters":
        return f"{', '.join(sorted(masks))} work with `with: characters` only; add that"
    if "value" in parameters and parameters.get("with") != "constant":
        return "value works with `with: constant` only; add that"
    return None


REDACT = Transform(
    "redact",
    redact,
    (
        Parameter("with", str, "label", ("label", "constant", "characters"), help="what a value is replaced by"),
        Parameter("value", str, "", maximum=200, minimum=0, help="the constant"),
        Parameter("char", str, "x", minimum=1, maximum=1, help="the mask character, in place of letters and digits"),
        Parameter("keep_first", int, 0, minimum=0, maximum=64, help="characters left visible at the start"),
        Parameter("keep_last", int, 0, minimum=0, maximum=64, help="characters left visible at the end"),
        Parameter("mask_after", str, "", minimum=1, maximum=1, help="mask what stands after this character"),
        Parameter("mask_until", str, "", minimum=1, maximum=1, help="mask what stands before this character"),
        Parameter("greedy", bool, False, help="look for the last such character, not the first"),
    ),
    removes=True,
    native=redact_native,
    valid=_valid,
)
