"""Exposure of planted secrets (Carlini et al., "The secret sharer: evaluating and testing unintended memorization in neural
networks", USENIX Security 2019): log2 |R| - log2 rank of the secret among all of R by the model's own probability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CHANCE = 1 / np.log(2)  # bits: the mean of -log2 of a uniform share


def exposures(planted: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bits [n] for secrets of log-probability `planted` [n], each among as likely ones that were not planted, `others` [n, R].

    Ties are counted half. A secret that nothing tells apart has about 1.44 bits in the mean, the likeliest of R log2(R + 1).
    """
    above = (others > planted[:, None]).sum(1) + 0.5 * (others == planted[:, None]).sum(1)
    return np.asarray(np.log2(others.shape[1] + 1) - np.log2(above + 1))


def mean_exposure(bits: npt.NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """The mean over the secrets and its 95% interval."""
    half = 1.96 * float(bits.std(ddof=1)) / len(bits) ** 0.5
    return float(bits.mean()), (float(bits.mean()) - half, float(bits.mean()) + half)
