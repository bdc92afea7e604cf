"""Ranges as conditions: which tokens they leave, with which shares, and what is decoded. Worked out by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from twinlake.core.errors import ConfigError
from twinlake.generate.conditions import in_utc, read_conditions
from twinlake.generate.steering import words_of
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.sampler import Given

# two bins of two cells each (0-9, 10-19 | 20-29, 30-39), the atoms 5 and 25, and nulls
AGE = ColumnCodec(
    "age",
    "int",
    "number",
    states=("null",),
    atoms=(5, 25),
    low=(0, 10, 20, 30),
    high=(9, 19, 29, 39),
    bin_start=(0, 2),
)
RATE = ColumnCodec("rate", "double", "number", low=(0.0, 1.0), high=(1.0, 3.0), bin_start=(0, 1), domain="float")
DAY = ColumnCodec("day", "date", "number", low=(0, 10), high=(9, 19), bin_start=(0, 1))
NAME = ColumnCodec("name", "string", "category", values=("a", "b"))
CODEC = Codec(
    (AGE, RATE, DAY, NAME),
    pa.schema([("age", pa.int32()), ("rate", pa.float64()), ("day", pa.date32()), ("name", pa.string())]),
)


def test_a_range_leaves_the_cells_that_it_cuts_with_their_share() -> None:
    (condition,) = read_conditions({"age": {"min": 5, "max": 24}}, CODEC)
    assert condition.given is not None and condition.given.second is not None
    # tokens: null, atom 5, atom 25, bin 0, bin 1, rare. 5 and 25 have tokens of their own, so the cells hold nine numbers:
    # of bin 0 are left 6-9 and all of 10-19, of bin 1 20-24
    np.testing.assert_allclose(condition.given.first, [0, 1, 0, (4 / 9 + 1) / 2, 5 / 9 / 2, 0])
    np.testing.assert_allclose(condition.given.second[3], [4 / 9, 1])
    np.testing.assert_allclose(condition.given.second[4], [5 / 9, 0])


def test_values_of_a_range_lie_inside_it_and_fill_it_evenly() -> None:
    (condition,) = read_conditions({"age": {"min": 5, "max": 24}}, CODEC)
    uniform = (np.arange(1_000) + 0.5) / 1_000
    for tokens, wanted in (((3, 0), range(6, 10)), ((3, 1), range(10, 20)), ((4, 0), range(20, 25)), ((1, 0), [5])):
        made = condition.apply(pa.nulls(1_000, pa.int32()), np.tile(np.array(tokens, np.uint16), (1_000, 1)), uniform)
        values, counts = np.unique(made.to_numpy(), return_counts=True)
        assert values.tolist() == list(wanted) and counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ({"rate": {"min": 0.5, "max": 2.0}}, [0.5, 0.5, 0]),
        ({"rate": {"min": 2.5}}, [0, 0.25, 0]),
        ({"day": {"max": "1970-01-05"}}, [0.5, 0, 0]),  # days 0 to 4 of the cell 0 to 9
        ({"day": {"min": "1970-01-11", "max": "1970-01-11"}}, [0, 0.1, 0]),
    ],
)
def test_fractions_dates_and_open_ends(wanted: dict[str, Any], first: list[float]) -> None:
    (condition,) = read_conditions(wanted, CODEC)
    assert condition.given is not None
    np.testing.assert_allclose(condition.given.first, first)


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"age": {}}, "a range has min, max or both"),
        ({"age": {"least": 3}}, "least"),
        ({"age": {"min": None}}, "a range has min, max or both"),
        ({"age": {"min": "young"}}, "does not fit the column's type int"),
        ({"age": {"min": 50}}, "no value in this range"),
        ({"age": {"min": 20, "max": 10}}, "no value in this range"),
        ({"name": {"min": "a"}}, "needs a modelled number, date or time"),
    ],
)
def test_ranges_that_cannot_be_met_are_refused(wanted: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read_conditions(wanted, CODEC)


def test_words_that_a_condition_leaves_hold_no_rare_value() -> None:
    """For models that write: also of a column of two tokens whose second is not asked about."""
    many = ColumnCodec("b", "string", "category", tuple(f"v{i:03d}" for i in range(600)), states=("null",))
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    codec = Codec((ColumnCodec("a", "string", "category", ("x", "y"), states=("null",)), many), schema)
    short = words_of(Given(0, np.array([1.0, 0.0, 0.0, 1.0])), codec)
    assert short.run(np.arange(4)[:, None]).tolist() == [True, False, False, False]  # x, y, null, rare
    allowed = np.ones(many.sizes[0])
    allowed[many.sizes[0] - 2] = 0.0
    wide = words_of(Given(1, allowed), codec)
    cells = np.array([[0, 0], [1, 255], [2, 87], [2, 88], [3, 0], [4, 0]])  # 600 values are two blocks of 256 and one of 88
    assert wide.run(cells).tolist() == [True, True, True, False, False, False]


def test_a_moment_with_a_zone_is_that_moment() -> None:
    noon = dt.datetime(2020, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=-5)))
    assert in_utc(noon) == dt.datetime(2020, 1, 1, 17)
    assert in_utc(noon.replace(tzinfo=None)) == dt.datetime(2020, 1, 1, 12)
