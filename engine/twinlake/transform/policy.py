"""The policy: rules from what a column is to what is done with it, written by people, read strictly.

    optional: true                              # of a policy for many tables: rules may match nothing
    tags: {secret: [salary, notes]}             # column tags, beside those that the table itself carries
    rules:
      - entity: [EMAIL_ADDRESS, "finance/*"]    # the label; or one of the other selectors below
        transform: [fake, hash]                 # the first that works on the column
        domain: people                          # further keys are the transform's parameters

Selectors: `entity` (the label; `NATIONAL_ID` means every country's, `finance/*` the group), `column` (its name),
`pattern` (a regular expression over names), `type` (`date`, `decimal`, `number`, `nested`, ...), `path` (a leaf:
`orders.items[].note`), `tag`, `kind: text` (free text without a label). Rules are tried in file order and the first
that matches wins. Knows no table; `plan.py` brings policy and table together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from twinlake.classify.entities import GENERAL, GROUPS, means
from twinlake.core.errors import ConfigError, PolicyError, escaped, nearest
from twinlake.core.strict_yaml import Lines, read_yaml
from twinlake.transform.transforms import TRANSFORMS, Inner, Transform
from twinlake.transform.transforms.base import checked, spec_of

Selector = Literal["entity", "column", "pattern", "type", "path", "tag", "kind"]
SELECTORS: tuple[Selector, ...] = ("entity", "column", "pattern", "type", "path", "tag", "kind")
SHIPPED = ("default", "gdpr", "hipaa_safe_harbor", "pci", "strict", "reversible")
"""The ready policies, by the name to give under `policy:`."""
_CATCH_ALL = {".*", ".+", "(?s).*", "(?s).+"}
_LISTS = ("entity", "column", "type", "path", "tag")
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")
_NESTED = ("struct", "array", "map")


@dataclass(frozen=True)
class Target:
    """What a rule may look at: a column, or with a `path` (`.email`) one leaf of it."""

    name: str
    entity: str | None = None
    kind: str = ""
    type: str = ""
    tags: tuple[str, ...] = ()
    path: str = ""


@dataclass(frozen=True)
class Rule:
    """One rule. `values` are what its selector may be. `fallbacks` are tried in order where the transform can't work.
    `at` tells errors where the rule stands."""

    selector: Selector
    values: tuple[str, ...]
    transform: str
    parameters: dict[str, Any] = field(default_factory=dict)
    optional: bool = False
    at: str = field(default="", compare=False)
    fallbacks: tuple[Inner, ...] = ()

    @property
    def chain(self) -> tuple[Inner, ...]:
        """The transform and its fallbacks, in the order in which they are tried."""
        return (Inner("", self.transform, self.parameters), *self.fallbacks)

    def selects(self, target: Target) -> bool:
        """Whether the rule is for this column or leaf."""
        if self.selector == "entity":
            return target.entity is not None and any(means(value, target.entity) for value in self.values)
        if self.selector == "path":
            return bool(target.path) and f"{target.name}{target.path}" in self.values
        if self.selector == "kind":
            # free text means text that no detector has recognized: a labelled column is never caught here
            return target.entity is None and target.kind in self.values
        if target.path:
            return False
        if self.selector == "column":
            return target.name in self.values
        if self.selector == "pattern":
            return re.fullmatch(self.values[0], target.name) is not None
        if self.selector == "tag":
            return any(tag in self.values for tag in target.tags)
        return any(_is_type(value, target.type) for value in self.values)


@dataclass(frozen=True)
class Policy:
    """Rules in the order in which they are tried. `tags`: column -> its tags, as the policy says."""

    rules: tuple[Rule, ...]
    name: str = field(default="policy", compare=False)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _is_type(value: str, spark_type: str) -> bool:
    head = re.split(r"[(<]", spark_type)[0]
    if value == "number":
        return head in _NUMBERS
    return head in _NESTED if value == "nested" else value in (head, spark_type)


def load_policy(source: str | Path | Mapping[str, Any] | None, transforms: Mapping[str, Transform] | None = None) -> Policy:
    """The policy in a file, of a shipped name such as `gdpr`, in a mapping (rules inline in the config), or for None
    the default. Errors: PolicyError.
    """
    if source is None:
        return read_policy(shipped_text("default"), "built-in policy", transforms)
    if isinstance(source, Mapping):
        return make_policy(source, "policy", None, transforms)
    return read_policy(policy_text(source), str(source), transforms)


def policy_text(source: str | Path | Mapping[str, Any] | None) -> str:
    """What decides the policy, as text: the file's content, the mapping, or the shipped file. Errors: PolicyError."""
    if source is None:
        return shipped_text("default")
    if isinstance(source, Mapping):
        return json.dumps(source, sort_keys=True, default=str)
    if str(source) in SHIPPED:
        return shipped_text(str(source))
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(
            f"policy file {escaped(str(path))} can't be read ({type(error).__name__}){nearest(str(source), SHIPPED)}; "
            f"under policy: give a path or one of {', '.join(SHIPPED)}"
        ) from None


