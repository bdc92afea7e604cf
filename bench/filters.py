"""Filters of generated rows: what they cost in time and memory, and how much of an exact search they find.

    python bench/filters.py runs/adult-twin/model --rows 250000 500000 1000000

The model itself stands for the population: it draws the train rows, 20,000 holdout rows and the generated rows, from three
seeds, so that every row is honest. For each size a Spark session on `local[2]`, in a process of its own, indexes the train rows
and draws as many rows without and with filters; CPU seconds are those of all its processes. Memory is read from /proc twice a
second: what is resident and their own (mapped files are shared, and given back when memory is short). Then the found distances
of `--queries` rows are compared with those of an exact search among all train rows of the last size, and those of 20,000 rows
among 20,000.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil


def cpu() -> float:
    """CPU seconds of this process and all below it, those that have ended too."""
    tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(one.cpu_times()[:4]) for one in tree)


def worker(model: str, root: str, rows: int) -> None:
    """Indexes, and draws without and with filters, below ROOT. Prints a line of JSON."""
    import torch
    from pyspark.sql import SparkSession

    from twinlake.core.privacy_config import FiltersConfig
    from twinlake.core.progress import Silent
    from twinlake.generate.blocks import Job
    from twinlake.generate.filter_index import filters_of
    from twinlake.generate.filters import Screen
    from twinlake.generate.generate import write_rows
    from twinlake.models.store import check_model, load_model
    from twinlake.tables.parts import part_files, read_part
    from twinlake.tables.run_folder import RunFolder

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    spark = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    folder, digest, told = RunFolder(Path(root)), check_model(Path(model)), {"rows": float(rows)}
    loaded = load_model(model, digest)
    shutil.copytree(model, folder.model)

    def draw(name: str, seed: int, count: int, **more: object) -> float:
        start = cpu()
        job = Job(model, digest, count, seed, {}, **more)  # type: ignore[arg-type]
        write_rows(spark, job, folder.staging("bench"), folder / name, None, Silent())
        return cpu() - start

    folder.private.mkdir()
    draw("protected", 1, rows)
    draw("private/holdout", 2, 20_000)
    told["plain CPU s"] = draw("plain", 3, rows)
    start = cpu()
    filters, _ = filters_of(spark, folder, loaded, digest, FiltersConfig(), 10, ())
    told["index CPU s"] = cpu() - start
    told["filtered CPU s"] = draw("filtered", 3, rows, filters=filters)
    told["index MB"] = sum(f.stat().st_size for f in (folder.private / "filter").iterdir()) / 1e6
    assert filters is not None
    torch.set_num_threads(1)
    screen, hits = Screen.of(filters, loaded.sampler), []
    for file in part_files(folder / "plain"):
        for batch in read_part(file):
            refused = screen.refused(loaded.codec.encode(loaded.codec.flat(batch)))
            hits.append([len(batch), *(found.sum() for found in refused.values())])
        if sum(h[0] for h in hits) >= 100_000:
            break
    seen, near, far = np.sum(hits, axis=0)
    told |= {"honest rows refused, similarity": near / seen, "outliers": far / seen}
    print(json.dumps(told), flush=True)
    spark.stop()


def measured(model: str, root: Path, rows: int) -> dict[str, float]:
    """Runs `worker`; what it told, and peak megabytes by kind of process."""
    command, peaks = [sys.executable, __file__, model, "--worker", str(root), str(rows)], {"driver MB": 0.0, "worker MB": 0.0}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            time.sleep(0.5)
            try:
                for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                    memory = one.memory_info()
                    kind = "worker MB" if one.pid != process.pid and "java" not in one.name() else "driver MB"
                    peaks[kind] = max(peaks[kind], (memory.rss - memory.shared) / 1e6)
            except psutil.NoSuchProcess:
                continue
        out = process.stdout.read() if process.stdout is not None else ""
    return json.loads(out.splitlines()[-1]) | peaks


def recall(root: Path, train: int, queries: int) -> None:
    """Prints how many of the rows that an exact search refuses are found, with the limits of 1% and 5% of these very rows."""
    from twinlake.core.seeds import derive
    from twinlake.generate.filters import load_index
    from twinlake.generate.nearest import Forest, squared_distances
    from twinlake.models.codec import Codec
    from twinlake.tables.parts import part_files, read_part

    codec = Codec.from_json((root / "model" / "codec.json").read_text())
    places, forest = load_index(str(root / "private" / "filter"), "bench")
    batches = (batch for file in part_files(root / "plain") for batch in read_part(file, 20_000))
    asked = places.points(codec.encode(codec.flat(next(batches))))[:queries]
    rows = np.asarray(forest.points[:train])
    if len(rows) < len(forest.points):
        forest = Forest.of(rows, forest.own[:train], forest.numbers, derive(0, "recall"))
    start = time.process_time()
    found = forest.nearest(asked)[1]
    seconds = time.process_time() - start
    true = np.full(len(asked), np.inf, np.float32)
    for at in range(0, len(asked), 64):
        for begin in range(0, len(rows), 256):
            near = squared_distances(asked[at : at + 64, None, :], rows[None, begin : begin + 256]).min(axis=1)
            true[at : at + 64] = np.minimum(true[at : at + 64], near)
    told = {"train": len(rows), "queries": len(asked), "us a query": round(1e6 * seconds / len(asked), 1)}
    for share in (0.01, 0.05):
        limit = np.quantile(true, share)
        told[f"recall at {share:.0%}"] = round(float((found[true < limit] < limit).mean()), 4)
    told["nearest row found"] = round(float((found <= true * 1.0001 + 1e-7).mean()), 4)
    print(json.dumps(told), flush=True)


def main() -> None:
    """Prints a line of JSON for each size, then those of recall."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--worker", nargs=2, metavar=("ROOT", "ROWS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.model, args.worker[0], int(args.worker[1]))
        return
    with tempfile.TemporaryDirectory(prefix="twinlake-filters-") as scratch:
        for rows in args.rows:
            print(
                json.dumps({k: round(v, 4) for k, v in measured(args.model, Path(scratch) / str(rows), rows).items()}),
                flush=True,
            )
        last = Path(scratch) / str(args.rows[-1])
        recall(last, 20_000, 20_000)
        recall(last, args.rows[-1], args.queries)


if __name__ == "__main__":
    main()
