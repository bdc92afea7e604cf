"""The plan: for each column, its transform and how the twin's column is made.

`make_plan` brings profile, labels and policy together and decides nothing that the plan does not say. Fails closed: a
labelled column without a rule is redacted, and so is one that was not looked into. `decide.py` decides on a column,
`plan_file.py` writes and reads `plan.yaml`. Knows no rows and no keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twinlake.classify.entities import ENTITIES
from twinlake.core.errors import PolicyError
from twinlake.profile.types import Profile
from twinlake.transform.columns import ColumnPlan, Synthesis, schema_hash
from twinlake.transform.decide import decide, targets_of
from twinlake.transform.plan_file import check_reads, read_plan, write_plan
from twinlake.transform.policy import Policy, check_policy
from twinlake.transform.transforms import TRANSFORMS, Context, Transform
from twinlake.transform.transforms.base import Faker
from twinlake.transform.transforms.fake import all_detectors

if TYPE_CHECKING:
    from twinlake.classify.labels import Labels

__all__ = ["ColumnPlan", "Plan", "Synthesis", "make_plan", "plan_diff", "tags_of"]


@dataclass(frozen=True)
class Plan:
    """The decisions on all columns of a table, in its order. `plan["email"]` is the ColumnPlan of `email`."""

    columns: tuple[ColumnPlan, ...]
    policy: str = field(default="policy", compare=False)

    def __getitem__(self, name: str) -> ColumnPlan:
        return next(column for column in self.columns if column.name == name)

    @property
    def kept(self) -> tuple[ColumnPlan, ...]:
        """The columns of the output: all but the dropped ones."""
        return tuple(column for column in self.columns if column.transform != "drop")

    @property
    def schema_hash(self) -> str:
        """A hash over the names and types of the table's columns, in order."""
        return schema_hash([(column.name, column.type) for column in self.columns])

    def key_names(self, transforms: Mapping[str, Transform] | None = None) -> tuple[str, ...]:
        """The names of the keys that applying the plan needs."""
        known = TRANSFORMS if transforms is None else transforms
        return tuple(sorted({name for column in self.columns for name in column.keys(known)}))

    def to_yaml(self) -> str:
        """The content of `plan.yaml`."""
        return write_plan(self.columns, self.policy)

    @classmethod
    def from_yaml(
        cls,
        text: str,
        where: str = "plan.yaml",
        table: Sequence[tuple[str, str]] | None = None,
        transforms: Mapping[str, Transform] | None = None,
    ) -> Plan:
        """The plan in `text`, for the table with these (name, type) pairs if given. Errors: PolicyError."""
        return cls(*read_plan(text, where, table, transforms))

    def _repr_html_(self) -> str:
        from html import escape

        def row(c: ColumnPlan) -> str:
            parameters = ", ".join(f"{key}: {value}" for key, value in c.parameters.items())
            cells = (c.name, c.type, c.entity or "", c.transform, parameters, c.synthesis, c.reason)
            return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"

        head = "".join(f"<th>{h}</th>" for h in ("column", "type", "entity", "transform", "parameters", "twin", "reason"))
        body = "".join(map(row, self.columns))
        return f"<table><caption>plan by {escape(self.policy)}</caption><tr>{head}</tr>{body}</table>"


def make_plan(
    profile: Profile,
    labels: Labels,
    policy: Policy,
    transforms: Mapping[str, Transform] | None = None,
    detectors: Mapping[str, Faker] | None = None,
    tags: Mapping[str, Sequence[str]] | None = None,
) -> Plan:
    """The decision on each column of `profile`. `transforms` default to the built-in ones, `detectors` are a caller's
    own; `tags`: column -> its tags, beside those that the policy gives.

    Errors: PolicyError for a rule that can't apply to this table or to the column it selects.
    """
    known = TRANSFORMS if transforms is None else transforms
    found = {label.name: label for label in labels.columns}
    tagged = {c.name: (*(tags or {}).get(c.name, ()), *policy.tags.get(c.name, ())) for c in profile.columns}
    targets = [t for c in profile.columns for t in targets_of(c, found.get(c.name), tagged[c.name], policy)]
    check_policy(policy, targets, {*all_detectors(detectors), *ENTITIES, *(t.entity for t in targets if t.entity)})
    columns = []
    for column in profile.columns:
        label = found.get(column.name)
        entity = label.entity if label else None
        context = Context(column.name, column.type, column.nullable, entity, detectors, transforms=known)
        columns.append(decide(column, label, tagged[column.name], policy, context))
    if all(column.transform == "drop" for column in columns):
        raise PolicyError("the plan drops every column, so there is no table left; keep at least one")
    check_reads(columns, known, policy.name)
    return Plan(tuple(columns), policy.name)


def tags_of(metadata: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Column -> its tags, from the `tags` in each column's metadata: a list of names, or names with values."""
    found = {name: fields.get("tags") for name, fields in metadata.items()}
    return {name: tuple(map(str, tags)) for name, tags in found.items() if isinstance(tags, list | dict) and tags}


def plan_diff(old: Plan | None, new: Plan) -> str:
    """What would change, line by line: `-` as it was (without `old`: as the table is), `+` as `new` has it."""
    before = {column.name: _line(column) for column in old.columns} if old else {}
    lines = []
    for column in new.columns:
        was = before.pop(column.name, f"{_shown(column.name)}: {_shown(column.type)}, keep")
        now = _line(column)
        lines += [f"  {now}"] if was == now else [f"- {was}", f"+ {now}", f"      {_shown(column.reason)}"]
    lines += [f"- {was}" for was in before.values()]
    return "\n".join([f"--- {'plan.yaml' if old else 'the table as it is'}", f"+++ {_shown(new.policy)}", *lines])


def _line(column: ColumnPlan) -> str:
    parameters = json.dumps(column.parameters, ensure_ascii=False, sort_keys=True) if column.parameters else ""
    kind = column.type if column.output_type == column.type else f"{column.type} -> {column.output_type}"
    return _shown(f"{column.name}: {kind}, {column.transform}{' ' if parameters else ''}{parameters}")


def _shown(text: str) -> str:
    """Text fit for one line of a terminal, in its whole length."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode("ascii") for ch in text)
