"""Tables as metrics read them: columns by position, numbers as double, the rest as text, each row with its side.

Missing, NaN and infinite numbers are all missing here. Dates are days and timestamps seconds since 1970. Nothing is
collected; every function returns a lazy DataFrame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t
from pyspark.sql.window import Window

from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from twinlake.evaluate.evidence import Evidence

TRAIN, HOLDOUT, TWIN, TWIN_AT = 0, 1, 2, 3


def as_number(column: Column, kind: t.DataType, meaning: str = "number") -> Column:
    """`column` as a double, missing where it is no finite number."""
    if isinstance(kind, t.DateType):
        number = F.unix_date(column).cast("double")
    elif isinstance(kind, t.TimestampNTZType):
        number = column.cast("timestamp").cast("double")
    elif isinstance(kind, t.StringType) and meaning == "datetime":
        number = F.try_to_timestamp(column).cast("double")
    elif isinstance(kind, t.StringType):
        number = column.try_cast("double")
    elif isinstance(kind, t.BooleanType):
        number = column.cast("int").cast("double")
    elif isinstance(kind, (t.NumericType, t.TimestampType)):
        number = column.cast("double")
    else:
        number = F.lit(None).cast("double")
    finite = ~F.isnan(number) & (F.abs(number) < F.lit(float("inf")))
    # Adding zero turns -0.0 into 0.0, which a hash would tell apart.
    return F.when(finite, number + F.lit(0.0))


def as_text(column: Column, kind: t.DataType) -> Column:
    """`column` as text, whatever its type."""
    return F.hex(column) if isinstance(kind, t.BinaryType) else column.cast("string")


def typed(frame: DataFrame, evidence: Evidence) -> DataFrame:
    """`frame` as columns n0.. (numbers) and s0.. (categories), in the order of the modelled columns."""
    names, fields = frame.columns, frame.schema.fields
    plain = frame.toDF(*[f"c{i}" for i in range(len(names))])
    at = {name: i for i, name in enumerate(names)}
    numbers = [
        as_number(F.col(f"c{at[c]}"), fields[at[c]].dataType, evidence.kinds[c]).alias(f"n{i}")
        for i, c in enumerate(evidence.numeric())
    ]
    texts = [as_text(F.col(f"c{at[c]}"), fields[at[c]].dataType).alias(f"s{i}") for i, c in enumerate(evidence.categorical())]
    return plain.select(*numbers, *texts)


def cells_of(numbers: Iterable[Column]) -> Column:
    """A row for each of the double columns, `cell` their position and `x` the value: five aggregates of each of 334
    columns took 23 s side by side and 3 s of such a long table, those of 8 columns as long either way."""
    return F.posexplode(F.array(*numbers)).alias("cell", "x")


def sampled(frame: DataFrame, share: float, seed: int, columns: Sequence[str] | None = None) -> DataFrame:
    """About `share` of the rows, chosen by a hash of the row and its occurrence number among identical rows; of its `columns`
    where they are given.

    A pure function of the multiset of rows: partitions and their order do not matter.
    """
    if share >= 1.0:
        return frame
    keyed = frame.withColumn("__hash", F.xxhash64(*map(quoted, frame.columns if columns is None else columns)))
    numbered = keyed.withColumn("__nth", F.row_number().over(Window.partitionBy("__hash").orderBy("__hash")))
    chosen = F.pmod(F.xxhash64("__hash", "__nth", F.lit(seed)), F.lit(1 << 40)) < F.lit(int(share * (1 << 40)))
    return numbered.where(chosen).drop("__hash", "__nth")


def at_most(frame: DataFrame, rows: int, total: int, seed: int) -> DataFrame:
    """About `rows` of the `total` rows of `frame`: all of them where there are fewer."""
    return frame if total <= rows else sampled(frame, rows / total, seed)


def mistyped(real: t.StructType, twin: t.StructType) -> tuple[str, ...]:
    """The columns that one of the tables lacks, or that have another type in the twin."""
    known, found = ({f.name: f.dataType.simpleString() for f in s.fields} for s in (real, twin))
    return tuple(name for name in {**known, **found} if known.get(name) != found.get(name))


def row_counts(evidence: Evidence) -> dict[int, int]:
    """How many rows each side has, from the token counts where they are known."""

    def count(e: Evidence) -> dict[int, int]:
        pairs = [(TRAIN, e.real, e.counts_real), (TWIN, e.synthetic, e.counts_synthetic)]
        if e.holdout is not None:
            pairs.append((HOLDOUT, e.holdout, e.counts_holdout))
        return {side: counts.rows if counts is not None else frame.count() for side, frame, counts in pairs}

    return evidence.once("rows", count)


def all_sides(evidence: Evidence, view: Callable[[DataFrame, Evidence], DataFrame] = typed) -> DataFrame:
    """Every table as one frame of its side and the columns of `view`; each partition holds rows of one side."""
    # a thousand columns are tens of thousands of calls into the JVM, and most passes read the typed tables
    return evidence.once("sides", partial(_all_sides, view)) if view is typed else _all_sides(view, evidence)


def _all_sides(view: Callable[[DataFrame, Evidence], DataFrame], evidence: Evidence) -> DataFrame:
    rows = row_counts(evidence)
    twin = view(evidence.synthetic, evidence)
    sides = [(TRAIN, view(evidence.real, evidence)), (TWIN, twin)]
    if evidence.holdout is not None:
        sides.append((HOLDOUT, view(evidence.holdout, evidence)))
        if evidence.synthetic_at_holdout is not None:
            sides.append((TWIN_AT, view(evidence.synthetic_at_holdout, evidence)))
        elif 0 < rows[HOLDOUT] < rows[TWIN]:
            sides.append((TWIN_AT, sampled(twin, rows[HOLDOUT] / rows[TWIN], evidence.seed)))
        else:
            sides.append((TWIN_AT, twin))
    tagged = [frame.select(F.lit(side).alias("side"), "*") for side, frame in sides]
    out = tagged[0]
    for frame in tagged[1:]:
        out = out.unionAll(frame)
    return out
