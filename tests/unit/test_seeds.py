"""Randomness is named, counter-based and pinned: another number changes every output and needs a CHANGELOG line."""

from __future__ import annotations

import numpy as np
import pytest

from twinlake.core.seeds import as_long, derive, generator, mix, permute, uniform

PINNED: list[tuple[tuple[int | str, ...], int]] = [
    ((0,), 4331143152044847043),
    ((7,), 7288634180533250744),
    ((9223372036854775807,), 16636173495885963420),
    ((7, ""), 4659273668620045416),
    ((7, "a"), 16475855879366569629),
    ((7, "a", "b"), 5455227855977424442),
    ((7, "ab"), 16580873081208834316),
    ((7, 0), 1093336368570401828),
    ((7, -1), 5903806077208446390),
    ((7, 9223372036854775807), 7076655235139180013),
    ((7, "block", 3, 1), 7111403697857871416),
    ((11, "\xe9\u202e"), 6125575086126255113),
]
MIXED = [7191089600892374487, 11409396526365357622, 12587370737594032228]
DRAWN = [603, 240, 53, 103, 440]
PERMUTED = [1, 7, 9, 0, 5, 3, 8, 4, 6, 2]


@pytest.mark.parametrize(("parts", "expected"), PINNED)
def test_pinned_seeds(parts: tuple[int | str, ...], expected: int) -> None:
    seed, *names = parts
    assert isinstance(seed, int)
    assert derive(seed, *names) == expected


def test_pinned_streams() -> None:
    assert [int(x) for x in mix(np.arange(3, dtype=np.uint64), 7)] == MIXED
    assert [int(x) for x in generator(derive(7, "block"), 3, 1).integers(0, 1000, 5)] == DRAWN
    assert [int(x) for x in permute(np.arange(10), 10, 7)] == PERMUTED


def test_no_collisions_over_many_columns() -> None:
    seeds = {derive(7, f"table{t}", f"column{c}") for t in range(10) for c in range(5_000)}
    assert len(seeds) == 50_000


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("Af",), ("BA",)),
        (("",), ()),
        ((1,), ("1",)),
        ((1,), ("i" + "\x01" + "\x00" * 8,)),
        ((1, 2), (2, 1)),
        ((-1,), (1,)),
    ],
)
def test_different_names_have_different_seeds(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> None:
    assert derive(7, *one) != derive(7, *other)


def test_neighbouring_streams_are_uncorrelated() -> None:
    rows = np.arange(100_000, dtype=np.uint64)
    streams = np.stack([uniform(rows, derive(7, "t", f"c{i}")) for i in range(8)])
    correlation = np.corrcoef(streams) - np.eye(8)
    assert np.abs(correlation).max() < 0.015
    assert np.abs(streams.mean(axis=1) - 0.5).max() < 0.005
    assert streams.min() >= 0.0
    assert streams.max() < 1.0
    draws = np.stack([generator(derive(7, "b"), block).random(100_000) for block in range(4)])
    assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < 0.015


def test_generators_are_functions_of_their_counters() -> None:
    assert generator(5, 1, 2).random(4).tolist() == generator(5, 1, 2).random(4).tolist()
    assert generator(5, 1, 2).random(4).tolist() != generator(5, 2, 1).random(4).tolist()
    assert len(generator(2**64 - 1, 2**63).random(2)) == 2
    with pytest.raises(ValueError, match="three"):
        generator(5, 1, 2, 3, 4)


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_permute_is_a_permutation(seed: int) -> None:
    for size in range(1, 1_001):
        assert sorted(permute(np.arange(size), size, seed)) == list(range(size))


@pytest.mark.parametrize("size", [2**20, 2**31 + 11, 10**12])
def test_permute_of_large_sizes_is_injective_and_in_range(size: int) -> None:
    index = np.unique(np.linspace(0, size - 1, 200_000).astype(np.int64))
    out = permute(index, size, 7)
    assert len(np.unique(out)) == len(index)
    assert out.min() >= 0
    assert out.max() < size
    assert abs(float(out.astype(np.float64).mean()) / size - 0.5) < 0.01
    assert permute(index[:10], size, 7).tolist() == out[:10].tolist()


@pytest.mark.parametrize(("index", "size"), [([0], 0), ([5], 5), ([-1], 5)])
def test_permute_refuses_indices_out_of_range(index: list[int], size: int) -> None:
    with pytest.raises(ValueError, match="range"):
        permute(np.array(index), size, 7)


def test_a_seed_as_the_jvm_has_it() -> None:
    """Two's complement, as numpy casts it."""
    for seed in (0, 7, 2**63 - 1, 2**63, 2**64 - 1):
        assert as_long(seed) == int(np.array([seed], np.uint64).view(np.int64)[0])
