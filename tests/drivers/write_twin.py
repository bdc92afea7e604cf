"""A driver of its own for tests that kill it: writes RUN/synthetic from MODEL on local[2]. `-` as MASTER: without
Spark."""

from __future__ import annotations

import sys
from pathlib import Path

from twinlake.core.progress import Silent
from twinlake.generate.blocks import Job
from twinlake.generate.generate import write_rows
from twinlake.generate.rules import read_rules
from twinlake.models.store import check_model, load_model


def main(master: str, model: str, run: str, rows: str, train: str = "") -> None:
    spark = None
    if master != "-":  # with every part in staging no session is needed
        from pyspark.sql import SparkSession

        spark = (
            SparkSession.builder.master(master)
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .getOrCreate()
        )
    job = Job(model, check_model(Path(model)), int(rows), 7, {})
    staging, out = Path(run) / ".staging-synthetic", Path(run) / "synthetic"
    copied = [c.name for c in load_model(model, job.digest).codec.columns if c.coarse] if train else []
    looked_up = Path(train) if train else None
    write_rows(spark, job, staging, out, None, Silent(), read_rules([], copied), looked_up)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
