"""Masks of characters: letters and digits hidden, what separates them left in place.

ASCII text goes through a table of 256 bytes over the whole buffer at once; other text through a regular expression
over Unicode classes. Both hide the same characters. Knows nothing of policies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.transform.transforms.values import repaired

Bytes = npt.NDArray[np.uint8]

_HIDDEN_CLASS = r"[\pL\pN\pM]"


@dataclass(frozen=True)
class Mask:
    """Which characters show. `first`, `last`: so many at the ends. `after`, `until`: what stands after (before) the first
    occurrence of that character is masked, the rest shows; `greedy` looks for the last occurrence instead."""

    char: str = "x"
    first: int = 0
    last: int = 0
    after: str = ""
    until: str = ""
    greedy: bool = False


def masked(array: pa.Array, mask: Mask) -> pa.Array:
    """`array` of text with letters and digits replaced by `mask.char`, but for what the mask shows.

    A value of which nothing would be hidden is masked whole, every character of it.
    """
    array = repaired(array.cast(pa.string()))
    hidden = _hidden(array, mask.char)
    if mask.after or mask.until:
        hidden = _partly(array, hidden, mask)
    if mask.first or mask.last:
        middle = pc.utf8_slice_codeunits(hidden, mask.first, -mask.last if mask.last else None)
        head = pc.utf8_slice_codeunits(array, 0, mask.first)
        tail = pc.utf8_slice_codeunits(array, -mask.last) if mask.last else pa.scalar("", array.type)
        shown = pc.binary_join_element_wise(head, middle, tail, pa.scalar("", array.type))
        hidden = pc.if_else(pc.greater(pc.utf8_length(array), mask.first + mask.last), shown, hidden)
    same = pc.equal(hidden, array)
    if not pc.any(same).as_py():
        return hidden
    # nothing to hide, as in `--`, or all of it shown: then every character goes
    whole = pc.replace_substring_regex(array, r"(?s).", mask.char.replace("\\", "\\\\"))
    return pc.if_else(same, whole, hidden)


def _hidden(array: pa.Array, char: str) -> pa.Array:
    if char.isascii() and (written := mapped(array, _table(ord(char)))) is not None:
        return written
    # a backslash in the replacement text would start a group reference
    return pc.replace_substring_regex(array, _HIDDEN_CLASS, char.replace("\\", "\\\\"))


def _partly(array: pa.Array, hidden: pa.Array, mask: Mask) -> pa.Array:
    """Per value: the characters after `mask.after` and before `mask.until` hidden, the others as they are."""
    out: list[str | None] = []
    for text, dark in zip(array.to_pylist(), hidden.to_pylist(), strict=True):
        if text is None:
            out.append(None)
            continue
        find = text.rfind if mask.greedy else text.find
        start = find(mask.after) + 1 if mask.after else 0
        end = find(mask.until) if mask.until else len(text)
        # a value without the character is masked whole: nothing says which part of it may show
        missing = (mask.after and mask.after not in text) or (mask.until and mask.until not in text)
        out.append(dark if missing or start > end else text[:start] + dark[start:end] + text[end:])
    return pa.array(out, pa.string())


def _table(char: int) -> Bytes:
    table = np.arange(256, dtype=np.uint8)
    for low, high in ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)):
        table[low : high + 1] = char
    return table


def mapped(array: pa.Array, table: Bytes) -> pa.Array | None:
    """A string array with each byte replaced by its entry in `table` (uint8 [256]); None if it is not ASCII alone."""
    _, offsets, data = array.buffers()
    if offsets is None or data is None or len(array) == 0:
        return array
    places = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    own = np.frombuffer(data, dtype=np.uint8)[places[0] : places[-1]]
    if len(own) and own.max() >= 0x80:
        return None
    # offsets from 0 on: a slice of a large array must not drag all of it along
    buffers = [None, pa.py_buffer((places - places[0]).tobytes()), pa.py_buffer(table[own].tobytes())]
    out = pa.Array.from_buffers(pa.string(), len(array), buffers)
    return out if not array.null_count else pc.if_else(array.is_valid(), out, pa.scalar(None, pa.string()))
