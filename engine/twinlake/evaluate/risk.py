"""Risk with a control: what an attack gains on people trained on over what it gains on people never seen, with an interval.

Giomi, Boenisch, Wehmeyer and Tasnadi, "A unified framework for quantifying privacy risk in synthetic data" (PoPETs 2023):
risk = (attack - control) / (1 - control), each rate by Wilson's interval. Where nearly everybody is found, also by chance, the
middle of Wilson's interval lies lower for the side of fewer people, and what looks like a gain is that alone: the lower bound
is therefore no higher than that of a ratio of failures. Knows nothing of tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """A share of successes: the middle of Wilson's interval and half its width."""

    value: float
    error: float


@dataclass(frozen=True)
class Risk:
    """An estimate in 0..1 and its interval: 0 is nothing beyond the control, 1 is everyone."""

    value: float
    low: float
    high: float


def deviate(tries: int = 1) -> float:
    """The normal deviate of two-sided 95% intervals that hold for all of `tries` at once (Bonferroni)."""
    return NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * max(tries, 1)))


def success(hits: float, trials: float, z: float) -> Rate:
    """Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 22, 1927)."""
    whole = trials + z * z
    spread = hits * (trials - hits) / trials + z * z / 4
    return Rate((hits + z * z / 2) / whole, z / whole * math.sqrt(max(spread, 0.0)))


def residual(attack: Rate, control: Rate) -> Risk:
    """The success beyond the control, over what the control leaves to gain; errors are propagated to first order."""
    left = 1 - control.value
    if left <= 0:  # nothing is left to gain, nothing can be ruled out
        return Risk(0.0, 0.0, 1.0)
    error = math.hypot(attack.error / left, control.error * (1 - attack.value) / left**2)
    return bounded((attack.value - control.value) / left, error)


def bounded(value: float, error: float) -> Risk:
    """`value` and its interval, cut to 0..1: less success than the control is no negative risk."""
    value, low, high = (min(max(x, 0.0), 1.0) for x in (value, value - error, value + error))
    return Risk(value, low, high)


def surely_fewer(missed: float, most: float, others: float, least: float) -> float:
    """1 - the upper bound of missed / others, shares with the upper bound `most` and the lower bound `least`; at least 0.

    Donner and Zou, "Closed-form confidence intervals for functions of the normal mean and standard deviation" (Statistical
    Methods in Medical Research 21, 2012): MOVER-R, which needs no errors that are alike on both sides."""
    if min(least, others) <= 1e-12:  # what is left to chance may be nothing
        return 0.0
    both = missed * others
    inside = both**2 - most * least * (2 * missed - most) * (2 * others - least)
    return max(0.0, 1 - (both + math.sqrt(max(inside, 0.0))) / (least * (2 * others - least)))


@dataclass(frozen=True)
class Try:
    """One attack as counts. `kind` "rate": `hits` of `n` people trained on and `control_hits` of `control_n` people never seen,
    whose rate is taken `times` where there were fewer of them to be found.

    "area": a score that should be higher for people trained on; `hits` is AUC times `n`, the lesser number of people on either
    side. The variance of an AUC is at most AUC (1 - AUC) / n (Birnbaum and Klose, Ann. Math. Statist. 28, 1957), which is that
    of a share. Its risk is 2 AUC - 1, the greatest gain averaged over thresholds.
    """

    name: str
    hits: float
    n: float
    control_hits: float = 0.0
    control_n: float = 0.0
    kind: Literal["rate", "area"] = "rate"
    times: float = 1.0

    def rates(self, z: float) -> tuple[Rate, Rate]:
        """Success with people trained on and with people never seen; of a score their mean shares of the gain."""
        found = success(self.hits, self.n, z)
        if self.kind == "area":
            return Rate(2 * found.value - 1, 2 * found.error), Rate(0.0, 0.0)
        control = success(self.control_hits, self.control_n, z)
        return found, Rate(control.value * self.times, control.error * self.times)

    def risk(self, z: float) -> Risk:
        """The risk, and its bounds at the deviate `z`: the more tries, the farther apart."""
        wide, value = residual(*self.rates(z)), residual(*self.rates(deviate())).value
        low = wide.low
        if self.kind == "rate":
            attack, control = self.rates(z)
            found, chance = self.hits / self.n, self.times * self.control_hits / self.control_n
            bounds = 1 - attack.value + attack.error, 1 - control.value - control.error
            low = min(low, surely_fewer(1 - found, bounds[0], 1 - chance, bounds[1]))
            value = value if found > chance else 0.0
        return Risk(min(max(value, low), wide.high), low, wide.high)

    def gain(self, z: float) -> float:
        """The most that the attack may gain on the control, as a difference of rates."""
        attack, control = self.rates(z)
        return min(1.0, max(0.0, attack.value - control.value) + math.hypot(attack.error, control.error))

    def told(self, z: float) -> dict[str, Any]:
        """For `evaluation.json`: rates as observed, the risk and its interval."""
        risk = self.risk(z)
        out: dict[str, Any] = {"name": self.name, "kind": self.kind, "attack": self.hits / self.n, "n": round(self.n)}
        if self.kind == "rate":
            out |= {"control": min(1.0, self.times * self.control_hits / self.control_n), "n_control": round(self.control_n)}
        return {**out, "risk": risk.value, "interval": [risk.low, risk.high]}


def strongest(tries: Sequence[Try], z: float) -> Try:
    """The try of the highest lower bound; of equals that of the highest estimate."""
    return max(tries, key=lambda one: (one.risk(z).low, one.risk(z).value))
