"""What a sequence of noisy releases costs: epsilon at a given delta, for units that are added or removed.

A release is the Gaussian mechanism, taken `steps` times on Poisson samples of rate `rate`, or any mechanism with a bound in
zCDP. Gaussian ones are composed by privacy loss distributions (PLD, the package dp-accounting: pessimistic, hence an upper
bound); without that package, and for mixtures with zCDP, by Rényi divergences (RDP), which state a little more.

Sources: Mironov, Talwar and Zhang, "Rényi differential privacy of the sampled Gaussian mechanism" (2019); Canonne, Kamath and
Steinke, "The discrete Gaussian for differential privacy" (2020), proposition 12 for the conversion; Bun and Steinke 2016
(zCDP); Doroshenko et al., "Connect the dots" (2022) for PLD.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ALPHAS = np.array([*np.arange(1.25, 12.0, 0.125), *range(12, 64), *range(64, 513, 16)])
PLD, RDP, ZCDP = "PLD", "RDP", "zCDP"
LEAST_SIGMA, MOST_SIGMA = 0.3, 1e6
PRECISION = 1e-3


@dataclass(frozen=True)
class Release:
    """One entry of what is spent. `sigma`: noise multiplier, the standard deviation of the noise by the most that one unit
    changes the answer (Euclidean norm); `rate`: of Poisson sampling; `steps`: how often. `group`: the rows of a unit where
    rows are sampled, each by itself, and sigma is by what one row changes. `rho`: the zCDP of another mechanism, instead of
    sigma. `delta`: probability with which it may fail altogether."""

    name: str
    sigma: float | None = None
    rate: float = 1.0
    steps: int = 1
    group: int = 1
    rho: float | None = None
    delta: float = 0.0


def accountant(releases: Sequence[Release]) -> str:
    """The accountant that `spent` uses for these."""
    if all(r.rho is not None or r.rate == 1.0 for r in releases) and any(r.rho is not None for r in releases):
        return ZCDP
    return PLD if all(r.rho is None for r in releases) and importlib.util.find_spec("dp_accounting") else RDP


def spent(releases: Sequence[Release], delta: float) -> float:
    """Epsilon of all `releases` together at `delta`; infinite where their own deltas leave nothing, 0 for none."""
    taken = [r for r in releases if r.steps > 0]
    left = delta - sum(r.delta for r in taken)
    spending = [r for r in taken if r.sigma is not None or r.rho is not None]
    if left <= 0:
        return math.inf
    if not spending:
        return 0.0
    if any(r.sigma is not None and r.sigma <= 0 for r in spending):
        return math.inf
    return pld_epsilon(spending, left) if accountant(spending) == PLD else rdp_epsilon(spending, left)


def pld_epsilon(releases: Sequence[Release], delta: float) -> float:
    """Epsilon by privacy loss distributions; Gaussian releases only. Needs dp-accounting."""
    from dp_accounting.pld import privacy_loss_distribution as losses

    whole = sum(r.steps * (r.group / (r.sigma or math.nan)) ** 2 for r in releases if r.rate == 1.0)
    parts = [_loss(r).self_compose(r.steps) for r in releases if r.rate < 1.0]
    if whole:  # Gaussian releases of all units are together one with the sum of the precisions
        parts.append(losses.from_gaussian_mechanism(1.0 / math.sqrt(whole)))
    out = None
    for one in parts:
        out = one if out is None else out.compose(one)
    assert out is not None
    return float(out.get_epsilon_for_delta(delta))


def _loss(release: Release) -> Any:
    """The privacy loss of one step, for rows that are drawn by themselves."""
    from dp_accounting.pld import privacy_loss_distribution as losses

    rate, sigma = as_one_row(release)
    return losses.from_gaussian_mechanism(sigma, sampling_prob=rate)


def as_one_row(release: Release) -> tuple[float, float]:
    """Rate and noise multiplier of a step that costs a unit at least as much and draws it whole: as soon as one of its rows is
    drawn, all count as drawn. A sum that moves more loses more (Ganesh, "Tight group-level DP guarantees for DP-SGD with
    sampling via mixture of Gaussians mechanisms", 2024)."""
    return 1.0 - (1.0 - release.rate) ** release.group, (release.sigma or math.nan) / release.group


def rdp_epsilon(releases: Sequence[Release], delta: float) -> float:
    """Epsilon by Rényi divergences and the conversion of Canonne et al."""
    total = np.zeros(len(ALPHAS))
    for r in releases:
        if r.rho is not None:
            one = r.rho * ALPHAS
        else:
            one = sampled_rdp(*as_one_row(r))
        total += r.steps * one
    return _converted(ALPHAS, total, delta)


def _converted(alphas: npt.NDArray[np.float64], divergence: npt.NDArray[np.float64], delta: float) -> float:
    bound = divergence + np.log1p(-1.0 / alphas) - (math.log(delta) + np.log(alphas)) / (alphas - 1.0)
    return max(0.0, float(bound.min()))


def sampled_rdp(rate: float, sigma: float) -> npt.NDArray[np.float64]:
    """Rényi divergences of orders ALPHAS of one step of the Gaussian mechanism on a Poisson sample, float64 [orders].

    The divergence is log E[(1 - q + q exp((2z - 1) / 2 sigma^2))^alpha] / (alpha - 1) for z from N(0, sigma^2). The integrand
    is smooth and falls like a Gaussian, so that sums over an even grid converge faster than any power of the spacing."""
    if rate == 1.0:
        return np.asarray(ALPHAS / (2.0 * sigma**2))
    out = np.zeros(len(ALPHAS))
    for number, alpha in enumerate(ALPHAS):
        grid = np.arange(-12.0 * sigma, alpha + 12.0 * sigma, sigma / 16.0)
        ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (2.0 * grid - 1.0) / (2.0 * sigma**2))
        terms = alpha * ratio - grid**2 / (2.0 * sigma**2)
        top = terms.max()
        moment = top + math.log(np.exp(terms - top).sum() / (16.0 * math.sqrt(2.0 * math.pi)))
        out[number] = max(0.0, moment) / (alpha - 1.0)
    return out


