"""How the cells of a column are spelled, byte by byte, for a model that writes rows as text.

A `Spelling` is the automaton of all legal cells of a column, with the mark that ends a cell. It is made deterministic as it is
walked (subset construction), so that a column of many values costs what is visited of it. What may be drawn is an automaton
over the codec's tokens, from models/automaton.py: what a condition leaves is spelled the same way. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twinlake.models.automaton import Automaton
from twinlake.models.digits import NEGATIVE, POSITIVE

MARK = "\ufffd"  # what is too rare to be told: learned, and never drawn
QUOTE = 0x22
ESCAPES = b'"\\nrt'
BEYOND_ASCII = {0xE0: ("c1", 0xA0, 0xBF), 0xED: ("c1", 0x80, 0x9F), 0xF0: ("c2", 0x90, 0xBF), 0xF4: ("c2", 0x80, 0x8F)}
Member = tuple[object, ...]


@dataclass(frozen=True)
class Digits:
    """The digits of a cell: `words`, over a sign and `width` digits as models/digits.py tells them. `marks`: the byte before
    the digit at a place; `first`: places below 0 are zeros of the text alone; leading zeros before `last` are left out;
    `before`, `behind`: what the digits stand between."""

    words: Automaton
    width: int
    marks: Mapping[int, int]
    first: int
    last: int
    before: bytes
    behind: bytes

    def start(self) -> list[Member]:
        """The members of the first state: what is before the digits, then a sign or digits."""
        found: list[Member] = []
        for sign, symbol in ((b"", POSITIVE), (b"-", NEGATIVE)):
            after = int(self.words.next[self.words.start, symbol])
            if after >= 0:
                found += self._from(self.before + sign, after)
        return found

    def _from(self, text: bytes, state: int) -> list[Member]:
        return [("head", text, state)] if text else self._places(state, self.first)

    def _places(self, state: int, place: int) -> list[Member]:
        """The state before a leading digit at `place`, and those with zeros left out."""
        out: list[Member] = [("digit", state, place, False, False)]
        while place < self.last:
            state = state if place < 0 else int(self.words.next[state, 0])
            if state < 0:
                break
            place += 1
            out.append(("digit", state, place, False, False))
        return out

    def arcs(self, member: Member) -> Iterable[tuple[int, list[Member]]]:
        """(byte, members behind it) of a member."""
        if member[0] == "head":
            _, text, state = member
            assert isinstance(text, bytes) and isinstance(state, int)
            yield text[0], self._from(text[1:], state)
            return
        _, state, place, begun, marked = member
        assert isinstance(state, int) and isinstance(place, int)
        if place == self.width:
            yield self.behind[0], [("word", self.behind[1:])]
        elif place in self.marks and not marked:
            yield self.marks[place], [("digit", state, place, True, True)]
        elif place < 0:
            yield 0x30, [("digit", state, place + 1, True, False)]
        else:
            for digit in range(10):
                after = int(self.words.next[state, digit])
                if after >= 0 and (digit or begun or place >= self.last):
                    yield 0x30 + digit, [("digit", after, place + 1, True, False)]


@dataclass(frozen=True)
class Prose:
    """Any text between quotes: in JSON with its escapes, in CSV with quotes doubled. No MARK and no control characters but
    line breaks and tabs."""

    json: bool
    before: bytes
    behind: bytes

    def start(self) -> list[Member]:
        """The members of the first state."""
        return [("word", self.before, "text")]

    def arcs(self, member: Member) -> Iterable[tuple[int, list[Member]]]:
        """(byte, members behind it) of a member: ("text", mode, whether the text has to end)."""
        _, mode, ending = member

        def to(mode: object) -> list[Member]:
            return [("text", mode, ending)]

        if mode == "open":
            yield QUOTE, [("word", self.behind)] if self.json else to("quote")
            if not ending:
                yield from self._characters(to)
        elif mode == "quote":
            yield self.behind[0], [("word", self.behind[1:])]
            if not ending:
                yield QUOTE, to("open")
        elif mode == "escape":
            yield from ((byte, to("open")) for byte in ESCAPES)
        elif mode == "ef":
            yield from ((byte, to("efbf" if byte == 0xBF else "c1")) for byte in range(0x80, 0xC0))
        elif mode == "efbf":
            yield from ((byte, to("open")) for byte in range(0x80, 0xC0) if byte != 0xBD)
        elif isinstance(mode, tuple):
            yield from ((byte, to(mode[0])) for byte in range(mode[1], mode[2] + 1))
        else:
            behind = {"c1": "open", "c2": "c1", "c3": "c2"}[str(mode)]
            yield from ((byte, to(behind)) for byte in range(0x80, 0xC0))

    def _characters(self, to: object) -> Iterable[tuple[int, list[Member]]]:
        assert callable(to)
        for byte in range(0x20, 0x7F):
            if byte != QUOTE and not (self.json and byte == 0x5C):
                yield byte, to("open")
        yield from ((byte, to("open")) for byte in (() if self.json else b"\n\r\t"))
        if self.json:
            yield 0x5C, to("escape")
        for byte in range(0xC2, 0xF5):
            if byte in BEYOND_ASCII:
                yield byte, to(BEYOND_ASCII[byte])
            else:
                yield byte, to("ef" if byte == 0xEF else "c1" if byte < 0xE0 else "c2" if byte < 0xF0 else "c3")


class Spelling:
    """The legal cells of a column. States are numbered as they are reached; END is behind the last byte of a cell."""

    END = 0

    def __init__(self, words: Iterable[bytes] = (), digits: Digits | None = None, prose: Prose | None = None) -> None:
        """`words`: whole cells, with the mark that ends them."""
        self._digits, self._prose = digits, prose
        self._numbers: dict[frozenset[Member], int] = {frozenset({("word", b"")}): Spelling.END}
        self._members: list[frozenset[Member]] = list(self._numbers)
        self._arcs: dict[int, dict[int, int]] = {Spelling.END: {}}
        first: list[Member] = [("word", w) for w in words]
        first += [*(digits.start() if digits else []), *(prose.start() if prose else [])]
        self.start = self._number(frozenset(first))

    def _number(self, members: frozenset[Member]) -> int:
        if members not in self._numbers:
            self._numbers[members] = len(self._members)
            self._members.append(members)
        return self._numbers[members]

    def arcs(self, state: int) -> dict[int, int]:
        """The state behind each byte that is legal in `state`."""
        found = self._arcs.get(state)
        if found is None:
            together: dict[int, set[Member]] = {}
            for member in self._members[state]:
                for byte, behind in self._of(member):
                    together.setdefault(byte, set()).update(behind)
            found = self._arcs[state] = {b: self._number(frozenset(m)) for b, m in sorted(together.items())}
        return found

    def _of(self, member: Member) -> Iterable[tuple[int, list[Member]]]:
        if member[0] == "word":
            text, *then = member[1:]
            assert isinstance(text, bytes)
            if not text and then:
                return self._of(("text", "open", False))
            return [(text[0], [("word", text[1:], *then)])] if text else []
        if member[0] == "text":
            assert self._prose is not None
            return self._prose.arcs(member)
        assert self._digits is not None
        return self._digits.arcs(member)

    def ending(self, state: int) -> int:
        """The same state of a text that has to end: a character that has begun may be finished."""
        members = self._members[state]
        if not any(m[0] == "text" and not m[2] for m in members):
            return state
        return self._number(frozenset((*m[:2], True) if m[0] == "text" else m for m in members))

    def grows(self, state: int) -> bool:
        """Whether a text begins or goes on in `state`."""
        return any(len(m) == 3 and m[2] in (False, "text") for m in self._members[state])

    def accepts(self, cell: bytes) -> bool:
        """Whether `cell`, with the mark that ends it, is legal."""
        state = self.start
        for byte in cell:
            after = self.arcs(state).get(byte)
            if after is None:
                return False
            state = after
        return state == Spelling.END
