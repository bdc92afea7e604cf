"""YAML as plain data: mappings, lists, strings, numbers, booleans, null. Nothing else gets in.

Refused, with the line: duplicate keys, keys that are not text, anchors and aliases (236 bytes of them can expand to
millions of leaves), tags, tabs as indentation, more than one document. YAML 1.1 surprises are kept from passing as
something else: `12:30:45` and `010` stay text, so that a typed field refuses them and shows what was read.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from twinlake.core.errors import ConfigError, escaped

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
Lines = dict[tuple[str, ...], int]
_RETYPED = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")


class _Loader(yaml.SafeLoader):
    """SafeLoader without base-60 and octal integers, and with 1e6 read as the number it looks like."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in _RETYPED]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+.0123456789"),
)


def read_yaml(text: str, where: str) -> tuple[dict[str, Any], Lines]:
    """The mapping in `text` and the line of each key path. `where` names the file in errors (ConfigError)."""
    tab = re.search(r"^[ ]*\t", text, re.MULTILINE)
    if tab:
        raise ConfigError(f"{where}, line {text.count(chr(10), 0, tab.start()) + 1}: tab as indentation; use spaces")
    try:
        _refuse_events(text, where)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or "cannot be read"
        raise ConfigError(f"{where}{line}: not valid YAML ({why})") from None
    if node is None:
        example = "`source: {path: customers.parquet}`"
        raise ConfigError(f"{where}, line 1: the file is empty; it must hold a mapping such as {example}")
    if not isinstance(node, yaml.MappingNode):
        got = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        raise ConfigError(f"{where}, line {node.start_mark.line + 1}: must be a mapping of keys, got {got}")
    lines: Lines = {}
    _walk(node, (), lines, where)
    loader = _Loader("")
    try:
        data: dict[str, Any] = loader.construct_document(node)
        return data, lines
    except (ValueError, yaml.YAMLError):
        raise ConfigError(f"{where}: holds a value that is neither text, number, boolean nor null") from None
    finally:
        loader.dispose()


def _refuse_events(text: str, where: str) -> None:
    documents = depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where}, line {line}: nested more than {MAX_DEPTH} deep")
        if documents > 1:
            raise ConfigError(f"{where}, line {line}: a second YAML document; only one is allowed")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"{where}, line {line}: anchors (&) and aliases (*) are not allowed; write the value out")
        if getattr(event, "tag", None):
            raise ConfigError(f"{where}, line {line}: YAML tags (!...) are not allowed; a config is plain data")


def _walk(node: yaml.Node, path: tuple[str, ...], lines: Lines, where: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*path, str(number))] = item.start_mark.line + 1
            _walk(item, (*path, str(number)), lines, where)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            shown = repr(escaped(key.value)) if isinstance(key, yaml.ScalarNode) else "it"
            raise ConfigError(f"{where}, line {line}: keys must be text; write {shown} in quotes")
        inner = (*path, key.value)
        if inner in lines:
            name = escaped(".".join(inner))
            raise ConfigError(f"{where}, line {line}: duplicate key {name}, first on line {lines[inner]}")
        lines[inner] = line
        _walk(value, inner, lines, where)
