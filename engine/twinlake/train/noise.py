"""Noise for differential privacy: Gaussian, released on a declared grid, and the draw of a step's rows. All of it comes from
the operating system's generator, a cryptographic one.

Textbook noise on floats leaks through its low bits (Mironov, "On significance of the least significant bits for differential
privacy", CCS 2012). So whatever is released here is an integer multiple of a granularity: a number on the grid plus Gaussian
noise rounded to the grid is the rounded answer of the Gaussian mechanism, which is post-processing of it, and has the same
support for every input. None of it follows run.seed, and no seed can be given.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # Spark tasks import this module for counts alone
    from torch import Tensor

GRADIENT_BITS = 20  # released sums of gradients are multiples of the clipping norm * 2^-20


def uniforms(count: int) -> npt.NDArray[np.float64]:
    """`count` numbers in (0, 1] of 53 bits from the operating system's generator, float64."""
    bits = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(11)
    return np.asarray((bits.astype(np.float64) + 1.0) * 2.0**-53)


def gaussians(count: int) -> npt.NDArray[np.float64]:
    """`count` standard normal numbers, float64 (Box and Muller 1958). Beyond 8.5 nothing is drawn: less than 2^-52 of the
    mass."""
    half = (count + 1) // 2
    radius, angle = np.sqrt(-2.0 * np.log(uniforms(half))), 2.0 * np.pi * uniforms(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def noisy_counts(counts: npt.ArrayLike, deviation: float) -> npt.NDArray[np.int64]:
    """Whole `counts` of any shape plus Gaussian noise of standard deviation `deviation` (rows), rounded to whole numbers; int64
    of the same shape, negative ones too. For counts that one unit changes by at most D in the Euclidean norm, this is the
    Gaussian mechanism with noise multiplier `deviation` / D."""
    exact = np.asarray(counts)
    if not np.issubdtype(exact.dtype, np.integer):
        raise TypeError(f"counts must be integers, got {exact.dtype}")
    noise = np.rint(deviation * gaussians(exact.size)).astype(np.int64)
    return np.asarray(exact.astype(np.int64) + noise.reshape(exact.shape), np.int64)


def drawn(count: int, rate: float) -> npt.NDArray[np.int64]:
    """Those of the numbers below `count` that a coin of chance `rate` each lets through, in order, int64: a Poisson sample.

    What lies between two of them is geometric (Devroye, "Non-uniform random variate generation", 1986, chapter X.2), so it
    costs as much as what is drawn."""
    ends = [np.full(1, -1, np.int64)]
    while ends[-1][-1] < count:
        more = int(1.1 * rate * (count - 1 - ends[-1][-1])) + 10
        with np.errstate(divide="ignore"):
            gaps = np.minimum(np.log(uniforms(more)) / np.log1p(-rate), float(count))
        ends.append(ends[-1][-1] + np.cumsum(np.maximum(1, np.ceil(gaps)).astype(np.int64)))
    every = np.concatenate(ends[1:]) if count else np.empty(0, np.int64)
    return np.asarray(every[every < count])


def noisy_sum(total: Tensor, deviation: float, clip: float) -> Tensor:
    """A sum of clipped gradients plus Gaussian noise of standard deviation `deviation`, rounded to multiples of `clip` *
    2^-20; a new tensor of the same shape and type."""
    import torch

    grid = 2.0 ** (np.floor(np.log2(clip)) - GRADIENT_BITS)
    noise = torch.from_numpy(deviation * gaussians(total.numel())).reshape(total.shape).to(total)
    out: Tensor = torch.round((total + noise) / grid) * grid
    return out
