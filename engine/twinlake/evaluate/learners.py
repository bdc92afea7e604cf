"""The learners of the utility metrics, and how they read rows. Runs inside Spark tasks; knows nothing of Spark.

None of them is tuned: settings are the libraries' own, but for what keeps them deterministic and their chances usable.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np

from twinlake.core.seeds import derive
from twinlake.evaluate.counters import Floats, Ints
from twinlake.evaluate.rows import Rows

Task = Literal["classification", "regression"]
Features = Literal["codes", "gaps", "scaled", "sparse"]
Make = Callable[[int, list[bool], int], Any]
ROWS = 50_000  # rows of each table that a learner sees
FEW_ROWS = 10_000  # of those whose time grows with the square of the rows
NEIGHBOURS = 5
MOST_CATEGORIES = 250  # of a column; boosting takes no more than 255
ONE_HOT_CATEGORIES = 60
MOST_INDICATORS = 400  # of all columns: what a task can hold
FARTHEST = 1e6  # standard deviations


def _new(path: str, seeded: bool = True, **settings: Any) -> Make:
    """A class by its dotted name, with `settings`, and a seed where it takes one."""
    module, name = path.rsplit(".", 1)

    def make(seed: int, kinds: list[bool], rows: int) -> Any:
        return getattr(import_module(module), name)(**settings, **({"random_state": seed} if seeded else {}))

    return make


def _boosting(path: str) -> Make:
    # Without early stopping, whose inner split fails on a class of one row.
    return lambda seed, kinds, rows: _new(path, early_stopping=False, categorical_features=kinds)(seed, kinds, rows)


def _xgboost(path: str) -> Make:
    def make(seed: int, kinds: list[bool], rows: int) -> Any:
        features: dict[str, Any] = {"enable_categorical": True, "feature_types": ["c" if kind else "q" for kind in kinds]}
        return _new(path, n_jobs=1, tree_method="hist", **features)(seed, kinds, rows)

    return make


def _neighbours(path: str) -> Make:
    return lambda seed, kinds, rows: _new(path, seeded=False, n_neighbors=min(NEIGHBOURS, rows))(seed, kinds, rows)


@dataclass(frozen=True)
class Learner:
    """`make(seed, which features are categories, rows)` gives an untrained machine of scikit-learn's manners.

    `features`: "codes" (categories by frequency, gaps filled), "gaps" (the same, gaps left to the learner), "scaled"
    (numbers standardized, categories as indicators) or "sparse" (the same, in a sparse matrix where most are 0). `rows`: of
    each table, at most.
    """

    name: str
    task: Task
    make: Make
    features: Features
    rows: int = ROWS


_FOREST: dict[str, Any] = {"n_estimators": 100, "min_samples_leaf": 2, "n_jobs": 1}
_LEAF: dict[str, Any] = {"min_samples_leaf": 5}
# fmt: off
LEARNERS: tuple[Learner, ...] = (
    Learner("random_forest", "classification", _new("sklearn.ensemble.RandomForestClassifier", **_FOREST), "codes"),
    Learner("support_vectors", "classification",
            _new("sklearn.svm.SVC", kernel="rbf", break_ties=True, cache_size=400), "sparse", FEW_ROWS),
    Learner("gradient_boosting", "classification", _boosting("sklearn.ensemble.HistGradientBoostingClassifier"), "gaps"),
    Learner("xgboost", "classification", _xgboost("xgboost.XGBClassifier"), "gaps"),
    Learner("nearest_neighbours", "classification", _neighbours("sklearn.neighbors.KNeighborsClassifier"), "scaled", FEW_ROWS),
    Learner("logistic_regression", "classification", _new("sklearn.linear_model.LogisticRegression", max_iter=2000), "scaled"),
    Learner("decision_tree", "classification", _new("sklearn.tree.DecisionTreeClassifier", **_LEAF), "codes"),
    Learner("random_forest", "regression", _new("sklearn.ensemble.RandomForestRegressor", **_FOREST), "codes"),
    Learner("support_vectors", "regression",
            _new("sklearn.svm.SVR", seeded=False, kernel="rbf", cache_size=400), "sparse", FEW_ROWS),
    Learner("gradient_boosting", "regression", _boosting("sklearn.ensemble.HistGradientBoostingRegressor"), "gaps"),
    Learner("xgboost", "regression", _xgboost("xgboost.XGBRegressor"), "gaps"),
    Learner("nearest_neighbours", "regression", _neighbours("sklearn.neighbors.KNeighborsRegressor"), "scaled", FEW_ROWS),
    Learner("ridge_regression", "regression", _new("sklearn.linear_model.Ridge"), "scaled"),
    Learner("decision_tree", "regression", _new("sklearn.tree.DecisionTreeRegressor", **_LEAF), "codes"),
)  # the longest first: tasks that run side by side then end together
# fmt: on


def learner(name: str, task: Task) -> Learner:
    """The registered learner of that name and task."""
    return next(x for x in LEARNERS if (x.name, x.task) == (name, task))


def machine(one: Learner, seed: int, kinds: list[bool], rows: int) -> Any:
    """An untrained machine, seeded; train it `alone`. Errors: ImportError where its library is absent."""
    return one.make(derive(seed, "learner", one.name) % (1 << 31), kinds, rows)


@contextmanager
def alone() -> Iterator[None]:
    """One thread, for a Spark task has one core, and no warnings of libraries, which would end in its log."""
    from threadpoolctl import threadpool_limits  # scikit-learn brings it

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def encode(how: Features, rows: Rows, fit: Ints, other: Ints) -> tuple[Any, Any, list[bool]]:
    """Features [rows, features] of the rows `fit`, from which all is learned, of the rows `other`, and which are categories.

    A category unseen in `fit` is a gap (no indicator is set). Numbers are standardized for all: trees keep their splits
    and lose nothing to their 32 bits.
    """
    train: list[Floats] = []
    test: list[Floats] = []
    for x in rows.numbers.T:
        seen, asked = _standardized(x[fit], x[other], filled=how != "gaps")
        train.append(seen)
        test.append(asked)
    kinds = [False] * len(train)
    counts = [np.bincount(c[fit], minlength=len(names)) for c, names in zip(rows.codes.T, rows.names, strict=True)]
    scaled = how in ("scaled", "sparse")
    indicators = _indicators(counts) if scaled else []
    for column, category in indicators:
        train.append((rows.codes[fit, column] == category).astype(np.float64))
        test.append((rows.codes[other, column] == category).astype(np.float64))
    if not scaled:
        for c, count in zip(rows.codes.T, counts, strict=True):
            place = np.full(len(count), np.nan if how == "gaps" else -1.0)
            kept = _most_frequent(count, MOST_CATEGORIES)
            place[kept] = np.arange(len(kept))
            train.append(place[c[fit]])
            test.append(place[c[other]])
            kinds.append(True)
    kinds += [False] * (len(train) - len(kinds))
    data, asked = np.column_stack(train), np.column_stack(test)
    if how == "sparse" and np.count_nonzero(data) < data.size / 2:
        from scipy.sparse import csr_matrix  # scikit-learn brings it

        return csr_matrix(data), csr_matrix(asked), kinds
    return data, asked, kinds


def _standardized(fit: Floats, other: Floats, filled: bool) -> tuple[Floats, Floats]:
    """Both in standard deviations of `fit` from its mean; a gap is `fit`'s median if `filled`, or where it has no value."""
    known = fit[~np.isnan(fit)]
    top = float(np.abs(known).max(initial=0.0)) or 1.0
    scaled = known / top
    middle, spread = (float(scaled.mean()), float(scaled.std())) if len(known) else (0.0, 0.0)
    gap = (float(np.median(scaled)) - middle) / (spread or 1.0) if len(known) else 0.0

    def of(x: Floats) -> Floats:
        with np.errstate(over="ignore"):
            z: Floats = np.clip((x / top - middle) / (spread or 1.0), -FARTHEST, FARTHEST)
        return np.where(np.isnan(z), gap, z) if filled or not len(known) else z

    return of(fit), of(other)


def _most_frequent(count: Ints, most: int) -> Ints:
    order = np.argsort(-count, kind="stable")[:most]
    return order[count[order] > 0]


def _indicators(counts: list[Ints]) -> list[tuple[int, int]]:
    """(column, category) of the indicators: of every column the frequent ones, of all the most frequent."""
    found = [(int(-count[k]), c, int(k)) for c, count in enumerate(counts) for k in _most_frequent(count, ONE_HOT_CATEGORIES)]
    return sorted((c, k) for _, c, k in sorted(found)[:MOST_INDICATORS])
