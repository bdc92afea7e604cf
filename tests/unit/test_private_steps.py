"""Private steps of training: clipped gradients against per-row ones, noise, Poisson batches, blocks in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from twinlake.core.seeds import generator
from twinlake.models.tabular import TabularNetwork, TabularSettings
from twinlake.models.uses import Linear, LookUp, Use, add_clipped
from twinlake.train import loop
from twinlake.train.data import Schedule, Shards
from twinlake.train.dp import PrivateGradients, PrivateSteps, private_steps
from twinlake.train.ledger import Budget, Ledger
from twinlake.train.tabular import TabularLearner, TabularPlan

SIZES = (3, 40, 7, 7)
HERE = loop.Place(0, 1, torch.device("cpu"))
EVERY = list(range(len(SIZES)))


def network_of(blocks: int = 1) -> TabularNetwork:
    links = generator(5).random((len(SIZES), len(SIZES))).astype(np.float32)
    start = [np.zeros(s, np.float32) for s in SIZES]
    settings = TabularSettings(4, 8, blocks, 0.0, 0.0)
    network = TabularNetwork(SIZES, np.tile(np.arange(len(SIZES)), (len(SIZES), 1)), settings, start, 2, None, links)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return network


def rows_of(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(3)
    tokens = np.stack([draw.integers(0, size, count) for size in SIZES], axis=1).astype(np.int64)
    ranks = np.argsort(draw.random((count, len(SIZES))), axis=1).astype(np.int64)
    return torch.from_numpy(tokens), torch.from_numpy(ranks)


def gradients_by_row(network: TabularNetwork, tokens: torch.Tensor, ranks: torch.Tensor) -> dict[str, torch.Tensor]:
    """The oracle: one gradient for each row, [rows, ...]."""

    def loss(parameters: dict[str, torch.Tensor], row: torch.Tensor, rank: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.func.functional_call(network, parameters, (row[None], rank[None], None))
        return out.sum()

    parameters = {n: p.detach() for n, p in network.named_parameters()}
    per_row = [torch.func.grad(loss)(parameters, t, r) for t, r in zip(tokens, ranks, strict=True)]
    return {n: torch.stack([g[n] for g in per_row]) for n in parameters}


@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize("clip", [0.5, 3.0, 1e6])
def test_clipped_sums_equal_those_of_per_row_gradients(blocks: int, clip: float) -> None:
    network, (tokens, ranks) = network_of(blocks), rows_of(24)
    oracle = gradients_by_row(network, tokens, ranks)
    norms = torch.stack([g.flatten(1).square().sum(1) for g in oracle.values()]).sum(0).sqrt()
    factor = (clip / norms).clamp(max=1.0)
    uses: list[Use] = []
    found = add_clipped(network(tokens, ranks, None, uses), uses, clip)
    torch.testing.assert_close(found, norms, rtol=1e-4, atol=1e-4)
    for name, parameter in network.named_parameters():
        wanted = (oracle[name] * factor.view(-1, *[1] * (oracle[name].dim() - 1))).sum(0)
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_clipped_sums_equal_those_of_opacus() -> None:
    """A table, a linear map with a bias and one without, as opacus knows them."""
    from opacus.grad_sample import GradSampleModule

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.first, self.second = nn.Embedding(9, 5), nn.Linear(5, 6), nn.Linear(6, 1, bias=False)

        def forward(self, index: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.second(torch.tanh(self.first(self.table(index))))
            return out

    torch.manual_seed(4)
    index, plain = torch.randint(0, 9, (12,)), Plain()
    theirs = GradSampleModule(plain, loss_reduction="sum")
    theirs(index).square().sum().backward()
    samples = [p.grad_sample for p in plain.parameters()]
    norms = torch.stack([s.flatten(1).square().sum(1) for s in samples]).sum(0).sqrt()
    clip = float(norms.median())
    wanted = [torch.einsum("b...,b->...", s, (clip / norms).clamp(max=1.0)) for s in samples]
    table = plain.table.weight.detach().clone().requires_grad_()
    maps = [(m.weight.detach().T[None].clone().requires_grad_()) for m in (plain.first, plain.second)]
    bias = plain.first.bias.detach()[None, None].clone().requires_grad_()
    looked = nn.functional.embedding(index[:, None], table)
    given = looked.transpose(0, 1)
    hidden = torch.baddbmm(bias, given, maps[0])
    out = torch.bmm(torch.tanh(hidden), maps[1])
    uses = [
        LookUp(index[:, None], looked, table),
        Linear(given, hidden, maps[0], bias),
        Linear(torch.tanh(hidden), out, maps[1], None),
    ]
    add_clipped(out[0].square(), uses, clip)
    for own, want in zip((table.grad, maps[0].grad[0].T, bias.grad.flatten(), maps[1].grad[0].T), wanted, strict=True):
        torch.testing.assert_close(own, want, rtol=1e-4, atol=1e-5)


# -- the loop ----------------------------------------------------------------------------------------------------------


def shards_of(rows: int = 400) -> Shards:
    tokens = np.stack([generator(4).integers(0, size, rows) for size in SIZES], axis=1).astype(np.uint16)
    return Shards((tokens,), np.array([0]), rows)


def plan_of(steps: int = 8) -> TabularPlan:
    return TabularPlan(
        family="tabular",
        shards="unused",
        progress="unused",
        settings=asdict(TabularSettings(4, 8, 1, 0.0, 0.0)),
        seed=6,
        batch=64,
        steps=steps,
        rate=3e-3,
        checks=4,
        patience=4,
        max_seconds=None,
        stops_early=False,
        limits=[],
        sizes=SIZES,
        slots=tuple((t,) for t in EVERY),
        parents=[EVERY] * len(SIZES),
        links=[[1.0] * len(SIZES)] * len(SIZES),
        orders=[EVERY],
        places=[],
        trial_steps=0,
    )


def private(
    clip: float = 1.0, sigma: float = 2.0, rate: float = 0.1, rows: int = 400, place: loop.Place = HERE
) -> PrivateGradients:
    return PrivateGradients(PrivateSteps(clip, sigma, rate, 1, "unused"), TabularLearner(network_of(), plan_of()), rows, place)


def gradient(of: PrivateGradients) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in of._learner.network.parameters() if p.grad is not None])


def test_a_row_moves_a_step_by_at_most_the_clip() -> None:
    """Every row is drawn, nothing is noisy; the last row has a loss as large as the weights allow."""
    tokens = np.zeros((50, len(SIZES)), np.uint16)
    found = []
    for rows in (49, 50):
        own = private(clip=0.25, sigma=0.0, rate=1.0, rows=rows)
        own._learner.inputs = lambda count, *_: (
            lambda t: iter(  # type: ignore[method-assign]
                [(torch.from_numpy(t.astype(np.int64)), torch.arange(len(SIZES)).expand(count, -1), None)]
            )
        )
        with torch.no_grad():
            for bias in own._learner.network.head_bias:
                bias[..., 0] = -1e4
        own._expected = 1.0
        own.step(Shards((tokens,), np.array([0]), rows), 0)
        found.append(gradient(own))
    assert float(found[1].norm()) > 5  # 50 rows that pull the same way
    assert float((found[1] - found[0]).norm()) <= 0.25 * (1 + 1e-3)


@pytest.mark.parametrize("world", [1, 4])
def test_the_noise_is_that_of_the_release(world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4 workers each adds half the deviation, so that their sum has it whole."""
    own = private(clip=0.5, sigma=3.0, rate=0.1, place=loop.Place(0, world, torch.device("cpu")))
    monkeypatch.setattr(loop.Place, "sum", lambda _, tensor: tensor)
    drawn = []
    for _ in range(4):
        own._learner.network.zero_grad()
        own._release(list(own._learner.network.parameters()))
        drawn.append(gradient(own) * own._expected)
    noise = torch.cat(drawn).double()
    assert len(noise) > 2_000
    assert float(noise.std()) == pytest.approx(3.0 * 0.5 / world**0.5, rel=0.03)
    assert torch.equal(noise * 2**21, (noise * 2**21).round())  # multiples of the clip * 2^-20


