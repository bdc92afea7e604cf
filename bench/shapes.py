"""Tables of unusual shape, end to end: 1,000 columns, and a category of 200,000 values. Peak memory of the largest process.

    python bench/shapes.py wide tall --minutes 2

Each runs the command `twinlake` in a process of its own; the resident memory of it and of every process below it (executors,
Ray workers) is read twice a second. The limit of each worker is 4 GiB. Training is cut off after `--minutes`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

LIMIT = 4 * 1024**3


def make_wide(out: Path) -> None:
    """20,000 rows of 1,000 columns: decimals, categories and flags of ten hidden numbers."""
    draw = np.random.Generator(np.random.Philox(1))
    hidden, columns = draw.normal(size=(20_000, 10)), {}
    for i in range(1_000):
        factor = hidden[:, i % 10] + draw.normal(size=20_000) * 0.5
        if i % 3 == 0:
            columns[f"number_{i}"] = pa.array(np.round(factor * 3, 2))
        elif i % 3 == 1:
            columns[f"class_{i}"] = pa.array([f"v{x}" for x in np.clip((factor * 2).astype(int) + 3, 0, 6)])
        else:
            columns[f"flag_{i}"] = pa.array((factor > 0.3).astype(np.int32))
    pq.write_table(pa.table(columns), out)


def make_tall(out: Path) -> None:
    """2,600,000 rows; 200,000 codes, each held by 13 rows, and each in one of 50 groups."""
    draw, rows = np.random.Generator(np.random.Philox(1)), 2_600_000
    code = draw.permutation(np.arange(rows) % 200_000)
    columns = {
        "code": pa.array([f"sku-{x:06d}-{x % 97:02d}z" for x in code]),
        "group": pa.array([f"g{x % 50}" for x in code]),
        "price": pa.array(np.round(draw.gamma(2, 10, rows), 2)),
        "quantity": pa.array(draw.integers(1, 9, rows)),
    }
    pq.write_table(pa.table(columns), out)


def run(name: str, minutes: float, folder: Path) -> None:
    """Makes the table, runs the line, prints stage times and the largest process of each kind."""
    table, out = folder / f"{name}.parquet", folder / name
    {"wide": make_wide, "tall": make_tall}[name](table)
    command = [sys.executable, "-m", "twinlake.cli", "run", str(table), "--set", f"run.dir={out}"]
    start, peaks = time.monotonic(), defaultdict(int)
    with subprocess.Popen([*command, "--set", f"train.max_minutes={minutes}"]) as process:
        while process.poll() is None:
            own = psutil.Process(process.pid)
            for one in [own, *own.children(recursive=True)]:
                try:
                    line = " ".join(one.cmdline())
                    worker = "Ray worker" if "ray" in line else "Spark worker" if "pyspark" in line else "driver"
                    kind = "JVM" if "java" in one.name() else worker
                    peaks[kind] = max(peaks[kind], one.memory_info().rss)
                except psutil.Error:
                    continue
            time.sleep(0.5)
    stages = {}
    if (out / "run.json").is_file():
        stages = {s: round(e.get("seconds", 0)) for s, e in json.loads((out / "run.json").read_text())["stages"].items()}
    print(f"{name}: exit {process.returncode}, {time.monotonic() - start:.0f} s, {stages}")
    for kind, peak in sorted(peaks.items()):
        print(f"  {kind}: {peak / 1024**2:,.0f} MiB ({peak / LIMIT:.2f} of the limit)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=["wide", "tall"], choices=["wide", "tall"])
    parser.add_argument("--minutes", type=float, default=2.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for shape in given.shapes or ["wide", "tall"]:
            run(shape, given.minutes, Path(scratch))
