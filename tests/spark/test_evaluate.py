"""The distributed passes give what one machine gives: pandas, scipy and scikit-learn on the same rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from twinlake.core.errors import ConfigError, DataError
from twinlake.evaluate import passes
from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.evidence import Evidence, Result
from twinlake.evaluate.frames import sampled
from twinlake.evaluate.histograms import histograms, principal_axes
from twinlake.evaluate.metrics import METRICS
from twinlake.evaluate.metrics.correlation import association_matrix
from twinlake.evaluate.metrics.privacy import nearest
from twinlake.evaluate.metrics.score import column_distances
from twinlake.evaluate.stage import first_rows
from twinlake.tables.parts import publish, write_part

KINDS = {"a.b": "number", "n`": "number", "d": "datetime", "c": "category", "e": "category"}
DDL = "c string, `a.b` bigint, `n``` double, d date, e string"


def table(seed: int, n: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    a = draw.integers(0, 50, n)
    x = np.where(draw.random(n) < 0.1, np.nan, a * 0.3 + draw.normal(0, 4, n))
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 400, n), "D")
    c = np.array(["x", "y", "z"])[(a // 10 + draw.integers(0, 2, n)) % 3]
    e = np.where(draw.random(n) < 0.2, None, np.array(["p", "q"])[(c == "x").astype(int)])
    return pd.DataFrame({"c": c, "a.b": a, "n`": x, "d": days, "e": e})


def frame(spark: Any, held: pd.DataFrame) -> Any:
    rows = [
        (r[0], int(r[1]), None if np.isnan(r[2]) else float(r[2]), r[3].date(), r[4])
        for r in held.itertuples(index=False, name=None)
    ]
    return spark.createDataFrame(rows, DDL)


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    twin = table(3, 500)
    twin.loc[:99, "c"] = "new"
    return table(1, 600), table(2, 200), twin


@pytest.fixture(scope="module")
def held(spark: Any, tables: tuple[pd.DataFrame, ...]) -> Evidence:
    real, holdout, twin = (frame(spark, t) for t in tables)
    return Evidence(real, twin, tuple(KINDS), KINDS, holdout=holdout)


def days(column: pd.Series) -> np.ndarray:
    return ((column - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)).to_numpy(float)


def numbers(held: pd.DataFrame) -> np.ndarray:
    return np.column_stack([held["a.b"].to_numpy(float), held["n`"].to_numpy(float), days(held["d"])])


def test_column_distances_are_scipys(held: Evidence, tables: tuple[pd.DataFrame, ...]) -> None:
    real, _, twin = tables
    got = column_distances(held, 2)
    for i, name in enumerate(("a.b", "n`", "d")):
        a, b = (x[~np.isnan(x)] for x in (numbers(real)[:, i], numbers(twin)[:, i]))
        first = a.astype(np.int64) if name == "a.b" else a
        edges = np.histogram_bin_edges(first, "doane", (min(a.min(), b.min()), max(a.max(), b.max())))
        expected = jensenshannon(np.histogram(a, edges)[0], np.histogram(b, edges)[0], base=2)
        assert got[name] == pytest.approx(expected, abs=1e-9), name
    for name in ("c", "e"):
        both = pd.DataFrame({s: t[name].fillna("-").value_counts() for s, t in (("a", real), ("b", twin))}).fillna(0)
        assert got[name] == pytest.approx(jensenshannon(both["a"], both["b"], base=2), abs=1e-9), name


def test_categories_that_train_hardly_has(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train rows are a, a, b, missing (twin: a, c, c, missing), and all missing (twin: a, a, missing, missing)."""
    monkeypatch.setattr(passes, "LISTED_CATEGORIES", 2)
    ddl = "some string, none string"
    real = spark.createDataFrame([("a", None), ("a", None), ("b", None), (None, None)], ddl)
    twin = spark.createDataFrame([("a", "a"), ("c", "a"), ("c", None), (None, None)], ddl)
    found = passes.categories(Evidence(real, twin, ("some", "none"), {"some": "category", "none": "category"}))
    assert found.values == [["a", "b"], []]
    assert [list(n) for n in found.counts] == [[2.0, 1.0], []]
    assert list(found.nulls) == [1.0, 4.0]
    expected = [jensenshannon([2, 1, 1, 0], [1, 0, 1, 2], base=2), jensenshannon([4, 0], [2, 2], base=2)]
    assert found.distance[2] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(found.distance[1]).all()


