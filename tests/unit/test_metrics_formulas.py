"""Metric formulas against numbers worked by hand, scipy, numpy and scikit-learn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import skew

from twinlake.core.errors import DataError
from twinlake.evaluate.evaluate import quality_of
from twinlake.evaluate.evidence import Result, wilson
from twinlake.evaluate.histograms import doane_bins, jensen_shannon, moments
from twinlake.evaluate.metrics.correlation import correlation_ratio, cramers_v, pearson, theils_u
from twinlake.evaluate.metrics.fidelity import total_variation
from twinlake.evaluate.metrics.score import (
    deep_structure_score,
    field_correlation_score,
    field_distribution_score,
    grade,
    quality_score,
)
from twinlake.evaluate.neighbours import Cells, squared_distances
from twinlake.profile.counts import TokenCounts


def test_total_variation_by_hand() -> None:
    assert total_variation(np.array([5, 5, 0]), np.array([1, 0, 1])) == pytest.approx(0.5)
    assert total_variation(np.array([3, 1]), np.array([6, 2])) == 0.0
    assert total_variation(np.array([0, 0]), np.array([1, 0])) is None


def test_jensen_shannon_is_scipys() -> None:
    a, b = np.array([10.0, 0, 3, 7]), np.array([1.0, 4, 0, 9])
    assert jensen_shannon(a, b) == pytest.approx(jensenshannon(a, b, base=2), abs=1e-12)
    assert jensen_shannon(a, a) == 0.0
    assert jensen_shannon(a, np.zeros(4)) is None


@pytest.mark.parametrize("name", ["normal", "lognormal", "whole", "two values"])
def test_doane_is_numpys(name: str) -> None:
    draw = np.random.default_rng(3)
    x = {
        "normal": draw.normal(5, 2, 4000),
        "lognormal": draw.lognormal(0, 1.2, 3000),
        "whole": draw.integers(0, 40, 900),
        "two values": np.array([0.0, 1.0] * 50),
    }[name]
    low, high = float(x.min()) - 1.5, float(x.max()) + 3
    edges = np.histogram_bin_edges(x, "doane", (low, high))
    got = doane_bins(len(x), x.std(), float(skew(x)), float(np.ptp(x)), low, high, whole=name == "whole")
    assert got == (len(edges) - 1 if len(edges) <= 500 else 500)


def test_moments_are_numpys() -> None:
    x = np.random.default_rng(1).gamma(2.0, 3.0, 1000)
    power = np.array([[len(x)], [x.sum()], [(x**2).sum()], [(x**3).sum()]])
    assert moments(power, 0) == pytest.approx((1000, x.mean(), x.std(), skew(x)), rel=1e-9)


def test_pearson_pairwise_complete() -> None:
    x = np.array([[1.0, 2, np.nan], [2, 1, 5], [3, 5, 1], [4, np.nan, 2], [5, 9, 9]])
    x = np.column_stack([x, np.full(5, 7.0)])
    m, z = (~np.isnan(x)).astype(float), np.nan_to_num(x)
    got = pearson(np.stack([m.T @ m, z.T @ m, (z**2).T @ m, z.T @ z]))
    both = ~np.isnan(x[:, 1]) & ~np.isnan(x[:, 2])
    assert got[1, 2] == pytest.approx(np.corrcoef(x[both, 1], x[both, 2])[0, 1], abs=1e-12)
    assert np.isnan(got[0, 3])


def test_correlation_ratio_by_hand() -> None:
    # Groups (1, 3) and (5, 7): means 2 and 6, grand mean 4, between 16, total 20.
    group = np.array([[[2.0], [2.0]], [[4.0], [12.0]], [[10.0], [74.0]]])
    assert correlation_ratio(group)[0] == pytest.approx(math.sqrt(16 / 20))
    assert np.isnan(correlation_ratio(np.array([[[2.0]], [[6.0]], [[18.0]]]))[0])


def test_category_associations_by_hand() -> None:
    same, none = np.array([[50.0, 0], [0, 50]]), np.array([[25.0, 25], [25, 25]])
    assert theils_u(same) == pytest.approx(1.0)
    assert theils_u(none) == pytest.approx(0.0, abs=1e-12)
    assert cramers_v(none) == 0.0
    # chi2 / n = 1, corrected: phi2 = 1 - 1/99, both sides 2 - 1/99.
    assert cramers_v(same) == pytest.approx(math.sqrt((1 - 1 / 99) / (1 - 1 / 99)))
    assert math.isnan(theils_u(np.array([[3.0, 4.0]])))
    # H(row) = ln 2; the second column tells the row, the first (3 of 4 rows) leaves H(1/3).
    table = np.array([[1.0, 1.0], [2.0, 0.0]])
    left = 0.75 * -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3))
    assert theils_u(table) == pytest.approx((math.log(2) - left) / math.log(2))


def test_scores_at_their_knees() -> None:
    assert (field_distribution_score(0.0199), field_distribution_score(0.991)) == (10.0, 0.0)
    assert field_distribution_score(0.1) == pytest.approx(8.7148)
    assert (field_correlation_score(0.0099), field_correlation_score(0.461)) == (10.0, 0.0)
    assert field_correlation_score(0.1) == pytest.approx(6.86732)
    assert deep_structure_score(0.0) == 10.0
    assert deep_structure_score(0.5) == pytest.approx(4.4932896)


def test_quality_score_leaves_out_what_is_missing() -> None:
    assert quality_score({"deep_structure": 5.0, "field_distribution": 5.0, "field_correlation": 5.0}) == pytest.approx(50)
    assert quality_score({"deep_structure": None, "field_distribution": 8.0, "field_correlation": 6.0}) == pytest.approx(
        10 * (0.86 * 8 + 6) / 1.86
    )
    assert quality_score({"deep_structure": None}) is None
    assert quality_score({}, 3, 2) is None
    assert [grade(x) for x in (None, 0.0, 20.0, 59.9, 60.0, 80.0)] == [
        "not computed",
        "Poor",
        "Moderate",
        "Good",
        "Very Good",
        "Excellent",
    ]


def test_texts_count_as_often_as_there_are_such_columns() -> None:
    parts = {"deep_structure": 5.0, "field_distribution": 5.0, "field_correlation": 5.0}
    written = {**parts, "text_semantics": 10.0, "text_structure": 2.0}
    # texts: 0.7 * 10 + 0.3 * 2 = 7.6
    assert quality_score(written, 3, 1) == pytest.approx(10 * (3 * 5.0 + 7.6) / 4)
    assert quality_score({**parts, "text_structure": 2.0}, 3, 1) == pytest.approx(10 * (3 * 5.0 + 2.0) / 4)
    assert quality_score({"text_semantics": 10.0, "text_structure": 2.0}, 0, 2) == pytest.approx(76)
    # Without a column of text, or without a number for it, the score is that of the table.
    assert quality_score(written, 3, 0) == quality_score({**parts, "text_semantics": None}, 3, 2) == pytest.approx(50)


def test_the_ceiling_is_of_the_parts_that_the_holdout_has() -> None:
    results = {n: Result(8.0, None, 9.0) for n in ("deep_structure", "field_distribution", "field_correlation")}
    results |= {"text_semantics": Result(2.0), "text_structure": Result(4.0, None, 10.0, None, {"at_reference_n": 6.0})}
    found = quality_of(results, 1, 1)
    assert found.value == pytest.approx(10 * (8 + 0.7 * 2 + 0.3 * 4) / 2)
    assert found.reference == pytest.approx(10 * (9 + 10) / 2) and found.comparable() == pytest.approx(10 * (8 + 6) / 2)
    assert quality_of(results, 1, 0).value == pytest.approx(80)
    lone = quality_of({n: Result(r.value) for n, r in results.items()}, 1, 1)
    assert lone.reference is None and lone.comparable() == lone.value == found.value
    assert quality_of({}, 2, 0).reason == "none of its parts could be computed"


def test_distance_by_hand() -> None:
    a = Cells(np.array([[0.2, np.nan]], np.float32), np.array([[1, 2]], np.int32))
    b = Cells(np.array([[0.5, 0.9], [0.2, np.nan]], np.float32), np.array([[1, 3], [1, 2]], np.int32))
    # 0.3 squared, a gap on one side (0.4 squared and 1), one category differs; then the same row.
    assert squared_distances(a, b).tolist() == [pytest.approx([0.09 + 0.16 + 1 + 1, 0.0], abs=1e-6)]


def test_wilson_by_hand() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775328))
    assert wilson(5, 10) == pytest.approx((0.2365931, 0.7634069))
    assert wilson(0, 0) == (0.0, 1.0)


def counts(rows: int = 4) -> TokenCounts:
    single = (np.array([rows - 1, 1]), np.array([rows, 0, 0]))
    coarse = (np.array([0, 1], np.uint8), np.array([0, 1, 2], np.uint8))
    pairs = np.zeros((1, 16, 16), np.int64)
    pairs[0, 0, 0], pairs[0, 1, 0] = rows - 1, 1
    return TokenCounts(rows, ("a", "b.`\n"), single, coarse, pairs, (("x", "y"), ("1", "2", "null")))


def test_token_counts_add_and_survive_a_file(tmp_path: Path) -> None:
    both = counts() + counts(6)
    assert (both.rows, both.single[0].tolist(), int(both.pairs.sum())) == (10, [8, 2], 10)
    both.save(tmp_path / "c.npz")
    back = TokenCounts.load(tmp_path / "c.npz")
    assert (back.rows, back.columns, back.labels) == (both.rows, both.columns, both.labels)
    assert all(np.array_equal(a, b) for a, b in zip(back.single, both.single, strict=True))
    assert np.array_equal(back.pairs, both.pairs)


def test_token_counts_refuse_what_does_not_fit(tmp_path: Path) -> None:
    other = TokenCounts(1, ("z",), (np.array([1]),), (np.array([0], np.uint8),), np.zeros((0, 16, 16), np.int64), (("x",),))
    with pytest.raises(DataError, match="different codecs"):
        counts() + other
    (tmp_path / "bad.npz").write_bytes(b"not a zip")
    with pytest.raises(DataError, match="damaged"):
        TokenCounts.load(tmp_path / "bad.npz")
