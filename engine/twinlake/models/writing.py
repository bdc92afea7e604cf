"""Draws rows from a trained language model: column by column, under the automaton of each.

Only legal values get a chance, so no row is ever thrown away; places that are forced cost no step. What a row is given comes
first in the order of telling. Rows are drawn in chunks, each row from its own uniform numbers: which chunk it is in can't be
seen. Single-threaded torch; knows nothing of Spark or of files.

Texts told of a row that another model drew follow it more closely than was learned: logits are l + g (l - l0), l0 those of a
row of which nothing is known (classifier-free guidance, Ho and Salimans, arXiv 2207.12598). A network that saw few rows knows
words better than it knows which rows they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twinlake.core.seeds import generator
from twinlake.models.automaton import Automaton, joined
from twinlake.models.column import Tokens
from twinlake.models.cores import LanguageSettings, Steps, steps_of
from twinlake.models.folded import linear
from twinlake.models.layout import Layout
from twinlake.models.sampler import BLOCK_ROWS, PADDED_ROWS, PLAIN, Known, Style, pick
from twinlake.models.tokenizer import END, NULL

CHUNK = {"lstm": 1_024, "transformer": 512}
UNPICKABLE = 1.0 - 1e-6


@dataclass(frozen=True)
class Allowed:
    """What may be drawn in a column: one automaton, or one for each group of rows; `groups` int64 [rows]."""

    automata: Sequence[Automaton]
    groups: npt.NDArray[np.int64] | None = None


@dataclass
class LanguageSampler:
    """A language model ready to draw. `automata`: of each closed column; `drawable` [pieces]; `nulls`: text columns that
    may be null. `calibration`: an offset of each closed id, for unconditional draws only. `texts`: whether texts are written;
    without, their places are 0 and all others as they were."""

    layout: Layout
    settings: LanguageSettings
    weights: dict[str, Tensor]
    automata: Mapping[int, Automaton]
    drawable: npt.NDArray[np.bool_]
    nulls: frozenset[int]
    calibration: list[Tensor] | None = None
    texts: bool = True
    _heads: Tensor = field(init=False, repr=False)
    _text_mask: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._heads = self.weights["embed"] @ self.weights["out"]
        self._text_mask = torch.from_numpy(np.where(self.drawable, 0.0, -np.inf).astype(np.float32))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values of each closed place."""
        return self.layout.sizes

    @property
    def numbers(self) -> int:
        """Uniform numbers that a row takes."""
        return self.layout.places

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
        """Tokens, uint16 [rows, places], of `uniforms` [places, rows] in [0, 1). `known`: tokens of closed places that rows
        have already; columns that a row knows are told first, then those in `allowed`, then the rest. `nulls`: whether texts
        may be null where real ones are."""
        out = np.zeros((uniforms.shape[1], self.layout.places), np.uint16)
        for rows, columns in self._patterns(uniforms.shape[1], known):
            size = CHUNK[self.settings.core]
            for start in range(0, len(rows), size):
                own = rows[start : start + size]
                # products of a few rows differ in their last bits, and oneDNN compiles code for each new number of rows
                padded = own[np.minimum(np.arange(-(-len(own) // PADDED_ROWS) * PADDED_ROWS), len(own) - 1)]
                chunk = _Chunk(self, uniforms[:, padded], padded, allowed or {}, known, columns, style, nulls)
                out[own] = chunk.draw()[: len(own)]
        return out

    def _patterns(self, rows: int, known: Known | None) -> list[tuple[npt.NDArray[np.int64], list[int]]]:
        """Rows that know the same closed columns, and these columns."""
        if known is None:
            return [(np.arange(rows), [])]
        columns = [c for c, slots in enumerate(self.layout.slots) if slots]
        have = np.stack([known.mask[:, self.layout.slots[c][0]] for c in columns], axis=1)
        patterns, which = np.unique(have, axis=0, return_inverse=True)
        named = [[c for c, has in zip(columns, pattern, strict=True) if has] for pattern in patterns]
        return [(np.flatnonzero(which.reshape(-1) == n), columns_) for n, columns_ in enumerate(named)]


class _Chunk:
    """Some rows while they are drawn."""

    def __init__(
        self,
        model: LanguageSampler,
        uniforms: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        allowed: Mapping[int, Allowed],
        known: Known | None,
        first: list[int],
        style: Style,
        nulls: bool,
    ) -> None:
        layout, count = model.layout, uniforms.shape[1]
        self._model, self._layout, self._rows, self._style = model, layout, rows, style
        self._uniforms = torch.from_numpy(np.ascontiguousarray(uniforms)).clamp(max=UNPICKABLE)
        self._allowed, self._known, self._first = allowed, known, first
        self._nulls = model.nulls if nulls else frozenset()
        self._plain = not allowed and known is None and style.plain
        self.tokens = torch.zeros((layout.places, count), dtype=torch.int64)
        self._before = torch.full((count,), layout.ids)
        self._memory = torch.zeros(count, model.settings.embedding_dim)
        self._text_at = sum(layout.sizes)
        steps = sum(len(places) for _, places in layout.columns)
        core = {n.removeprefix("core."): t for n, t in model.weights.items() if n.startswith("core.")}
        self._core: Steps = steps_of(model.settings, core, count, steps)
        self._blind = steps_of(model.settings, core, count, steps) if layout.given and style.guidance else None

    def draw(self) -> Tokens:
        """Tokens of the rows, uint16 [rows, places]."""
        layout = self._layout
        with torch.inference_mode():
            if layout.given:
                self._remember()
            else:
                closed = [c for c, slots in enumerate(layout.slots) if slots]
                order = [*self._first, *(c for c in self._allowed if c not in self._first and c in closed)]
                for column in [*order, *(c for c in closed if c not in order)]:
                    self._closed(column)
            place = layout.closed
            for column, bound in layout.texts if self._model.texts else ():
                self._text(column, place, bound)
                place += bound
        return self.tokens.T.to(torch.uint16).numpy()

    def _remember(self) -> None:
        """Takes the closed cells of a row as given; those that it does not know have an embedding of their own."""
        assert self._known is not None
        layout, memory = self._layout, self._model.weights["memory"]
        self.tokens[: layout.closed] = torch.from_numpy(self._known.tokens[self._rows, : layout.closed].astype(np.int64).T)
        mask = torch.from_numpy(np.ascontiguousarray(self._known.mask[self._rows, : layout.closed].T))
        for place in range(layout.closed):
            ids = self.tokens[place] + int(layout.offsets[place])
            self._memory += memory[torch.where(mask[place], ids, len(memory) - 1)]

    def _closed(self, column: int) -> None:
        layout, known = self._layout, column in self._first
        wanted = self._allowed.get(column, Allowed([self._model.automata[column]]))
        table_, starts = joined(wanted.automata)
        table = torch.from_numpy(table_)
        if len(wanted.automata) == 1 or wanted.groups is None:
            state = torch.full((self.tokens.shape[1],), int(starts[0]))
        else:
            state = torch.from_numpy(starts[wanted.groups[self._rows]])
        for place in layout.slots[column]:
            legal = (table[state] >= 0)[:, : layout.sizes[place]]
            told = place in layout.told
            h = self._step(place, None) if told else None
            if known:
                assert self._known is not None
                drawn = torch.from_numpy(self._known.tokens[self._rows, place].astype(np.int64))
            elif h is None or bool((legal.sum(1) == 1).all()):
                drawn = legal.to(torch.int8).argmax(1)
            else:
                drawn = self._pick(place, h, legal)
            if not known:
                state = table[state, drawn].to(torch.int64)
            self.tokens[place] = drawn
            if told:
                self._before = drawn + int(layout.offsets[place])
                self._memory += self._model.weights["memory"][self._before]

    def _step(self, place: int, rows: Tensor | None) -> Tensor:
        """What the core says of the next place, [n, width]."""
        return self._core.step(self._input(place, rows, self._memory if rows is None else self._memory[rows]), rows)

    def _input(self, place: int, rows: Tensor | None, memory: Tensor) -> Tensor:
        weights = self._model.weights
        x = weights["embed"][self._before if rows is None else self._before[rows]]
        return x + memory + weights["place"][int(self._layout.where[place])]

    def _pick(self, place: int, h: Tensor, legal: Tensor) -> Tensor:
        model, start, size = self._model, int(self._layout.offsets[place]), self._layout.sizes[place]
        logits = linear(h, model._heads[start : start + size], model.weights["bias"][start : start + size])
        if self._plain and model.calibration is not None:
            logits = logits + model.calibration[place]
        logits = logits.masked_fill_(~legal, -torch.inf)
        return pick(logits, size, self._uniforms[place], None, self._style).to(torch.int64)

    def _text(self, column: int, place: int, bound: int) -> None:
        model, start, size = self._model, self._text_at, self._layout.pieces
        head, bias = model._heads[start : start + size], model.weights["bias"][start : start + size]
        active = torch.arange(self.tokens.shape[1])
        for at in range(bound):
            # a whole number of registers, for the same reason as whole chunks
            padded = active[torch.arange(-(-len(active) // PADDED_ROWS) * PADDED_ROWS).clamp(max=len(active) - 1)]
            rows = None if len(active) == self.tokens.shape[1] else padded
            learned = linear(self._step(place + at, rows)[: len(active)], head, bias)
            logits = learned if self._blind is None else self._guided(learned, place + at, rows, head, bias)
            logits, learned = logits + model._text_mask, learned + model._text_mask
            if at or column not in self._nulls:
                logits[:, NULL] = learned[:, NULL] = -torch.inf
            if self._blind is not None:
                _as_likely(logits, learned)
            drawn = pick(logits, size, self._uniforms[place + at][active], None, self._style).to(torch.int64)
            self.tokens[place + at, active] = drawn
            self._before[active] = drawn + start
            active = active[(drawn != END) & (drawn != NULL)]
            if not len(active):
                break

    def _guided(self, learned: Tensor, place: int, rows: Tensor | None, head: Tensor, bias: Tensor) -> Tensor:
        """The logits `learned` drawn away from those of a row of which nothing is known."""
        assert self._blind is not None
        nothing = self._model.weights["memory"][-1] * self._layout.closed
        blind = linear(self._blind.step(self._input(place, rows, nothing), rows)[: len(learned)], head, bias)
        return learned + self._style.guidance * (learned - blind)


def _as_likely(logits: Tensor, learned: Tensor) -> None:
    """Makes NULL and END as likely among `logits` as they are among `learned`, [rows, pieces], in place: guidance is about what
    a text says, not whether it is there and how long it is."""
    marks = torch.tensor([NULL, END])
    words = torch.ones(learned.shape[1], dtype=torch.bool)
    words[marks] = False
    logits[:, marks] = learned[:, marks] + (logits[:, words].logsumexp(1) - learned[:, words].logsumexp(1))[:, None]
