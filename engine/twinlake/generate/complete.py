"""Completes rows that are partly known: seed rows get the columns that they lack, and missing cells are imputed.

Each row is drawn given all that is known of it, in one pass over the DataFrame. What is drawn for a row follows from the
row's own content (and its occurrence number among equal rows), so neither order nor partitions change it. Columns that the
model does not know are carried through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from twinlake.models.codec import Codec, encode_column
from twinlake.models.column import ColumnCodec
from twinlake.models.digits import legal_cells
from twinlake.models.nested import flatten
from twinlake.models.sampler import BLOCK_ROWS, Given, Known
from twinlake.models.store import check_model
from twinlake.models.times import difference
from twinlake.tables.names import quoted
from twinlake.tables.new_folder import check_new_folder, write_new_folder
from twinlake.tables.parts import read_parquet, renamed, spark_schema
from twinlake.tables.session import open_session, stop_session
from twinlake.tables.source import open_source
from twinlake.tables.spark_errors import spark_errors
from twinlake.tables.split import HOLDOUT, KEY, Split, with_row_keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WHOLE = ("tinyint", "smallint", "int", "bigint")
REAL = ("float", "double")


def complete(df: DataFrame, job: Job, impute: bool, partitions: int = 16) -> DataFrame:
    """`df` with the model's other columns at its end; lazy. With `impute` nulls of known columns are filled in as well,
    else they are values as any other.

    A cell that is given comes back as it is, also where the model has never seen its value; whole numbers in a column of
    text, which a CSV file may have for codes, as text. `partitions` changes no drawn value; keys that are made anew are
    numbered by it.
    Errors: ConfigError for a column whose type is not the model's, or when no column is known to the model; DataError for
    fractions in a column of whole numbers, which is looked through at once where its type allows them.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructField, StructType

    maker = Maker.of(job)
    schema = spark_schema(maker.codec.schema.metadata)
    wanted = {f.name: f for f in schema.fields}
    known = [name for name in df.columns if name in wanted]
    if not known:
        raise ConfigError(f"none of the table's columns is known to the model, which has {', '.join(list(wanted)[:12])}")
    df = with_whole_numbers(df, {name: wanted[name].dataType.simpleString() for name in known})
    for name in known:
        _check_type(name, df.schema[name].dataType.simpleString(), wanted[name].dataType.simpleString())
    added = [f for f in schema.fields if f.name not in known]
    nested = [f.name for f in df.schema.fields if f.dataType.typeName() in ("struct", "array", "map")]
    fields = [f if f.name in nested else wanted.get(f.name, f) for f in df.schema.fields] + added
    if impute:
        fields = [StructField(f.name, f.dataType, f.nullable and f.name not in known, f.metadata) for f in fields]
    cast = [c for c in known if df.schema[c].dataType.simpleString() != wanted[c].dataType.simpleString()]
    typed = df.select(
        *[F.col(quoted(c)).cast(wanted[c].dataType).alias(c) if c in cast else F.col(quoted(c)) for c in df.columns]
    )
    keyed = with_row_keys(typed, Split(derive(job.seed, "rows")), partitions).drop(HOLDOUT)
    positions = [(at, name) for at, name in enumerate(df.columns) if name in wanted]
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
            rows = int(read_parquet(own.read, [out]).count())
            known = [name for name in Maker.of(job).codec.table.names if impute and name in df.columns]
            nulls = df.select([F.count(F.when(F.col(quoted(c)).isNull(), 1)).alias(f"n{i}") for i, c in enumerate(known)])
            filled = [c for c, n in zip(known, nulls.first() or (), strict=True) if n] if known else []
    finally:
        stop_session(own)
    return rows, filled + [c for c in made.columns if c not in df.columns]


def with_whole_numbers(df: DataFrame, types: Mapping[str, str]) -> DataFrame:
    """`df` with columns of fractions that `types` has as whole numbers turned into those, NaN into null: pandas, and CSV files
    that it wrote, have whole numbers with gaps as fractions. Errors: DataError for one that is no whole number of its type."""
    from pyspark.sql import functions as F

    doubted = {c: types[c] for c, given in df.dtypes if given in REAL and types.get(c) in WHOLE}
    if not doubted:
        return df
    own = {c: F.when(~F.isnan(F.col(quoted(c))), F.col(quoted(c))) for c in doubted}
    whole = {c: own[c].try_cast(kind) for c, kind in doubted.items()}
    asked = [F.bool_or(own[c].isNotNull() & (whole[c].isNull() | (whole[c].cast("double") != own[c]))) for c in doubted]
    [row] = df.select(*[one.alias(f"c{i}") for i, one in enumerate(asked)]).collect()
    for (name, kind), found in zip(doubted.items(), row, strict=True):
        if found:
            raise DataError(
                f"column {in_quotes(name)} holds numbers that are no {kind}, as the model has it: round them, or make them null"
            )
    return df.select(*[whole[c].alias(c) if c in doubted else F.col(quoted(c)) for c in df.columns])


