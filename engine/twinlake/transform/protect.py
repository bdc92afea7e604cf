"""Writes the protected table: the plan applied to train rows (protected/) and holdout rows (private/), as published parts.

One task writes the train part and the holdout part of its partition. Rows lie in the order of their hash, so the parts are
the same however the source was laid out. Knows nothing of models.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import KeyReferenceError, escaped
from twinlake.core.keys import Keyring, ephemeral_keyring, resolve_keys
from twinlake.core.progress import Progress
from twinlake.tables.parts import SPARK_SCHEMA, PartWriter, file_hash, publish
from twinlake.tables.run_folder import RunFolder
from twinlake.tables.split import HOLDOUT, Split, part_count, with_row_keys
from twinlake.transform.apply import apply_plan
from twinlake.transform.plan import Plan
from twinlake.transform.transforms import TRANSFORMS
from twinlake.transform.transforms.base import Faker

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WRITTEN_DDL = "part int, train bigint, holdout bigint"


def protect_run(
    folder: RunFolder,
    df: DataFrame,
    own_holdout: DataFrame | None,
    plan: Plan,
    references: dict[str, str],
    split: Split,
    progress: Progress,
    resume: bool = True,
    detectors: Mapping[str, Faker] | None = None,
) -> tuple[int, int]:
    """Publishes protected/ and private/holdout/; returns their row counts. Keys are resolved here, on the driver."""
    keys = _keys_of_run(folder, plan, references, progress, resume)
    shutil.rmtree(folder.staging("protected"), ignore_errors=True)
    shutil.rmtree(folder.staging("holdout"), ignore_errors=True)
    train_staging, holdout_staging = folder.staging("protected"), folder.staging("holdout")
    os.chmod(holdout_staging, 0o700)
    rows = df.count()
    parts = part_count(rows, len(df.columns))
    write = partial(write_protected, plan=plan, keys=keys, split=split, detectors=detectors)
    train, held_out = write(df, parts=parts, train_staging=train_staging, holdout_staging=holdout_staging)
    publish(train_staging, folder.protected, parts, {})
    if own_holdout is not None:
        shutil.rmtree(holdout_staging)
        unused, holdout_staging = folder.staging("unused"), folder.staging("holdout")
        parts = part_count(own_holdout.count(), len(df.columns))
        _, held_out = write(own_holdout, parts=parts, train_staging=unused, holdout_staging=holdout_staging, held_out=True)
        shutil.rmtree(unused)
    folder.private.mkdir(mode=0o700, exist_ok=True)
    publish(holdout_staging, folder.holdout, parts, {})
    folder.update(source_rows=rows, train_rows=train, holdout_rows=held_out)
    folder.update(own_key_for=_identity(folder) if keys.ephemeral and plan.key_names() else None)
    return train, held_out


def _keys_of_run(folder: RunFolder, plan: Plan, references: dict[str, str], progress: Progress, resume: bool) -> Keyring:
    """The configured keys, else random ones that end with this process and are written nowhere.

    With random keys a transform that is redone makes other surrogates. Where the model has learned the old ones (a hash
    of few values is modelled), its twin and the new protected table would not fit together: that is refused.
    """
    if references:
        return resolve_keys(references)
    needed = plan.key_names()
    if not needed:
        return Keyring()
    again = resume and folder.state().get("own_key_for") == _identity(folder)
    modelled = [escaped(c.name) for c in plan.kept if c.synthesis == "model" and c.keys(TRANSFORMS)]
    if again and modelled:
        raise KeyReferenceError(
            f"the pseudonyms of {', '.join(modelled)} were made with a random key that is gone, and the model has learned "
            "them; set keys.pseudonyms and start again with --set run.resume=false, or keep the run's rows next time with "
            "--set run.keep_private=true"
        )
    told = "made anew, with another key of" if again else "made with a key of"
    progress.say(f"no key is configured: surrogates are {told} this run alone, and can't be repeated; set keys.pseudonyms")
    return ephemeral_keyring(needed)


def _identity(folder: RunFolder) -> list[str]:
    """What a finished transform was made from: the plan and the profiled rows."""
    stages = folder.state().get("stages", {})
    plan = folder / "plan.yaml"
    return [file_hash(plan) if plan.is_file() else "", str(stages.get("profile", {}).get("fingerprint"))]


def write_protected(
    df: DataFrame,
    plan: Plan,
    keys: Keyring,
    split: Split,
    parts: int,
    train_staging: Path,
    holdout_staging: Path,
    held_out: bool | None = None,
    detectors: Mapping[str, Faker] | None = None,
) -> tuple[int, int]:
    """Stages train and holdout parts of `df` under `plan`; returns their rows. `held_out` puts all rows on one side."""
    from pyspark.sql import functions as F

    keyed = with_row_keys(df, split, parts)
    if held_out is not None:
        keyed = keyed.withColumn(HOLDOUT, F.lit(held_out))
    return _staged(apply_plan(keyed, plan, keys, detectors=detectors), train_staging, holdout_staging)


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
    train, holdout = written[0].values()
    if train is None:  # no task has run: the plan alone told Spark that there are no rows
        train, holdout = (PartWriter(folder, 0, arrow).finish().rows for folder in (train_staging, holdout_staging))
    return int(train), int(holdout)


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
