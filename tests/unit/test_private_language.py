"""Private steps of the language family: clipped gradients against a loop over single rows, for each core."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from twinlake.core.seeds import generator
from twinlake.models import by_row
from twinlake.models.cores import LanguageSettings, unrolled
from twinlake.models.language import LanguageNetwork
from twinlake.models.layout import Layout
from twinlake.train import loop
from twinlake.train.data import Shards
from twinlake.train.dp import PrivateGradients, PrivateSteps
from twinlake.train.language import LanguageLearner, LanguagePlan

SIZES = (3, 40, 7, 7)
ROWS = 21
LAYOUT = Layout(SIZES, ((0,), (1,), (2,), (3,)), (0, 1, 3))  # place 2 is forced
HERE = loop.Place(0, 1, torch.device("cpu"))
SETTINGS = {
    "lstm": LanguageSettings("lstm", 32, 24, 2, 0.0),
    "lstm that drops": LanguageSettings("lstm", 32, 24, 1, 0.3),
    "transformer": LanguageSettings("transformer", 64, 0, 2, 0.0),
}


@pytest.fixture(params=list(SETTINGS))
def settings(request: Any) -> LanguageSettings:
    return SETTINGS[request.param]


def network_of(settings: LanguageSettings, private: bool) -> LanguageNetwork:
    network = LanguageNetwork(LAYOUT, settings, [np.zeros(s, np.float32) for s in SIZES], 2)
    network.core.by_row = private
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return network


def rows_of(count: int = ROWS) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.stack([generator(3).integers(0, size, count) for size in SIZES], axis=1).astype(np.uint16)


def part_of(learner: LanguageLearner) -> tuple[torch.Tensor | None, ...]:
    [part] = learner.inputs(ROWS, 0, generator(4), HERE)(rows_of())
    return part


@pytest.mark.parametrize("layers", [1, 3])
def test_the_steps_of_an_lstm_are_those_of_torch(layers: int) -> None:
    torch.manual_seed(1)
    lstm, x = nn.LSTM(5, 7, layers, batch_first=True), torch.randn(4, 9, 5)
    torch.testing.assert_close(unrolled(lstm, x), lstm(x)[0], rtol=1e-5, atol=1e-6)
    own, theirs = (torch.autograd.grad(out.square().sum(), list(lstm.parameters())) for out in (unrolled(lstm, x), lstm(x)[0]))
    torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)


def test_private_networks_lose_the_same(settings: LanguageSettings) -> None:
    plain, private = (network_of(settings, p) for p in (False, True))
    part = part_of(LanguageLearner(plain))
    torch.testing.assert_close(private(*part), plain(*part), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [0, ROWS // 2, ROWS])  # all rows are clipped, half of them, none
@pytest.mark.parametrize("most", [1, 100_000, 10**9])  # floats at once: one row, some rows, all
def test_clipped_sums_equal_those_of_a_loop_over_rows(
    settings: LanguageSettings, rank: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_row, "MAX_FLOATS", most)
    oracle, network = (network_of(settings, p) for p in (False, True))
    part = part_of(LanguageLearner(oracle))
    grads = []
    for row in range(ROWS):
        oracle.zero_grad()
        oracle(*(None if t is None else t[row : row + 1] for t in part)).sum().backward()
        grads.append([p.grad.clone() for p in oracle.parameters() if p.grad is not None])
    norms = [sum(float(g.double().square().sum()) for g in own) ** 0.5 for own in grads]
    clip = ([0.5 * min(norms), *sorted(norms)[1:], 2 * max(norms)])[rank]
    found = by_row.add_clipped_by_row(network, part, clip)
    np.testing.assert_allclose(found.numpy(), norms, rtol=1e-4)
    factors = [min(1.0, clip / norm) for norm in norms]
    for number, parameter in enumerate(network.parameters()):
        wanted = torch.stack([own[number] * factor for own, factor in zip(grads, factors, strict=True)]).sum(0)
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-4)


def plan_of(settings: LanguageSettings, **changes: Any) -> LanguagePlan:
    given: dict[str, Any] = {"family": "language", "shards": "unused", "progress": "unused", "seed": 6, "batch": ROWS}
    given |= {"steps": 4, "rate": 3e-3, "checks": 2, "patience": 4, "max_seconds": None, "stops_early": False, "limits": []}
    return LanguagePlan(settings=asdict(settings), layout=asdict(LAYOUT), **given, **changes)


class Untouchable:
    """Shards of which nobody may take a row."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of private rows was read")


def test_private_heads_start_at_the_given_shares_and_read_no_row(settings: LanguageSettings) -> None:
    shares = [generator(size).dirichlet(np.ones(size)) for size in SIZES]
    plan = plan_of(settings, private={}, shares=[s.tolist() for s in shares])
    prepared = plan.prepare(Untouchable(), HERE)  # type: ignore[arg-type]
    learner = plan.learner(prepared, HERE)
    bias = learner.network.bias.detach().numpy()[:-1]
    np.testing.assert_allclose(np.exp(bias), np.concatenate(shares), rtol=1e-4)
    assert learner.network.core.by_row
    with pytest.raises(AssertionError, match="private rows"):
        plan_of(settings).prepare(Untouchable(), HERE)  # type: ignore[arg-type]


def test_without_noise_and_clip_a_private_step_is_an_ordinary_one(
    settings: LanguageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row is drawn, none is clipped; the mean gradient is that of nn.LSTM and of fused attention."""
    plain, own = (LanguageLearner(network_of(settings, p)) for p in (False, True))
    shards, part = Shards((rows_of(),), np.array([0]), ROWS), part_of(plain)
    monkeypatch.setattr(own, "inputs", lambda *_: lambda tokens: iter([part]))  # the same orders for both
    PrivateGradients(PrivateSteps(300.0, 0.0, 1.0, 1, "unused"), own, ROWS, HERE).step(shards, 0)
    plain.network(*part).mean().backward()
    for mine, theirs in zip(own.network.parameters(), plain.network.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-4)


def test_a_row_moves_a_step_by_at_most_the_clip(settings: LanguageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for rows in (ROWS - 1, ROWS):
        own = LanguageLearner(network_of(settings, True))
        monkeypatch.setattr(own, "inputs", lambda *_, own=own: lambda tokens: own.checks(tokens, 0, HERE))
        steps = PrivateGradients(PrivateSteps(0.25, 0.0, 1.0, 1, "unused"), own, rows, HERE)
        steps._expected = 1.0
        steps.step(Shards((rows_of()[:rows],), np.array([0]), rows), 0)
        found.append(torch.cat([p.grad.flatten() for p in own.network.parameters() if p.grad is not None]))
    assert float((found[1] - found[0]).norm()) == pytest.approx(0.25, rel=1e-3)  # this row's gradient is longer
