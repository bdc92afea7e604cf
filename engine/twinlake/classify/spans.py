"""Finds every occurrence of every entity inside texts: the exact places, in characters of the text as given.

One vectorized RE2 pass a pattern: matches are wrapped in two marker bytes, and the markers' places are read from the
buffer, so the work grows linearly with the text whatever is in it. What a pattern finds must also pass the detector's own
check (checksum, calendar, word list). Knows nothing of columns.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Detector, Search
from twinlake.classify.folding import Folded, fold
from twinlake.core.errors import DataError

OPEN, CLOSE = "\x02", "\x03"
SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("entity", pa.string()),
        ("score", pa.float32()),
    ]
)
Ints = npt.NDArray[np.int64]


def find_spans(texts: pa.StringArray, detectors: Mapping[str, Detector] | None = None) -> pa.Table:
    """Every entity in `texts`: row, start, end (characters, end exclusive), entity, score.

    Spans do not overlap and are sorted by (row, start); of two that would, the one with the higher score wins, then the
    longer. Null holds none. detectors: in place of DETECTORS. Errors: DataError naming the entity, never a value.
    """
    if detectors is None:
        from twinlake.classify.detectors import DETECTORS

        detectors = DETECTORS
    folded = fold(texts)
    found: list[tuple[str, float, Ints, Ints, Ints]] = []
    for entity, detector in detectors.items():
        for search in detector.searches:
            try:
                rows, starts, ends = occurrences(folded, detector, search)
            except Exception as error:  # its text may hold a value, so only its type goes on
                raise DataError(f"detector {entity} failed on a text: {type(error).__name__}") from None
            if len(rows):
                found.append((entity, search.score, rows, starts, ends))
    return _resolved(folded, found)


def occurrences(folded: Folded, detector: Detector, search: Search) -> tuple[Ints, Ints, Ints]:
    """(row, first byte, byte after the last) of what one search finds and the detector's check accepts."""
    at = np.flatnonzero(search.may_match(folded.features))
    if not len(at):
        return _none()
    texts = folded.texts if len(at) == len(folded.texts) else folded.texts.take(pa.array(at))
    hit = pc.match_substring_regex(texts, pattern=search.whole).to_numpy(zero_copy_only=False)
    at = at[hit]
    if not len(at):
        return _none()
    marked = pc.replace_substring_regex(texts.filter(pa.array(hit)), pattern=search.whole, replacement=f"\\1{OPEN}\\2{CLOSE}")
    local, starts, ends = _marks(marked)
    keep = ends > starts
    local, starts, ends = local[keep], starts[keep], ends[keep]
    rows = at[local]
    if search.check and len(rows):
        keep = detector.match(folded.cut(rows, starts, ends))
        rows, starts, ends = rows[keep], starts[keep], ends[keep]
    return rows, starts, ends


def _marks(marked: pa.StringArray) -> tuple[Ints, Ints, Ints]:
    """Row, start and end (bytes, as if the marks were not there) of each marked piece."""
    offsets = np.frombuffer(marked.buffers()[1], dtype=np.int32)[marked.offset : marked.offset + len(marked) + 1]
    data = np.frombuffer(marked.buffers()[2], dtype=np.uint8)[: offsets[-1]] if marked.buffers()[2] else np.empty(0, np.uint8)
    opened = np.flatnonzero(data == ord(OPEN))
    closed = np.flatnonzero(data == ord(CLOSE))
    rows = np.searchsorted(offsets, opened, side="right") - 1
    # before the n-th mark of its row stand n others, each one byte
    first = np.searchsorted(opened, offsets[:-1])
    before = 2 * (np.arange(len(opened)) - first[rows])
    starts = opened - offsets[rows] - before
    return rows.astype(np.int64), starts.astype(np.int64), (closed - offsets[rows] - before - 1).astype(np.int64)


def _none() -> tuple[Ints, Ints, Ints]:
    empty = np.empty(0, dtype=np.int64)
    return empty, empty, empty


def _resolved(folded: Folded, found: list[tuple[str, float, Ints, Ints, Ints]]) -> pa.Table:
    if not found:
        return SCHEMA.empty_table()
    rows, starts, ends = (np.concatenate([f[i] for f in found]) for i in (2, 3, 4))
    which = np.concatenate([np.full(len(f[2]), i) for i, f in enumerate(found)])
    scores = np.array([f[1] for f in found])[which]
    # best first within a row: higher score, then longer, then the order of the detectors
    order = np.lexsort((which, starts - ends, -scores, rows))
    kept: list[int] = []
    row = -1
    taken: list[tuple[int, int]] = []
    for i in order.tolist():
        if rows[i] != row:
            row, taken = int(rows[i]), []
        start, end = int(starts[i]), int(ends[i])
        place = bisect(taken, (start, end))  # taken is sorted: only the neighbours can overlap
        if (place == 0 or taken[place - 1][1] <= start) and (place == len(taken) or taken[place][0] >= end):
            taken.insert(place, (start, end))
            kept.append(i)
    at = np.array(kept, dtype=np.int64)
    at = at[np.lexsort((starts[at], rows[at]))]
    first, last = folded.characters(rows[at], starts[at], ends[at])
    names = pa.array([f[0] for f in found])
    return pa.Table.from_arrays(
        [
            pa.array(rows[at], pa.int64()),
            pa.array(first, pa.int32()),
            pa.array(last, pa.int32()),
            names.take(pa.array(which[at])),
            pa.array(scores[at].astype(np.float32), pa.float32()),
        ],
        schema=SCHEMA,
    )
