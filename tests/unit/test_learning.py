"""The learners of the utility metrics: scores against scikit-learn, rows of training sets, what can't be computed."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, balanced_accuracy_score, mean_absolute_error, r2_score, roc_auc_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from twinlake.evaluate.evidence import Result
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN
from twinlake.evaluate.learners import LEARNERS, encode
from twinlake.evaluate.learning import REPEATS, Study, half, learn, training_sets
from twinlake.evaluate.rows import Rows
from twinlake.evaluate.scores import averaged, class_scores, difference, draws, number_scores, replicated, summary
from twinlake.evaluate.verdicts import verdict

CITIES = (None, "Bern", "Oslo", "Rome")
CLASSES = (None, "no", "yes")


def rows(target: str, n: int = 120, twin: int | None = None) -> Rows:
    """Rows of all three sides: a number with gaps, one of huge values, a category; the target last of its sort."""
    draw = np.random.default_rng(4)
    side = np.repeat([TRAIN, HOLDOUT, TWIN], [n, n, n if twin is None else twin])
    x = draw.normal(50, 10, len(side))
    city = draw.integers(0, 4, len(side))
    y = 0.1 * x + city + draw.normal(0, 0.5, len(side))
    numbers = np.column_stack([np.where(draw.random(len(side)) < 0.1, np.nan, x), draw.choice([-1e308, 0.0, 1e308], len(side))])
    if target == "number":
        return Rows(side, np.column_stack([numbers, y]), city[:, None], (CITIES,))
    return Rows(side, numbers, np.column_stack([city, 1 + (y > np.median(y))]), (CITIES, CLASSES))


CLASSIFY = Study("classification", (2, 2), (), None, 10, 7)
REGRESS = Study("regression", (3, 1), (), None, 10, 7)


@pytest.mark.parametrize("classes", [2, 3])
def test_class_scores_are_scikit_learns(classes: int) -> None:
    draw = np.random.default_rng(2)
    truth = draw.integers(0, classes, 300)
    chance = draw.dirichlet(np.ones(classes), 300).round(2)  # rounded: there are ties
    weights = draw.integers(0, 4, 300).astype(float)
    again = np.repeat(np.arange(300), weights.astype(int))
    scores = class_scores(truth, chance, classes)
    for some, drawn in ((np.arange(300), np.ones(300)), (again, weights)):
        t, guess = truth[some], chance[some].argmax(1)
        areas = [roc_auc_score(t == c, chance[some, c]) for c in ([1] if classes == 2 else range(classes))]
        assert scores["auc"](drawn) == pytest.approx(np.mean(areas), abs=1e-12)
        assert scores["accuracy"](drawn) == pytest.approx(accuracy_score(t, guess), abs=1e-12)
        assert scores["balanced_accuracy"](drawn) == pytest.approx(balanced_accuracy_score(t, guess), abs=1e-12)
    assert class_scores(np.zeros(4, int), chance[:4], classes)["auc"](np.ones(4)) is None


def test_number_scores_are_scikit_learns() -> None:
    draw = np.random.default_rng(2)
    truth = draw.normal(5, 3, 200)
    guess = truth + draw.normal(0, 1, 200)
    weights = draw.integers(0, 3, 200).astype(float)
    again = np.repeat(np.arange(200), weights.astype(int))
    scores = number_scores(truth, guess)
    assert scores["r2"](weights) == pytest.approx(r2_score(truth[again], guess[again]), abs=1e-12)
    error = mean_absolute_error(truth[again], guess[again]) / truth[again].std()
    assert scores["absolute_error"](weights) == pytest.approx(error, abs=1e-12)
    constant = number_scores(np.ones(5), np.zeros(5))
    assert constant["r2"](np.ones(5)) is None and constant["absolute_error"](np.ones(5)) is None


def test_draws_move_with_the_halves() -> None:
    """Halves of 0.4, 0.5 and 0.6 lie 0.1 below, on and 0.1 above their mean, widened by sqrt(3 / 2)."""
    halves = [{"real": {"accuracy": lambda w, x=x: x}} for x in (0.4, 0.5, 0.6)]
    some = {"real": {"accuracy": lambda w: float(w[:25].sum() / w.sum())}}
    got = replicated(some, halves, 50, 7)["real"]["accuracy"]
    expected = [w[:25].sum() / 50 + (0.1 * (i % 3 - 1)) * 1.5**0.5 for i, w in enumerate(draws(50, 7))]
    assert got["value"] == 0.5
    assert got["draws"] == pytest.approx(expected)
    undefined = [{"real": {"accuracy": lambda w: None}}, *halves[1:]]
    assert set(replicated(some, undefined, 50, 7)["real"]["accuracy"]["draws"]) == {None}


def test_what_is_undefined_is_not_averaged_in() -> None:
    known = {"value": 0.5, "draws": [0.4] * 60 + [None] * 40}
    none = {"value": None, "draws": [None] * 100}
    assert averaged([known, none])["value"] is None
    assert difference(known, none)["value"] is None
    assert summary(0.5, known["draws"]) == pytest.approx([0.5, 0.4, 0.4])
    assert summary(None, none["draws"]) == [None, None, None]
    assert summary(0.5, [0.1] * 49 + [None] * 51) == [0.5, None, None]


def test_training_sets_by_count() -> None:
    side = np.repeat([TRAIN, TWIN, HOLDOUT], [100, 60, 30])
    sets = training_sets(side, 80, 7)
    assert {s: len(at) for s, at in sets.items()} == {"real": 80, "synthetic": 60, "augmented": 140, "real_at_n": 60}
    assert set(sets["real_at_n"]) < set(sets["real"]) < set(np.flatnonzero(side == TRAIN))
    assert set(sets["augmented"]) == set(sets["real"]) | set(np.flatnonzero(side == TWIN))
    # A larger twin: as many of its rows as real ones, but all of them beside the real ones.
    larger = training_sets(np.repeat([TRAIN, TWIN], [50, 70]), 80, 7)
    assert {s: len(at) for s, at in larger.items()} == {"real": 50, "synthetic": 50, "augmented": 120, "real_at_n": 50}


def test_halves_differ_and_leave_the_test_rows() -> None:
    side = np.repeat([TRAIN, TWIN, HOLDOUT], [101, 60, 30])
    found = [half(side, r, 7) for r in range(REPEATS)]
    for some in found:
        assert [(some == s).sum() for s in (TRAIN, TWIN, HOLDOUT)] == [51, 30, 30]
    assert not np.array_equal(found[0], found[1])


def test_what_a_logistic_regression_reaches_is_what_scikit_learn_reaches() -> None:
    held = rows("class")
    got = learn(CLASSIFY, "logistic_regression", held)
    x, city = held.numbers, held.codes[:, :1]
    label, test = held.codes[:, 1], held.side == HOLDOUT
    for training, fit in (("real", held.side == TRAIN), ("synthetic", held.side == TWIN), ("augmented", ~test)):
        gaps = np.where(np.isnan(x[:, :1]), np.nanmedian(x[fit, 0]), x[:, :1])
        known = x[fit, 0][~np.isnan(x[fit, 0])]
        scaled = (gaps - known.mean()) / known.std()  # of the known values, as the gaps' own is what fills them
        rest = StandardScaler().fit(np.sign(x[fit, 1:])).transform(np.sign(x[:, 1:]))
        indicators = OneHotEncoder(sparse_output=False).fit(city[fit]).transform(city)
        data = np.column_stack([scaled, rest, indicators])
        model = LogisticRegression(max_iter=2000).fit(data[fit], label[fit])
        score = got["scores"][training]
        assert score["accuracy"]["value"] == pytest.approx(model.score(data[test], label[test]), abs=1e-12), training
        chance = model.predict_proba(data[test])[:, 1]
        assert score["auc"]["value"] == pytest.approx(roc_auc_score(label[test], chance), abs=1e-6), training
    assert got["rows"] == {"real": 120, "synthetic": 120, "augmented": 240}
    assert got["n_test"] == 120


def test_what_a_ridge_regression_reaches_is_what_scikit_learn_reaches() -> None:
    held = rows("number")
    got = learn(REGRESS, "ridge_regression", held)["scores"]["synthetic"]
    fit, test = held.side == TWIN, held.side == HOLDOUT
    x, y = held.numbers[:, :2], held.numbers[:, 2]
    known = x[fit, 0][~np.isnan(x[fit, 0])]
    scaled = (np.where(np.isnan(x[:, 0]), np.median(known), x[:, 0]) - known.mean()) / known.std()
    rest = StandardScaler().fit(np.sign(x[fit, 1:])).transform(np.sign(x[:, 1:]))
    data = np.column_stack([scaled, rest, OneHotEncoder(sparse_output=False).fit_transform(held.codes)])
    guess = Ridge().fit(data[fit], y[fit]).predict(data[test])
    assert got["r2"]["value"] == pytest.approx(r2_score(y[test], guess), abs=1e-9)
    error = mean_absolute_error(y[test], guess) / y[test].std()
    assert got["absolute_error"]["value"] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize("one", LEARNERS, ids=lambda x: f"{x.task}-{x.name}")
def test_every_learner_learns_from_gaps_extremes_and_few_rows(one: object) -> None:
    name, task = one.name, one.task  # type: ignore[attr-defined]
    if name == "xgboost":
        pytest.importorskip("xgboost")
    study, score = (CLASSIFY, "accuracy") if task == "classification" else (REGRESS, "r2")
    got = learn(study, name, rows("class" if task == "classification" else "number", 80))
    assert "left_out" not in got
    for training in ("real", "synthetic", "augmented"):
        held = got["scores"][training][score]
        assert held["value"] > (0.7 if task == "classification" else 0.2), training
        low, high = summary(held["value"], held["draws"])[1:]
        assert low is not None and high is not None and low < held["value"] < high


def test_a_learner_learns_the_same_again() -> None:
    assert learn(CLASSIFY, "random_forest", rows("class", 80)) == learn(CLASSIFY, "random_forest", rows("class", 80))


def test_a_library_that_is_absent_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    assert learn(CLASSIFY, "xgboost", rows("class")) == {"left_out": "its library is not installed (twinlake[utility])"}


def test_targets_that_teach_nothing_are_refused() -> None:
    held = rows("class")
    one = held.codes.copy()
    one[:, 1] = 1
    assert learn(CLASSIFY, "decision_tree", replace(held, codes=one))["refused"] == "the target has one class only"
    many = held.codes.copy()
    many[:, 1] = 1 + np.arange(len(many)) % 40
    names = (CITIES, (None, *(f"{i:02}" for i in range(40))))
    found = learn(CLASSIFY, "decision_tree", replace(held, codes=many, names=names))
    assert found["refused"] == "the target has more than 20 classes"
    flat = rows("number")
    numbers = flat.numbers.copy()
    numbers[:, 2] = 3.0
    assert learn(REGRESS, "decision_tree", replace(flat, numbers=numbers))["refused"] == "the target has one value only"
    few = learn(CLASSIFY, "decision_tree", rows("class", twin=1))
    assert few["refused"] == "one of the tables has fewer than two rows with a target"


def test_a_twin_of_one_class_or_of_a_new_one_is_a_poor_teacher() -> None:
    held = rows("class")
    lone = held.codes.copy()
    lone[held.side == TWIN, 1] = 2
    got = learn(CLASSIFY, "decision_tree", replace(held, codes=lone))["scores"]["synthetic"]
    truth = held.codes[held.side == HOLDOUT, 1]
    assert got["auc"]["value"] == 0.5
    assert got["accuracy"]["value"] == pytest.approx((truth == 2).mean())
    new = held.codes.copy()
    new[held.side == TWIN, 1] = 3
    names = (CITIES, (*CLASSES, "only in the twin"))
    got = learn(CLASSIFY, "decision_tree", replace(held, codes=new, names=names))["scores"]
    assert got["synthetic"]["accuracy"]["value"] == 0.0
    assert got["real"]["accuracy"]["value"] > 0.7


def test_features_by_hand() -> None:
    """Fitted on the first four rows: mean 2, deviation 1 of the known values 1, 3, 1, 3; `b` is unseen."""
    held = Rows(
        np.zeros(6, int),
        np.array([[1.0], [3.0], [1.0], [3.0], [np.nan], [4.0]]),
        np.array([[1], [1], [3], [1], [2], [3]]),
        ((None, "a", "b", "c"),),
    )
    fit, other = np.arange(4), np.array([4, 5])
    train, test, kinds = encode("gaps", held, fit, other)
    assert kinds == [False, True]
    np.testing.assert_allclose(train, [[-1.0, 0.0], [1.0, 0.0], [-1.0, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(test, [[np.nan, np.nan], [2.0, 1.0]])
    np.testing.assert_allclose(encode("codes", held, fit, other)[1], [[0.0, -1.0], [2.0, 1.0]], atol=1e-12)
    scaled = encode("scaled", held, fit, other)
    np.testing.assert_allclose(scaled[1], [[0.0, 0.0, 0.0], [2.0, 0.0, 1.0]], atol=1e-12)
    assert scaled[2] == [False, False, False]
    # A matrix is sparse where less than half of its cells are not 0.
    assert isinstance(encode("sparse", held, fit, other)[0], np.ndarray)
    many = Rows(held.side, held.numbers[:, :0], np.tile(np.arange(1, 7)[:, None], (1, 2)), ((None, *"abcdef"),) * 2)
    sparse, dense = (encode(how, many, np.arange(6), np.arange(6))[0] for how in ("sparse", "scaled"))
    assert (sparse.toarray() == dense).all() and sparse.nnz == 12


@pytest.mark.parametrize(
    ("name", "result", "tone"),
    [
        ("r2_gap", Result(0.03, (0.0, 0.06), 0.0), "fair"),
        ("augmented_gain", Result(0.02, (0.01, 0.03), 0.0), "good"),
        ("augmented_gain", Result(-0.02, (-0.03, -0.01), 0.0), "poor"),
        ("augmented_gain", Result(0.02, (-0.01, 0.03), 0.0), "fair"),
        ("demographic_parity_gap", Result(0.2, None, 0.1, None, {"change": [0.1, 0.05, 0.15]}), "poor"),
        ("demographic_parity_gap", Result(0.2, None, 0.17, None, {"change": [0.03, 0.01, 0.05]}), "fair"),
        ("equalized_odds_gap", Result(0.2, None, 0.1, None, {"change": [0.1, -0.01, 0.2]}), "good"),
        ("equalized_odds_gap", Result(0.2, None, None, None, {"change": [None, None, None]}), "none"),
    ],
)
def test_verdicts(name: str, result: Result, tone: str) -> None:
    assert verdict(name, result, "lower").tone == tone
