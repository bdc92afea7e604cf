"""Parts: the files of a table in the run folder, written by the tasks themselves and published in one step.

Protocol. Each task writes `part-00007-<attempt>.parquet` into a staging folder, syncs it, and then its manifest row as
a small JSON file beside it; the driver takes one whole part for each number, renames it to `part-00007.parquet`, writes
`_manifest.json` and `_SUCCESS` and then renames the folder to its final name. Readers see nothing or everything. A
failed, retried or speculative attempt leaves only files that no manifest names. After a crash the parts with a manifest
row are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from twinlake.core.errors import CommitError, DataError, escaped

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader, SparkSession

FAULT_POINTS = (
    "after-part-write",
    "after-part-row",
    "after-all-parts",
    "after-renames",
    "after-manifest",
    "after-publish",
)
MANIFEST = "_manifest.json"  # Spark, pyarrow and pandas read the folder as one table: they skip names that start with _
MODEL_MANIFEST = "manifest.json"
SUCCESS = "_SUCCESS"
ROW_DDL = "row string"
GROUP_BYTES = 1 << 24
SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"


@dataclass(frozen=True)
class Part:
    """A manifest row: a part's number, its file, rows, bytes, file hash, and what the writer wants remembered."""

    part: int
    file: str
    rows: int
    bytes: int
    sha256: str
    facts: dict[str, Any] = field(default_factory=dict)


def fault_point(name: str) -> None:
    """Ends the process here, as `kill -9` would, when TWINLAKE_FAULT_POINT names this point. For tests of recovery."""
    if name not in FAULT_POINTS:
        raise ValueError(f"unknown fault point {name}")
    if os.environ.get("TWINLAKE_FAULT_POINT") == name:
        os.kill(os.getpid(), signal.SIGKILL)