def test_associations_are_those_of_pandas(held: Evidence, tables: tuple[pd.DataFrame, ...]) -> None:
    real = tables[0]
    got = association_matrix(held, 0)
    expected = pd.DataFrame(numbers(real)).corr().to_numpy()
    assert got[0, 1] == pytest.approx(expected[0, 1], abs=1e-9)
    assert got[1, 2] == pytest.approx(expected[1, 2], abs=1e-9)
    x = real["n`"].dropna()
    mean = x.groupby(real["c"]).transform("mean")
    assert got[1, 3] == pytest.approx(np.sqrt(((mean - x.mean()) ** 2).sum() / ((x - x.mean()) ** 2).sum()), abs=1e-9)
    cross = pd.crosstab(real["c"], real["e"].fillna("-")).to_numpy(float)
    n, (r, k) = cross.sum(), cross.shape
    fair = np.outer(cross.sum(1), cross.sum(0)) / n
    phi = max(0, ((cross - fair) ** 2 / fair).sum() / n - (k - 1) * (r - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    assert got[3, 4] == pytest.approx(np.sqrt(phi / least), abs=1e-9)


def test_of_a_wide_table_pairs_of_some_columns_are_measured(
    held: Evidence, tables: tuple[pd.DataFrame, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of five columns: every second or third in table order. Single columns are measured all the same."""
    monkeypatch.setattr(passes, "PAIRED", 2)
    wide = replace(held, memo={})
    found = METRICS["association"].compute(wide)
    assert found.detail["columns"] == ["a.b", "d"]  # the first and, of 5 columns, that at 1 * 5 // 2
    real, _, twin = tables
    r = [pd.DataFrame(numbers(t)).corr().iloc[0, 2] for t in (real, twin)]
    assert found.value == pytest.approx(abs(r[0] - r[1]), abs=1e-9)
    assert column_distances(wide, 2) == pytest.approx(column_distances(held, 2), abs=1e-12)
    assert METRICS["deep_structure"].compute(wide).value is not None


def test_the_shape_of_a_week_is_that_of_pandas(spark: Any) -> None:
    """Hours of the week of times, days of the week of dates; the twin's times are three hours late."""
    draw = np.random.default_rng(8)

    def made(n: int, late: int) -> pd.DataFrame:
        hours = draw.integers(0, 24 * 300, n) // 24 * 24 + draw.integers(8, 17, n) + late
        at = pd.Timestamp("2022-01-03") + pd.to_timedelta(hours, "h")
        return pd.DataFrame({"at": at, "on": at.date}).mask(draw.random((n, 2)) < 0.1)

    def spark_frame(held: pd.DataFrame) -> Any:
        rows = [(None if pd.isna(a) else a.to_pydatetime(), None if pd.isna(b) else b) for a, b in held.values.tolist()]
        return spark.createDataFrame(rows, "at timestamp, on date")

    real, holdout, twin = made(500, 0), made(200, 0), made(400, 3)
    frames = [spark_frame(held) for held in (real, twin, holdout)]
    kinds = {"at": "datetime", "on": "datetime"}
    found = METRICS["time_shape"].compute(Evidence(frames[0], frames[1], tuple(kinds), kinds, holdout=frames[2]))

    def variation(other: pd.DataFrame, place: Any) -> float:
        both = [place(t).dropna().value_counts(normalize=True) for t in (real, other)]
        return float(both[0].subtract(both[1], fill_value=0.0).abs().sum() / 2)

    week = {"at": lambda t: t["at"].dt.dayofweek * 24 + t["at"].dt.hour, "on": lambda t: pd.to_datetime(t["on"]).dt.dayofweek}
    assert found.detail["each"] == pytest.approx({c: variation(twin, place) for c, place in week.items()}, abs=1e-9)
    assert found.reference == pytest.approx(np.mean([variation(holdout, place) for place in week.values()]), abs=1e-9)
    assert found.detail["each"]["at"] > 0.3 > found.reference
    none = METRICS["time_shape"].compute(Evidence(frames[0], frames[1], ("at",), {"at": "text"}))
    assert none.value is None and none.reason == "no column is a date or a time"


def test_structure_is_scikit_learns(held: Evidence, tables: tuple[pd.DataFrame, ...]) -> None:
    real, _, twin = tables

    def features(t: pd.DataFrame) -> np.ndarray:
        cells = [t["c"].map(real["c"].value_counts(normalize=True)).fillna(0)]
        cells.append(t["e"].fillna("-").map(real["e"].fillna("-").value_counts(normalize=True)).fillna(0))
        x = numbers(t)
        # Spark's percentile is the lower middle value, not the mean of the two middle ones.
        x[np.isnan(x[:, 1]), 1] = np.nanquantile(numbers(real)[:, 1], 0.5, method="inverted_cdf")
        return np.column_stack([x, *cells])

    scale = StandardScaler().fit(features(real))
    pca = PCA(2).fit(scale.transform(features(real)))
    axes = principal_axes(held)
    assert axes is not None
    assert axes.explained == pytest.approx(pca.explained_variance_ratio_, abs=1e-9)
    assert np.abs(axes.weights.T) == pytest.approx(np.abs(pca.components_), abs=1e-8)
    signs = np.sign((axes.weights.T * pca.components_).sum(1))
    a, b = (pca.transform(scale.transform(features(t))) * signs for t in (real, twin))
    seen = histograms(held)
    for c in range(2):
        ends = min(a[:, c].min(), b[:, c].min()), max(a[:, c].max(), b[:, c].max())
        edges = np.histogram_bin_edges(a[:, c], "doane", ends)
        assert len(edges) - 1 == len(seen.own[2][3 + c])
        assert np.abs(seen.own[2][3 + c] - np.histogram(b[:, c], edges)[0]).sum() <= 2


def test_nearest_rows_are_those_of_a_plain_search(held: Evidence, tables: tuple[pd.DataFrame, ...]) -> None:
    real, holdout, twin = tables
    found = nearest(held)
    assert not isinstance(found, str)
    train = numbers(real)
    mean, std = np.nanmean(train, 0), np.nanstd(train, 0)

    def ranks(t: pd.DataFrame) -> np.ndarray:
        return 1 / (1 + np.exp(-1.702 * (numbers(t) - mean) / std))

    def search(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
        x, y = ranks(a)[:, None, :], ranks(b)[None, :, :]
        gap = np.isnan(x) != np.isnan(y)
        total = ((np.nan_to_num(x, nan=0.5) - np.nan_to_num(y, nan=0.5)) ** 2 + gap).sum(2)
        for c in ("c", "e"):
            total += a[c].fillna("-").to_numpy()[:, None] != b[c].fillna("-").to_numpy()[None, :]
        return np.sort(np.sqrt(total.min(1)))

    assert np.sort(found.twin[0]) == pytest.approx(search(twin, real), abs=1e-3)
    assert np.sort(found.twin[2]) == pytest.approx(search(twin, holdout), abs=1e-3)
    assert np.sort(found.holdout[0]) == pytest.approx(search(holdout, real), abs=1e-3)


def test_results_do_not_depend_on_partitions(held: Evidence) -> None:
    other = replace(
        held,
        real=held.real.repartition(5),
        synthetic=held.synthetic.orderBy("d").coalesce(1),
        holdout=held.holdout.repartition(3),
        memo={},
    )
    for name in (
        "field_distribution",
        "field_correlation",
        "deep_structure",
        "association",
        "exact_copies",
        "closest_record",
    ):
        a, b = METRICS[name].compute(held), METRICS[name].compute(other)
        assert (a.value, a.reference) == pytest.approx((b.value, b.reference), abs=1e-9), name
        assert a.comparable() == pytest.approx(b.comparable(), abs=1e-9), name


def test_a_sample_keeps_its_share_of_identical_rows(spark: Any) -> None:
    twins = spark.range(4000).selectExpr("id % 2 as x")
    got = sampled(twins, 0.25, 7)
    assert 850 < got.count() < 1150
    assert {r["x"] for r in got.toArrow().to_pylist()} == {0, 1}
    assert sampled(twins.repartition(7), 0.25, 7).count() == got.count()


def test_planted_copies_are_counted(spark: Any, held: Evidence) -> None:
    part = held.synthetic.limit(90).unionAll(held.real.limit(10))
    got = METRICS["exact_copies"].compute(replace(held, synthetic=part, memo={}))
    assert got.detail["copies"] == 10
    assert got.value == 0.1


def test_limits_and_texts() -> None:
    facts = {"metrics": {"association": {"title": "t", "group": "correlation", "better": "lower"}}}
    results = {
        "quality_score": Result(80.0, None, 90.0),
        "association": Result(0.2, None, 0.1),
        "auc_gap": Result(None, reason="no target"),
    }
    got = Evaluation(80.0, "Excellent", results, facts)
    assert got.failed({"quality_score": 79.0, "association": 0.25}) == []
    assert len(got.failed({"quality_score": 81.0, "association": 0.15, "auc_gap": 0.1})) == 3
    with pytest.raises(ConfigError, match="quality_score"):
        got.failed({"quality_scor": 1})
    assert "not computed: no target" in got.to_text()
    with pytest.raises(DataError):
        Evaluation(1.0, "Poor", {"x": Result(float("nan"))}).to_json()
    with pytest.raises(DataError):
        Evaluation.from_json("{}")


@pytest.mark.parametrize("rows", [1, 10, 11, 20, 24])
def test_the_first_rows_of_a_twin_are_those_of_the_lowest_ids(spark: Any, tmp_path: Path, rows: int) -> None:
    schema, staging = pa.schema([("id", pa.int64()), ("_metadata", pa.string())]), tmp_path / "staging"
    staging.mkdir()
    for part, (start, end) in enumerate([(0, 10), (10, 20), (20, 25)]):
        ids = list(range(start, end))
        write_part(staging, part, schema, [pa.record_batch([ids, [f"m{i}" for i in ids]], schema=schema)])
    publish(staging, tmp_path / "twin", 3, {})
    found = first_rows(spark, tmp_path / "twin", rows).toArrow()
    assert sorted(found["id"].to_pylist()) == list(range(rows)) and found.column_names == schema.names
