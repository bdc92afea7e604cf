"""Draws rows from a trained tabular network, block by block.

At load time the network is folded (models/folded.py). A block is 4,096 rows whose randomness is Philox keyed by (seed, block,
attempt): the same rows come out on any task, in any order. Single-threaded torch; knows nothing of Spark or of files but
the model folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twinlake.core.seeds import generator
from twinlake.models.automaton import Automaton
from twinlake.models.column import Tokens
from twinlake.models.folded import Folded

BLOCK_ROWS = 4_096
MAX_LEADS = 2_000_000
PADDED_ROWS = 128


@dataclass(frozen=True)
class Given:
    """A condition on one column: the share that may be drawn of each value of its first token, float64 [V0], and of each
    pair with its second one, float64 [V0, V1]. 0 is never drawn; what lies between (a bin that a range cuts) is drawn as
    much less often. Where groups of rows have conditions of their own, both have a first axis more: [G, V0], [G, V0, V1].
    `words`: of a column told digit by digit, the cells that are left."""

    column: int
    first: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64] | None = None
    words: Automaton | None = None


@dataclass(frozen=True)
class Known:
    """Cells that rows have already: their `tokens`, uint16 [rows, S], and which of them count, bool [rows, S]."""

    tokens: Tokens
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Style:
    """How boldly values are drawn: logits are divided by `temperature`; of the likeliest values as many as reach the share
    `top_p` may be drawn (Holtzman et al., "The curious case of neural text degeneration", ICLR 2020). `guidance`: how much
    closer texts follow the rest of their row than was learned (see models/writing.py)."""

    temperature: float = 1.0
    top_p: float = 1.0
    guidance: float = 0.5

    @property
    def plain(self) -> bool:
        """Whether values are drawn as likely as they were learned."""
        return self.temperature == 1.0 and self.top_p == 1.0


PLAIN = Style()


@dataclass(frozen=True)
class _Link:
    """Column `a` decides column `b`. `forced`: tokens of b for each code of a, int32 [codes of a, slots of b], -1 where
    unknown; `codes`: the code of b for each value of a's tokens, [V0, V1]; `leads`: log of 0 or 1, whether a first token of
    a can lead to a code of b, [codes of b, V0], None where it would be large. `width`: values of the last token."""

    a: int
    b: int
    width: int
    b_width: int
    forced: Tensor
    codes: Tensor
    leads: Tensor | None


@dataclass(frozen=True)
class Door:
    """Column `by` opens `column`: `opened`, bool [V0], says which values of its first token do. Behind a closed one only the
    value `null` may be drawn, behind an open one any, and where `filled` any but null."""

    column: int
    by: int
    opened: npt.NDArray[np.bool_]
    null: int
    filled: bool


@dataclass
class TabularSampler:
    """A folded network. `order` is the canonical column order, `slots` the tokens of each column. `calibration`: an offset
    of each head, for unconditional draws only. `doors`: by the column that is opened."""

    sizes: tuple[int, ...]
    slots: tuple[tuple[int, ...], ...]
    order: list[int]
    targets: list[Folded]
    calibration: list[Tensor] | None = None
    links: tuple[_Link, ...] = ()
    doors: Mapping[int, Door] = field(default_factory=dict)

    @classmethod
    def fold(
        cls,
        weights: dict[str, Tensor],
        facts: dict[str, Any],
        drawable: dict[int, npt.NDArray[np.bool_]],
        determines: Sequence[tuple[int, int, Sequence[int]]] = (),
        doors: Sequence[Door] = (),
    ) -> TabularSampler:
        """The sampler of saved `weights` and the `facts` of model.json; `drawable`: what may be drawn of each column's
        first token; `determines`: (a, b, the code of b for each code of a or -1), see models/relations.py."""
        sizes = tuple(facts["sizes"])
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        width, blocks = facts["settings"]["embedding"], facts["settings"]["blocks"]
        heads, biases = heads_of(weights, sizes)
        for column, allowed in drawable.items():
            token = facts["slots"][column][0]
            biases[token] = torch.where(torch.from_numpy(allowed), biases[token], torch.tensor(-torch.inf))
        targets = []
        for t, parents in enumerate(facts["parents"]):
            parents = list(dict.fromkeys(parents))
            into = weights["into"][t].reshape(-1, width, weights["into"].shape[2])
            tables = [weights["embed"][offsets[p] : offsets[p + 1]] @ into[k] for k, p in enumerate(parents)]
            named = [[weights[f"blocks.{3 * b + i}"][t] for i in range(3)] for b in range(blocks)]
            layers = [(first, bias[0], second) for first, bias, second in named]
            targets.append(Folded.of(parents, tables, weights["into_bias"][t, 0], layers, heads[t], biases[t]))
        calibration = (
            [weights["calibration"][offsets[t] : offsets[t + 1]] for t in range(len(sizes))]
            if "calibration" in weights
            else None
        )
        slots = tuple(map(tuple, facts["slots"]))
        links = tuple(_link(a, b, map_, slots, sizes) for a, b, map_ in determines)
        by = {door.column: door for door in doors}
        return cls(sizes, slots, _doors_first(_deciding_first(facts["order"], links), by), targets, calibration, links, by)

    def in_bfloat16(self) -> TabularSampler:
        """The same with products in bfloat16: other rows, sooner drawn on processors that multiply it."""
        return replace(self, targets=[target.in_bfloat16() for target in self.targets])

    def draw(self, block: int, seed: int, attempt: int = 0, given: Sequence[Given] = (), rows: int = BLOCK_ROWS) -> Tokens:
        """Tokens of a whole block, uint16 [rows, S]; see `draw_rows`."""
        return self.draw_rows(generator(seed, block, attempt).random((len(self.sizes), rows), dtype=np.float32), given)

    def draw_rows(
        self,
        uniforms: npt.NDArray[np.float32],
        given: Sequence[Given] = (),
        groups: npt.NDArray[np.int64] | None = None,
        known: Known | None = None,
        style: Style = PLAIN,
    ) -> Tokens:
        """Tokens, uint16 [rows, S], of `uniforms` [S, rows] in [0, 1).

        Columns that are known in all rows come first, then `given` ones, which take allowed values only (`groups` [rows]:
        which of a Given's groups a row is in); what is known in some rows is seen by all draws of those rows.
        """
        rows = uniforms.shape[1]
        # products of a few rows differ in their last bits, and oneDNN compiles code for each new number of rows
        padded = np.minimum(np.arange(-(-rows // PADDED_ROWS) * PADDED_ROWS), rows - 1)
        if len(padded) > rows:
            uniforms = uniforms[:, padded]
            groups = None if groups is None else groups[padded]
            known = None if known is None else Known(known.tokens[padded], known.mask[padded])
        drawn = torch.from_numpy(uniforms).clamp(max=1.0 - 1e-6)
        state = _State.of(len(self.sizes), drawn.shape[1], known)
        first = [g.column for g in given]
        order = _doors_first(first + [c for c in self.order if c not in first], self.doors)
        wanted = {self.slots[g.column][0]: _log(g.first) for g in given}
        wanted |= {self.slots[g.column][1]: _log(g.second) for g in given if g.second is not None}
        row_groups = None if groups is None else torch.from_numpy(groups)
        calibrated = self.calibration is not None and not given and known is None and style.plain
        with torch.inference_mode():
            for column in order:
                forced = self._forced(column, state) if self.slots[column][0] not in wanted else None
                opened = self._opened(column, state)
                for place, token in enumerate(self.slots[column]):
                    if token in state.seen:
                        continue
                    shares = wanted.get(token)
                    if shares is not None:
                        by = [] if shares.dim() == 1 + place or row_groups is None else [row_groups]
                        by += [state.values[self.slots[column][0]]] if place else []
                        shares = shares[tuple(by)] if by else shares
                    if (allowed := self._allowed(column, place, state)) is not None:
                        shares = allowed if shares is None else shares + allowed
                    if opened is not None and self.doors[column].filled and not place:
                        never = torch.zeros((len(opened), self.sizes[token]))
                        never[:, self.doors[column].null] = torch.where(opened, -torch.inf, 0.0)
                        both = None if shares is None else shares + never
                        shares = never if both is None else torch.where(both.isneginf().all(1, keepdim=True), never, both)
                    if forced is not None and bool((forced[:, place] >= 0).all()):
                        state.put(token, forced[:, place])
                        continue
                    values = self._draw_token(token, state, drawn[token], shares, calibrated, style)
                    if forced is not None:
                        values = torch.where(forced[:, place] >= 0, forced[:, place], values)
                    if opened is not None:
                        values = torch.where(opened, values, 0 if place else self.doors[column].null)
                    state.put(token, values)
        return state.values[:, :rows].T.to(torch.uint16).numpy()

    def log_prob(self, tokens: Tokens) -> npt.NDArray[np.float32]:
        """The natural logarithm of the probability of rows of `tokens` [rows, S], as unconditional draws have it before links
        and doors, float32 [rows]; -inf for what is never drawn."""
        rows = len(tokens)
        padded = np.minimum(np.arange(-(-rows // PADDED_ROWS) * PADDED_ROWS), rows - 1)  # as draw_rows has it
        state = _State.of(len(self.sizes), len(padded), None)
        state.values = torch.from_numpy(np.ascontiguousarray(tokens[padded].T.astype(np.int32)))
        total = torch.zeros(len(padded))
        with torch.inference_mode():
            for token in (token for column in self.order for token in self.slots[column]):
                offsets = self.calibration[token] if self.calibration is not None else None
                logits = self.targets[token].logits(self._ids(token, state), offsets)
                told = logits.log_softmax(1).expand(len(padded), -1)
                total += told.gather(1, state.values[token].long()[:, None])[:, 0]
                state.seen.add(token)
        return np.asarray(total[:rows].numpy())

    def _opened(self, column: int, state: _State) -> Tensor | None:
        """The rows, bool [rows], in which the door of a column is open; None where that is not known yet or it has none."""
        door = self.doors.get(column)
        slot = self.slots[door.by][0] if door is not None else -1
        return torch.from_numpy(door.opened)[state.values[slot]] if door is not None and slot in state.seen else None

    def _forced(self, column: int, state: _State) -> Tensor | None:
        """The tokens [rows, slots] that a column drawn before leaves for this one; -1 where it leaves them open."""
        for link in self.links:
            if link.b == column and all(t in state.seen for t in self.slots[link.a]):
                return link.forced[_codes(state.values, self.slots[link.a], link.width)]
        return None

    def _allowed(self, column: int, place: int, state: _State) -> Tensor | None:
        """Log shares [rows, V] of the values that lead to what is known of a column that this one decides."""
        total: Tensor | None = None
        for link in self.links:
            slots = self.slots[link.b]
            if link.a != column or link.leads is None or not all(t in state.seen or t in state.partly for t in slots):
                continue
            known = _codes(state.values, slots, link.b_width)
            if place == 0:
                shares = link.leads[known]
            else:
                shares = (link.codes[state.values[self.slots[column][0]]] == known[:, None]).float().log_()
            if slots[0] not in state.seen:
                shares = torch.where(state.partly[slots[0]][:, None], shares, 0.0)
            shares = torch.where(shares.isneginf().all(1, keepdim=True), 0.0, shares)  # a value that nothing leads to
            total = shares if total is None else total + shares
        return total

    def _draw_token(
        self, token: int, state: _State, uniform: Tensor, shares: Tensor | None, calibrated: bool, style: Style
    ) -> Tensor:
        if shares is not None and shares.dim() == 1 and int(shares.isfinite().sum()) == 1:
            return torch.full_like(state.values[token], int(shares.argmax()))
        offsets = self.calibration[token] if calibrated and self.calibration else None
        logits = self.targets[token].logits(self._ids(token, state), offsets)
        return pick(logits, self.sizes[token], uniform, shares, style)

    def _ids(self, token: int, state: _State) -> Tensor | None:
        """The rows of the token's table that are added up, int32 [rows, known parents]; None where nothing is known."""
        target = self.targets[token]
        known = [
            (p, s)
            for p, s in zip(target.parents, target.starts, strict=True)
            if p in state.seen or (p in state.partly and p != token)
        ]
        if not known:
            return None
        parents, starts = torch.tensor(known, dtype=torch.int32).T
        ids = state.values.index_select(0, parents).add_(starts[:, None])
        for place, (parent, _) in enumerate(known):
            if parent not in state.seen:
                ids[place].masked_fill_(~state.partly[parent], len(target.table) - 1)
        return ids.T.contiguous()


@dataclass
class _State:
    """Token values so far, int32 [S, rows]; the tokens `seen` in all rows; of those known in some rows, which rows."""

    values: Tensor
    seen: set[int]
    partly: dict[int, Tensor]

    @classmethod
    def of(cls, tokens: int, rows: int, known: Known | None) -> _State:
        if known is None:
            return cls(torch.zeros((tokens, rows), dtype=torch.int32), set(), {})
        values = torch.from_numpy(np.ascontiguousarray(np.where(known.mask, known.tokens, 0).T.astype(np.int32)))
        every, some = known.mask.all(axis=0), known.mask.any(axis=0)
        partly = {t: torch.from_numpy(np.ascontiguousarray(known.mask[:, t])) for t in np.flatnonzero(some & ~every).tolist()}
        return cls(values, set(np.flatnonzero(every).tolist()), partly)

    def put(self, token: int, drawn: Tensor) -> None:
        """Takes what was drawn where it was not known."""
        mask = self.partly.get(token)
        self.values[token] = drawn if mask is None else torch.where(mask, self.values[token], drawn)
        self.seen.add(token)


def pick(logits: Tensor, size: int, uniform: Tensor, shares: Tensor | None, style: Style) -> Tensor:
    """Values below `size`, int32 [rows], drawn by inversion of logits [rows or 1, padded size] at `uniform` [rows]."""
    if style.temperature != 1.0:
        logits = logits / style.temperature
    if shares is not None:
        logits = logits + torch.nn.functional.pad(shares, (0, logits.shape[1] - size))
    weights = logits.softmax(1)[:, :size]
    cumulative = (weights if style.top_p == 1.0 else _likeliest(weights, style.top_p)).cumsum(1)
    if len(cumulative) == 1:
        cumulative = cumulative.expand(len(uniform), -1).contiguous()
    return torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True, out_int32=True)[:, 0]


