"""The gradient of every row by itself, for networks whose weights are used in ways that models/uses.py has no norm for: weights
shared by the steps of a sequence, tables that are looked up and multiplied with.

torch.func takes them exactly, many rows at once ("per-sample gradients": vmap of grad over a functional call); they are held
for no more rows than fit in a bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from twinlake.models.uses import shrink

MAX_FLOATS = 8_000_000  # of gradients at once: 32 MB, and intermediates beside them


def add_clipped_by_row(network: nn.Module, part: Sequence[Tensor | None], clip: float) -> Tensor:
    """Adds to `.grad` of all weights the sum over rows of the gradients of `network(*part)` [B], each scaled down to the norm
    `clip` if it is longer; returns the norms before, float32 [B]. `part`: tensors [B, ...], or None for what is not given."""
    weights = {name: p.detach() for name, p in network.named_parameters()}

    def loss(weights: dict[str, Tensor], *row: Tensor) -> Tensor:
        given = iter(row)
        alone = tuple(None if tensor is None else next(given)[None] for tensor in part)
        return torch.sum(functional_call(network, weights, alone))

    tensors = [tensor for tensor in part if tensor is not None]
    each = vmap(grad(loss), (None, *(0 for _ in tensors)))
    at_once = max(1, MAX_FLOATS // sum(p.numel() for p in weights.values()))
    norms = []
    for rows in zip(*(torch.split(tensor, at_once) for tensor in tensors), strict=True):
        grads = {name: g.flatten(1) for name, g in each(weights, *rows).items()}
        norm = torch.stack([torch.linalg.vector_norm(g, dim=1) for g in grads.values()]).norm(dim=0)
        factor = shrink(norm, clip)
        for name, parameter in network.named_parameters():
            total = (factor @ grads[name]).view_as(parameter)
            parameter.grad = total if parameter.grad is None else parameter.grad + total
        norms.append(norm)
    return torch.cat(norms)
