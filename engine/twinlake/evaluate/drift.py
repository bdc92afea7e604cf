"""How far a table has moved from another: total variation of each column and pair of columns, beside what chance does.

Two draws of one table differ too. `by_chance` is the mean total variation of two such draws of as many rows, each share taken
for normal; `moved` says that a distance is above it by more than sqrt(log(20 m) / 2 * (1 / n + 1 / n')), of m columns or pairs,
which chance exceeds once in twenty comparisons at most (McDiarmid, "On the method of bounded differences", 1989, and
Bonferroni). Rows are taken for independent. Works on token counts alone and reads no table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from twinlake.core.errors import ConfigError, escaped, nearest
from twinlake.core.text_tables import aligned, markdown
from twinlake.evaluate.counters import Floats
from twinlake.evaluate.metrics.fidelity import total_variation
from twinlake.profile.counts import Counts, TokenCounts
from twinlake.tables.parts import write_text

SHOWN = 10
ERROR = 0.05


@dataclass(frozen=True)
class Change:
    """Of a column or a pair: its total variation, in 0..1, what chance does, and whether it is surely more than that. `beyond`,
    of a pair: its total variation above that of its columns alone, 0 where they hang together as before."""

    columns: tuple[str, ...]
    tv: float
    by_chance: float
    moved: bool
    beyond: float | None = None


@dataclass(frozen=True)
class Drift:
    """What `drift_between` found, the farthest first. `rows` of both tables; `left_out`: column -> why it has no number."""

    rows: tuple[int, int]
    columns: tuple[Change, ...]
    pairs: tuple[Change, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, float | None]:
        """The numbers that a limit can be set for: None where nothing was compared."""
        return {name: of(self) for name, of in SUMMARY.items()}

    def to_json(self) -> str:
        """Strict JSON text. Holds names and shares of rows, no value of a table."""
        told = {**asdict(self), "rows": {"first": self.rows[0], "second": self.rows[1]}}
        return json.dumps({"format": 1, "summary": self.summary(), **told}, ensure_ascii=False, indent=1, allow_nan=False)

    def save(self, folder: Path) -> None:
        """Writes drift.json and drift.md. Errors: ConfigError for a folder that can't be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "drift.json", self.to_json())
            write_text(folder / "drift.md", self.to_markdown())
        except OSError as error:
            raise ConfigError(f"--out: {escaped(str(folder))} can't be written: {error.strerror}; choose another") from None

    def failed(self, fail_over: Mapping[str, float]) -> list[str]:
        """A line for each limit, as `limits_of` read it, that is passed or for which there is no number."""
        lines, found = [], self.summary()
        for name, limit in fail_over.items():
            value = found[name]
            if value is None:
                lines.append(f"{name}: nothing could be compared, limit {limit:g}")
            elif value > limit:
                lines.append(f"{name}: {value:.4g} is above the limit {limit:g}")
        return lines

    def to_text(self) -> str:
        """A short account for a terminal."""
        return "\n\n".join([self._head(), *(f"{title}\n{aligned(rows)}" for title, rows in self._tables())])

    def to_markdown(self) -> str:
        """The same for a pull request or a chat; names are escaped."""
        return (
            "\n\n".join(["# Drift", self._head(), *(f"## {title}\n\n{markdown(rows)}" for title, rows in self._tables())])
            + "\n"
        )

    def _head(self) -> str:
        moved = [sum(c.moved for c in some) for some in (self.columns, self.pairs)]
        lines = [f"{self.rows[0]:,} rows against {self.rows[1]:,} rows."]
        if self.columns:
            lines.append(
                f"{moved[0]} of {len(self.columns)} columns moved by more than chance, {moved[1]} of {len(self.pairs)} pairs."
            )
        else:
            lines.append("No column could be compared.")
        return " ".join([*lines, *self.notes.values()])

    def _tables(self) -> list[tuple[str, list[list[str]]]]:
        out = []
        if self.columns:
            out.append(("Columns that moved most", [["column", "moved by", "by chance", ""], *map(_row, self.columns[:SHOWN])]))
        if self.pairs:
            head = ["pair", "moved by", "by chance", "", "beyond its columns"]
            out.append(("Pairs that moved most, beyond their columns", [head, *map(_row, self.pairs[:SHOWN])]))
        if self.left_out:
            out.append(
                (
                    "Not compared, or not in its values",
                    [["column", "why"], *([escaped(c), why] for c, why in self.left_out.items())],
                )
            )
        return out


