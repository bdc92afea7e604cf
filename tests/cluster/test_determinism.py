"""The same rows on two executor JVMs as drawn directly, for any number of tasks; little comes to the driver."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from random_model import save_random_language

from twinlake.generate.model import Model
from twinlake.models.codec import Codec
from twinlake.tables.parts import part_files, read_manifest


@pytest.mark.parametrize("partitions", [1, 7, 64])
def test_parts_are_the_same_for_any_partitions(spark: Any, many_rows: Any, published_by: Any, partitions: int) -> None:
    before = spark.conf.getAll
    out, _ = published_by(spark, partitions)
    assert read_manifest(out)["rows"] == many_rows.num_rows
    assert spark.conf.getAll == before


def test_lazy_rows_are_the_same_for_any_number_of_partitions(
    spark: Any, random_model: Path, many_rows: pa.Table, tmp_path: Path
) -> None:
    """Hashed where the rows are made: the driver takes at most 32 MB."""
    file = tmp_path / "expected.parquet"
    pq.write_table(many_rows, file, row_group_size=many_rows.num_rows)
    wanted = _hash_of_rows(spark.read.parquet(str(file)), many_rows.num_rows)
    model = Model.load(random_model)
    for partitions in (1, 7, 64):
        frame = model.generate(spark, many_rows.num_rows, partitions=partitions)
        assert _hash_of_rows(frame, many_rows.num_rows) == wanted


def test_two_executors_made_the_parts(spark: Any, random_model: Path, publish_twin: Any, tmp_path: Path) -> None:
    """Each part's file is named by its attempt and the process that wrote it; the published names say nothing of it."""
    from functools import partial

    from twinlake.generate.blocks import Job, make_part, part_count
    from twinlake.models.store import check_model
    from twinlake.tables.parts import run_tasks

    job = Job(str(random_model), check_model(random_model), 100_000, 7, {})
    staging = tmp_path / ".staging-synthetic"
    staging.mkdir()
    rows = run_tasks(spark, range(part_count(job.rows)), None, partial(make_part, job=job, staging=str(staging)))
    assert sum(r["rows"] for r in rows) == job.rows
    assert len({f.stem.split("-")[3] for f in staging.glob("part-*.parquet")}) >= 2
    publish_twin(spark, random_model, tmp_path / "other", 100_000)
    assert [Path(f).name for f in part_files(tmp_path / "other" / "synthetic")] == [
        f"part-{n:05d}.parquet" for n in range(part_count(100_000))
    ]


@pytest.mark.parametrize("partitions", [1, 5])
def test_written_rows_are_the_same_for_any_partitions(
    spark: Any,
    random_model: Path,
    drawn_directly: Any,
    content_hash: Any,
    publish_twin: Any,
    tmp_path: Path,
    partitions: int,
) -> None:
    """The same of the language family, whose rows are drawn in chunks of other sizes than its parts."""
    codec = Codec.from_json((random_model / "codec.json").read_text())
    model = save_random_language(tmp_path / "model", codec)
    publish_twin(spark, model, tmp_path, 6_000, partitions)
    assert content_hash(tmp_path / "synthetic") == content_hash(drawn_directly(model, 6_000))


def _hash_of_rows(frame: Any, rows: int) -> str:
    from pyspark.sql import functions as F

    hashes = frame.select(F.xxhash64(*[F.col(c) for c in frame.columns]).alias("hash")).toArrow()
    assert hashes.num_rows == rows
    return hashlib.sha256(hashes["hash"].combine_chunks().to_numpy().tobytes()).hexdigest()
