"""Finite automata over the tokens of one column: which values may be drawn next, given those of the cell drawn so far.

An automaton is compiled once, from ranges of whole numbers, calendar dates, or sets of values, and is plain arrays. Equal
rests of words share states, so that a century of dates takes some dozens of states. Knows nothing of models and tables.
"""

from __future__ import annotations

import calendar
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ranges = tuple[tuple[int, int], ...]
DONE = -2
CLOCK = ((24, 2), (60, 2), (60, 2))


@dataclass(frozen=True)
class Automaton:
    """`next` int32 [states, symbols]: the state after each symbol, -1 where it is illegal; the last symbol of a word leads
    anywhere legal. `start`: where words begin."""

    next: npt.NDArray[np.int32]
    start: int = 0

    def run(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Which rows of `tokens` [rows, length] are words; bool [rows]."""
        state = np.full(len(tokens), self.start, np.int64)
        legal = np.ones(len(tokens), np.bool_)
        for place in range(tokens.shape[1]):
            after = self.next[state, tokens[:, place]]
            legal &= after >= 0
            state = np.maximum(after, 0)
        return legal

    def forced(self, length: int) -> list[bool]:
        """At which of the `length` places of a word every state that can be reached leaves one symbol."""
        reached, out = {self.start}, []
        for _ in range(length):
            rows = self.next[sorted(reached)]
            out.append(bool(((rows >= 0).sum(axis=1) == 1).all()))
            reached = set(rows[rows >= 0].tolist())
        return out


class Builder:
    """Collects states; equal ones are made once. State DONE is one that nothing is asked of: the end of a word."""

    def __init__(self, symbols: int) -> None:
        self._symbols = symbols
        self._states: dict[tuple[tuple[int, int], ...], int] = {}
        self._known: dict[tuple[Ranges, int, int], int] = {}

    def state(self, arcs: dict[int, int]) -> int:
        """The state with these arcs (symbol -> state)."""
        return self._states.setdefault(tuple(sorted(arcs.items())), len(self._states))

    def chain(self, symbols: Sequence[int], after: int = DONE) -> int:
        """States that leave these symbols alone, one after the other."""
        for symbol in reversed(symbols):
            after = self.state({symbol: after})
        return after

    def within(self, ranges: Ranges, width: int, after: int = DONE) -> int:
        """The numbers of `ranges` (ascending, apart, both ends in) as `width` digits; -1 where there is none."""
        if not ranges or width == 0:
            return after if ranges else -1
        key = (ranges, width, after)
        if key not in self._known:
            size, arcs = 10 ** (width - 1), {}
            ends = [high for _, high in ranges]
            for digit in range(10):
                low, high = digit * size, (digit + 1) * size - 1
                inside: list[tuple[int, int]] = []
                for at in range(bisect_right(ends, low - 1), len(ranges)):
                    if ranges[at][0] > high:
                        break
                    inside.append((max(ranges[at][0], low) - low, min(ranges[at][1], high) - low))
                if inside:
                    arcs[digit] = self.within(tuple(inside), width - 1, after)
            self._known[key] = self.state(arcs)
        return self._known[key]

    def dates(self, first: int, last: int, after: int = DONE) -> int:
        """The days from `first` to `last`, written YYYYMMDD, as 8 digits."""
        return self.within(days_between(first, last), 8, after)

    def clock(self, digits: int) -> int:
        """A time of day as `digits` digits: hhmmss, or a beginning of it, and digits of the fraction behind it."""
        fraction = max(0, digits - 6)
        after = self.within(((0, 10**fraction - 1),), fraction)
        for count, width in reversed(CLOCK[: min(digits, 6) // 2]):
            after = self.within(((0, count - 1),), width, after)
        return after

    def build(self, start: int) -> Automaton:
        """The automaton that begins in `start`."""
        table = np.full((max(1, len(self._states)), self._symbols), -1, np.int32)
        for arcs, number in self._states.items():
            for symbol, after in arcs:
                table[number, symbol] = 0 if after == DONE else after
        return Automaton(table, max(start, 0))


def days_between(first: int, last: int) -> Ranges:
    """The dates from `first` to `last`, written as YYYYMMDD, month by month."""
    out = []
    for month in range(first // 100 // 100 * 12 + first // 100 % 100 - 1, last // 100 // 100 * 12 + last // 100 % 100):
        year, number = month // 12, month % 12 + 1
        head = (year * 100 + number) * 100
        low, high = max(first, head + 1), min(last, head + calendar.monthrange(year, number)[1])
        if low <= high:
            out.append((low, high))
    return tuple(out)


def merged(ranges: Sequence[tuple[int, int]]) -> Ranges:
    """The same numbers as ascending ranges that do not touch."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def of_sets(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_] | None = None) -> Automaton:
    """Words of one symbol of `first` [V0], or of two where `second` [V0, V1] says which may follow each."""
    if second is None:
        return Automaton(np.where(first, 0, -1).astype(np.int32)[None, :])
    builder = Builder(max(second.shape))
    arcs = {}
    for value in np.flatnonzero(first & second.any(axis=1)).tolist():
        arcs[value] = builder.state(dict.fromkeys(np.flatnonzero(second[value]).tolist(), DONE))
    return builder.build(builder.state(arcs))


def of_words(words: npt.NDArray[np.integer], symbols: int) -> Automaton:
    """Just the rows of `words` [count, length], over `symbols` symbols."""
    builder = Builder(symbols)

    def node(rows: npt.NDArray[np.integer]) -> int:
        if not rows.shape[1]:
            return DONE
        cuts = np.flatnonzero(np.diff(rows[:, 0], prepend=-1))
        ends = [*cuts[1:], len(rows)]
        return builder.state({int(rows[a, 0]): node(rows[a:b, 1:]) for a, b in zip(cuts, ends, strict=True)})

    return builder.build(node(np.unique(words.astype(np.int64), axis=0)))


def joined(automata: Sequence[Automaton]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """One table for several automata over the same symbols, and where each starts."""
    offsets = np.cumsum([0, *(len(a.next) for a in automata)])
    tables = [np.where(a.next >= 0, a.next + offset, -1) for a, offset in zip(automata, offsets, strict=False)]
    starts = np.array([a.start + offset for a, offset in zip(automata, offsets, strict=False)], np.int64)
    return np.concatenate(tables).astype(np.int32), starts
