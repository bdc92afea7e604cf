"""Rows per CPU second of one task, from a loaded model to committed Parquet: draw, decode, count, hash, write, publish.

    python bench/generate.py runs/adult-twin/model --rows 400000

Prints rows, CPU seconds (user and system time of this one process, imports and model loading excluded) and their quotient
for each repeat, and where the time goes. Knows nothing of Spark: a Spark task runs the same function.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import tempfile
import time
from pathlib import Path

from twinlake.generate.blocks import Job, decoded, make_part, part_count
from twinlake.models.folded import FULL
from twinlake.models.store import check_model
from twinlake.tables.parts import publish


def one_run(job: Job) -> float:
    """CPU seconds of making and publishing all parts of `job`."""
    folder = Path(tempfile.mkdtemp(prefix="twinlake-bench-"))
    staging = folder / "staging"
    staging.mkdir()
    start = time.process_time()
    for number in range(part_count(job.rows)):
        list(make_part(number, job, str(staging)))
    publish(staging, folder / "synthetic", part_count(job.rows), {})
    spent = time.process_time() - start
    shutil.rmtree(folder)
    return spent


def main() -> None:
    """Reads the arguments and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="show the functions that take the time")
    parser.add_argument("--precision", default=FULL, choices=[FULL, "bfloat16"])
    arguments = parser.parse_args()
    folder = arguments.model.absolute()
    job = Job(str(folder), check_model(folder), arguments.rows, 7, {}, precision=arguments.precision)
    next(iter(decoded(range(1), job)))  # loads the model
    if arguments.profile:
        profiler = cProfile.Profile()
        profiler.runcall(one_run, job)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
        return
    for _ in range(arguments.repeats):
        spent = one_run(job)
        print(f"{job.rows:,} rows in {spent:.2f} CPU seconds: {job.rows / spent:,.0f} rows per CPU second", flush=True)


if __name__ == "__main__":
    main()
