"""Calibration: offsets of the heads that bring the marginals of drawn rows to those of the train rows, for any family."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twinlake.models.column import Tokens
from twinlake.models.sampler import BLOCK_ROWS

CALIBRATION_TOKENS = 600


class Calibrated(Protocol):
    """What draws blocks of tokens [rows, tokens, ...] and has an offset for each value of the first ones, by `sizes`."""

    calibration: list[Tensor] | None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values of each token."""

    def draw(self, block: int, seed: int) -> Tokens:
        """Tokens of a whole block."""


def calibrate(
    sampler: Calibrated,
    marginals: list[npt.NDArray[np.float64]],
    seed: int,
    blocks: int | None = None,
    rounds: int = 3,
    rate: float = 0.8,
) -> Tensor:
    """Offsets of all heads, float32 [sum of sizes], that bring drawn marginals to the true ones.

    Each round draws `blocks` blocks (10, of wide tables down to 2) and adds rate * log(true / drawn) for each token value,
    both smoothed by half a row.
    The marginals are those of the train rows; a value never drawn keeps its offset.
    """
    total = [torch.zeros(size) for size in sampler.sizes]
    blocks = blocks or max(2, min(10, CALIBRATION_TOKENS // max(1, len(sampler.sizes))))
    drawn_rows = blocks * BLOCK_ROWS
    for round_ in range(rounds):
        sampler.calibration = total
        drawn = np.concatenate([sampler.draw(round_ * blocks + b, seed) for b in range(blocks)])
        for token, true in enumerate(marginals):
            counts = np.bincount(drawn[:, token], minlength=len(true)).astype(np.float64)
            step = np.log((true * drawn_rows + 0.5) / (counts + 0.5))
            # a few rows more or less are noise: shrink steps that the sample can't tell from zero
            weight = np.minimum(counts, true * drawn_rows) / (np.minimum(counts, true * drawn_rows) + 30.0)
            total[token] = total[token] + torch.from_numpy((rate * weight * step).astype(np.float32))
    sampler.calibration = total
    return torch.cat(total)