def run_tasks(
    spark: SparkSession, numbers: Iterable[int], tasks: int | None, work: Callable[[int], Iterator[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Runs `work(number)` on executors, spread over `tasks` Spark tasks (default: one a number); returns its dicts.

    `work` must be a module-level function or a partial of one. What it yields must stay small: it comes to the driver.
    """
    import pyspark.sql.functions as F

    todo = sorted(numbers)
    if not todo:
        return []
    count = max(1, min(tasks or len(todo), len(todo)))
    plan = spark.range(0, len(todo), 1, count).select(F.element_at(F.lit(todo), (F.col("id") + 1).cast("int")).alias("number"))
    rows = plan.mapInArrow(_task(work), ROW_DDL).toArrow()
    return [json.loads(row) for row in rows.column(0).to_pylist()]


def _task(
    work: Callable[[int], Iterator[dict[str, Any]]],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                try:
                    rows = [json.dumps(row) for row in work(number)]
                except OSError as error:
                    raise CommitError(
                        f"an executor could not read or write its files: {error.strerror}; run again to resume"
                    ) from None
                yield pa.RecordBatch.from_arrays([pa.array(rows, pa.string())], names=["row"])

    return run


class PartWriter:
    """Writes one part: `write` batches, then `finish`. The file and then its manifest row become visible whole.

    Errors: CommitError when the disk refuses (names the folder and the free space).
    """

    def __init__(self, staging: Path, number: int, schema: pa.Schema) -> None:
        self._staging, self._number, self.rows, self._held = staging, number, 0, list[pa.RecordBatch]()
        self._stem = f"part-{number:05d}-{attempt_name()}"
        self._temporary = staging / f".{self._stem}.tmp"
        with self._refusals():
            self._handle = self._temporary.open("wb")
            self._writer = pq.ParquetWriter(self._handle, schema, compression="zstd", compression_level=1, version="2.6")

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows. Small batches become one row group: it is smaller, and faster to read."""
        self._held.append(batch)
        self.rows += batch.num_rows
        if sum(b.nbytes for b in self._held) >= GROUP_BYTES:
            self._flush()

    def finish(self, facts: Callable[[], dict[str, Any]] = dict) -> Part:
        """Closes the file and publishes it in the staging folder; `facts` go into the manifest row."""
        self._flush()
        with self._refusals():
            self._writer.close()
            self._handle.close()
            sync(self._temporary)
            file = self._staging / f"{self._stem}.parquet"
            self._temporary.rename(file)
            fault_point("after-part-write")
            part = Part(self._number, file.name, self.rows, file.stat().st_size, file_hash(file), facts())
            write_text(self._staging / f"{self._stem}.json", json.dumps(asdict(part)))
            fault_point("after-part-row")
            return part

    def _flush(self) -> None:
        if self._held:
            with self._refusals():
                self._writer.write_batch(pa.concat_batches(self._held), row_group_size=1 << 20)
        self._held = []

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._temporary.unlink(missing_ok=True)
            free = shutil.disk_usage(self._staging).free if self._staging.exists() else 0
            raise CommitError(
                f"can't write part {self._number} in {escaped(str(self._staging))}: {error.strerror} after {self.rows:,} rows; "
                f"{free:,} bytes are free there; make room and run again, or choose another run.dir"
            ) from None


def write_part(
    staging: Path,
    number: int,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    facts: Callable[[], dict[str, Any]] = dict,
) -> Part:
    """Writes one part of `batches`; `facts` is called after the last of them."""
    writer = PartWriter(staging, number, schema)
    for batch in batches:
        writer.write(batch)
    return writer.finish(facts)


def finished_parts(staging: Path) -> dict[int, Part]:
    """The whole parts that earlier attempts left in `staging`, by number; of several the first by file name."""
    found: dict[int, Part] = {}
    for row in sorted(staging.glob("part-*.json")):
        try:
            part = Part(**json.loads(row.read_text()))
        except (ValueError, TypeError):
            continue
        file = staging / part.file
        if part.part not in found and file.is_file() and file.stat().st_size == part.bytes:
            found[part.part] = part
    return found


def drop_part(staging: Path, number: int) -> None:
    """Removes every attempt of a part: manifest rows first, so that none names a missing file as whole."""
    for suffix in (".json", ".parquet"):
        for file in staging.glob(f"part-{number:05d}*{suffix}"):
            file.unlink()


def publish(staging: Path, final: Path, parts: int, facts: dict[str, Any]) -> list[Part]:
    """Makes the parts 0..`parts`-1 of `staging` the content of `final`, in one rename.

    Errors: CommitError, DataError.
    """
    fault_point("after-all-parts")
    found = finished_parts(staging)
    missing = [number for number in range(parts) if number not in found]
    if missing:
        raise CommitError(f"{len(missing)} of {parts} parts are missing in {escaped(str(staging))}; rerun to resume")
    named = []
    for number in range(parts):
        part = found[number]
        file = f"part-{number:05d}.parquet"
        os.replace(staging / part.file, staging / file)
        named.append(Part(number, file, part.rows, part.bytes, part.sha256, part.facts))
        write_text(staging / f"part-{number:05d}.json", json.dumps(asdict(named[-1])))
    fault_point("after-renames")
    extras = sorted({extra for part in named for extra in part.facts.get("files", [])})
    listed = [{"file": name, "bytes": (staging / name).stat().st_size, "sha256": file_hash(staging / name)} for name in extras]
    manifest = {
        "format": 1,
        "rows": sum(p.rows for p in named),
        **facts,
        "parts": [asdict(p) for p in named],
        "files": listed,
    }
    write_text(staging / MANIFEST, json.dumps(manifest, indent=1))
    fault_point("after-manifest")
    return publish_staged(staging, final)


def publish_staged(staging: Path, final: Path) -> list[Part]:
    """The last steps of `publish`, for a staging folder whose manifest is written: drops what it does not name,
    renames."""
    manifest = read_manifest(staging)
    keep = {MANIFEST, *(entry["file"] for entry in (*manifest["parts"], *manifest["files"]))}
    for file in list(staging.iterdir()):
        if file.name not in keep:
            file.unlink()
    write_text(staging / SUCCESS, "")
    replace_folder(staging, final)
    fault_point("after-publish")
    return [Part(**part) for part in manifest["parts"]]


def is_whole(folder: Path, job: str) -> bool:
    """Whether `folder` has the manifest of this very job and every file that it names, unchanged."""
    return (folder / MANIFEST).is_file() and read_manifest(folder).get("job") == job and not verify_folder(folder)


def replace_folder(staging: Path, final: Path) -> None:
    """Renames `staging` to `final`; an older `final` that is ours is removed. Errors: CommitError for foreign files."""
    ours = any((final / name).is_file() for name in (MANIFEST, MODEL_MANIFEST))
    if final.exists() and not ours and any(final.iterdir()):
        raise CommitError(f"{escaped(str(final))} holds files that are not of twinlake; choose another folder or empty it")
    old = final.with_name(f".{final.name}.old")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    staging.rename(final)
    sync(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a published folder. Errors: DataError when there is none or it can't be read."""
    file = folder / (MODEL_MANIFEST if (folder / MODEL_MANIFEST).is_file() else MANIFEST)
    try:
        manifest: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        raise DataError(
            f"{escaped(str(folder))} has no readable {MANIFEST}: it was not published by twinlake, or was damaged"
        ) from None
    return manifest


def verify_folder(folder: Path) -> list[str]:
    """The files of a published folder that are missing or not what the manifest says."""
    manifest = read_manifest(folder)
    bad = []
    for entry in [*manifest.get("parts", []), *manifest.get("files", [])]:
        file = folder / entry["file"]
        if not file.is_file() or file.stat().st_size != entry["bytes"] or file_hash(file) != entry["sha256"]:
            bad.append(str(file))
    return bad


def part_files(folder: Path) -> list[str]:
    """Absolute paths of the parts of a published folder, in order."""
    return [str((folder / part["file"]).resolve()) for part in read_manifest(folder)["parts"]]


def as_named(path: str | Path) -> str:
    """A local path as Spark's readers take it: to them []{}*? and a backslash make a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", str(path))


def read_parquet(reader: DataFrameReader, files: Iterable[str | Path]) -> DataFrame:
    """The rows of these files or folders, whatever their names."""
    return reader.parquet(*map(as_named, files))


def read_part(file: str, batch_rows: int = 65_536, dictionaries: bool = False) -> Iterator[pa.RecordBatch]:
    """The rows of a part in batches; with `dictionaries` texts that repeat come as dictionary arrays, as they are stored."""
    facts = pq.read_metadata(file)
    with pq.ParquetFile(file, metadata=facts, read_dictionary=_dictionaries(facts) if dictionaries else None) as parquet:
        yield from parquet.iter_batches(batch_size=batch_rows)


def _dictionaries(facts: pq.FileMetaData) -> list[str]:
    """The texts whose chunks are smaller than their lengths alone, 4 bytes a value, would be in plain encoding."""
    fields, groups = facts.schema.to_arrow_schema(), [facts.row_group(g) for g in range(facts.num_row_groups)]
    if len(fields) != facts.num_columns:  # a nested column has several chunks
        return []
    texts = [at for at, field in enumerate(fields) if pa.types.is_string(field.type)]
    return [fields[at].name for at in texts if all(g.column(at).total_uncompressed_size < 4 * g.num_rows for g in groups)]


def spark_schema(metadata: Mapping[bytes, bytes] | None) -> Any:
    """The Spark schema that the metadata of a part's Arrow schema carries. Errors: DataError when there is none."""
    from pyspark.sql.types import StructType

    if not metadata or SPARK_SCHEMA not in metadata:
        raise DataError("the Arrow schema carries no Spark schema; it is not of a part that twinlake wrote")
    return StructType.fromJson(json.loads(metadata[SPARK_SCHEMA]))


def renamed(schema: Any) -> Any:
    """A Spark schema with the names c0, c1, ...: mapInArrow refuses some legal names."""
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(f"c{i}", f.dataType, f.nullable, f.metadata) for i, f in enumerate(schema.fields)])


def write_text(path: Path, text: str) -> None:
    """Writes `text` so that readers see the old file or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    os.replace(temporary, path)


def sync(path: Path) -> None:
    """Forces a file, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def attempt_name() -> str:
    """A file name's part that no other attempt has: not of this task, and not of a run that died and whose last task
    still writes (task numbers start again at 0 with every driver)."""
    from pyspark import TaskContext

    context = TaskContext.get()
    task = context.taskAttemptId() if context is not None else 0
    return f"{task}-{os.getpid()}-{time.time_ns():x}"
