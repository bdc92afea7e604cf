"""Values as text and back: the canonical text that keyed transforms work on, and Spark type names as Arrow types.

Equal values have equal canonical text whatever the width of their type (7 as INT, BIGINT or DECIMAL(10,2) is `7`), so
that a key hashes alike on both sides of a join. Knows nothing of keys or entities.

Text is UTF-8 as it stands: no case, space or Unicode form is changed. Timestamps are text in UTC, whatever the
session's time zone. Numbers have no trailing zeros. -0.0 is 0.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

Family = Literal["text", "integer", "real", "decimal", "boolean", "date", "timestamp", "other"]

_INTEGERS = {"tinyint": pa.int8(), "smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64()}
_REALS = {"float": pa.float32(), "double": pa.float64()}
_DIGITS_KEPT = {"float": 7, "double": 15}
_SAMPLE = 1000


def family(spark_type: str) -> Family:
    """What kind of values a Spark type (simple string) holds; `other` for binary, nested and the like."""
    if re.match(r"(string|varchar|char)\b", spark_type):
        return "text"
    if spark_type in _INTEGERS:
        return "integer"
    if spark_type in _REALS:
        return "real"
    if spark_type.startswith("decimal("):
        return "decimal"
    if spark_type in ("boolean", "date"):
        return "boolean" if spark_type == "boolean" else "date"
    return "timestamp" if spark_type in ("timestamp", "timestamp_ntz") else "other"


def is_scalar(spark_type: str) -> bool:
    """Whether values of the type have a canonical text."""
    return family(spark_type) != "other"


def is_text(spark_type: str) -> bool:
    """Whether the type holds text."""
    return family(spark_type) == "text"


def arrow_type(spark_type: str) -> pa.DataType:
    """The Arrow type of a scalar Spark type. Errors: ValueError for others."""
    if match := re.fullmatch(r"decimal\((\d+),\s*(\d+)\)", spark_type):
        return pa.decimal128(int(match[1]), int(match[2]))
    fixed = {
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
        "timestamp_ntz": pa.timestamp("us"),
        **_INTEGERS,
        **_REALS,
    }
    if is_text(spark_type):
        return pa.string()
    if spark_type not in fixed:
        raise ValueError(f"no scalar type {spark_type}")
    return fixed[spark_type]


def spark_type_of(kind: pa.DataType) -> str:
    """The Spark type of a scalar Arrow type, as simple string; `nested` for all others."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    plain = {**_INTEGERS, **_REALS, "string": pa.string(), "boolean": pa.bool_(), "date": pa.date32(), "binary": pa.binary()}
    return next((name for name, arrow in plain.items() if arrow == kind), "nested")


