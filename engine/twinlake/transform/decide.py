"""The decision on one column: which rule is for it, whether its transform can work there, and what happens if not.

Fails closed: a labelled column or leaf without a rule is redacted, and so is one that was not looked into. Of a rule's
chain the first transform that can work is taken; if none can, the column is redacted or the rule refused, whichever the
rule's writer would rather hear. Knows no rows and no keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from twinlake.classify.entities import NOT_TELLING
from twinlake.core.errors import PolicyError, escaped
from twinlake.profile.types import ColumnProfile
from twinlake.transform.columns import ColumnPlan, has_leaves, is_nested, synthesis_of
from twinlake.transform.policy import Policy, Rule, Target
from twinlake.transform.transforms import TRANSFORMS, Context, Inner, Transform
from twinlake.transform.transforms.base import domain_of, spec_of
from twinlake.transform.transforms.fake import faker_of, fits, surrogate_domain
from twinlake.transform.transforms.format_preserving import check_format
from twinlake.transform.transforms.generalize import check_generalize
from twinlake.transform.transforms.paths import takes_paths
from twinlake.transform.transforms.values import is_scalar

if TYPE_CHECKING:
    from twinlake.classify.labels import ColumnLabel, PathLabel

FEW, TELLING = 50, 1000
"""Different values below which encryption hides little: refused under FEW, said in the plan under TELLING."""


@dataclass(frozen=True)
class Obstacle:
    """Why a transform can't work on a column. `closed`: the column is then redacted; else the rule is refused."""

    why: str
    closed: bool = False


def targets_of(column: ColumnProfile, label: ColumnLabel | None, tags: tuple[str, ...], policy: Policy) -> list[Target]:
    """The column, and its leaves that a label or a rule names, as rules see them."""
    own = Target(column.name, label.entity if label else None, column.kind, column.type, tags)
    labelled = {leaf.path: leaf for leaf in (label.paths if label else ())}
    paths = [*labelled, *(_named_paths(column, policy) if takes_paths(column.type) else ())]
    return [own, *(_leaf_target(column, path, labelled.get(path)) for path in dict.fromkeys(paths))]


def _leaf_target(column: ColumnProfile, path: str, leaf: PathLabel | None) -> Target:
    kind = "text" if leaf is not None and leaf.contains else "leaf"
    return Target(column.name, leaf.entity if leaf else None, kind, path=path)


def _named_paths(column: ColumnProfile, policy: Policy) -> list[str]:
    values = [value for rule in policy.rules if rule.selector == "path" for value in rule.values]
    rests = [value[len(column.name) :] for value in values if value.startswith(column.name)]
    return [rest for rest in rests if rest[:1] in (".", "[", "{")]


def decide(
    column: ColumnProfile,
    label: ColumnLabel | None,
    tags: tuple[str, ...],
    policy: Policy,
    context: Context,
) -> ColumnPlan:
    """The plan for one column. `context`: its name, type, label, and the fakes and transforms to choose from."""
    target, *below = targets_of(column, label, tags, policy)
    labelled = {leaf.path: leaf for leaf in (label.paths if label else ())}
    leaves = {leaf.path: (labelled.get(leaf.path), _first(policy, leaf)) for leaf in below}
    # rules over kinds are for columns of plain text: a column with leaves of its own is not that
    rules = (rule for rule in policy.rules if not (leaves and rule.selector == "kind"))
    rule = next((rule for rule in rules if rule.selects(target)), None)
    if rule is None and leaves:
        return _by_path(column, leaves, context)
    if rule is None:
        return _without_rule(column, label, context)
    return _by_rule(column, rule, context)


def _by_rule(column: ColumnProfile, rule: Rule, context: Context) -> ColumnPlan:
    reason = f"{context.entity or column.kind}, {rule.at}"
    obstacle = None
    for number, step in enumerate(rule.chain):
        obstacle = obstacle_of(step, column, context, named=rule.selector == "column")
        if obstacle is None:
            if step.transform == "redact" and not column.nullable and not is_scalar(column.type):
                return _closed(column, context, reason)
            tried = f" ({rule.transform} can't work here)" if number else ""
            parameters = _resolved(step, context)
            warning = _warning(step, column, context)
            return _planned(column, context, context.known[step.transform], parameters, f"{reason}{tried}{warning}")
    assert obstacle is not None
    if not obstacle.closed:
        raise PolicyError(f"{rule.at}: {obstacle.why}")
    return _closed(column, context, f"{reason}: {obstacle.why}")


