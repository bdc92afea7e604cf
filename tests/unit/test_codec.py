"""Values to tokens and back, type by type: the same token again, exact where a value has its own, nothing rare."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinlake.core.errors import ModelError
from twinlake.models.bin_labels import bin_labels
from twinlake.models.codec import Codec, decode_column, encode_column
from twinlake.models.column import ColumnCodec, column_from_json
from twinlake.models.fitting import fit_column
from twinlake.models.written import from_text, is_canonical, read_texts, write_texts
from twinlake.profile.partials import Limits, as_text, collect
from twinlake.profile.statistics import Column, merge_column

K = 5
LIMITS = Limits(values=70_000, numbers=4_096, people=K, share=1.0, seed=3)


def fit(array: pa.Array, type_: str, nullable: bool = True, **extra: Any) -> ColumnCodec:
    """The codec of a column of these values."""
    keys = pa.array(np.arange(len(array)), pa.int64())
    rows = list(collect([pa.RecordBatch.from_arrays([keys, array], names=["key", "v"])], 1, LIMITS))
    stats = merge_column(Column("v", type_, nullable, extra), rows, LIMITS)
    return column_from_json(json.loads(fit_column(stats, K)))


def back(column: ColumnCodec, array: pa.Array, uniform: float = 0.5) -> pa.Array:
    """Encoded and decoded; the decoded values have the same tokens."""
    tokens = encode_column(column, array)
    assert tokens.dtype == np.uint16 and tokens.shape == (len(array), len(column.sizes))
    assert (tokens < np.array(column.sizes)).all()
    ids = np.arange(len(array), dtype=np.uint64)
    made = decode_column(column, tokens, np.full(len(array), uniform), ids, 7, array.type)
    assert made.type == array.type
    drawable = column.drawable[tokens[:, 0]]
    assert np.array_equal(encode_column(column, made)[drawable], tokens[drawable])
    return made


EXACT: dict[str, tuple[str, pa.DataType, list[Any]]] = {
    "bigint": ("bigint", pa.int64(), [9007199254740993, -(2**63), 2**63 - 1, 0, None]),
    "tinyint": ("tinyint", pa.int8(), [-128, 127, None]),
    "double": ("double", pa.float64(), [5e-324, 1.7976931348623157e308, -1e308, 0.1 + 0.2, 0.3, -0.01]),
    "decimals of doubles": ("double", pa.float64(), [29.85, 0.1, 0.7, -3.3, 1e6]),
    "float": ("float", pa.float32(), [0.10000000149011612, 16777216.0, None]),
    "states": ("double", pa.float64(), [math.nan, math.inf, -math.inf, None, 2.5]),
    "no finite": ("double", pa.float64(), [math.nan, -math.inf]),
    "nines": (
        "decimal(38,0)",
        pa.decimal128(38, 0),
        [Decimal("9" * 38), Decimal("9" * 37 + "8"), Decimal("-" + "9" * 38)],
    ),
    "places": ("decimal(38,38)", pa.decimal128(38, 38), [Decimal("0." + "9" * 38), Decimal("1E-38"), Decimal(0)]),
    "money": ("decimal(10,2)", pa.decimal128(10, 2), [Decimal("19.99"), Decimal("-0.01"), None]),
    "wide type, small values": ("decimal(38,18)", pa.decimal128(38, 18), [Decimal("1E-18"), Decimal("2.5"), None]),
    "date": ("date", pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1582, 10, 10), None]),
    "timestamp": (
        "timestamp",
        pa.timestamp("us", "America/New_York"),
        [dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=dt.UTC)],
    ),
    "timestamp_ntz": (
        "timestamp_ntz",
        pa.timestamp("us"),
        [dt.datetime(2024, 3, 10, 2, 30), dt.datetime(9999, 12, 31)],
    ),
    "boolean": ("boolean", pa.bool_(), [True, False, None]),
    "string": (
        "string",
        pa.string(),
        ["", "NULL", "NaN", "None", " a", "a ", "A", "007", "1e5", "é", "e\u0301", "\0", None],
    ),
}


@pytest.mark.parametrize("case", EXACT)
def test_frequent_values_come_back_exactly(case: str) -> None:
    type_, kind, values = EXACT[case]
    array = pa.array(values * 20, kind)
    column = fit(array, type_)
    for uniform in (0.0, 0.5, 1.0 - 2**-53):
        assert [repr(v) for v in back(column, array, uniform).to_pylist()] == [repr(v) for v in array.to_pylist()]
    assert column_from_json(json.loads(json.dumps(asdict(column)))) == column


NUMBERS = {
    "tinyint": (pa.int8(), st.integers(-128, 127)),
    "bigint": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "double": (pa.float64(), st.floats(allow_nan=True, allow_infinity=True)),
    "float": (pa.float32(), st.floats(width=32)),
    "decimal(12,3)": (pa.decimal128(12, 3), st.decimals(-(10**8), 10**8, places=3)),
    "decimal(38,10)": (pa.decimal128(38, 10), st.decimals(-(10**17), 10**17, places=10)),
    "date": (pa.date32(), st.dates()),
    "timestamp": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(dt.UTC))),
    "timestamp_ntz": (pa.timestamp("us"), st.datetimes()),
}


@pytest.mark.parametrize("type_", NUMBERS)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_decoded_numbers_fall_into_the_token_they_came_from(type_: str, data: st.DataObject) -> None:
    kind, values = NUMBERS[type_]
    array = pa.array(data.draw(st.lists(st.none() | values, min_size=1, max_size=120)), kind)
    column = fit(array, type_)
    if column.method == "number":
        for uniform in (0.0, 0.3, 1.0 - 2**-53):
            back(column, array, uniform)


def test_only_values_of_enough_people_are_in_the_codec() -> None:
    rare = [f"rare {n}" for n in range(40)] + [f"few {n}" for n in range(20) for _ in range(K - 1)]
    column = fit(pa.array(["often"] * 300 + ["enough"] * K + rare), "string")
    assert column.values == ("often", "enough")
    text = json.dumps(asdict(column))
    assert "rare" not in text and "few" not in text
    tokens = encode_column(column, pa.array(["often", "enough", "rare 1", None]))
    assert tokens[:, 0].tolist() == [0, 1, 2, 2]
    assert column.drawable.tolist() == [True, True, False]


def test_a_single_number_is_in_no_codec() -> None:
    column = fit(pa.array([1, 2] * 50 + [77_310_001], pa.int64()), "bigint")
    assert column.atoms == (1, 2) and column.low == () and "77310001" not in json.dumps(asdict(column))


def test_where_too_few_hold_a_value_there_is_none() -> None:
    array = pa.array([4.25] * (K - 1) + [None] * 50, pa.float64())
    assert fit(array, "double").method == "null"
    column = fit(pa.array([4.25] * (K - 1)), "double", nullable=False)
    assert (column.method, column.values) == ("constant", ("0",))


def test_wide_categories_take_two_tokens() -> None:
    texts = [f"{n:04d}x" for n in range(700)]
    array = pa.array([*(texts * K), *([None] * 9)])
    column = fit(array, "string")
    assert column.method == "category" and column.sizes == (3 + 1 + 1, 256)  # three blocks, null, rare
    assert back(column, array).to_pylist() == array.to_pylist()
    # the last block holds 700 - 512 values; every second token stands for one of them
    tokens = np.array([[2, n] for n in range(256)], np.uint16)
    made = decode_column(column, tokens, np.zeros(256), np.arange(256, dtype=np.uint64), 7, pa.string())
    assert set(made.to_pylist()) == set(column.values[512:])


@pytest.mark.parametrize(
    ("way", "scale", "written", "foreign"),
    [
        ("shortest", 2, ["29.85", "0", "-3.5", "1949.4", "7"], ["29.850", "007", "-0", "1e5", " ", "", "1,000", ".5"]),
        ("fixed:2", 2, ["29.85", "0.00", "-3.50", "100.00"], ["29.8", "29", "007.00", "-0.00"]),
        ("fixed:7", 7, ["0.0000001", "0.0000000", "12.5000000"], ["0.1"]),
        ("integer", 0, ["0", "-12", "123456789012345"], ["007", "-0", "1.0", "1234567890123456", "+1"]),
        ("date", 0, ["0001-01-01", "2024-02-29", "9999-12-31"], ["2023-02-29", "2024-1-1", "2024-02-29 "]),
        ("datetime", 0, ["2024-03-10 02:30:00"], ["2024-03-10T02:30:00", "2024-03-10 24:61:00"]),
        ("datetime-t", 0, ["2024-03-10T02:30:00"], ["2024-03-10 02:30:00"]),
        ("time", 0, ["00:00:00", "11:38:36", "23:59:59"], ["24:00:00", "9:05:00", "11:60:00", "11:38"]),
        ("time-hm", 0, ["00:00", "17:05"], ["17:05:00", "24:10", "7:05"]),
        ("m/d/Y", 0, ["3/8/1971", "12/31/0001", "2/29/2000"], ["03/08/1971", "31/12/2000", "2/29/2001", "3/8/71", "3.8.1971"]),
        ("dd.mm.Y", 0, ["08.03.1971", "31.12.9999"], ["8.3.1971", "12.31.2000", "08.03.1971 "]),
        ("m/d/Y h:MM", 0, ["12/1/2010 8:26", "12/1/2010 0:00"], ["12/1/2010 08:26", "12/1/2010", "12/1/2010 24:00"]),
        ("Y-mm-ddThh:MM:SS.fffZ", 0, ["1969-12-31T23:59:59.999Z"], ["1969-12-31T23:59:59Z", "1969-12-31 23:59:59.999Z"]),
    ],
)
def test_written_numbers_and_times(way: str, scale: int, written: list[str], foreign: list[str]) -> None:
    whole, fits = read_texts(pa.array(written + foreign), way, scale, 1)
    assert fits.tolist() == [True] * len(written) + [False] * len(foreign)
    assert write_texts(whole[: len(written)], way, scale, 1).to_pylist() == written
    assert [is_canonical(t, way) for t in written] == [True] * len(written)
    assert not any(is_canonical(t, way) for t in foreign)


def test_a_column_of_written_numbers() -> None:
    texts = [f"{n / 20:.2f}".rstrip("0").rstrip(".") for n in range(400)]
    array = pa.array([*texts, *(["unknown"] * K)] * 2)
    column = fit(array, "string")
    assert (column.method, column.text, column.scale, column.texts) == ("number", "shortest", 2, ("unknown",))
    made = back(column, array).to_pylist()
    assert made.count("unknown") == 2 * K
    assert all(is_canonical(t, "shortest") for t in made if t != "unknown")


DAYS = [dt.date(1950, 1, 1) + dt.timedelta(days=37 * n) for n in range(500)]  # up to the year 2000


@pytest.mark.parametrize(
    ("style", "write"),
    [
        ("m/d/Y", lambda d: f"{d.month}/{d.day}/{d.year}"),
        ("d/m/Y", lambda d: f"{d.day}/{d.month}/{d.year}"),
        ("mm/dd/Y", lambda d: d.strftime("%m/%d/%Y")),
        ("dd.mm.Y", lambda d: d.strftime("%d.%m.%Y")),
        ("m/d/Y h:MM", lambda d: f"{d.month}/{d.day}/{d.year} {d.day % 12}:05"),
        ("Y-mm-ddThh:MM:SSZ", lambda d: f"{d}T0{d.day % 10}:00:09Z"),
        ("date", str),
    ],
)
@pytest.mark.parametrize("rows", [500, 60])
def test_dates_as_people_write_them_are_learned_as_dates(style: str, write: Callable[[dt.date], str], rows: int) -> None:
    """They were texts, made anew from the characters seen at each place: 0//2/1062."""
    array = pa.array([*map(write, DAYS[:: 500 // rows][:rows]), "unknown", None])
    column = fit(array, "string")
    assert (column.method, column.text) == ("number", style)
    made = [t for t in back(column, array).to_pylist() if t is not None]
    assert len(made) >= rows and all(is_canonical(t, style) and 1950 <= int(re.findall("[0-9]{4}", t)[0]) <= 2000 for t in made)
    assert len(bin_labels(column)) == column.sizes[0]


def test_the_codec_is_json() -> None:
    array = pa.array([1, 2, None] * 20, pa.int64())
    schema = pa.schema([pa.field("v", pa.int64())], metadata={b"a": b"b"})
    codec = Codec((fit(array, "bigint"),), schema)
    again = Codec.from_json(codec.to_json())
    assert again == codec and again.schema.metadata == schema.metadata
    rows = pa.RecordBatch.from_arrays([array], schema=schema)
    assert again.decode(again.encode(rows), np.zeros((60, 1)), np.arange(60, dtype=np.uint64), 7) == rows


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "columns": [{}], "schema": ""}', '{"format": 99}'])
def test_a_damaged_codec_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        Codec.from_json(text)


def test_what_lies_in_a_cell_is_never_one_of_the_atoms() -> None:
    """Cells [1, 8] and [10, 13] around the atoms 3, 5, 8 and 11: what is free there is drawn equally often."""
    column = ColumnCodec(
        "v", "int", "number", atoms=(3, 5, 8, 11), low=(1, 10), high=(8, 13), bin_start=(0, 1), coarse=(0,) * 7
    )
    uniforms = (np.arange(3_000) + 0.5) / 3_000
    ids = np.arange(3_000, dtype=np.uint64)
    for token, expected in ((4, {1: 600, 2: 600, 4: 600, 6: 600, 7: 600}), (5, {10: 1_000, 12: 1_000, 13: 1_000})):
        tokens = np.full((3_000, 1), token, np.uint16)
        found = decode_column(column, tokens, uniforms, ids, 7, pa.int32()).to_numpy()
        values, counts = np.unique(found, return_counts=True)
        assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (pa.decimal128(5, 0), 20_000),  # six digits would be above every real id, and do not fit
        (pa.decimal128(10, 0), 9_000_000_000),
        (pa.decimal128(12, 2), 9_000_000_000),
        (pa.decimal128(38, 0), 9_000_000_000),
    ],
)
def test_new_ids_fit_the_precision_of_decimals(kind: pa.DataType, first: int) -> None:
    real = pa.array([Decimal(first + i) for i in range(500)], kind)
    column = fit(real, f"decimal({kind.precision},{kind.scale})", synthesis="key")
    made = decode_column(column, np.zeros((500, 0), np.uint16), np.zeros(500), np.arange(500, dtype=np.uint64), 7, kind)
    assert len(set(made.to_pylist())) == 500 and not set(made.to_pylist()) & set(real.to_pylist())


@pytest.mark.parametrize("kind", [pa.binary(), pa.string(), pa.int8(), pa.bool_(), pa.date32(), pa.decimal128(5, 5)], ids=str)
def test_what_allows_no_null_and_may_not_be_shown_is_one_neutral_value(kind: pa.DataType) -> None:
    type_ = {"int8": "tinyint", "bool": "boolean", "date32[day]": "date", "decimal128(5, 5)": "decimal(5,5)"}.get(
        str(kind), str(kind)
    )
    column = fit(pa.array([], kind), type_, nullable=False)
    made = decode_column(column, np.zeros((3, 0), np.uint16), np.zeros(3), np.arange(3, dtype=np.uint64), 7, kind)
    assert made.null_count == 0 and len(set(made.to_pylist())) == 1


@pytest.mark.parametrize("kind", [pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32()], ids=str)
def test_years_of_all_lengths_are_text_and_back(kind: pa.DataType) -> None:
    """1.6e12 milliseconds taken for seconds are in the year 52671."""
    days = pa.array([-1_000_000, -719_529, 0, 2_932_896, 2_932_897, 11_000_000, 18_518_518, None], pa.int32())
    real = days.cast(pa.date32()).cast(kind)
    alike = dt.date(1970, 1, 1) + dt.timedelta(18_518_518 % 146_097)  # the calendar repeats after 400 years
    assert as_text(real)[6].as_py().startswith(f"{alike.year + 50_400}-{alike:%m-%d}")
    assert as_text(real)[4].as_py().startswith("10000-01-01")
    assert from_text(as_text(real), kind).equals(real)
    for one in (real[0:1], real[6:7]):
        constant = fit(pa.concat_arrays([one] * 20), {"date32[day]": "date"}.get(str(kind), "timestamp"))
        assert constant.method == "constant"
        made = decode_column(constant, np.zeros((1, 0), np.uint16), np.zeros(1), np.zeros(1, np.uint64), 7, kind)
        assert made.equals(one)