def shipped_text(name: str) -> str:
    """The YAML of a ready policy."""
    return resources.files("twinlake.transform").joinpath("policies", f"{name}.yaml").read_text(encoding="utf-8")


def read_policy(text: str, where: str = "policy", transforms: Mapping[str, Transform] | None = None) -> Policy:
    """The policy in YAML `text`; `where` names it in errors. Errors: PolicyError naming the rule and its line."""
    try:
        data, lines = read_yaml(text, where)
    except ConfigError as error:
        raise PolicyError(str(error)) from None
    return make_policy(data, where, lines, transforms)


def make_policy(
    data: Mapping[str, Any],
    where: str = "policy",
    lines: Lines | None = None,
    transforms: Mapping[str, Transform] | None = None,
) -> Policy:
    """The policy in plain `data`. Errors: PolicyError."""
    for key in data:
        if key not in _TOP:
            raise PolicyError(
                f"{where}: unknown key {escaped(str(key))!r}{nearest(str(key), _TOP)}; a policy has the keys {', '.join(_TOP)}"
            )
    listed = data.get("rules")
    if not isinstance(listed, list):
        raise PolicyError(f"{where}: `rules` must be a list of rules, got {type(listed).__name__}")
    known = TRANSFORMS if transforms is None else transforms
    optional = _flag(data.get("optional", False), where)
    rules: list[Rule] = []
    for index, raw in enumerate(listed):
        line = (lines or {}).get(("rules", str(index)))
        rule = _rule(raw, f"{where}, rule {index + 1}" + (f" (line {line})" if line else ""), known, optional)
        _refuse_unreachable(rule, rules)
        rules.append(rule)
    return Policy(tuple(rules), where, _tags(data.get("tags", {}), where))


_TOP = ("rules", "optional", "tags")


def check_policy(policy: Policy, targets: Sequence[Target], entities: Collection[str]) -> None:
    """Refuses rules that can't apply to a table of these columns and leaves: unknown names, nothing matched, never
    reached.

    `entities` are all entities that detectors know. Errors: PolicyError.
    """
    taken: set[Target] = set()
    for rule in policy.rules:
        if rule.selector == "entity" and not rule.optional:
            _check_entities(rule, entities)
        matched = {target for target in targets if rule.selects(target)}
        if not matched and not rule.optional:
            raise PolicyError(f"{rule.at}: {_matches_nothing(rule, targets)}; remove the rule or add optional: true")
        if matched and matched <= taken and not (rule.optional and rule.selector in ("entity", "kind", "type")):
            raise PolicyError(
                f"{rule.at}: {rule.selector} {escaped(', '.join(rule.values))!r} is never reached, earlier rules take its "
                "columns; remove it or move it up"
            )
        taken |= matched


def _check_entities(rule: Rule, entities: Collection[str]) -> None:
    for value in rule.values:
        group = value.removesuffix("/*")
        if (value.endswith("/*") and group in GROUPS) or value in entities or value in GENERAL.values():
            continue
        if value.endswith("/*"):
            raise PolicyError(f"{rule.at}: no group {escaped(group)!r}{nearest(group, GROUPS)}; groups: {', '.join(GROUPS)}")
        raise PolicyError(f"{rule.at}: no detector knows the entity {escaped(value)!r}{nearest(value, entities)}")


def _matches_nothing(rule: Rule, targets: Sequence[Target]) -> str:
    value = rule.values[0]
    shown = escaped(", ".join(rule.values))
    if rule.selector == "column":
        return f"the table has no column {escaped(value)!r}{nearest(value, [target.name for target in targets])}"
    if rule.selector == "pattern":
        return f"the pattern {shown!r} matches no column"
    if rule.selector == "path":
        known = [f"{target.name}{target.path}" for target in targets if target.path]
        return f"no leaf {shown!r}{nearest(value, known)}; a path is written column.member, column[], column{{values}}"
    noun = {"entity": "labelled", "tag": "tagged", "type": "of type", "kind": "of kind"}[rule.selector]
    return f"no column is {noun} {shown}"


