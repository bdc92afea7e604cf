"""Differentially private steps of training (DP-SGD): Poisson sampling, clipped rows, noise, and the ledger before each block.

Abadi et al., "Deep learning with differential privacy" (CCS 2016). Each worker owns every world-th row, draws each of them with
the same rate, adds up their clipped gradients and its share of the noise; the workers' sums, added, are divided by the
expected number of rows, never by the drawn one. Rows and noise come from the operating system's generator (train/noise.py):
nothing of them follows run.seed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from twinlake.core.seeds import generator
from twinlake.train.accounting import Release, smallest_sigma
from twinlake.train.data import Shards
from twinlake.train.ledger import Ledger
from twinlake.train.loop import Place, PrivateLearner
from twinlake.train.noise import drawn, noisy_sum

TRAINING = "training"
CLIP = 1.0


@dataclass(frozen=True)
class PrivateSteps:
    """How a step is made private, as plain data. `clip`: the longest gradient of a row; `sigma`: the noise of the sum by it;
    `rate`: with which each row is drawn; `group`: rows of a unit; `ledger`: its file."""

    clip: float
    sigma: float
    rate: float
    group: int
    ledger: str

    @property
    def release(self) -> Release:
        """One step."""
        return Release(TRAINING, self.sigma, self.rate, 1, self.group)


def private_steps(ledger: Ledger, rate: float, steps: int, clip: float, shown: bool = False) -> PrivateSteps:
    """The steps whose noise leaves, with what stands in `ledger`, nothing of its budget. `shown`: whether the model of an
    earlier training was.

    Errors: ValueError where no noise is enough."""
    budget = ledger.budget
    before = [release for name, release in ledger.releases.items() if name != TRAINING]

    def releases(sigma: float) -> list[Release]:
        return [*before, Release(TRAINING, sigma, rate, steps, budget.max_rows_per_unit)]

    sigma = smallest_sigma(releases, budget.epsilon, budget.delta)
    made = PrivateSteps(clip, sigma, rate, budget.max_rows_per_unit, str(ledger.file))
    known = ledger.releases.get(TRAINING)
    if known is not None and replace(known, steps=1) != made.release:  # a training with other settings
        ledger.restart(TRAINING, shown)
    return made


class PrivateGradients:
    """Draws the rows of a step and leaves their noisy gradient in the network."""

    def __init__(self, steps: PrivateSteps, learner: PrivateLearner, rows: int, place: Place) -> None:
        self.steps, self._learner, self._place = steps, learner, place
        self._own = np.arange(place.rank, rows, place.world)
        self._expected = steps.rate * rows

    def reserve(self, steps: int) -> bool:
        """Whether the steps up to number `steps` may be taken; then they stand in the ledger. All workers agree."""
        allowed = torch.zeros(1, device=self._place.device)
        if self._place.rank == 0:
            allowed += Ledger.open(Path(self.steps.ledger)).reserve(self.steps.release, steps, clip=self.steps.clip)
        return bool(self._place.sum(allowed))

    def sample(self) -> npt.NDArray[np.int64]:
        """Each of this worker's rows with probability `rate`: how many is binomial, may be none."""
        return self._own[drawn(len(self._own), self.steps.rate)]

    def step(self, shards: Shards, order: int) -> None:
        """Puts the sum over drawn rows of all workers, clipped, noisy and by the expected number of rows, into `.grad`."""
        index = self.sample()
        alone = Place(0, 1, self._place.device)
        to_parts = self._learner.inputs(len(index), order, generator(secrets.randbits(63)), alone)
        for part in to_parts(shards.take(index)) if len(index) else ():
            self._learner.add_clipped(part, self.steps.clip)
        self._release(list(self._learner.network.parameters()))

    def _release(self, parameters: list[nn.Parameter]) -> None:
        steps, deviation = self.steps, self.steps.sigma * self.steps.clip / self._place.world**0.5
        flat = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
        total = noisy_sum(torch.cat(flat), deviation, steps.clip)
        self._place.sum(total)
        for parameter, part in zip(parameters, torch.split(total, [p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter) / self._expected
