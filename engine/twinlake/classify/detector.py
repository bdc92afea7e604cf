"""What a detector is, and the building blocks of its match functions.

A detector knows one entity: which whole values look like it, where it stands inside longer text, which header words speak
for it, and how to make fakes. It does not know columns, shares or thresholds (`decide.py`) and never sees a value that was
not normalized (`text.py`). Match functions are vectorized RE2, hence linear in the length of the text; checksums run in
Python on values whose shape has matched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.features import ANY, Features, Gate

Mask: TypeAlias = npt.NDArray[np.bool_]
Keys: TypeAlias = npt.NDArray[np.uint64]
Match: TypeAlias = Callable[[pa.StringArray], Mask]
Fake: TypeAlias = Callable[[Keys], pa.StringArray]
Strength: TypeAlias = Literal["checksum", "pattern", "dictionary", "weak"]
Family: TypeAlias = Literal["text", "number", "date"]
Rule: TypeAlias = Literal["share", "words", "few", "dates", "ages", "codes"]

LONGEST_CHECKED = 64
"""No identifier with a check is longer, so a validator never sees a longer value."""


def phrases(text: str) -> tuple[str, ...]:
    """Headers of a detector from one text, with commas between them."""
    return tuple(text.split(", "))


def matches(values: pa.StringArray, pattern: str, ignore_case: bool = False) -> Mask:
    """True where the whole value matches the RE2 `pattern`; null counts as no match."""
    found = pc.match_substring_regex(values, pattern=f"(?s)^(?:{pattern})$", ignore_case=ignore_case)
    return as_mask(found)


def as_mask(found: pa.BooleanArray) -> Mask:
    """Boolean Arrow array as numpy, null as False."""
    mask: Mask = found.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def narrowed(values: pa.StringArray, shape: Mask, check: Callable[[str], bool]) -> Mask:
    """`shape`, kept only where `check` accepts the value. `check` must not raise.

    Inside `estimating` a check of many values stops once the share that passes is known well enough: the mask then has the
    estimated number of marks, which is all that counting needs. Elsewhere every value is checked.
    """
    out = shape.copy()
    at = np.flatnonzero(shape)
    if _ESTIMATING[0] and len(at) > 2 * CHECKED:
        # evenly spaced, so that a sorted batch is seen from end to end
        sample = at[np.linspace(0, len(at) - 1, CHECKED).astype(np.int64)]
        passed = sum(check(value) for value in values.take(pa.array(sample)).to_pylist())
        if passed <= UNDECIDED[0] * CHECKED or passed >= UNDECIDED[1] * CHECKED:
            out[at] = np.floor(np.arange(1, len(at) + 1) * passed / CHECKED) > np.floor(np.arange(len(at)) * passed / CHECKED)
            return out
    if len(at):
        out[at] = [check(value) for value in values.take(pa.array(at)).to_pylist()]
    return out


@contextmanager
def estimating() -> Iterator[None]:
    """Validators may stop early inside: for counting, never for deciding about single values."""
    before = _ESTIMATING[0]
    _ESTIMATING[0] = True
    try:
        yield
    finally:
        _ESTIMATING[0] = before


CHECKED = 256
UNDECIDED = (0.15, 0.85)
"""Shares of 256 below and above which the 99% interval lies clear of every threshold of `decide.py` (0.3 and 0.5)."""
_ESTIMATING = [False]


def is_in(values: pa.StringArray, words: pa.StringArray) -> Mask:
    """True where the value is one of `words`."""
    return as_mask(pc.is_in(values, value_set=words))


@dataclass(frozen=True)
class Search:
    """Where an entity may stand inside a text.

    pattern: RE2 of the occurrence, without groups that capture. before: RE2 of what must come right before it ("ssn: ").
    score: how much a find is worth (0 to 1) when two entities claim the same place. check: whether the detector's own match
    must accept it. gate: what the text must be made of. Patterns must not hold an unbounded `.*`: the pass would no longer
    be linear in the number of finds.
    """

    pattern: str
    before: str = ""
    score: float = 0.8
    check: bool = True
    gate: Gate = ANY
    ignore_case: bool = False

    @property
    def whole(self) -> str:
        """The pattern with what comes before as group 1 and the occurrence as group 2."""
        return f"{'(?i)' if self.ignore_case else ''}({self.before})({self.pattern})"

    def may_match(self, of: Features) -> Mask:
        """Where the gate lets a text through."""
        return self.gate.passes(of)


@dataclass(frozen=True)
class Detector:
    """One entity.

    match: whole-value matches. headers: phrases of lower-case ASCII words that speak for the entity in a column name.
    strength: checksum, pattern (rarely matched by chance), dictionary, or weak (says nothing without a header).
    fake: a pure function of 64-bit keys. alone: the spelling that may decide without a header; None when no spelling
    may (weak). shape: looser than match (a word list is never complete); counts only where the header is the entity's
    own name and `shape_least` of the values match. reads: which columns are looked at.
    searches: where it stands inside longer text; what is found must also pass `match`.
    space: how many different fakes there are, at least. against: header phrases that take the header's support away, such
    as `mac` for an IP address. gate: what a value must be made of for `match` to have a chance.
    bare_gate: the same where no header speaks, if narrower (a firm of one word is only found under its header). rule: how
    the column is judged without a header (`decide.py`).
    """

    entity: str
    match: Match
    headers: tuple[str, ...]
    strength: Strength
    fake: Fake
    space: int
    alone: Match | None = None
    shape: Match | None = None
    shape_least: float = 0.03
    reads: tuple[Family, ...] = ("text",)
    searches: tuple[Search, ...] = ()
    against: tuple[str, ...] = ()
    gate: Gate = ANY
    bare_gate: Gate | None = None
    rule: Rule = "share"
