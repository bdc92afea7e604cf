"""Writes the twin: parts drawn by Spark tasks, counted, hashed and published in one rename; what is missing is resumed.

Only manifest rows come back to the driver. Rows that break a rule are found on the staged parts and drawn again: in
round r each gets 2^(r-1) more attempts, the first that keeps the rules of single rows is taken, and the parts that hold
such rows are written once more.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twinlake.core.errors import DataError, ModelError, in_quotes
from twinlake.core.progress import Progress
from twinlake.generate.blocks import ATTEMPTS, Job, Maker, blocks_per_part, kernel_id, make_part, part_count
from twinlake.generate.filters import OUTLIERS, SIMILARITY
from twinlake.generate.rules import ATTEMPT, COPY, ROW, RULES, TEXT, Rule, broken, check_rules
from twinlake.models.nested import with_leaves
from twinlake.models.sampler import BLOCK_ROWS
from twinlake.models.store import load_model
from twinlake.tables.parts import (
    MANIFEST,
    drop_part,
    file_hash,
    finished_parts,
    is_whole,
    part_files,
    publish,
    publish_staged,
    read_manifest,
    read_parquet,
    renamed,
    run_tasks,
    spark_schema,
    write_text,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MAX_ROUNDS = 10


def write_rows(
    spark: SparkSession,
    job: Job,
    staging: Path,
    out: Path,
    partitions: int | None,
    progress: Progress,
    rules: Sequence[Rule] = (),
    train: Path | None = None,
    people: int = 1,
    strict_kernel: bool = False,
) -> dict[str, Any]:
    """Publishes `job.rows` rows in `out`; returns facts for run.json.

    Every row keeps `rules`; `train`: the protected parts that rules look rows up in; combinations held by fewer than
    `people` of them do not count. Errors: ModelError (kernels differ under `strict_kernel`), ConfigError (a rule that
    the table has no columns for), DataError (a rule that too many rows break), CommitError.
    """
    parts = part_count(job.rows)
    identity = job_identity(job, rules, train)
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
    redrawn = _settle(spark, job, staging, rules, train, people, partitions, progress) if rules else {}
    redrawn |= _refused(staging, job, progress)
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
        "redrawn": redrawn,
    }
    checked = [p.facts["invalid"] for p in finished_parts(staging).values() if "invalid" in p.facts]
    if checked:
        facts["invalid"] = sum(checked)
    publish(staging, out, parts, facts)
    shutil.rmtree(_redraws(staging), ignore_errors=True)
    return _facts(read_manifest(out))


def _facts(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "rows": manifest["rows"],
        "parts": len(manifest["parts"]),
        **{k: manifest[k] for k in ("redrawn", "kernels", "invalid") if k in manifest},
    }


def job_identity(job: Job, rules: Sequence[Rule] = (), train: Path | None = None) -> str:
    """A hash of all that decides the rows: model, seed, rows, steering, kernel, rules, and the table that rules look at."""
    looked_up = file_hash(train / MANIFEST) if train is not None and rules else None
    kept = [asdict(rule) for rule in rules]
    filters = None if job.filters is None else replace(job.filters, folder="")
    told = asdict(replace(job, model="", redraw=None, filters=filters))
    plain = json.dumps([told, kernel_id(), kept, looked_up], sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


def _start_over_if_changed(staging: Path, identity: str) -> None:
    """Parts of another job must not be mixed in."""
    file = staging / "job.txt"
    if not file.is_file() or file.read_text() != identity:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(_redraws(staging), ignore_errors=True)
        staging.mkdir(parents=True)
        write_text(file, identity)


def _make(spark: SparkSession, job: Job, staging: Path, numbers: list[int], partitions: int | None, progress: Progress) -> None:
    from twinlake.generate.watch import watching

    with watching(staging, job.rows, progress):
        run_tasks(spark, numbers, partitions, partial(make_part, job=job, staging=str(staging)))


# -- rows that break a rule --------------------------------------------------------------------------------------------


def _settle(
    spark: SparkSession,
    job: Job,
    staging: Path,
    rules: Sequence[Rule],
    train: Path | None,
    people: int,
    partitions: int | None,
    progress: Progress,
) -> dict[str, int]:
    """Draws rows again until none breaks a rule; returns by rule how many rows were found to break it."""
    from pyspark.sql import functions as F

    codec = load_model(job.model, job.digest).codec
    schema, named = spark_schema(codec.schema.metadata), partial(with_leaves, names=codec.names, leaves=codec.leaves)
    real = named(read_parquet(spark.read.schema(schema), part_files(train))) if train is not None else None
    check_rules(rules, named(spark.createDataFrame([], schema)), with_leaves=True)
    folder, total = _redraws(staging), dict.fromkeys((r.text for r in rules), 0)
    for round_ in range(1, MAX_ROUNDS + 2):
        found = folder / f"broken-{round_:02d}"
        staged = broken(named(_staged(spark, job, staging, schema)), rules, real, people)
        staged.where(F.size(RULES) > 0).write.mode("overwrite").parquet(str(found))
        breaking = read_parquet(spark.read, [found])
        by_rule = breaking.select(F.explode(RULES).alias("rule")).groupBy("rule").count().collect()
        counts = {rules[row["rule"]].text: row["count"] for row in by_rule}
        if not counts:
            break
        if round_ > MAX_ROUNDS:
            raise DataError(_hopeless(counts, job.rows))
        total = {text: before + counts.get(text, 0) for text, before in total.items()}
        what = ", ".join(f"{n:,} break {in_quotes(text)}" for text, n in counts.items())
        progress.say(f"drawing rows again, round {round_}: {what}")
        rows, tries = breaking.select(ROW), 2 ** (round_ - 1)
        attempts = rows.withColumn(ATTEMPT, F.lit(tries).cast("bigint"))
        if tries > 1:  # else there is nothing to choose from
            made = broken(named(_candidates(rows, job, tries, schema)), rules, real, people, sets=False)
            kept = made.where(F.size(RULES) == 0).groupBy(ROW).agg(F.min(ATTEMPT).alias("kept"))
            attempts = attempts.join(kept, ROW, "left").select(ROW, F.coalesce("kept", ATTEMPT).alias(ATTEMPT))
        chosen = attempts.select(F.col(ROW).alias("row"), F.col(ATTEMPT).alias("attempt"))
        chosen.write.mode("overwrite").parquet(str(folder / "attempts" / f"round-{round_:02d}"))
        size = blocks_per_part(job.rows) * BLOCK_ROWS
        again = sorted(r["part"] for r in rows.select(F.expr(f"{ROW} div {size}").alias("part")).distinct().collect())
        write_text(folder / f"parts-{round_:02d}.json", json.dumps(again))
        for number in again:
            drop_part(staging, number)
        _make(spark, replace(job, redraw=str(folder / "attempts")), staging, again, partitions, progress)
    return total


def _staged(spark: SparkSession, job: Job, staging: Path, schema: Any) -> DataFrame:
    """The rows of the staged parts and their row ids (ROW)."""
    from pyspark.sql import functions as F

    files = [str(staging / p.file) for p in finished_parts(staging).values()]
    size = blocks_per_part(job.rows) * BLOCK_ROWS
    rows = read_parquet(spark.read.schema(schema), files)
    where = rows.metadataColumn("_metadata")  # also where the table has a column of that name
    part = F.regexp_extract(where["file_name"], r"^part-(\d+)-", 1).cast("bigint")
    return rows.withColumn(ROW, part * size + where["row_index"])


def _candidates(rows: DataFrame, job: Job, tries: int, schema: Any) -> DataFrame:
    """`tries` more attempts of each of `rows`: ROW, ATTEMPT and the twin's columns."""
    from pyspark.sql.types import LongType, StructField, StructType

    own = [StructField(ROW, LongType()), StructField(ATTEMPT, LongType())]
    out = rows.mapInArrow(partial(_attempts, job=job, tries=tries), StructType([*own, *renamed(schema).fields]))
    return out.toDF(ROW, ATTEMPT, *schema.fieldNames())