def _likeliest(weights: Tensor, top_p: float) -> Tensor:
    """`weights` [rows, V], 0 for those outside the smallest set of the largest that holds the share `top_p`."""
    largest, places = weights.sort(dim=1, descending=True)
    before = largest.cumsum(1) - largest
    kept = torch.where(before < top_p * largest.sum(1, keepdim=True), largest, 0.0)
    return torch.zeros_like(weights).scatter_(1, places, kept)


def _deciding_first(order: Sequence[int], links: Sequence[_Link]) -> list[int]:
    """`order` with each decided column right behind the first that decides it, unless one is before it already: what is
    looked up should be seen where training showed it, and no earlier than it is known."""
    out = list(order)
    for column in order:
        deciding = [out.index(link.a) for link in links if link.b == column]
        if deciding and min(deciding) > out.index(column):
            out.remove(column)
            out.insert(min(deciding), column)  # one place less since it is gone
    return out


def _doors_first(order: Sequence[int], doors: Mapping[int, Door]) -> list[int]:
    """`order` with each column behind the one that opens it."""
    out: list[int] = []

    def add(column: int) -> None:
        if column not in out:
            if column in doors:
                add(doors[column].by)
            out.append(column)

    for column in order:
        add(column)
    return out


def _link(a: int, b: int, map_: Sequence[int], slots: tuple[tuple[int, ...], ...], sizes: tuple[int, ...]) -> _Link:
    width, b_width = sizes[slots[a][-1]], sizes[slots[b][-1]]
    codes = torch.tensor(map_, dtype=torch.int64)
    both = [codes] if len(slots[b]) == 1 else [codes.div(b_width, rounding_mode="floor"), codes % b_width]
    forced = torch.stack(both, dim=1)
    forced = torch.where(codes[:, None] >= 0, forced, -1).to(torch.int32)
    a_codes = codes.reshape(sizes[slots[a][0]], -1)
    b_codes = sizes[slots[b][0]] * (b_width if len(slots[b]) == 2 else 1)
    leads = None
    if b_codes * len(a_codes) <= MAX_LEADS:
        leads = torch.full((b_codes, len(a_codes)), -torch.inf)
        first, second = (a_codes >= 0).nonzero(as_tuple=True)
        leads[a_codes[first, second], first] = 0.0
    return _Link(a, b, width, b_width, forced, a_codes, leads)


def _codes(values: Tensor, slots: tuple[int, ...], width: int) -> Tensor:
    return values[slots[0]] if len(slots) == 1 else values[slots[0]] * width + values[slots[1]]


def _log(shares: npt.NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(shares.astype(np.float32)).log_()


def heads_of(weights: dict[str, Tensor], sizes: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """The heads [hidden, values] and biases [values] of saved weights, token by token, without the padding of their groups."""
    from twinlake.models.tabular import head_groups

    heads: list[Tensor] = [torch.empty(0)] * len(sizes)
    biases: list[Tensor] = [torch.empty(0)] * len(sizes)
    for number, group in enumerate(head_groups(sizes)):
        for place, token in enumerate(group):
            heads[token] = weights[f"heads.{number}"][place, :, : sizes[token]].contiguous()
            biases[token] = weights[f"head_bias.{number}"][place, 0, : sizes[token]].contiguous()
    return heads, biases