def obstacle_of(step: Inner, column: ColumnProfile, context: Context, named: bool = True) -> Obstacle | None:
    """Why `step` can't work on the column, or None. `named`: the rule names this column, so a wrong type is an error."""
    transform = context.known[step.transform]
    if not transform.takes(column.type):
        shown = f"{step.transform} can't work on column {escaped(column.name)!r} of type {escaped(column.type)}"
        return Obstacle(f"{shown}; use redact or drop" if named else f"{step.transform} can't work on this type", not named)
    if step.transform == "fake":
        return _fake_obstacle(step.parameters, column, context)
    if step.transform == "encrypt":
        return _encrypt_obstacle(step.parameters, column)
    if step.transform == "generalize":
        why = check_generalize(column.type, step.parameters)
        return Obstacle(why if named else f"{why}", not named) if why else None
    if step.transform in ("when", "drop_row"):
        found = (obstacle_of(inner, column, context, named) for inner in transform.inner(step.parameters))
        return next((obstacle for obstacle in found if obstacle), None)
    return None


def _fake_obstacle(parameters: Mapping[str, Any], column: ColumnProfile, context: Context) -> Obstacle | None:
    try:
        faker = faker_of(parameters, context)
    except PolicyError as error:
        return Obstacle(str(error))
    if not fits(faker, column.type):
        return Obstacle(f"its surrogates are no values of type {column.type}", closed=True)
    if column.kind != "key" or faker.space >= 10 * column.distinct or parameters.get("allow_collisions"):
        return None
    return Obstacle(
        f"column {escaped(column.name)!r} is unique with about {column.distinct:,} values, and there are {faker.space:,} "
        "surrogates: many would coincide; use hash or encrypt, or add allow_collisions: true"
    )


def _encrypt_obstacle(parameters: Mapping[str, Any], column: ColumnProfile) -> Obstacle | None:
    if parameters.get("cipher") == "ff1" and (why := check_format(column.type)):
        return Obstacle(f"column {escaped(column.name)!r}: {why}")
    if column.kind in ("key", "empty") or column.distinct >= FEW or parameters.get("allow_low_cardinality"):
        return None
    return Obstacle(
        f"column {escaped(column.name)!r} has {column.distinct} different values; their frequencies show through "
        "encryption. Use redact or fake, or add allow_low_cardinality: true"
    )


def _warning(step: Inner, column: ColumnProfile, context: Context) -> str:
    if step.transform == "fake" and column.kind == "key":
        space = faker_of(step.parameters, context).space
        if space < 10 * column.distinct:
            return f"; warning: {space:,} surrogates for about {column.distinct:,} values, some will coincide"
    if step.transform == "encrypt" and column.kind not in ("key", "empty") and column.distinct < TELLING:
        return f"; warning: {column.distinct} different values, their frequencies show through encryption"
    return ""


# ---- leaves


def _first(policy: Policy, target: Target) -> Rule | None:
    return next((rule for rule in policy.rules if rule.selects(target)), None)


def _by_path(column: ColumnProfile, leaves: Mapping[str, tuple[PathLabel | None, Rule | None]], context: Context) -> ColumnPlan:
    types = dict(leaf_types(column.type)) if is_nested(column.type) else {}
    specs: dict[str, Any] = {}
    reasons = []
    for path, (leaf, rule) in leaves.items():
        kind = types.get(path, "string")
        own = replace(context, column=f"{column.name}{path}", type=kind, nullable=True, entity=leaf.entity if leaf else None)
        step = _leaf_step(rule, leaf, own)
        if step.transform != "keep" or rule is not None:
            spec = {"transform": step.transform, **_resolved(step, own)}
            specs[path] = {**spec, "entity": own.entity} if own.entity else spec
            found = own.entity or ("text" if leaf and leaf.contains else "leaf")
            reasons.append(f"{path} is {found}: {step.transform}")
    if not specs:
        return _planned(column, context, context.known["keep"], {}, f"{column.kind}, nothing found in its leaves")
    return _planned(column, context, context.known["paths"], {"paths": specs}, "; ".join(reasons))


