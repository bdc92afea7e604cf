"""Re-identification by a few known values, as Narayanan and Shmatikov did with film ratings ("Robust de-anonymization of large
sparse datasets", IEEE S&P 2008): of a table without names, and of its twin.

    python bench/reidentify.py --train TRAIN --twin TWIN --holdout HOLDOUT --known age,occupation,hours_per_week --secret income

An attacker knows some values of a person and looks for rows that have all of them. Where there is one alone, that row is taken
for the person, and its secret column for theirs. Prints a line for each number of known values: how many people are found, for
how many of them the row is really theirs, and how often the secret is told rightly; first in the table itself, then in the
twin, for people trained on and, as the control, for people never seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd


def reidentified(table: pd.DataFrame, people: pd.DataFrame, known: list[str], secret: str) -> dict[str, float]:
    """What an attacker who knows the columns `known` of `people` finds in `table`: shares of all people."""
    alone = table.drop_duplicates(known, keep=False)
    met = people.merge(alone, on=known, how="inner", suffixes=("", " in table"))
    others = [c for c in people if c not in known]
    theirs = (met[others].to_numpy() == met[[f"{c} in table" for c in others]].to_numpy()).all(axis=1)
    right = met[secret] == met[f"{secret} in table"]
    return {"found": len(met) / len(people), "theirs": theirs.sum() / len(people), "right": right.sum() / max(1, len(met))}


def read(path: str) -> pd.DataFrame:
    """A CSV file, a Parquet file or a folder of Parquet files, as text."""
    if path.endswith((".csv", ".csv.gz")):
        table = pd.read_csv(path, dtype=str)
    else:
        files = sorted(Path(path).glob("*.parquet")) if Path(path).is_dir() else [Path(path)]
        table = pd.concat([pd.read_parquet(file) for file in files])
    return table.astype("string").fillna("").astype(str)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("train", "twin", "holdout", "known", "secret"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    train, twin, holdout = (read(p) for p in (asked.train, asked.twin, asked.holdout))
    known = asked.known.split(",")
    twin, holdout = twin[train.columns], holdout[train.columns]
    print(f"{'known values':>12}  {'looked for':<13}{'in':<7}{'found':>8}{'theirs':>8}{'secret right, of found':>24}")
    cases = (("trained on", train, "table", train), ("trained on", train, "twin", twin), ("never seen", holdout, "twin", twin))
    for n in range(2, len(known) + 1):
        for who, people, where, table in cases:
            told = reidentified(table, people, known[:n], asked.secret)
            print(f"{n:>12}  {who:<13}{where:<7}{told['found']:>8.1%}{told['theirs']:>8.2%}{told['right']:>24.1%}")


if __name__ == "__main__":
    main()