def _flag(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise PolicyError(f"{at}: optional must be true or false, got {escaped(repr(value))}")
    return value


def _tags(raw: Any, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(raw, Mapping) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in raw.values()
    ):
        raise PolicyError(f"{where}: tags must map a tag to a list of columns, such as {{secret: [salary]}}")
    out: dict[str, tuple[str, ...]] = {}
    for tag, names in raw.items():
        for name in names:
            out[name] = (*out.get(name, ()), str(tag))
    return out


def _rule(raw: Any, at: str, transforms: Mapping[str, Transform], all_optional: bool) -> Rule:
    if not isinstance(raw, dict):
        raise PolicyError(f"{at}: must be a mapping with {', '.join(SELECTORS)} and transform, got {type(raw).__name__}")
    present = [selector for selector in SELECTORS if selector in raw]
    if len(present) != 1:
        got = f"got {' and '.join(present)}" if present else f"got none{_near_selector(raw)}"
        raise PolicyError(f"{at}: must have exactly one of {', '.join(SELECTORS)}; {got}")
    optional = _flag(raw.get("optional", all_optional), at)
    rest = {key: value for key, value in raw.items() if key not in (*present, "transform", "optional")}
    values = _values(present[0], raw[present[0]], at)
    first, *fallbacks = _chain(raw.get("transform"), rest, at, transforms)
    return Rule(present[0], values, first.transform, dict(first.parameters), optional, at, tuple(fallbacks))


def _chain(raw: Any, rest: Mapping[str, Any], at: str, transforms: Mapping[str, Transform]) -> list[Inner]:
    """The transforms of a rule. Of a list, each takes those of the rule's parameters that it knows."""
    if not isinstance(raw, list):
        chain = [Inner("", raw if isinstance(raw, str) else str(raw), rest)]
    elif raw:
        specs = [spec_of(at, item) for item in raw]
        known = {s.transform: {p.name for p in transforms[s.transform].parameters} for s in specs if s.transform in transforms}
        for name in rest:
            if not any(name in parameters for parameters in known.values()):
                raise PolicyError(f"{at}: no transform of the list has a parameter {escaped(name)!r}")
        shared = [{k: v for k, v in rest.items() if k in known.get(s.transform, ())} for s in specs]
        chain = [Inner("", s.transform, {**more, **s.parameters}) for s, more in zip(specs, shared, strict=True)]
    else:
        raise PolicyError(f"{at}: transform is an empty list; name at least one")
    for item in chain:
        if item.transform not in transforms:
            raise PolicyError(
                f"{at}: unknown transform {escaped(item.transform)!r}{nearest(item.transform, transforms)}; "
                f"known: {', '.join(transforms)}"
            )
        transforms[item.transform].check(item.parameters, at)
        for below in transforms[item.transform].inner(item.parameters):
            checked(below, at, transforms)
    return chain


def _near_selector(raw: Mapping[str, Any]) -> str:
    return next((hint for key in raw if (hint := nearest(str(key), SELECTORS))), "")


def _values(selector: Selector, value: Any, at: str) -> tuple[str, ...]:
    values = tuple(value) if selector in _LISTS and isinstance(value, list) else (value,)
    if not values or not all(isinstance(item, str) and item for item in values):
        raise PolicyError(
            f"{at}: {selector} must be text{' or a list of texts' if selector in _LISTS else ''}, got {escaped(repr(value))}"
        )
    if len(set(values)) < len(values):
        raise PolicyError(f"{at}: {selector} {_twice(values)!r} stands twice in the list; name each once")
    if selector == "kind" and value != "text":
        raise PolicyError(f"{at}: kind must be text, got {escaped(str(value))!r}")
    if selector == "pattern":
        try:
            re.compile(str(value))
        except re.error as error:
            raise PolicyError(f"{at}: {escaped(str(value))!r} is no regular expression ({error.msg})") from None
    return values


def _twice(values: tuple[str, ...]) -> str:
    return escaped(next(value for index, value in enumerate(values) if value in values[:index]))


def _refuse_unreachable(rule: Rule, earlier: list[Rule]) -> None:
    for other in earlier:
        if other.selector == "pattern" and other.values[0] in _CATCH_ALL:
            raise PolicyError(f"{rule.at}: is never reached, since {other.at} takes every column; move that rule to the end")
        if other.selector == rule.selector and (common := [value for value in rule.values if value in other.values]):
            raise PolicyError(
                f"{rule.at}: {rule.selector} {escaped(common[0])} stands in {other.at} already; keep one of the two"
            )
