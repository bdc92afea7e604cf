"""The plan: for each column, its transform and how the twin's column is made.

`make_plan` brings profile, labels and policy together and decides nothing that the plan does not say. Fails closed: a
labelled column without a rule is redacted, and so is one that was not looked into. `plan_file.py` writes and reads
`plan.yaml`. Knows no rows and no keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from twinlake.core.errors import PolicyError, escaped
from twinlake.core.keys import DEFAULT_KEY
from twinlake.profile.types import ColumnProfile, Profile
from twinlake.transform.policy import Policy, Rule, check_policy
from twinlake.transform.transforms import TRANSFORMS, Context, Transform
from twinlake.transform.transforms.base import Faker, domain_of
from twinlake.transform.transforms.fake import all_detectors, faker_of, fits, surrogate_domain
from twinlake.transform.transforms.redact import replacement
from twinlake.transform.transforms.values import is_scalar, is_text

if TYPE_CHECKING:
    from twinlake.classify.labels import ColumnLabel, Labels

Synthesis = Literal["model", "surrogate", "key", "format", "constant", "null", "none"]
"""How the twin's column is made. model: by the model. surrogate: the entity's fakes. key: new unique identifiers.
format: text of the same shape. constant: one text. null: nulls only. none: the column is not in the twin."""

FEW, TELLING = 50, 1000
"""Different values below which encryption hides little: refused under FEW, said in the plan under TELLING."""


@dataclass(frozen=True)
class ColumnPlan:
    """The decision on one column. `type`, `nullable`: the table's. `output_type`: after the transform."""

    name: str
    type: str
    nullable: bool
    entity: str | None
    transform: str
    parameters: dict[str, Any]
    output_type: str
    synthesis: Synthesis
    reason: str

    def context(self, detectors: Mapping[str, Faker] | None = None) -> Context:
        """What the transform may know of this column."""
        return Context(self.name, self.type, self.nullable, self.entity, detectors)

    @property
    def constant(self) -> str | None:
        """The canonical text of every non-null value of a column redacted to a constant; None for any other column."""
        if self.transform != "redact" or self.synthesis != "constant":
            return None
        return replacement(self.parameters, self.context())


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
        names = {str(c.parameters.get("key", DEFAULT_KEY)) for c in self.columns if known[c.transform].keyed}
        return tuple(sorted(names))

    def to_yaml(self) -> str:
        """The content of `plan.yaml`."""
        from twinlake.transform.plan_file import write_plan

        return write_plan(self)

    @classmethod
    def from_yaml(
        cls,
        text: str,
        where: str = "plan.yaml",
        table: Sequence[tuple[str, str]] | None = None,
        transforms: Mapping[str, Transform] | None = None,
    ) -> Plan:
        """The plan in `text`, for the table with these (name, type) pairs if given. Errors: PolicyError."""
        from twinlake.transform.plan_file import read_plan

        return read_plan(text, where, table, transforms)

    def _repr_html_(self) -> str:
        from html import escape

        def row(c: ColumnPlan) -> str:
            parameters = ", ".join(f"{key}: {value}" for key, value in c.parameters.items())
            cells = (c.name, c.type, c.entity or "", c.transform, parameters, c.synthesis, c.reason)
            return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"

        head = "".join(
            f"<th>{h}</th>" for h in ("column", "type", "entity", "transform", "parameters", "twin", "reason")
        )
        body = "".join(map(row, self.columns))
        return f"<table><caption>plan by {escape(self.policy)}</caption><tr>{head}</tr>{body}</table>"


def make_plan(
    profile: Profile,
    labels: Labels,
    policy: Policy,
    transforms: Mapping[str, Transform] | None = None,
    detectors: Mapping[str, Faker] | None = None,
) -> Plan:
    """The decision on each column of `profile`. `transforms` and `detectors` default to the built-in ones.

    Errors: PolicyError for a rule that can't apply to this table or to the column it selects.
    """
    known = TRANSFORMS if transforms is None else transforms
    fakers = all_detectors() if detectors is None else detectors
    found = {label.name: label for label in labels.columns}
    entities = {label.entity for label in labels.columns if label.entity}
    check_policy(policy, [column.name for column in profile.columns], {*fakers, *entities})
    columns = tuple(_decide(column, found.get(column.name), policy, known, fakers) for column in profile.columns)
    if all(column.transform == "drop" for column in columns):
        raise PolicyError("the plan drops every column, so there is no table left; keep at least one")
    return Plan(columns, policy.name)


def schema_hash(columns: Sequence[tuple[str, str]]) -> str:
    """The first 16 hex digits of a SHA-256 over names and types."""
    return hashlib.sha256(json.dumps([list(pair) for pair in columns]).encode()).hexdigest()[:16]


def synthesis_of(transform: str, parameters: Mapping[str, Any], column: Context, kind: str | None) -> Synthesis:
    """How the twin's column is made after `transform`. `kind` is the profile's; None where it is not known."""
    if transform == "drop":
        return "none"
    if transform == "redact":
        if parameters.get("with") == "characters" and is_text(column.type):
            return "format"
        return "null" if replacement(parameters, column) is None else "constant"
    if kind in ("empty", "opaque") or (kind is None and not is_scalar(column.type)):
        return "null"
    if transform == "fake":
        return "surrogate"
    if kind == "key":
        return "key"
    if kind == "text":
        return "format"
    # pseudonyms of numbers and dates are text without an order: only few different ones can be modelled
    return "format" if transform in ("hash", "encrypt") and kind in ("number", "datetime") else "model"


