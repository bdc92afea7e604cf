"""The `language` family: a row is told token by token by a recurrent or attentive network, texts piece by piece.

Each step is told which place comes next, and so columns may come in any order (it differs from row to row in training):

    x_t      = E[token before] + P[place to tell] + sum of S[tokens of the closed cells known so far]
    h_t      = core(x_1 .. x_t)                            LSTM or transformer
    logits   = (W h_t) E[ids of the place] + b             the ids of that place alone, tied to the embeddings

The sum S is a memory that does not fade: what is known of a row reaches each step directly. This file holds the network and
its training loss; models/writing.py draws from it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from twinlake.core.seeds import derive, generator
from twinlake.models.cores import CORES, LanguageSettings
from twinlake.models.layout import Layout
from twinlake.models.tabular import head_groups

MAX_FLOATS = 24_000_000


class LanguageNetwork(nn.Module):
    """The network of a layout. `marginals`: log shares of the values of each closed place, then of the pieces."""

    def __init__(self, layout: Layout, settings: LanguageSettings, marginals: list[npt.NDArray[np.float32]], seed: int) -> None:
        super().__init__()
        self.offsets: Tensor
        self.where: Tensor
        self.layout, self.settings = layout, settings
        d = settings.embedding_dim
        draw = generator(derive(seed, "initial weights"))

        def normal(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.from_numpy((draw.standard_normal(shape) * scale).astype(np.float32)))

        self.embed = normal(layout.ids + 1, d, scale=1.0 / d**0.5)
        self.place = normal(layout.kinds, d, scale=1.0 / d**0.5)
        self.memory = normal(sum(layout.sizes) + 1, d, scale=0.5 / d**0.5)
        self.core = CORES[settings.core](settings, normal)
        self.out = normal(d, settings.width, scale=1.0 / settings.width**0.5)
        self.bias = nn.Parameter(torch.from_numpy(np.concatenate([*marginals, np.zeros(1, np.float32)])))
        self.register_buffer("offsets", torch.from_numpy(layout.offsets), persistent=False)
        self.register_buffer("where", torch.from_numpy(layout.where), persistent=False)
        told = [] if layout.given else list(layout.told)
        self.groups = [[told[t] for t in g] for g in head_groups(tuple(layout.sizes[p] for p in told))] if told else []
        self.group_ids = [_padded_ids(layout, group) for group in self.groups]

    def forward(self, tokens: Tensor, order: Tensor, lengths: Tensor, seen: Tensor | None, draws: Tensor | None) -> Tensor:
        """Negative log-probability of each row, float32 [B].

        `tokens` int64 [B, places]; `order` [B, T] and `lengths` [B]: see `sequences`; `seen` [B, closed]: which closed cells
        are known, where the layout has them given; `draws` float [B, embedding_dim + width] in [0, 1) decides dropout, the
        same for all steps of a row (Gal and Ghahramani, NeurIPS 2016); None turns it off.
        """
        layout, settings = self.layout, self.settings
        batch, steps = order.shape
        ids = tokens + self.offsets
        told = ids.gather(1, order)
        before = torch.cat([told.new_full((batch, 1), layout.ids), told[:, :-1]], dim=1)
        x = nn.functional.embedding(before, self.embed) + nn.functional.embedding(self.where[order], self.place)
        if layout.given:
            known = ids[:, : layout.closed]
            known = known if seen is None else torch.where(seen, known, len(self.memory) - 1)
            x = x + nn.functional.embedding(known, self.memory).sum(1)[:, None, :]
        elif layout.closed:
            closed = torch.where(order < layout.closed, told, len(self.memory) - 1)
            added = nn.functional.embedding(closed, self.memory) * (closed < len(self.memory) - 1)[..., None]
            x = x + added.cumsum(1) - added
        if draws is not None and settings.dropout_rate:
            x = x * _kept(draws[:, : settings.embedding_dim], settings.dropout_rate)[:, None, :]
        y = self.core(x)
        if draws is not None and settings.dropout_rate:
            y = y * _kept(draws[:, settings.embedding_dim :], settings.dropout_rate)[:, None, :]
        y = y @ self.out.T
        valid = torch.arange(steps, device=order.device)[None, :] < lengths[:, None]
        losses = torch.zeros(batch, dtype=y.dtype, device=y.device)
        if self.groups:
            rank = torch.zeros((batch, layout.closed + 1), dtype=torch.int64, device=order.device)
            closed_at = torch.where(valid & (order < layout.closed), order, layout.closed)
            rank = rank.scatter(1, closed_at, torch.arange(steps, device=order.device).expand(batch, -1))
            for group, group_ids in zip(self.groups, self.group_ids, strict=True):
                at = rank[:, group]
                h = y.gather(1, at[:, :, None].expand(-1, -1, y.shape[2])).transpose(0, 1)
                where = group_ids.to(order.device)
                logits = torch.bmm(h, self.embed[where].transpose(1, 2)) + _bias(self.bias, where, layout.ids)[:, None, :]
                picked = logits.gather(2, tokens[:, group].T[:, :, None]).squeeze(2)
                losses = losses + (logits.logsumexp(2) - picked).sum(0)
        if layout.texts:
            row, step = torch.nonzero(valid & (order >= layout.closed), as_tuple=True)
            first = sum(layout.sizes)
            logits = y[row, step] @ self.embed[first : layout.ids].T + self.bias[first : layout.ids]
            text = nn.functional.cross_entropy(logits, told[row, step] - first, reduction="none")
            losses = losses.index_add(0, row, text)
        return losses

    def rows_at_once(self, steps: int) -> int:
        """Rows of a forward pass over sequences of `steps` steps: few enough for a memory bound."""
        floats = steps * (6 * self.settings.width + (self.layout.pieces if self.layout.texts else 0))
        return max(8, MAX_FLOATS // max(1, floats))


def _padded_ids(layout: Layout, group: list[int]) -> Tensor:
    """The ids of the values of these places, int64 [places, most values], filled up with the id behind all."""
    out = np.full((len(group), max(layout.sizes[p] for p in group)), layout.ids, np.int64)
    for row, place in zip(out, group, strict=True):
        row[: layout.sizes[place]] = layout.offsets[place] + np.arange(layout.sizes[place])
    return torch.from_numpy(out)


def _bias(bias: Tensor, where: Tensor, pad: int) -> Tensor:
    return torch.where(where == pad, -1e9, bias[where])


def _kept(draws: Tensor, rate: float) -> Tensor:
    return (draws >= rate).to(draws.dtype) / (1.0 - rate)
