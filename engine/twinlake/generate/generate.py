"""Writes the twin: parts drawn by Spark tasks, counted, hashed and published in one rename; what is missing is resumed.

Only manifest rows come back to the driver. With `replace_copies`, rows that equal a training row are found on the
staged parts, redrawn with the next attempt, and their parts written once more before publishing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.errors import DataError, ModelError
from twinlake.core.progress import Progress
from twinlake.core.seeds import mix
from twinlake.generate.blocks import Job, kernel_id, make_part, part_count
from twinlake.models.codec import Codec
from twinlake.models.store import load_model
from twinlake.profile.partials import as_text, is_opaque, text_hashes
from twinlake.tables.parts import (
    MANIFEST,
    Part,
    drop_part,
    file_hash,
    finished_parts,
    is_whole,
    publish,
    publish_staged,
    read_manifest,
    read_part,
    run_tasks,
    write_text,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MAX_ROUNDS = 10
REDRAW = "redraw.npz"


def write_rows(
    spark: SparkSession,
    job: Job,
    staging: Path,
    out: Path,
    partitions: int | None,
    progress: Progress,
    train: Path | None = None,
    strict_kernel: bool = False,
) -> dict[str, Any]:
    """Publishes `job.rows` rows in `out`; returns facts for run.json. `train` (protected parts) asks for copies to be
    replaced.

    Errors: ModelError (kernels differ under `strict_kernel`), DataError (copies that can't be replaced), CommitError.
    """
    parts = part_count(job.rows)
    identity = job_identity(job, train)
    for folder in (out, staging):  # an earlier run may have died after the last part, or after publishing
        if is_whole(folder, identity):
            progress.say("resuming: every part is there already")
            if folder == staging:
                publish_staged(staging, out)
            shutil.rmtree(staging, ignore_errors=True)
            return _facts(read_manifest(out))
    _start_over_if_changed(staging, identity)
    _forget_redraws(staging)
    done = finished_parts(staging)
    if done:
        progress.say(f"resuming: {len(done)} of {parts} parts are there already")
    _make(spark, job, staging, [n for n in range(parts) if n not in done], partitions, progress)
    replaced = _replace_copies(spark, job, staging, train, partitions, progress) if train is not None else 0
    kernels = sorted({p.facts["kernel"] for p in finished_parts(staging).values()})
    if strict_kernel and len(kernels) > 1:
        raise ModelError(
            f"generate.strict_kernel: executors differ ({'; '.join(kernels)}); "
            "use one kind of processor and one set of libraries"
        )
    facts = {
        "job": identity,
        "model": job.digest,
        "seed": job.seed,
        "conditions": sorted(job.conditions),
        "kernels": kernels,
        "copies_replaced": replaced,
    }
    publish(staging, out, parts, facts)
    return _facts(read_manifest(out))


def _facts(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "rows": manifest["rows"],
        "parts": len(manifest["parts"]),
        **{k: manifest[k] for k in ("copies_replaced", "kernels")},
    }


def job_identity(job: Job, train: Path | None = None) -> str:
    """A hash of all that decides the rows: model, seed, rows, conditions, kernel, and the table whose copies are
    replaced."""
    copies_of = file_hash(train / MANIFEST) if train is not None else None
    plain = json.dumps([asdict(replace(job, model="", redraw=None)), kernel_id(), copies_of], sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


def _start_over_if_changed(staging: Path, identity: str) -> None:
    """Parts of another job must not be mixed in."""
    file = staging / "job.txt"
    if not file.is_file() or file.read_text() != identity:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write_text(file, identity)


def _forget_redraws(staging: Path) -> None:
    """Parts that an earlier run was redrawing are drawn again from the start: which attempt their rows are of is not
    kept."""
    file = staging / REDRAW
    if file.is_file():
        rows = np.load(file, allow_pickle=False)["rows"]
        for number in {p.part for p in finished_parts(staging).values() if _holds(p, rows)}:
            drop_part(staging, number)
        file.unlink()


def _make(spark: SparkSession, job: Job, staging: Path, numbers: list[int], partitions: int | None, progress: Progress) -> None:
    from twinlake.generate.watch import watching

    with watching(staging, job.rows, progress):
        run_tasks(spark, numbers, partitions, partial(make_part, job=job, staging=str(staging)))


# -- copies of training rows -------------------------------------------------------------------------------------------


def _replace_copies(
    spark: SparkSession, job: Job, staging: Path, train: Path, partitions: int | None, progress: Progress
) -> int:
    """Redraws rows that equal a training row in all modelled columns until none does; returns how many there were."""
    codec, _, _ = load_model(job.model, job.digest)
    attempts: dict[int, int] = {}
    for round_ in range(1, MAX_ROUNDS + 2):
        copies = _find_copies(spark, codec, staging, train)
        if not len(copies):
            break
        if round_ > MAX_ROUNDS:
            raise DataError(
                f"generate.replace_copies: {len(copies)} of {job.rows} rows still equal a training row "
                f"after {MAX_ROUNDS} redraws; "
                "the table has few different rows, so most are no one's in particular: turn replace_copies off"
            )
        progress.say(f"redrawing {len(copies)} rows that equal a training row (round {round_})")
        attempts |= dict.fromkeys(copies.tolist(), round_)
        temporary = staging / ".redraw.tmp.npz"
        np.savez(temporary, rows=np.array(list(attempts)), attempts=np.array(list(attempts.values())))
        temporary.replace(staging / REDRAW)
        again = sorted({p.part for p in finished_parts(staging).values() if _holds(p, copies)})
        for number in again:
            drop_part(staging, number)
        _make(spark, replace(job, redraw=str(staging / REDRAW)), staging, again, partitions, progress)
    return len(attempts)


def _holds(part: Part, rows: npt.NDArray[np.int64]) -> bool:
    first = part.facts["first_row"]
    return bool(((rows >= first) & (rows < first + part.rows)).any())


def _find_copies(spark: SparkSession, codec: Codec, staging: Path, train: Path) -> npt.NDArray[np.int64]:
    """Row ids whose modelled columns equal those of a training row (by a 64-bit hash), joined on executors."""
    from pyspark.sql import functions as F

    modelled = [i for i, c in enumerate(codec.columns) if c.coarse]
    if not modelled:
        return np.empty(0, np.int64)
    twin = {str(staging / p.file): p.facts["first_row"] for p in finished_parts(staging).values()}
    real = {str(train / p["file"]): 0 for p in read_manifest(train)["parts"]}
    hashed = [
        spark.range(0, len(files), 1, len(files)).mapInArrow(
            partial(_hash_parts, files=list(files.items()), columns=modelled), "hash bigint, row bigint"
        )
        for files in (twin, real)
    ]
    found = hashed[0].join(hashed[1].select("hash").distinct(), "hash", "left_semi").select(F.col("row")).toArrow()
    return np.sort(found.column(0).to_numpy())


def _hash_parts(
    batches: Iterable[pa.RecordBatch], files: list[tuple[str, int]], columns: list[int]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for number in batch.column(0).to_pylist():
            file, row = files[number]
            for rows in read_part(file):
                ids = np.arange(row, row + rows.num_rows)
                row += rows.num_rows
                yield pa.RecordBatch.from_arrays(
                    [pa.array(row_hashes(rows, columns).view(np.int64)), pa.array(ids)], names=["hash", "row"]
                )


def row_hashes(rows: pa.RecordBatch, columns: list[int]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of the values of `columns` of each row; null differs from every text."""
    out = np.zeros(rows.num_rows, np.uint64)
    for position in columns:
        array = rows.column(position)
        if is_opaque(array.type):
            continue
        hashed: npt.NDArray[np.uint64] = text_hashes(as_text(array)) | np.uint64(2)
        hashed[array.is_null().to_numpy(zero_copy_only=False)] = 1
        out = mix(out ^ hashed, position)
    return out
