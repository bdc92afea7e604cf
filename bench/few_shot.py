"""Few shots: from 30 utterances of an intent, how many new ones, and do they say what the intent is?

    python bench/few_shot.py DATA/banking77/train.csv --text text --label category --holdout DATA/banking77/test.csv

Of the first three labels (by name) 30 rows each are kept, of the others all. The twin has 1,000 rows of each of the three, by a
condition. Printed for each, beside the rows of that label that the model never saw: distinct-2 (different pairs of words over
all pairs, of as many texts; Li et al., NAACL 2016), agreement with a classifier that learned from all real rows, the share of
different texts, and the share that equals one of the 30.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import pandas as pd
from texts import labeller, twin_of

SHOTS, ROWS, LABELS = 30, 1_000, 3


def distinct_2(texts: pd.Series) -> float:
    """Different pairs of neighbouring words over all such pairs."""
    pairs = [pair for words in texts.str.lower().str.split() for pair in itertools.pairwise(words)]
    return len(set(pairs)) / max(1, len(pairs))


def main() -> None:
    """Reads the arguments, makes a twin, prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--text", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--holdout", type=Path, required=True)
    given = parser.parse_args()
    table, holdout = (pd.read_csv(f).dropna(subset=[given.text]) for f in (given.table, given.holdout))
    few = sorted(table[given.label].unique())[:LABELS]
    shots = {label: table[table[given.label] == label][:SHOTS] for label in few}
    train = pd.concat([table[~table[given.label].isin(few)], *shots.values()])
    twin = twin_of(train, "tabular", ROWS * LABELS, None, {given.label: few})
    learner = labeller(table[given.text], table[given.label])
    for label in few:
        made = twin[twin[given.label] == label][given.text]
        unseen = pd.concat([table, holdout])
        unseen = unseen[(unseen[given.label] == label) & ~unseen[given.text].isin(shots[label][given.text])][given.text]
        same = min(len(unseen), len(made))
        for name, texts in (("twin", made), ("unseen", unseen)):
            agree = (learner.predict(texts) == label).mean()
            known = texts.isin(shots[label][given.text]).mean()
            print(
                f"{label}, {name}: {len(texts):,} texts, distinct-2 {distinct_2(texts[:same]):.3f}, agreement {agree:.3f}, "
                f"different {texts.nunique() / len(texts):.3f}, of the {SHOTS} {known:.3f}"
            )


if __name__ == "__main__":
    main()
