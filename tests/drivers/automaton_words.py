"""All words of an automaton, by walking: an oracle for small ones."""

from __future__ import annotations

import numpy as np

from twinlake.models.automaton import Automaton


def words_of(automaton: Automaton, length: int) -> list[tuple[int, ...]]:
    """All words, by walking."""
    out: list[tuple[int, ...]] = []

    def walk(state: int, before: tuple[int, ...]) -> None:
        if len(before) == length:
            out.append(before)
            return
        for symbol in np.flatnonzero(automaton.next[state] >= 0).tolist():
            walk(int(automaton.next[state, symbol]), (*before, symbol))

    walk(automaton.start, ())
    return out
