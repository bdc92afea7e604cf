"""YAML is data: each way in which it is more is refused with a line number, and 1.1 surprises stay text."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinlake.core.errors import ConfigError
from twinlake.core.strict_yaml import read_yaml

REFUSED = {
    "duplicate key": ("a: 1\nb: 2\na: 3\n", "line 3: duplicate key a, first on line 1"),
    "duplicate nested key": ("a:\n  b: 1\n  b: 2\n", "line 3: duplicate key a.b, first on line 2"),
    "duplicate key in a list": ("a:\n  - {b: 1}\n  - {b: 1, b: 2}\n", "line 3: duplicate key a.1.b"),
    "alias": ("a: &x [1, 2]\nb: *x\n", "line 1: anchors"),
    "alias bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "line 1: anchors"),
    "python tag": ("a: 1\nb: !!python/object/apply:os.system ['true']\n", "line 2: YAML tags"),
    "own tag": ("a: !secret x\n", "line 1: YAML tags"),
    "standard tag": ("a: !!str 5\n", "line 1: YAML tags"),
    "tab": ("a:\n\tb: 1\n", "line 2: tab"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2: a second YAML document"),
    "empty": ("", "line 1: the file is empty"),
    "only a comment": ("# nothing\n", "line 1: the file is empty"),
    "list at the top": ("\n- a\n- b\n", "line 2: must be a mapping of keys, got a list"),
    "text at the top": ("hello\n", "line 1: must be a mapping of keys, got a single value"),
    "number as key": ("a: 1\n5: 2\n", "line 2: keys must be text; write '5' in quotes"),
    "boolean as key": ("NO: 1\n", "line 1: keys must be text; write 'NO' in quotes"),
    "list as key": ("[a, b]: 1\n", "line 1: keys must be text"),
    "merge key": ("<<: {a: 1}\n", "line 1: keys must be text"),
    "broken": ("a: [1, 2\nb: 3\n", "line 2: not valid YAML"),
    "nested without end": ("a: " + "[" * 5_000, "line 1: nested more than 40 deep"),
    "huge integer": ("a: " + "9" * 5_000, "neither text, number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_line(case: str) -> None:
    text, expected = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, "team.yaml")
    assert str(caught.value).startswith("team.yaml")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:30:45", "12:30:45"),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("1e6", 1_000_000.0),
        ("1.5e-3", 0.0015),
        (".5", 0.5),
        ("-7", -7),
        ("0", 0),
        ("NO", False),
        ("null", None),
        ("~", None),
        ("'NO'", "NO"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    got = read_yaml(f"a: {text}", "x")[0]["a"]
    assert (type(got), got) == (type(value), value)


def test_lines_of_nested_keys_and_items() -> None:
    data, lines = read_yaml("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", "x")
    assert data == {"a": {"b": 1, "c": ["x", {"d": 2}]}}
    assert lines[("a", "c", "1", "d")] == 5
    assert lines[("a", "b")] == 2


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(read_yaml(text, "x")[0], dict)
