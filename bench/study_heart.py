"""Heart disease: do classifiers gain from synthetic women, of whom the table has too few?

    python bench/study_heart.py ../shared/data/heart_disease_303/heart.csv --seeds 20

70% of the rows train; of them a twin is made with the other 30% as `holdout.source`, filters off, that adds only women, up to
as many as men (generate.balance, additive). Six classifiers learn from the real rows, or from the real rows and the women, and
are asked the 30%. Three forms of the table: `people` (303); `rows` (the 303 repeated to 1,025, as the published table has them,
split by row, so that most people asked about are known from training); `repeated` (the same 1,025, split by person).
With --sweep N the settings are first chosen by a sweep of N trials on the train rows alone. Printed: accuracy by real rows and
what the women add, in points, of all, women and men: mean over the seeds, the 95% interval of that mean, and in round brackets
the wider one that counts for splits sharing rows.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from classifiers import correct, interval, said
from small_tables import twinlake_rows

NAMES = ("Logistic Regression", "CART", "Random Forest", "XGBoost", "SVM", "KNN")
TARGET, GROUP, WOMAN = "target", "sex", 0
REPEATED = 1_025
FORMS = ("people", "rows", "repeated")
BALANCE = {"generate.balance": {"columns": [GROUP], "mode": "additive"}}
PARAMETERS = {
    "train.epochs": {"min": 20, "max": 2_000, "log": True},
    "model.size": ["s", "m"],
    "generate.temperature": {"min": 0.7, "max": 1.2},
}


def split(table: pd.DataFrame, form: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """70% and 30% of the rows of a form of the table; of `repeated` all rows of one person are on one side."""
    draw = np.random.default_rng(seed)
    people = draw.permutation(len(table))
    rows = people if form == "people" else np.resize(people, REPEATED)
    units = np.unique(rows) if form == "repeated" else np.arange(len(rows))
    train = draw.permutation(units)[: round(0.7 * len(units))]
    kept = np.isin(rows if form == "repeated" else units, train)
    return table.iloc[rows[kept]].reset_index(drop=True), table.iloc[rows[~kept]].reset_index(drop=True)


def chosen(train: pd.DataFrame, seed: int, trials: int) -> dict[str, Any]:
    """The best settings of a sweep on the train rows."""
    from twinlake.core.config import load_config
    from twinlake.sweep.sweep import sweep

    with tempfile.TemporaryDirectory() as folder:
        train.to_csv(f"{folder}/table.csv", index=False)
        config = {
            "source": {"path": f"{folder}/table.csv"},
            "run": {"dir": f"{folder}/sweep", "seed": seed},
            "sweep": {"parameters": PARAMETERS, "trials": trials},
        }
        return sweep(load_config(base=config)).best[0].settings


def judged(table: pd.DataFrame, form: str, seed: int, trials: int = 0) -> pd.DataFrame:
    """One split: a line for each classifier and group with the accuracy by `real` rows and by real rows and women (`both`)."""
    train, test = split(table, form, seed)
    settings = chosen(train, seed, trials) if trials else {}
    women = twinlake_rows(train, seed, {**settings, **BALANCE}, test)
    assert (women[GROUP] == WOMAN).all()
    groups = {"all": np.ones(len(test), bool), "women": (test[GROUP] == WOMAN).to_numpy()}
    groups["men"] = ~groups["women"]
    lines = []
    for name in NAMES:
        both = pd.concat([train, women], ignore_index=True)
        right = {
            "real": correct(name, train, test, train, TARGET, seed),
            "both": correct(name, both, test, train, TARGET, seed),
        }
        for group, held in groups.items():
            scores = {side: float(hits[held].mean()) for side, hits in right.items()}
            lines.append({"form": form, "seed": seed, "classifier": name, "group": group, "added": len(women), **scores})
    return pd.DataFrame(lines)


def summary(found: pd.DataFrame) -> str:
    """Means over the seeds, for each form, group and classifier."""
    lines = []
    for (form, group), part in found.groupby(["form", "group"], sort=False):
        gains = part.assign(gain=part["both"] - part["real"]).pivot(index="seed", columns="classifier", values="gain")
        reached, mean = 100 * part["real"].mean(), gains.mean(axis=1).to_numpy()
        better = int((gains.mean() > 0).sum())
        _, low, high = (100 * x for x in interval(mean, 0.3 / 0.7))
        lines.append(
            f"{form}, {group}: {reached:.2f}% by real rows, {said(mean)} with women ({low:+.2f}, {high:+.2f}); "
            f"{better} of {gains.shape[1]} classifiers better"
        )
        lines += [f"    {name:<20} {said(gains[name].to_numpy())}" for name in gains]
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments, runs every split, prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--sweep", type=int, default=0, metavar="TRIALS")
    given = parser.parse_args()
    table, found = pd.read_csv(given.table), []
    for form in given.forms:
        for seed in range(given.seeds):
            found.append(judged(table, form, seed, given.sweep))
            of_all = found[-1][found[-1]["group"] == "all"]
            gain = 100 * (of_all["both"] - of_all["real"]).mean()
            print(f"{form} seed {seed}: {of_all['added'].iloc[0]} women added, {gain:+.2f} points", flush=True)
    print(summary(pd.concat(found)))


if __name__ == "__main__":
    main()
