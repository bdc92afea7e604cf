"""Unity Catalog tags and column masks as a script: for a person to review and run, never run from here.

The script is idempotent SQL: one SET TAGS a labelled column, one mask function a data type, one SET MASK a column. Names are
quoted, so that a hostile column name stays a name. Knows labels, never a value.
"""

from __future__ import annotations

import re

from twinlake.classify.labels import ColumnLabel, Labels
from twinlake.core.errors import escaped

READERS = "pii_readers"
"""The group whose members see masked columns; the script says to put one's own."""
SIMPLE = re.compile(r"[a-z]+(?:\([0-9]+(?:,[0-9]+)?\))?\Z")
VALUES_SHOWN = {"string": "'[masked]'"}


def catalog_script(labels: Labels, table: str | None = None) -> str:
    """SQL that tags and masks what `labels` found, for the table of this name (catalog.schema.table)."""
    name = quoted(table) if table else "`catalog`.`schema`.`table`"
    schema = name.rpartition(".")[0]
    found = [c for c in labels.columns if c.entity or c.contains or c.paths]
    lines = [
        "-- Tags and masks for what was found. Nothing has been changed: review, then run it in Databricks SQL.",
        f"-- Members of the group {READERS} see the values; put your own group in its place.",
        *([] if table else ["-- The source is no catalog table: put its name in place of `catalog`.`schema`.`table`."]),
        "",
        *[line for column in found for line in _tags(name, column)],
        "",
    ]
    masked = [c for c in found if c.entity and SIMPLE.match(c.type)]
    for kind in sorted({c.type for c in masked}):
        lines += _function(schema, kind)
    for column in masked:
        lines.append(f"ALTER TABLE {name} ALTER COLUMN {_part(column.name)} SET MASK {_mask(schema, column.type)};")
    for column in found:
        if column.entity and not SIMPLE.match(column.type):
            lines.append(f"-- {_comment(column.name)}: a mask of type {_comment(column.type)} has to be written by hand")
    return "\n".join(lines).rstrip() + "\n"


def quoted(table: str) -> str:
    """A name of one to three parts, each in backticks; parts that are quoted already are read as such."""
    parts = re.findall(r"`((?:[^`]|``)+)`|([^.`]+)", table)
    return ".".join(_part(a.replace("``", "`") or b) for a, b in parts)


def _part(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _comment(name: str) -> str:
    return escaped(name)


def _tags(table: str, column: ColumnLabel) -> list[str]:
    tags = {}
    if column.entity:
        tags["pii"] = column.entity
        tags["pii_score"] = f"{column.score:.2f}"
    inside = sorted(
        {*column.contains, *(e for leaf in column.paths for e in ([leaf.entity] if leaf.entity else leaf.contains))}
    )
    if inside:
        tags["pii_contains"] = ",".join(inside)[:256]
    said = ", ".join(f"{_text(key)} = {_text(value)}" for key, value in tags.items())
    notes = [f"-- {_comment(column.name + leaf.path)}: {leaf.entity or ', '.join(leaf.contains)}" for leaf in column.paths]
    return [*notes, f"ALTER TABLE {table} ALTER COLUMN {_part(column.name)} SET TAGS ({said});"]


def _mask(schema: str, kind: str) -> str:
    name = _part("mask_pii_" + re.sub(r"\W+", "_", kind).strip("_"))
    return f"{schema}.{name}" if schema else name


def _function(schema: str, kind: str) -> list[str]:
    shown = VALUES_SHOWN.get(kind, f"CAST(NULL AS {kind.upper()})")
    return [
        f"CREATE OR REPLACE FUNCTION {_mask(schema, kind)}(value {kind.upper()}) RETURNS {kind.upper()}",
        f"  RETURN CASE WHEN is_account_group_member('{READERS}') THEN value ELSE {shown} END;",
    ]