def zcdp_epsilon(rho: float, delta: float) -> float:
    """Epsilon at `delta` of a mechanism of `rho`-zCDP (Canonne et al., over a fine grid of orders)."""
    if rho <= 0:
        return 0.0
    best = 1.0 + math.sqrt(max(math.log(1.0 / delta), 1e-12) / rho)
    alphas = 1.0 + (best - 1.0) * np.geomspace(0.05, 20.0, 4001)
    return _converted(alphas, rho * alphas, delta)


def smallest_sigma(releases: Callable[[float], Sequence[Release]], epsilon: float, delta: float) -> float:
    """The smallest noise multiplier, to 0.1% from above, with which `releases(sigma)` stays within (`epsilon`, `delta`).

    Errors: ValueError where no noise suffices."""

    def enough(sigma: float, cost: Callable[[Sequence[Release], float], float]) -> bool:
        return cost(releases(sigma), delta) <= epsilon

    high = _bisected(lambda sigma: enough(sigma, _by_rdp), LEAST_SIGMA, MOST_SIGMA)
    if high >= MOST_SIGMA:
        raise ValueError(f"no noise is enough for epsilon {epsilon:g} at delta {delta:g}")
    # RDP is quick and never below PLD, which has then a short way to go
    return _bisected(lambda sigma: enough(sigma, spent), max(LEAST_SIGMA, 0.5 * high), high)


def _by_rdp(releases: Sequence[Release], delta: float) -> float:
    left = delta - sum(r.delta for r in releases)
    return rdp_epsilon([r for r in releases if r.sigma is not None or r.rho is not None], left) if left > 0 else math.inf


def _bisected(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest number of [low, high] for which `holds` (true from some number on), from above; `high` if none does."""
    if holds(low):
        return low
    while high > low * (1 + PRECISION):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
