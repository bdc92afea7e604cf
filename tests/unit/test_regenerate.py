"""Columns made anew: unique where they must be, of the real format, a function of the row id alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from twinlake.core.errors import ModelError
from twinlake.models.regenerate import regenerate

HEX = "0123456789abcdef"
UUID = [HEX] * 8 + ["-"] + [HEX] * 4 + ["-", "4"] + [HEX] * 3 + ["-", "89ab"] + [HEX] * 3 + ["-"] + [HEX] * 12


def ids(*numbers: int) -> Any:
    return np.array(numbers, np.uint64)


def patterns(*positions: list[str]) -> dict[str, Any]:
    return {"kind": "patterns", "patterns": [{"weight": 1, "positions": list(p)} for p in positions]}


def test_uuids_stay_in_format_and_are_unique() -> None:
    made = regenerate("id", "key", "", patterns(UUID), np.arange(50_000, dtype=np.uint64), 7).to_pylist()
    assert len(set(made)) == 50_000
    rule = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(rule.fullmatch(text) for text in made)
    assert {text[19] for text in made} == set("89ab")


def test_a_small_space_is_used_up_without_repeating() -> None:
    made = regenerate("id", "key", "", patterns(["AB", "0123456789", "0123456789"]), np.arange(200, dtype=np.uint64), 7)
    assert sorted(made.to_pylist()) == sorted(f"{a}{n:02}" for a in "AB" for n in range(100))


def test_a_row_does_not_depend_on_its_company() -> None:
    whole = regenerate("id", "key", "", patterns(UUID), np.arange(1_000, dtype=np.uint64), 7).to_pylist()
    alone = [regenerate("id", "key", "", patterns(UUID), ids(row), 7)[0].as_py() for row in (0, 1, 500, 999)]
    assert alone == [whole[0], whole[1], whole[500], whole[999]]
    assert regenerate("id", "key", "", patterns(UUID), ids(0), 8)[0].as_py() != whole[0]
    assert regenerate("other", "key", "", patterns(UUID), ids(0), 7)[0].as_py() != whole[0]


def test_patterns_are_drawn_by_weight() -> None:
    recipe = {
        "kind": "patterns",
        "patterns": [{"weight": 3, "positions": ["a"]}, {"weight": 1, "positions": ["b", "b"]}],
    }
    made = regenerate("code", "format", "", recipe, np.arange(20_000, dtype=np.uint64), 7).to_pylist()
    assert set(made) == {"a", "bb"}
    assert abs(made.count("a") / 20_000 - 0.75) < 0.02


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"kind": "integers", "start": 1_000, "sign": 1, "room": 2**62}, ["1000", "1001", "1007"]),
        ({"kind": "integers", "start": -1, "sign": -1, "room": 127}, ["-1", "-2", "-8"]),
    ],
)
def test_integers_count_on(recipe: dict[str, Any], expected: list[str]) -> None:
    assert regenerate("id", "key", "", recipe, ids(0, 1, 7), 7).to_pylist() == expected


def test_spread_integers_are_unique_and_within_the_type() -> None:
    made = regenerate("id", "key", "", {"kind": "spread", "room": 2**63 - 1}, np.arange(10_000, dtype=np.uint64), 7)
    numbers = [int(text) for text in made.to_pylist()]
    assert len(set(numbers)) == 10_000
    assert 0 <= min(numbers) < 2**60 and 2**62 < max(numbers) < 2**63


def test_more_ids_than_the_type_has_room_for_are_refused() -> None:
    recipe = {"kind": "integers", "start": -1, "sign": -1, "room": 127}
    assert regenerate("id", "key", "", recipe, ids(126), 7).to_pylist() == ["-127"]
    with pytest.raises(ModelError, match="room for 127 new ids"):
        regenerate("id", "key", "", recipe, ids(127), 7)


def test_words_are_public_ones_and_as_many_as_asked() -> None:
    made = regenerate("notes", "format", "", {"kind": "words", "words": [3, 6]}, np.arange(2_000, dtype=np.uint64), 7)
    counts = [len(text.split()) for text in made.to_pylist()]
    assert set(counts) == {3, 4, 5, 6}
    assert abs(sum(counts) / 2_000 - 4.5) < 0.15


@pytest.mark.parametrize("method", ["key", "format"])
def test_no_rows(method: str) -> None:
    assert regenerate("id", method, "", patterns(UUID), ids(), 7).to_pylist() == []
