"""Dates and times: phases, periods, and the time since another column. Worked out by hand, or against datetime."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from twinlake.core.errors import ConfigError
from twinlake.generate.conditions import read_conditions
from twinlake.generate.steering import read_steering
from twinlake.models.bin_labels import bin_labels
from twinlake.models.codec import Codec, decode_column, encode_column
from twinlake.models.column import ColumnCodec
from twinlake.models.relations import restore
from twinlake.models.times import DAY_US, Phase, Since, difference, followed, has_sentinel, moved, period_of, since_of

# weeks 0 and 1 have tokens of their own, weeks 2 to 5 share a cell; days 0 and 2 of a week are single, the others two cells
WEEKLY = ColumnCodec(
    "day",
    "date",
    "number",
    states=("null",),
    atoms=(0, 1),
    low=(2,),
    high=(5,),
    bin_start=(0,),
    period=7,
    phase=Phase((0, 2), (1, 4), (3, 6)),
)


ONE = Codec((WEEKLY,), pa.schema([("day", pa.date32())]))


def days(*numbers: int | None) -> pa.Array:
    return pa.array(numbers, pa.int32()).cast(pa.date32())


def test_a_folded_date_has_a_token_of_its_week_and_one_of_its_day() -> None:
    # tokens: null, week 0, week 1, weeks 2-5, rare; and day 0, day 2, days 1 to 3, days 4 to 6
    tokens = encode_column(WEEKLY, days(0, 2, 8, 14 + 5, 7 * 5 + 6, None))
    assert tokens.tolist() == [[1, 0], [1, 1], [2, 2], [3, 3], [3, 3], [0, 0]]
    assert WEEKLY.sizes == (5, 4)


def test_decoding_gives_every_day_of_the_token_and_no_other() -> None:
    uniform = (np.arange(4_000) + 0.5) / 4_000 + 1e-9
    for tokens, wanted in (
        ((1, 0), {0}),
        ((1, 1), {2}),
        ((2, 2), {8, 10}),  # day 2 has a token of its own
        ((3, 3), {7 * w + d for w in range(2, 6) for d in (4, 5, 6)}),
    ):
        some = np.tile(np.array(tokens, np.uint16), (4_000, 1))
        made = decode_column(WEEKLY, some, uniform, np.empty(0, np.uint64), 0, pa.date32())
        found, counts = np.unique(made.cast(pa.int32()).to_numpy(), return_counts=True)
        assert set(found.tolist()) == wanted and counts.min() > 0.9 * 4_000 / len(wanted)


def test_the_period_is_that_of_the_shape() -> None:
    hours = np.arange(24 * 7 * 52)
    flat = np.ones(len(hours))
    of_day, of_week = hours % 24, hours // 24 % 7
    daytime = np.where((of_day >= 8) & (of_day < 18), 5.0, 1.0)
    workdays = np.where(of_week < 5, 5.0, 1.0)
    assert period_of(hours, flat, 24, 40.0) == 0
    assert period_of(hours, daytime, 24, 40.0) == 24
    assert period_of(hours, daytime * workdays, 24, 40.0) == 24 * 7
    assert period_of(hours, daytime * workdays, 24, 1.0) == 0  # cells of an hour show it as they are
    dates = np.arange(7 * 52)
    assert period_of(dates, np.where(dates % 7 < 5, 5.0, 1.0), 1, 3.0) == 7
    assert period_of(dates, np.ones(len(dates)), 1, 3.0) == 0
    few = np.random.default_rng(1).integers(0, 24 * 7 * 52, 300)
    assert period_of(np.sort(few), np.ones(300), 24, 300.0) == 0  # chance makes a shape of 168 hours, not of the rows


@pytest.mark.parametrize("first", ["1969-12-30 23:59:58", "2024-02-28 12:00:01"])
def test_differences_are_datetimes(first: str) -> None:
    start = [dt.datetime.fromisoformat(first) + dt.timedelta(hours=7 * n) for n in range(200)]
    end = [s + dt.timedelta(seconds=60 * (n % 50)) for n, s in enumerate(start)]
    booked = [(s - dt.timedelta(days=n % 9)).date() for n, s in enumerate(start)]
    batch = pa.record_batch(
        {"start": pa.array(start, pa.timestamp("us")), "end": pa.array(end, pa.timestamp("us")), "on": booked}
    )
    found = {s.column: s for s in since_of(batch, [0, 1, 2])}
    assert set(found) == {1, 2} and found[1] == Since(1, 0, 1, 60_000_000) and (found[2].sign, found[2].unit) == (-1, 1)
    for since in found.values():
        own, base = batch.column(since.column), batch.column(since.base)
        gaps = difference(own, base, since)
        assert moved(base, gaps, since, own.type).equals(own)
    assert difference(batch.column(1), batch.column(0), found[1]).to_pylist() == [n % 50 for n in range(200)]
    assert difference(batch.column(2), batch.column(0), Since(2, 0, -1, 1)).to_pylist() == [n % 9 for n in range(200)]


def test_a_column_stays_within_its_ends_and_so_does_what_it_moves() -> None:
    """The last day that Spark knows is 9999-12-31; a drawn difference must not pass it."""
    last = (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days
    since = Since(1, 0, 1, 1, least=20, most=last)
    made = moved(days(last - 3, 5, None, 40), pa.array([10, 2, 3, None], pa.int64()), since, pa.date32())
    assert made.to_pylist() == [dt.date(9999, 12, 31), dt.date(1970, 1, 21), None, None]
    assert followed(days(8, 30, 9), days(10, 40, None), days(3, 35, 7), (5, 60)).to_pylist() == days(5, 25, 9).to_pylist()


def test_a_folded_column_stays_within_its_ends() -> None:
    column = replace(WEEKLY, ends=(3, 36))
    tokens = np.array([[1, 2], [1, 3], [3, 3], [3, 2], [2, 1]], np.uint16).repeat(500, axis=0)
    made = decode_column(column, tokens, np.random.default_rng(6).random(2_500), np.empty(0, np.uint64), 0, pa.date32())
    found = made.cast(pa.int32()).to_numpy()
    assert found.min() == 3 and found.max() == 36 and (found[2_000:] == 9).all()
    assert column.reach == (3, 36)


def test_a_sentinel_is_no_date_to_measure_from() -> None:
    first = list(range(0, 2_000, 10))
    never = [n + 3 if n % 100 else 2_932_896 for n in first]  # 9999-12-31: not ended yet
    some = [n + n % 30 for n in first]
    assert since_of(pa.record_batch({"a": days(*first), "b": days(*never)}), [0, 1]) == []
    assert [s.column for s in since_of(pa.record_batch({"a": days(*first), "b": days(*some)}), [0, 1])] == [1]
    assert not has_sentinel(*np.unique([1, 2, 3, 4, 5, 6, 9_999], return_counts=True))  # one row is an outlier
    both = np.array([-25_567] * 20 + list(range(18_000, 18_060)) + [2_932_896] * 20)
    assert has_sentinel(*np.unique(both, return_counts=True))


def test_what_is_no_difference_is_told() -> None:
    since = Since(1, 0, 1, 1)
    assert difference(days(3, 5, None, 1), days(1, 6, 2, None), since).to_pylist() == [2, -1, None, -1]


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (list(range(0, 2_000, 10)), "equal columns are copies"),
        ([n - 3 if n == 50 else n + 3 for n in range(0, 2_000, 10)], "one row is the wrong way round"),
        (np.random.default_rng(2).integers(2_000, 9_000, 200).tolist(), "the time between tells no more than the date"),
    ],
)
def test_columns_that_follow_no_other(own: Any, why: str) -> None:
    batch = pa.record_batch({"a": days(*range(0, 2_000, 10)), "b": days(*own)})
    assert [s for s in since_of(batch, [0, 1]) if s.column == 1] == [], why


AFTER = ColumnCodec(
    "paid", "date", "number", states=("null",), atoms=(0,), low=(1,), high=(30,), bin_start=(0,), since=Since(1, 0, 1, 1)
)
SENT = ColumnCodec("sent", "date", "number", low=(0, 100), high=(99, 199), bin_start=(0, 1))
CODEC = Codec((SENT, AFTER), pa.schema([("sent", pa.date32()), ("paid", pa.date32())]))


def test_a_difference_is_decoded_after_what_it_follows() -> None:
    batch = pa.record_batch([days(10, 150, 3), days(10, 160, None)], schema=CODEC.schema)
    tokens = CODEC.encode(batch)
    assert tokens[:, 1].tolist() == [1, 2, 0]  # null, the same day, 1 to 30 days, rare
    rows = np.tile(np.array([0, 2], np.uint16), (500, 1))
    made = CODEC.decode(rows, np.random.default_rng(3).random((500, 2)), np.arange(500, dtype=np.uint64), 7)
    gaps = difference(made.column(1), made.column(0), Since(1, 0, 1, 1)).to_numpy()
    assert gaps.min() == 1 and gaps.max() == 30


def test_a_range_of_a_folded_column_is_kept_and_counted() -> None:
    # days 3 to 9: of week 0 days 3 to 6, of week 1 days 0 to 2; of the cell of days 1 to 3 a third, then two thirds
    (condition,) = read_conditions({"day": {"min": "1970-01-04", "max": "1970-01-10"}}, ONE)
    assert condition.given is not None and condition.given.second is not None
    np.testing.assert_allclose(condition.given.second[1], [0, 0, 1 / 3, 1])
    np.testing.assert_allclose(condition.given.second[2], [1, 1, 2 / 3, 0])
    assert not condition.given.second[[0, 3, 4]].any()
    later = {"min": "1970-01-20", "max": "1970-02-05"}  # day 19, a Tuesday of this count in week 2, to day 35 in week 5
    (condition,) = read_conditions({"day": later}, ONE)
    assert condition.given is not None and condition.given.second is not None
    np.testing.assert_allclose(condition.given.second[3], [3 / 4, 2 / 4, 2 / 4, (2 / 3 + 2) / 4])
    uniform = np.random.default_rng(4).random(2_000)
    for code in range(4):
        made = condition.apply(pa.nulls(2_000, pa.date32()), np.tile(np.array([3, code], np.uint16), (2_000, 1)), uniform)
        found = made.cast(pa.int32()).to_numpy()
        assert found.min() >= 19 and found.max() <= 35


@pytest.mark.parametrize(
    "wanted",
    ["1970-03-01", ["1970-03-01", "1970-03-02"], {"min": "1970-03-01", "max": "1970-03-20"}, {"max": "1970-03-01"}],
)
def test_a_condition_on_the_later_date_moves_the_earlier(wanted: Any) -> None:
    steering = read_steering({"paid": wanted}, (), 7, CODEC)
    (condition,) = steering.columns[1]
    assert condition.given is not None and condition.given.first.tolist() == [0, 1, 1, 1]
    before = {g.column: g for g in steering.givens}[0]
    assert before.first[0] > 0 and (before.first[1] == 0)  # 0 to 30 days earlier is January or February: the first cell
    draw = np.random.default_rng(5)
    rows = np.column_stack([draw.integers(0, 2, 800), draw.integers(1, 3, 800)]).astype(np.uint16)
    places, ids = draw.random((800, 2)), np.arange(800, dtype=np.uint64)
    drawn = CODEC.decode(rows, places, ids, 7)
    fixed = {1: np.zeros(800, np.bool_)}
    made, _ = restore(CODEC, drawn, steering.apply(drawn, rows, places, ids, CODEC), fixed)
    paid, sent = (made.column(n).cast(pa.int32()).to_numpy() for n in (1, 0))
    low, high = {str: (59, 59), list: (59, 60)}.get(type(wanted), (59, 78) if len(wanted) == 2 else (-(10**9), 59))
    assert paid.min() >= low and paid.max() <= high
    gaps = difference(drawn.column(1), drawn.column(0), Since(1, 0, 1, 1)).to_numpy()
    assert (paid - sent == gaps).all()


def test_two_given_times_give_the_time_between() -> None:
    _, paid = read_conditions({"sent": "1970-01-05", "paid": "1970-01-10"}, CODEC)
    assert paid.given is not None and paid.given.first.tolist() == [0, 0, 1, 0] and paid.before is None
    (_, same) = read_conditions({"sent": "1970-01-05", "paid": "1970-01-05"}, CODEC)
    assert same.given is not None and same.given.first.tolist() == [0, 1, 0, 0]
    with pytest.raises(ConfigError, match="no train row has it on that side of sent"):
        read_conditions({"paid": "1970-01-04", "sent": "1970-01-05"}, CODEC)
    (_, ranged) = read_conditions({"sent": {"min": "1970-01-05"}, "paid": "1970-01-10"}, CODEC)
    assert ranged.given is not None and ranged.given.first.tolist() == [0, 1, 1, 1] and ranged.before is None


def test_given_cells_stay_and_the_free_one_follows() -> None:
    drawn = pa.record_batch([days(10, 20, 30), days(14, 25, None)], schema=CODEC.schema)
    given = pa.record_batch([days(50, 20, 30), days(14, 99, 40)], schema=CODEC.schema)
    free = {0: np.array([False, True, True]), 1: np.array([True, False, False])}
    made, changed = restore(CODEC, drawn, given, free)
    assert made.column(0).equals(days(50, 94, 30)) and made.column(1).equals(days(54, 99, 40)) and changed == [0, 1]


def test_a_date_that_follows_a_time_moves_it_by_whole_days() -> None:
    start = ColumnCodec("start", "timestamp", "number", low=(0,), high=(400,), bin_start=(0,), step=3_600_000_000)
    day = ColumnCodec("on", "date", "number", low=(0,), high=(5,), bin_start=(0,), since=Since(1, 0, -1, 1))
    codec = Codec((start, day), pa.schema([("start", pa.timestamp("us")), ("on", pa.date32())]))
    at = pa.array([5 * DAY_US + 3_600_000_000], pa.timestamp("us"))
    drawn = pa.record_batch([at, days(3)], schema=codec.schema)
    made, _ = restore(codec, drawn, drawn.set_column(1, codec.schema.field(1), days(13)), {1: np.array([False])})
    assert made.column(0).cast(pa.int64()).to_pylist() == [15 * DAY_US + 3_600_000_000]


def test_labels_of_plots_say_dates_times_and_distances() -> None:
    assert bin_labels(WEEKLY) == ["null", "1970-01-01", "1970-01-08", "1970-01-15 .. 1970-02-05", "(rare)"]
    assert bin_labels(AFTER) == ["null", "+0:00:00", "+1 day, 0:00:00 .. +30 days, 0:00:00", "(rare)"]
    clock = ColumnCodec("at", "string", "number", atoms=(43_200,), low=(0,), high=(86_399,), bin_start=(0,), text="time")
    assert bin_labels(clock) == ["12:00:00", "00:00:00 .. 23:59:59", "(rare)"]
