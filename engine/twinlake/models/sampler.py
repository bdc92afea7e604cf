"""Draws rows from a trained tabular network, block by block.

At load time the first layer is folded: for each target a table of E_i W_ji over all parents' values, so that drawing never
multiplies embeddings. A block is 4,096 rows whose randomness is Philox keyed by (seed, block, attempt): the same rows come
out on any task, in any order. Single-threaded torch; knows nothing of Spark or of files but the model folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twinlake.core.seeds import generator
from twinlake.models.codec import Tokens

BLOCK_ROWS = 4_096


@dataclass(frozen=True)
class Given:
    """A condition on one column: the share that may be drawn of each value of its first token, float64 [V0], and of each
    pair with its second one, float64 [V0, V1]. 0 is never drawn; what lies between (a bin that a range cuts) is drawn as
    much less often."""

    column: int
    first: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class _Target:
    """One token: its folded table and head."""

    parents: list[int]
    starts: list[int]
    table: Tensor
    bias: Tensor
    blocks: list[tuple[Tensor, Tensor, Tensor]]
    head: Tensor
    head_bias: Tensor


@dataclass
class TabularSampler:
    """A folded network. `order` is the canonical column order, `slots` the tokens of each column. `calibration`: an offset
    of each head, for unconditional draws only."""

    sizes: tuple[int, ...]
    slots: tuple[tuple[int, ...], ...]
    order: list[int]
    targets: list[_Target]
    calibration: list[Tensor] | None = None

    @classmethod
    def fold(
        cls, weights: dict[str, Tensor], facts: dict[str, Any], drawable: dict[int, npt.NDArray[np.bool_]]
    ) -> TabularSampler:
        """The sampler of saved `weights` and the `facts` of model.json; `drawable`: what may be drawn of each column's
        first token."""
        sizes = tuple(facts["sizes"])
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        width, blocks = facts["settings"]["embedding"], facts["settings"]["blocks"]
        heads, biases = _heads(weights, sizes)
        for column, allowed in drawable.items():
            token = facts["slots"][column][0]
            biases[token] = torch.where(torch.from_numpy(allowed), biases[token], torch.tensor(-torch.inf))
        targets = []
        for t, parents in enumerate(facts["parents"]):
            parents = list(dict.fromkeys(parents))
            into = weights["into"][t].reshape(-1, width, weights["into"].shape[2])
            tables, starts, start = [], [], 0
            for k, parent in enumerate(parents):
                tables.append(weights["embed"][offsets[parent] : offsets[parent + 1]] @ into[k])
                starts.append(start)
                start += sizes[parent]
            named = [[weights[f"blocks.{3 * b + i}"][t] for i in range(3)] for b in range(blocks)]
            layers = [(a, b, c) for a, b, c in named]
            targets.append(_Target(parents, starts, torch.cat(tables), weights["into_bias"][t, 0], layers, heads[t], biases[t]))
        calibration = (
            [weights["calibration"][offsets[t] : offsets[t + 1]] for t in range(len(sizes))]
            if "calibration" in weights
            else None
        )
        return cls(sizes, tuple(map(tuple, facts["slots"])), facts["order"], targets, calibration)

    def draw(self, block: int, seed: int, attempt: int = 0, given: Sequence[Given] = (), rows: int = BLOCK_ROWS) -> Tokens:
        """Tokens of a whole block, uint16 [rows, S]; `given` columns come first in the order and take allowed values only."""
        uniforms = torch.from_numpy(generator(seed, block, attempt).random((len(self.sizes), rows), dtype=np.float32)).clamp_(
            max=1.0 - 1e-6
        )
        values = torch.zeros((len(self.sizes), rows), dtype=torch.int64)
        first = [g.column for g in given]
        order = first + [c for c in self.order if c not in first]
        wanted = {self.slots[g.column][0]: _log(g.first) for g in given}
        wanted |= {self.slots[g.column][1]: _log(g.second) for g in given if g.second is not None}
        seen: list[int] = []
        with torch.inference_mode():
            for column in order:
                for token in self.slots[column]:
                    shares = wanted.get(token)
                    if shares is not None and shares.dim() == 2:  # of the second token, given the first
                        shares = shares[values[self.slots[column][0]]]
                    values[token] = self._draw_token(token, seen, values, uniforms[token], shares, not given)
                    seen.append(token)
        return values.T.to(torch.uint16).numpy()

    def _draw_token(
        self, token: int, seen: list[int], values: Tensor, uniform: Tensor, shares: Tensor | None, calibrated: bool
    ) -> Tensor:
        if shares is not None and shares.dim() == 1 and int(shares.isfinite().sum()) == 1:
            return torch.full_like(values[token], int(shares.argmax()))
        target = self.targets[token]
        visible = [(p, s) for p, s in zip(target.parents, target.starts, strict=True) if p in seen]
        if visible:
            ids = torch.stack([values[p] + s for p, s in visible], dim=1)
            h = torch.nn.functional.embedding_bag(ids, target.table, mode="sum").add_(target.bias).relu_()
        else:  # nothing is known yet: one row serves all
            h = target.bias.relu()[None, :]
        for first, bias, second in target.blocks:
            h = torch.addmm(h, torch.addmm(bias, h, first).relu_(), second)
        bias = target.head_bias if self.calibration is None or not calibrated else target.head_bias + self.calibration[token]
        logits = torch.addmm(bias, h, target.head)
        if shares is not None:
            logits = logits + shares
        logits -= logits.amax(1, keepdim=True)
        cumulative = logits.exp_().cumsum(1)
        if len(cumulative) == 1:
            cumulative = cumulative.expand(len(uniform), -1).contiguous()
        return torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0]


def _log(shares: npt.NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(shares.astype(np.float32)).log_()


def _heads(weights: dict[str, Tensor], sizes: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """The heads without the padding of their groups."""
    from twinlake.models.tabular import head_groups

    heads: list[Tensor] = [torch.empty(0)] * len(sizes)
    biases: list[Tensor] = [torch.empty(0)] * len(sizes)
    for number, group in enumerate(head_groups(sizes)):
        for place, token in enumerate(group):
            heads[token] = weights[f"heads.{number}"][place, :, : sizes[token]].contiguous()
            biases[token] = weights[f"head_bias.{number}"][place, 0, : sizes[token]].contiguous()
    return heads, biases


def calibrate(
    sampler: TabularSampler,
    marginals: list[npt.NDArray[np.float64]],
    seed: int,
    blocks: int = 10,
    rounds: int = 3,
    rate: float = 0.8,
) -> Tensor:
    """Offsets of all heads, float32 [sum of sizes], that bring drawn marginals to the true ones.

    Each round draws `blocks` blocks and adds rate * log(true / drawn) for each token value, both smoothed by half a row.
    The marginals are those of the train rows; a value never drawn keeps its offset.
    """
    total = [torch.zeros(size) for size in sampler.sizes]
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
