"""Drift of two tables beside pandas, and of two runs by what they have saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinlake.cli import execute
from twinlake.core.seeds import generator
from twinlake.evaluate.drift_tables import drift_of_frames, drift_of_runs
from twinlake.evaluate.frame import counted_tables
from twinlake.tables.run_folder import RunFolder

ROWS = 3_000


def table(seed: int, rome: float = 0.5) -> pd.DataFrame:
    draw = generator(seed)
    city = np.where(draw.random(ROWS) < rome, "Rome", np.where(draw.random(ROWS) < 0.5, "Oslo", "Bern"))
    return pd.DataFrame({"city": city, "paid": np.where((city == "Rome") ^ (draw.random(ROWS) < 0.1), "yes", "no"), "n": seed})


def shares(*columns: pd.Series) -> pd.Series:
    return pd.concat(columns, axis=1).value_counts(normalize=True)


def distance(a: pd.Series, b: pd.Series) -> float:
    return float(0.5 * a.subtract(b, fill_value=0.0).abs().sum())


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    return table(1), table(2, rome=0.3)


def test_columns_and_pairs_are_those_of_pandas(spark: Any, tables: tuple[pd.DataFrame, ...]) -> None:
    first, second = tables
    here = spark.createDataFrame(first.assign(gone="x"))
    there = spark.createDataFrame(second.assign(new=1.5, n=second.n.astype(str)))
    found = drift_of_frames(here, there)
    assert found.rows == (ROWS, ROWS)
    told = {c.columns: c for c in (*found.columns, *found.pairs)}
    for name in ("city", "paid"):
        assert told[name,].tv == pytest.approx(distance(shares(first[name]), shares(second[name])))
        assert told[name,].moved
    pair = distance(shares(first.city, first.paid), shares(second.city, second.paid))
    assert told["city", "paid"].tv == pytest.approx(pair)
    # City has moved, and those who pay with it: nothing beyond.
    assert told["city", "paid"].beyond < 0.01
    assert found.left_out == {
        "n": "bigint in the first, string in the second",
        "gone": "in the first alone",
        "new": "in the second alone",
    }
    same = drift_of_frames(here, spark.createDataFrame(table(3).assign(gone="x")))
    assert not any(c.moved for c in (*same.columns, *same.pairs)) and same.columns[0].tv > 0
    assert same.left_out["gone"].startswith("one value in the first")


def run_of(spark: Any, df: pd.DataFrame, folder: Path) -> RunFolder:
    """What a finished run leaves of its protected table."""
    work = folder / "work"
    work.mkdir(parents=True)
    _, counts = counted_tables({"real": spark.createDataFrame(df)}, work, 10, 7)
    run = RunFolder(folder / "run")
    run.root.mkdir()
    run.update(format=1, config={})
    shutil.move(work / "real", run.protected)
    shutil.move(work / "codec.json", run / "codec.json")
    run.private.mkdir()
    counts["real"].save(run.private / "pairs.npz")
    return run


def test_runs_are_compared_by_their_saved_counts_or_protected_rows(
    spark: Any, tables: tuple[pd.DataFrame, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (run_of(spark, df[["city", "paid"]], tmp_path / str(i)) for i, df in enumerate(tables))
    found = drift_of_runs(spark, first, second)
    expected = distance(shares(tables[0].city), shares(tables[1].city))
    assert {c.columns: c.tv for c in found.columns}["city",] == pytest.approx(expected)
    # A finished run has no private counts: they are taken again, by the first one's codec.
    shutil.rmtree(first.private)
    assert drift_of_runs(spark, first, second) == found
    assert drift_of_runs(spark, first, first).columns[0].tv == 0.0
    out = tmp_path / "out"
    assert execute(["drift", str(first.root), str(second.root), "--out", str(out), "--fail-over", "worst_column=0.1"]) == 3
    shown = capsys.readouterr()
    assert "2 of 2 columns moved by more than chance" in shown.out and "above the limit 0.1" in shown.err
    assert json.loads((out / "drift.json").read_text())["columns"][0]["moved"] is True
    assert "Rome" not in (out / "drift.json").read_text() + (out / "drift.md").read_text()
    for arguments in (["--twins"], ["--where-first", "1 = 1"]):
        assert execute(["drift", str(first.root), str(second.root), *arguments]) in (2, 3)
    assert execute(["drift", str(first.root), str(tmp_path / "absent.parquet")]) == 2
