"""The classifiers of the utility metrics and how they read a table. Runs inside Spark tasks; knows nothing of Spark."""

from __future__ import annotations

from typing import Any

import numpy as np

from twinlake.core.seeds import derive
from twinlake.evaluate.counters import Floats

LEARNERS = ("gradient_boosting", "random_forest", "logistic_regression")
MOST_CATEGORIES = 250
ONE_HOT_CATEGORIES = 60


def encode(model: str, numbers: Floats, texts: list[Any], fit: Any) -> tuple[Floats, list[bool]]:
    """Features fitted on the rows of `fit`, and which of them are categories.

    Boosting takes category codes with gaps as NaN, the forest codes in the order of frequency, the regression
    standardized numbers and one-hot categories. A value unseen in the fitted rows is a gap.
    """
    columns: list[Floats] = []
    kinds: list[bool] = []
    for x in numbers.T:
        known = x[fit & ~np.isnan(x)]
        # Boosting of scikit-learn fails on a column without a single value.
        if model != "gradient_boosting" or not len(known):
            x = np.where(np.isnan(x), np.median(known) if len(known) else 0.0, x)
        if model == "logistic_regression":
            x = (x - x[fit].mean()) / (x[fit].std() or 1.0)
        columns.append(x)
        kinds.append(False)
    for text in texts:
        value = np.array(["" if v is None else "=" + v for v in text], dtype=object).astype(str)
        names, count = np.unique(value[fit], return_counts=True)
        kept = names[np.lexsort((names, -count))][:MOST_CATEGORIES]
        place = np.argsort(kept)
        at = np.minimum(np.searchsorted(kept, value, sorter=place), max(len(kept) - 1, 0))
        code = np.where(kept[place[at]] == value, place[at], -1)
        if model == "logistic_regression":
            columns += [(code == c).astype(np.float64) for c in range(min(len(kept), ONE_HOT_CATEGORIES))]
            continue
        columns.append(np.where(code < 0, np.nan if model == "gradient_boosting" else -1.0, code).astype(np.float64))
        kinds.append(True)
    return (np.column_stack(columns) if columns else np.zeros((len(fit), 1))), kinds


def learner(model: str, seed: int, kinds: list[bool]) -> Any:
    """An untrained classifier of scikit-learn, single-threaded and seeded."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    state = derive(seed, "learner", model) % (1 << 31)
    if model == "gradient_boosting":
        mask = np.array(kinds) if any(kinds) else None
        return HistGradientBoostingClassifier(random_state=state, categorical_features=mask)
    if model == "random_forest":
        return RandomForestClassifier(n_estimators=100, min_samples_leaf=2, n_jobs=1, random_state=state)
    return LogisticRegression(max_iter=2000)


def auc(truth: Any, chance: Floats, classes: Any) -> float | None:
    """The area under the ROC curve by ranks (ties half); the mean over classes against the rest when more than two."""
    areas = []
    for j, name in enumerate(classes):
        if len(classes) == 2 and j == 0:
            continue
        hit = truth == name
        ones, zeros = int(hit.sum()), int((~hit).sum())
        if ones == 0 or zeros == 0:
            continue
        _, inverse, count = np.unique(chance[:, j], return_inverse=True, return_counts=True)
        rank = np.cumsum(count) - (count - 1) / 2
        areas.append((rank[inverse][hit].sum() - ones * (ones + 1) / 2) / (ones * zeros))
    return float(np.mean(areas)) if areas else None
