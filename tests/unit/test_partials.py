"""Sketches and counters: exact where they say so, near where they don't, the same in any order of partitions."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinlake.profile.partials import Limits, as_text, collect, largest, smallest, text_hashes
from twinlake.profile.statistics import Column, ColumnStatistics, merge_column

LIMITS = Limits(values=5_000, numbers=4_000, people=3, share=1.0, seed=11)


def batch(values: pa.Array, first_key: int = 0) -> pa.RecordBatch:
    keys = pa.array(np.arange(first_key, first_key + len(values)), pa.int64())
    return pa.RecordBatch.from_arrays([keys, values], names=["key", "v"])


def statistics(type_: str, *partitions: pa.Array, limits: Limits = LIMITS) -> ColumnStatistics:
    """The merged statistics of one column that lies in these partitions."""
    rows: list[dict[str, Any]] = []
    start = 0
    for values in partitions:
        rows += collect([batch(values, start)], 1, limits)
        start += len(values)
    return merge_column(Column("v", type_, True), rows, limits)


@pytest.mark.parametrize("count", [0, 1, 2, 100, 2_047])
def test_distinct_is_exact_below_2048(count: int) -> None:
    for type_, values in (
        ("bigint", pa.array(np.arange(count) * 7, pa.int64())),
        ("string", pa.array([f"v{n}" for n in range(count)], pa.string())),
        ("double", pa.array(np.arange(count) / 3, pa.float64())),
    ):
        found = statistics(type_, values, values)
        assert (found.distinct, found.distinct_exact) == (count, True)


@pytest.mark.parametrize("count", [2_048, 5_000, 50_000, 200_000])
def test_distinct_is_near_above(count: int) -> None:
    found = statistics("bigint", pa.array(np.arange(count), pa.int64()))
    assert not found.distinct_exact
    assert abs(found.distinct - count) <= 0.1 * count


def test_merge_order_does_not_matter() -> None:
    texts = [f"w{n * n % 997}" if n % 9 else None for n in range(6_000)]
    parts = [pa.array(texts[a:b], pa.string()) for a, b in ((0, 1), (1, 2_500), (2_500, 2_500), (2_500, 6_000))]
    starts = (0, 1, 2_500, 2_500)
    rows = [row for p, s in zip(parts, starts, strict=True) for row in collect([batch(p, s)], 1, LIMITS)]
    column = Column("v", "string", True)
    one = merge_column(column, rows, LIMITS)
    other = merge_column(column, rows[::-1], LIMITS)
    for name in (f.name for f in dataclasses.fields(ColumnStatistics)):
        a, b = getattr(one, name), getattr(other, name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, name
    whole = statistics("string", pa.array(texts, pa.string()))
    assert whole.counts == one.counts == dict(Counter(t for t in texts if t is not None))
    assert whole.sample == one.sample and whole.distinct == one.distinct and whole.nulls == one.nulls == 667


def test_the_k_smallest_and_largest() -> None:
    values = np.array([5, 3, 9, 3, 1, 7])
    assert smallest(values, 3).tolist() == [1, 3, 3]
    assert largest(values, 3).tolist() == [9, 7, 5]
    assert smallest(values, 10).tolist() == [1, 3, 3, 5, 7, 9]
    assert largest(values, 10).tolist() == [9, 7, 5, 3, 3, 1]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40), st.integers(0, 40))
@settings(deadline=None, max_examples=60)
def test_ends_of_integers_are_exact(numbers: list[int], cut: int) -> None:
    found = statistics("bigint", pa.array(numbers[:cut], pa.int64()), pa.array(numbers[cut:], pa.int64()))
    assert found.low.tolist() == sorted(numbers)[:3]
    assert found.high.tolist() == sorted(numbers, reverse=True)[:3]


def test_ends_of_times_are_exact() -> None:
    last = dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)
    found = statistics("timestamp_ntz", pa.array([dt.datetime(1, 1, 1), last, last], pa.timestamp("us")))
    assert found.high.tolist() == [253402300799999999, 253402300799999999, -62135596800000000]


def test_numbers_that_are_none_are_counted_apart() -> None:
    found = statistics("double", pa.array([math.nan, math.inf, -math.inf, -math.inf, None, 1.0, 3.0], pa.float64()))
    assert (found.rows, found.nulls, found.nan, found.plus, found.minus) == (7, 1, 1, 1, 2)
    assert found.mean == 2.0 and found.std == pytest.approx(math.sqrt(2.0))
    assert found.counts == {"1": 1, "3": 1}
    assert found.low.tolist() == [1.0, 3.0] and found.high.tolist() == [3.0, 1.0]


def test_negative_zero_is_zero() -> None:
    found = statistics("double", pa.array([0.0, -0.0, -0.0], pa.float64()))
    assert found.distinct == 1 and list(found.counts.values()) == [3]


def test_wide_decimals_do_not_overflow() -> None:
    nines, low = Decimal("9" * 38), Decimal("-" + "9" * 38)
    found = statistics("decimal(38,0)", pa.array([nines, nines, low], pa.decimal128(38, 0)))
    assert found.counts == {"9" * 38: 2, "-" + "9" * 38: 1} and found.distinct == 2
    assert found.mean == pytest.approx(1e38 / 3)


def test_hashes_of_texts_do_not_collide() -> None:
    lengths = [*range(2_000), *range(2_000, 20_000, 100)]
    texts = [f"{n}" for n in range(77_820)] + [f"{n:09d}" for n in range(20_000)] + ["x" * n for n in lengths]
    assert len(set(texts)) == len(texts) == 100_000
    assert len(np.unique(text_hashes(pa.array(texts)))) == 100_000


def test_a_hash_depends_on_the_text_alone() -> None:
    texts = pa.array(["", "a", "ab", "ba", None, "a" * 700, "é"])
    whole = text_hashes(texts)
    assert [int(text_hashes(texts.slice(i, 1))[0]) for i in range(len(texts))] == whole.tolist()
    assert whole[0] == whole[4] and len(set(whole.tolist())) == 6


def test_empty_texts_alone_and_in_company_are_one_value() -> None:
    assert statistics("string", pa.array(["", ""]), pa.array(["", "a"])).distinct == 2


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.1, pa.float64(), "0.1"),
        (0.1, pa.float32(), "0.1"),
        (9007199254740993, pa.int64(), "9007199254740993"),
        (Decimal("1.50"), pa.decimal128(10, 2), "1.50"),
        (dt.date(1, 1, 1), pa.date32(), "0001-01-01"),
        (dt.datetime(2024, 3, 10, 2, 30), pa.timestamp("us"), "2024-03-10 02:30:00.000000"),
        (
            dt.datetime(2024, 3, 10, 7, 30, tzinfo=dt.UTC),
            pa.timestamp("us", "America/New_York"),
            "2024-03-10 07:30:00.000000",
        ),
        (True, pa.bool_(), "true"),
    ],
)
def test_canonical_text(value: Any, kind: pa.DataType, text: str) -> None:
    assert as_text(pa.array([value], kind)).to_pylist() == [text]
