"""Attacks on arrays: the search equals brute force, predicates hold where they say, exposure is worked by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from twinlake.evaluate.attacks.predicates import Predicate, Singled, drawn
from twinlake.evaluate.attacks.search import FIRST_SECRET, Halves, search_task
from twinlake.evaluate.attacks.targets import Targets
from twinlake.evaluate.metrics.attacks import scored, single_finds
from twinlake.evaluate.neighbours import Cells, squared_distances
from twinlake.evaluate.risk import deviate
from twinlake.train.exposure import CHANCE, exposures, mean_exposure

NUMBERS, CODES = 2, 2
HALVES = Halves((True, False, False, True), (0, 3), 3)


def batch(rows: int, seed: int) -> pa.RecordBatch:
    draw = np.random.default_rng(seed)
    held = {f"n{i}": draw.normal(size=rows) for i in range(NUMBERS)}
    held["n0"][::7] = np.nan
    held |= {f"h{i}": draw.integers(0, 4, rows).astype(np.int32) for i in range(CODES)}
    return pa.RecordBatch.from_pydict({**held, "row": draw.permutation(rows).astype(np.int64) << 40})


def cells(held: pa.RecordBatch) -> Cells:
    z = np.column_stack([held.column(f"n{i}").to_numpy() for i in range(NUMBERS)])
    codes = np.column_stack([held.column(f"h{i}").to_numpy() for i in range(CODES)])
    return Cells((1 / (1 + np.exp(-1.702 * z))).astype(np.float32), codes)


def only(of: Cells, columns: list[int]) -> Cells:
    numbers = [c for c in columns if c < NUMBERS]
    return Cells(of.numbers[:, numbers], of.codes[:, [c - NUMBERS for c in columns if c >= NUMBERS]])


def test_the_search_finds_what_brute_force_finds() -> None:
    twin, some = batch(3000, 1), cells(batch(40, 2))
    asked = Targets(some, 20, 20, some, 20, tuple("abcd"), np.zeros(2), np.ones(2))
    found: dict[int, dict[int, list[tuple[float, int, float]]]] = {}
    for part in search_task(asked, HALVES, iter([twin.slice(0, 1700), twin.slice(1700)])):
        for one in part.to_pylist():
            found.setdefault(one["what"], {}).setdefault(one["target"], []).append((one["distance"], one["row"], one["value"]))
    all_rows, ids = cells(twin), twin.column("row").to_numpy()
    searched = [([0, 1, 2, 3], 1), ([0, 3], 3), ([1, 2], 3), ([1, 2, 3], 1), ([0, 1, 2], 1)]
    for what, (columns, k) in enumerate(searched):
        expected = squared_distances(only(some, columns), only(all_rows, columns))
        for target in range(len(some)):
            got = found[what][target]
            assert [d for d, _, _ in got] == pytest.approx(np.sort(expected[target])[:k].tolist(), abs=3e-6)
            own = expected[target][[int(np.flatnonzero(ids == row)[0]) for _, row, _ in got]]
            assert own.tolist() == pytest.approx([d for d, _, _ in got], abs=3e-6)
    secret = found[FIRST_SECRET + 1][0][0]
    assert secret[2] == all_rows.codes[np.flatnonzero(ids == secret[1])[0], 1]


def test_the_search_does_not_depend_on_the_order_of_rows() -> None:
    twin, some = batch(500, 3), cells(batch(10, 4))
    asked = Targets(some, 5, 5, some, 5, tuple("abcd"), np.zeros(2), np.ones(2))
    turned = twin.take(pa.array(np.arange(500)[::-1]))

    def rows(held: pa.RecordBatch) -> set[tuple[int, int, int]]:
        return {
            (r["target"], r["what"], r["row"]) for part in search_task(asked, HALVES, iter([held])) for r in part.to_pylist()
        }

    assert rows(twin) == rows(turned)


def test_a_guess_of_a_number_may_be_off_by_two_hundredths() -> None:
    held = Cells(np.array([[0.5], [0.5], [np.nan]], np.float32), np.array([[4], [4], [4]], np.int32))
    asked = Targets(held, 2, 1, held, 1, ("n", "c"), np.zeros(1), np.ones(1))
    assert asked.same(0, np.array([0.515, 0.53, np.nan])).tolist() == [True, False, True]
    assert asked.same(1, np.array([4.0, 5.0, np.nan])).tolist() == [True, False, False]


def test_predicates_hold_where_they_say() -> None:
    held = Cells(np.array([[0.1, np.nan], [0.4, 0.2], [0.9, 0.2]], np.float32), np.array([[7], [7], [8]], np.int32))
    assert Predicate(((0, 0.4, np.inf),), ()).holds(held).tolist() == [False, True, True]
    assert Predicate(((0, -np.inf, 0.4),), ((0, 7),)).holds(held).tolist() == [True, True, False]
    assert Predicate(((1, np.nan, np.nan),), ()).holds(held).tolist() == [True, False, False]


def test_predicates_are_of_one_row_of_the_sample_and_repeat() -> None:
    some = cells(batch(200, 5))
    ends = np.array([[0.01, 0.02], [0.98, 0.99]])
    found, kinds = drawn(some, ends, 9)
    again, _ = drawn(some, ends, 9)
    assert str(found) == str(again)  # gaps are NaN, which no NaN equals
    assert set(kinds.tolist()) == {0, 1}
    single = [one for one in found if (0, -np.inf, float(np.float32(0.01))) not in one.numbers][4:]
    assert all(one.holds(some).sum() == 1 for one in single)
    columns = [len(one.numbers) + len(one.codes) for one in found]
    assert {n for n, kind in zip(columns, kinds, strict=True) if kind == 0} == {1}
    assert min(n for n, kind in zip(columns, kinds, strict=True) if kind == 1) == 3


def test_few_predicates_of_a_kind_say_nothing_beside_many_of_the_other() -> None:
    """A single one made "a gain of 100% can't be ruled out" of a table of 68,476 rows and two columns."""
    many, one, none = np.tile([[1, 0], [0, 1]], (400, 1)), np.array([[0, 2]]), np.zeros((0, 2), np.int64)
    for found, names in (
        (Singled(many, one, (900, 100)), ["one column"]),
        (Singled(many, many, (900, 100)), ["one column", "several columns"]),
        (Singled(one, none, (900, 100)), ["one column"]),
    ):
        tries = single_finds(found)
        assert [one.name for one in tries] == names
    assert isinstance(single_finds(Singled(none, none, (900, 100))), str)


def test_a_score_is_tried_by_its_area_and_at_few_false_alarms() -> None:
    """100 trained on, 10 of them far above all others; 200 never seen."""
    draw = np.random.default_rng(1)
    score = np.concatenate([np.full(10, 9.0), draw.random(90), draw.random(200)])
    area, few = scored("x", score, 100, 200)
    assert area.kind == "area" and area.n == 100 and 0.5 < area.hits / area.n < 0.6
    # The second highest of 200 is the bound: one lies above it.
    assert few.control_hits == 1 and few.hits >= 10 and few.control_n == 200
    assert few.risk(deviate()).low > 0.03
    assert len(scored("x", score[:199], 100, 99)) == 1


def test_exposure_by_hand() -> None:
    """Of three others: likelier than all is log2 4 = 2 bits, after one of them 1, after all 0; a tie counts half."""
    others = np.tile([-3.0, -2.0, -1.0], (4, 1))
    got = exposures(np.array([-0.5, -1.5, -9.0, -1.0]), others)
    assert got.tolist() == pytest.approx([2.0, 1.0, 0.0, 2 - np.log2(1.5)])


def test_exposure_of_what_was_never_planted_is_at_chance() -> None:
    draw = np.random.default_rng(3)
    mean, (low, high) = mean_exposure(exposures(draw.normal(size=4000), draw.normal(size=(4000, 500))))
    assert low < CHANCE < high and mean == pytest.approx(1 / np.log(2), abs=0.07)
