"""`redact` replaces a value: by the entity's label, by a constant, or character by character.

Text becomes `<EMAIL_ADDRESS>`, a constant, or a mask such as `xxxx-xxxx-1234`. A column of another type becomes null
or, where nulls are not allowed, the type's zero (0, false, 1970-01-01). `keep_first` and `keep_last` show that many
characters of each value on purpose; a value no longer than what they would show is masked whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import PolicyError
from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Context, Parameter, Transform
from twinlake.transform.transforms.values import is_scalar, is_text

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
    char = str(parameters.get("char", "x"))
    first, last = int(parameters.get("keep_first", 0)), int(parameters.get("keep_last", 0))
    # a backslash in the replacement text would start a group reference
    written = char.replace("\\", "\\\\")
    hidden = pc.replace_substring_regex(array, r"[\pL\pN\pM]", written)
    if first or last:
        middle = pc.utf8_slice_codeunits(hidden, first, -last if last else None)
        head = pc.utf8_slice_codeunits(array, 0, first)
        tail = pc.utf8_slice_codeunits(array, -last) if last else pa.scalar("", array.type)
        shown = pc.binary_join_element_wise(head, middle, tail, pa.scalar("", array.type))
        hidden = pc.if_else(pc.greater(pc.utf8_length(array), first + last), shown, hidden)
    # nothing to replace, as in `--`: then every character goes
    whole = pc.replace_substring_regex(array, r"(?s).", written)
    return pc.if_else(pc.equal(hidden, array), whole, hidden).cast(array.type)


REDACT = Transform(
    "redact",
    redact,
    (
        Parameter("with", str, "label", ("label", "constant", "characters"), help="what a value is replaced by"),
        Parameter("value", str, "", maximum=200, minimum=0, help="the constant"),
        Parameter("char", str, "x", minimum=1, maximum=1, help="the mask character, in place of letters and digits"),
        Parameter("keep_first", int, 0, minimum=0, maximum=64, help="characters left visible at the start"),
        Parameter("keep_last", int, 0, minimum=0, maximum=64, help="characters left visible at the end"),
    ),
    removes=True,
)
