"""Completes rows that are partly known: seed rows get the columns that they lack, and missing cells are imputed.

Each row is drawn given all that is known of it, in one pass over the DataFrame. What is drawn for a row follows from the
row's own content (and its occurrence number among equal rows), so neither order nor partitions change it. Columns that the
model does not know are carried through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.config import SourceConfig
from twinlake.core.errors import ConfigError, DataError, TwinlakeError, in_quotes
from twinlake.core.seeds import derive
from twinlake.generate.blocks import Job, Maker
from twinlake.models.codec import encode_column
from twinlake.models.column import ColumnCodec
from twinlake.models.digits import legal_cells
from twinlake.models.sampler import BLOCK_ROWS, Given, Known
from twinlake.models.store import check_model
from twinlake.models.times import difference
from twinlake.tables.names import quoted
from twinlake.tables.new_folder import check_new_folder, write_new_folder
from twinlake.tables.parts import renamed, spark_schema
from twinlake.tables.session import open_session, stop_session
from twinlake.tables.source import open_source, spark_errors
from twinlake.tables.split import HOLDOUT, KEY, Split, with_row_keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WHOLE = ("tinyint", "smallint", "int", "bigint")
REAL = ("float", "double")


def complete(df: DataFrame, job: Job, impute: bool, partitions: int = 16) -> DataFrame:
    """`df` with the model's other columns at its end; lazy. With `impute` nulls of known columns are filled in as well,
    else they are values as any other.

    A cell that is given comes back as it is, also where the model has never seen its value. `partitions` changes no drawn
    value; keys that are made anew are numbered by it.
    Errors: ConfigError for a column whose type is not the model's, or when no column is known to the model.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructField, StructType

    maker = Maker.of(job)
    schema = spark_schema(maker.codec.schema.metadata)
    wanted = {f.name: f for f in schema.fields}
    known = [name for name in df.columns if name in wanted]
    if not known:
        raise ConfigError(f"none of the table's columns is known to the model, which has {', '.join(list(wanted)[:12])}")
    for name in known:
        _check_type(name, df.schema[name].dataType.simpleString(), wanted[name].dataType.simpleString())
    added = [f for f in schema.fields if f.name not in known]
    fields = [wanted.get(f.name, f) for f in df.schema.fields] + added
    if impute:
        fields = [StructField(f.name, f.dataType, f.nullable and f.name not in known, f.metadata) for f in fields]
    typed = df.select(
        *[F.col(quoted(c)).cast(wanted[c].dataType).alias(c) if c in wanted else F.col(quoted(c)) for c in df.columns]
    )
    keyed = with_row_keys(typed, Split(derive(job.seed, "rows")), partitions).drop(HOLDOUT)
    positions = [(at, maker.codec.index(name)) for at, name in enumerate(df.columns) if name in wanted]
    work = partial(_completed, job=job, positions=positions, columns=len(df.columns), impute=impute, tasks=partitions)
    out = keyed.toDF(KEY, *[f"c{i}" for i in range(len(df.columns))])
    return out.mapInArrow(work, renamed(StructType(fields))).toDF(*[f.name for f in fields])


def complete_run(
    run_dir: Path, source: SourceConfig, out: Path, seed: int, impute: bool, spark: SparkSession | None = None
) -> tuple[int, list[str]]:
    """Writes `source`, completed by the model of a run, into the new folder `out`; returns the number of rows, and the
    columns that had nulls to fill in or were added. Errors: the tree of core/errors.py; nothing stays after a failure."""
    check_new_folder(out, apart_from=run_dir)
    model = (run_dir / "model").absolute()
    job = Job(str(model), check_model(model), 0, seed, {})
    own = spark or open_session()
    try:
        with spark_errors("impute"):
            from pyspark.sql import functions as F

            df = open_source(own, source).df
            made = complete(df, job, impute)
            write_new_folder(made, out)
            rows = int(own.read.parquet(str(out)).count())
            known = [c.name for c in Maker.of(job).codec.columns if impute and c.name in df.columns]
            nulls = df.select([F.count(F.when(F.col(quoted(c)).isNull(), 1)).alias(f"n{i}") for i, c in enumerate(known)])
            filled = [c for c, n in zip(known, nulls.first() or (), strict=True) if n] if known else []
    finally:
        stop_session(own)
    return rows, filled + [c for c in made.columns if c not in df.columns]


