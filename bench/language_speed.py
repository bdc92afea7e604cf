"""How fast does the language family write, and how fast would the same network write lines of characters, throwing invalid
ones away?

    python bench/language_speed.py data/adult/adult.parquet --minutes 8

Trains two models on the same rows by `twinlake run`: family language with defaults, and the same core on one text column,
each row as a line of comma-separated values told character by character (`vocab_size: 0`). Both draw the same number of
rows in one process of one thread. A line counts if it splits into as many cells as there are columns, each of the right
type and legal for the first model. Printed: rows per CPU second of each, the share of lines that count, and the ratio with
and without it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import torch

from twinlake.core.errors import TwinlakeError
from twinlake.generate.blocks import Job, decoded
from twinlake.models.sampler import BLOCK_ROWS
from twinlake.models.script import Script
from twinlake.models.store import check_model, load_model


def model_of(table: Path, folder: Path, language: dict[str, Any], minutes: float | None) -> Path:
    """The model folder of a run of family language."""
    from twinlake import pipeline
    from twinlake.core.config import load_config
    from twinlake.core.progress import opened

    config = {
        "source": {"path": str(table)},
        "run": {"dir": str(folder)},
        "holdout": {"fraction": 0.0},
        "privacy": {"min_people": 2},
        "model": {"family": "language", "language": language},
        "train": {"max_minutes": minutes},
        "generate": {"rows": 1_000},
    }
    with opened() as progress:
        pipeline.run(load_config(base=config), progress=progress, last="generate")
    return folder / "model"


def drawn(model: Path, blocks: int) -> tuple[pa.Table, float]:
    """Rows, and the CPU seconds that drawing and decoding took."""
    job = Job(str(model), check_model(model), blocks * BLOCK_ROWS, 7, {})
    load_model(job.model, job.digest)
    start = time.process_time()
    table = pa.Table.from_batches([batch for _, _, batch in decoded(range(blocks), job)])
    return table, time.process_time() - start


def written(table: pa.Table) -> pa.Table:
    """Each row as a line."""
    texts = [column.cast(pa.string()).fill_null("") for column in table.columns]
    lines = [",".join(cells) for cells in zip(*(t.to_pylist() for t in texts), strict=True)]
    return pa.table({"line": lines})


def counts(lines: list[str | None], script: Script) -> int:
    """How many lines are valid rows."""
    schema = script.codec.schema
    kept = [line for line in lines if line and line.count(",") == len(schema) - 1 and '"' not in line and "\n" not in line]
    valid = 0
    for line in kept:  # one at a time: a bad cell must not spoil its neighbours
        try:
            options = csv.ReadOptions(column_names=schema.names)
            convert = csv.ConvertOptions(
                column_types={f.name: f.type for f in schema}, strings_can_be_null=True, null_values=[""]
            )
            one = csv.read_csv(pa.BufferReader((line + "\n").encode()), options, convert_options=convert)
            valid += 1 - script.invalid(one.combine_chunks().to_batches()[0])
        except (pa.ArrowInvalid, TwinlakeError, IndexError):
            continue
    return valid


def main() -> None:
    """Reads the arguments, trains and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", type=Path, help="a model folder of family language of this table; trained by default")
    parser.add_argument("--core", choices=["lstm", "transformer"], default="lstm")
    parser.add_argument("--minutes", type=float, help="train.max_minutes of each")
    parser.add_argument("--blocks", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = given.model or model_of(given.table, folder / "rows", {"core": given.core}, given.minutes)
        script = load_model(str(model), check_model(model)).script
        assert script is not None
        source = pq.read_table(given.table).select(script.codec.schema.names)
        pq.write_table(written(source), folder / "lines.parquet")
        characters = {"core": given.core, "vocab_size": 0, "rnn_units": 256, "embedding_dim": 128, "max_pieces": 400}
        lines = model_of(folder / "lines.parquet", folder / "lines", characters, given.minutes)
        ours, own = drawn(model, given.blocks)
        texts, other = drawn(lines, 1)
        share = counts(texts["line"].to_pylist(), script) / len(texts)
    rows, all_lines = len(ours) / own, len(texts) / other
    length = float(np.mean([len(line or "") for line in texts["line"].to_pylist()]))
    print(f"rows per CPU second: {rows:,.0f} under automata")
    print(f"lines of {length:.0f} characters per CPU second: {all_lines:,.0f}, of which {share:.1%} are valid")
    print(f"ratio {rows / (all_lines * share) if share else float('inf'):.1f}; if every line were valid {rows / all_lines:.1f}")


if __name__ == "__main__":
    main()
