"""Automata hold just the words they should: told by enumeration against plain Python."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from automaton_words import words_of
from hypothesis import given, settings
from hypothesis import strategies as st

from twinlake.models.automaton import Automaton, Builder, days_between, joined, merged, of_sets, of_words


def numbers_of(automaton: Automaton, length: int) -> list[int]:
    return [int("".join(map(str, word))) for word in words_of(automaton, length)]


@given(st.lists(st.tuples(st.integers(0, 9_999), st.integers(0, 400)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_ranges_of_numbers(pairs: list[tuple[int, int]]) -> None:
    ranges = merged([(low, min(9_999, low + width)) for low, width in pairs])
    builder = Builder(10)
    automaton = builder.build(builder.within(ranges, 4))
    wanted = sorted({n for low, width in pairs for n in range(low, min(9_999, low + width) + 1)})
    assert numbers_of(automaton, 4) == wanted
    every = np.array([[int(c) for c in f"{n:04d}"] for n in range(10_000)])
    assert np.flatnonzero(automaton.run(every)).tolist() == wanted


@pytest.mark.parametrize(
    ("first", "last"),
    [("2023-12-30", "2024-03-02"), ("1999-02-28", "2001-03-01"), ("2000-02-29", "2000-02-29"), ("1899-12-31", "1900-03-01")],
)
def test_calendar_dates(first: str, last: str) -> None:
    a, b = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    builder = Builder(10)
    automaton = builder.build(builder.dates(int(f"{a:%Y%m%d}"), int(f"{b:%Y%m%d}")))
    wanted = [int(f"{a + dt.timedelta(n):%Y%m%d}") for n in range((b - a).days + 1)]
    assert numbers_of(automaton, 8) == wanted
    assert sum(high - low + 1 for low, high in days_between(wanted[0], wanted[-1])) == len(wanted)


def test_a_century_of_dates_is_small() -> None:
    builder = Builder(10)
    automaton = builder.build(builder.dates(19_000_101, 20_001_231))
    assert len(automaton.next) < 60
    assert len(words_of(automaton, 8)) == 36_890  # 101 years, 25 of them leap years


@pytest.mark.parametrize(("digits", "words"), [(2, 24), (4, 1_440), (6, 86_400)])
def test_clock_times(digits: int, words: int) -> None:
    builder = Builder(10)
    found = numbers_of(builder.build(builder.clock(digits)), digits)
    midnight = dt.datetime(2024, 1, 1)
    step = dt.timedelta(days=1) / words
    assert found == [int(f"{midnight + n * step:%H%M%S}"[:digits]) for n in range(words)]


def test_words_and_sets() -> None:
    words = np.array([[3, 1, 2], [0, 1, 2], [3, 1, 0], [3, 1, 2]], np.uint16)
    assert words_of(of_words(words, 4), 3) == [(0, 1, 2), (3, 1, 0), (3, 1, 2)]
    first, second = np.array([True, False, True]), np.array([[1, 0], [1, 1], [0, 0]], bool)
    assert words_of(of_sets(first), 1) == [(0,), (2,)]
    assert words_of(of_sets(first, second), 2) == [(0, 0)]  # nothing follows 2


def test_forced_places() -> None:
    builder = Builder(10)
    automaton = builder.build(builder.within(((120, 123), (150, 159)), 3))
    assert automaton.forced(3) == [True, False, False]
    assert builder.build(builder.chain([4, 0, 7])).forced(3) == [True, True, True]


def test_joined_automata_keep_apart() -> None:
    a, b = of_sets(np.array([True, False])), of_sets(np.array([False, True]))
    table, starts = joined([a, b])
    assert [np.flatnonzero(table[start] >= 0).tolist() for start in starts] == [[0], [1]]
