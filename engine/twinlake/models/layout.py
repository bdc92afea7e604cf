"""The places of a written row: which tokens a language model tells, one after the other, and by which ids.

A row of tokens is uint16 [rows, places]: those of the closed columns as their codec has them, then the pieces of each text up
to its bound. Each closed place has ids of its own, all texts share one block of ids, so that a place's values are one slice of
the embedding table. Plain data; knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from twinlake.models.tokenizer import NULL

BUCKETS = 16


@dataclass(frozen=True)
class Layout:
    """`sizes`: values of each closed place. `slots`: the closed places of each column. `told`: those that are steps of the
    model, the rest is forced by what comes before. `texts`: (column, bound) of the text columns; `pieces`: ids of texts.
    `given`: closed cells are not told but known, and the texts follow from them."""

    sizes: tuple[int, ...]
    slots: tuple[tuple[int, ...], ...]
    told: tuple[int, ...]
    texts: tuple[tuple[int, int], ...] = ()
    pieces: int = 0
    given: bool = False

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Layout:
        """A layout from what `asdict` made of one."""
        lists = {k: tuple(map(tuple, raw[k])) for k in ("slots", "texts")}
        return cls(tuple(raw["sizes"]), told=tuple(raw["told"]), pieces=raw["pieces"], given=raw["given"], **lists)

    @property
    def closed(self) -> int:
        """Closed places of a row."""
        return len(self.sizes)

    @cached_property
    def places(self) -> int:
        """All places of a row."""
        return self.closed + sum(bound for _, bound in self.texts)

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """The first id of each place, int64 [places]."""
        closed = np.cumsum([0, *self.sizes])
        return np.concatenate([closed[:-1], np.full(self.places - self.closed, closed[-1])])

    @cached_property
    def ids(self) -> int:
        """All ids; the one behind them begins a row."""
        return sum(self.sizes) + self.pieces

    @cached_property
    def where(self) -> npt.NDArray[np.int64]:
        """The kind of each place, int64 [places], that its position embedding goes by: closed places have one each, texts one
        for each of BUCKETS ever longer stretches."""
        out = list(range(self.closed))
        for number, (_, bound) in enumerate(self.texts):
            start = self.closed + number * BUCKETS
            out += [start + min(BUCKETS - 1, at if at < 6 else 3 + at.bit_length()) for at in range(bound)]
        return np.array(out, np.int64)

    @property
    def kinds(self) -> int:
        """How many values `where` has."""
        return self.closed + BUCKETS * len(self.texts)

    @cached_property
    def columns(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """(column, its places that are told) in the order of the table, texts last."""
        told = set(self.told)
        closed = [(c, tuple(p for p in slots if p in told)) for c, slots in enumerate(self.slots)]
        texts, start = [], self.closed
        for column, bound in self.texts:
            texts.append((column, tuple(range(start, start + bound))))
            start += bound
        return tuple([] if self.given else [c for c in closed if c[1]]) + tuple(texts)


def sequences(
    layout: Layout, tokens: npt.NDArray[np.integer], keys: npt.NDArray[np.float64] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The places of each row in the order in which they are told, int64 [rows, longest], and how many each row has.

    `keys` [rows, columns of `layout.columns`]: columns come by ascending key; None: as they are. A text ends with its first
    END or NULL. What is behind the end of a row is 0.
    """
    rows, count = len(tokens), len(layout.columns)
    keys = np.tile(np.arange(count, dtype=np.float64), (rows, 1)) if keys is None else keys
    places = np.array([p for _, own in layout.columns for p in own], np.int64)
    column = np.repeat(np.arange(count), [len(own) for _, own in layout.columns])
    rank = np.argsort(np.argsort(keys, axis=1, kind="stable"), axis=1, kind="stable")[:, column].astype(np.float64)
    rank += np.arange(len(places)) / (len(places) + 1.0)
    for own in _text_columns(layout):
        ended = np.cumsum(tokens[:, own[0] : own[-1] + 1] <= NULL, axis=1)
        behind = np.concatenate([np.zeros((rows, 1), bool), ended[:, :-1] > 0], axis=1)
        at = np.searchsorted(places, own[0])
        rank[:, at : at + len(own)] = np.where(behind, np.inf, rank[:, at : at + len(own)])
    lengths = np.isfinite(rank).sum(axis=1)
    longest = int(lengths.max()) if rows else 0
    order = np.argsort(rank, axis=1, kind="stable")[:, :longest]
    told = places[order]
    told[np.arange(longest)[None, :] >= lengths[:, None]] = 0
    return told, lengths


def _text_columns(layout: Layout) -> Sequence[tuple[int, ...]]:
    return [own for _, own in layout.columns if own[0] >= layout.closed]