def _row(one: Change) -> list[str]:
    cells = [" x ".join(map(escaped, one.columns)), f"{one.tv:.4f}", f"{one.by_chance:.4f}", "moved" if one.moved else ""]
    return cells if one.beyond is None else [*cells, f"{one.beyond:.4f}"]


def _worst(some: tuple[Change, ...]) -> float | None:
    return max((c.tv for c in some), default=None)


def _mean(some: tuple[Change, ...]) -> float | None:
    return float(np.mean([c.tv for c in some])) if some else None


SUMMARY: dict[str, Callable[[Drift], float | None]] = {
    "worst_column": lambda d: _worst(d.columns),
    "worst_pair": lambda d: _worst(d.pairs),
    "mean_column": lambda d: _mean(d.columns),
    "mean_pair": lambda d: _mean(d.pairs),
}


def limits_of(texts: Sequence[str]) -> dict[str, float]:
    """{number: limit} of texts such as worst_column=0.1. Errors: ConfigError for an unknown number or no limit of 0 to 1."""
    limits = {}
    for text in texts:
        name, _, limit = text.partition("=")
        if name not in SUMMARY:
            raise ConfigError(f"--fail-over: no number {name!r}{nearest(name, SUMMARY)}; known: {', '.join(SUMMARY)}")
        try:
            limits[name] = float(limit)
        except ValueError:
            limits[name] = -1.0
        if not 0.0 <= limits[name] <= 1.0:
            raise ConfigError(f"--fail-over {name}: got {limit!r}; give a number of 0 to 1, such as {name}=0.1")
    return limits


def drift_between(
    first: TokenCounts,
    second: TokenCounts,
    left_out: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Drift:
    """The drift of `second` from `first`, counted by one codec; columns and pairs by falling distance, those of pairs `beyond`
    their columns. Errors: DataError when two codecs counted them."""
    first.check_same_bins(second)
    rows, names = (first.rows, second.rows), first.columns
    known = dict(left_out or {})
    if not min(rows):
        return Drift(rows, (), (), known | dict.fromkeys(names, "one of the tables has no rows"), notes or {})
    columns = [_change((c,), a, b, len(names)) for c, a, b in zip(names, first.single, second.single, strict=True)]
    pairs = []
    for (i, j), a, b in zip(first.pair_list(), first.pairs, second.pairs, strict=True):
        if a.sum() and b.sum():
            apart = max(total_variation(a.sum(axis), b.sum(axis)) or 0.0 for axis in (0, 1))
            pairs.append(_change((names[i], names[j]), a, b, len(first.pairs), apart))
    by_pair = sorted(pairs, key=lambda c: (-(c.beyond or 0.0), c.columns))
    return Drift(rows, tuple(sorted(columns, key=lambda c: (-c.tv, c.columns))), tuple(by_pair), known, notes or {})


def _change(names: tuple[str, ...], a: Counts, b: Counts, compared: int, apart: float | None = None) -> Change:
    tv, (chance, slack) = total_variation(a, b) or 0.0, by_chance(a, b, compared)
    beyond = None if apart is None else max(0.0, tv - apart)
    return Change(names, tv, chance, tv > chance + slack, beyond)


def by_chance(a: Counts | Floats, b: Counts | Floats, compared: int) -> tuple[float, float]:
    """The mean total variation of two draws with the shares that both have together, and how much more one of `compared` such
    numbers may be by chance."""
    per_row = 1.0 / float(a.sum()) + 1.0 / float(b.sum())
    share = (a + b).ravel() / float(a.sum() + b.sum())
    mean = float(0.5 * np.sqrt(2.0 / np.pi * share * (1.0 - share) * per_row).sum())
    return mean, float(np.sqrt(np.log(compared / ERROR) / 2.0 * per_row))