def _attempts(batches: Iterable[pa.RecordBatch], job: Job, tries: int) -> Iterator[pa.RecordBatch]:
    maker = Maker.of(job)
    names = [ROW, ATTEMPT, *(f"c{i}" for i in range(len(maker.codec.table)))]
    for batch in batches:
        ids = np.sort(batch.column(0).to_numpy()).astype(np.uint64)
        for start in range(0, len(ids), BLOCK_ROWS):
            some = ids[start : start + BLOCK_ROWS]
            for attempt in range(tries, 2 * tries):
                attempts = np.full(len(some), attempt, np.int64)
                made = maker.codec.whole(maker.made(*maker.rows(some, attempts), some, attempts)[1])
                own = [pa.array(some.astype(np.int64)), pa.array(attempts)]
                yield pa.RecordBatch.from_arrays([*own, *made.columns], names=names)


def _refused(staging: Path, job: Job, progress: Progress) -> dict[str, int]:
    """How many rows each filter refused. Errors: DataError where the config asks for a filter by name and rows are left that it
    refuses."""
    if job.filters is None:
        return {}
    total = sum((Counter(p.facts["filters"]) for p in finished_parts(staging).values()), Counter())
    left = total.pop("left", 0)
    told = f"{left:,} of {job.rows:,} rows are as near to a training row, or as far from all, after {ATTEMPTS} redraws"
    if left and job.filters.strict:
        raise DataError(
            f"privacy.filters: {told}; the model hardly makes others: train it on more rows or for fewer epochs "
            "(train.epochs), or set the filter to auto, which keeps what can't be redrawn"
        )
    if left:
        progress.say(f"filters: {told}, and were kept")
    return {f"{name} filter": total[name] for name in (SIMILARITY, OUTLIERS)} | (
        {"kept in spite of filters": left} if left else {}
    )


def _redraws(staging: Path) -> Path:
    """Beside the parts: which rows broke rules, and which attempt each row is of."""
    return staging.with_name(f"{staging.name}-redraws")


def _forget_redraws(staging: Path) -> None:
    """Parts that an earlier run was redrawing are drawn from the start: which attempt their rows are of is not known."""
    for file in sorted(_redraws(staging).glob("parts-*.json")):
        for number in json.loads(file.read_text()):
            drop_part(staging, number)
    shutil.rmtree(_redraws(staging), ignore_errors=True)


def _hopeless(counts: Mapping[str, int], rows: int) -> str:
    text = max(counts, key=lambda t: counts[t])
    told = f"{counts[text]:,} of {rows:,} rows still break {in_quotes(text)} after {2**MAX_ROUNDS - 1} redraws; "
    if text == COPY:
        return (
            f"generate.replace_copies: {told}the table has few different rows, so most are no one's in particular: "
            "turn replace_copies off"
        )
    if text.startswith(TEXT):
        return f"generate.replace_copies: {told}the model writes little else; turn replace_copies off, or give it more rows"
    return f"generate.rules: {told}the model hardly makes such rows: use generate.conditions, or loosen the rule"
