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
        return (2,) if "null" in self.states and self.method in ("surrogate", "key", "format") else ()

    @cached_property
    def drawable(self) -> npt.NDArray[np.bool_]:
        """Which values of the first token may be drawn: all but the rare one."""
        mask = np.ones(self.sizes[0] if self.sizes else 0, dtype=bool)
        if self.method in ("category", "number") and mask[:-1].any():
            mask[-1] = False
        return mask

    @property
    def null(self) -> int | None:
        """The value of the first token that stands for null; None where null is not learned."""
        if "null" not in self.states or not self.sizes:
            return None
        return {"category": self.sizes[0] - 2, "number": self.states.index("null")}.get(self.method, 1)

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
