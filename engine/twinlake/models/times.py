"""What dates and times need beyond other numbers: a place in the week or the day, and the time since another column.

A folded column is cut into whole periods (weeks or days) and the phase within one, so that daily and weekly shapes are learned
however few rows an hour of a certain week has. A column that never comes before another one (`ended` after `started`) is
learned as the difference, which keeps their order by construction. Knows nothing of models, Spark or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
DAY_US = 86_400_000_000
STEPS_US = (DAY_US, 3_600_000_000, 60_000_000, 1_000_000, 1_000)
SHAPE = 0.02
LEAST_ROWS = 100
MANY = 0.02
TIGHTER = 0.5


@dataclass(frozen=True)
class Phase:
    """Where in its period a time falls: single values (`atoms`, sorted) and cells [low, high] that may hold atoms."""

    atoms: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def size(self) -> int:
        """Values of its token: atoms, then cells."""
        return len(self.atoms) + len(self.low)

    def encode(self, values: Ints) -> Ints:
        """The token of each value; one that lies in no cell takes the nearest below, else the first."""
        atoms, low = np.array(self.atoms, np.int64), np.array(self.low, np.int64)
        code = np.zeros(len(values), np.int64)
        if len(low):
            code = len(atoms) + np.maximum(np.searchsorted(low, values, side="right") - 1, 0)
        if len(atoms):
            at = np.clip(np.searchsorted(atoms, values, side="right") - 1, 0, len(atoms) - 1)
            code = np.where((atoms[at] == values) | (len(low) == 0), at, code)
        return code

    def cells(self, codes: Ints) -> tuple[Ints, Ints]:
        """The least and the greatest value of each token."""
        low, high = (np.array([*self.atoms, *ends], np.int64) for ends in (self.low, self.high))
        codes = np.minimum(codes, self.size - 1)
        return low[codes], high[codes]


def period_of(values: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], day: int, width: float) -> int:
    """The period that times should be folded by, in their units: a week, a day, or 0 for none. One single value of many rows,
    or a sentinel, must come back exactly, so then there is none.

    `day`: units of a day; `width`: of the cells that an unfolded codec would have. The gain of a phase is its negentropy in
    nats a row (uniform: 0), less what so many rows show by chance (Miller, "Note on the bias of information estimates", 1955).
    """
    grain = max(1, day // 24)
    if width <= grain or weights.max() >= MANY * weights.sum() or has_sentinel(values, weights):
        return 0

    def shape(period: int) -> float:
        share = np.bincount((values % period) // grain, weights=weights, minlength=period // grain) / weights.sum()
        held = share[share > 0]
        return float((held * np.log(held * (period // grain))).sum() - (len(share) - 1) / (2 * weights.sum()))

    weekly, daily = shape(7 * day), shape(day) if day > 1 else 0.0
    if weekly - daily >= SHAPE:
        return 7 * day
    return day if daily >= SHAPE else 0


# -- the time since another column -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Since:
    """Column `column` is `base` plus (`sign` 1) or less (-1) a difference of 0 or more, in `unit`s of microseconds, or of days
    where it holds dates; and no less than `least` and no more than `most` (microseconds or days)."""

    column: int
    base: int
    sign: int
    unit: int
    least: int = -(2**62)
    most: int = 2**62


def since_of(batch: pa.RecordBatch, allowed: Sequence[int]) -> list[Since]:
    """Which of the `allowed` date and time columns of these rows are better told by the time since another one.

    A difference must never be negative, be known wherever the column is, and spread less than half as far as the column
    (between quartiles); and neither column may have a sentinel, which stands for no date at all. A date follows a time; of
    two columns of one type the later follows the earlier, so no circle arises.
    """
    times = [i for i in allowed if pa.types.is_date(batch.column(i).type) or pa.types.is_timestamp(batch.column(i).type)]
    found: list[Since] = []
    for column in times:
        best: tuple[float, Since] | None = None
        for base in times:
            for sign in (1, -1):
                if _may_follow(batch, column, base, sign) and (told := _told(batch, column, base, sign)) is not None:
                    best = min(best or told, told, key=lambda one: one[0])
        if best is not None:
            found.append(best[1])
    return found


def _may_follow(batch: pa.RecordBatch, column: int, base: int, sign: int) -> bool:
    dates = [pa.types.is_date(batch.column(i).type) for i in (column, base)]
    return column != base and (sign == 1 if dates[0] == dates[1] else dates[0])


def _told(batch: pa.RecordBatch, column: int, base: int, sign: int) -> tuple[float, Since] | None:
    own, other = batch.column(column), batch.column(base)
    since = Since(column, base, sign, 1)
    gaps = difference(own, other, since)
    known = gaps.drop_null().to_numpy()
    if len(known) < LEAST_ROWS or known.min() < 0 or known.max() == 0:
        return None
    values = whole(own.drop_null()).to_numpy()
    spread, gap_spread = _spread(values), _spread(known)
    if not gap_spread < TIGHTER * spread:
        return None
    if any(has_sentinel(*np.unique(v, return_counts=True)) for v in (values, whole(other.drop_null()).to_numpy())):
        return None
    unit = 1 if pa.types.is_date(own.type) else next((s for s in STEPS_US if not (known % s).any()), 1)
    return gap_spread / spread, Since(column, base, sign, unit)


def has_sentinel(values: npt.NDArray[Any], rows: npt.NDArray[Any]) -> bool:
    """Whether an end of the sorted distinct `values` is held by many `rows` (0.5%, at least five) and lies apart: farther from
    the next value than the middle half of those between both ends spreads."""
    if len(values) < 4:
        return True
    share = np.cumsum(rows[1:-1]) / rows[1:-1].sum()
    low, high = values[1:-1][np.searchsorted(share, [0.25, 0.75])]
    for end, gap in ((0, values[1] - values[0]), (-1, values[-1] - values[-2])):
        if rows[end] >= max(5, 0.005 * rows.sum()) and gap > high - low:
            return True
    return False


def _spread(values: npt.NDArray[np.int64]) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low)


def difference(own: pa.Array, base: pa.Array, since: Since) -> pa.Array:
    """How far `own` is from `base`, int64 in units; null where `own` is; -1 where the base is missing or on the wrong side."""
    gap = pc.subtract(whole(own), _in_units_of(base, own.type))
    gap = pc.multiply(gap, pa.scalar(since.sign, pa.int64()))
    wrong = pc.and_(pc.is_valid(own), pc.fill_null(pc.less(gap, 0), True))
    told = pc.if_else(wrong, pa.scalar(-1, pa.int64()), _floor(gap, since.unit))
    return pc.if_else(pc.is_valid(own), told, pa.scalar(None, pa.int64()))


def moved(base: pa.Array, gaps: pa.Array, since: Since, kind: pa.DataType) -> pa.Array:
    """The inverse: values of type `kind` that are `gaps` away from `base`, within the ends of the column (which lie on that
    side of the base's); null where either is."""
    steps = pc.multiply(gaps, pa.scalar(since.sign * since.unit, pa.int64()))
    found = _within(pc.add(_in_units_of(base, kind), steps), since.least, since.most)
    return _of_type(found, kind)


def followed(base: pa.Array, before: pa.Array, after: pa.Array, ends: tuple[int, int]) -> pa.Array:
    """`base` moved as far as a column that was told by it moved from `before` to `after`, but not beyond its `ends`; as it is
    where one is null."""
    step = DAY_US if pa.types.is_date(after.type) and not pa.types.is_date(base.type) else 1
    by = pc.multiply(pc.subtract(whole(after), whole(before)), pa.scalar(step, pa.int64()))
    found = _within(pc.add(whole(base), pc.fill_null(by, 0)), *ends)
    return _of_type(found, base.type)


def base_range(
    ends: Mapping[str, int], gaps: tuple[int, int], since: Since, is_date: bool, base_is_date: bool
) -> dict[str, int]:
    """Between which values of the base (days or microseconds) a column told by it can reach `ends` (min, max) by `gaps`."""
    near, far = (gap * since.unit for gap in (gaps if since.sign == 1 else (-gaps[1], -gaps[0])))
    out = {name: end - (far if name == "min" else near) for name, end in ends.items()}
    if is_date and not base_is_date:
        out = {name: (day if name == "min" else day + 1) * DAY_US - (name == "max") for name, day in out.items()}
    return out


@dataclass(frozen=True)
class Span:
    """A range of days or microseconds that may be open at one end, and how far from its end to draw where it is."""

    least: int | None
    most: int | None
    width: int

    def place(self, array: pa.Array, uniform: npt.NDArray[np.float64]) -> pa.Array:
        """Dates or times with those outside drawn anew, each as likely."""
        values = whole(array)
        low = self.least if self.least is not None else (self.most or 0) - self.width
        high = self.most if self.most is not None else low + self.width
        drawn = pa.array(low + np.floor(uniform * (max(low, high) - low + 1.0)).astype(np.int64))
        early = pc.less(values, low) if self.least is not None else pa.scalar(False)
        late = pc.greater(values, high) if self.most is not None else pa.scalar(False)
        found = pc.if_else(pc.fill_null(pc.or_(early, late), True), drawn, values)
        return _of_type(found, array.type)


def whole(array: pa.Array) -> pa.Array:
    """Days of dates, microseconds of times; int64."""
    if pa.types.is_date(array.type):
        return array.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
    return array.cast(pa.timestamp("us", array.type.tz)).cast(pa.int64())


def _within(array: pa.Array, least: int, most: int) -> pa.Array:
    return pc.min_element_wise(pc.max_element_wise(array, least, skip_nulls=False), most, skip_nulls=False)


def _of_type(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array.cast(pa.int32()).cast(pa.date32()) if pa.types.is_date(kind) else array.cast(kind)


def _in_units_of(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_date(kind) == pa.types.is_date(array.type):
        return whole(array)
    return _floor(whole(array), DAY_US) if pa.types.is_date(kind) else pc.multiply(whole(array), DAY_US)


def _floor(array: pa.Array, unit: int) -> pa.Array:
    if unit == 1:
        return array
    filled = array.fill_null(0).to_numpy(zero_copy_only=False) // unit
    return pa.array(filled, pa.int64(), mask=array.is_null().to_numpy(zero_copy_only=False))
