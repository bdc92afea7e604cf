"""How long do profile and encode take beside Spark copying the same rows? The limit is three times the copy.

    python bench/scan.py --rows 1000000 10000000

Each size runs in a process of its own on `local-cluster[2,1,1024]`, driver with 1 GB (`spark.driver.memory=1g`) and
`spark.driver.maxResultSize=32m`. The table is that of bench/scale.py, 15 columns. In one session, after the same steps on a
table of 200,000 rows: Spark reads the table and writes it as Parquet; profile_table, with the train/holdout split; the rows
are written as protected parts (the transform stage, told apart); encode_table on those. CPU seconds are those of the driver,
the executors and their Python workers, read from /proc; the driver's memory is its Python and its JVM.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from scale import Peaks, make_table

from twinlake.models.encode import encode_table
from twinlake.profile.profile import profile_table
from twinlake.tables.parts import publish
from twinlake.tables.split import Split, part_count
from twinlake.transform.columns import ColumnPlan
from twinlake.transform.plan import Plan
from twinlake.transform.protect import stage_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WARM_UP = 200_000
MEMORY = "1g"


class Cpu:
    """CPU seconds of this process and all below it, those that have ended included; looks five times a second."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, float], float] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.seconds()
            time.sleep(0.2)

    def seconds(self) -> float:
        """Seconds since the start of each process."""
        me = psutil.Process()
        for process in [me, *me.children(recursive=True)]:
            try:
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        return sum(self._seen.values())


def measured(cpu: Cpu, work: Callable[[], object]) -> dict[str, float]:
    """What `work` costs: CPU seconds of all processes, and seconds."""
    before, start = cpu.seconds(), time.monotonic()
    work()
    return {"cpu": round(cpu.seconds() - before, 1), "wall": round(time.monotonic() - start, 1)}


def steps(df: DataFrame, rows: int, folder: Path, cpu: Cpu) -> dict[str, dict[str, float]]:
    """The costs of a copy, profile, transform and encode of `df`."""
    folder.mkdir()
    split, parts = Split(5, 0.1), part_count(rows, len(df.columns))
    kinds = [(f.name, f.dataType.simpleString()) for f in df.schema.fields]
    plan = Plan(tuple(ColumnPlan(name, kind, True, None, "keep", {}, kind, "model", "") for name, kind in kinds))
    sides = [folder / "train", folder / "holdout"]

    def protect() -> None:
        for side in sides:
            side.mkdir()
        stage_rows(df, split, parts, *sides)
        publish(sides[0], folder / "protected", parts, {})

    encode = (df.sparkSession, folder / "protected", plan, 10, 7, folder / "codec.json", folder / "encoded")
    found = {
        "copy": measured(cpu, lambda: df.write.parquet(str(folder / "copy"))),
        "profile": measured(cpu, lambda: profile_table(df, split, 10)),
        "transform": measured(cpu, protect),
        "encode": measured(cpu, lambda: encode_table(*encode)),
    }
    shutil.rmtree(folder)
    return found


def worker(rows: int, folder: Path) -> None:
    """Measures one size and prints it as JSON. Runs in a process of its own."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.driver.memory", MEMORY)
        .config("spark.driver.maxResultSize", "32m")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    peaks, cpu = Peaks(), Cpu()
    small = spark.read.parquet(str(folder / "table")).limit(WARM_UP).coalesce(1)
    small.write.parquet(str(folder / "small"))
    steps(spark.read.parquet(str(folder / "small")), WARM_UP, folder / "warm", cpu)
    found = steps(spark.read.parquet(str(folder / "table")), rows, folder / "work", cpu)
    peaks.stop()
    times = {kind: (found["profile"][kind] + found["encode"][kind]) / found["copy"][kind] for kind in ("cpu", "wall")}
    print("FACTS " + json.dumps({"rows": rows, **found, "times_copy": times, "driver_mb": peaks.megabytes()["driver"]}))
    spark.stop()


def main() -> None:
    """Reads the arguments, runs each size, prints what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.rows[0], given.worker)
        return
    for rows in given.rows:
        with tempfile.TemporaryDirectory(prefix="twinlake-scan-") as folder:
            make_table(rows, Path(folder) / "table")
            command = [sys.executable, __file__, "--rows", str(rows), "--worker", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        [line] = [text for text in done.stdout.splitlines() if text.startswith("FACTS ")]
        print(line.removeprefix("FACTS "), flush=True)


if __name__ == "__main__":
    main()