def _check_type(name: str, given: str, wanted: str) -> None:
    same = given == wanted or (given in WHOLE and wanted in (*WHOLE, "string")) or (given in WHOLE + REAL and wanted in REAL)
    if not same and not (given == "void"):
        raise ConfigError(f"column {in_quotes(name)} has type {given}; the model has it as {wanted}: cast it first")


def _completed(
    batches: Iterable[pa.RecordBatch], job: Job, positions: list[tuple[int, str]], columns: int, impute: bool, tasks: int
) -> Iterator[pa.RecordBatch]:
    """`positions`: (column of the batch behind the key, its name in the model's table) of what is known."""
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
    positions: list[tuple[int, str]],
    columns: int,
    impute: bool,
) -> pa.RecordBatch:
    codec = maker.codec
    tokens = np.zeros((rows.num_rows, len(codec.sizes)), np.uint16)
    mask = np.zeros(tokens.shape, np.bool_)
    given = {name: rows.column(1 + at) for at, name in positions}
    cells = _cells(given, codec)
    gaps = _gaps(cells, codec) if impute else {c: np.zeros(rows.num_rows, np.bool_) for c in cells}
    for column, array in cells.items():
        slots, since = list(codec.slots[column]), codec.columns[column].since
        known = ~gaps[column]
        if since is not None:  # the time since a cell that is not there is drawn; that cell follows
            base = cells.get(since.base, pa.nulls(len(array), codec.schema.field(since.base).type))
            array = difference(array, base, since)
            known &= ~pc.fill_null(pc.equal(array, -1), False).to_numpy(zero_copy_only=False)
        if slots:
            tokens[:, slots] = encode_column(codec.columns[column], array)
            mask[:, slots] = known[:, None]
    filled = tuple(g for c in cells if impute and (g := _without_null(codec.columns[c], c)) is not None)
    ids = rows.column(0).to_numpy().view(np.uint64)
    drawn, places = maker.rows(ids, np.zeros(rows.num_rows, np.int64), Known(tokens, mask), filled)
    _, before = maker.decode(drawn, places, numbers)
    made = before
    for column, array in cells.items():
        filled_in = pc.if_else(pa.array(gaps[column]), made.column(column), array)
        made = made.set_column(column, codec.schema.field(column).with_nullable(True), filled_in)
    _, made = maker.related(drawn, before, made, gaps)
    of_table = _whole_rows(made, given, gaps, codec)
    of_batch = dict(positions)
    out = [of_table[of_batch[at]] if at in of_batch else rows.column(1 + at) for at in range(columns)]
    out += [column for name, column in of_table.items() if name not in given]
    return pa.RecordBatch.from_arrays(out, names=[f"c{i}" for i in range(len(out))])


def _cells(given: Mapping[str, pa.Array], codec: Codec) -> dict[int, pa.Array]:
    """What is given, by column of the codec."""
    if not codec.leaves:
        return {codec.index(name): array.cast(codec.schema.field(name).type) for name, array in given.items()}
    columns = [at for at, leaf in enumerate(codec.leaves) if leaf.path[0] in given]
    batch = pa.RecordBatch.from_arrays(list(given.values()), names=list(given))
    cells = flatten(batch, [codec.leaves[at] for at in columns])
    return {at: array.cast(codec.schema.field(at).type) for at, array in zip(columns, cells, strict=True)}


def _gaps(cells: Mapping[int, pa.Array], codec: Codec) -> dict[int, npt.NDArray[np.bool_]]:
    """The rows, bool [rows], in which each given column has a null to fill in. Behind a gate that is closed null is no gap,
    behind one that is a gap itself it is."""
    out: dict[int, npt.NDArray[np.bool_]] = {}
    for column, array in cells.items():  # gates come before what they open
        null, gate = array.is_null().to_numpy(zero_copy_only=False), codec.gates.get(column)
        out[column] = null if gate is None else null & (gate.opened(cells[gate.column]) | out[gate.column])
    return out


def _whole_rows(
    made: pa.RecordBatch, given: Mapping[str, pa.Array], gaps: Mapping[int, npt.NDArray[np.bool_]], codec: Codec
) -> dict[str, pa.Array]:
    """Completed flat rows as columns of the table. A nested cell without a gap comes back as it was given, also what is not
    modelled inside it."""
    out = dict(zip(codec.table.names, codec.whole(made).columns, strict=True))
    for name, array in given.items():
        if pa.types.is_nested(array.type):
            own = [rows for column, rows in gaps.items() if codec.leaves and codec.leaves[column].path[0] == name]
            filled_in = np.logical_or.reduce(own) if own else gaps[codec.index(name)]
            out[name] = pc.if_else(pa.array(filled_in), out[name].cast(array.type), array)
    return out


def _without_null(column: ColumnCodec, position: int) -> Given | None:
    """Everything but null may be drawn; None where the model knows no null."""
    if column.null is None:
        return None
    allowed = np.ones(column.sizes[0])
    allowed[column.null] = 0.0
    if column.method == "digits":
        others = [symbol for symbol in range(2, column.sizes[0] - 1) if symbol != column.null]
        return Given(position, allowed, None, legal_cells(column, others=others))
    return Given(position, allowed)
