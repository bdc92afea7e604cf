"""Rows per CPU second beside peers, in turns: TabularARGN of mostlyai-engine and TVAE of ctgan, each where it is installed.

    PEERS/bin/python bench/peer_speed.py adult.csv --model runs/adult-twin/model --twinlake .venv/bin/python

Runs in an environment that holds the peers; ours is bench/generate.py by the interpreter `--twinlake`, told to rows in memory
(Arrow), where a peer ends too (pandas), and to committed Parquet. A peer trains for `--seconds`: how long makes no difference
to the speed of drawing. One thread each.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd

Draw = Callable[[int], object]
BENCH = Path(__file__).with_name("generate.py")


def tabular_argn(table: pd.DataFrame, seconds: float) -> Draw:
    """TabularARGN with its defaults."""
    from mostlyai import engine

    folder = Path(tempfile.mkdtemp(prefix="argn-"))
    engine.split(tgt_data=table, workspace_dir=folder, model_type="TABULAR")
    engine.analyze(workspace_dir=folder)
    engine.encode(workspace_dir=folder)
    engine.train(workspace_dir=folder, device="cpu", max_training_time=seconds / 60)

    def draw(rows: int) -> object:
        engine.generate(workspace_dir=folder, sample_size=rows, device="cpu")
        return pd.read_parquet(folder / "SyntheticData")

    return draw


def tvae(table: pd.DataFrame, seconds: float) -> Draw:
    """TVAE with its defaults, for as many epochs as fit into `seconds` by the time of the first."""
    from ctgan import TVAE

    kinds = [c for c in table if table[c].dtype == object or table[c].nunique() <= 10]
    start = time.monotonic()
    TVAE(epochs=1, cuda=False).fit(table, kinds)
    model = TVAE(epochs=max(1, int(seconds / (time.monotonic() - start))), cuda=False)
    model.fit(table, kinds)
    return model.sample  # type: ignore[no-any-return]


def ours(python: str, model: str, rows: int) -> dict[str, float]:
    """Rows per CPU second of bench/generate.py by where the rows end."""
    done = subprocess.run(
        [python, str(BENCH), model, "--rows", str(rows), "--repeats", "1"], stdout=subprocess.PIPE, text=True, check=True
    )
    found = re.findall(r"(\w+): .* ([\d,]+) rows per CPU second", done.stdout)
    return {f"twinlake to {end}": float(speed.replace(",", "")) for end, speed in found}


def main() -> None:
    """Reads the arguments, trains the peers, draws in turns, prints medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--twinlake", required=True, help="the interpreter of an environment with twinlake")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    table = pd.read_csv(given.table)
    peers: dict[str, Draw] = {}
    for name, make in (("TabularARGN", tabular_argn), ("TVAE", tvae)):
        try:
            peers[name] = make(table, given.seconds)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    import torch

    torch.set_num_threads(1)
    speeds: dict[str, list[float]] = defaultdict(list)
    for draw in peers.values():
        draw(1_000)  # what is made on the first call is not counted
    for _ in range(given.turns):
        for name, speed in ours(given.twinlake, given.model, 4 * given.rows).items():
            speeds[name].append(speed)
        for name, draw in peers.items():
            start = time.process_time()
            draw(given.rows)
            speeds[name].append(given.rows / (time.process_time() - start))
    own = statistics.median(speeds["twinlake to Arrow"])
    for name, found in speeds.items():
        speed = statistics.median(found)
        print(f"{name}: {speed:,.0f} rows per CPU second; ours to Arrow {own / speed:.1f} times")


if __name__ == "__main__":
    main()
