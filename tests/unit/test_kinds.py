"""Which kind texts of dates and times are: unique ones are no keys, and many different ones no free text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from twinlake.profile.kinds import kind_of
from twinlake.profile.partials import Limits, collect
from twinlake.profile.statistics import Column, merge_column

LIMITS = Limits(values=100_000, numbers=100_000, people=10, share=1.0, seed=7)


def kind(texts: list[str]) -> str:
    keys = pa.array(np.arange(len(texts)), pa.int64())
    rows = list(collect([pa.RecordBatch.from_arrays([keys, pa.array(texts)], names=["key", "v"])], 1, LIMITS))
    return kind_of(merge_column(Column("v", "string", True, {}), rows, LIMITS))


@pytest.mark.parametrize(
    "write",
    [
        lambda n: f"{n % 12 + 1}/{n % 28 + 1}/{1950 + n % 50}",
        lambda n: f"{n % 28 + 1:02}.{n % 12 + 1:02}.{1950 + n % 50}",
        lambda n: f"{1900 + n % 99}-{n % 12 + 1:02}-{n % 28 + 1:02}",
        lambda n: f"2016-02-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}:29.120Z",
        lambda n: f"{n % 12 + 1}/{n % 28 + 1}/2016 {n % 24}:{n % 60:02}",
        lambda n: f"{n % 24:02}:{n % 60:02}:{n % 59:02}",
    ],
)
def test_dates_and_times_in_texts(write: Callable[[int], str]) -> None:
    many = [write(n) for n in range(1_000)]
    assert len(set(many)) > 300
    assert kind(many) == kind(many[:25]) == "datetime"  # the 25 are unique
    assert kind(many[:12] * 50) == "category"


@pytest.mark.parametrize("text", ["AB-{n}", "10.{n}.7.1", "1.2.{n}", "{n}/7"])
def test_what_is_no_date_is_still_a_key(text: str) -> None:
    assert kind([text.format(n=n) for n in range(200, 500)]) == "key"
