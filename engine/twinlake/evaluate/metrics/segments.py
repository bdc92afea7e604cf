"""Is the twin as good within groups of rows as it is on the whole? A twin can be right on average and wrong for the few.

A segment is the rows that share a value of a category or a bin of a number. Within it, every other column of the twin is held
against that of the train rows by total variation, beside the same of held-out rows of the segment: what chance does to so few
rows, it does to both. The rows of a pair's contingency table are these distributions, so that nothing is read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twinlake.evaluate.bars import RANGE
from twinlake.evaluate.counters import Floats, Ints
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.profile.counts import TokenCounts

LEAST = 50  # rows of a segment in each table, or `k` where that is more
WORST = 10
FEW = 0.5  # a share of rows this small against that of the train rows is a lack
RARE = "(rare)"


@dataclass(frozen=True)
class Segment:
    """A segment and its other columns: total variation of the twin, the twin at the holdout's size, and the holdout, [others],
    NaN where there is no such table; `rows` of train, twin, the twin at the holdout's size, and holdout (or None)."""

    column: int
    label: str
    others: tuple[int, ...]
    distance: Mapping[str, Floats]
    rows: Mapping[str, int]

    def tv(self, table: str) -> float | None:
        """The mean over the other columns."""
        return float(self.distance[table].mean()) if table in self.distance else None

    def excess(self) -> Floats:
        """How much farther the twin is than held-out rows, at equal numbers of rows where both are known, [others]."""
        return self.distance.get("at", self.distance["twin"]) - self.distance.get("holdout", np.zeros(len(self.others)))


def segment_tv(evidence: Evidence) -> Result:
    """The mean over segments of the mean total variation of the other columns within the segment."""
    real, twin = evidence.counts_real, evidence.counts_synthetic
    if real is None or twin is None:
        return not_computed("no token counts were given")
    if real.rows == 0 or twin.rows == 0:
        return not_computed("one of the tables has no rows")
    held, at = evidence.counts_holdout, evidence.counts_synthetic_at_holdout
    tables = {"train": real, "twin": twin}
    if held is not None and held.rows:
        tables |= {"holdout": held} | ({"at": at} if at is not None and at.rows else {})
    least = max(LEAST, evidence.k)
    wanted = {*evidence.numeric(), *evidence.categorical()}
    found, lacking, small = segments(tables, [c for c, name in enumerate(real.columns) if name in wanted], least)
    names = real.columns
    undefined = {
        "least": least,
        "too_small": small,
        "lacking": [{"column": names[c], "group": label, "n": n, "reason": reason} for c, label, n, reason in lacking[:WORST]],
    }
    if not found:
        return not_computed(f"no group of rows has {least} rows in each table and another column that varies", **undefined)
    worst = sorted(found, key=lambda s: (-float(s.excess().mean()), s.column, s.label))[:WORST]
    mean = {t: float(np.mean([s.tv(t) for s in found])) for t in ("twin", "at", "holdout") if t in tables}
    detail: dict[str, Any] = {
        "n": twin.rows,
        "n_reference": held.rows if "holdout" in tables and held is not None else None,
        "at_reference_n": mean.get("at"),
        "measured": len(found),
        "worst": [_told(s, names) for s in worst],
        **undefined,
    }
    return Result(mean["twin"], None, mean.get("holdout"), None, detail)


def _told(segment: Segment, names: Sequence[str]) -> dict[str, Any]:
    return {
        "column": names[segment.column],
        "group": segment.label,
        "tv": segment.tv("twin"),
        "at_reference_n": segment.tv("at"),
        "reference": segment.tv("holdout"),
        "n": segment.rows["train"],
        "n_twin": segment.rows["twin"],
        "n_reference": segment.rows.get("holdout"),
        "most": names[segment.others[int(np.argmax(segment.excess()))]],
    }


Lacking = tuple[int, str, int, str]


def segments(tables: Mapping[str, TokenCounts], columns: Sequence[int], least: int) -> tuple[list[Segment], list[Lacking], int]:
    """The segments by the coarse bins of `columns` that have `least` rows in each of `tables` ("train", "twin", and "holdout",
    "at"); those of enough real rows that the twin lacks (column, label, train rows, reason); how many are too small."""
    real = tables["train"]
    for other in tables.values():
        real.check_same_bins(other)
    varies = [int((x > 0).sum()) > 1 for x in real.single]
    beside: dict[int, list[tuple[int, int]]] = {}  # column -> the entries of its pairs, and the other column
    for place, (i, j) in enumerate(real.pair_list()):
        if varies[i] and varies[j]:
            beside.setdefault(i, []).append((place, j))
            beside.setdefault(j, []).append((place, i))
    found: list[Segment] = []
    lacking: list[Lacking] = []
    small = 0
    for column in (c for c in columns if c in beside):
        others = tuple(j for _, j in beside[column])
        cells = {name: _of(counts, column, beside[column]) for name, counts in tables.items()}
        rows: dict[str, Ints] = {name: held[0].sum(1).astype(np.int64) for name, held in cells.items()}
        for at, label in coarse_labels(real, column).items():
            n = {name: int(held[at]) for name, held in rows.items()}
            if label == RARE:
                continue  # what no twin is to have
            scarce = n["twin"] / tables["twin"].rows < FEW * n["train"] / real.rows
            if scarce and min(n["train"], n.get("holdout", least)) >= least:
                lacking.append((column, label, n["train"], "the twin has less than half as many of these rows"))
            elif min(n.values()) < least:
                small += n["train"] > 0
            else:
                of = {name: held[:, at] / held[:, at].sum(1, keepdims=True) for name, held in cells.items()}
                distance = {name: 0.5 * np.abs(of["train"] - q).sum(1) for name, q in of.items() if name != "train"}
                found.append(Segment(column, label, others, distance, n))
    return found, sorted(lacking, key=lambda one: (-one[2], one[0])), small


def _of(counts: TokenCounts, column: int, beside: Sequence[tuple[int, int]]) -> Floats:
    """The contingency tables of a column with each other one, [others, 16 bins of the column, 16 bins of the other]."""
    return np.stack([counts.pairs[p] if column < j else counts.pairs[p].T for p, j in beside]).astype(np.float64)


def coarse_labels(counts: TokenCounts, column: int) -> dict[int, str]:
    """A short text for each coarse bin of a column, of the labels of its bins: of several bins of a number their range, of
    several values how many they are."""
    groups: dict[int, list[str]] = {}
    for label, bin_ in zip(counts.labels[column], counts.coarse[column], strict=True):
        groups.setdefault(int(bin_), []).append(label)
    return {bin_: _joined(labels) for bin_, labels in groups.items()}


def _joined(labels: list[str]) -> str:
    ends = [RANGE.match(label) for label in labels]
    first, last = ends[0], ends[-1]
    if len(labels) == 1:
        return labels[0]
    return f"{first[1]} .. {last[2]}" if first and last and all(ends) else f"{len(labels)} more values"


SEGMENTS = {"segment_tv": Metric("segment_tv", "Groups of rows", "fidelity", "lower", segment_tv)}
