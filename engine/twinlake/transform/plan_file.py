"""`plan.yaml`: writes a plan for people to review, compare and edit, and reads it back strictly.

Whoever edits a plan must get exactly what it says or an error with the fix: unknown transforms, parameters or keys,
missing and extra columns, and a table that is not the plan's are refused. `output_type` and `synthesis` may be left
out; they are then derived. Knows no rows and no keys, and not how a plan is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import yaml

from twinlake.core.errors import ConfigError, PolicyError, escaped, nearest
from twinlake.core.strict_yaml import Lines, read_yaml
from twinlake.transform.columns import PROSE, ColumnPlan, Synthesis, schema_hash, synthesis_of
from twinlake.transform.transforms import TRANSFORMS, Context, Transform
from twinlake.transform.transforms.base import checked
from twinlake.transform.transforms.conditional import SQL
from twinlake.transform.transforms.values import is_text

FORMAT = 1
_FIELDS = ("name", "type", "nullable", "entity", "transform", "parameters", "output_type", "synthesis", "reason")
_NEEDED = ("name", "type", "nullable", "transform")
_HEADER = """\
# What happens to each column. Edit `transform` and `parameters`, then run again; `name` and `type` must stay.
# After changing a transform, remove the lines output_type and synthesis: they are worked out again.
# transforms: {transforms}
# synthesis says how the twin's column is made: {synthesis}
"""


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes whatever the strict reader could take for a number, and never writes an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Inline(dict[str, Any]):
    """A mapping written on one line."""


def _inline(dumper: yaml.SafeDumper, value: _Inline) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if re.match(r"[A-Za-z_<]", value) and value.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Inline, _inline)


def write_plan(columns: Sequence[ColumnPlan], policy: str) -> str:
    """The plan as YAML text."""
    head = _HEADER.format(transforms=", ".join(TRANSFORMS), synthesis=", ".join(get_args(Synthesis)))
    body: dict[str, Any] = {"format": FORMAT, "policy": policy, "schema": schema_hash(_pairs(columns))}
    parts = [head, _dump(body), "columns:\n"]
    for column in columns:
        fields = {name: getattr(column, name) for name in _FIELDS}
        fields["parameters"] = _Inline(column.parameters)
        lines = _dump({key: value for key, value in fields.items() if key != "parameters" or value}).splitlines()
        parts.append("\n".join(("- " if not number else "  ") + line for number, line in enumerate(lines)) + "\n")
    return "".join(parts)


def read_plan(
    text: str,
    where: str = "plan.yaml",
    table: Sequence[tuple[str, str]] | None = None,
    transforms: Mapping[str, Transform] | None = None,
) -> tuple[tuple[ColumnPlan, ...], str]:
    """The decisions in `text`, and the policy's name. `table`: the (name, type) pairs that it must be for. Errors:
    PolicyError, with the fix.
    """
    try:
        data, lines = read_yaml(text, where)
    except ConfigError as error:
        raise PolicyError(str(error)) from None
    _check_keys(data, ("format", "policy", "schema", "columns"), where)
    if data.get("format") != FORMAT:
        raise PolicyError(
            f"{where}: format must be {FORMAT}, got {escaped(repr(data.get('format')))}; make the plan again "
            "with `twinlake plan`"
        )
    listed = data.get("columns")
    if not isinstance(listed, list) or not listed:
        raise PolicyError(f"{where}: `columns` must be a list with one entry for each column of the table")
    known = TRANSFORMS if transforms is None else transforms
    columns = tuple(_column(raw, _at(where, raw, index, lines), known) for index, raw in enumerate(listed))
    _check_columns(columns, data, where, table)
    check_reads(columns, known, where)
    return columns, str(data.get("policy", "policy"))


def check_table(columns: Sequence[ColumnPlan], table: Sequence[tuple[str, str]], where: str = "plan") -> None:
    """Refuses a `table` (name, type pairs in order) that is not the plan's: PolicyError with the difference."""
    planned = _pairs(columns)
    if planned == list(table):
        return
    ours, theirs = dict(planned), dict(table)
    differences = [
        f"{escaped(name)} is in the plan and not in the table{nearest(name, theirs)}" for name in ours if name not in theirs
    ]
    differences += [f"{escaped(name)} is in the table and not in the plan" for name in theirs if name not in ours]
    differences += [
        f"{escaped(name)} is {escaped(ours[name])} in the plan and {escaped(theirs[name])} in the table"
        for name in ours
        if name in theirs and ours[name] != theirs[name]
    ]
    shown = "; ".join(differences[:10] or ["the columns are in another order"])
    more = f"; and {len(differences) - 10} more" if len(differences) > 10 else ""
    raise PolicyError(
        f"{where}: is for another table (schema {schema_hash(planned)}, the table has {schema_hash(table)}): "
        f"{shown}{more}. "
        "Make the plan again with `twinlake plan`, or mend these entries; a column that should go is planned "
        "`transform: drop`"
    )


def check_reads(columns: Sequence[ColumnPlan], transforms: Mapping[str, Transform], where: str) -> None:
    """Refuses a transform that looks at a column which the table has not. Errors: PolicyError."""
    names = [column.name for column in columns]
    for column in columns:
        for name in transforms[column.transform].reads(column.parameters):
            if not name.startswith(SQL) and name not in names:
                raise PolicyError(
                    f"{where}, column {escaped(column.name)!r}: {column.transform} looks at column {escaped(name)!r}, which "
                    f"the table has not{nearest(name, names)}"
                )