def _check_type(name: str, given: str, wanted: str) -> None:
    same = given == wanted or (given in WHOLE and wanted in WHOLE) or (given in WHOLE + REAL and wanted in REAL)
    if not same and not (given == "void"):
        raise ConfigError(f"column {in_quotes(name)} has type {given}; the model has it as {wanted}: cast it first")


def _completed(
    batches: Iterable[pa.RecordBatch], job: Job, positions: list[tuple[int, int]], columns: int, impute: bool, tasks: int
) -> Iterator[pa.RecordBatch]:
    """`positions`: (column of the batch behind the key, column of the codec) of what is known."""
    from pyspark import TaskContext

    maker = replace(Maker.of(job), null_texts=not impute)
    context = TaskContext.get()
    task, seen = context.partitionId() if context is not None else 0, 0
    for batch in batches:
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            rows = batch.slice(start, BLOCK_ROWS)
            numbers = (task + tasks * np.arange(seen, seen + rows.num_rows)).astype(np.uint64)
            seen += rows.num_rows
            try:
                yield _complete_rows(rows, numbers, maker, positions, columns, impute)
            except TwinlakeError:
                raise
            except Exception as error:  # its text may hold a value, so only its type goes on
                raise DataError(f"a row could not be completed: {type(error).__name__}") from None


def _complete_rows(
    rows: pa.RecordBatch,
    numbers: npt.NDArray[np.uint64],
    maker: Maker,
    positions: list[tuple[int, int]],
    columns: int,
    impute: bool,
) -> pa.RecordBatch:
    codec = maker.codec
    tokens = np.zeros((rows.num_rows, len(codec.sizes)), np.uint16)
    mask = np.zeros(tokens.shape, np.bool_)
    cells: dict[int, pa.Array] = {}
    for at, column in positions:
        cells[column] = rows.column(1 + at).cast(codec.schema.field(column).type)
    for column, array in cells.items():
        slots, since = list(codec.slots[column]), codec.columns[column].since
        known = array.is_valid().to_numpy(zero_copy_only=False) if impute else np.ones(len(array), np.bool_)
        if since is not None:  # the time since a cell that is not there is drawn; that cell follows
            base = cells.get(since.base, pa.nulls(len(array), codec.schema.field(since.base).type))
            array = difference(array, base, since)
            known &= ~pc.fill_null(pc.equal(array, -1), False).to_numpy(zero_copy_only=False)
        if slots:
            tokens[:, slots] = encode_column(codec.columns[column], array)
            mask[:, slots] = known[:, None]
    never_null = [codec.columns[c] for c in cells] if impute else []
    given = tuple(g for c in never_null if (g := _without_null(c, codec.index(c.name))) is not None)
    ids = rows.column(0).to_numpy().view(np.uint64)
    drawn, places = maker.rows(ids, np.zeros(rows.num_rows, np.int64), Known(tokens, mask), given)
    _, before = maker.decode(drawn, places, numbers)
    made = before
    free: dict[int, npt.NDArray[np.bool_]] = {}
    for column, array in cells.items():
        missing = array.is_null() if impute else pa.repeat(False, len(array))
        whole = pc.if_else(missing, made.column(column), array)
        made = made.set_column(column, codec.schema.field(column).with_nullable(True), whole)
        free[column] = missing.to_numpy(zero_copy_only=False)
    _, made = maker.related(drawn, before, made, free)
    of_batch = dict(positions)
    out = [made.column(of_batch[at]) if at in of_batch else rows.column(1 + at) for at in range(columns)]
    out += [made.column(c) for c in range(len(codec.columns)) if c not in cells]
    return pa.RecordBatch.from_arrays(out, names=[f"c{i}" for i in range(len(out))])


def _without_null(column: ColumnCodec, position: int) -> Given | None:
    """Everything but null may be drawn; None where the model knows no null."""
    if not column.sizes or "null" not in column.states:
        return None
    allowed = np.ones(column.sizes[0])
    if column.method == "category":
        allowed[column.sizes[0] - 2] = 0.0
    elif column.method == "number":
        allowed[column.states.index("null")] = 0.0
    elif column.method == "digits":
        others = [
            2 + i for i, state in enumerate((*column.states, *column.texts)) if state != "null" or i >= len(column.states)
        ]
        return Given(position, allowed, None, legal_cells(column, others=others))
    else:
        allowed[1] = 0.0
    return Given(position, allowed)
