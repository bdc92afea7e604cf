"""Does the driver's memory grow with rows? Runs the pipeline on two sizes and compares the driver's peak memory.

    python bench/scale.py --rows 500000 5000000

Each size runs in a process of its own on `local-cluster[2,1,1024]` with `spark.driver.maxResultSize=32m`. The driver is its
Python and its JVM; executors (children of the JVM) and Ray's processes are not counted. The table is Adult repeated, with
noise on `fnlwgt` and `age`, so that rows differ. Peaks are read from /proc ten times a second.
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
from pathlib import Path

import psutil

ADULT = Path(__file__).parents[1] / "data" / "adult" / "adult.parquet"


def make_table(rows: int, out: Path, seed: int = 7) -> None:
    """Adult repeated to `rows` rows with noise, as Parquet in files of a million rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    adult = pq.read_table(ADULT)
    out.mkdir(parents=True)
    draw = np.random.Generator(np.random.Philox(seed))
    for number, start in enumerate(range(0, rows, 1_000_000)):
        count = min(1_000_000, rows - start)
        part = adult.take(pa.array(draw.integers(0, adult.num_rows, count)))
        for name, spread in (("fnlwgt", 5_000), ("age", 1)):
            at = part.schema.get_field_index(name)
            noisy = part.column(name).to_numpy() + draw.integers(-spread, spread + 1, count)
            part = part.set_column(at, name, pa.array(np.maximum(noisy, 17), pa.int64()))
        pq.write_table(part, out / f"part-{number:03d}.parquet", row_group_size=100_000)


def worker(table: str, out: str, cluster: bool) -> None:
    """Runs the line on `table` and prints the peaks as JSON. Runs in a process of its own."""
    from pyspark.sql import SparkSession

    from twinlake import pipeline
    from twinlake.core.config import load_config
    from twinlake.core.progress import Lines

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local-cluster[2,1,1024]" if cluster else "local[2]")
    spark = (
        builder.config("spark.driver.maxResultSize", "32m")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    peaks = Peaks()
    start = time.monotonic()
    settings = ["train.max_minutes=2", f"run.dir={out}", "evaluate.target=income"]
    result = pipeline.run(load_config(base={"source": {"path": table}}, overrides=settings), spark, Lines())
    peaks.stop()
    state = json.loads((Path(out) / "run.json").read_text())
    seconds = {name: entry["seconds"] for name, entry in state["stages"].items()}
    facts = {"rows": result.rows, "score": result.score, "seconds": round(time.monotonic() - start), "stages": seconds}
    print("FACTS " + json.dumps(facts | peaks.megabytes()), flush=True)
    spark.stop()


class Peaks:
    """The highest memory of this process and of its JVM, by thread."""

    def __init__(self) -> None:
        self._python, self._jvm, self._both, self._done = 0, 0, 0, threading.Event()
        self._me = psutil.Process()
        self._java = next(c for c in self._me.children(recursive=True) if "SparkSubmit" in " ".join(c.cmdline()))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            python, jvm = self._me.memory_info().rss, self._java.memory_info().rss
            self._python, self._jvm = max(self._python, python), max(self._jvm, jvm)
            self._both = max(self._both, python + jvm)

    def stop(self) -> None:
        """Ends the watching."""
        self._done.set()
        self._thread.join()

    def megabytes(self) -> dict[str, int]:
        """Peaks in MB."""
        return {n: round(v / 1e6) for n, v in (("python", self._python), ("jvm", self._jvm), ("driver", self._both))}


def main() -> None:
    """Reads the arguments, runs each size, prints the growth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 5_000_000])
    parser.add_argument("--local", action="store_true", help="local[2] instead of local-cluster")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(*arguments.worker, cluster=not arguments.local)
        return
    found = []
    for rows in arguments.rows:
        folder = Path(tempfile.mkdtemp(prefix="twinlake-scale-"))
        make_table(rows, folder / "table")
        extra = ["--local"] if arguments.local else []
        command = [sys.executable, __file__, *extra, "--worker", str(folder / "table"), str(folder / "run")]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        line = next(text for text in done.stdout.splitlines() if text.startswith("FACTS "))
        found.append(json.loads(line.removeprefix("FACTS ")))
        print(json.dumps(found[-1]), flush=True)
        shutil.rmtree(folder)
    for name in ("python", "jvm", "driver"):
        print(f"{name}: {found[0][name]} MB -> {found[-1][name]} MB, {100 * found[-1][name] / found[0][name] - 100:+.1f}%")


if __name__ == "__main__":
    main()
