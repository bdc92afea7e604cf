"""How often each bin of each column, and each pair of bins, occurs in a table: the counts that fidelity is measured on.

A value type only: it adds up, is saved as plain numpy arrays and loaded without running code. It knows nothing of how a
value becomes a bin; the codec says so, and `labels` carry its words for plots.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from twinlake.core.errors import DataError

Counts = npt.NDArray[np.int64]
COARSE_BINS = 16
ALL_PAIRS_UP_TO = 200
MEASURED = 128


def column_pairs(columns: int) -> list[tuple[int, int]]:
    """The unordered pairs i < j of `columns` positions, in the order of `itertools.combinations`."""
    return list(itertools.combinations(range(columns), 2))


def measured_columns(columns: int) -> list[int]:
    """The positions whose pairs fidelity is measured on: all up to ALL_PAIRS_UP_TO, above that MEASURED of them, evenly taken
    in table order. So counting, and what it holds, grow linearly with the columns."""
    if columns <= ALL_PAIRS_UP_TO:
        return list(range(columns))
    return [i * columns // MEASURED for i in range(MEASURED)]


@dataclass(frozen=True)
class TokenCounts:
    """Counts of one table. Tables counted by one codec have equal columns, coarse, labels and pair lists.

    `single[c]` counts the bins of column c; `coarse[c]` maps each of them to one of at most 16 coarse bins; `pairs[p]`
    is the 16 x 16 table of coarse bins of the p-th pair: of all (`column_pairs` order), or of those in `listed`.
    `labels[c]` is a short text for each bin of column c.
    """

    rows: int
    columns: tuple[str, ...]
    single: tuple[Counts, ...]
    coarse: tuple[npt.NDArray[np.uint8], ...]
    pairs: Counts
    labels: tuple[tuple[str, ...], ...]
    listed: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        widths = [len(self.columns), len(self.single), len(self.coarse), len(self.labels)]
        if len(set(widths)) != 1:
            raise DataError(f"token counts disagree on the number of columns: {widths}")
        if self.pairs.shape != (len(self.pair_list()), COARSE_BINS, COARSE_BINS):
            raise DataError(f"token counts hold pairs of shape {self.pairs.shape} for {len(self.pair_list())} pairs")

    def pair_list(self) -> list[tuple[int, int]]:
        """The column positions of each entry of `pairs`."""
        return column_pairs(len(self.columns)) if self.listed is None else list(self.listed)

    def measured(self) -> TokenCounts:
        """The same with the pairs of `measured_columns` alone."""
        chosen, columns = measured_columns(len(self.columns)), len(self.columns)
        if len(chosen) == columns or self.listed is not None:
            return self
        listed = tuple(itertools.combinations(chosen, 2))
        at = [i * columns - i * (i + 1) // 2 + j - i - 1 for i, j in listed]
        return replace(self, pairs=self.pairs[at], listed=listed)

    def __add__(self, other: TokenCounts) -> TokenCounts:
        """The counts of both tables together (DataError if another codec counted them)."""
        self.check_same_bins(other)
        single = tuple(a + b for a, b in zip(self.single, other.single, strict=True))
        return replace(self, rows=self.rows + other.rows, single=single, pairs=self.pairs + other.pairs)

    def with_rows_of(self, other: TokenCounts) -> TokenCounts:
        """The same, made in the arrays of this table, which must not be used any more: pairs of a wide table are large."""
        self.check_same_bins(other)
        for own, more in zip((*self.single, self.pairs), (*other.single, other.pairs), strict=True):
            own += more
        return replace(self, rows=self.rows + other.rows)

    def check_same_bins(self, other: TokenCounts) -> None:
        """DataError unless both were counted with the same columns, bins and pairs."""
        same = (
            self.columns == other.columns
            and self.pair_list() == other.pair_list()
            and all(len(a) == len(b) for a, b in zip(self.single, other.single, strict=True))
            and all(np.array_equal(a, b) for a, b in zip(self.coarse, other.coarse, strict=True))
        )
        if not same:
            raise DataError("these token counts come from different codecs; count both tables with one codec")

    def save(self, path: str | Path) -> None:
        """Writes an npz of integer and text arrays; nothing in it can run."""
        names = {"columns": self.columns, "labels": self.labels, "listed": self.listed}
        text = json.dumps({"format": 1, **names}, ensure_ascii=True)
        sizes = np.array([len(s) for s in self.single], dtype=np.int64)
        with Path(path).open("wb") as out:
            np.savez_compressed(
                out,
                rows=np.int64(self.rows),
                names=np.array(text),
                sizes=sizes,
                pairs=self.pairs,
                single=np.concatenate([*self.single, np.zeros(0, np.int64)]).astype(np.int64),
                coarse=np.concatenate([*self.coarse, np.zeros(0, np.uint8)]).astype(np.uint8),
            )

    @classmethod
    def load(cls, path: str | Path) -> TokenCounts:
        """The counts that `save` wrote (DataError when the file holds anything else)."""
        try:
            with np.load(Path(path), allow_pickle=False) as held:
                names = json.loads(str(held["names"]))
                cuts = np.cumsum(held["sizes"])[:-1]
                some = len(held["sizes"]) > 0
                listed = None if names["listed"] is None else tuple((int(a), int(b)) for a, b in names["listed"])
                return cls(
                    int(held["rows"]),
                    tuple(names["columns"]),
                    tuple(np.split(held["single"], cuts)) if some else (),
                    tuple(np.split(held["coarse"], cuts)) if some else (),
                    held["pairs"],
                    tuple(tuple(column) for column in names["labels"]),
                    listed,
                )
        except (ValueError, KeyError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise DataError("a token count file is damaged or of another format") from None
