"""Fast membership in large word lists: a bitmap of hashes first, the set itself only for the few that pass.

`plain_of` and `features_of` remember the last arrays they saw, since a dozen detectors ask the same of the same batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.features import MARKS, WIDE, Features, features
from twinlake.classify.text import plain_array

Mask = npt.NDArray[np.bool_]
SPLIT = np.uint32(1 << MARKS.index(" ") | 1 << MARKS.index("-"))
BITS = 23
KEPT = 10
_SEEN: OrderedDict[tuple[str, int, int, int], tuple[pa.StringArray, Any]] = OrderedDict()


def plain_of(values: pa.StringArray) -> pa.StringArray:
    """`text.plain_array`, remembered."""
    return _remembered("plain", values, plain_array)


def features_of(values: pa.StringArray) -> Features:
    """`features.features`, remembered."""
    found: Features = _remembered("features", values, features)
    return found


def head_of(text: pa.StringArray) -> pa.StringArray:
    """The first word of each plain text, up to a space or hyphen; remembered."""
    if not (features_of(text).marks & SPLIT).any():
        return text
    made: pa.StringArray = _remembered("head", text, lambda some: pc.replace_substring_regex(some, "[ -].*$", ""))
    return made


def _remembered(what: str, values: pa.StringArray, make: Callable[[pa.StringArray], Any]) -> Any:
    data = values.buffers()[2]
    if data is None or not len(values):
        return make(values)
    key = (what, data.address, values.offset, len(values))
    if key in _SEEN:
        return _SEEN[key][1]
    made = make(values)
    # the array is held beside the answer, so that its address cannot become another array's
    _SEEN[key] = (values, made)
    while len(_SEEN) > KEPT:
        _SEEN.popitem(last=False)
    return made


@cache
def _index(words: Callable[[], pa.StringArray]) -> tuple[npt.NDArray[np.bool_], frozenset[str]]:
    listed = words()
    bitmap = np.zeros(1 << BITS, dtype=np.bool_)
    bitmap[(features(listed).hashes >> np.uint64(64 - BITS)).astype(np.int64)] = True
    return bitmap, frozenset(listed.to_pylist())


def known(values: pa.StringArray, words: Callable[[], pa.StringArray]) -> Mask:
    """True where a plain value is one of `words()` (cached functions of `words.py`)."""
    bitmap, listed = _index(words)
    found: Mask = bitmap[(features_of(values).hashes >> np.uint64(64 - BITS)).astype(np.int64)]
    at = np.flatnonzero(found)
    if len(at):
        found[at] = [word in listed for word in values.take(pa.array(at)).to_pylist()]
    return found


def has(values: pa.StringArray, marks: int) -> Mask:
    """True where any of these bits of `Features.marks` is set."""
    mask: Mask = (features_of(values).marks & np.uint32(marks)) != 0
    return mask


def where(values: pa.StringArray, mask: Mask, test: Callable[[pa.StringArray], Mask]) -> Mask:
    """`mask`, kept where `test` accepts the value; `test` sees only those."""
    out = mask.copy()
    at = np.flatnonzero(mask)
    if len(at) == len(mask):
        return test(values)
    if len(at):
        out[at] = test(values.take(pa.array(at)))
    return out


__all__ = ["WIDE", "features_of", "has", "head_of", "known", "plain_of", "where"]
