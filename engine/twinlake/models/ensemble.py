"""Several tabular networks of one table, trained side by side and drawn from as one whose logits are the mean of theirs.

Few rows leave much to the weights that a network begins with; the mean of several does not (Lakshminarayanan, Pritzel and
Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017). The members see the same
batches and differ by their first weights and dropout. Merged side by side they are one wider network: drawing knows nothing
of members.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from twinlake.models.tabular import TabularNetwork, TabularSettings

PREFIX = "network."


class Ensemble(nn.Module):
    """`settings.members` networks of the widths of `settings`, as one network of the table's columns told as many times over;
    the arguments are those of TabularNetwork."""

    def __init__(
        self,
        sizes: tuple[int, ...],
        parents: npt.NDArray[np.int64],
        settings: TabularSettings,
        log_marginals: list[npt.NDArray[np.float32]],
        seed: int,
        places: list[list[float]] | None = None,
        links: npt.NDArray[np.float32] | None = None,
    ):
        super().__init__()
        self.settings, members = settings, settings.members
        apart = np.concatenate([parents + len(sizes) * number for number in range(members)])
        beside = None if links is None else np.tile(links, (members, 1))
        self.network = TabularNetwork(
            sizes * members, apart, settings, log_marginals * members, seed, (places or []) * members, beside
        )

    def forward(self, tokens: Tensor, rank: Tensor, draws: Tensor | None) -> Tensor:
        """Negative log-probability of each token, the mean over the members, float32 [B, S]; `tokens` and `rank` as
        TabularNetwork has them, `draws` for every member. The mean of the logits does at least as well: the logarithm of the
        sum of exponentials is convex."""
        members = self.settings.members
        losses: Tensor = self.network(tokens.repeat(1, members), rank.repeat(1, members), draws)
        return losses.reshape(len(tokens), members, -1).mean(1)

    def plain(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Copies of `tensors`, named like the parameters, as the one TabularNetwork of `settings.merged` would hold them."""
        members = self.settings.members
        told = self.network.plain({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()})
        return {name: _merged(name.split(".")[0], tensor, members, self.settings.embedding) for name, tensor in told.items()}

    def rows_at_once(self, rows: int) -> int:
        """See TabularNetwork."""
        return self.network.rows_at_once(rows)


def _merged(kind: str, tensor: Tensor, members: int, width: int) -> Tensor:
    """A parameter of all members, one after the other along the first axis, as that of one network."""
    apart = tensor.reshape(members, -1, *tensor.shape[1:])
    if kind == "head_bias":
        return apart.mean(0)
    if kind == "embed":  # [values, members * width]
        return apart.permute(1, 0, 2).reshape(apart.shape[1], -1)
    if kind == "heads":  # [tokens, members * hidden, values]
        return apart.permute(1, 0, 2, 3).reshape(apart.shape[1], -1, apart.shape[3]) / members
    if apart.shape[2] == 1:  # biases of hidden units [tokens, 1, members * hidden]
        return apart.permute(1, 2, 0, 3).reshape(apart.shape[1], 1, -1)
    # products of hidden units: those of a member see its own inputs alone
    tokens, hidden = apart.shape[1], apart.shape[3]
    own = width if kind == "into" else hidden
    given = apart.shape[2] // own
    out = torch.zeros(tokens, given, members, own, members, hidden, dtype=tensor.dtype, device=tensor.device)
    for number, weight in enumerate(apart):
        out[:, :, number, :, number] = weight.reshape(tokens, given, own, hidden)
    return out.reshape(tokens, given * members * own, members * hidden)
