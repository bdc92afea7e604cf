"""Names of columns and tables: what is refused, what is kept, and how each is written in SQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlake.core.errors import TableError, escaped
from twinlake.tables.names import check_names, parse_table_name, quoted

ESCAPES = [
    ("a", "`a`"),
    ("a.b", "`a.b`"),
    ("`", "````"),
    ("a`b", "`a``b`"),
    ("``", "``````"),
    (" ", "` `"),
    ("a b", "`a b`"),
    ("1abc", "`1abc`"),
    ("-1", "`-1`"),
    ("select", "`select`"),
    ("null", "`null`"),
    ("a,b;c{d}(e)=f", "`a,b;c{d}(e)=f`"),
    ("'; DROP TABLE t; --", "`'; DROP TABLE t; --`"),
    ("${jndi:x}", "`${jndi:x}`"),
    ("{{x}}", "`{{x}}`"),
    ("%s", "`%s`"),
    ("../../etc", "`../../etc`"),
    ('"', '`"`'),
    ("名前", "`名前`"),
    ("🦊", "`🦊`"),
]


@pytest.mark.parametrize(("name", "sql"), ESCAPES)
def test_a_name_in_backticks(name: str, sql: str) -> None:
    assert quoted(name) == sql
    assert parse_table_name(sql) == (name,)
    if name.strip():
        assert check_names([name]) == []


def test_parts_are_joined_by_dots() -> None:
    assert quoted("main", "a.b", "c`d") == "`main`.`a.b`.`c``d`"


PARSED = [
    ("customers", ("customers",)),
    ("sales.customers", ("sales", "customers")),
    ("main.sales.customers", ("main", "sales", "customers")),
    ("`main`.sales.`my table`", ("main", "sales", "my table")),
    ("`a.b`.c", ("a.b", "c")),
    ("_2024.t_1", ("_2024", "t_1")),
]


@pytest.mark.parametrize(("text", "parts"), PARSED)
def test_a_table_name_is_parsed(text: str, parts: tuple[str, ...]) -> None:
    assert parse_table_name(text) == parts


UNREADABLE = [
    ("", "at character 1"),
    ("a.", "at character 3"),
    (".a", "at character 1"),
    ("a..b", "at character 3"),
    ("a b", "' ' at character 2"),
    ("a-b", "'-' at character 2"),
    ("`a", "at character 1"),
    ("``", "at character 1"),
    ("a;b", "';' at character 2"),
    ("a.b.c.d", "4 parts (a, b, c, d)"),
    ("a\n", "at character 2"),
]


@pytest.mark.parametrize(("text", "part"), UNREADABLE)
def test_a_table_name_is_refused_with_the_place(text: str, part: str) -> None:
    with pytest.raises(TableError) as caught:
        parse_table_name(text)
    assert part in str(caught.value) and str(caught.value).isprintable()


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_quoting_and_parsing_are_inverse(parts: list[str]) -> None:
    assert parse_table_name(quoted(*parts)) == tuple(parts)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(TableError) as caught:
        check_names(["a", "", "b\t", "A", "__row_id"])
    message = str(caught.value)
    for position in (1, 2, 3, 4, 5):
        assert f"position {position}" in message


def test_case_counts_when_the_session_says_so() -> None:
    assert check_names(["a", "A"], case_sensitive=True) == []
    with pytest.raises(TableError, match="the same name"):
        check_names(["a", "a"], case_sensitive=True)


def test_255_bytes_is_the_limit() -> None:
    assert check_names(["a" * 255, "é" * 127]) == []
    for name in ("a" * 256, "é" * 128):
        with pytest.raises(TableError, match="255 bytes"):
            check_names([name])


def test_no_columns() -> None:
    with pytest.raises(TableError, match="no columns"):
        check_names([])


@given(st.text())
def test_any_name_is_shown_on_one_line(name: str) -> None:
    shown = escaped(name)
    assert shown.isprintable() and len(shown) <= 80


def test_a_refused_name_is_escaped_once() -> None:
    with pytest.raises(TableError, match=r"column 'a\\nb' \(position 1\)"):
        check_names(["a\nb"])
