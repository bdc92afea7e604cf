"""What the tabular family brings to the training loop: its plan, its network with random orders, and the choice of settings.

A block between the layers or a weaker decay helps some tables and harms others, and rows and columns do not tell which. Where
rows are few enough for it to be cheap, each is tried for a few steps and judged by validation rows that no trial has seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twinlake.core.seeds import derive, permute
from twinlake.models.continuing import start_from
from twinlake.models.ensemble import Ensemble
from twinlake.models.tabular import TabularNetwork, TabularSettings, ranks_of
from twinlake.models.uses import Use, add_clipped
from twinlake.train.data import Shards, Tokens
from twinlake.train.loop import Inputs, Place, Plan

COUNT_ROWS = 2_000_000
BLOCK_GAIN = {"few": 0.05, "many": 0.1}
MANY = 20_000
DECAY_GAIN = 0.03
WEAKER = 0.25
Settings = dict[str, Any]
Shares = list[npt.NDArray[np.float64]]


@dataclass(frozen=True)
class TabularPlan(Plan):
    """What workers need to train a tabular network. `earlier`: a model to start from."""

    sizes: tuple[int, ...]
    slots: tuple[tuple[int, ...], ...]
    parents: list[list[int]]
    links: list[list[float]]
    orders: list[list[int]]
    places: list[list[float]]
    trial_steps: int
    earlier: dict[str, Any] | None = None

    @classmethod
    def read(cls, raw: dict[str, Any]) -> TabularPlan:
        """The plan that travelled as JSON."""
        return cls(**{**raw, "sizes": tuple(raw["sizes"]), "slots": tuple(map(tuple, raw["slots"]))})

    def trial(self, settings: Settings) -> TabularPlan:
        """A short training of its own with `settings`."""
        return replace(self, settings=settings, steps=self.trial_steps, checks=1, orders=self.orders[:1])

    def prepare(self, shards: Shards, place: Place) -> Shares:
        """What every network of this plan begins with: the marginals, which the driver also needs."""
        shares = marginals(shards, self) if self.shares is None else [np.array(s) for s in self.shares]
        if place.rank == 0:
            save_marginals(shares, self)
        return shares

    def learner(self, shares: Shares, place: Place) -> TabularLearner:
        """The network at its start."""
        settings, start = TabularSettings(**self.settings), log_marginals(shares)
        links = np.array(self.links, np.float32)
        kind = Ensemble if settings.members > 1 else TabularNetwork
        network = kind(self.sizes, np.array(self.parents), settings, start, self.seed, self.places, links)
        if self.earlier and isinstance(network, TabularNetwork):
            folder = Path(self.earlier["folder"])
            start_from(network, folder, json.loads((folder / "model.json").read_text()), self.earlier["tokens"])
        return TabularLearner(network.to(place.device), self)


class TabularLearner:
    """A tabular network in training: see Learner."""

    mixed = False

    def __init__(self, network: TabularNetwork | Ensemble, plan: TabularPlan) -> None:
        self._network, self._plan = network, plan
        self.decay, self.orders = network.settings.decay, len(plan.orders)

    @property
    def network(self) -> TabularNetwork | Ensemble:
        """See Learner."""
        return self._network

    def inputs(self, rows: int, order: int, draws: np.random.Generator, place: Place) -> Callable[[Tokens], Iterator[Inputs]]:
        """Tokens, the place of each in its row's order, and numbers that decide dropout."""
        ranks = place.mine(random_ranks(rows, self._plan, order, draws))
        settings = self.network.settings
        drops = settings.dropout or settings.token_dropout
        width = settings.members * len(self._plan.sizes) * (1 + settings.hidden) if drops else 0
        dropout = place.mine(draws.random((rows, width), dtype=np.float32))

        def parts(tokens: Tokens) -> Iterator[Inputs]:
            at_once = self.network.rows_at_once(len(tokens))
            arrays = (tokens.astype(np.int64), ranks, dropout)
            for told, rank, drawn in zip(*(torch.split(torch.from_numpy(a), at_once) for a in arrays), strict=True):
                yield told.to(place.device), rank.to(place.device), drawn.to(place.device) if drops else None

        return parts

    def checks(self, tokens: Tokens, order: int, place: Place) -> Iterator[Inputs]:
        """All rows in the candidate `order`."""
        ranks = torch.from_numpy(ranks_of(self._plan.orders[order], self._plan.slots)).to(place.device)
        rows = torch.from_numpy(tokens.astype(np.int64)).to(place.device)
        for part in torch.split(rows, self.network.rows_at_once(len(rows))):
            yield part, ranks.expand(len(part), -1), None

    def plain(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See Learner."""
        return self.network.plain(tensors)

    def add_clipped(self, part: Inputs, clip: float) -> None:
        """See PrivateLearner."""
        uses: list[Use] = []
        add_clipped(self.network(*part, uses), uses, clip)


def random_ranks(rows: int, plan: TabularPlan, canonical: int, draws: np.random.Generator) -> npt.NDArray[np.int64]:
    """The place of each token in each row's order, int64 [rows, S]: half the rows canonical, half uniformly random
    columns."""
    keys = draws.random((rows, len(plan.orders[0])))
    position = {c: i for i, c in enumerate(plan.orders[canonical])}
    columns = sorted(plan.orders[0])
    straight = np.array([position[c] for c in columns], float)
    keys[draws.random(rows) < 0.5] = straight / len(straight)
    by_token = np.concatenate(
        [
            np.tile(keys[:, i : i + 1], (1, len(plan.slots[c]))) + np.arange(len(plan.slots[c])) * 1e-9
            for i, c in enumerate(columns)
        ],
        axis=1,
    )
    return np.argsort(np.argsort(by_token, axis=1, kind="stable"), axis=1, kind="stable")


def choose_settings(
    first: Settings, rows: int, trial: Callable[[Settings], float | None]
) -> tuple[Settings, list[dict[str, Any]]]:
    """The settings that trials favour, and the trials: each one's settings and validation loss in nats a row.

    Tried are `first`, the same with a block if it has none, and the better of both with a quarter of the decay. A block must
    gain BLOCK_GAIN nats a row, since it slows drawing down (which matters less for tables of few rows); the weaker decay
    DECAY_GAIN, since short trials show little of what many steps learn by heart. A trial without a loss ran out of time, and
    ends the search.
    """
    trials: list[dict[str, Any]] = []
    best = first

    def tried(settings: Settings) -> float | None:
        loss = trial(settings)
        if loss is not None:
            trials.append({"settings": settings, "validation_loss": loss})
        return loss

    lowest = tried(best)
    changes: list[tuple[Callable[[Settings], Settings], float]] = [
        (lambda s: {**s, "blocks": 1}, BLOCK_GAIN["few" if rows < MANY else "many"]),
        (lambda s: {**s, "decay": s["decay"] * WEAKER}, DECAY_GAIN),
    ]
    if first["blocks"]:
        del changes[0]
    for change, gain in changes:
        loss = None if lowest is None else tried(change(best))
        if loss is None or lowest is None:
            break
        if loss < lowest - gain:
            best, lowest = change(best), loss
    return best, trials


def marginals(shards: Shards, plan: TabularPlan) -> Shares:
    """The share of each value of each token among the rows (among 2 million of them at most)."""
    counts = [np.zeros(size) for size in plan.sizes]
    index = (
        np.arange(shards.rows)
        if shards.rows <= COUNT_ROWS
        else permute(np.arange(COUNT_ROWS), shards.rows, derive(plan.seed, "marginals"))
    )
    for start in range(0, len(index), 100_000):
        tokens = shards.take(index[start : start + 100_000])
        for t, count in enumerate(counts):
            count += np.bincount(tokens[:, t], minlength=len(count))
    return [count / count.sum() for count in counts]


def save_marginals(shares: Shares, plan: TabularPlan) -> None:
    """Leaves the marginals for the driver, which must not read the shards: mapped pages would count as its memory."""
    file = Path(plan.progress).with_name("marginals.npz")
    temporary = file.with_name(".marginals.tmp.npz")
    np.savez(temporary, *shares)
    temporary.replace(file)


def log_marginals(shares: Shares) -> list[npt.NDArray[np.float32]]:
    """Where the heads start: log shares, no value below one in ten million."""
    return [np.log(np.maximum(share, 1e-7)).astype(np.float32) for share in shares]
