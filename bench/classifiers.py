"""The classifiers of the field's studies (study_heart.py, study_accuracy.py), by the libraries' own settings; XGBoost is of the
extra utility."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t
from sklearn.compose import make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from small_tables import discrete
from xgboost import XGBClassifier

SLOW_ROWS = 10_000  # of those whose time grows with the square of the rows
NUMBERS = 0.95  # a column is of numbers where so many of its cells are

CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    "Logistic Regression": lambda seed: LogisticRegression(max_iter=1_000),
    "LDA": lambda seed: LinearDiscriminantAnalysis(),
    "KNN": lambda seed: KNeighborsClassifier(),
    "CART": lambda seed: DecisionTreeClassifier(random_state=seed),
    "Naive Bayes": lambda seed: GaussianNB(),
    "SVM": lambda seed: SVC(random_state=seed),
    "Random Forest": lambda seed: RandomForestClassifier(random_state=seed, n_jobs=1),
    "XGBoost": lambda seed: XGBClassifier(random_state=seed, n_jobs=1),
}
SLOW = ("KNN", "SVM")


def typed(table: pd.DataFrame, like: pd.DataFrame, target: str) -> pd.DataFrame:
    """`table` with numbers where `like` has them (what is none becomes the median), and text elsewhere."""
    columns = {}
    for name in like:
        known, values = (pd.to_numeric(frame[name], errors="coerce") for frame in (like, table))
        if name != target and known.notna().mean() >= NUMBERS:
            columns[name] = values.fillna(known.median()).astype(float)
        else:
            columns[name] = table[name].fillna("").astype(str)
    return pd.DataFrame(columns)


def correct(name: str, rows: pd.DataFrame, test: pd.DataFrame, like: pd.DataFrame, target: str, seed: int) -> np.ndarray:
    """Which rows of `test` a classifier gets right that learns from `rows`; `like`: the real train rows, which say what columns
    are. One-hot text and few-valued numbers, all scaled."""
    real, learned, asked = (typed(frame, like, target) for frame in (like, rows, test))
    if name in SLOW:
        learned = learned.sample(n=min(SLOW_ROWS, len(learned)), random_state=seed)
    kinds = [c for c in discrete(real) if c != target]
    numbers = [c for c in real if c not in (*kinds, target)]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((StandardScaler(), numbers), (encoder, kinds))
    classes, codes = np.unique(learned[target], return_inverse=True)
    if len(classes) == 1:
        return np.asarray(asked[target] == classes[0])
    model = make_pipeline(columns, CLASSIFIERS[name](seed)).fit(learned.drop(columns=target), codes)
    return np.asarray(classes[model.predict(asked.drop(columns=target))] == asked[target])


def interval(values: np.ndarray, test_over_train: float = 0.0) -> tuple[float, float, float]:
    """The mean with its 95% interval (t). `test_over_train` widens it for splits that share rows (Nadeau and Bengio, "Inference
    for the generalization error", 2003)."""
    mean, count = float(values.mean()), len(values)
    half = t.ppf(0.975, count - 1) * values.std(ddof=1) * (1 / count + test_over_train) ** 0.5 if count > 1 else float("inf")
    return mean, mean - half, mean + half


def said(values: np.ndarray, test_over_train: float = 0.0) -> str:
    """A mean and, of several values, its interval, in points."""
    mean, low, high = (100 * x for x in interval(values, test_over_train))
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]" if len(values) > 1 else f"{mean:+.2f}"
