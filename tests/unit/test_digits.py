"""Numbers and times digit by digit: exact round trips, and automata whose words are the legal values and no other."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from automaton_words import words_of

from twinlake.core.seeds import generator
from twinlake.models.column import ColumnCodec
from twinlake.models.digits import decode_digits, encode_digits, in_digits, legal_cells
from twinlake.models.times import Since

EPOCH = dt.datetime(1970, 1, 1)


def column(**fields: Any) -> ColumnCodec:
    return in_digits(ColumnCodec("a", fields.pop("type", "bigint"), "number", bin_start=(0,), **fields))


def told(own: ColumnCodec, kind: pa.DataType, **limits: Any) -> list[Any]:
    """All values that may be drawn."""
    automaton = legal_cells(own, **limits)
    assert automaton is not None
    words = np.array(words_of(automaton, len(own.sizes)), np.uint16)
    return list(decode_digits(own, words, kind).to_pylist())


def test_the_legal_numbers_are_a_range_and_single_values() -> None:
    own = column(states=("null",), atoms=(-500, 7, 99_999), low=(-120, 5), high=(4, 830))
    assert own.width == 5 and own.atoms == (-500, 99_999)  # 7 lies within
    found = told(own, pa.int64())
    assert found.count(None) == 1
    assert sorted(v for v in found if v is not None) == [-500, *range(-120, 831), 99_999]
    assert told(own, pa.int64(), ranges=[(-3, 2), (99_000, 10**6)], others=()) == [0, 1, 2, 99_999, -1, -2, -3]
    assert legal_cells(own, ranges=[(5_000, 6_000)], others=()) is None


def test_what_is_not_legal_becomes_the_next_end() -> None:
    own = column(states=("null",), atoms=(99_999,), low=(-120,), high=(830,))
    values = pa.array([-121, -120, 830, 5_000, 99_999, None], pa.int64())
    tokens = encode_digits(own, values)
    assert decode_digits(own, tokens, pa.int64()).to_pylist() == [-120, -120, 830, 830, 99_999, None]
    assert (tokens[:, 1:] == [[0, 0, 1, 2, 0], [0, 0, 1, 2, 0], [0, 0, 8, 3, 0], [0, 0, 8, 3, 0], [9] * 5, [0] * 5]).all()
    automaton = legal_cells(own)
    assert automaton is not None and automaton.run(tokens).all()


@pytest.mark.parametrize(
    ("type_", "kind", "step"),
    [
        ("date", pa.date32(), 1),
        ("timestamp", pa.timestamp("us", "UTC"), 1),
        ("timestamp", pa.timestamp("us"), 1_000),
        ("timestamp_ntz", pa.timestamp("us"), 1_000_000),
        ("timestamp", pa.timestamp("us"), 60_000_000),
        ("timestamp", pa.timestamp("us"), 3_600_000_000),
        ("timestamp", pa.timestamp("us"), 86_400_000_000),
    ],
)
def test_times_are_dates_and_clocks(type_: str, kind: pa.DataType, step: int) -> None:
    low, high = dt.datetime(1899, 2, 27, 3), dt.datetime(2004, 3, 2, 5)
    ends = [
        int((t - EPOCH) / dt.timedelta(days=1)) if type_ == "date" else int((t - EPOCH) / dt.timedelta(microseconds=step))
        for t in (low, high)
    ]
    own = column(type=type_, low=(ends[0],), high=(ends[1],), step=step)
    values = np.concatenate([generator(1).integers(ends[0], ends[1] + 1, 3_000), ends])
    whole = values.astype(np.int32) if type_ == "date" else values * step
    array = pa.array(whole).cast(kind)
    tokens = encode_digits(own, array)
    assert decode_digits(own, tokens, kind).equals(array)
    automaton = legal_cells(own)
    assert automaton is not None and automaton.run(tokens).all()
    texts = ["".join(map(str, word)) for word in tokens[:, 1:].tolist()]
    python = array.cast(pa.timestamp("us")).to_pylist()
    assert texts == [f"{t:%Y%m%d%H%M%S%f}".zfill(20)[: own.width] for t in python]


def test_no_impossible_date_is_legal() -> None:
    days = [(dt.date(2023, 1, 1) - EPOCH.date()).days, (dt.date(2024, 12, 31) - EPOCH.date()).days]
    own = column(type="date", low=(days[0],), high=(days[1],))
    assert told(own, pa.date32(), others=()) == [dt.date(2023, 1, 1) + dt.timedelta(n) for n in range(365 + 366)]


@pytest.mark.parametrize(
    ("kind", "scale", "values"),
    [
        (pa.decimal128(10, 2), 2, [Decimal("-9.99"), Decimal("0.00"), Decimal("123.40")]),
        (pa.float64(), 3, [-1.5, 0.125, 88.0]),
        (pa.int16(), 0, [-32_768, 0, 32_767]),
        (pa.int64(), 0, [-(2**63), 0, 2**63 - 1]),
    ],
)
def test_types_come_back_exactly(kind: pa.DataType, scale: int, values: list[Any]) -> None:
    ends = [int(Decimal(str(v)).scaleb(scale)) for v in (values[0], values[-1])]
    own = column(type=str(kind), low=(ends[0],), high=(ends[1],), scale=scale)
    array = pa.array(values, kind)
    tokens = encode_digits(own, array)
    automaton = legal_cells(own)
    assert decode_digits(own, tokens, kind).equals(array)
    assert automaton is not None and automaton.run(tokens).all()


def test_texts_and_states_have_symbols_of_their_own() -> None:
    own = column(type="string", text="integer", states=("null",), texts=("n/a",), low=(10,), high=(99,))
    array = pa.array(["12", "n/a", None, "zz", "99"])
    tokens = encode_digits(own, array)
    assert tokens[:, 0].tolist() == [0, 3, 2, own.sizes[0] - 1, 0]
    assert decode_digits(own, tokens, pa.string()).to_pylist() == ["12", "n/a", None, None, "99"]
    automaton = legal_cells(own)
    assert automaton is not None and automaton.run(tokens).tolist() == [True, True, True, False, True]  # rare is never drawn


def test_what_stays_as_it_is() -> None:
    floats = ColumnCodec("a", "double", "number", low=(0.5,), high=(1.5,), bin_start=(0,), domain="float")
    singles = ColumnCodec("a", "bigint", "number", atoms=(1, 2, 3))
    assert in_digits(floats) is floats and in_digits(singles) is singles
    gap = column(type="timestamp", low=(0,), high=(3_599,), since=Since(1, 0, 1, 1_000_000))
    assert not gap.day and gap.width == 4
