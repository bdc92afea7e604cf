"""CPU seconds of training and of the whole way from a table to its rows, beside TabularARGN of mostlyai-engine, in turns.

    python bench/training_cpu.py adult.csv credit.csv --peer PEERS/bin/python --out rows/

Ours are `twinlake transform`, `train` (which encodes first) and `generate`, each with its start of Spark and Ray; the peer
splits, analyzes and encodes, trains with its defaults until its own early stop, and draws as many rows as the table has.
Training is our command `train` and the peer's call of that name. CPU seconds are those that the whole machine spent meanwhile:
run nothing beside it. The rows of both are left in `--out` as CSV, to be judged.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.csv as csv
import pyarrow.parquet as pq

PEER = """
import sys
import pandas as pd
import psutil
from mostlyai import engine
from peer_speed import tabular_argn

def busy():
    now = psutil.cpu_times()
    return now.user + now.system + now.nice

def timed(train=engine.train, **settings):
    before = busy()
    train(**settings)
    print("TRAIN", busy() - before)

engine.train = timed
table = pd.read_csv(sys.argv[1])
rows = tabular_argn(table, 1e6)(len(table))
rows[list(table)].to_csv(sys.argv[2], index=False)
"""


def spent(command: list[str], log: Path) -> float:
    """CPU seconds of the machine while `command` runs. Errors: CalledProcessError."""
    before = psutil.cpu_times()
    with log.open("w") as out:
        subprocess.run(command, check=True, stdout=out, stderr=out, cwd=Path(__file__).parent)
    after = psutil.cpu_times()
    return after.user + after.system + after.nice - before.user - before.system - before.nice


def ours(table: Path, stem: Path) -> tuple[float, float]:
    """CPU seconds of training and of all; leaves the rows in STEM.twinlake.csv."""
    run, log = stem.with_suffix(".run"), stem.with_suffix(".twinlake.log")
    costs = {}
    for verb in ("transform", "train", "generate"):
        command = [sys.executable, "-m", "twinlake.cli", verb, str(table), "--set", f"run.dir={run}"]
        costs[verb] = spent(command, log)
    csv.write_csv(pq.read_table(run / "synthetic"), stem.with_suffix(".twinlake.csv"))
    return costs["train"], sum(costs.values())


def peers(python: Path, table: Path, stem: Path) -> tuple[float, float]:
    """CPU seconds of the peer's training and of all; leaves its rows in STEM.peer.csv."""
    log = stem.with_suffix(".peer.log")
    whole = spent([str(python), "-c", PEER, str(table), str(stem.with_suffix(".peer.csv"))], log)
    training = next(line for line in log.read_text().splitlines() if line.startswith("TRAIN"))
    return float(training.split()[1]), whole


def main() -> None:
    """Reads the arguments, prints both figures of each table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--peer", type=Path, required=True, help="the interpreter of an environment with mostlyai-engine")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for table in given.tables:
        stem = (given.out / table.stem).absolute()
        training, whole = ours(table.absolute(), stem)
        their_training, their_whole = peers(given.peer.absolute(), table.absolute(), stem)
        told = f"training {training:.0f} beside {their_training:.0f} CPU seconds ({training / their_training:.2f} times)"
        print(f"{table.stem}: {told}, in all {whole:.0f} beside {their_whole:.0f}", flush=True)


if __name__ == "__main__":
    main()
