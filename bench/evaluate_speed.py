"""What does evaluating cost beside Spark reading and writing the same rows? The limit for what sees all rows is three times.

    python bench/evaluate_speed.py --rows 1000000

As many real as synthetic rows (two draws of the table of bench/scale.py, 15 columns) and a tenth as holdout, in one session on
`local-cluster[2,1,1024]` with `spark.driver.maxResultSize=32m`, after the same on 100,000 rows. Printed: seconds of reading and
writing all three tables, of profiling and counting their tokens before any metric (what a run did when it was made), of each
group of metrics (their shared passes are counted with the group that asks first) and of drift, and the driver's peak memory for
both sizes. Learners and attacks look at samples of stated size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scale import Peaks, make_table

from twinlake import api

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SIDES = {"real": 7, "twin": 8, "holdout": 9}


def seconds(work: Callable[[], object]) -> float:
    """On the clock."""
    start = time.monotonic()
    work()
    return round(time.monotonic() - start, 1)


def one_size(spark: SparkSession, folder: Path) -> dict[str, object]:
    """Seconds of the copy, of each group of metrics and of drift."""
    tables = {side: spark.read.parquet(str(folder / side)) for side in SIDES}
    copy = seconds(lambda: [df.write.parquet(str(folder / f"{side}-copy")) for side, df in tables.items()])
    start = time.monotonic()
    evaluation = api.evaluate(tables["real"], tables["twin"], tables["holdout"], target="income")
    groups = evaluation.facts["seconds"]
    counting = round(time.monotonic() - start - sum(groups.values()), 1)
    drift = seconds(lambda: api.drift(tables["real"], tables["twin"]))
    return {"copy": copy, "counting": counting, "drift": drift, "groups": groups}


def worker(folder: Path) -> None:
    """Measures a small size, then that of `folder`. Runs in a process of its own."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.driver.maxResultSize", "32m")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    for size in ("small", "whole"):
        peaks = Peaks()
        found = one_size(spark, folder / size)
        peaks.stop()
        print("FACTS " + json.dumps({"size": size, **found, **peaks.megabytes()}), flush=True)
    spark.stop()


def main() -> None:
    """Reads the arguments, makes the tables, runs the worker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker)
        return
    with tempfile.TemporaryDirectory(prefix="twinlake-bench-") as name:
        for size, rows in (("small", given.rows // 10), ("whole", given.rows)):
            for side, seed in SIDES.items():
                make_table(rows // 10 if side == "holdout" else rows, Path(name, size, side), seed)
        subprocess.run([sys.executable, __file__, "--worker", name], check=True)


if __name__ == "__main__":
    main()
