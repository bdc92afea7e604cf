"""The protection level, Poor to Excellent: what attacks on the twin were measured to gain, not which switches were on.

A level with a risk seen is for what surely leaks (the lower bound of the strongest attack), one without for what could be ruled
out (the most that any attack may gain). Intervals hold for all tries of all attacks at once. The bounds are judgements, stated
only here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GREAT, SMALL = 0.2, 0.01  # risks that are surely exceeded
FAR, NEAR = 0.3, 0.1  # gains that are ruled out


@dataclass(frozen=True)
class Protection:
    """A level and one sentence that says why."""

    level: str
    reason: str


def protection(lows: Mapping[str, float], gains: Mapping[str, float], missing: Mapping[str, str]) -> Protection:
    """The level from each attack's lower bound of risk and the most that it may gain; `missing`: attacks not made,
    and why. Attacks are named by their titles.
    """
    worst, low = max(lows.items(), key=lambda one: one[1])
    gain = max(gains.values())
    if low > SMALL:
        told = f"succeeds with {low:.0%} or more of the people trained on, beyond its success with others"
        return Protection("Poor" if low > GREAT else "Normal", f"“{worst}” {told}.")
    if low > 0:
        return Protection("Good", f"“{worst}” succeeds a little more often with people trained on than with others.")
    if missing:
        name, why = next(iter(missing.items()))
        return Protection("Good", f"No attack gains on people trained on, but “{name}” could not be tried: {why}.")
    if gain > FAR:
        return Protection(
            "Good", f"No attack gains on people trained on, but of so few rows a gain of {gain:.0%} can't be ruled out."
        )
    told = f"a gain of more than {gain:.0%} is ruled out"
    return Protection("Very Good" if gain > NEAR else "Excellent", f"No attack gains on people trained on; {told}.")
