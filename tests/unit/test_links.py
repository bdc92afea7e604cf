"""Which links between columns few rows show: information by hand, chance, neighbouring numbers, many rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from twinlake.core.seeds import generator
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.encode import TokenCounter
from twinlake.models.fitting import coarse_map
from twinlake.models.times import Phase
from twinlake.models.tree import information_of
from twinlake.profile.counts import TokenCounts
from twinlake.train.links import links_of

Tokens = npt.NDArray[np.int64]


def category(name: str, values: int) -> ColumnCodec:
    return ColumnCodec(name, "string", "category", values=tuple(f"v{v}" for v in range(values)))


def number(name: str, atoms: int) -> ColumnCodec:
    return ColumnCodec(name, "bigint", "number", atoms=tuple(range(atoms)))


def counted(columns: list[ColumnCodec], tokens: Tokens) -> tuple[Codec, TokenCounts]:
    """The codec with its coarse bins, and the counts of `tokens` [rows, columns]."""
    masses = [np.bincount(tokens[:, i], minlength=c.sizes[0]) for i, c in enumerate(columns)]
    coarse = [replace(c, coarse=coarse_map(c, mass)) for c, mass in zip(columns, masses, strict=True)]
    codec = Codec(tuple(coarse), pa.schema([(c.name, pa.string()) for c in columns]))
    counter = TokenCounter(codec)
    counter.add(tokens.astype(np.uint16))
    return codec, counter.counts()


def every(columns: int) -> npt.NDArray[np.int64]:
    return np.tile(np.arange(columns), (columns, 1))


def test_information_and_links_by_hand() -> None:
    """Two halves that agree in 3 of 4 rows: ln 2 - H(1/4) = .130812 nats; chance is 1 / 2N."""
    columns = [category("a", 2), category("b", 2), category("c", 2)]
    tokens = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 0, 1]] * 10)
    codec, counts = counted(columns, tokens)
    information = information_of(codec, counts)
    assert information[0, 1] == information[1, 0] == pytest.approx(0.130812, abs=1e-6)
    assert information[0, 2] == pytest.approx(0.0, abs=1e-9) and information[0, 0] == 0.0
    links = links_of(codec, counts, every(3))
    assert links[0, 1] == links[1, 0] == pytest.approx((1 - 2 / 160 / 0.130812) ** 0.5, abs=1e-5)
    assert links[0, 2] == pytest.approx(80 / 20_000)  # nothing in common: what is left is by the rows
    assert (np.diag(links) == 1.0).all()


def test_links_stand_at_the_places_of_parents() -> None:
    tokens = np.repeat(np.array([[0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]]), 100, axis=0)
    codec, counts = counted([category("a", 2), category("b", 2), category("c", 2)], tokens)
    links = links_of(codec, counts, np.array([[1, 2], [2, 0], [0, 2]]))
    assert (links[0, 0], links[1, 1]) == (links[0, 0], links[0, 0]) and links[0, 0] > 0.99
    assert links[0, 1] == links[1, 0] == links[2, 0] == pytest.approx(0.02) and links[2, 1] == 1.0


def test_columns_of_chance_keep_hardly_any_link() -> None:
    draw = generator(5)
    tokens = draw.integers(0, 12, (600, 8))
    codec, counts = counted([category(f"c{i}", 12) for i in range(8)], tokens)
    links = links_of(codec, counts, every(8))
    assert links[~np.eye(8, dtype=bool)].max() == pytest.approx(600 / 20_000)


def test_folded_times_keep_their_links() -> None:
    """Their first token is the week; what hangs on the hour is in the second, which is not counted."""
    when = ColumnCodec("when", "date", "number", atoms=tuple(range(12)), period=7, phase=Phase(tuple(range(7)), (), ()))
    tokens = generator(5).integers(0, 7, (600, 3))
    columns = [when, category("a", 12), category("b", 12)]
    masses = [np.bincount(tokens[:, i], minlength=c.sizes[0]) for i, c in enumerate(columns)]
    coarse = [replace(c, coarse=coarse_map(c, mass)) for c, mass in zip(columns, masses, strict=True)]
    codec = Codec(tuple(coarse), pa.schema([(c.name, pa.string()) for c in columns]))
    counter = TokenCounter(codec)
    counter.add(tokens[:, [0, 0, 1, 2]].astype(np.uint16))
    links = links_of(codec, counter.counts(), every(4))
    assert (links[:2] == 1.0).all() and (links[:, :2] == 1.0).all() and links[2, 3] < 0.1


def test_a_trend_of_two_numbers_is_seen_where_single_values_are_few() -> None:
    """160 rows on 13 values each: single cells hold no row or one, groups of neighbours show the trend."""
    draw = generator(6)
    first = draw.integers(0, 13, 160)
    second = np.clip(first + draw.integers(-6, 7, 160), 0, 12)
    tokens = np.stack([first, second], axis=1)
    ordered, plain = [number("a", 13), number("b", 13)], [category("a", 13), category("b", 13)]
    assert links_of(*counted(ordered, tokens), every(2))[0, 1] > 0.5
    assert links_of(*counted(plain, tokens), every(2))[0, 1] < 0.2


def test_many_rows_look_at_everything() -> None:
    tokens = generator(7).integers(0, 3, (20_000, 2))
    codec, counts = counted([category("a", 3), category("b", 3)], tokens)
    assert (links_of(codec, counts, every(2)) == 1.0).all()