def test_batches_are_poisson_samples() -> None:
    own = private(rate=0.05, rows=400)
    sizes = np.array([len(own.sample()) for _ in range(4_000)])
    edges = [0, 14, 16, 18, 19, 20, 21, 22, 23, 25, 27, 401]
    expected = np.diff(stats.binom.cdf(np.array(edges) - 1, 400, 0.05)) * len(sizes)
    seen = np.histogram(sizes, edges)[0]
    assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 1e-4
    often = np.bincount(np.concatenate([own.sample() for _ in range(4_000)]), minlength=400)
    assert stats.kstest((often - 200) / (200 * 0.95) ** 0.5, "norm").pvalue > 1e-4


def test_workers_draw_from_rows_of_their_own() -> None:
    parts = [set(private(rate=1.0, rows=10, place=loop.Place(r, 3, HERE.device)).sample().tolist()) for r in range(3)]
    assert parts == [{0, 3, 6, 9}, {1, 4, 7}, {2, 5, 8}]


def test_a_step_without_rows_is_noise_alone() -> None:
    own = private(rate=1e-9)
    own.step(shards_of(), 0)
    assert float(gradient(own).std()) > 0


class Spent:
    """Allows steps up to a number, and counts them."""

    def __init__(self, most: int, steps: PrivateGradients) -> None:
        self.most, self._steps, self.asked = most, steps, list[int]()

    def reserve(self, steps: int) -> bool:
        self.asked.append(steps)
        return steps <= self.most

    def step(self, shards: Shards, order: int) -> None:
        self._steps.step(shards, order)


