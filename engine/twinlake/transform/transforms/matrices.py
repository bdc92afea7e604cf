"""Texts of one length as a matrix of bytes and back, so that numpy works on all of them at once.

Knows nothing of what the texts mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]


def matrix_of(texts: pa.Array) -> Bytes | None:
    """The bytes of texts (or binary values) of one length: uint8 [n, length]; None if lengths differ or are 0."""
    places, data = laid_out(texts)
    widths = np.diff(places)
    if len(texts) == 0 or not widths[0] or (widths != widths[0]).any():
        return None
    return data[places[0] : places[-1]].reshape(len(texts), widths[0])


def strings(matrix: Bytes) -> pa.Array:
    """Each row of `matrix` as a text."""
    offsets = (np.arange(len(matrix) + 1) * matrix.shape[1]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(np.ascontiguousarray(matrix).tobytes())]
    return pa.Array.from_buffers(pa.string(), len(matrix), buffers)


def laid_out(texts: pa.Array) -> tuple[npt.NDArray[np.int32], Bytes]:
    """(where each text starts, and the last one ends; the bytes that this counts in). Read-only."""
    _, offsets, data = texts.buffers()
    if offsets is None or len(texts) == 0:
        return np.zeros(len(texts) + 1, np.int32), np.empty(0, np.uint8)
    places = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return places, np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def holds(texts: pa.Array, char: str) -> bool:
    """Whether any of the texts has this ASCII character: a look at the bytes, many times quicker than a search."""
    places, data = laid_out(texts)
    return bool((data[places[0] : places[-1]] == ord(char)).any())


def by_length(texts: pa.Array, convert: Callable[[Bytes], pa.Array]) -> pa.Array:
    """`convert` over the bytes of all texts of one length at once, back in the order of `texts`, which has no nulls."""
    if not len(texts):
        return convert(np.empty((0, 0), np.uint8))
    widths = np.diff(laid_out(texts)[0])
    order = np.argsort(widths, kind="stable")
    places, data = laid_out(texts.take(pa.array(order)))
    sizes, first = np.unique(widths[order], return_index=True)
    ends = [*first[1:].tolist(), len(texts)]
    pieces = [
        convert(data[places[start] : places[end]].reshape(end - start, size))
        for start, end, size in zip(first.tolist(), ends, sizes.tolist(), strict=True)
    ]
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return pa.concat_arrays(pieces).take(pa.array(back))
