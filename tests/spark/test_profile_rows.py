"""The profile sees the train rows alone, numbered and split as they are written, however the rows lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from twinlake.core.config import parse_config
from twinlake.core.progress import Silent
from twinlake.core.seeds import generator
from twinlake.profile import repeats
from twinlake.profile.profile import profile_table
from twinlake.profile.stage import profile_run
from twinlake.profile.types import Profile
from twinlake.tables.run_folder import open_folder
from twinlake.tables.source import Source
from twinlake.tables.split import HOLDOUT, KEY, Split, is_held_out, keys_of, with_content, with_row_keys

SPLITS = [Split(5), Split(5, 0.3), Split(5, 0.3, ("who",))]


def rows() -> pa.Table:
    """12,000 rows: a third alone, a third one of 40 rows that come 100 times each, a third in pairs."""
    draw = generator(3)
    number = np.concatenate([np.arange(4_000), 10_000 + np.arange(4_000) % 40, 20_000 + np.arange(4_000) // 2])
    number = draw.permutation(number)
    return pa.table(
        {
            "n": pa.array(number, pa.int64()),
            "who": [f"person {n % 900}" if n % 11 else None for n in number],
            "spent a.b": pa.array(np.round(np.sin(number) * 90, 2), mask=number % 13 == 0),
            "seen": pa.array(18_000 + number % 700, pa.int32()).cast(pa.date32()),
            "tags": [[f"t{n % 3}"] for n in number],
        }
    )


@pytest.fixture(scope="module")
def df(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(rows()).localCheckpoint()


@pytest.mark.parametrize("split", SPLITS)
def test_rows_are_numbered_here_as_spark_numbers_them(df: DataFrame, split: Split) -> None:
    written = with_row_keys(df, split, 3).select(KEY, HOLDOUT, "n").toArrow().sort_by(KEY)
    hashed = with_content(df, split).toArrow()
    contents, first, counts = np.unique(hashed.column(0).to_numpy(), return_index=True, return_counts=True)
    assert sorted(np.unique(counts).tolist()) == [1, 2, 100] and counts.sum() == 12_000
    occurrence = np.concatenate([np.arange(1, n + 1) for n in counts])
    keys = keys_of(np.repeat(contents, counts), occurrence)
    assert written[KEY].to_pylist() == np.sort(keys).tolist()
    if split.by or not split.fraction:
        held_out = np.repeat(hashed.column(1).to_numpy()[first], counts)
    else:
        assert hashed.column(1).null_count == 12_000
        held_out = is_held_out(split, keys)
        assert 0.28 < held_out.mean() < 0.32
    assert written[HOLDOUT].to_pylist() == held_out[np.argsort(keys)].tolist()


@pytest.mark.parametrize("split", SPLITS)
def test_the_profile_is_the_same_however_the_rows_lie(df: DataFrame, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts = [df.coalesce(1), df.repartition(7), df.repartitionByRange(5, "n").sortWithinPartitions("n")]
    texts = [profile_table(layout, split, 3).to_json() for layout in layouts]
    assert texts[1:] == texts[:1] * 2
    train = with_row_keys(df, split, 2).where(f"NOT {HOLDOUT}").drop(KEY, HOLDOUT).toArrow()
    profile = Profile.from_json(texts[0])
    assert profile.rows == train.num_rows and profile["who"].nulls == train["who"].null_count
    assert profile["n"].mean == pytest.approx(np.mean(train["n"].to_numpy()), rel=1e-8)
    assert profile["n"].minimum == np.sort(train["n"].to_numpy())[2]
    counted = {c["values"]: c["counts"] for c in train["who"].value_counts().to_pylist()}
    assert all(counted[value] == n for value, n in profile["who"].top) and len(profile["who"].top) == 50
    monkeypatch.setattr(repeats, "MOST", 10)  # too many to be put aside: the rows themselves are shuffled
    assert profile_table(df, split, 3).to_json() == texts[0]


def test_frequent_values_of_a_column_of_many_are_told_from_the_sample(spark: SparkSession) -> None:
    """30,000 rows, every other of which is 7, the others all different: however they lie, 7 alone is frequent."""
    values = np.arange(30_000) + 100
    values[::2] = 7
    df = spark.createDataFrame(pa.table({"n": values, "row": [f"row {i}" for i in range(30_000)]}))
    found: list[Any] = [profile_table(d, None, 10)["n"].top for d in (df.coalesce(1), df.repartitionByRange(6, "n"))]
    assert found[0] == found[1]
    [(value, count)] = found[0]
    assert value == "7" and count == pytest.approx(15_000, rel=0.05)


@pytest.mark.parametrize(("columns", "copies", "warned"), [(8, 3, True), (8, 1, False), (3, 3, False)])
def test_a_table_of_copies_is_warned_of(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, copies: int, warned: bool
) -> None:
    """200 different rows, each three times: 400 are equal to an earlier one. Narrow tables repeat by chance."""
    rows = [tuple(i * (c + 1) % 211 for c in range(columns)) for i in range(200)] * copies
    df = spark.createDataFrame(rows, ", ".join(f"c{i} int" for i in range(columns)))
    assert profile_table(df).repeated == 200 * (copies - 1)

    lines: list[str] = []
    told, config = Silent(), parse_config({"run": {"dir": str(tmp_path / "run")}})
    monkeypatch.setattr(told, "say", lines.append)
    profile_run(open_folder(tmp_path / "run"), Source(df, "table", ()), config, told)
    assert any("400 rows are equal to another row in all 8 columns" in line for line in lines) == warned
