"""How a marginal model asks for noisy counts and makes private choices within what a ledger has left."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinlake.core.errors import ConfigError
from twinlake.train.accounting import Release
from twinlake.train.ledger import Ledger
from twinlake.train.noise import noisy_counts, uniforms

SPLITS = {
    "tree": {"single columns": 0.25, "the hub": 0.05, "pairs with the hub": 0.3, "which pairs": 0.1, "pairs": 0.3},
    "adaptive": {"single columns": 0.25, "the hub": 0.05, "pairs with the hub": 0.3, "rounds": 0.4},
}
QUESTIONS = tuple(dict.fromkeys(name for split in SPLITS.values() for name in split))
LEAST_RHO = 1e-9
Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.int64]
Choose = Callable[[Floats], int]


@dataclass(frozen=True)
class Spender:
    """Asks within `rho` (zCDP, Bun and Steinke 2016) of what `ledger` has left, shared out by SPLITS[`selection`]."""

    ledger: Ledger
    rho: float
    selection: str = "tree"

    @property
    def most(self) -> int:
        """Rows of a unit."""
        return self.ledger.budget.max_rows_per_unit

    def share(self, name: str) -> float:
        """The rho of a question."""
        return self.rho * SPLITS[self.selection][name]

    def counts(self, name: str, tables: Sequence[Table]) -> tuple[list[Floats], float]:
        """Noisy `tables`, in each of which a unit has at most `most` rows, and the deviation of their noise."""
        sigma = 1.0 / math.sqrt(2.0 * self.share(name))
        deviation = sigma * self.most * math.sqrt(max(1, len(tables)))
        self.ledger.spend(Release(name, sigma), tables=len(tables), deviation=round(deviation, 1))
        return [noisy_counts(table, deviation).astype(np.float64) for table in tables], deviation

    def choice(self, name: str, times: int) -> Choose:
        """Chooses, up to `times` times, a place of scores that a unit changes by at most `most`: the exponential mechanism, of
        which one of epsilon e is e^2 / 8 zCDP (Cesar and Rogers, "Bounding, concentrating, and truncating", 2021)."""
        rho = self.share(name)
        epsilon = math.sqrt(8.0 * rho / max(1, times))
        self.ledger.spend(Release(name, rho=rho), times=times, each=round(epsilon, 5))
        return lambda scores: exponential(scores, epsilon, self.most)


def exponential(scores: Floats, epsilon: float, most: int) -> int:
    """A place of `scores`, each of which a unit changes by at most `most`, by the exponential mechanism of `epsilon` (McSherry
    and Talwar, "Mechanism design via differential privacy", 2007). A score of -inf is never taken."""
    upto = np.exp(epsilon / (2.0 * most) * (scores - scores.max())).cumsum()
    return int(np.searchsorted(upto, uniforms(1)[0] * upto[-1]))


def spender_of(ledger: Ledger, shown: bool, selection: str = "tree") -> Spender:
    """What asks for all that is left, to a thousandth, as `selection` (of SPLITS) shares it out. What stands there of an
    earlier model is taken back, and if that was `shown`, kept among what earlier models had spent.

    Errors: ConfigError (nothing is left)."""
    for name in QUESTIONS:
        if name in ledger.releases:
            ledger.restart(name, shown)
            shown = False
    low, high = 0.0, ledger.budget.epsilon + math.log(1.0 / ledger.budget.delta)
    while high - low > 1e-3 * high and high > LEAST_RHO:
        middle = (low + high) / 2
        low, high = (middle, high) if ledger.allows(Release("all that is left", rho=middle)) else (low, middle)
    if low < LEAST_RHO:
        raise ConfigError("privacy.epsilon leaves nothing to measure pairs of columns by; allow more")
    return Spender(ledger, low, selection)
