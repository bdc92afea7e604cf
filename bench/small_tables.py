"""Tables of few rows over many splits, beside adversarial random forests (package arfpy, where it is installed).

    python bench/small_tables.py heart.csv --target target --splits 20

Each split takes 70% of the rows (missing values left out) for training. Of each generator: AUC of classifiers that learn from
as many synthetic rows (mean of logistic regression, random forest and gradient boosting) on the rows held back, and lift, the
share of synthetic rows whose nearest real row is a train row over the share of train rows among the real ones (1: no memory;
copies reach 1.43). Printed: means, and the paired difference of the AUC with its one-sided 95% bound (t).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances_argmin_min, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

Fit = Callable[[pd.DataFrame, int], pd.DataFrame]
FEW = 10


def discrete(table: pd.DataFrame) -> list[str]:
    """Columns of text or of at most ten values."""
    return [c for c in table if table[c].dtype == object or table[c].nunique() <= FEW]


def twinlake_rows(
    table: pd.DataFrame, seed: int, settings: Mapping[str, Any] | None = None, holdout: pd.DataFrame | None = None
) -> pd.DataFrame:
    """As many rows of a twin, by the defaults and dotted `settings`; `holdout`: rows that are told to be held back."""
    from twinlake import pipeline
    from twinlake.core.config import load_config

    with tempfile.TemporaryDirectory() as folder:
        table.to_csv(f"{folder}/table.csv", index=False)
        config: dict[str, Any] = {
            "source": {"path": f"{folder}/table.csv"},
            "run": {"dir": f"{folder}/run", "seed": seed},
            "holdout": {"fraction": 0.0},
        }
        if holdout is not None:
            holdout.to_csv(f"{folder}/holdout.csv", index=False)
            config["holdout"] = {"source": f"{folder}/holdout.csv"}
        changes = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
        pipeline.run(load_config(base=config, overrides=changes), last="generate")
        parts = sorted(Path(folder).glob("run/synthetic/part-*.parquet"))
        twin = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
    return twin[list(table.columns)].astype(table.dtypes.to_dict())


def arf_rows(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """As many rows of an adversarial random forest."""
    if not hasattr(np, "in1d"):  # arfpy 0.1.1 is older than numpy 2.4
        np.in1d = np.isin  # type: ignore[attr-defined]
    from arfpy import arf

    np.random.seed(seed)  # arfpy draws from it
    typed = table.reset_index(drop=True).astype(dict.fromkeys(discrete(table), "category"))
    model = arf.arf(x=typed, verbose=False)
    model.forde()
    return model.forge(n=len(table)).astype(table.dtypes.to_dict())


def auc(rows: pd.DataFrame, test: pd.DataFrame, target: str, seed: int) -> float:
    """The mean AUC of three classifiers that learn from `rows`."""
    kinds = [c for c in discrete(pd.concat([rows, test])) if c != target]
    numbers = [c for c in rows if c not in (*kinds, target)]
    truth = test[target].astype(str).to_numpy()
    found = []
    for scaled, learner in (
        (True, LogisticRegression(max_iter=2_000)),
        (False, RandomForestClassifier(100, min_samples_leaf=2, random_state=seed)),
        (False, HistGradientBoostingClassifier(random_state=seed)),
    ):
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        columns = make_column_transformer((StandardScaler() if scaled else "passthrough", numbers), (encoder, kinds))
        model = make_pipeline(columns, learner).fit(rows.drop(columns=target), rows[target].astype(str))
        chance = model.predict_proba(test.drop(columns=target))
        found.append(roc_auc_score(truth == model.classes_[1], chance[:, 1]))
    return float(np.mean(found))


def lift(train: pd.DataFrame, holdout: pd.DataFrame, rows: pd.DataFrame) -> float:
    """Nearness to train rows over what chance gives, by ranks of numbers and equality of the rest; ties count half."""
    kinds = discrete(pd.concat([train, holdout]))

    def embedded(table: pd.DataFrame) -> np.ndarray:
        ranks = [np.searchsorted(np.sort(train[c]), table[c]) / len(train) for c in train if c not in kinds]
        hot = [(table[c].to_numpy()[:, None] == pd.unique(train[c])[None, :]) * 0.5**0.5 for c in kinds]
        return np.hstack([*[r[:, None] for r in ranks], *hot])

    near, far = (pairwise_distances_argmin_min(embedded(rows), embedded(real))[1] for real in (train, holdout))
    share = float(((near < far - 1e-9) + 0.5 * (np.abs(near - far) <= 1e-9)).mean())
    return share / (len(train) / (len(train) + len(holdout)))


def main() -> None:
    """Reads the arguments, runs every split, prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--splits", type=int, default=20)
    given = parser.parse_args()
    table = pd.read_csv(given.table).dropna()
    makers: dict[str, Fit] = {"twinlake": twinlake_rows}
    try:
        import arfpy  # noqa: F401

        makers["arf"] = arf_rows
    except ImportError:
        print("arfpy is not installed: twinlake alone")
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    for split in range(given.splits):
        mixed = table.sample(frac=1.0, random_state=split).reset_index(drop=True)
        train, holdout = mixed[: round(0.7 * len(mixed))], mixed[round(0.7 * len(mixed)) :]
        for name, make in makers.items():
            rows = make(train, split)
            scores[name].append((auc(rows, holdout, given.target, split), lift(train, holdout, rows)))
        told = ", ".join(f"{name} AUC {s[-1][0]:.4f} lift {s[-1][1]:.3f}" for name, s in scores.items())
        print(f"split {split}: {told}", flush=True)
    for name, found in scores.items():
        print(f"{name}: AUC {np.mean([a for a, _ in found]):.4f}, lift {np.mean([x for _, x in found]):.3f}")
    if "arf" in scores:
        gap = np.array([a for a, _ in scores["twinlake"]]) - [a for a, _ in scores["arf"]]
        error = gap.std(ddof=1) / len(gap) ** 0.5
        print(f"AUC over ARF: {gap.mean():+.4f}, 95% lower bound {gap.mean() - t.ppf(0.95, len(gap) - 1) * error:+.4f}")


if __name__ == "__main__":
    main()
