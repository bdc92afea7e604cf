"""Drawing blocks: a pure function of seed, block and attempt; two-token columns; conditions; calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from twinlake.models.sampler import BLOCK_ROWS, Given, TabularSampler, calibrate
from twinlake.models.tabular import TabularNetwork, TabularSettings, model_facts

SIZES = (4, 3, 6, 5)
SLOTS = ((0,), (1, 2), (3,))


@pytest.fixture(scope="module")
def sampler() -> TabularSampler:
    parents = np.tile(np.arange(4, dtype=np.int64), (4, 1))
    settings = TabularSettings(4, 16, 1)
    made = TabularNetwork(SIZES, parents, settings, [np.zeros(s, np.float32) for s in SIZES], 3)
    weights = {name: p.detach().clone() for name, p in made.named_parameters()}
    return TabularSampler.fold(
        weights,
        model_facts(SIZES, parents, settings, [2, 0, 1], SLOTS),
        {c: np.ones(SIZES[s[0]], bool) for c, s in enumerate(SLOTS)},
    )


def test_a_block_depends_on_seed_block_and_attempt_alone(sampler: TabularSampler) -> None:
    first = sampler.draw(3, 7)
    sampler.draw(4, 7)
    assert (sampler.draw(3, 7) == first).all() and first.dtype == np.uint16
    for other in (sampler.draw(4, 7), sampler.draw(3, 8), sampler.draw(3, 7, attempt=1)):
        assert 0.2 < (other != first).mean() < 0.95


def test_every_token_lies_in_its_vocabulary(sampler: TabularSampler) -> None:
    drawn = np.concatenate([sampler.draw(block, 5) for block in range(4)])
    assert drawn.shape == (4 * BLOCK_ROWS, 4)
    for token, size in enumerate(SIZES):
        assert set(np.unique(drawn[:, token])) == set(range(size))


def test_conditions_on_two_token_columns_draw_allowed_pairs_only(sampler: TabularSampler) -> None:
    allowed = [(0, 2), (0, 5), (2, 1)]
    drawn = sampler.draw(0, 5, given=[pairs_of(allowed)])
    assert {tuple(row) for row in drawn[:, 1:3].tolist()} == set(allowed)
    single = sampler.draw(0, 5, given=[pairs_of(allowed[2:]), Given(0, np.eye(4)[3])])
    assert (single[:, 0] == 3).all() and (single[:, 1] == 2).all() and (single[:, 2] == 1).all()
    assert len(np.unique(single[:, 3])) == 5


def pairs_of(allowed: list[tuple[int, int]]) -> Given:
    second = np.zeros((3, 6))
    second[tuple(np.array(allowed).T)] = 1.0
    return Given(1, (second.sum(axis=1) > 0).astype(float), second)


def test_a_share_makes_a_value_as_much_rarer(sampler: TabularSampler) -> None:
    """Odds are multiplied by the shares: 1 against 0.25 divides those of the values by four."""
    free = np.concatenate([sampler.draw(b, 5, given=[Given(0, np.array([1.0, 1, 0, 0]))]) for b in range(8)])[:, 0]
    less = np.concatenate([sampler.draw(b, 6, given=[Given(0, np.array([1.0, 0.25, 0, 0]))]) for b in range(8)])[:, 0]
    odds = [(t == 1).sum() / (t == 0).sum() for t in (free, less)]
    assert set(np.unique(less)) == {0, 1}
    assert abs(odds[1] / odds[0] - 0.25) < 0.02


def test_the_result_does_not_depend_on_the_number_of_threads(sampler: TabularSampler) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = sampler.draw(0, 9)
        torch.set_num_threads(2)
        two = sampler.draw(0, 9)
    finally:
        torch.set_num_threads(before)
    assert (one == two).mean() > 0.999  # generation uses one thread; another count may move a last bit


def test_calibration_brings_drawn_marginals_to_the_true_ones(sampler: TabularSampler) -> None:
    true = [
        np.array(m)
        for m in ([0.7, 0.1, 0.1, 0.1], [0.2, 0.5, 0.3], [0.05, 0.15, 0.2, 0.2, 0.2, 0.2], [0.3, 0.3, 0.2, 0.1, 0.1])
    ]
    fresh: Any = TabularSampler(sampler.sizes, sampler.slots, sampler.order, sampler.targets)
    before = _distance(fresh, true)
    offsets = calibrate(fresh, true, 11)
    assert offsets.shape == (sum(SIZES),) and offsets.isfinite().all()
    assert _distance(fresh, true) < min(0.02, before / 5)
    # a condition asks for the conditional distribution: offsets of marginals have no place in it
    given = [Given(0, np.eye(4)[1])]
    plain: Any = TabularSampler(sampler.sizes, sampler.slots, sampler.order, sampler.targets)
    assert (fresh.draw(0, 4, given=given) == plain.draw(0, 4, given=given)).all()


def _distance(sampler: TabularSampler, true: list[Any]) -> float:
    drawn = np.concatenate([sampler.draw(block, 99) for block in range(8)])
    shares = [np.bincount(drawn[:, t], minlength=len(m)) / len(drawn) for t, m in enumerate(true)]
    return float(max(np.abs(s - m).sum() / 2 for s, m in zip(shares, true, strict=True)))
