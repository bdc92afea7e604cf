"""How one column becomes tokens, as plain data: what the codec of a table is made of, and what JSON holds of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.models.times import Phase, Since

BLOCK = 256
WIDE = 512
Tokens = npt.NDArray[np.uint16]
STATES = ("null", "nan", "+inf", "-inf")


@dataclass(frozen=True)
class ColumnCodec:
    """How one column becomes tokens. Fields that a method does not use keep their defaults.

    `values`: texts of a category in order of frequency, or the one text of a constant. `states`: which of STATES occur
    ("present" and "null" for regenerated columns). `texts`: frequent values that the domain can't hold, as text.
    `atoms`, `low`, `high`: in domain units (integers of the grid, or floats); `bin_start[i]`: first cell of bin i.
    `domain`: "int" or "float". `scale`: decimal places; `step`: grid of times in domain units. `text`: how numbers are
    written as text (models/written.py). `coarse`: one of at most 16 bins for each value of the first token, for
    pairwise counts. `period`: of a folded column, in domain units; then token A is about whole periods, and token B is the
    `phase`, and `ends` the least and greatest value. `since`: the domain is the difference from another column.
    `width`: how many digits tell a number; `day`: domain units of a day, where the digits are those of a date.
    """

    name: str
    type: str
    method: str
    values: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    atoms: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    bin_start: tuple[int, ...] = ()
    domain: str = "int"
    scale: int = 0
    step: int = 1
    text: str = ""
    entity: str = ""
    recipe: dict[str, Any] | None = None
    coarse: tuple[int, ...] = ()
    period: int = 0
    phase: Phase | None = None
    since: Since | None = None
    ends: tuple[int, ...] = ()
    width: int = 0
    day: int = 0

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Vocabulary of each token of the column; empty when nothing is learned."""
        if self.method == "category":
            count = len(self.values)
            head = -(-count // BLOCK) if count > WIDE else count
            return (head + len(self.states) + 1, BLOCK) if count > WIDE else (head + len(self.states) + 1,)
        if self.method == "number":
            first = len(self.states) + len(self.texts) + len(self.atoms) + len(self.bin_start) + 1
            if self.phase is not None:
                return (first, self.phase.size)
            widest = int(np.diff([*self.bin_start, len(self.low)]).max()) if self.bin_start else 1
            return (first, widest) if widest > 1 else (first,)
        if self.method == "digits":
            return (2 + len(self.states) + len(self.texts) + 1, *[10] * self.width)
        return (2,) if "null" in self.states and self.method in ("surrogate", "key", "format") else ()

    @cached_property
    def drawable(self) -> npt.NDArray[np.bool_]:
        """Which values of the first token may be drawn: all but the rare one."""
        mask = np.ones(self.sizes[0] if self.sizes else 0, dtype=bool)
        if self.method in ("category", "number", "digits") and mask[:-1].any():
            mask[-1] = False
        return mask

    @property
    def null(self) -> int | None:
        """The value of the first token that stands for null; None where null is not learned."""
        if "null" not in self.states or not self.sizes:
            return None
        return {
            "category": self.sizes[0] - 2,
            "number": self.states.index("null"),
            "digits": 2 + self.states.index("null"),
        }.get(self.method, 1)

    @cached_property
    def cells(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int64]]:
        """`atoms`, `low`, `high` in the type of the domain, and `bin_start`."""
        kind = np.int64 if self.domain == "int" else np.float64
        return (
            np.array(self.atoms, kind),
            np.array(self.low, kind),
            np.array(self.high, kind),
            np.array(self.bin_start, np.int64),
        )

    @cached_property
    def behind(self) -> npt.NDArray[np.int64]:
        """How many values of the second token each value of the first one has; [V0]."""
        out = np.ones(self.sizes[0], np.int64)
        if self.method == "category":
            blocks = -(-len(self.values) // BLOCK)
            out[:blocks] = np.minimum(BLOCK, len(self.values) - BLOCK * np.arange(blocks))
        elif self.phase is not None:
            out[len(self.states) + len(self.texts) : -1] = self.phase.size
        else:
            out[-1 - len(self.bin_start) : -1] = np.diff([*self.bin_start, len(self.low)])
        return out

    def placed(self, values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Atom or bin, as the first token, and the cell of that bin, for each of `values` (in domain units)."""
        atoms, low, _, bin_start = self.cells
        atoms_at = len(self.states) + len(self.texts)
        first, second = np.full(len(values), self.sizes[0] - 1, np.int64), np.zeros(len(values), np.int64)
        if len(low):
            bins = np.repeat(np.arange(len(bin_start)), np.diff(np.append(bin_start, len(low))))
            cell = np.maximum(np.searchsorted(low, values, side="right") - 1, 0)
            bin_ = bins[cell]
            first, second = atoms_at + len(atoms) + bin_, cell - bin_start[bin_]
        if len(atoms):
            at = np.minimum(np.searchsorted(atoms, values), len(atoms) - 1)
            hit = atoms[at] == values
            first, second = np.where(hit, atoms_at + at, first), np.where(hit, 0, second)
        return first, second

    @cached_property
    def span(self) -> tuple[int, int]:
        """The whole numbers of which all below have the tokens of the first, and all above those of the last."""
        ends = (*self.atoms, *self.low, *self.high)
        return max(int(min(ends, default=0)) - 1, -(2**63)), min(int(max(ends, default=0)) + 1, 2**63 - 1)

    @cached_property
    def placed_span(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """`placed` of every whole number of the span."""
        return self.placed(np.arange(self.span[0], self.span[1] + 1))

    @property
    def reach(self) -> tuple[int, int]:
        """The least and the greatest date or time, in days or microseconds."""
        if self.since is not None:
            return self.since.least, self.since.most
        ends = self.ends or (min(self.atoms + self.low), max(self.atoms + self.high))
        return int(ends[0]) * self.step, int(ends[1]) * self.step

    @cached_property
    def value_set(self) -> pa.Array:
        """`values` as an array."""
        return pa.array(self.values, pa.string())


def column_from_json(raw: dict[str, Any]) -> ColumnCodec:
    """A ColumnCodec from its JSON form."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    if raw.get("phase"):
        fields["phase"] = Phase(**{k: tuple(v) for k, v in raw["phase"].items()})
    if raw.get("since"):
        fields["since"] = Since(**raw["since"])
    return ColumnCodec(**fields)
