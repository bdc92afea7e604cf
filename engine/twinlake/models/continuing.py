"""Goes on from an earlier model: its codec where the new rows fit it, and which of its weights may be used again.

A category keeps the tokens of its values and adds new ones behind them; a number keeps its cells while the new rows lie
within them. Every other column starts anew. Weights are then taken over value by value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from twinlake.models.codec import Codec
from twinlake.models.column import WIDE, ColumnCodec
from twinlake.models.places import placed_tokens
from twinlake.models.sampler import heads_of
from twinlake.models.tabular import TabularNetwork


def continued(new: Codec, old: Codec) -> Codec:
    """`new`, fitted to new rows, with the tokens of `old` wherever these can hold the new rows."""
    before = {c.name: c for c in old.columns}
    return replace(new, columns=tuple(_continued(c, before.get(c.name)) for c in new.columns))


def _continued(new: ColumnCodec, old: ColumnCodec | None) -> ColumnCodec:
    if old is None or (new.type, new.method, new.states) != (old.type, old.method, old.states):
        return new
    if new.method == "category":
        values = (*old.values, *(v for v in new.values if v not in set(old.values)))
        if len(values) > WIDE:
            return new
        groups = dict(zip(new.values, new.coarse, strict=False))
        tail = new.coarse[len(new.values) :]  # null, if there is one, and rare
        return replace(new, values=values, coarse=(*(groups.get(v, tail[-1]) for v in values), *tail))
    if new.method == "number":
        same = all(getattr(new, n) == getattr(old, n) for n in ("domain", "scale", "step", "text", "texts", "period", "since"))
        ends = [(min(c.atoms + c.low), max(c.atoms + c.high)) for c in (new, old) if c.atoms + c.low]
        if same and len(ends) == 2 and ends[1][0] <= ends[0][0] and ends[0][1] <= ends[1][1]:
            return replace(old, entity=new.entity, recipe=new.recipe)
    return new


def value_maps(new: Codec, old: Codec) -> list[tuple[int, list[int]] | None]:
    """For each token of a row of `new` the token of `old` and, value by value, what it was there (-1: nothing)."""
    before = {c.name: i for i, c in enumerate(old.columns)}
    out: list[tuple[int, list[int]] | None] = []
    for column in new.columns:
        at = before.get(column.name)
        other = old.columns[at] if at is not None else None
        for place, size in enumerate(column.sizes):
            found = None if other is None else _map_of(column, other, place, size)
            out.append(None if found is None or at is None else (old.slots[at][place], found))
    return out


def _map_of(new: ColumnCodec, old: ColumnCodec, place: int, size: int) -> list[int] | None:
    kept = ("method", "type", "values", "states", "texts", "atoms", "low", "high", "bin_start", "period", "phase", "since")
    if all(getattr(new, name) == getattr(old, name) for name in kept):
        return list(range(size))
    if new.method != "category" or old.method != "category" or len(new.sizes) != 1 or len(old.sizes) != 1 or place:
        return None
    known = {value: number for number, value in enumerate(old.values)}
    ends = [len(old.values) + i if len(new.states) == len(old.states) else -1 for i in range(len(new.states))]
    return [*(known.get(value, -1) for value in new.values), *ends, old.sizes[0] - 1]


def start_from(network: TabularNetwork, folder: Path, facts: dict[str, Any], tokens: Sequence[Any]) -> None:
    """Copies the weights of the model in `folder` (`facts`: its model.json) into a new `network` of the same widths."""
    weights = load_file(folder / "weights.safetensors")
    old_sizes, old_parents = tuple(facts["sizes"]), facts["parents"]
    old_offsets = [sum(old_sizes[:t]) for t in range(len(old_sizes))]
    heads, biases = heads_of(weights, old_sizes)
    width, placed = network.settings.embedding, placed_tokens(network.places)
    group_of = {t: (g, place) for g, group in enumerate(network.groups) for place, t in enumerate(group)}
    with torch.no_grad():
        for token, found in enumerate(tokens):
            if found is None:
                continue
            before, map_ = found
            own = torch.tensor(map_)
            to = (own >= 0).nonzero()[:, 0]
            values, (group, place) = own[to], group_of[token]
            network.embed[network.offsets[token] + to] = weights["embed"][old_offsets[before] + values]
            network.heads[group][place][:, to] = heads[before][:, values]
            network.head_bias[group][place, 0, to] = biases[before][values]
            network.into_bias[token] = weights["into_bias"][before]
            for number, block in enumerate(network.blocks):
                block[token] = weights[f"blocks.{number}"][before]
            looked_at = list(dict.fromkeys(old_parents[before]))
            for k, parent in enumerate(network.parents[token].tolist()):
                was = tokens[parent]
                rows = slice(k * width, (k + 1) * width)
                if was is not None and was[0] in looked_at:
                    at = old_parents[before].index(was[0])
                    network.into[token, rows] = weights["into"][before, at * width : (at + 1) * width]
                else:
                    network.into[token, rows] = 0.0
            if network.waves is not None and token in placed:  # saved weights hold what waves added
                network.waves.into[placed.index(token)] = 0.0
                network.waves.out[group][place] = 0.0
