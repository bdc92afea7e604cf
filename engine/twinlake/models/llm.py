"""Draws rows from a fine-tuned LLM: cell by cell, under the spelling of each column.

All rows of a chunk stand in the same column. Each step asks the model for the next token of every row that is not through with
its cell, and draws among the tokens that the spelling takes, by the row's own uniform numbers; keys, braces and what a row
is given are fed without a draw. Every row has its own place in the cache, so what its neighbours do can't be seen. No row is
ever thrown away. Single-threaded torch on the CPU; knows nothing of Spark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from twinlake.core.errors import ConfigError, ModelError
from twinlake.core.seeds import generator
from twinlake.models.automaton import Automaton, of_sets
from twinlake.models.base_model import check_base, merged, vocabulary_of
from twinlake.models.column import Tokens
from twinlake.models.rows_as_text import RowScript
from twinlake.models.sampler import BLOCK_ROWS, PLAIN, Known, Style, pick
from twinlake.models.spelling import Spelling
from twinlake.models.vocabulary import Vocabulary
from twinlake.models.writing import UNPICKABLE, Allowed

CHUNK = 128
CACHE_BYTES = 2**30
STRETCH = 128
KEPT_SPELLINGS = 256
ANY = of_sets(np.ones(1, np.bool_))


@dataclass
class LlmSampler:
    """A language model ready to draw. `prompt`: the tokens that stand before every row."""

    script: RowScript
    vocabulary: Vocabulary
    model: Any
    prompt: Sequence[int]
    chunk: int = CHUNK
    _spellings: dict[tuple[Any, ...], Spelling] = field(init=False, repr=False, default_factory=dict)

    @classmethod
    def of(cls, script: RowScript, weights: dict[str, Tensor], facts: Mapping[str, Any]) -> LlmSampler:
        """The sampler of an adapter's saved `weights`. Errors: ModelError if its language model is not there any more, or
        the extra is missing."""
        try:
            check_base(script.source)
        except ConfigError as error:
            raise ModelError(str(error)) from None
        vocabulary = vocabulary_of(script.source)
        model = merged(script.source, script.base, facts["settings"], weights)
        return cls(script, vocabulary, model, vocabulary.prompt(script.prompt), chunk_of(model, script))

    @property
    def numbers(self) -> int:
        """Uniform numbers that a row takes at most."""
        return sum(self.script.longest(c) for c in self.script.columns)

    def draw(self, block: int, seed: int, attempt: int = 0, rows: int = BLOCK_ROWS) -> Tokens:
        """Tokens of a whole block, uint16 [rows, places]; see `draw_rows`."""
        return self.draw_rows(generator(seed, block, attempt).random((self.numbers, rows), dtype=np.float32))

    def draw_rows(
        self,
        uniforms: npt.NDArray[np.float32],
        allowed: Mapping[int, Allowed] | None = None,
        known: Known | None = None,
        style: Style = PLAIN,
        nulls: bool = True,
    ) -> Tokens:
        """Tokens, uint16 [rows, places], of `uniforms` [numbers, rows] in [0, 1); see LanguageSampler.draw_rows. In CSV the
        columns stay in their order, and what is given of a later one is not seen by earlier ones."""
        rows = uniforms.shape[1]
        out = np.zeros((rows, self.script.layout.places), np.uint16)
        for own, first in self._patterns(rows, known):
            order = [*first, *(c for c in (allowed or {}) if c not in first and c in self.script.columns)]
            order = [*order, *(c for c in self.script.columns if c not in order)]
            order = order if self.script.format == "json" else list(self.script.columns)
            for start in range(0, len(own), self.chunk):
                some = own[start : start + self.chunk]
                padded = some[
                    np.minimum(np.arange(self.chunk), len(some) - 1)
                ]  # products of fewer rows differ in their last bits
                drawn = _Chunk(self, uniforms[:, padded], padded, allowed or {}, known, frozenset(first), style, nulls).draw(
                    order
                )
                out[some] = drawn[: len(some)]
        return out

    def spelling(self, column: int, allowed: Automaton, last: bool, nulls: bool) -> Spelling:
        """The spelling of a column's cells, kept once made."""
        key = (column, last, nulls, allowed.start, allowed.next.tobytes())
        if key not in self._spellings:
            if len(self._spellings) >= KEPT_SPELLINGS:
                self._spellings.clear()
                self.vocabulary.forget()
            self._spellings[key] = self.script.spelling(column, allowed, last, nulls)
        return self._spellings[key]

    def _patterns(self, rows: int, known: Known | None) -> list[tuple[npt.NDArray[np.int64], list[int]]]:
        """Rows that know the same closed columns, and these columns."""
        columns = [c for c in self.script.columns if c not in self.script.text_of]
        if known is None or not columns:
            return [(np.arange(rows), [])]
        have = np.stack([known.mask[:, self.script.codec.slots[c][0]] for c in columns], axis=1)
        patterns, which = np.unique(have, axis=0, return_inverse=True)
        named = [[c for c, has in zip(columns, pattern, strict=True) if has] for pattern in patterns]
        return [(np.flatnonzero(which.reshape(-1) == n), own) for n, own in enumerate(named)]

    @cached_property
    def prefix(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values [1, heads, length, width] of all of the prompt but its last token, for each layer."""
        cache = RowCache(1, [])
        if len(self.prompt) > 1:
            with torch.inference_mode():
                feed(self.model, cache, [list(self.prompt[:-1])])
        return cache.beginning()


def chunk_of(model: Any, script: RowScript) -> int:
    """Rows that are drawn together: as many as keep their cache within CACHE_BYTES."""
    config = model.config
    row = 8 * config.num_hidden_layers * config.hidden_size * max(STRETCH, 2 * script.width)
    return int(max(8, min(CHUNK, CACHE_BYTES // row // 8 * 8)))


class RowCache:
    """The keys and values of a chunk, where each row has its own length; what a transformers model takes as its cache."""

    is_compileable = False

    def __init__(self, rows: int, prefix: list[tuple[Tensor, Tensor]]) -> None:
        length = prefix[0][0].shape[2] if prefix else 0
        self._rows, self._room = rows, 0
        self.lengths = torch.full((rows,), length)
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._where = torch.zeros((rows, 0), dtype=torch.int64)
        self._prefix = prefix

    def open(self, steps: int) -> Tensor:
        """Makes room for `steps` tokens of each row; the attention mask, float32 [rows, 1, steps, room]."""
        needed = int(self.lengths.max()) + steps
        self._room = max(self._room, -(-needed // STRETCH) * STRETCH)
        self._where = self.lengths[:, None] + torch.arange(steps)[None, :]
        seen = torch.arange(self._room)[None, None, :] <= self._where[:, :, None]
        return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[:, None]

    @property
    def where(self) -> Tensor:
        """The places of the tokens that are fed, int64 [rows, steps]."""
        return self._where

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Called by each layer: its new keys and values [rows, heads, steps, width] in, all of them out."""
        layer = tuple(self._grown(layer_idx, which, new) for which, new in enumerate((keys, values)))
        for held, new in zip(layer, (keys, values), strict=True):
            held[torch.arange(self._rows)[:, None], :, self._where] = new.transpose(1, 2)
        self._layers[layer_idx] = (layer[0], layer[1])
        return layer[0], layer[1]

    def _grown(self, layer: int, which: int, new: Tensor) -> Tensor:
        held = self._layers.get(layer)
        if held is not None and held[which].shape[2] == self._room:
            return held[which]
        out = new.new_zeros(self._rows, new.shape[1], self._room, new.shape[3])
        old = held[which] if held is not None else self._prefix[layer][which] if self._prefix else None
        if old is not None:
            out[:, :, : old.shape[2]] = old
        return out

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Asked by models that place tokens by themselves; here each token is given its place."""
        return 0

    def beginning(self) -> list[tuple[Tensor, Tensor]]:
        """The keys and values of the first row, cut to its length."""
        length = int(self.lengths[0])
        return [(k[:1, :, :length], v[:1, :, :length]) for _, (k, v) in sorted(self._layers.items())]


def feed(model: nn.Module, cache: RowCache, tokens: Sequence[Sequence[int]]) -> Tensor:
    """Feeds each row its tokens, which may be none; the logits [rows, vocabulary] behind
    them, which mean nothing for a row without tokens."""
    counts = torch.tensor([len(own) for own in tokens])
    steps = int(counts.max())
    ids = torch.zeros((len(tokens), steps), dtype=torch.int64)
    for row, own in enumerate(tokens):
        ids[row, : len(own)] = torch.tensor(own, dtype=torch.int64)
    mask = cache.open(steps)
    # what a row is not fed lies behind its length: it is never seen, and is overwritten
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=cache.where, past_key_values=cache, use_cache=True, return_dict=True
    ).logits
    cache.lengths += counts
    out: Tensor = logits[torch.arange(len(tokens)), (counts - 1).clamp(min=0)]
    return out


class _Chunk:
    """Some rows while they are drawn."""

    def __init__(
        self,
        model: LlmSampler,
        uniforms: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        allowed: Mapping[int, Allowed],
        known: Known | None,
        first: frozenset[int],
        style: Style,
        nulls: bool,
    ) -> None:
        self._model, self._script, self._rows, self._style, self._nulls = model, model.script, rows, style, nulls
        self._uniforms = torch.from_numpy(np.ascontiguousarray(uniforms)).clamp(max=UNPICKABLE)
        self._allowed, self._known, self._first = allowed, known, first
        self._tokens = np.zeros((len(rows), model.script.layout.places), np.uint16)
        self._cache = RowCache(len(rows), model.prefix)
        self._pending: list[list[int]] = [[model.prompt[-1]] for _ in rows]
        self._draws = np.zeros(len(rows), np.int64)

    def draw(self, order: Sequence[int]) -> Tokens:
        """Tokens of the rows, uint16 [rows, places]; columns are told in `order`."""
        with torch.inference_mode():
            for at, column in enumerate(order):
                key = self._model.vocabulary.encode(self._script.key(column, at == 0))
                for own in self._pending:
                    own += key
                last = at + 1 == len(order)
                if column in self._first:
                    self._give(column, last)
                else:
                    self._cell(column, last)
        return self._tokens

    def _give(self, column: int, last: bool) -> None:
        """Takes the cell that each row has already."""
        assert self._known is not None
        place = self._script.places(column)
        self._tokens[:, place] = self._known.tokens[self._rows, place]
        for own, tokens in zip(self._pending, self._tokens[:, place], strict=True):
            own += self._model.vocabulary.encode(self._script.cell(column, tokens, last))

    def _cell(self, column: int, last: bool) -> None:
        script = self._script
        is_text = column in script.text_of
        wanted = self._allowed.get(column) or Allowed([ANY if is_text else script.automata[column]])
        nulls = self._nulls and is_text and script.text_of[column][0].nulls
        spellings = [self._model.spelling(column, a, last, nulls) for a in wanted.automata]
        several = len(spellings) > 1 and wanted.groups is not None
        groups = wanted.groups[self._rows] if several and wanted.groups is not None else np.zeros(len(self._rows), np.int64)
        states = np.array([s.start for s in spellings], np.int64)[groups]
        room = script.room(column) if is_text else script.longest(column)
        spelled = [bytearray() for _ in self._rows]
        while (active := np.flatnonzero(states != Spelling.END)).size:
            waits = states == Spelling.END  # what comes behind the cell of such a row is fed with its next one
            logits = feed(self._model.model, self._cache, [[] if w else p for w, p in zip(waits, self._pending, strict=True)])
            self._pending = [own if w else [] for w, own in zip(waits, self._pending, strict=True)]
            key = groups[active] * (int(states.max()) + 1) + states[active]
            for which in np.unique(key):
                own = active[key == which]
                self._pick(spellings[groups[own[0]]], own, logits, states, spelled, room)
        places = script.places(column)
        for row, cell in enumerate(spelled):
            self._tokens[row, places] = script.read(column, bytes(cell))

    def _pick(
        self,
        spelling: Spelling,
        rows: npt.NDArray[np.int64],
        logits: Tensor,
        states: npt.NDArray[np.int64],
        spelled: list[bytearray],
        room: int,
    ) -> None:
        """Draws the next token of `rows`, which stand in the same state. A text that is out of room has to end."""
        choices = self._model.vocabulary.choices(spelling, int(states[rows[0]]))
        left = np.array([room - len(spelled[row]) for row in rows])
        own = logits[torch.from_numpy(rows)][:, torch.from_numpy(choices.ids)]
        if left.min() < self._model.vocabulary.longest and spelling.grows(int(states[rows[0]])):
            own = own.masked_fill(torch.from_numpy(choices.lengths[None, :] > left[:, None]), -torch.inf)
        uniform = self._uniforms[torch.from_numpy(self._draws[rows]), torch.from_numpy(rows)]
        drawn = pick(own, len(choices.ids), uniform, None, self._style).numpy()
        self._draws[rows] += 1
        for row, choice, space in zip(rows, drawn, left, strict=True):
            token = int(choices.ids[choice])
            state = int(choices.states[choice])
            self._pending[row].append(token)
            spelled[row] += self._model.vocabulary.tokens[token] or b""
            states[row] = spelling.ending(state) if choices.lengths[choice] >= space else state
