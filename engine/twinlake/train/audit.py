"""Audits the claim of a private training by attacking it once (Steinke, Nasr and Jagielski, "Privacy auditing with one (1)
training run", NeurIPS 2023).

Canaries, rows unlike any other, are each put among the training rows with probability 1/2. After training the attacker takes
the likeliest for those that were there and the unlikeliest for those that were not. How often it is right bounds epsilon from
below; a bound above the claim shows that the claim is false. The steps that were taken are held against those that the ledger
counted, too: an attack can't tell a claim that is a little too low.

No real row is needed: whether steps are private does not depend on the rows, so those of the twin do.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twinlake.train.accounting import spent
from twinlake.train.data import Schedule, Shards, Tokens
from twinlake.train.dp import PrivateGradients, PrivateSteps
from twinlake.train.exposure import CHANCE, exposures
from twinlake.train.language import LanguagePlan
from twinlake.train.ledger import Ledger
from twinlake.train.loop import Place, TrainingState, take_steps
from twinlake.train.tabular import TabularPlan

CONFIDENCE = 0.95
GUESSED = 0.5  # of the canaries; of the others the attacker says nothing
MOST = 64.0


@dataclass(frozen=True)
class Audit:
    """What an attack found. `claimed`: epsilon of the steps as the ledger counted them; `counted`: from the steps that were
    taken; `lower`: what the attack shows, with 95% confidence; `exposure`: in bits, of the canaries that were trained on among
    those that were not (train/exposure.py)."""

    claimed: float
    counted: float
    delta: float
    lower: float
    canaries: int
    guesses: int
    correct: int
    exposure: float

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the claim."""
        return self.lower <= self.claimed and self.counted <= self.claimed * (1 + 1e-6)

    def to_text(self) -> str:
        """A few lines for a terminal."""
        verdict = "nothing speaks against the claim" if self.holds else "THE CLAIM IS FALSE"
        return "\n".join(
            [
                f"claimed   epsilon {self.claimed:.3g} of training, at delta {self.delta:.2g}",
                f"counted   epsilon {self.counted:.3g} from the steps that were taken",
                f"attack    epsilon at least {self.lower:.3g} with {CONFIDENCE:.0%} confidence: "
                f"{self.correct} of {self.guesses} guesses about {self.canaries} canaries were right",
                f"exposure  {self.exposure:.2f} bits of the canaries that were trained on; chance gives {CHANCE:.2f}",
                f"verdict   {verdict}",
            ]
        )


def audit(plan: TabularPlan | LanguagePlan, steps: PrivateSteps, rows: Tokens, canaries: Tokens, ledger: Ledger) -> Audit:
    """Trains `plan` with private `steps` on `rows` and a random half of `canaries` (tokens [rows, S]), in this process, and
    attacks what comes out. `ledger`: a new one, for this training alone."""
    kept = np.array([secrets.randbits(1) for _ in canaries], np.bool_)
    shards = Shards((np.concatenate([rows, canaries[kept]]),), np.array([0]), len(rows) + int(kept.sum()))
    place = Place(0, 1, torch.device("cpu"))
    prepared: Any = plan.prepare(shards, place)  # each family's own
    learner = plan.learner(prepared, place)
    own = PrivateGradients(replace(steps, ledger=str(ledger.file)), learner, shards.rows, place)
    state = TrainingState(learner, plan, [])
    schedule = Schedule(shards.rows, plan.seed, plan.batch)
    while not state.finished:
        take_steps(learner.network, state, plan, schedule, shards, place, lambda: False, own)
        state.after_block(0.0)
    with torch.inference_mode():
        for name, parameter in learner.network.named_parameters():
            parameter.copy_(state.average[name])
        # of each token or of each row; parts keep the order of the rows, which are all as long
        parts: list[Tensor] = [learner.network(*part) for part in learner.checks(canaries, 0, place)]
    scores = -torch.cat(parts).reshape(len(canaries), -1).sum(1).double().numpy()
    guesses, correct = guessed(scores, kept)
    ledger = ledger.reopened()
    claimed, delta = ledger.spent(), ledger.budget.delta
    counted = spent([replace(steps.release, steps=state.step)], delta)
    lower = lower_bound(len(canaries), guesses, correct, delta)
    others = np.broadcast_to(scores[~kept], (int(kept.sum()), int((~kept).sum())))
    exposure = float(exposures(scores[kept], others).mean())
    return Audit(claimed, counted, delta, lower, len(canaries), guesses, correct, exposure)


def guessed(scores: npt.NDArray[np.float64], kept: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """How many guesses the attacker makes, and how many are right: the highest scores are taken for kept, the lowest not."""
    side = max(1, round(len(scores) * GUESSED / 2))
    order = np.argsort(-scores, kind="stable")
    return 2 * side, int(kept[order[:side]].sum() + (~kept[order[-side:]]).sum())


def lower_bound(canaries: int, guesses: int, correct: int, delta: float) -> float:
    """The least epsilon with which so many right guesses are not too unlikely; 0 where chance explains them."""
    low, high = 0.0, MOST
    if chance(canaries, guesses, correct, 0.0, delta) > 1 - CONFIDENCE:
        return 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if chance(canaries, guesses, correct, middle, delta) <= 1 - CONFIDENCE else (low, middle)
    return low


def chance(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """The most likely that so many or more guesses are right if the training is (`epsilon`, `delta`)-private (theorem 5.2)."""
    right = 1.0 / (1.0 + math.exp(-epsilon))
    number = np.arange(guesses + 1)
    ways = np.array([math.lgamma(guesses + 1) - math.lgamma(k + 1) - math.lgamma(guesses - k + 1) for k in number])
    mass = np.exp(ways + number * math.log(right) + (guesses - number) * math.log1p(-right))
    below = np.cumsum(mass[:correct][::-1])  # of correct - i to correct - 1 right ones
    more = float((below / np.arange(1, correct + 1)).max()) if correct else 0.0
    return min(1.0, float(mass[correct:].sum()) + 2.0 * canaries * delta * more)
