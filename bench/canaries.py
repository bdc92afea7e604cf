"""Canaries: words that one person each holds, in a table that every family learns by default. Does one come out again?

    python bench/canaries.py --rows 20000 --canaries 1000 --families tabular,language

A canary stands in a category column and inside a free text of its row. Afterwards every file of the run but the protected rows,
which are the user's own, is searched for it: profile, plan, codec, tokenizer, model, twin, evaluation, report. Beside it, where
the family gives a row's probability, the exposure of combinations of four common values that one person each has (Carlini et
al., "The secret sharer", USENIX Security 2019): about 1.44 bits where nothing was learned by heart.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from twinlake import pipeline
from twinlake.core.config import load_config
from twinlake.core.seeds import generator
from twinlake.models.store import check_model, load_model
from twinlake.train.exposure import CHANCE, exposures, mean_exposure

SECRET = [f"p{i}" for i in range(4)]
OTHERS = 500
LETTERS = "bcdfghjklmnpqrstvwxz"


def canary(number: int) -> str:
    """A word that no language has."""
    return "zqx" + "".join(LETTERS[number // len(LETTERS) ** place % len(LETTERS)] for place in range(5))


def table_of(rows: int, canaries: int) -> pd.DataFrame:
    """The first `canaries` rows hold one each; the four digits of a row are drawn evenly."""
    draw = generator(17)
    plan = np.array(["basic", "plus", "family", "student"])[draw.integers(0, 4, rows)].astype(object)
    words = np.array(["late", "parcel", "thanks", "again", "please", "order", "colour", "asked"])
    notes = [" ".join(words[draw.integers(0, len(words), 9)]) for _ in range(rows)]
    for i in range(canaries):
        plan[i], notes[i] = canary(i), f"{notes[i]} {canary(i)}"
    held = {"plan": plan, "note": notes, "age": draw.integers(18, 80, rows)}
    return pd.DataFrame(held | {c: [f"d{d}" for d in draw.integers(0, 10, rows)] for c in SECRET})


def readable(file: Path) -> str:
    """A file as text: the cells of Parquet, the bytes of others."""
    if file.suffix == ".parquet":
        return "\n".join(str(cell) for column in pq.read_table(file).columns for cell in column.to_pylist())
    return file.read_bytes().decode("latin-1")


def found(run: Path, canaries: int) -> dict[str, int]:
    """How many canaries each file holds, of those that hold any."""
    wanted, out = [canary(i) for i in range(canaries)], {}
    for file in sorted(p for p in run.rglob("*") if p.is_file() and run / "protected" not in p.parents):
        text = readable(file)
        if "zqx" in text and (hits := sum(word in text for word in wanted)):
            out[str(file.relative_to(run))] = hits
    return out


def exposure(run: Path, table: pd.DataFrame, canaries: int) -> str:
    """The mean exposure of the secret digits of rows trained on; why not, where the family gives no probability."""
    model = load_model(str(run / "model"), check_model(run / "model"))
    if not hasattr(model.sampler, "log_prob"):
        return "no exposure: the family gives no probability of a row"
    draw, kept = generator(23), pq.read_table(run / "protected")
    whole = kept.to_pandas().merge(table, how="inner").iloc[:canaries]
    told = []
    for _, row in whole.iterrows():
        others = pd.DataFrame([row] * (OTHERS + 1))
        for column in SECRET:
            others.iloc[1:, others.columns.get_loc(column)] = [f"d{d}" for d in draw.integers(0, 10, OTHERS)]
        batch = pa.Table.from_pandas(others[kept.column_names], schema=kept.schema, preserve_index=False).combine_chunks()
        told.append(model.sampler.log_prob(model.codec.encode(batch.to_batches()[0])))
    held = np.array(told, dtype=np.float64)
    mean, (low, high) = mean_exposure(exposures(held[:, 0], held[:, 1:]))
    return f"exposure {mean:.3f} bits ({low:.3f} to {high:.3f}) of {len(held):,} secrets; chance {CHANCE:.3f}"


def main() -> None:
    """Runs every family and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--canaries", type=int, default=1_000)
    parser.add_argument("--families", default="tabular,language")
    asked = parser.parse_args()
    table = table_of(asked.rows, asked.canaries)
    with tempfile.TemporaryDirectory(prefix="canaries-") as work:
        table.to_parquet(f"{work}/table.parquet", index=False)
        for family in asked.families.split(","):
            run = Path(work) / family
            base = {"source": {"path": f"{work}/table.parquet"}, "run": {"dir": str(run)}, "model": {"family": family}}
            pipeline.run(load_config(base=base))
            held = found(run, asked.canaries)
            print(f"{family}: {sum(held.values())} of {asked.canaries:,} canaries {held or ''}; {exposure(run, table, 200)}")


if __name__ == "__main__":
    main()
