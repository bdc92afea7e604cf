"""The `tabular` family: any-order autoregression whose first layer is a sum of table look-ups ("LookupAR").

Each token is predicted from the tokens that come before it in an order that may differ from row to row:

    e_i      = E_i[x_i]                                   embedding of token i
    a_j      = b_j + sum over visible parents i of l_ji W_ji e_i   additive, so it folds into tables for sampling
    h        = relu(a_j);  h += R2_j relu(R1_j h + r_j)    residual blocks (0, 1 or 2)
    logits_j = O_j h + o_j                                 o_j starts at the log marginal

Trained over random orders (Uria et al., "A deep and tractable density estimator", ICML 2014), it answers any condition
by putting the given columns first. This file holds the network and its training loss; models/sampler.py draws from it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from twinlake.core.seeds import derive, generator
from twinlake.models.places import NOWHERE, OWN, Waves, placed_tokens
from twinlake.models.uses import Linear, LookUp, Use

ALL_PARENTS_UP_TO = 48
MAX_FLOATS = 24_000_000


@dataclass(frozen=True)
class TabularSettings:
    """Size of the network; `embedding` and `hidden` are widths, `blocks` residual blocks, dropouts are rates, `decay` the
    weight decay of AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019), `members` how many
    networks of these widths are trained side by side (models/ensemble.py)."""

    embedding: int = 16
    hidden: int = 64
    blocks: int = 1
    dropout: float = 0.1
    token_dropout: float = 0.05
    decay: float = 1e-4
    members: int = 1

    @property
    def merged(self) -> TabularSettings:
        """Those of the one network that the members are drawn from as."""
        return replace(self, embedding=self.embedding * self.members, hidden=self.hidden * self.members, members=1)


SIZES = {"s": TabularSettings(8, 32, 0), "m": TabularSettings(16, 64, 1), "l": TabularSettings(16, 128, 1)}
MANY_ROWS = 50_000
WIDE_ROWS = 10_000
LONG_ROW = 512
"""Tokens of a row above which auto stays at the middle width: each takes 0.5 MB of weights at the large one, and a training
worker holds six times the weights."""
ENSEMBLE_ROWS = 2_000
MEMBERS = 5
DECAY = 7.5


def settings_for(size: str, rows: int, sizes: tuple[int, ...], batch: int) -> TabularSettings:
    """The settings of `size`; auto starts without a block where rows are few enough for trials to ask for one, and takes
    width and a block for many finely binned numbers, unless rows are long.

    The decay of few rows is DECAY * sqrt(batch / rows): the gradient of a weight that has nothing to learn still has a mean
    over the rows, of about sqrt(batch / rows) of what it is in one batch, and that is what decay must outweigh. The fewest rows
    get an ensemble: one network of them says more about its seed.
    """
    few = rows < MANY_ROWS
    if size == "auto":
        fine = sum(s > 48 for s in sizes)
        wide = fine >= 8 and rows >= WIDE_ROWS and len(sizes) <= LONG_ROW
        chosen = SIZES["l"] if wide else replace(SIZES["m"], blocks=0) if few else SIZES["m"]
    else:
        chosen = SIZES[size]
    members = MEMBERS if rows < ENSEMBLE_ROWS else 1
    return replace(chosen, decay=DECAY * (batch / rows) ** 0.5, members=members) if few else chosen


class TabularNetwork(nn.Module):
    """The network for tokens of `sizes` [S]; `parents` is int64 [S, K], the tokens that each token may look at, `links` [S, K]
    in [0, 1] how strongly it begins to (train/links.py; None: wholly); `places` (models/places.py) of the values of numbers
    make these share what is learned."""

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
        self.parents: Tensor
        self.links: Tensor
        self.offsets: Tensor
        self.sizes, self.settings, self.places = sizes, settings, places or []
        tokens, width, hidden = len(sizes), settings.embedding, settings.hidden
        self.register_buffer("parents", torch.from_numpy(parents), persistent=False)
        self.register_buffer(
            "offsets", torch.tensor(np.concatenate([[0], np.cumsum(sizes)[:-1]]), dtype=torch.int64), persistent=False
        )
        self.register_buffer("links", torch.ones(parents.shape) if links is None else torch.from_numpy(links), persistent=False)
        draw = generator(derive(seed, "initial weights"))

        def normal(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.from_numpy((draw.standard_normal(shape) * scale).astype(np.float32)))

        fan = parents.shape[1] * width
        self.embed = normal(sum(sizes), width, scale=1.0)
        self.into = normal(tokens, fan, hidden, scale=(2.0 / fan) ** 0.5)
        self.into_bias = nn.Parameter(torch.zeros(tokens, 1, hidden))
        self.blocks = nn.ParameterList()
        for _ in range(settings.blocks):
            self.blocks.append(normal(tokens, hidden, hidden, scale=(2.0 / hidden) ** 0.5))
            self.blocks.append(nn.Parameter(torch.zeros(tokens, 1, hidden)))
            self.blocks.append(nn.Parameter(torch.zeros(tokens, hidden, hidden)))
        # heads are padded to the widest of their group, so that a group is one batched product
        self.groups = head_groups(sizes)
        self.heads = nn.ParameterList(
            normal(len(g), hidden, max(sizes[t] for t in g), scale=0.3 / hidden**0.5) for g in self.groups
        )
        self.head_bias = nn.ParameterList(nn.Parameter(_padded([log_marginals[t] for t in g])) for g in self.groups)
        placed = placed_tokens(places or [])
        self.waves = Waves(sizes, self.groups, places or [], width, hidden, normal) if placed else None
        with torch.no_grad():
            for t in placed:
                own = torch.where(torch.tensor((places or [])[t]) == NOWHERE, 1.0, OWN)
                self.embed[self.offsets[t] : self.offsets[t] + sizes[t]] *= own[:, None]

    def plain(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Copies of `tensors`, named like the parameters, as a network with full links and without waves would hold them."""
        out = {n: t.detach().clone() for n, t in tensors.items() if not n.startswith("waves.")}
        out["into"] *= self.links.repeat_interleave(self.settings.embedding, dim=1)[:, :, None]
        if self.waves is not None:
            with torch.no_grad():
                out["embed"] = self.waves.embedding(tensors["embed"], tensors["waves.into"])
                for n in range(len(self.groups)):
                    out[f"heads.{n}"] = self.waves.head(n, tensors[f"heads.{n}"], tensors[f"waves.out.{n}"])
        return out

    def forward(self, tokens: Tensor, rank: Tensor, draws: Tensor | None, uses: list[Use] | None = None) -> Tensor:
        """Negative log-probability of each token, float32 [B, S].

        `tokens` int64 [B, S]; `rank` [B, S] is the place of each token in the row's order; `draws` float [B, S + S * H] in
        [0, 1) decides dropout, None turns it off. `uses` takes every use of the weights (of a network without waves).
        """
        batch, count = tokens.shape
        settings = self.settings
        table = self.embed if self.waves is None else self.waves.embedding(self.embed)
        embedded = nn.functional.embedding(tokens + self.offsets, table)
        if uses is not None:
            uses.append(LookUp(tokens + self.offsets, embedded, self.embed))
        visible = rank[:, self.parents] < rank[:, :, None]
        if draws is not None:
            keep = draws[:, :count] >= settings.token_dropout
            visible = visible & keep[:, self.parents]
        weights = visible.permute(1, 0, 2) * self.links[:, None, :]
        inputs = embedded.permute(1, 0, 2)[self.parents].permute(0, 2, 1, 3) * weights[..., None]
        h = _linear(inputs.reshape(count, batch, -1), self.into, self.into_bias, uses).relu()
        if draws is not None and settings.dropout:
            kept = draws[:, count:].reshape(batch, count, -1).permute(1, 0, 2) >= settings.dropout
            h = h * kept / (1.0 - settings.dropout)
        for i in range(0, len(self.blocks), 3):
            inner = _linear(h, self.blocks[i], self.blocks[i + 1], uses).relu()
            h = _linear(inner, self.blocks[i + 2], h, uses)
        losses = torch.empty(count, batch, dtype=h.dtype, device=h.device)
        for number, (group, own, bias) in enumerate(zip(self.groups, self.heads, self.head_bias, strict=True)):
            head = own if self.waves is None else self.waves.head(number, own)
            logits = _linear(h[group], head, bias, uses)
            picked = logits.gather(2, tokens.T[group][:, :, None]).squeeze(2)
            losses[group] = logits.logsumexp(2) - picked
        return losses.T

    def rows_at_once(self, rows: int) -> int:
        """Rows of each forward pass over `rows` rows: few enough for a memory bound, and about as many in each."""
        most = max(16, MAX_FLOATS // (len(self.sizes) * self.parents.shape[1] * self.settings.embedding))
        return max(1, -(-rows // max(1, -(-rows // most))))


def _linear(given: Tensor, weight: Tensor, plus: Tensor, uses: list[Use] | None) -> Tensor:
    out = torch.baddbmm(plus, given, weight)
    if uses is not None:
        uses.append(Linear(given, out, weight, plus if isinstance(plus, nn.Parameter) else None))
    return out


def head_groups(sizes: tuple[int, ...]) -> list[list[int]]:
    """Token positions grouped by the width of their heads (up to 8, 32, 128, 512)."""
    limits = (8, 32, 128, 1 << 16)
    chosen = [next(i for i, limit in enumerate(limits) if size <= limit) for size in sizes]
    return [[t for t, c in enumerate(chosen) if c == i] for i in range(len(limits)) if i in chosen]


def _padded(marginals: list[npt.NDArray[np.float32]]) -> Tensor:
    out = np.full((len(marginals), 1, max(map(len, marginals))), -1e9, np.float32)
    for row, values in zip(out, marginals, strict=True):
        row[0, : len(values)] = values
    return torch.from_numpy(out)


def choose_parents(
    slots: tuple[tuple[int, ...], ...], information: npt.NDArray[np.float64], seed: int
) -> npt.NDArray[np.int64]:
    """The tokens that each token may look at, int64 [S, K].

    All of them up to 48 tokens: a token left out to save little work may be the only link between others. Above, the tokens of
    the columns with the most mutual information (`information` [C, C], nats, from the pairwise counts), of the own column, and
    of two random columns (for structure that pairs do not show).
    """
    column_of = [c for c, s in enumerate(slots) for _ in s]
    count = len(column_of)
    if count <= ALL_PARENTS_UP_TO:
        return np.tile(np.arange(count, dtype=np.int64), (count, 1))
    keep = 24 if count > 250 else 32
    draw = generator(derive(seed, "parents"))
    out = np.zeros((count, keep), np.int64)
    for token, column in enumerate(column_of):
        ranked = [c for c in np.argsort(-information[column], kind="stable") if c != column]
        extra = list(draw.permutation(ranked[keep // 2 :])[:2]) if len(ranked) > keep // 2 else []
        chosen = list(slots[column])
        for c in [*extra, *ranked]:
            chosen += [t for t in slots[c] if t not in chosen]
        out[token] = (chosen + [token] * keep)[:keep]
    return out


def orders_of(
    columns: list[int],
    slots: tuple[tuple[int, ...], ...],
    sizes: tuple[int, ...],
    information: npt.NDArray[np.float64],
    seed: int,
) -> list[list[int]]:
    """Candidates for the canonical column order: the table's own, by vocabulary up and down, and chained by information."""
    width = {c: max(sizes[t] for t in slots[c]) for c in columns}
    chain = [max(columns, key=lambda c: (information[c].sum(), -c))]
    while len(chain) < len(columns):
        rest = [c for c in columns if c not in chain]
        chain.append(max(rest, key=lambda c: (information[c, chain].max(), -c)))
    draw = generator(derive(seed, "orders"))
    shuffled = [list(map(int, draw.permutation(columns))) for _ in range(2)]
    return [
        list(columns),
        sorted(columns, key=lambda c: (width[c], c)),
        sorted(columns, key=lambda c: (-width[c], c)),
        chain,
        chain[::-1],
        *shuffled,
    ]


def ranks_of(order: list[int], slots: tuple[tuple[int, ...], ...]) -> npt.NDArray[np.int64]:
    """The place of each token when columns come in `order` and a column's tokens in their own."""
    place = [t for c in order for t in slots[c]]
    out = np.zeros(len(place), np.int64)
    out[place] = np.arange(len(place))
    return out


def model_facts(
    sizes: tuple[int, ...],
    parents: npt.NDArray[np.int64],
    settings: TabularSettings,
    order: list[int],
    slots: tuple[tuple[int, ...], ...],
) -> dict[str, Any]:
    """What model.json must hold to rebuild the network and draw from it."""
    return {
        "sizes": list(sizes),
        "parents": parents.tolist(),
        "settings": asdict(settings),
        "order": order,
        "slots": [list(s) for s in slots],
    }
