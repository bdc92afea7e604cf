"""What gives a twin away: columns as scikit-learn's permutation importance has them, pairs where columns are right alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import sem, t
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score

from twinlake.evaluate.learners import alone
from twinlake.evaluate.metrics import detection
from twinlake.evaluate.metrics.detection import Fold, giveaways


def made(seed: int, n: int = 1_200) -> tuple[np.ndarray, np.ndarray]:
    """Real rows (label 1): five normal columns, of which 1 and 2 agree in sign. Twin: they don't, and column 4 is shifted."""
    draw = np.random.default_rng(seed)
    data, label = draw.normal(0, 1, (n, 5)), draw.integers(0, 2, n)
    data[:, 2] = np.where(label == 1, np.abs(data[:, 2]) * np.sign(data[:, 1]), data[:, 2])
    data[:, 4] += 0.8 * (label == 0)
    return data, label


@pytest.fixture(scope="module")
def folds() -> Iterator[list[Fold]]:
    with alone():
        models = [HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(*made(f)) for f in range(3)]
        yield [Fold(model, *made(f + 10), seed=f) for f, model in enumerate(models)]


@pytest.fixture(scope="module")
def found(folds: list[Fold]) -> dict[str, dict[str, float]]:
    losses = giveaways(folds, [f.area() for f in folds])
    return {of: {key: float(np.mean(values)) for key, values in held.items()} for of, held in losses.items()}


def test_columns_are_those_of_permutation_importance(folds: list[Fold], found: dict[str, dict[str, float]]) -> None:
    for fold in folds:
        assert fold.area() == pytest.approx(roc_auc_score(fold.label, fold.model.predict_proba(fold.data)[:, 1]), abs=1e-12)
    expected = [
        permutation_importance(f.model, f.data, f.label, scoring="roc_auc", n_repeats=5, random_state=1).importances_mean
        for f in folds
    ]
    mine = np.array([found["columns"][str(c)] for c in range(5)])
    assert mine == pytest.approx(np.mean(expected, axis=0), abs=0.02)  # another shuffle moves an AUC by no more
    assert sorted(np.argsort(-mine)[:3]) == [1, 2, 4]


def test_a_pair_is_named_where_columns_are_right_alone(folds: list[Fold], found: dict[str, dict[str, float]]) -> None:
    pairs = dict(found["pairs"])
    assert len(pairs) == 10 and pairs.pop("1,2") > 0.1
    assert max(pairs.values()) < 0.04  # column 4 is wrong alone: that is no pair
    assert folds[0].area((1, 2), apart=True) == folds[0].area((1, 2), apart=True)


def test_of_a_wide_table_the_columns_that_move_answers_are_shuffled(folds: list[Fold], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "SHUFFLED", 3)
    assert set(giveaways(folds, [f.area() for f in folds])["columns"]) == {"1", "2", "4"}


def test_what_chance_shows_is_not_named() -> None:
    losses = {"0": [0.01, -0.01, 0.02, -0.02, 0.0], "1": [0.1, 0.12, 0.11, 0.1, 0.09], "2": [0.2] * 5}
    found = detection._most(losses, ["a", "b", "c"])
    assert [one["columns"] for one in found] == [["c"], ["b"]]
    low, high = t.interval(0.95, 4, np.mean(losses["1"]), sem(losses["1"]))
    assert found[1]["interval"] == pytest.approx([low, high], abs=1e-12)
