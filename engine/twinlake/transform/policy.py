"""The policy: rules from what a column is to what is done with it, written by people, read strictly.

    rules:
      - entity: [EMAIL_ADDRESS, PHONE_NUMBER]   # the label; or `column: notes`, `pattern: ".*_raw"`, `kind: text`
        transform: fake
        domain: people                          # further keys are the transform's parameters

Rules are tried in file order and the first that matches wins. Knows no table; `plan.py` brings policy and table
together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from twinlake.core.errors import ConfigError, PolicyError, escaped, nearest
from twinlake.core.strict_yaml import Lines, read_yaml
from twinlake.transform.transforms import TRANSFORMS, Transform

Selector = Literal["entity", "column", "pattern", "kind"]
SELECTORS: tuple[Selector, ...] = ("entity", "column", "pattern", "kind")
_CATCH_ALL = {".*", ".+", "(?s).*", "(?s).+"}


@dataclass(frozen=True)
class Rule:
    """One rule. `values` are entities, or one column name, pattern or kind. `at` tells errors where the rule stands."""

    selector: Selector
    values: tuple[str, ...]
    transform: str
    parameters: dict[str, Any] = field(default_factory=dict)
    optional: bool = False
    at: str = field(default="", compare=False)

    def selects(self, name: str, entity: str | None, kind: str) -> bool:
        """Whether the rule is for a column of this name, label and kind."""
        if self.selector == "entity":
            return entity in self.values
        if self.selector == "column":
            return name == self.values[0]
        if self.selector == "pattern":
            return re.fullmatch(self.values[0], name) is not None
        # free text means text that no detector has recognized: a labelled column is never caught here
        return entity is None and kind == self.values[0]


@dataclass(frozen=True)
class Policy:
    """Rules in the order in which they are tried."""

    rules: tuple[Rule, ...]
    name: str = field(default="policy", compare=False)


def load_policy(
    source: str | Path | Mapping[str, Any] | None, transforms: Mapping[str, Transform] | None = None
) -> Policy:
    """The policy in a file, in a mapping (rules inline in the config), or for None the built-in. Errors:
    PolicyError.
    """
    if source is None:
        return read_policy(default_policy_text(), "built-in policy", transforms)
    if isinstance(source, Mapping):
        return make_policy(source, "policy", None, transforms)
    return read_policy(policy_text(source), str(source), transforms)


def policy_text(source: str | Path | Mapping[str, Any] | None) -> str:
    """What decides the policy, as text: the file's content, the mapping, or the built-in file. Errors: PolicyError."""
    if source is None:
        return default_policy_text()
    if isinstance(source, Mapping):
        return json.dumps(source, sort_keys=True, default=str)
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(
            f"policy file {escaped(str(path))} can't be read ({type(error).__name__}); check the path under policy:"
        ) from None


def default_policy_text() -> str:
    """The YAML of the built-in policy."""
    return resources.files("twinlake.transform").joinpath("default_policy.yaml").read_text(encoding="utf-8")


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
        if key != "rules":
            raise PolicyError(
                f"{where}: unknown key {escaped(str(key))!r}{nearest(str(key), ['rules'])}; a policy has one "
                "key, `rules`"
            )
    listed = data.get("rules")
    if not isinstance(listed, list):
        raise PolicyError(f"{where}: `rules` must be a list of rules, got {type(listed).__name__}")
    known = TRANSFORMS if transforms is None else transforms
    rules: list[Rule] = []
    for index, raw in enumerate(listed):
        line = (lines or {}).get(("rules", str(index)))
        rule = _rule(raw, f"{where}, rule {index + 1}" + (f" (line {line})" if line else ""), known)
        _refuse_unreachable(rule, rules)
        rules.append(rule)
    return Policy(tuple(rules), where)


