"""Sums of numpy arrays over the partitions of a table, without collecting a row.

`summed` runs a step on every Arrow batch, adds up what it returns inside the task, and lets Spark add the tasks'
non-zero cells. What reaches the driver is one number for each cell, whatever the number of rows or partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Shapes = Mapping[str, tuple[int, ...]]
Step = Callable[[pa.RecordBatch, int], Mapping[str, Floats]]
CELLS = pa.schema([("cell", pa.int64()), ("total", pa.float64()), ("most", pa.float64())])
CELLS_DDL = "cell bigint, total double, most double"


def doubles(batch: pa.RecordBatch, names: list[str]) -> Floats:
    """The named double columns as a matrix, missing as NaN."""
    if not names:
        return np.zeros((batch.num_rows, 0))
    return np.column_stack([batch.column(n).to_numpy(zero_copy_only=False).astype(np.float64) for n in names])


def by_side(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batch cut into the sides that it holds (nearly always one)."""
    sides = batch.column("side").to_numpy(zero_copy_only=False)
    for side in np.unique(sides):
        yield int(side), batch if (sides == side).all() else batch.filter(pa.array(sides == side))


def adder(step: Step, shapes: Shapes) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The task of `summed`: arrays named `max_...` keep the greatest value, all others the sum."""
    size = sum(int(np.prod(shape)) for shape in shapes.values())

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held: dict[int, dict[str, Floats]] = {}
        for whole in batches:
            for side, batch in by_side(whole) if whole.num_rows else ():
                new = step(batch, side)
                old = held.get(side)
                if old is None:
                    held[side] = {name: np.array(value, dtype=np.float64) for name, value in new.items()}
                    continue
                for name, value in new.items():
                    add = np.maximum if name.startswith("max_") else np.add
                    add(old[name], value, out=old[name])
        for side, arrays in held.items():
            start = side * size
            for name, shape in shapes.items():
                flat = arrays[name].ravel() if name in arrays else np.zeros(0)
                cells = np.arange(len(flat)) if name.startswith("max_") else np.flatnonzero(flat)
                values = flat[cells]
                columns = [pa.array(start + cells, pa.int64()), pa.array(values), pa.array(values)]
                yield pa.RecordBatch.from_arrays(columns, schema=CELLS)
                start += int(np.prod(shape))

    return run


def summed(frame: DataFrame, step: Step, shapes: Shapes, sides: int = 4) -> list[dict[str, Floats]]:
    """For each side the arrays of `shapes`, added up over all rows of `frame` (which has a column `side`)."""
    size = sum(int(np.prod(shape)) for shape in shapes.values())
    cells = frame.mapInArrow(adder(step, shapes), CELLS_DDL)
    merged = cells.groupBy("cell").agg(F.sum("total").alias("total"), F.max("most").alias("most")).toArrow()
    where = merged.column("cell").to_numpy()
    total, most = np.zeros(size * sides), np.full(size * sides, -np.inf)
    total[where], most[where] = merged.column("total").to_numpy(), merged.column("most").to_numpy()
    out: list[dict[str, Floats]] = []
    for side in range(sides):
        arrays, start = {}, side * size
        for name, shape in shapes.items():
            end = start + int(np.prod(shape))
            arrays[name] = (most if name.startswith("max_") else total)[start:end].reshape(shape)
            start = end
        out.append(arrays)
    return out
