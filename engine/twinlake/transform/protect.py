"""Writes the protected table: the plan applied to train rows (protected/) and holdout rows (private/), as published parts.

One task writes the train part and the holdout part of its partition. Rows lie in the order of their hash, so the parts are
the same however the source was laid out. Knows nothing of models.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.keys import Keyring, ephemeral_keyring, resolve_keys
from twinlake.core.progress import Progress
from twinlake.tables.parts import PartWriter, publish
from twinlake.tables.run_folder import RunFolder
from twinlake.tables.split import HOLDOUT, Split, part_count, with_row_keys
from twinlake.transform.apply import apply_plan
from twinlake.transform.plan import Plan

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SPARK_SCHEMA = "org.apache.spark.sql.parquet.row.metadata"
WRITTEN_DDL = "part int, train bigint, holdout bigint"


def protect_run(
    folder: RunFolder,
    df: DataFrame,
    own_holdout: DataFrame | None,
    plan: Plan,
    references: dict[str, str],
    split: Split,
    progress: Progress,
) -> tuple[int, int]:
    """Publishes protected/ and private/holdout/; returns their row counts. Keys are resolved here, on the driver."""
    needed = plan.key_names()
    keys = resolve_keys(references) if references else ephemeral_keyring(needed)
    if needed and not references:
        progress.say(
            "no key is configured: surrogates are made with a key of this run alone, and can't be repeated; set keys.pseudonyms"
        )
    shutil.rmtree(folder.staging("protected"), ignore_errors=True)
    shutil.rmtree(folder.staging("holdout"), ignore_errors=True)
    train_staging, holdout_staging = folder.staging("protected"), folder.staging("holdout")
    os.chmod(holdout_staging, 0o700)
    rows = df.count()
    parts = part_count(rows, len(df.columns))
    train, held_out = write_protected(df, plan, keys, split, parts, train_staging, holdout_staging)
    publish(train_staging, folder.protected, parts, {})
    if own_holdout is not None:
        shutil.rmtree(holdout_staging)
        unused, holdout_staging = folder.staging("unused"), folder.staging("holdout")
        parts = part_count(own_holdout.count(), len(df.columns))
        _, held_out = write_protected(own_holdout, plan, keys, split, parts, unused, holdout_staging, held_out=True)
        shutil.rmtree(unused)
    folder.private.mkdir(mode=0o700, exist_ok=True)
    publish(holdout_staging, folder.holdout, parts, {})
    folder.update(source_rows=rows, train_rows=train, holdout_rows=held_out)
    return train, held_out


def write_protected(
    df: DataFrame,
    plan: Plan,
    keys: Keyring,
    split: Split,
    parts: int,
    train_staging: Path,
    holdout_staging: Path,
    held_out: bool | None = None,
) -> tuple[int, int]:
    """Stages train and holdout parts of `df` under `plan`; returns their rows. `held_out` puts all rows on one side."""
    from pyspark.sql import functions as F

    keyed = with_row_keys(df, split, parts)
    if held_out is not None:
        keyed = keyed.withColumn(HOLDOUT, F.lit(held_out))
    return _staged(apply_plan(keyed, plan, keys), train_staging, holdout_staging)


def stage_rows(df: DataFrame, split: Split, parts: int, train_staging: Path, holdout_staging: Path) -> tuple[int, int]:
    """Stages the rows of `df` as they are; returns the rows of each side."""
    return _staged(with_row_keys(df, split, parts), train_staging, holdout_staging)


def _staged(keyed: DataFrame, train_staging: Path, holdout_staging: Path) -> tuple[int, int]:
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import to_arrow_schema

    schema = type(keyed.schema)(keyed.schema.fields[2:])
    arrow = to_arrow_schema(schema, timezone="UTC").with_metadata({SPARK_SCHEMA: schema.json()})
    named = keyed.toDF(*[f"c{i}" for i in range(len(keyed.columns))])
    write = partial(_write, schema=arrow, folders=(str(train_staging), str(holdout_staging)))
    written = named.mapInArrow(write, WRITTEN_DDL).agg(F.sum("train"), F.sum("holdout")).toArrow().to_pylist()
    train, holdout = (int(v or 0) for v in written[0].values())
    return train, holdout


def _write(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folders: tuple[str, str]) -> Iterator[pa.RecordBatch]:
    from pyspark import TaskContext

    context = TaskContext.get()
    number = context.partitionId() if context is not None else 0
    train, holdout = (PartWriter(Path(folder), number, schema) for folder in folders)
    for batch in batches:
        rows = pa.RecordBatch.from_arrays(
            [c.cast(f.type) for c, f in zip(batch.columns[2:], schema, strict=True)], schema=schema
        )
        held_out = batch.column(1)
        holdout.write(rows.filter(held_out))
        train.write(rows.filter(pc.invert(held_out)))
    counts = [pa.array([writer.finish().rows], pa.int64()) for writer in (train, holdout)]
    yield pa.RecordBatch.from_arrays([pa.array([number], pa.int32()), *counts], names=["part", "train", "holdout"])
