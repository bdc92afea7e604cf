"""Writes RUN/synthetic from MODEL on the cluster MASTER with speculation on; the first attempt at part 1 sleeps."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from twinlake.generate.blocks import Job, make_part, part_count
from twinlake.models.store import check_model
from twinlake.tables.parts import publish, run_tasks

SETTINGS = {
    "spark.speculation": "true",
    "spark.speculation.quantile": "0.1",
    "spark.speculation.multiplier": "1.0",
    "spark.speculation.interval": "200ms",
    "spark.executor.memory": "800m",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


def slow_once(number: int, job: Job, staging: str, run: str) -> Iterator[dict[str, Any]]:
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None
    if number == 1:
        (Path(run) / f"attempt-{context.taskAttemptId()}").touch()
        time.sleep(40 if context.attemptNumber() == 0 else 0)
    yield from make_part(number, job, staging)


def main(master: str, model: str, run: str, rows: str) -> None:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    spark = builder.config("spark.executorEnv.PYTHONPATH", os.environ["PYTHONPATH"]).getOrCreate()
    job = Job(model, check_model(Path(model)), int(rows), 7, {})
    staging = Path(run) / ".staging-synthetic"
    staging.mkdir()
    work = partial(slow_once, job=job, staging=str(staging), run=run)
    run_tasks(spark, range(part_count(job.rows)), None, work)
    publish(staging, Path(run) / "synthetic", part_count(job.rows), {})
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
