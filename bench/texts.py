"""Texts of a twin beside real ones: do they look alike, do they fit their label, are they new?

    python bench/texts.py train.csv --text text --label category --holdout test.csv
    python bench/texts.py womens_clothing_reviews.csv.gz --text review_text --label rating

The twin is made by `twinlake run` with defaults (the tabular family draws the row, the language family writes the text), or by
`--family language`. Each figure stands beside that of real holdout rows against the train rows:

- length in characters, words, and shares of letters, digits, marks and capitals: the largest Kolmogorov-Smirnov distance;
- AUC of logistic regression on TF-IDF of words and word pairs telling twin from holdout texts (5-fold; 0.5 is ideal);
- agreement: a classifier (TF-IDF, logistic regression) that learned labels from real train texts, asked about the twin's texts
  of the most frequent labels; beside its accuracy on holdout texts;
- novelty: of texts of 8 words or more, the share that equals a train text, letter case and marks aside.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

LABELS = 20


def twin_of(
    train: pd.DataFrame, family: str, rows: int, minutes: float | None, conditions: dict[str, Any] | None = None
) -> pd.DataFrame:
    """A twin by the defaults of `family`."""
    from twinlake import pipeline
    from twinlake.core.config import load_config
    from twinlake.core.progress import opened

    with tempfile.TemporaryDirectory() as folder:
        train.to_parquet(f"{folder}/table.parquet", index=False)
        config = {
            "source": {"path": f"{folder}/table.parquet"},
            "run": {"dir": f"{folder}/run"},
            "holdout": {"fraction": 0.0},
            "model": {"family": family},
            "train": {"max_minutes": minutes},
            "generate": {"rows": rows, "conditions": conditions or {}},
        }
        with opened() as progress:
            pipeline.run(load_config(base=config), progress=progress, last="generate")
        return pd.concat([pd.read_parquet(p) for p in sorted(Path(folder).glob("run/synthetic/part-*.parquet"))])


def shapes(texts: pd.Series) -> dict[str, np.ndarray]:
    """Statistics of each text."""
    length = texts.str.len().to_numpy(float)
    kinds = {"letters": r"[^\W\d_]", "digits": r"\d", "marks": r"[^\w\s]", "capitals": r"[A-Z]"}
    shares = {name: texts.str.count(pattern).to_numpy() / np.maximum(length, 1) for name, pattern in kinds.items()}
    return {"characters": length, "words": texts.str.split().str.len().to_numpy(float), **shares}


def distance(a: pd.Series, b: pd.Series) -> tuple[float, str]:
    """The largest Kolmogorov-Smirnov distance of the statistics, and which it is."""
    one, two = shapes(a), shapes(b)
    return max((float(ks_2samp(one[name], two[name]).statistic), name) for name in one)


def told_apart(a: pd.Series, b: pd.Series) -> float:
    """AUC of telling texts of `a` from those of `b`, as many of each."""
    count = min(len(a), len(b))
    texts = pd.concat([a.sample(count, random_state=0), b.sample(count, random_state=0)])
    sides = np.repeat([0, 1], count)
    learner = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=2), LogisticRegression(max_iter=1_000))
    return float(roc_auc_score(sides, cross_val_predict(learner, texts, sides, cv=5, method="decision_function")))


def labeller(texts: pd.Series, labels: pd.Series) -> Any:
    """A classifier that tells the label of a text."""
    learner = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=2_000, C=10))
    return learner.fit(texts, labels.astype(str))


def plain(texts: pd.Series) -> pd.Series:
    """Words alone, in small letters; texts of 8 words or more."""
    words = texts.map(lambda t: " ".join(re.findall(r"[^\W_]+", t.lower())))
    return words[words.str.count(" ") >= 7]


def main() -> None:
    """Reads the arguments, makes a twin, prints its figures beside those of holdout rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--text", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--holdout", type=Path, help="default: 30%% of the rows")
    parser.add_argument("--family", default="tabular")
    parser.add_argument("--minutes", type=float, help="train.max_minutes")
    parser.add_argument("--out", type=Path, help="keep the twin here (CSV)")
    given = parser.parse_args()
    table = pd.read_csv(given.table).dropna(subset=[given.text])
    table = table[[c for c in table if not c.startswith("Unnamed")]]
    if given.holdout is not None:
        train, holdout = table, pd.read_csv(given.holdout).dropna(subset=[given.text])
    else:
        order = np.random.default_rng(0).permutation(len(table))
        cut = int(0.7 * len(table))
        train, holdout = table.iloc[order[:cut]], table.iloc[order[cut:]]
    twin = twin_of(train, given.family, max(len(holdout), 5_000), given.minutes)
    if given.out:
        twin.to_csv(given.out, index=False)
    twin = twin[twin[given.text].fillna("") != ""]
    real, made, held = train[given.text], twin[given.text], holdout[given.text]
    print(
        "statistics",
        *(
            f"{name} {value:.3f} ({what})"
            for name, (value, what) in {"twin": distance(made, real), "holdout": distance(held, real)}.items()
        ),
    )
    print(f"told apart from holdout: twin AUC {told_apart(made, held):.3f}, train rows {told_apart(real, held):.3f}")
    learner = labeller(real, train[given.label])
    common = train[given.label].astype(str).value_counts().index[:LABELS]
    for name, rows in (("twin", twin), ("holdout", holdout)):
        some = rows[rows[given.label].astype(str).isin(common)]
        right = learner.predict(some[given.text]) == some[given.label].astype(str)
        print(f"label agreement, {len(common)} most frequent labels: {name} {right.mean():.3f} of {len(some):,} texts")
    known = set(plain(real))
    for name, texts in (("twin", plain(made)), ("holdout", plain(held))):
        print(f"equal to a train text, of 8 words or more: {name} {texts.isin(known).mean():.4f} of {len(texts):,}")


if __name__ == "__main__":
    main()
