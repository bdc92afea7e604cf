"""Going on from an earlier model: which tokens and weights are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.continuing import continued, start_from, value_maps
from twinlake.models.places import places_of
from twinlake.models.store import load_model, save_model
from twinlake.models.tabular import TabularNetwork, TabularSettings, model_facts

COLOUR = ColumnCodec("colour", "string", "category", values=("red", "blue"), states=("null",), coarse=(0, 1, 2, 3))
AGE = ColumnCodec("age", "int", "number", atoms=(18, 65), low=(20, 30, 40, 50), high=(29, 39, 49, 59), bin_start=(0, 1, 2, 3))
PLACE = ColumnCodec("place", "string", "category", values=("here", "there", "away"), coarse=(0, 1, 2, 3))
KINDS = {"colour": pa.string(), "age": pa.int32(), "place": pa.string()}


def codec_of(*columns: ColumnCodec) -> Codec:
    return Codec(columns, pa.schema([(c.name, KINDS[c.name]) for c in columns]))


def network_of(codec: Codec, seed: int) -> TabularNetwork:
    """Random weights everywhere, also where a training would start from zero."""
    parents = np.tile(np.arange(len(codec.sizes)), (len(codec.sizes), 1))
    level = [np.zeros(size, np.float32) for size in codec.sizes]
    network = TabularNetwork(codec.sizes, parents, TabularSettings(4, 8, 1), level, seed, places_of(codec))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.3
    return network


def saved(folder: Path, codec: Codec, network: TabularNetwork) -> Path:
    parents = network.parents.numpy()
    facts = model_facts(codec.sizes, parents, network.settings, list(range(len(codec.columns))), codec.slots)
    weights = network.plain(dict(network.named_parameters()))
    save_model(folder, codec, weights, {"family": "tabular", "rows": 9, "history": [], **facts})
    return folder


def losses(network: TabularNetwork, tokens: list[list[int]]) -> torch.Tensor:
    rows = torch.tensor(tokens)
    with torch.inference_mode():
        return network(rows, torch.arange(rows.shape[1]).expand(len(rows), -1), None)


def test_new_values_stand_behind_the_known_ones() -> None:
    new = replace(COLOUR, values=("green", "red"), coarse=(0, 1, 2, 3))
    made = continued(codec_of(new), codec_of(COLOUR)).columns[0]
    assert made.values == ("red", "blue", "green")
    assert made.coarse == (1, 3, 0, 2, 3)  # blue is not among the new rows: it is counted with the rare ones
    assert value_maps(codec_of(made), codec_of(COLOUR)) == [(0, [0, 1, -1, 2, 3])]


def test_cells_of_numbers_are_kept_while_the_rows_lie_within_them() -> None:
    inside = replace(AGE, atoms=(19,), low=(21, 45), high=(44, 58), bin_start=(0, 1))
    assert continued(codec_of(inside), codec_of(AGE)).columns[0] == AGE
    outside = replace(inside, high=(44, 71))
    assert continued(codec_of(outside), codec_of(AGE)).columns[0] == outside
    assert value_maps(codec_of(outside), codec_of(AGE)) == [None]
    other = replace(inside, type="bigint")
    assert continued(codec_of(other), codec_of(AGE)).columns[0] == other


def test_a_network_starts_with_the_likelihoods_of_the_model(tmp_path: Path) -> None:
    """The same columns in another order: given the same values, the same losses."""
    old = codec_of(COLOUR, AGE)
    was = network_of(old, 1)
    folder = saved(tmp_path / "model", old, was)
    facts = load_model(str(folder), "x").facts
    new = codec_of(AGE, COLOUR)
    now = network_of(new, 2)
    start_from(now, folder, facts, value_maps(new, old))
    rows = [[0, 1], [1, 3], [2, 5], [3, 0]]
    ranks = torch.tensor([[1, 0]] * 4)
    with torch.inference_mode():
        turned = now(torch.tensor([[age, colour] for colour, age in rows]), ranks, None)
    torch.testing.assert_close(turned[:, [1, 0]], losses(was, rows), atol=1e-5, rtol=1e-5)


def test_a_new_column_changes_nothing_for_the_others_at_first(tmp_path: Path) -> None:
    old = codec_of(COLOUR, AGE)
    was = network_of(old, 1)
    folder = saved(tmp_path / "model", old, was)
    new = codec_of(COLOUR, AGE, PLACE)
    now = network_of(new, 2)
    start_from(now, folder, load_model(str(folder), "x").facts, value_maps(new, old))
    rows = [[0, 1, 0], [1, 3, 1], [2, 5, 2]]
    before = losses(was, [row[:2] for row in rows])
    torch.testing.assert_close(losses(now, rows)[:, :2], before, atol=1e-5, rtol=1e-5)
    shown_first = torch.tensor([[1, 2, 0]] * 3)  # place is seen by both: its weights into them are zero
    with torch.inference_mode():
        torch.testing.assert_close(now(torch.tensor(rows), shown_first, None)[:, :2], before, atol=1e-5, rtol=1e-5)