def by_distinct(array: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """`convert` over the distinct values of `array`, spread back over its rows; nulls stay null.

    `convert` makes equal values of equal values and sees no null. Where a sample holds no value twice it gets all rows.
    """
    if all_differ(array):
        return convert(array)
    encoded = array.dictionary_encode()
    return convert(encoded.dictionary).take(encoded.indices)


def per_distinct(array: pa.Array, convert: Callable[[list[bytes]], pa.Array]) -> pa.Array:
    """As `by_distinct`, over the canonical texts of the values."""
    return by_distinct(array, lambda values: convert(canonical(values)))


def all_differ(array: pa.Array) -> bool:
    """Whether `array` has no null, and as far as a sample tells no value twice: then encoding it would save nothing."""
    # 1,000 rows with no value twice: of 10,000 hardly any will be
    return not array.null_count and len(array) >= _SAMPLE and pc.count_distinct(array.slice(0, _SAMPLE)).as_py() == _SAMPLE


def canonical_array(array: pa.Array) -> pa.Array:
    """As `canonical`, as a binary array."""
    if pa.types.is_string(array.type):
        return array.cast(pa.binary())
    return pa.array(canonical(array), pa.binary())


def canonical(array: pa.Array) -> list[bytes]:
    """The canonical text of each value of an array without nulls, as UTF-8 bytes."""
    kind = array.type
    if pa.types.is_string(kind):
        # as bytes: text that is not valid UTF-8 must neither fail nor change
        return array.cast(pa.binary()).to_pylist()  # type: ignore[no-any-return,unused-ignore]
    if pa.types.is_large_string(kind):
        return array.cast(pa.large_binary()).to_pylist()  # type: ignore[no-any-return,unused-ignore]
    if pa.types.is_floating(kind):
        return [_real_text(value).encode() for value in array.to_pylist()]
    if pa.types.is_decimal(kind):
        return [_decimal_text(value).encode() for value in array.to_pylist()]
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        array = array.cast(pa.timestamp(kind.unit, "UTC"))
    return [text.encode() for text in array.cast(pa.string()).to_pylist()]


def repaired(array: pa.Array) -> pa.Array:
    """`array`; of text, bytes that are no UTF-8 replaced by U+FFFD, since text functions fail on them. Keyed transforms work
    on the bytes as they are instead, so that a token of them stays the same."""
    if not pa.types.is_string(array.type):
        return array
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raw = array.cast(pa.binary()).to_pylist()
        return pa.array([None if text is None else text.decode("utf-8", "replace") for text in raw], pa.string())
    return array


def texts_of(array: pa.Array) -> pa.Array:
    """Each value as its canonical text, null as null: a string array."""
    if pa.types.is_string(array.type):
        return array
    encoded = array.dictionary_encode()
    return pa.array([text.decode() for text in canonical(encoded.dictionary)], pa.string()).take(encoded.indices)


def from_canonical(texts: Sequence[bytes | None], spark_type: str) -> pa.Array:
    """The values whose canonical text is `texts`, as an array of `spark_type`."""
    kind = arrow_type(spark_type)
    if is_text(spark_type):
        return pa.array(texts, pa.binary()).cast(pa.string(), safe=False)  # invalid UTF-8 comes back as it was
    plain = [None if text is None else text.decode() for text in texts]
    if pa.types.is_floating(kind):
        return pa.array([None if text is None else float(text) for text in plain], pa.float64()).cast(kind)
    if pa.types.is_decimal(kind):
        return pa.array([None if text is None else Decimal(text) for text in plain], kind)
    return pa.array(plain, pa.string()).cast(kind)


def folded(texts: list[bytes]) -> list[bytes]:
    """`texts` without differences of case, of white space and of Unicode compatibility forms."""
    plain = (unicodedata.normalize("NFKC", text.decode("utf-8", "replace")).casefold() for text in texts)
    return [" ".join(text.split()).encode("utf-8", "replace") for text in plain]


def as_type(texts: pa.StringArray, spark_type: str) -> pa.Array:
    """Surrogate `texts` as values of `spark_type`; null where a text is no value of the type or does not fit."""
    kind = family(spark_type)
    if kind == "text":
        return texts
    if kind in ("date", "timestamp"):
        return _as_time(texts, spark_type)
    if kind not in ("integer", "real", "decimal"):
        return pa.nulls(len(texts), arrow_type(spark_type)) if is_scalar(spark_type) else pa.nulls(len(texts))
    digits = pc.replace_substring_regex(texts, r"[\s+().\-/]", "")
    good = pc.match_substring_regex(digits, r"^\d{1,18}$")
    numbers = pc.if_else(good, digits, pa.scalar(None, pa.string())).cast(pa.int64())
    return _as_number(numbers, spark_type)


def _as_number(numbers: pa.Array, spark_type: str) -> pa.Array:
    kind = arrow_type(spark_type)
    if pa.types.is_decimal(kind):
        limit = 10 ** (kind.precision - kind.scale)
        return pa.array([None if n is None or n >= limit else Decimal(n) for n in numbers.to_pylist()], kind)
    largest = 10 ** _DIGITS_KEPT[spark_type] - 1 if spark_type in _DIGITS_KEPT else 2 ** (kind.bit_width - 1) - 1
    return pc.if_else(pc.less_equal(numbers, largest), numbers, pa.scalar(None, pa.int64())).cast(kind)


def _as_time(texts: pa.StringArray, spark_type: str) -> pa.Array:
    good = pc.match_substring_regex(texts, r"^[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])$")
    # the 29th to 31st are checked by the calendar itself, one by one: they are few
    late = pc.and_(pc.invert(good), pc.match_substring_regex(texts, r"^[1-9]\d{3}-\d\d-(29|3[01])$"))
    if pc.any(late).as_py():
        fine = {text for text in pc.unique(texts.filter(late)).to_pylist() if _is_date(text)}
        good = pc.or_(good, pc.is_in(texts, value_set=pa.array(sorted(fine), pa.string())))
    days = pc.if_else(good, texts, pa.scalar(None, pa.string())).cast(pa.date32())
    if spark_type == "date":
        return days
    moments = days.cast(pa.timestamp("us"))
    return pc.assume_timezone(moments, "UTC") if spark_type == "timestamp" else moments


def _is_date(text: str) -> bool:
    import datetime

    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _real_text(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def _decimal_text(value: Decimal) -> str:
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
