"""What kind of column the statistics speak of. Knows nothing of personal data."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

import numpy as np

from twinlake.profile.statistics import ColumnStatistics
from twinlake.profile.types import Kind

KEY_WORDS = {
    "id",
    "ids",
    "key",
    "no",
    "nr",
    "num",
    "number",
    "code",
    "uuid",
    "guid",
    "index",
    "ref",
    "reference",
    "pk",
    "sk",
    "rowid",
    "identifier",
}
INTEGRAL = ("tinyint", "smallint", "int", "bigint")
MIN_KEY_ROWS = 20
NUMERIC_TEXT = 0.98
MANY = 128


def kind_of(stats: ColumnStatistics, unique: bool | None = None) -> Kind:
    """The kind of a column. `unique` says whether no value comes twice; None takes the estimate of large columns."""
    unique = _looks_unique(stats) if unique is None else unique
    if stats.non_null == 0:
        return "empty"
    if _is_opaque(stats.type):
        return "opaque"
    if stats.nulls == 0 and stats.distinct == 1 and stats.counts:  # no counts: NaN or an infinity alone
        return "constant"
    if stats.type in ("date", "timestamp", "timestamp_ntz"):
        return "datetime"
    if stats.type == "boolean":
        return "category"
    if stats.type == "string":
        return _kind_of_text(stats, unique)
    if unique and _is_integral(stats.type) and (_key_header(stats.name) or _dense(stats)):
        return "key"
    return "number"


def _kind_of_text(stats: ColumnStatistics, unique: bool) -> Kind:
    dated = max(stats.formats.get(name, 0.0) for name in ("date", "datetime", "time")) >= NUMERIC_TEXT
    if dated and (unique or stats.distinct > MANY):
        return "datetime"
    if unique and not stats.formats.get("decimal") and stats.spaces_mean < 1 and (stats.length_max or 0) <= 64:
        return "key"
    if stats.distinct > MANY and stats.formats.get("integer", 0.0) + stats.formats.get("decimal", 0.0) >= NUMERIC_TEXT:
        return "number"
    if stats.distinct > MANY and stats.distinct > 0.5 * stats.non_null:
        return "text"
    if stats.distinct > 20 and stats.distinct > 0.2 * stats.non_null and stats.spaces_mean > 3:
        return "text"
    return "category"


def _looks_unique(stats: ColumnStatistics) -> bool:
    if stats.nulls or stats.rows < MIN_KEY_ROWS:
        return False
    return stats.distinct == stats.rows if stats.distinct_exact else stats.distinct >= 0.85 * stats.rows


def _is_integral(type_: str) -> bool:
    return type_ in INTEGRAL or bool(re.fullmatch(r"decimal\(\d+,0\)", type_))


def _key_header(name: str) -> bool:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return any(word.lower() in KEY_WORDS or word.lower().endswith(("id", "key")) for word in words)


def _dense(stats: ColumnStatistics) -> bool:
    return bool(len(stats.low) and int(stats.high[0]) - int(stats.low[0]) + 1 <= 1.5 * stats.rows)


def _is_opaque(type_: str) -> bool:
    return type_.startswith(("binary", "array", "struct", "map", "interval", "variant", "geo", "void"))


def decimals_of(texts: tuple[str, ...], at_most: int = 9) -> int | None:
    """Decimal places that hold every number in `texts`, or None if more than `at_most` are needed."""
    most = 0
    for text in texts:
        try:
            exponent = Decimal(text).normalize().as_tuple().exponent
        except InvalidOperation:
            continue
        if isinstance(exponent, int):
            most = max(most, -exponent)
        if most > at_most:
            return None
    return most


def time_text(value: int, type_: str) -> str:
    """A date (days) or timestamp (microseconds since 1970, UTC) as ISO 8601 text; numpy knows years beyond Python's."""
    if type_ == "date":
        return str(np.datetime64(int(value), "D"))
    text = str(np.datetime64(int(value), "us"))
    return text if type_ == "timestamp_ntz" else f"{text}Z"
