"""The accuracy study of the field: what eight classifiers lose that learn from synthetic rows, on five of its tables.

    python bench/study_accuracy.py --data ../shared/data

Each table is split 70/30; twinlake trains on the 70% by its defaults (the 30% as `holdout.source`), classifiers learn from its
rows or from the real 70% and are asked the 30%. IBM HR, which holds its 1,470 rows three times, has each once. Beside it the
tables that Gretel published (5,000 rows, three levels of privacy filters), judged the same way; their model saw the 30% too.
Printed: accuracy by real rows and points lost, for as many synthetic rows as the model was given and for 5,000; below zero:
gained. The published loss is 2.58% by another measure: cross-validation inside each table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from classifiers import CLASSIFIERS, correct
from language import SYNTHETIC, TABLES, split
from small_tables import twinlake_rows

FILTERS = ("no", "med", "high")


def sides(folder: Path, name: str, seed: int) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """The tables to learn from, by name (`real` first), and the rows held back."""
    theirs = {}
    for filters in FILTERS:
        train, holdout, rows = split(folder, name, seed, filters)
        theirs[f"gretel, {filters} filters"] = rows
    # a row follows from its number: the first rows of a larger twin are those of a smaller one
    made = twinlake_rows(train, seed, {"generate.rows": max(len(train), SYNTHETIC)}, holdout)
    ours = {"twinlake": made[: len(train)], f"twinlake, {SYNTHETIC:,} rows": made[:SYNTHETIC]}
    return {"real": train, **ours, **theirs}, holdout


def judged(folder: Path, name: str, seed: int = 0) -> pd.DataFrame:
    """One table: a line for each classifier with its accuracy by each side."""
    tables, holdout = sides(folder, name, seed)
    lines = []
    for classifier in CLASSIFIERS:
        scores = {
            side: float(correct(classifier, rows, holdout, tables["real"], TABLES[name], seed).mean())
            for side, rows in tables.items()
        }
        lines.append({"table": name, "seed": seed, "classifier": classifier, **scores})
    return pd.DataFrame(lines)


def summary(found: pd.DataFrame) -> str:
    """Mean accuracy by real rows and points lost by each side, for each table and in the mean of the tables."""
    names = [c for c in found if c not in ("table", "seed", "classifier")]
    means = 100 * found.groupby("table", sort=False)[names].mean()
    lost = means[["real"]].join(-means[names[1:]].sub(means["real"], axis=0))
    lost.loc["mean"] = lost.mean()
    return lost.round(2).to_string()


def main() -> None:
    """Reads the arguments, runs each table, prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    found = []
    for name in given.tables:
        for seed in range(given.seeds):
            found.append(judged(given.data / name, name, seed))
            print((100 * found[-1].set_index("classifier").drop(columns=["table", "seed"])).round(2).to_string(), flush=True)
    print(summary(pd.concat(found)))


if __name__ == "__main__":
    main()
