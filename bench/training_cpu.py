"""CPU seconds from a table to its rows, ours beside TabularARGN of mostlyai-engine with its defaults, in turns.

    python bench/training_cpu.py adult.csv credit.csv --peer PEERS/bin/python --out rows/

Ours is `twinlake generate` (everything from profile to the last part, Spark and Ray with their starts); the peer splits,
analyzes, encodes, trains until its own early stop, and draws as many rows as the table has. CPU seconds are those that the
whole machine spent meanwhile, less what it spends idle: run nothing beside it. The rows of both are left in `--out` as CSV, to
be judged.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.csv as csv
import pyarrow.parquet as pq

PEER = """
import sys
import pandas as pd
from peer_speed import tabular_argn

table = pd.read_csv(sys.argv[1])
rows = tabular_argn(table, 1e6)(len(table))
rows[list(table)].to_csv(sys.argv[2], index=False)
"""


def spent(command: list[str], log: Path) -> tuple[float, float]:
    """CPU seconds of the machine and seconds of the clock while `command` runs. Errors: CalledProcessError."""
    before, start = psutil.cpu_times(), time.monotonic()
    with log.open("w") as out:
        subprocess.run(command, check=True, stdout=out, stderr=out, cwd=Path(__file__).parent)
    after = psutil.cpu_times()
    busy = sum(getattr(after, kind) - getattr(before, kind) for kind in ("user", "system", "nice"))
    return busy, time.monotonic() - start


def main() -> None:
    """Reads the arguments, prints both figures of each table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--peer", type=Path, required=True, help="the interpreter of an environment with mostlyai-engine")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for table in given.tables:
        source, stem = str(table.absolute()), str((given.out / table.stem).absolute())
        command = [sys.executable, "-m", "twinlake.cli", "generate", source, "--set", f"run.dir={stem}.run"]
        own, own_clock = spent(command, Path(f"{stem}.twinlake.log"))
        csv.write_csv(pq.read_table(f"{stem}.run/synthetic"), f"{stem}.twinlake.csv")
        peer, peer_clock = spent([str(given.peer.absolute()), "-c", PEER, source, f"{stem}.peer.csv"], Path(f"{stem}.peer.log"))
        seconds = f"twinlake {own:.0f}, TabularARGN {peer:.0f} CPU seconds ({own / peer:.2f} times)"
        print(f"{table.stem}: {seconds}; {own_clock:.0f} and {peer_clock:.0f} s on the clock", flush=True)


if __name__ == "__main__":
    main()
