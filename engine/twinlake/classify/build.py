"""Short ways to say the common kinds of detectors: one pattern, one word list, one code with a check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from twinlake.classify.detector import LONGEST_CHECKED, Detector, Fake, Mask, Match, is_in, matches, narrowed
from twinlake.classify.features import ANY, Gate
from twinlake.classify.text import plain_array


def patterned(
    entity: str, pattern: str, headers: tuple[str, ...], fake: Fake, space: int, *, ignore_case: bool = True,
    alone: bool | str = False, weak: bool = False, gate: Gate = ANY, **more: Any,
) -> Detector:  # fmt: skip
    """A detector of one RE2 pattern. alone: the pattern (or another, given as text) may decide without a header."""
    match = matcher(pattern, ignore_case)
    lone = matcher(alone, ignore_case) if isinstance(alone, str) else match if alone else None
    return Detector(entity, match, headers, "weak" if weak else "pattern", fake, space, alone=lone, gate=gate, **more)


def checked(
    entity: str, pattern: str, check: Callable[[str], bool], headers: tuple[str, ...], fake: Fake, space: int, *,
    alone: bool | str = True, ignore_case: bool = True, gate: Gate = ANY, **more: Any,
) -> Detector:  # fmt: skip
    """A detector of a pattern whose finds a validator must accept."""
    match = matcher(pattern, ignore_case, check)
    lone = matcher(alone, ignore_case, check) if isinstance(alone, str) else match if alone else None
    return Detector(entity, match, headers, "checksum", fake, space, alone=lone, gate=gate, **more)


def listed_words(
    entity: str, words: Callable[[], pa.StringArray], headers: tuple[str, ...], fake: Fake, space: int, *,
    alone: bool = False, open_words: pa.StringArray | None = None, gate: Gate = ANY, **more: Any,
) -> Detector:  # fmt: skip
    """A detector of a list of words, compared without case and accents. open_words: they never decide without a header."""

    def match(values: pa.StringArray) -> Mask:
        return is_in(plain_array(values), words())

    def lone(values: pa.StringArray) -> Mask:
        text = plain_array(values)
        return is_in(text, words()) & ~is_in(text, open_words)

    deciding = (lone if open_words is not None else match) if alone else None
    return Detector(entity, match, headers, "weak", fake, space, alone=deciding, gate=gate, **more)


def matcher(pattern: str, ignore_case: bool = True, check: Callable[[str], bool] | None = None) -> Match:
    """The whole value matches, and `check` (which must not raise) accepts it."""

    def match(values: pa.StringArray) -> Mask:
        shape = matches(values, pattern, ignore_case)
        if check is None:
            return shape
        return narrowed(values, shape, lambda value: len(value) <= LONGEST_CHECKED and check(value))

    return match