def _pairs(columns: Sequence[ColumnPlan]) -> list[tuple[str, str]]:
    return [(column.name, column.type) for column in columns]


def _check_columns(
    columns: tuple[ColumnPlan, ...], data: Mapping[str, Any], where: str, table: Sequence[tuple[str, str]] | None
) -> None:
    names = [column.name for column in columns]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PolicyError(f"{where}: column {escaped(twice)!r} stands twice; keep one of the two entries")
    if all(column.transform == "drop" for column in columns):
        raise PolicyError(f"{where}: drops every column, so there is no table left; keep at least one")
    if table is not None:
        check_table(columns, table, where)
    ours = schema_hash(_pairs(columns))
    if data.get("schema") not in (None, ours):
        raise PolicyError(
            f"{where}: names or types were edited, or a column was added or removed (schema "
            f"{escaped(str(data['schema']))}, the columns give "
            f"{ours}); undo that, and write `transform: drop` for a column that should go"
        )


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=False)


def _at(where: str, raw: Any, index: int, lines: Lines) -> str:
    line = lines.get(("columns", str(index)))
    name = f", column {escaped(str(raw['name']))!r}" if isinstance(raw, dict) and "name" in raw else f", entry {index + 1}"
    return f"{where}{name}" + (f" (line {line})" if line else "")


def _check_keys(raw: Mapping[str, Any], allowed: Sequence[str], at: str) -> None:
    for key in raw:
        if key not in allowed:
            raise PolicyError(
                f"{at}: unknown key {escaped(str(key))!r}{nearest(str(key), allowed)}; allowed here: {', '.join(allowed)}"
            )


def _column(raw: Any, at: str, transforms: Mapping[str, Transform]) -> ColumnPlan:
    if not isinstance(raw, dict):
        raise PolicyError(f"{at}: must be a mapping with {', '.join(_NEEDED)}, got {type(raw).__name__}")
    _check_keys(raw, _FIELDS, at)
    for name in _NEEDED:
        if name not in raw:
            raise PolicyError(f"{at}: `{name}` is missing; add it")
    for name in _FIELDS:
        _check_type(name, raw.get(name), at)
    if raw["transform"] not in transforms:
        raise PolicyError(
            f"{at}: unknown transform {escaped(raw['transform'])!r}{nearest(raw['transform'], transforms)}; "
            f"known: {', '.join(transforms)}"
        )
    transform = transforms[raw["transform"]]
    if not transform.takes(raw["type"]):
        raise PolicyError(f"{at}: {transform.name} can't work on type {escaped(raw['type'])}; use keep, redact or drop")
    parameters = transform.check(raw.get("parameters") or {}, at)
    for inner in transform.inner(parameters):
        checked(inner, at, transforms)
    context = Context(raw["name"], raw["type"], raw["nullable"], raw.get("entity"))
    if transform.name == "fake" and not (context.entity or parameters.get("as")):
        raise PolicyError(f"{at}: fake needs an entity; add `parameters: {{as: PERSON}}` or another entity")
    output, synthesis = _derived(raw, transform, parameters, context, at)
    return ColumnPlan(
        raw["name"],
        raw["type"],
        raw["nullable"],
        raw.get("entity"),
        transform.name,
        parameters,
        output,
        synthesis,
        raw.get("reason") or "",
    )


def _derived(
    raw: Mapping[str, Any], transform: Transform, parameters: Mapping[str, Any], context: Context, at: str
) -> tuple[str, Synthesis]:
    output = transform.output_type(context.type, parameters)
    if raw.get("output_type", output) != output:
        raise PolicyError(
            f"{at}: output_type of {transform.name} is {output}, got {escaped(str(raw['output_type']))}; write "
            "that, or remove the line"
        )
    try:
        fixed = synthesis_of(transform.name, parameters, context, None)
    except PolicyError as error:
        raise PolicyError(f"{at}: {error}") from None
    given = raw.get("synthesis", fixed)
    # what the profile decides (key, format, empty) can't be told from the plan alone; what the transform fixes can
    free = {"model", "key", "format", "null", *(["text"] if transform.name in PROSE and is_text(context.type) else [])}
    allowed = free if fixed == "model" else {"surrogate", "format", "null"} if fixed == "surrogate" else {fixed}
    if given not in allowed:
        raise PolicyError(
            f"{at}: synthesis of {transform.name} must be {' or '.join(sorted(allowed))}, got "
            f"{escaped(str(given))!r}; or remove the line"
        )
    if given == "null" and not context.nullable and transform.name != "keep":
        raise PolicyError(f"{at}: synthesis can't be null, the column allows no nulls; drop it or choose another")
    return output, given


def _check_type(name: str, value: Any, at: str) -> None:
    if value is None and name not in _NEEDED:
        return
    expected: type = {"nullable": bool, "parameters": dict}.get(name, str)
    if not isinstance(value, expected):
        noun = {bool: "true or false", dict: "a mapping", str: "text"}[expected]
        raise PolicyError(f"{at}: {name} must be {noun}, got {escaped(repr(value))} ({type(value).__name__})")