def check_policy(policy: Policy, columns: Collection[str], entities: Collection[str]) -> None:
    """Refuses rules that can't apply to a table with these columns: unknown names, stale patterns, never reached.

    `entities` are all entities that detectors know. Errors: PolicyError.
    """
    taken: set[str] = set()
    for rule in policy.rules:
        value = rule.values[0]
        if rule.selector == "entity":
            for entity in rule.values:
                if entity not in entities and not rule.optional:
                    raise PolicyError(
                        f"{rule.at}: no detector knows the entity {escaped(entity)!r}{nearest(entity, entities)}"
                    )
        elif rule.selector in ("column", "pattern"):
            _check_names(rule, {name for name in columns if rule.selects(name, None, "")}, columns, taken)
        elif taken >= set(columns):
            raise PolicyError(
                f"{rule.at}: kind {value} is never reached, earlier rules take every column; remove it or move it up"
            )


def _check_names(rule: Rule, matched: set[str], columns: Collection[str], taken: set[str]) -> None:
    value = rule.values[0]
    if not matched and not rule.optional:
        if rule.selector == "column":
            raise PolicyError(
                f"{rule.at}: the table has no column {escaped(value)!r}{nearest(value, columns)}; mend the name "
                "or add optional: true"
            )
        raise PolicyError(
            f"{rule.at}: the pattern {escaped(value)!r} matches no column; remove the rule or add optional: true"
        )
    if matched and matched <= taken:
        raise PolicyError(
            f"{rule.at}: {rule.selector} {escaped(value)!r} is never reached, earlier rules take its columns; "
            "remove it or move it up"
        )
    taken |= matched


def _rule(raw: Any, at: str, transforms: Mapping[str, Transform]) -> Rule:
    if not isinstance(raw, dict):
        raise PolicyError(
            f"{at}: must be a mapping with {', '.join(SELECTORS)} and transform, got {type(raw).__name__}"
        )
    present = [selector for selector in SELECTORS if selector in raw]
    if len(present) != 1:
        got = f"got {' and '.join(present)}" if present else f"got none{_near_selector(raw)}"
        raise PolicyError(f"{at}: must have exactly one of {', '.join(SELECTORS)}; {got}")
    name = raw.get("transform")
    if not isinstance(name, str) or name not in transforms:
        shown = nearest(name, transforms) if isinstance(name, str) else ""
        raise PolicyError(f"{at}: unknown transform {escaped(str(name))!r}{shown}; known: {', '.join(transforms)}")
    optional = raw.get("optional", False)
    if not isinstance(optional, bool):
        raise PolicyError(f"{at}: optional must be true or false, got {escaped(repr(optional))}")
    rest = {key: value for key, value in raw.items() if key not in (*present, "transform", "optional")}
    values = _values(present[0], raw[present[0]], at)
    return Rule(present[0], values, name, transforms[name].check(rest, at), optional, at)


def _near_selector(raw: Mapping[str, Any]) -> str:
    return next((hint for key in raw if (hint := nearest(str(key), SELECTORS))), "")


def _values(selector: Selector, value: Any, at: str) -> tuple[str, ...]:
    values = tuple(value) if selector == "entity" and isinstance(value, list) else (value,)
    if not values or not all(isinstance(item, str) and item for item in values):
        raise PolicyError(
            f"{at}: {selector} must be text{' or a list of texts' if selector == 'entity' else ''}, got "
            f"{escaped(repr(value))}"
        )
    if len(set(values)) < len(values):
        raise PolicyError(f"{at}: an entity stands twice in the list; name each once")
    if selector == "kind" and value != "text":
        raise PolicyError(f"{at}: kind must be text, got {escaped(str(value))!r}")
    if selector == "pattern":
        try:
            re.compile(str(value))
        except re.error as error:
            raise PolicyError(f"{at}: {escaped(str(value))!r} is no regular expression ({error.msg})") from None
    return values


def _refuse_unreachable(rule: Rule, earlier: list[Rule]) -> None:
    for other in earlier:
        if other.selector == "pattern" and other.values[0] in _CATCH_ALL:
            raise PolicyError(
                f"{rule.at}: is never reached, since {other.at} takes every column; move that rule to the end"
            )
        if other.selector == rule.selector and (common := [value for value in rule.values if value in other.values]):
            raise PolicyError(
                f"{rule.at}: {rule.selector} {escaped(common[0])} stands in {other.at} already; keep one of the two"
            )
