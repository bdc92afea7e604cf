"""Is generation linear in rows, flat in memory, and the same after a kill? Writes one model's twin in ever more rows.

    python bench/volume.py runs/adult-twin/model --rows 25000000 50000000 100000000
    python bench/volume.py runs/adult-twin/model --rows 20000000 --slots 1 2 1 2

Each size is one Spark job on `local[2]` in a process of its own, straight to committed Parquet; the last size runs once more,
is killed with SIGKILL when half of its parts are there, is resumed, and must have the content hashes of the run that was
not killed. Memory is read from /proc twice a second: the driver is its Python and its JVM (which runs the tasks' JVM side too),
workers are Spark's Python processes. With `--slots` the first size runs on `local[n]` for each n, and that is all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil


def worker(model: str, run: str, rows: int, slots: int) -> None:
    """Writes RUN/synthetic. Runs in a process of its own."""
    from pyspark.sql import SparkSession

    from twinlake.core.progress import Silent
    from twinlake.generate.blocks import Job
    from twinlake.generate.generate import write_rows
    from twinlake.models.store import check_model

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(f"local[{slots}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    spark = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    job = Job(model, check_model(Path(model)), rows, 7, {})
    start = time.monotonic()
    write_rows(spark, job, Path(run) / ".staging-synthetic", Path(run) / "synthetic", None, Silent())
    print(f"SECONDS {time.monotonic() - start:.1f}", flush=True)
    spark.stop()


def measured(model: str, run: Path, rows: int, kill_at: int | None = None, slots: int = 2) -> dict[str, float]:
    """Runs `worker`, killed once `kill_at` parts are staged; seconds of the job and peak megabytes by kind of process."""
    run.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, model, "--worker", str(run), str(rows), str(slots)]
    peaks = {"driver": 0, "worker": 0}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        while process.poll() is None:
            time.sleep(0.5)
            own = psutil.Process(process.pid)
            both = own.memory_info().rss
            for child in own.children(recursive=True):
                try:
                    if "java" in child.name():
                        both += child.memory_info().rss
                    else:
                        peaks["worker"] = max(peaks["worker"], child.memory_info().rss)
                except psutil.Error:
                    continue
            peaks["driver"] = max(peaks["driver"], both)
            if kill_at is not None and len(list((run / ".staging-synthetic").glob("part-*.parquet"))) >= kill_at:
                os.killpg(process.pid, signal.SIGKILL)
        told = process.stdout.read() if process.stdout else ""
    seconds = [float(line.split()[1]) for line in told.splitlines() if line.startswith("SECONDS")]
    if (kill_at is None) != bool(seconds):
        raise SystemExit(f"the run of {rows:,} rows ended with exit code {process.returncode}")
    return {"seconds": seconds[0] if seconds else -1.0} | {k: round(v / 1e6) for k, v in peaks.items()}


def contents(run: Path) -> list[str]:
    """The content hash of each part, in order."""
    manifest = json.loads((run / "synthetic" / "_manifest.json").read_text())
    return [part["facts"]["content"] for part in sorted(manifest["parts"], key=lambda p: p["part"])]


def main() -> None:
    """Reads the arguments and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, nargs="+", default=[25_000_000, 50_000_000, 100_000_000])
    parser.add_argument("--slots", type=int, nargs="+", default=[], help="task slots to compare")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    model = str(Path(given.model).absolute())
    if given.worker:
        worker(model, given.worker[0], int(given.worker[1]), int(given.worker[2]))
        return
    scratch, before, whole = Path(tempfile.mkdtemp(prefix="twinlake-volume-")), 0.0, []
    for slots in given.slots:
        facts = measured(model, scratch / "slots", given.rows[0], slots=slots)
        print(f"{given.rows[0]:,} rows, task slots {slots}: {facts['seconds']:.1f} s", flush=True)
        shutil.rmtree(scratch / "slots")
    if given.slots:
        return
    for rows in given.rows:
        run = scratch / str(rows)
        facts = measured(model, run, rows)
        ratio = f", {facts['seconds'] / before:.2f} times the size before" if before else ""
        memory = f"driver {facts['driver']:,} MB, largest worker {facts['worker']:,} MB"
        print(f"{rows:,} rows: {facts['seconds']:.0f} s{ratio}; {memory}", flush=True)
        before, whole = facts["seconds"], contents(run)
        shutil.rmtree(run)
    run = scratch / "killed"
    measured(model, run, given.rows[-1], kill_at=len(whole) // 2)
    facts = measured(model, run, given.rows[-1])
    same = "the same content" if contents(run) == whole else "OTHER CONTENT"
    print(f"{given.rows[-1]:,} rows, killed at half of the parts, resumed in {facts['seconds']:.0f} s: {same}")
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
