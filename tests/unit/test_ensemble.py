"""Networks trained side by side: merged, they draw by the mean of their logits; apart, they are what each would be alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from twinlake.models.ensemble import Ensemble
from twinlake.models.tabular import TabularNetwork, TabularSettings, settings_for

SIZES = (3, 4, 2, 40)  # two groups of heads
PARENTS = np.tile(np.arange(4), (4, 1))
LEVEL = [np.log(np.arange(1, size + 1) / (size * (size + 1) / 2)).astype(np.float32) for size in SIZES]
LINKS = np.array([[1.0, 0.5, 1.0, 0.0], [1.0] * 4, [0.25, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]], np.float32)
PLACES = [[-1.0] * 3, [-1.0] * 4, [-1.0] * 2, [(k + 0.5) / 40 for k in range(40)]]


def ensemble(settings: TabularSettings) -> Ensemble:
    made, draw = Ensemble(SIZES, PARENTS, settings, LEVEL, 5, PLACES, LINKS), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():  # trained ones: biases and outputs of blocks begin at zero
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
    return made


def alone(made: Ensemble, member: int) -> TabularNetwork:
    """One member as a network of its own."""
    own = TabularNetwork(SIZES, PARENTS, made.settings, LEVEL, 6, PLACES, LINKS)
    with torch.no_grad():
        for name, parameter in own.named_parameters():
            every = made.get_parameter(f"network.{name}")
            parameter.copy_(every.reshape(made.settings.members, *parameter.shape)[member])
    return own


@pytest.mark.parametrize("blocks", [0, 1])
def test_what_is_merged_draws_by_the_mean_of_the_members_logits(blocks: int) -> None:
    settings = TabularSettings(4, 8, blocks, members=3)
    made = ensemble(settings)
    saved = TabularNetwork(SIZES, PARENTS, settings.merged, LEVEL, 7)
    weights = made.plain(dict(made.named_parameters()))
    assert {n: p.shape for n, p in saved.named_parameters()} == {n: w.shape for n, w in weights.items()}
    saved.load_state_dict(weights, strict=False)
    rows = torch.tensor(list(itertools.product(*map(range, SIZES))))
    ranks = torch.tensor([2, 0, 3, 1]).expand(len(rows), -1)
    with torch.no_grad():
        apart = torch.stack([alone(made, member)(rows, ranks, None) for member in range(3)])
        found, mean = saved(rows, ranks, None), made(rows, ranks, None)
    torch.testing.assert_close(mean, apart.mean(0))
    # the mean of log-probabilities is that of the logits but for what makes the chances of a token's values sum to one
    told = apart.mean(0).reshape(*SIZES, 4)
    whole = torch.stack([torch.logsumexp(-told[..., token], dim=token, keepdim=True).expand(SIZES) for token in range(4)], -1)
    torch.testing.assert_close(found, (told + whole).reshape(-1, 4))
    assert (found <= mean + 1e-5).all() and (found < mean - 1e-3).any()


def test_each_member_learns_as_it_would_alone() -> None:
    made = ensemble(TabularSettings(4, 8, 1, members=2))
    rows = torch.tensor(list(itertools.product(range(3), range(4), range(2), (0, 39))))
    ranks = torch.arange(4).expand(len(rows), -1)
    made(rows, ranks, None).sum().backward()

    def halves(parameter: Tensor) -> Tensor:
        assert parameter.grad is not None
        return parameter.grad.reshape(2, -1)

    for member in range(2):
        own = alone(made, member)
        own(rows, ranks, None).sum().backward()
        for name, parameter in own.named_parameters():
            assert parameter.grad is not None
            expected = parameter.grad.flatten() / 2  # the loss is the mean of both
            torch.testing.assert_close(halves(made.get_parameter(f"network.{name}"))[member], expected, rtol=1e-4, atol=1e-5)


def test_the_fewest_rows_get_an_ensemble() -> None:
    assert [settings_for("auto", rows, (5,), 16).members for rows in (100, 1_999, 2_000, 100_000)] == [5, 5, 1, 1]
    few = settings_for("s", 500, (5,), 16)
    assert few.merged == TabularSettings(40, 160, 0, decay=few.decay)
