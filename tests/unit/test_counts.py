"""Counts of bins and of pairs of bins, beside numpy's histogram; of a wide table some pairs alone."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from twinlake.core.seeds import generator
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.encode import TokenCounter
from twinlake.profile.counts import TokenCounts, column_pairs


def codec_of(columns: int) -> Codec:
    """Columns of 20 values and a rare one; bins 0..20 become coarse ones 0..10."""
    values, coarse = tuple(f"v{v}" for v in range(20)), tuple(v // 2 for v in range(21))
    made = [ColumnCodec(f"c{i}", "string", "category", values=values, coarse=coarse) for i in range(columns)]
    return Codec(tuple(made), pa.schema([(c.name, pa.string()) for c in made]))


def counted(tokens: npt.NDArray[np.uint16], every_pair: bool = False) -> TokenCounts:
    counter = TokenCounter(codec_of(tokens.shape[1]), every_pair=every_pair)
    for some in np.array_split(tokens, 3):
        counter.add(some)
    return counter.counts()


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 8])
def test_pairs_are_those_of_a_histogram(columns: int) -> None:
    tokens = generator(5, columns).integers(0, 21, (400, columns)).astype(np.uint16)
    found = counted(tokens)
    assert found.rows == 400 and found.pair_list() == column_pairs(columns)
    for (i, j), table in zip(found.pair_list(), found.pairs, strict=True):
        expected = np.histogram2d(tokens[:, i] // 2, tokens[:, j] // 2, bins=[range(17), range(17)])[0]
        assert np.array_equal(table, expected)
    for i, single in enumerate(found.single):
        assert np.array_equal(single, np.bincount(tokens[:, i], minlength=21))


def test_of_a_wide_table_128_columns_are_paired(tmp_path: Path) -> None:
    tokens = generator(6).integers(0, 21, (30, 256)).astype(np.uint16)
    found, whole = counted(tokens), counted(tokens, every_pair=True)
    assert found.pair_list() == list(itertools.combinations(range(0, 256, 2), 2))
    assert whole.pair_list() == column_pairs(256)
    found.check_same_bins(whole.measured())
    assert np.array_equal(whole.measured().pairs, found.pairs) and found.measured() is found
    found.save(tmp_path / "counts.npz")
    TokenCounts.load(tmp_path / "counts.npz").check_same_bins(found)


def test_up_to_200_columns_all_are_paired() -> None:
    tokens = np.zeros((2, 200), np.uint16)
    assert counted(tokens).measured().pair_list() == column_pairs(200)