def advance(state: Any, own: loop.Private) -> bool:
    plan, shards = state.plan, shards_of()
    _, cut = loop.take_steps(state.network, state, plan, Schedule(shards.rows, 1, 64), shards, HERE, lambda: False, private=own)
    state.after_block(0.0)
    return cut


def test_blocks_are_reserved_before_they_are_taken() -> None:
    plan = plan_of()
    learner = TabularLearner(network_of(), plan)
    state = loop.TrainingState(learner, plan, [])
    own = Spent(4, PrivateGradients(PrivateSteps(1.0, 2.0, 0.1, 1, "unused"), learner, 400, HERE))
    assert not advance(state, own) and not advance(state, own)
    assert state.step == 4 and own.asked == [2, 4]
    kept = {n: p.clone() for n, p in state.best.items()}
    assert advance(state, own)  # over budget: not one step more, and the weights stay
    assert state.step == 4 and own.asked == [2, 4, 6]
    assert all(torch.equal(kept[n], p) for n, p in state.best.items())
    assert all("loss" not in key for entry in state.history for key in entry)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    yield Ledger.begin(tmp_path / "ledger.json", Budget(2.0, 1e-6, "row", 1, 400), {})


def test_resumed_training_goes_on_in_the_ledger(ledger: Ledger) -> None:
    steps = private_steps(ledger, rate=0.1, steps=8, clip=1.0)
    undisturbed = ledger.spent([replace(steps.release, steps=8)])
    assert 1.9 < undisturbed <= 2.0
    plan = plan_of()
    for taken in (2, 4, 4):  # killed twice: the checkpoint at 2 is resumed, the block up to 4 taken twice
        learner = TabularLearner(network_of(), plan)
        own = PrivateGradients(steps, learner, 400, HERE)
        state = loop.TrainingState(learner, plan, [])
        state.step = taken - 2
        assert not advance(state, own)
        assert Ledger.open(ledger.file).releases["training"].steps == taken
    while state.step < plan.steps:
        assert not advance(state, own)
    assert Ledger.open(ledger.file).spent() == pytest.approx(undisturbed)


def test_units_of_several_rows_need_more_noise(tmp_path: Path) -> None:
    alone, grouped = (
        private_steps(Ledger.begin(tmp_path / f"{m}.json", Budget(2.0, 1e-6, "person", m, 400), {}), 0.1, 20, 1.0)
        for m in (1, 4)
    )
    assert 4 * alone.sigma < grouped.sigma < 16 * alone.sigma  # all four may be drawn, and one is drawn more often
