"""Rows per CPU second of one task, from a loaded model to Arrow and to committed Parquet: draw, decode, count, hash, publish.

    python bench/generate.py runs/adult-twin/model --rows 400000

Prints for each repeat the rows per CPU second (user and system time of this one process, imports and model loading excluded)
to rows in memory and to published parts; `--profile` tells where the time of the latter goes. Knows nothing of Spark: a Spark
task runs the same function.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import tempfile
import time
from pathlib import Path

from twinlake.generate.blocks import Job, block_count, decoded, make_part, part_count
from twinlake.models.folded import FULL
from twinlake.models.store import check_model
from twinlake.tables.parts import publish


def to_arrow(job: Job) -> float:
    """CPU seconds of drawing and decoding all rows of `job`, each part dropped once it is there."""
    start = time.process_time()
    for _ in decoded(range(block_count(job.rows)), job):
        pass
    return time.process_time() - start


def to_parquet(job: Job) -> float:
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
        profiler.runcall(to_parquet, job)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
        return
    for _ in range(arguments.repeats):
        for end, measured in (("Arrow", to_arrow), ("Parquet", to_parquet)):
            spent = measured(job)
            speed = f"{job.rows / spent:,.0f} rows per CPU second"
            print(f"{end}: {job.rows:,} rows in {spent:.2f} CPU seconds, {speed}", flush=True)


if __name__ == "__main__":
    main()
