"""Which column names and table names are accepted, and how they are shown. Knows nothing of rows.

Spark and Parquet accept any text as a name; warehouses do not. Refused: duplicates, names that differ in case alone
(unless the session is case-sensitive), empty names, control characters, more than 255 bytes, our own `__twinlake_`
prefix.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from twinlake.core.errors import TableError, escaped, in_quotes

MAX_BYTES = 255
OWN_PREFIX = "__twinlake_"
OWN_NAMES = ("__row_id",)


def check_names(names: list[str], case_sensitive: bool = False) -> list[str]:
    """Warnings about legal but risky names. Errors: TableError naming each refused column and its position (from 1)."""
    if not names:
        raise TableError("the table has no columns; a twin needs at least one")
    problems = [problem for position, name in enumerate(names, 1) if (problem := _problem(name, position))]
    folded = Counter(names if case_sensitive else [n.casefold() for n in names])
    for name, count in folded.items():
        if count > 1:
            at = [(i, n) for i, n in enumerate(names, 1) if (n if case_sensitive else n.casefold()) == name]
            what = "the same name" if len({n for _, n in at}) == 1 else "names that differ in case alone"
            shown = ", ".join(f"{in_quotes(n)} (position {i})" for i, n in at)
            problems.append(f"columns with {what}: {shown}; rename all but one, or select with source.columns")
    if problems:
        raise TableError("; ".join(problems))
    return _warnings(names)


def _problem(name: str, position: int) -> str | None:
    if not name.strip():
        return f"the column at position {position} has an empty name; give it one"
    if any(unicodedata.category(ch) == "Cc" for ch in name):
        return f"column {in_quotes(name)} (position {position}) holds a control character; rename it"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return f"column {in_quotes(name)} (position {position}) has a name longer than {MAX_BYTES} bytes; rename it"
    if name.casefold().startswith(OWN_PREFIX) or name in OWN_NAMES:
        return (
            f"column {in_quotes(name)} (position {position}): names starting with {OWN_PREFIX} and {OWN_NAMES[0]} are "
            "kept for twinlake; rename it"
        )
    return None


def _warnings(names: list[str]) -> list[str]:
    out = []
    looks: dict[str, list[str]] = {}
    for name in names:
        looks.setdefault(unicodedata.normalize("NFKC", name), []).append(name)
        if any(unicodedata.category(ch) == "Cf" for ch in name):
            out.append(f"column {in_quotes(name)} holds an invisible character; it is kept as it is")
    out += [
        f"columns look the same: {', '.join(repr(n.encode('unicode_escape').decode()) for n in same)}"
        for same in looks.values()
        if len(same) > 1
    ]
    return out


def parse_table_name(name: str, key: str = "source.table") -> tuple[str, ...]:
    """The 1 to 3 parts of a catalog name; backticks quote a part and a doubled backtick is one.
    Errors: TableError naming the setting `key`.
    """
    token = re.compile(r"`((?:[^`]|``)+)`|([A-Za-z_0-9]+)")
    parts, position = [], 0
    while True:
        match = token.match(name, position)
        if not match:
            raise TableError(
                f"{key} {in_quotes(name)}: can't read a name at character {position + 1}; write 1 to 3 parts as "
                "catalog.schema.table, with backticks around parts that hold anything but letters, digits and _"
            )
        parts.append(match.group(1).replace("``", "`") if match.group(1) else match.group(2))
        position = match.end()
        if position == len(name):
            break
        if name[position] != ".":
            raise TableError(
                f"{key} {in_quotes(name)}: unexpected {in_quotes(name[position])} at character {position + 1}; "
                "parts are joined by dots"
            )
        position += 1
    if len(parts) > 3:
        raise TableError(
            f"{key} {in_quotes(name)} has {len(parts)} parts ({', '.join(map(escaped, parts))}); 1 to 3 are allowed"
        )
    return tuple(parts)


def quoted(*parts: str) -> str:
    """Name parts as a SQL identifier: each in backticks, backticks doubled."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)
