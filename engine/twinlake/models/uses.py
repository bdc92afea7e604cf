"""How a forward pass used its weights, so that the gradient of every row can be bounded without ever holding one.

A linear map that sees one vector of each row has a gradient of rank one for that row, whose norm is the product of two norms
(Goodfellow, "Efficient per-example gradient computations", 2015); a look-up has the gradient of what was looked up. With what
went in and the gradient of what came out, a second product of matrices gives the sum of all rows, each scaled
("book-keeping", Bu et al., "Differentially private optimization on large model at small cost", ICML 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Use(Protocol):
    """One use of weights in a forward pass over B rows; `out` is part of the graph."""

    @property
    def out(self) -> Tensor:
        """What came out."""

    def squared(self, grad: Tensor) -> Tensor:
        """The squared norm of each row's gradient of these weights, [B], by that of what came out."""

    def add(self, grad: Tensor, factor: Tensor) -> None:
        """Adds the sum over the rows, each times its `factor` [B], to the gradients of the weights."""


@dataclass(frozen=True)
class Linear:
    """T maps side by side: `given` [T, B, I] times `weight` [T, I, O] plus `bias` [T, 1, O] is `out` [T, B, O]."""

    given: Tensor
    out: Tensor
    weight: Tensor
    bias: Tensor | None

    def squared(self, grad: Tensor) -> Tensor:
        """See Use."""
        inside = self.given.detach().square().sum(2) + (1.0 if self.bias is not None else 0.0)
        return (inside * grad.square().sum(2)).sum(0)

    def add(self, grad: Tensor, factor: Tensor) -> None:
        """See Use."""
        scaled = grad * factor[None, :, None]
        _add(self.weight, torch.bmm(self.given.detach().transpose(1, 2), scaled))
        if self.bias is not None:
            _add(self.bias, scaled.sum(1, keepdim=True))


@dataclass(frozen=True)
class LookUp:
    """Rows `index` [B, S] of a table `weight` [V, D], each at most once for a row: `out` [B, S, D]."""

    index: Tensor
    out: Tensor
    weight: Tensor

    def squared(self, grad: Tensor) -> Tensor:
        """See Use."""
        return grad.square().sum((1, 2))

    def add(self, grad: Tensor, factor: Tensor) -> None:
        """See Use."""
        total = torch.zeros_like(self.weight)
        _add(self.weight, total.index_add_(0, self.index.flatten(), (grad * factor[:, None, None]).flatten(0, 1)))


def _add(weight: Tensor, grad: Tensor) -> None:
    weight.grad = grad if weight.grad is None else weight.grad + grad


def add_clipped(losses: Tensor, uses: Sequence[Use], clip: float) -> Tensor:
    """Adds to `.grad` of all used weights the sum over rows of the gradients of `losses` [B, ...], each scaled down to the norm
    `clip` if it is longer; returns the norms before, float32 [B]. `uses` must be all uses of all weights."""
    grads = torch.autograd.grad(losses.sum(), [use.out for use in uses])
    with torch.no_grad():
        squared = torch.stack([use.squared(grad) for use, grad in zip(uses, grads, strict=True)]).sum(0)
        norms = squared.sqrt()
        factor = shrink(norms, clip)
        for use, grad in zip(uses, grads, strict=True):
            use.add(grad, factor)
    return norms


def shrink(norms: Tensor, clip: float) -> Tensor:
    """What gradients of these `norms` are multiplied by so that none is longer than `clip`."""
    return (clip / norms.clamp_min(1e-12)).clamp_max(1.0)
