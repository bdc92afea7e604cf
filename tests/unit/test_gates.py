"""What conditions on leaves ask of the gates before them, and what a sampler draws behind a door."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from twinlake.core.errors import ConfigError
from twinlake.core.seeds import generator
from twinlake.generate.gates import with_gates
from twinlake.generate.steering import Group, read_steering
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.nested import Leaf
from twinlake.models.sampler import Door, TabularSampler
from twinlake.models.store import doors_of
from twinlake.models.tabular import TabularNetwork, TabularSettings, model_facts


def category(name: str, type_: str, *values: str, null: bool = True) -> ColumnCodec:
    states = ("null",) if null else ()
    return ColumnCodec(name, type_, "category", values=values, states=states, coarse=tuple(range(len(values) + 1 + null)))


@pytest.fixture(scope="module")
def codec() -> Codec:
    """A struct that may be null, of a city that never is and a street that may be; an array of up to two."""
    columns = (
        category("plan", "string", "free", "pro", null=False),
        category("address", "boolean", "true"),
        category("address.city", "string", "Lyon", "Bonn"),
        category("address.street", "string", "Rue 1", "Weg 2"),
        category("tags.length", "int", "1", "0", "2"),
        category("tags[0]", "string", "a", "b"),
        category("tags[1]", "string", "a", "b"),
    )
    leaves = (
        Leaf(("plan",), filled=True),
        Leaf(("address",), "present"),
        Leaf(("address", "city"), filled=True),
        Leaf(("address", "street")),
        Leaf(("tags",), "length", most=2),
        Leaf(("tags", 0), filled=True),
        Leaf(("tags", 1)),
    )
    types = [pa.string(), pa.bool_(), pa.string(), pa.string(), pa.int32(), pa.string(), pa.string()]
    flat = pa.schema([(c.name, kind) for c, kind in zip(columns, types, strict=True)])
    address = pa.struct([("city", pa.string()), ("street", pa.string())])
    table = pa.schema([("plan", pa.string()), ("address", address), ("tags", pa.list_(pa.string()))])
    return Codec(columns, flat, leaves=leaves, nested=table)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"plan": "pro"}, {"plan": "pro"}),
        ({"address.city": "Lyon"}, {"address": [True], "address.city": "Lyon"}),
        ({"address.city": None}, {"address": [None], "address.city": None}),
        ({"address.city": ["Lyon", None]}, {"address": [True, None], "address.city": ["Lyon", None]}),
        ({"address.street": None}, {"address": [True, None], "address.street": None}),
        ({"address": True, "address.street": None}, {"address": [True], "address.street": None}),
        ({"tags[1]": "a"}, {"tags.length": [2], "tags[1]": "a"}),
        ({"tags[0]": "a"}, {"tags.length": [1, 2], "tags[0]": "a"}),
        ({"tags[0]": "a", "tags.length": {"min": 2}}, {"tags.length": [2], "tags[0]": "a"}),
        ({"tags.length": {"max": 1}}, {"tags.length": [1, 0]}),
        ({"tags[0]": None}, {"tags.length": [0, None], "tags[0]": None}),
        ({"tags[1]": "a", "tags[0]": "b"}, {"tags.length": [2], "tags[1]": "a", "tags[0]": "b"}),
    ],
)
def test_a_leaf_asks_for_what_opens_it(codec: Codec, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    found = with_gates(asked, codec)
    assert found == expected and next(iter(found)) == next(iter(expected))
    assert with_gates(found, codec) == expected


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"address": None, "address.city": "Lyon"}, "address.city: no row has it together"),
        ({"address": True, "address.city": None}, "address.city: no row has it together"),
        ({"tags.length": 1, "tags[1]": "a"}, "tags[1]: no row has it together"),
        ({"tags.length": {"min": 3}}, "no value in this range"),
    ],
)
def test_what_no_row_can_meet_is_refused(codec: Codec, asked: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError) as raised:
        with_gates(asked, codec)
    assert word in str(raised.value)


def test_groups_of_a_leaf_open_its_gate_each_for_itself(codec: Codec) -> None:
    groups = (Group({"address.city": "Lyon"}, 3), Group({"address.city": None}, 2))
    steering = read_steering({"tags[0]": "a"}, groups, 7, codec)
    first, second = steering.columns[1]
    assert first.values.to_pylist() == [True] and second.values.to_pylist() == [None]
    assert len(steering.columns[4]) == 2 and steering.columns[4][0].values.to_pylist() == [1, 2]
    assert len(steering.columns[5]) == 1
    only = read_steering({}, (Group({"address.street": "Weg 2"}, 1), Group({"address.street": None}, 1)), 7, codec)
    assert [c.values.to_pylist() for c in only.columns[1]] == [[True], [True, None]]
    with pytest.raises(ConfigError, match="too; leave it out of one"):
        read_steering({"address.city": "Bonn"}, groups, 7, codec)


def sampler_of(codec: Codec, order: list[int], doors: list[Door]) -> TabularSampler:
    """Random weights, so that nothing holds but what is made to hold."""
    parents = np.tile(np.arange(len(codec.sizes), dtype=np.int64), (len(codec.sizes), 1))
    settings = TabularSettings(8, 16, 0)
    network = TabularNetwork(codec.sizes, parents, settings, [np.zeros(size, np.float32) for size in codec.sizes], 5)
    weights = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for name in sorted(weights):
        if name.startswith("head"):
            weights[name] += torch.from_numpy(generator(3).standard_normal(tuple(weights[name].shape)).astype(np.float32))
    facts = model_facts(codec.sizes, parents, settings, order, codec.slots)
    return TabularSampler.fold(weights, facts, {i: c.drawable for i, c in enumerate(codec.columns)}, (), doors)


def broken(codec: Codec, tokens: Any) -> tuple[int, int]:
    """Cells behind a closed gate, and nulls behind an open one where there are none."""
    closed = nulls = 0
    for door in doors_of(codec):
        opened, null = door.opened[tokens[:, door.by]], tokens[:, door.column] == door.null
        closed += int((~opened & ~null).sum())
        nulls += int((opened & null).sum()) if door.filled else 0
    return closed, nulls


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [2, 6, 0, 3, 5, 1, 4]])
def test_doors_hold_in_any_order(codec: Codec, order: list[int]) -> None:
    doors = doors_of(codec)
    assert [(d.column, d.by, d.null, d.filled) for d in doors] == [
        (2, 1, 2, True), (3, 1, 2, False), (5, 4, 2, True), (6, 4, 2, False),
    ]  # fmt: skip
    assert doors[3].opened.tolist() == [False, False, True, False, True]  # lengths 1, 0, 2, null, rare
    with_doors, without = sampler_of(codec, order, doors), sampler_of(codec, order, [])
    assert broken(codec, with_doors.draw(0, 7)) == (0, 0)
    assert min(broken(codec, without.draw(0, 7))) > 50
    streets = with_doors.draw(0, 7)
    there = streets[:, 1] == 0
    assert 0 < (streets[there, 3] == 2).mean() < 1  # a street may be null in an address that is there