def _decide(
    column: ColumnProfile,
    label: ColumnLabel | None,
    policy: Policy,
    transforms: Mapping[str, Transform],
    detectors: Mapping[str, Faker],
) -> ColumnPlan:
    entity = label.entity if label else None
    rule = next((r for r in policy.rules if r.selects(column.name, entity, column.kind)), None)
    context = Context(column.name, column.type, column.nullable, entity, detectors)
    if rule is None:
        return _without_rule(column, context, () if label is None else label.contains)
    transform = transforms[rule.transform]
    reason = f"{entity or column.kind}, {rule.at}"
    if not transform.takes(column.type):
        if rule.selector != "column":
            return _closed(column, context, f"{reason}: {rule.transform} can't work on this type")
        raise PolicyError(
            f"{rule.at}: {rule.transform} can't work on column {escaped(column.name)!r} of type "
            f"{escaped(column.type)}; use redact or drop"
        )
    if rule.transform == "fake":
        reason += _check_fake(rule, column, context)
        if not fits(faker_of(rule.parameters, context), column.type):
            return _planned(
                column,
                context,
                TRANSFORMS["redact"],
                {},
                f"{reason}: its surrogates are no values of type {column.type}, so it is redacted",
            )
    if rule.transform == "encrypt":
        reason += _check_encrypt(rule, column)
    if rule.transform == "redact" and not column.nullable and not is_scalar(column.type):
        return _closed(column, context, reason)
    return _planned(column, context, transform, _resolved(rule, context), reason)


def _without_rule(column: ColumnProfile, context: Context, contains: Collection[str]) -> ColumnPlan:
    if context.entity is not None:
        return _closed(column, context, f"{context.entity}, no rule in the policy")
    if column.kind == "opaque":
        return _closed(column, context, "opaque: values of this type are not looked into")
    if contains:
        # free text with an e-mail address in it is personal data, whatever the column as a whole is
        return _closed(column, context, f"contains {', '.join(sorted(contains))}, no rule for the column")
    return _planned(column, context, TRANSFORMS["keep"], {}, f"{column.kind}, no label")


def _closed(column: ColumnProfile, context: Context, why: str) -> ColumnPlan:
    """Redacted, or dropped where that takes a null that the column does not allow."""
    if not column.nullable and not is_scalar(column.type):
        return _planned(column, context, TRANSFORMS["drop"], {}, f"{why}, and nulls are not allowed: dropped")
    return _planned(column, context, TRANSFORMS["redact"], {}, f"{why}: redacted")


def _planned(
    column: ColumnProfile, context: Context, transform: Transform, parameters: dict[str, Any], reason: str
) -> ColumnPlan:
    output = transform.output_type(column.type)
    synthesis = synthesis_of(transform.name, parameters, context, column.kind)
    if synthesis == "null" and transform.name == "keep" and column.kind != "empty":
        reason += "; nested and binary values are not modelled, the twin's column is null"
    return ColumnPlan(
        column.name, column.type, column.nullable, context.entity, transform.name, parameters, output, synthesis, reason
    )


def _resolved(rule: Rule, context: Context) -> dict[str, Any]:
    """The rule's parameters, with the join domain written out: a reviewer sees which columns will agree."""
    parameters = dict(rule.parameters)
    if rule.transform == "fake":
        parameters.setdefault("domain", surrogate_domain(parameters, context))
    elif rule.transform in ("hash", "encrypt"):
        parameters.setdefault("domain", domain_of(parameters, context))
    return parameters


def _check_fake(rule: Rule, column: ColumnProfile, context: Context) -> str:
    try:
        space = faker_of(rule.parameters, context).space
    except PolicyError as error:
        raise PolicyError(f"{rule.at}: {error}") from None
    if column.kind != "key" or space >= 10 * column.distinct:
        return ""
    if not rule.parameters.get("allow_collisions"):
        raise PolicyError(
            f"{rule.at}: column {escaped(column.name)!r} is unique with about {column.distinct:,} values, and "
            f"there are {space:,} surrogates: "
            "many would coincide; use hash or encrypt, or add allow_collisions: true"
        )
    return f"; warning: {space:,} surrogates for about {column.distinct:,} values, some will coincide"


def _check_encrypt(rule: Rule, column: ColumnProfile) -> str:
    if column.kind in ("key", "empty") or column.distinct >= TELLING:
        return ""
    if column.distinct < FEW and not rule.parameters.get("allow_low_cardinality"):
        raise PolicyError(
            f"{rule.at}: column {escaped(column.name)!r} has {column.distinct} different values; their "
            "frequencies show through encryption. "
            "Use redact or fake, or add allow_low_cardinality: true"
        )
    return f"; warning: {column.distinct} different values, their frequencies show through encryption"
