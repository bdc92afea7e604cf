"""Tokens of rows as points in space (generate/nearest.py): a number by its rank among the train rows, all else by its code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinlake.generate.nearest import Points
from twinlake.models.codec import Codec
from twinlake.models.column import BLOCK, ColumnCodec, Tokens

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """How rows of tokens become points. By compared column (`columns`, positions in the codec) and value of its first token:
    `base` [V0], where it lies, and `width` [V0], what share of the rows it has for its second token to divide."""

    codec: Codec
    columns: tuple[int, ...]
    base: tuple[Floats, ...]
    width: tuple[Floats, ...]

    @classmethod
    def of(cls, codec: Codec, counts: Sequence[npt.NDArray[np.int64]]) -> Places:
        """`counts`: how many train rows have each value of the first token of each of `compared(codec)`."""
        columns = compared(codec)
        found = [_ranks(codec.columns[c], counts[i]) for i, c in enumerate(columns)]
        return cls(codec, columns, tuple(base for base, _ in found), tuple(width for _, width in found))

    @property
    def numbers(self) -> npt.NDArray[np.bool_]:
        """Which coordinates are of numbers; of a folded column both are."""
        told = [(self.codec.columns[c].method == "number", self.codec.columns[c].phase is not None) for c in self.columns]
        return np.array([number for number, folded in told for _ in range(1 + folded)], np.bool_)

    def points(self, tokens: Tokens) -> Points:
        """Points, float32 [rows, coordinates], of tokens [rows, S]."""
        out: list[Floats] = []
        for column, base, width in zip(self.columns, self.base, self.width, strict=True):
            codec, slots = self.codec.columns[column], self.codec.slots[column]
            first = tokens[:, slots[0]]
            at = base[first]
            if len(slots) == 2 and codec.method == "number":
                inside = (tokens[:, slots[1]] + 0.5) / codec.behind[first]
                at = at if codec.phase is not None else at + width[first] * inside
                out += [at, np.where(at < 2, inside, 0.0)] if codec.phase is not None else [at]
            else:
                out += [at + tokens[:, slots[1]] if len(slots) == 2 else at]
        return np.stack(out, axis=1).astype(np.float32) if out else np.zeros((len(tokens), 0), np.float32)


def compared(codec: Codec) -> tuple[int, ...]:
    """The columns in which rows are compared: what is drawn from what was learned. That a struct is there its leaves tell."""
    told = [not codec.leaves or codec.leaves[at].kind != "present" for at in range(len(codec.columns))]
    return tuple(at for at, c in enumerate(codec.columns) if c.coarse and c.method in ("category", "number") and told[at])


def _ranks(column: ColumnCodec, counts: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    codes = np.arange(len(counts), dtype=np.float64)
    if column.method == "category":
        return (codes * BLOCK if len(column.sizes) == 2 else codes), np.zeros(len(counts))
    atoms, low, _, bin_start = column.cells
    before = len(column.states) + len(column.texts)
    places = slice(before, len(counts) - 1)  # the last value is of rare ones
    values = np.concatenate([atoms.astype(np.float64), low[bin_start].astype(np.float64) if len(low) else np.zeros(0)])
    order, share = np.argsort(values, kind="stable"), counts[places] / max(1, int(counts[places].sum()))
    start = np.zeros(len(values))
    start[order] = np.cumsum(share[order]) - share[order]
    base, width = codes + 2.0, np.zeros(len(counts))
    divided = len(column.sizes) == 2 and column.phase is None
    base[places] = start if divided else start + share / 2
    width[places] = share if divided else 0.0
    return base, width
