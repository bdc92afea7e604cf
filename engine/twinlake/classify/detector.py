"""What a detector is, and the building blocks of its match functions.

A detector knows one entity: which whole values look like it, which header words speak for it, and how to make fakes.
It does not know columns, shares or thresholds (`decide.py`) and never sees a value that was not normalized
(`text.py`). Match functions are vectorized RE2, hence linear in the length of the text; checksums run in Python
on values whose shape has matched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask: TypeAlias = npt.NDArray[np.bool_]
Keys: TypeAlias = npt.NDArray[np.uint64]
Match: TypeAlias = Callable[[pa.StringArray], Mask]
Fake: TypeAlias = Callable[[Keys], pa.StringArray]
Strength: TypeAlias = Literal["checksum", "pattern", "dictionary", "weak"]
Family: TypeAlias = Literal["text", "number", "date"]


def matches(values: pa.StringArray, pattern: str, ignore_case: bool = False) -> Mask:
    """True where the whole value matches the RE2 `pattern`; null counts as no match."""
    found = pc.match_substring_regex(values, pattern=f"(?s)^(?:{pattern})$", ignore_case=ignore_case)
    return as_mask(found)


def as_mask(found: pa.BooleanArray) -> Mask:
    """Boolean Arrow array as numpy, null as False."""
    mask: Mask = found.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def narrowed(values: pa.StringArray, shape: Mask, check: Callable[[str], bool]) -> Mask:
    """`shape`, kept only where `check` accepts the value. `check` must not raise."""
    out = shape.copy()
    at = np.flatnonzero(shape)
    out[at] = [check(value) for value in values.take(pa.array(at)).to_pylist()]
    return out


def is_in(values: pa.StringArray, words: pa.StringArray) -> Mask:
    """True where the value is one of `words`."""
    return as_mask(pc.is_in(values, value_set=words))


@dataclass(frozen=True)
class Detector:
    """One entity.

    match: whole-value matches. headers: phrases of lower-case ASCII words that speak for the entity in a column name.
    strength: checksum, pattern (rarely matched by chance), dictionary, or weak (says nothing without a header).
    fake: a pure function of 64-bit keys. alone: the spelling that may decide without a header; None when no spelling
    may (weak). shape: looser than match (a word list is never complete); counts only where the header is the entity's
    own name and `shape_least` of the values match. reads: which columns are looked at.
    search: RE2 pattern for occurrences inside longer text; what it finds must also pass `match`.
    space: how many different fakes there are, at least.
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
    search: str | None = None
    against: tuple[str, ...] = ()
    """Header phrases that take the header's support away, such as `mac` for an IP address."""
