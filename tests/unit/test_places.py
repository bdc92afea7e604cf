"""Places of numbers and the waves over them: where values stand, the cosines there, and that folding changes nothing."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from twinlake.core.seeds import generator
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.places import NOWHERE, OWN, WAVES, places_of, waves_at
from twinlake.models.tabular import TabularNetwork, TabularSettings


def number(name: str, atoms: tuple[float, ...], low: tuple[float, ...], bin_start: tuple[int, ...]) -> ColumnCodec:
    return ColumnCodec(
        name, "int", "number", states=("null",), atoms=atoms, low=low, high=low, bin_start=bin_start, coarse=(0,)
    )


def test_atoms_and_bins_stand_in_the_order_of_their_numbers() -> None:
    columns = (
        number("a", (-1, 40), (0, 10, 50), (0, 1, 2)),  # null, -1, 40, 0.., 10.., 50.., rare
        ColumnCodec("b", "string", "category", values=("x", "y"), coarse=(0, 1, 2)),
        number("c", (7,), (1, 2, 3, 4, 5, 6), (0, 2, 4, 5)),  # bins start at 1, 3, 5 and 6; two cells a bin at most
        number("d", (0, 1), (), ()),  # two values: too few for a line
    )
    codec = Codec(columns, pa.schema([(c.name, pa.string() if c.name == "b" else pa.int32()) for c in columns]))
    assert codec.sizes == (7, 3, 7, 2, 4)
    assert places_of(codec) == [
        [NOWHERE, 0.1, 0.7, 0.3, 0.5, 0.9, NOWHERE],
        [NOWHERE] * 3,
        [NOWHERE, 0.9, 0.1, 0.3, 0.5, 0.7, NOWHERE],
        [0.25, 0.75],
        [NOWHERE] * 4,
    ]


def test_waves_follow_their_formula() -> None:
    harmonic = sum(1 / k for k in range(1, WAVES + 1))
    found = waves_at([NOWHERE, 0.25, 0.75, 0.5])  # three places: two waves
    root = math.sqrt(0.5)
    expected = np.zeros((4, WAVES))
    expected[:, 0] = [0.0, root * math.sqrt(2 / harmonic), -root * math.sqrt(2 / harmonic), 0.0]
    expected[:, 1] = [0.0, 0.0, 0.0, -math.sqrt(1 / harmonic)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    many = waves_at([(i + 0.5) / 200 for i in range(200)])
    assert float(np.square(many).sum(axis=1).mean()) == pytest.approx(1.0, abs=1e-6)


def test_a_network_without_waves_gives_the_same_losses_from_the_folded_weights() -> None:
    sizes = (3, 40, 5, 9, 2)
    places = [[NOWHERE] * 3, [(i + 0.5) / 40 for i in range(40)], [0.1, 0.3, 0.5, 0.7, 0.9], [NOWHERE] * 9, [0.25, 0.75]]
    parents = np.tile(np.arange(5, dtype=np.int64), (5, 1))
    settings, level = TabularSettings(4, 8, 1), [np.zeros(s, np.float32) for s in sizes]
    made = TabularNetwork(sizes, parents, settings, level, 5, places)
    other = TabularNetwork(sizes, parents, settings, level, 6)
    embedding = made.embed.detach()
    assert float(embedding[3:43].std()) == pytest.approx(OWN, rel=0.2) and float(embedding[:3].std()) > 0.5
    weights = made.plain({name: parameter.detach() for name, parameter in made.named_parameters()})
    assert set(weights) == {name for name, _ in other.named_parameters()}
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter.copy_(weights[name])
        draw = generator(9)
        tokens = torch.from_numpy(np.stack([draw.integers(0, size, 12) for size in sizes], axis=1))
        ranks = torch.from_numpy(np.argsort(draw.random((12, 5)), axis=1))
        torch.testing.assert_close(made(tokens, ranks, None), other(tokens, ranks, None), rtol=1e-4, atol=1e-5)


def test_neighbours_learn_from_each_other() -> None:
    """Rows show every other value of a number, each tied to a category by its side of the middle: those in between follow."""
    sizes, parents = (16, 2), np.array([[0, 1], [1, 0]], np.int64)
    places = [[(i + 0.5) / 16 for i in range(16)], [NOWHERE] * 2]
    shown = torch.arange(0, 16, 2).repeat(8)
    rows = torch.stack([shown, (shown >= 8).long()], dim=1)
    hidden = torch.arange(1, 16, 2)
    asked = torch.stack([hidden, (hidden >= 8).long()], dim=1)
    losses = {}
    for name, used in (("waves", places), ("none", None)):
        level = [np.zeros(s, np.float32) for s in sizes]
        made = TabularNetwork(sizes, parents, TabularSettings(8, 16, 0), level, 5, used)
        optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            made(rows, torch.arange(2).expand(len(rows), -1), None).mean().backward()
            optimizer.step()
        with torch.no_grad():
            losses[name] = float(made(asked, torch.arange(2).expand(len(asked), -1), None)[:, 1].mean())
    assert losses["waves"] < 0.5 and losses["none"] > 0.6  # a coin has 0.69
