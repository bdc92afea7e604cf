"""The `marginal` family: a tree of tokens, each drawn from a table of its shares beside the values that it hangs on.

What is known of a row is passed up the tree and drawn down again (Pearl, "Probabilistic reasoning in intelligent systems",
1988, chapter 4), so any columns may be known and the others follow their exact shares given those. Blocks, conditions and
styles are those of the tabular sampler; plain numpy, single-threaded but for products of known cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from twinlake.core.seeds import generator
from twinlake.models.column import Tokens
from twinlake.models.sampler import BLOCK_ROWS, PADDED_ROWS, PLAIN, Given, Known, Style
from twinlake.models.token_tables import TokenTree

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[np.int64]
Groups = npt.NDArray[np.int64] | None
LARGEST_UNIFORM = 1.0 - 1e-6
ROWS_AT_ONCE = 1_024


@dataclass(frozen=True)
class _Evidence:
    """What is asked of some rows: `first`: shares by first token, [1 or rows, V]; `second`: shares by second token, [1 or
    groups, V0, V1]; `values` int64 and `mask` bool [S, rows]: known cells. `groups`: the group of each row."""

    first: Mapping[int, Floats]
    second: Mapping[int, Floats]
    values: Values | None
    mask: npt.NDArray[np.bool_] | None
    groups: Groups

    def known(self, token: int) -> npt.NDArray[np.bool_] | None:
        """The rows in which a token is known, None where there are none."""
        return self.mask[token] if self.mask is not None and self.mask[token].any() else None

    def asked(self, token: int) -> npt.NDArray[np.bool_]:
        """The rows in which something is asked of a first token, bool [rows or 1]."""
        mask = self.known(token)
        return np.full(1, token in self.first) if mask is None else mask | (token in self.first)


@dataclass
class TreeSampler:
    """`tables[t]`, float64 of the tree's shape of token t: shares of its values beside what it hangs on, those that may be
    drawn of sum 1. `drawable`: by first token. `determines`: (a, b, the code of column b for each code of column a or -1), see
    models/relations.py."""

    tree: TokenTree
    slots: tuple[tuple[int, ...], ...]
    tables: list[Floats]
    drawable: Mapping[int, npt.NDArray[np.bool_]]
    determines: Sequence[tuple[int, int, Sequence[int]]] = ()
    _ready: dict[Style, list[Floats]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for token, table in enumerate(self.tables):
            mass = (table * self._may(token)).sum(axis=2, keepdims=True)
            usual = table.sum(axis=(0, 1)) * self._may(token)  # beside a value where nothing else may be drawn
            self.tables[token] = np.where(mass > 0, table / np.where(mass > 0, mass, 1.0), usual / max(usual.sum(), 1e-300))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values of each token."""
        return self.tree.sizes

    @cached_property
    def _order(self) -> list[int]:
        return self.tree.order

    def draw(self, block: int, seed: int, attempt: int = 0, given: Sequence[Given] = (), rows: int = BLOCK_ROWS) -> Tokens:
        """Tokens of a whole block, uint16 [rows, S]; see `draw_rows`."""
        return self.draw_rows(generator(seed, block, attempt).random((len(self.sizes), rows), dtype=np.float32), given)

    def draw_rows(
        self,
        uniforms: npt.NDArray[np.float32],
        given: Sequence[Given] = (),
        groups: Groups = None,
        known: Known | None = None,
        style: Style = PLAIN,
    ) -> Tokens:
        """Tokens, uint16 [rows, S], of `uniforms` [S, rows] in [0, 1).

        The arguments are those of the tabular sampler. Conditions are met exactly: rows have the shares that the tree gives
        to all columns together among the rows that meet them. What no row of the tree meets is taken as it is given.
        """
        rows = uniforms.shape[1]
        if groups is None and known is None:
            return self._drawn(uniforms, self._evidence(given, None, None), style)
        out = np.empty((rows, len(self.sizes)), np.uint16)
        for start in range(0, rows, ROWS_AT_ONCE):  # bounds the memory of shares by row
            some = np.arange(start, min(start + ROWS_AT_ONCE, rows))
            # products of a few rows differ in their last bits
            padded = np.append(some, np.repeat(some[-1:], -len(some) % PADDED_ROWS))
            cells = None if known is None else Known(known.tokens[padded], known.mask[padded])
            evidence = self._evidence(given, None if groups is None else groups[padded], cells)
            out[some] = self._drawn(uniforms[:, padded], evidence, style)[: len(some)]
        return out

    def log_prob(self, tokens: npt.NDArray[np.integer]) -> Floats:
        """Natural logarithm of the probability of each row of tokens [rows, S]; -inf where it can't be drawn."""
        values = tokens.T.astype(np.int64)
        total = np.zeros(len(tokens))
        for token, table in enumerate(self.tables):
            shares = table[(*self._beside(token, values), values[token])] * self._may(token)[values[token]]
            with np.errstate(divide="ignore"):
                total += np.log(shares)
        return total

    def _beside(self, token: int, values: Values) -> tuple[Values, Values]:
        """The values [rows] of the hub and of the parent of a token, 0 where it does not hang on them."""
        nothing, parent = np.zeros(values.shape[1], np.int64), self.tree.parents[token]
        return values[self.tree.hub] if self.tree.hubbed[token] else nothing, values[parent] if parent >= 0 else nothing

    def _may(self, token: int) -> npt.NDArray[np.bool_]:
        found = self.drawable.get(token)
        return np.ones(self.sizes[token], np.bool_) if found is None else found

    def _evidence(self, given: Sequence[Given], groups: Groups, known: Known | None) -> _Evidence:
        first, second = {}, {}
        for one in given:
            own = self.slots[one.column]
            shares = one.first * self._may(own[0])
            first[own[0]] = shares[None] if shares.ndim == 1 else shares[groups]
            if one.second is not None:
                second[own[1]] = one.second[None] if one.second.ndim == 2 else one.second
        if known is None:
            return _Evidence(first, second, None, None, groups)
        return _Evidence(first, second, known.tokens.T.astype(np.int64), np.ascontiguousarray(known.mask.T), groups)

    def _drawn(self, uniforms: npt.NDArray[np.float32], evidence: _Evidence, style: Style) -> Tokens:
        rows = uniforms.shape[1]
        drawn = np.minimum(uniforms.astype(np.float64), LARGEST_UNIFORM)
        likely, ready = self._upward(evidence), self._lookups(style)
        values, every = np.zeros((len(self.sizes), rows), np.int64), np.arange(rows)
        for token in self._order:
            mask, table = evidence.known(token), self.tables[token]
            if mask is not None and evidence.values is not None and mask.all():
                values[token] = evidence.values[token]
                continue
            (hub, above), shares, pairs = self._beside(token, values), likely.get(token), evidence.second.get(token)
            if shares is None and pairs is None:
                found = _look_up(ready[token], hub * table.shape[1] + above, drawn[token])
            elif (shares is None or len(shares) == 1) and (pairs is None or len(pairs) == 1):
                # shares of the hub's values stand beside the table's, which may not hang on it
                wanted = np.ones((1, 1, 1)) if shares is None else shares[0][:, None]
                asked = self._asked(token, table, wanted if pairs is None else wanted * pairs)
                row = (hub if len(asked) > 1 else 0) * table.shape[1] + above
                found = _look_up(_lookup(asked.reshape(-1, table.shape[2]), style), row, drawn[token])
            else:
                wanted = np.ones((1, 1))
                if shares is not None:
                    wanted = shares[every if len(shares) > 1 else 0, hub if shares.shape[1] > 1 else 0]
                if pairs is not None:
                    group = evidence.groups if len(pairs) > 1 and evidence.groups is not None else 0
                    wanted = wanted * pairs[group, above]
                found = _pick(self._asked(token, table[hub, above], wanted), drawn[token], style)
            if mask is not None and evidence.values is not None:
                found = np.where(mask, evidence.values[token], found)
            values[token] = found
        self._relate(values, drawn, evidence)
        return values.T.astype(np.uint16)

    def _asked(self, token: int, table: Floats, wanted: Floats) -> Floats:
        """`table` as far as the shares `wanted` ask for it; where that leaves nothing, what they ask for."""
        wanted = np.asarray(wanted * self._may(token))
        both = table * wanted
        impossible = ~both.any(axis=-1)
        if impossible.any():
            instead = np.where(wanted.any(axis=-1, keepdims=True), wanted, table * self._may(token))
            both[impossible] = np.broadcast_to(instead, both.shape)[impossible]
        return both

    def _upward(self, evidence: _Evidence) -> dict[int, Floats]:
        """By token how likely what is asked at it and below it is for each value of the hub and of its own, [1 or rows, 1 or
        hub, V] up to a factor; tokens at and below which nothing is asked are left out."""
        first = {token: (self._may(token) * shares)[:, None] for token, shares in evidence.first.items()}
        out = dict(first)
        for token in reversed(self._order):
            own, parent = out.get(token), self.tree.parents[token]
            if own is not None:
                out[token] = own = _scaled(own, first.get(token))
            message = self._message(token, own, evidence)
            if message is None or (parent < 0 and not self.tree.hubbed[token]):
                continue
            if parent < 0:  # a root tells the hub
                parent, message = self.tree.hub, message.transpose(0, 2, 1)
            before = out.get(parent)
            out[parent] = _scaled(message if before is None else before * message, before)
        return out

    def _message(self, token: int, shares: Floats | None, evidence: _Evidence) -> Floats | None:
        """How likely what is asked at and below a token is for the values of hub and parent, [1 or rows, 1 or hub, Vp]."""
        table, pairs, mask = self.tables[token], evidence.second.get(token), evidence.known(token)
        out: Floats | None = None
        if pairs is not None:  # a second token: on its first one alone, and with nothing below it
            out = (table * pairs * self._may(token)).sum(axis=2)[:, None]
            out = out if len(out) == 1 or evidence.groups is None else out[evidence.groups]
        elif shares is not None and (mask is None or not mask.all()):
            wanted = shares * self._may(token)
            out = np.matmul(wanted.transpose(1, 0, 2), table.transpose(0, 2, 1)).transpose(1, 0, 2)
        if mask is not None and evidence.values is not None:
            seen = table.transpose(2, 0, 1)[evidence.values[token]]
            out = np.where(mask[:, None, None], seen, 1.0 if out is None else out)
        return None if out is None else _scaled(out, None)

    def _relate(self, values: Values, drawn: Floats, evidence: _Evidence) -> None:
        """Makes columns agree of which one decides the other: those whose edge the tree does not have. A deciding column gives
        way where what it decides is asked for and it is not, drawn by its shares in all rows; else what is decided follows."""
        for number, (a, b, _) in enumerate(self.determines):
            if evidence.asked(self.slots[b][0]).any() and self.slots[a][0] not in evidence.first:
                wanted, decided = self._code(b, values), self._decided(number)
                off = (decided[self._code(a, values)] != wanted) & evidence.asked(self.slots[b][0])
                rows = np.flatnonzero(off & ~evidence.asked(self.slots[a][0]))
                if len(rows):
                    self._put(a, values, rows, self._deciding(number, wanted[rows], drawn[self.slots[a][0], rows]))
        for number, (a, b, _) in enumerate(self.determines):
            followed = self._decided(number)[self._code(a, values)]
            rows = np.flatnonzero((followed >= 0) & ~evidence.asked(self.slots[b][0]))
            self._put(b, values, rows, followed[rows])

    def _code(self, column: int, values: Values) -> Values:
        own = self.slots[column]
        out: Values = values[own[0]] if len(own) == 1 else values[own[0]] * self.sizes[own[1]] + values[own[1]]
        return out

    def _put(self, column: int, values: Values, rows: Values, codes: Values) -> None:
        own = self.slots[column]
        both = [codes] if len(own) == 1 else [codes // self.sizes[own[1]], codes % self.sizes[own[1]]]
        for token, part in zip(own, both, strict=True):
            values[token, rows] = np.where(codes >= 0, part, values[token, rows])

    def _decided(self, number: int) -> Values:
        return np.asarray(self.determines[number][2], np.int64)

    def _deciding(self, number: int, wanted: Values, uniform: Floats) -> Values:
        """A code of the deciding column of a link for each code `wanted` of the other one, -1 where no value leads there."""
        a, decided = self.slots[self.determines[number][0]], self._decided(number)
        shares = self._marginals[a[0]]
        shares = shares if len(a) == 1 else (shares[:, None] * self.tables[a[1]][0]).ravel()
        order = np.argsort(decided, kind="stable")
        codes, rising = decided[order], np.concatenate([[0.0], shares[order].cumsum()])
        first, last = np.searchsorted(codes, wanted), np.searchsorted(codes, wanted, side="right")
        place = rising[first] + uniform * (rising[last] - rising[first])
        found = np.clip(np.searchsorted(rising, place, side="right") - 1, first, np.maximum(last - 1, first))
        out: Values = np.where(first < last, order[np.minimum(found, len(order) - 1)], -1)
        return out

    @cached_property
    def _marginals(self) -> list[Floats]:
        """The shares of the values of each token in rows of which nothing is asked."""
        hub = self.tree.hub
        with_hub: list[Floats] = [np.empty(0)] * len(self.sizes)  # [values of the hub, V]
        for token in self._order:
            table, parent = self.tables[token] * self._may(token), self.tree.parents[token]
            root = np.ones((1, 1)) if hub < 0 or token == hub else with_hub[hub].sum(axis=1)[:, None]
            found = np.matmul((with_hub[parent] if parent >= 0 else root)[:, None], table)[:, 0]
            with_hub[token] = np.diag(found[0]) if token == hub else found
        return [found.sum(axis=0) for found in with_hub]

    def _lookups(self, style: Style) -> list[Floats]:
        if style not in self._ready:
            may = [(table * self._may(token)).reshape(-1, table.shape[2]) for token, table in enumerate(self.tables)]
            own = [_lookup(table, style) for table in may]
            self._ready = {style: own}
        return self._ready[style]


def _scaled(shares: Floats, otherwise: Floats | None) -> Floats:
    """Rows of `shares` [n, hub, V] with 1 as their largest; rows of nothing but 0 are those of `otherwise`, or 1."""
    most = shares.max(axis=(1, 2), keepdims=True)
    return np.where(most > 0, shares / np.where(most > 0, most, 1.0), 1.0 if otherwise is None else otherwise)


def _styled(weights: Floats, style: Style) -> Floats:
    """`weights` [n, V], each row made bolder as the style says (see `Style`)."""
    if style.temperature != 1.0:
        weights = (weights / weights.max(axis=1, keepdims=True)) ** (1.0 / style.temperature)
    if style.top_p < 1.0:
        places = np.argsort(-weights, axis=1, kind="stable")
        largest = np.take_along_axis(weights, places, axis=1)
        before = largest.cumsum(axis=1) - largest
        kept = np.where(before < style.top_p * largest.sum(axis=1, keepdims=True), largest, 0.0)
        weights = np.zeros_like(weights)
        np.put_along_axis(weights, places, kept, axis=1)
    return weights


def _lookup(weights: Floats, style: Style) -> Floats:
    """Cumulative shares of each row of `weights` [n, V], of row i raised by i: all ascend, for one search."""
    rising = _styled(weights, style).cumsum(axis=1)
    out: Floats = rising / rising[:, -1:] + np.arange(len(weights))[:, None]
    return out


def _look_up(rising: Floats, row: Values, uniform: Floats) -> Values:
    """The values drawn at `uniform` from the rows `row` of what `_lookup` made."""
    found: Values = np.searchsorted(rising.ravel(), row + uniform, side="right") - row * rising.shape[1]
    return found


def _pick(weights: Floats, uniform: Floats, style: Style) -> Values:
    """A value for each row of `weights` [rows, V], drawn by inversion."""
    rising = _styled(weights, style).cumsum(axis=1)
    found: Values = (rising <= (uniform * rising[:, -1])[:, None]).sum(axis=1)
    return found