def _leaf_step(rule: Rule | None, leaf: PathLabel | None, context: Context) -> Inner:
    """What happens to a leaf. A transform must give the leaf's own type: a struct can't change its members' types."""
    if rule is None:
        closed = leaf is not None and (leaf.entity is not None or not NOT_TELLING.issuperset(leaf.contains))
        return Inner("", "redact" if closed else "keep", {})
    for step in rule.chain:
        transform = context.known[step.transform]
        if step.transform in ("drop", "drop_row", "when", "combine", "sql", "paths") or "per" in step.parameters:
            continue
        if not transform.takes(context.type) or transform.output_type(context.type, step.parameters) != context.type:
            continue
        if step.transform == "fake":
            try:
                if not fits(faker_of(step.parameters, context), context.type):
                    continue
            except PolicyError:
                continue
        return step
    return Inner("", "redact", {})


def leaf_types(spark_type: str, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, type) of every leaf of a Spark type in its simple text."""
    head, _, inside = spark_type.partition("<")
    parts = _split(inside[:-1]) if inside else []
    if head == "array":
        yield from leaf_types(parts[0], f"{path}[]")
    elif head == "map":
        yield from leaf_types(parts[0], f"{path}{{keys}}")
        yield from leaf_types(parts[1], f"{path}{{values}}")
    elif head == "struct":
        for part in parts:
            name, _, kind = part.partition(":")
            yield from leaf_types(kind, f"{path}.{name}")
    else:
        yield path, spark_type


def _split(text: str) -> list[str]:
    """The parts of `text` between its outermost commas."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


# ---- without a rule


def _without_rule(column: ColumnProfile, label: ColumnLabel | None, context: Context) -> ColumnPlan:
    contains = sorted(set(label.contains if label else ()) - NOT_TELLING)
    if context.entity is not None:
        return _closed(column, context, f"{context.entity}, no rule in the policy")
    looked = label is not None and label.sampled > 0 and "not_looked_into" not in label.evidence
    if column.kind == "opaque" and not (looked and is_nested(column.type)):
        return _closed(column, context, "opaque: values of this type are not looked into")
    if contains:
        # free text with an e-mail address in it is personal data, whatever the column as a whole is
        return _closed(column, context, f"contains {', '.join(contains)}, no rule for the column")
    return _planned(column, context, context.known["keep"], {}, f"{column.kind}, no label")


def _closed(column: ColumnProfile, context: Context, why: str) -> ColumnPlan:
    """Redacted, or dropped where that takes a null that the column does not allow."""
    if not column.nullable and not is_scalar(column.type):
        return _planned(column, context, TRANSFORMS["drop"], {}, f"{why}, and nulls are not allowed: dropped")
    return _planned(column, context, TRANSFORMS["redact"], {}, f"{why}: redacted")


def _planned(
    column: ColumnProfile, context: Context, transform: Transform, parameters: dict[str, Any], reason: str
) -> ColumnPlan:
    output = transform.output_type(column.type, parameters)
    synthesis = synthesis_of(transform.name, parameters, context, column.kind)
    if synthesis == "null" and transform.name == "keep" and column.kind != "empty":
        reason += "; maps and binary values are not modelled, the twin's column is null"
    if synthesis == "model" and has_leaves(column.type):
        reason += "; modelled by its leaves"
    return ColumnPlan(
        column.name, column.type, column.nullable, context.entity, transform.name, parameters, output, synthesis, reason
    )


def _resolved(step: Inner, context: Context) -> dict[str, Any]:
    """The parameters with the join domain written out: a reviewer sees which columns will agree."""
    parameters = dict(step.parameters)
    if step.transform == "fake":
        parameters.setdefault("domain", surrogate_domain(parameters, context))
    elif step.transform in ("hash", "encrypt"):
        parameters.setdefault("domain", domain_of(parameters, context))
    for name in ("then", "otherwise"):
        if step.transform in ("when", "drop_row", "combine") and name in parameters:
            inner = spec_of(name, parameters[name])
            resolved = _resolved(inner, context)
            parameters[name] = {"transform": inner.transform, **resolved} if resolved else inner.transform
    return parameters
