"""Risk with a control: published and hand-made numbers, and intervals that hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from twinlake.evaluate.protection import protection
from twinlake.evaluate.risk import Rate, Try, bounded, deviate, residual, strongest, success

Z = deviate()


def test_one_success_of_four_is_the_published_example() -> None:
    """(1 + z²/2) / (4 + z²) and z / (4 + z²) sqrt(3/4 + z²/4)."""
    rate = success(1, 4, Z)
    assert (rate.value, rate.value - rate.error, rate.value + rate.error) == pytest.approx((0.3725, 0.0456, 0.6994), abs=5e-5)


@pytest.mark.parametrize(
    ("hits", "n", "value", "error"),
    [(850, 1000, 0.849, 0.022), (0, 1000, 0.002, 0.002), (1000, 1000, 0.998, 0.002), (23, 100, 0.2400, 0.0816)],
)
def test_wilson(hits: int, n: int, value: float, error: float) -> None:
    rate = success(hits, n, Z)
    assert (rate.value, rate.error) == pytest.approx((value, error), abs=5e-4)


def test_risk_is_the_excess_over_what_the_control_leaves() -> None:
    exact = residual(Rate(0.9, 0.0), Rate(0.8, 0.0))
    assert (exact.value, exact.low, exact.high) == pytest.approx((0.5, 0.5, 0.5))
    # 0.02 / 0.15 and 0.02 * 0.1 / 0.15², as legs of a right triangle: 0.1602
    wide = residual(Rate(0.9, 0.02), Rate(0.85, 0.02))
    assert (wide.value, wide.low, wide.high) == pytest.approx((1 / 3, 1 / 3 - 0.16025, 1 / 3 + 0.16025), abs=1e-5)


def test_less_than_the_control_is_no_negative_risk() -> None:
    less = bounded(-0.1, 0.2)
    assert (less.value, less.low, less.high) == pytest.approx((0.0, 0.0, 0.1))
    none = residual(Rate(0.9, 0.1), Rate(1.2, 0.1))
    assert (none.value, none.low, none.high) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(("attack", "control"), [(0.3, 0.1), (0.05, 0.02), (0.9, 0.6), (0.2, 0.2), (0.6, 0.55)])
def test_intervals_hold_the_truth(attack: float, control: float) -> None:
    draw, truth = np.random.default_rng(3), (attack - control) / (1 - control)
    held = 0
    for _ in range(500):
        n, m = 300, 150
        risk = Try("", draw.binomial(n, attack), n, draw.binomial(m, control), m).risk(Z)
        held += risk.low <= truth <= risk.high
    assert held / 500 >= 0.93


@pytest.mark.parametrize(("n", "m"), [(2000, 341), (2000, 97), (2000, 2000), (200, 20)])
@pytest.mark.parametrize("rate", [0.002, 0.5, 0.9, 0.99, 0.998])
def test_no_gain_is_not_taken_for_one(n: int, m: int, rate: float) -> None:
    """Also where nearly everybody is found: of two-sided 95% intervals one in forty lies above the truth. 2% more are chance
    (3 standard errors of 500), and what so few people make of shares near one."""
    draw = np.random.default_rng(5)
    tries = [Try("", draw.binomial(n, rate), n, draw.binomial(m, rate), m) for _ in range(500)]
    assert np.mean([one.risk(Z).low > 0 for one in tries]) <= 0.045 + 0.02 * (m < 100)


@pytest.mark.parametrize(
    ("attack", "control", "n", "m"), [(0.995, 0.99, 2000, 341), (0.99, 0.9, 2000, 100), (0.95, 0.9, 2000, 300)]
)
def test_what_is_surely_gained_is_not_overstated(attack: float, control: float, n: int, m: int) -> None:
    draw, truth = np.random.default_rng(6), (attack - control) / (1 - control)
    lows = [Try("", draw.binomial(n, attack), n, draw.binomial(m, control), m).risk(Z).low for _ in range(500)]
    assert np.mean([low <= truth for low in lows]) >= 0.95


def test_fewer_found_than_of_strangers_is_no_risk() -> None:
    """2,011 of 2,013 people trained on, all of 341 others: a price that nearly all rows share."""
    risk = Try("UnitPrice", 2011, 2013, 341, 341).risk(deviate(6))
    assert (risk.value, risk.low) == (0.0, 0.0) and risk.high == 1.0


@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_intervals_of_a_score_hold_the_truth(shift: float) -> None:
    """AUC of two normal scores `shift` apart is the normal distribution's value at shift / sqrt(2)."""
    from scipy.stats import norm

    draw, truth, held = np.random.default_rng(4), 2 * norm.cdf(shift / 2**0.5) - 1, 0
    for _ in range(500):
        a, b = draw.normal(shift, 1, 80), draw.normal(0, 1, 120)
        risk = Try("", float((a[:, None] > b[None, :]).mean()) * 80, 80, kind="area").risk(Z)
        held += risk.low <= truth <= risk.high
    assert held / 500 >= 0.93


def test_more_tries_have_wider_intervals_and_the_same_estimate() -> None:
    one, many = (Try("a", 30, 100, 10, 100).risk(deviate(n)) for n in (1, 20))
    assert many.value == one.value and many.low < one.low and many.high > one.high
    assert deviate() == pytest.approx(1.959964, abs=1e-6) and deviate(20) == pytest.approx(3.023341, abs=1e-6)


def test_the_strongest_is_the_one_that_is_surely_above_its_control() -> None:
    sure, wide, none = Try("sure", 300, 1000, 100, 1000), Try("wide", 4, 5, 1, 5), Try("none", 1, 9, 1, 9)
    assert strongest([wide, sure, none], Z).name == "sure"
    assert strongest([none, wide], Z).name == "wide"


def test_fewer_people_never_seen_are_scaled_up() -> None:
    """Nine times as many people trained on: 90 finds beside 10 are what chance gives."""
    assert Try("", 90, 1000, 10, 1000, times=9).risk(Z).low == 0
    assert Try("", 90, 1000, 1, 1000, times=9).risk(Z).low > 0.03


@pytest.mark.parametrize(
    ("low", "gain", "missing", "level", "words"),
    [
        (0.21, 0.5, {}, "Poor", "21% or more"),
        (0.02, 0.1, {}, "Normal", "2% or more"),
        (0.005, 0.1, {}, "Good", "a little more often"),
        (0.0, 0.05, {"B": "few rows"}, "Good", "“B” could not be tried: few rows"),
        (0.0, 0.4, {}, "Good", "40% can't be ruled out"),
        (0.0, 0.2, {}, "Very Good", "more than 20% is ruled out"),
        (0.0, 0.1, {}, "Excellent", "more than 10% is ruled out"),
    ],
)
def test_the_level_follows_what_was_measured(low: float, gain: float, missing: dict[str, str], level: str, words: str) -> None:
    found = protection({"A": low, "C": 0.0}, {"A": gain, "C": 0.0}, missing)
    assert found.level == level and words in found.reason
