"""The language family beside the LSTM that Gretel published rows of, on five tables: judged by the same judge.

    python bench/language.py --data ../shared/data --judge ../shared/bench/evaluate_quality.py --core lstm

Each table is split 70/30; ours trains on at most 10,000 rows of the 70%. Gretel's rows were made from a model that saw all
rows, the test rows too. 5,000 synthetic rows on both sides. Columns that are unique in the real table are left out of both:
ours makes keys anew, so that none is a real one, which any classifier sees. Printed for each: bivariate total variation and
its floor (holdout rows), AUC of the classifier two-sample test, mean accuracy lost by classifiers that learn from synthetic
rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TABLES = {
    "kaggle8_adult": "income",
    "kaggle8_bank_marketing": "deposit",
    "kaggle8_credit_default": "default.payment.next.month",
    "kaggle8_telco_churn": "Churn",
    "kaggle8_ibm_hr_attrition": "Attrition",
}
TRAIN, SYNTHETIC = 10_000, 5_000


def split(folder: Path, name: str, seed: int = 0, filters: str = "no") -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Train rows, holdout rows and Gretel's rows (made with no, medium or high privacy filters), as text."""
    real = next(f for f in sorted(folder.glob("*.csv*")) if not f.name.startswith("gretel"))
    table, theirs = (
        pd.read_csv(f, dtype=str, keep_default_na=False) for f in (real, folder / f"gretel_synth_{filters}priv.csv.gz")
    )
    if name.endswith("attrition"):
        table = table.drop_duplicates().reset_index(drop=True)
    kept = [c for c in theirs.columns if not table[c].is_unique]
    table, theirs = table[kept], theirs[kept]
    order = np.random.default_rng(seed).permutation(len(table))
    cut = int(0.7 * len(table))
    return table.iloc[order[:cut]], table.iloc[order[cut:]], theirs


def ours(train: pd.DataFrame, core: str, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of the language family, and what it took."""
    from twinlake import pipeline
    from twinlake.core.config import load_config

    with tempfile.TemporaryDirectory() as folder:
        train[:TRAIN].to_csv(f"{folder}/table.csv", index=False)
        config = {
            "source": {"path": f"{folder}/table.csv"},
            "run": {"dir": f"{folder}/run", "seed": seed},
            "holdout": {"fraction": 0.0},
            "model": {"family": "language", "language": {"core": core}},
            "generate": {"rows": SYNTHETIC},
        }
        start = time.monotonic()
        pipeline.run(load_config(base=config), last="generate")
        took = time.monotonic() - start
        twin = pd.concat([pd.read_parquet(p) for p in sorted(Path(folder).glob("run/synthetic/part-*.parquet"))])
        history = json.loads(Path(f"{folder}/run/model/model.json").read_text())["history"]
    return twin[list(train.columns)], {"seconds": round(took), "checks": len(history)}


def judged(judge: Path, train: pd.DataFrame, holdout: pd.DataFrame, made: pd.DataFrame, target: str) -> dict[str, float]:
    """What the judge says."""
    with tempfile.TemporaryDirectory() as folder:
        for name, table in (("train", train), ("holdout", holdout), ("synthetic", made)):
            table.to_csv(f"{folder}/{name}.csv", index=False)
        files = [f for n in ("train", "holdout", "synthetic") for f in (f"--{n}", f"{folder}/{n}.csv")]
        out = f"{folder}/scores.json"
        subprocess.run([sys.executable, judge, *files, "--target", target, "--out", out], stdout=subprocess.DEVNULL, check=True)
        scores = json.loads(Path(out).read_text())
    fidelity, utility = scores["fidelity"], scores["utility"]
    return {
        "bivariate_tv": round(fidelity["synthetic_at_holdout_n"]["bivariate_tv_mean"], 4),
        "floor": round(fidelity["holdout_floor"]["bivariate_tv_mean"], 4),
        "c2st": round(scores["c2st"]["synthetic_vs_holdout"]["auc"], 3),
        "accuracy_gap": round(utility["accuracy_gap_mean"], 4),
    }


def main() -> None:
    """Reads the arguments, runs each table, prints a line for each side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--core", choices=["lstm", "transformer"], default="lstm")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    given = parser.parse_args()
    for name in given.tables:
        train, holdout, theirs = split(given.data / name, name)
        made, took = ours(train, given.core, 7)
        print(name, "gretel", json.dumps(judged(given.judge, train, holdout, theirs, TABLES[name])), flush=True)
        print(name, given.core, json.dumps(judged(given.judge, train, holdout, made, TABLES[name]) | took), flush=True)


if __name__ == "__main__":
    main()
