"""Relations between columns that hold in every train row, and that the twin keeps exactly.

- determines (a, b): the value of a decides that of b (city -> state). Kept while drawing: models/sampler.py.
- copy (a, b): b = a.
- sum (a, b, c): c = a + b, of whole numbers and decimals.
- order (a, b): a <= b, of two dates or two times.

Candidates are those that hold in a sample of rows; `Check` then looks at all of them, part by part. The last three are
restored on decoded rows, by changing cells that are free: those that no condition and no seed row fixes.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.models.codec import Codec, Relation
from twinlake.models.column import ColumnCodec
from twinlake.models.numbers import from_domain, to_domain
from twinlake.models.times import difference, followed, moved
from twinlake.profile.partials import decoded

SAMPLE_ROWS = 20_000
LEAST_ROWS = 100
MAX_NUMBERS = 40
MAX_CODES = 1 << 18
FEW_ROWS = 300
MAX_DECIDING = 8
Free = Mapping[int, npt.NDArray[np.bool_]]


def codes_of(column: ColumnCodec, tokens: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """One number for the value that the tokens [rows, len(sizes)] of a closed column stand for."""
    first = tokens[:, 0].astype(np.int64)
    return first if len(column.sizes) == 1 else first * column.sizes[1] + tokens[:, 1]


def is_closed(column: ColumnCodec) -> bool:
    """Whether tokens tell the exact value: categories, and numbers of few values."""
    codes = int(np.prod(column.sizes)) if column.sizes else 0
    whole = not column.bin_start and column.phase is None and column.since is None
    return column.method in ("category", "number") and whole and 0 < codes <= MAX_CODES


def candidates(codec: Codec, tokens: npt.NDArray[Any], batch: pa.RecordBatch) -> list[Relation]:
    """The relations that hold in all of these rows (without the maps of determines)."""
    if batch.num_rows < LEAST_ROWS:
        return []
    found = _copies(codec, batch) + _orders(codec, batch) + _sums(codec, batch)
    return found + _determined(codec, tokens)


def _determined(codec: Codec, tokens: npt.NDArray[Any]) -> list[Relation]:
    """Pairs of closed columns of which the first decides the second in these rows; for each second at most MAX_DECIDING,
    those of the most values. Few rows rule most pairs out."""
    closed = [i for i, c in enumerate(codec.columns) if is_closed(c)]
    codes = {i: codes_of(codec.columns[i], tokens[:, list(codec.slots[i])]) for i in closed}
    distinct = {i: len(np.unique(codes[i])) for i in closed}
    finest = sorted(closed, key=lambda i: (-distinct[i], i))
    found = []
    for b in closed:
        deciding = 0
        for a in finest:
            both = distinct[a] == distinct[b]  # one direction is enough where each decides the other
            if a == b or distinct[b] < 2 or distinct[b] > distinct[a] or (both and b < a) or distinct[a] > len(tokens) // 10:
                continue
            if all(_map_of(codec, (a, b), tokens[:rows]) is not None for rows in (FEW_ROWS, len(tokens))):
                found.append(Relation("determines", (a, b)))
                deciding += 1
            if deciding == MAX_DECIDING:
                break
    return sorted(found, key=lambda r: r.columns)


@dataclass
class Check:
    """Looks whether relations hold, batch by batch. Checks of the same relations are joined through files."""

    codec: Codec
    relations: Sequence[Relation]
    holds: list[bool] = field(default_factory=list)
    maps: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.holds = [True] * len(self.relations)

    def add(self, tokens: npt.NDArray[Any], batch: pa.RecordBatch) -> None:
        """Looks at more rows."""
        for number, relation in enumerate(self.relations):
            if not self.holds[number]:
                continue
            if relation.kind == "determines":
                self.merge(number, _map_of(self.codec, relation.columns, tokens))
            else:
                self.holds[number] = _kept(self.codec, relation, batch)

    def merge(self, number: int, found: npt.NDArray[np.int64] | None) -> None:
        """Takes the map that other rows gave; None: the relation is broken there."""
        before = self.maps.get(number)
        if found is None or (before is not None and ((found != before) & (found >= 0) & (before >= 0)).any()):
            self.holds[number] = False
            self.maps.pop(number, None)
            return
        self.maps[number] = found if before is None else np.maximum(found, before)

    def save(self, path: str | Path) -> None:
        """Writes what was found, as plain arrays: `holds` bool [relations] and the maps by number (a map may have 262,144
        codes, too many to send from every part)."""
        arrays: dict[str, Any] = {"holds": np.array(self.holds), **{str(n): m for n, m in self.maps.items()}}
        with Path(path).open("wb") as out:
            np.savez_compressed(out, **arrays)

    def take(self, path: str | Path) -> None:
        """Joins what another Check of the same relations saved."""
        with np.load(Path(path), allow_pickle=False) as found:
            for number, held in enumerate(found["holds"]):
                if not held:
                    self.merge(number, None)
                elif self.holds[number] and str(number) in found:
                    self.merge(number, found[str(number)])

    def result(self) -> tuple[Relation, ...]:
        """The relations that hold everywhere."""
        kept = [(n, r) for n, r in enumerate(self.relations) if self.holds[n] and (r.kind != "determines" or n in self.maps)]
        return tuple(replace(r, map=tuple(self.maps[n].tolist())) if n in self.maps else r for n, r in kept)


def restore(codec: Codec, drawn: pa.RecordBatch, batch: pa.RecordBatch, free: Free) -> tuple[pa.RecordBatch, list[int]]:
    """`batch` with times since others, copies, sums and orders made exact; and the columns that changed.

    `drawn`: the rows before any cell was given. `free` [rows] by column: the cells that may be changed; a column that is
    not named is free in all rows.
    """
    changed: list[int] = []
    every = np.ones(batch.num_rows, np.bool_)
    for at in sorted((i for i, c in enumerate(codec.columns) if c.since is not None), key=codec.depth):
        if (since := codec.columns[at].since) is not None and {at, since.base} & set(free):
            gaps = difference(drawn.column(at), drawn.column(since.base), since)
            known, follows = gaps.is_valid().to_numpy(zero_copy_only=False), free.get(at, every)
            later = moved(batch.column(since.base), gaps, since, codec.schema.field(at).type)
            batch = _put(codec, batch, at, later, follows & known, changed)
            ends = codec.columns[since.base].reach
            along = followed(batch.column(since.base), drawn.column(at), batch.column(at), ends)
            batch = _put(codec, batch, since.base, along, ~follows & known & free.get(since.base, every), changed)
    orders = [r.columns for r in codec.relations if r.kind == "order"]
    for relation in codec.relations:
        if relation.kind == "copy":
            a, b = relation.columns
            follows = free.get(b, every)
            batch = _put(codec, batch, b, batch.column(a), follows, changed)
            batch = _put(codec, batch, a, batch.column(b), ~follows & free.get(a, every), changed)
        elif relation.kind == "sum":
            batch = _summed(codec, batch, relation.columns, free, changed)
    for _ in orders:  # of a chain each pass mends one more link
        for a, b in orders:
            first, second = batch.column(a), batch.column(b)
            wrong = pc.fill_null(pc.greater(first, second), False).to_numpy(zero_copy_only=False)
            if wrong.any():
                batch = _put(codec, batch, a, second, wrong & free.get(a, every), changed)
                batch = _put(codec, batch, b, first, wrong & free.get(b, every), changed)
    return batch, sorted(set(changed))


def with_determined(codec: Codec, tokens: npt.NDArray[Any], fixed: Container[int]) -> npt.NDArray[Any]:
    """`tokens` with each column that another decides made to follow it; columns that are `fixed` stay."""
    tokens = tokens.copy()
    for relation in codec.relations:
        if relation.kind != "determines":
            continue
        deciding, decided = relation.columns
        if decided in fixed or decided in opening(codec, deciding):
            continue
        a, b = codec.slots[deciding], codec.slots[decided]
        codes = np.array(relation.map, np.int64)[codes_of(codec.columns[deciding], tokens[:, list(a)])]
        width = codec.columns[decided].sizes[-1]
        followed = [codes] if len(b) == 1 else [codes // width, codes % width]
        for slot, own in zip(b, followed, strict=True):
            tokens[:, slot] = np.where(codes >= 0, own, tokens[:, slot])
    return tokens


def opening(codec: Codec, column: int) -> set[int]:
    """The gates before a column: what lies behind them is drawn without regard to them, and follows."""
    out: set[int] = set()
    gate = codec.gates.get(column)
    while gate is not None:
        out.add(gate.column)
        gate = codec.gates.get(gate.column)
    return out


def _summed(codec: Codec, batch: pa.RecordBatch, columns: tuple[int, ...], free: Free, changed: list[int]) -> pa.RecordBatch:
    every = np.ones(batch.num_rows, np.bool_)
    numbers = [_amounts(codec, c, batch.column(c), columns) for c in columns]
    whole = numbers[0][1] & numbers[1][1] & numbers[2][1]
    (a, b, c), masks = (n[0] for n in numbers), [free.get(column, every) for column in columns]
    # the total follows from its parts; where it is fixed, a part follows
    fixed = ~masks[2]
    for target, value, mask in ((2, a + b, masks[2]), (0, c - b, fixed & masks[0]), (1, c - a, fixed & ~masks[0] & masks[1])):
        column = columns[target]
        batch = _put(codec, batch, column, _written(codec, column, value, columns), mask & whole, changed)
    return batch


def _put(
    codec: Codec, batch: pa.RecordBatch, column: int, values: pa.Array, mask: npt.NDArray[np.bool_], changed: list[int]
) -> pa.RecordBatch:
    if not mask.any():
        return batch
    changed.append(column)
    return batch.set_column(column, codec.schema.field(column), pc.if_else(pa.array(mask), values, batch.column(column)))


# -- what holds --------------------------------------------------------------------------------------------------------


def _map_of(codec: Codec, columns: tuple[int, ...], tokens: npt.NDArray[Any]) -> npt.NDArray[np.int64] | None:
    """The code of b for each code of a, -1 where unseen; None where a value of a has two. Rare values of a do not count."""
    a, b = (codec.columns[c] for c in columns)
    source, target = (tokens[:, list(codec.slots[c])] for c in columns)
    common = source[:, 0] != a.sizes[0] - 1
    if (target[common, 0] == b.sizes[0] - 1).any():
        return None  # a rare value can't be drawn
    codes, values = codes_of(a, source)[common], codes_of(b, target)[common]
    out = np.full(int(np.prod(a.sizes)), -1, np.int64)
    out[codes] = values
    return out if (out[codes] == values).all() else None


def _kept(codec: Codec, relation: Relation, batch: pa.RecordBatch) -> bool:
    arrays = [decoded(batch.column(c)) for c in relation.columns]
    if relation.kind == "copy":
        return bool(arrays[0].equals(arrays[1]))
    if relation.kind == "order":
        return not bool(pc.any(pc.fill_null(pc.greater(*arrays), False)).as_py())
    (a, x), (b, y), (c, z) = (_amounts(codec, at, batch.column(at), relation.columns) for at in relation.columns)
    return bool((a + b == c)[x & y & z].all())


def _copies(codec: Codec, batch: pa.RecordBatch) -> list[Relation]:
    found: list[Relation] = []
    modelled = [i for i, c in enumerate(codec.columns) if c.coarse]
    for place, b in enumerate(modelled):
        for a in modelled[:place]:
            same = batch.column(a).type == batch.column(b).type and batch.column(a).equals(batch.column(b))
            if same and b not in {r.columns[1] for r in found}:
                found.append(Relation("copy", (a, b)))
    return found


def _orders(codec: Codec, batch: pa.RecordBatch) -> list[Relation]:
    times = [i for i, c in enumerate(codec.columns) if c.coarse and pa.types.is_temporal(batch.column(i).type)]
    found = []
    for a in times:
        for b in times:
            x, y = batch.column(a), batch.column(b)
            if a == b or x.type != y.type or x.equals(y) or len(x) in (x.null_count, y.null_count):
                continue
            apart = pc.less_equal(pc.max(x), pc.min(y)).as_py()  # the ranges say as much
            if not apart and not pc.any(pc.fill_null(pc.greater(x, y), False)).as_py():
                found.append(Relation("order", (a, b)))
    return found


def _sums(codec: Codec, batch: pa.RecordBatch) -> list[Relation]:
    numbers = [i for i, c in enumerate(codec.columns) if _is_amount(c, batch.column(i).type)][:MAX_NUMBERS]
    if len(numbers) < 3:
        return []
    amounts = {i: _amounts(codec, i, batch.column(i), tuple(numbers)) for i in numbers}
    found: list[Relation] = []
    for place, a in enumerate(numbers):
        for b in numbers[place + 1 :]:
            for c in numbers:
                if c in (a, b) or any(c in r.columns for r in found):
                    continue
                (x, known), (y, other), (z, third) = amounts[a], amounts[b], amounts[c]
                rows = known & other & third
                told = rows.sum() >= LEAST_ROWS and ((x != 0) & (y != 0) & rows).mean() >= 0.05  # x + 0 = x says nothing
                if told and (x + y == z)[rows].all() and _fits(codec, a, b, c):
                    found.append(Relation("sum", (a, b, c)))
    return found


def _is_amount(column: ColumnCodec, kind: pa.DataType) -> bool:
    plain = pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind)
    return column.method == "number" and column.domain == "int" and column.step == 1 and plain and not column.text


def _fits(codec: Codec, a: int, b: int, c: int) -> bool:
    """Whether every sum of drawable parts is a value of the total's type."""
    kind, total = codec.schema.field(c).type, codec.columns[c]
    most = 0
    for column in (codec.columns[a], codec.columns[b]):
        largest = max(map(abs, (*column.atoms, *column.low, *column.high)), default=0)
        most += int(largest) * 10 ** max(0, total.scale - column.scale)
        if column.scale > total.scale:
            return False
    room = 10**kind.precision if pa.types.is_decimal(kind) else 2 ** (min(kind.bit_width, 54) - 1)
    return bool(most < min(room, 2**62))


def _amounts(
    codec: Codec, column: int, array: pa.Array, together: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Whole numbers of the finest grid of the columns `together`, and which cells are numbers."""
    finest = max(codec.columns[c].scale for c in together)
    values, known = to_domain(codec.columns[column], array)
    return values * 10 ** (finest - codec.columns[column].scale), known


def _written(codec: Codec, column: int, amounts: npt.NDArray[np.int64], together: tuple[int, ...]) -> pa.Array:
    finest = max(codec.columns[c].scale for c in together)
    own = amounts // 10 ** (finest - codec.columns[column].scale)
    return from_domain(codec.columns[column], own, codec.schema.field(column).type)
