"""`privacy.unit`: a value counts by the people who hold it, however many rows they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinlake import pipeline
from twinlake.core.config import parse_config
from twinlake.core.errors import ConfigError
from twinlake.tables.people import rows_of_people
from twinlake.tables.run_folder import RunFolder

ROWS, PLANTED = 3_000, 50


def table(holders: int) -> pa.Table:
    """3,000 visits of people with one or two each, and 50 more, of `holders` people: with a plan, an amount, a word and a
    zone that nobody else has."""
    draw = np.random.default_rng(8)
    who = [*np.sort(draw.permutation(2 * ROWS)[:ROWS] // 2 + 1_000).tolist(), *(i % holders for i in range(PLANTED))]
    words = ["the parcel came late again", "a very good plan for us", "please call me about it", "no reply from the shop"]
    common = {
        "plan": draw.choice(["basic", "plus", "gold"], ROWS).tolist() + ["canaryplan"] * PLANTED,
        "amount": [*np.round(draw.normal(500, 90, ROWS), 2).tolist(), *([7_777.25] * PLANTED)],
        "note": [f"{draw.choice(words)} {n}" for n in range(ROWS)] + [f"canaryword came late {n}" for n in range(PLANTED)],
    }
    return pa.table({"customer": pa.array([f"c-{n:05d}" for n in who]), **common})


@pytest.mark.parametrize("holders", [1, 9, 10])
def test_a_value_of_one_person_reaches_no_artifact_whatever_its_rows(spark: Any, tmp_path: Path, holders: int) -> None:
    pq.write_table(table(holders), tmp_path / "visits.parquet")
    values = {
        "run": {"dir": str(tmp_path / "run")},
        "source": {"path": str(tmp_path / "visits.parquet")},
        "holdout": {"fraction": 0.1 if holders == 1 else 0},
        "privacy": {"unit": "customer"},
        "model": {"family": "language"},
    }
    pipeline.run(parse_config(values), spark=spark, last="encode")
    run = tmp_path / "run"
    # the nine people with the most rows: one with 50 and eight with 2; nine with 5 or 6; nine with 5
    assert RunFolder(run).state()["least_rows"] == {1: 67, 9: 51, 10: 46}[holders]
    told = "".join(file.read_text("utf-8") for file in (run / "profile.json", run / "codec.json"))
    pieces = b"".join(f.read_bytes() for f in sorted((run / "private" / "encoded").rglob("*")) if f.suffix != ".npy")
    for planted in ("canaryplan", "7777.25"):
        assert (planted in told) == (holders == 10)
    assert (b"canaryword" in pieces) == (holders == 10)
    assert "c-0" not in told and json.loads((run / "codec.json").read_text())["columns"][0]["method"] == "key"
    sides = [set(pq.read_table(run / side).column("customer").to_pylist()) for side in ("protected", "private/holdout")]
    assert not sides[0] & sides[1] and (len(sides[1]) > 100) == (holders == 1)


def test_rows_that_only_enough_people_can_have(spark: Any) -> None:
    """Six people with 7, 4, 4, 1, 1 and 1 rows, and two rows of nobody."""
    who = [n for n, times in enumerate([7, 4, 4, 1, 1, 1]) for _ in range(times)] + [None, None]
    visits = spark.createDataFrame([(n,) for n in who], "`a.b` int")
    assert [rows_of_people(visits, "a.b", k) for k in (2, 3, 4, 5, 9)] == [8, 12, 16, 18, 21]
    assert rows_of_people(visits, None, 10) == 10
    assert rows_of_people(visits.where("false"), "a.b", 10) == 1


@pytest.mark.parametrize("unit", ["custmer", "tags"])
def test_a_unit_that_tells_nobody_apart_is_refused(spark: Any, tmp_path: Path, unit: str) -> None:
    pq.write_table(pa.table({"customer": [1, 2], "tags": [["a"], ["b"]]}), tmp_path / "t.parquet")
    values = {"run": {"dir": str(tmp_path / "run")}, "source": {"path": str(tmp_path / "t.parquet")}, "privacy": {"unit": unit}}
    with pytest.raises(ConfigError, match="did you mean 'customer'" if unit == "custmer" else "is of type array"):
        pipeline.run(parse_config(values), spark=spark)
