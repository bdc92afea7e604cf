"""Drawing blocks: a pure function of seed, block and attempt; two-token columns; conditions; calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from twinlake.models.calibration import calibrate
from twinlake.models.sampler import BLOCK_ROWS, Given, Known, Style, TabularSampler
from twinlake.models.tabular import TabularNetwork, TabularSettings, model_facts

SIZES = (4, 3, 6, 5)
SLOTS = ((0,), (1, 2), (3,))
LEVEL = [np.zeros(size, np.float32) for size in SIZES]


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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As generation sets it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def draws(rows: int = 6_000) -> npt.NDArray[np.float32]:
    return np.random.default_rng(3).random((len(SIZES), rows), dtype=np.float32)


def test_cells_that_are_known_in_all_rows_act_as_a_condition(sampler: TabularSampler) -> None:
    uniforms = draws()
    tokens, mask = np.full((6_000, 4), 2, np.uint16), np.zeros((6_000, 4), bool)
    mask[:, 0] = True
    asked = sampler.draw_rows(uniforms, [Given(0, np.eye(4)[2])])
    assert (sampler.draw_rows(uniforms, known=Known(tokens, mask)) == asked).all()


def test_each_row_sees_what_is_known_of_it(sampler: TabularSampler) -> None:
    """Rows that are known in part are drawn as if all were known so, the others as if nothing were known at all."""
    uniforms, half = draws(), np.arange(6_000) % 2 == 0
    tokens = np.tile(np.array([3, 1, 5, 0], np.uint16), (6_000, 1))
    mask = np.zeros((6_000, 4), bool)
    mask[half, 1:3] = True
    mixed = sampler.draw_rows(uniforms, known=Known(tokens, mask))
    every = np.zeros((6_000, 4), bool)
    every[:, 1:3] = True
    informed, free = sampler.draw_rows(uniforms, known=Known(tokens, every)), sampler.draw_rows(uniforms)
    assert (mixed[half] == informed[half]).mean() > 0.9999  # a zero added elsewhere in a sum may move a last bit
    assert (mixed[~half] == free[~half]).mean() > 0.9999
    assert (mixed[half, 1:3] == [1, 5]).all() and len(np.unique(mixed[half, 0])) > 1
    assert (informed[:, 3] != free[:, 3]).mean() > 0.02  # what is known matters


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_a_row_is_the_same_in_any_company(blocks: int, half: bool, one_thread: None) -> None:
    """Two hidden units cancel in all logits and leave a tenth of rounding error: sums in another order draw other rows."""
    sizes, settings, parents = (90, 20, 7), TabularSettings(16, 64, blocks), np.tile(np.arange(3), (3, 1))
    network = TabularNetwork(sizes, parents, settings, [np.zeros(s, np.float32) for s in sizes], 3)
    weights = {name: p.detach().clone() for name, p in network.named_parameters()}
    weights["into_bias"][:, :, [0, 33]] = 1_000.0
    for name in (n for n in weights if n.startswith("heads")):
        weights[name][:, 0], weights[name][:, 33] = 1_000.0, -1_000.0
    facts = model_facts(sizes, parents, settings, [0, 1, 2], ((0,), (1,), (2,)))
    sampler = TabularSampler.fold(weights, facts, {c: np.ones(s, bool) for c, s in enumerate(sizes)})
    sampler = sampler.in_bfloat16() if half else sampler
    uniforms = np.random.default_rng(5).random((3, 2 * BLOCK_ROWS), dtype=np.float32)
    whole = sampler.draw_rows(uniforms)
    for some in (slice(BLOCK_ROWS, 2 * BLOCK_ROWS), slice(5, 705), *(slice(at, at + 1) for at in range(100))):
        assert (sampler.draw_rows(uniforms[:, some]) == whole[some]).all()


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_bfloat16_draws_by_nearly_the_same_chances(blocks: int) -> None:
    """Of 8 bits of mantissa: a logit of size 1 moves by about 0.004, and so the chance of a value by less than a hundredth."""
    sizes, settings, parents = (90, 20, 7), TabularSettings(16, 64, blocks), np.tile(np.arange(3), (3, 1))
    network = TabularNetwork(sizes, parents, settings, [np.log(np.arange(1, s + 1)).astype(np.float32) for s in sizes], 3)
    with torch.no_grad():
        for head in network.heads:
            head *= 5.0  # links that matter
    weights = {name: p.detach() for name, p in network.named_parameters()}
    facts = model_facts(sizes, parents, settings, [0, 1, 2], ((0,), (1,), (2,)))
    whole = TabularSampler.fold(weights, facts, {c: np.ones(s, bool) for c, s in enumerate(sizes)})
    uniforms = np.random.default_rng(5).random((3, 20_000), dtype=np.float32)
    one, other = whole.draw_rows(uniforms), whole.in_bfloat16().draw_rows(uniforms)
    assert (one == other).mean() > 0.98 and (blocks == 0 or (one != other).any())
    told = [s.log_prob(one).astype(float) for s in (whole, whole.in_bfloat16())]
    assert np.abs(told[0] - told[1]).mean() < 0.03
    alone = TabularSampler.fold(weights | {"embed": torch.zeros(sum(sizes), 16)}, facts, {})  # what it is to look at nothing
    assert np.abs(told[0] - alone.log_prob(one)).mean() > 0.3


def test_decided_columns_keep_their_place_behind_what_decides_them(sampler: TabularSampler) -> None:
    def order(*pairs: tuple[int, int]) -> list[int]:
        facts = model_facts(SIZES, np.tile(np.arange(4), (4, 1)), TabularSettings(4, 16, 1), [2, 0, 1], SLOTS)
        made = TabularNetwork(SIZES, np.tile(np.arange(4), (4, 1)), TabularSettings(4, 16, 1), LEVEL, 3)
        weights = {name: p.detach() for name, p in made.named_parameters()}
        codes = {0: 4, 1: 18, 2: 5}
        determines = [(a, b, [0] * codes[a]) for a, b in pairs]
        return TabularSampler.fold(
            weights, facts, {c: np.ones(SIZES[s[0]], bool) for c, s in enumerate(SLOTS)}, determines
        ).order

    assert order() == [2, 0, 1]
    assert order((2, 1)) == [2, 0, 1] == order((0, 1), (2, 1))  # behind it already: not moved forward
    assert order((1, 2)) == [0, 1, 2]
    assert order((0, 2), (1, 2)) == [0, 2, 1]


def test_groups_of_rows_have_conditions_of_their_own(sampler: TabularSampler) -> None:
    uniforms, groups = draws(), np.arange(6_000) % 3
    allowed = [[(0, 2)], [(0, 5), (1, 1)], [(2, 0), (2, 1), (2, 2)]]
    own = [pairs_of(pairs) for pairs in allowed]
    assert all(g.second is not None for g in own)
    stacked = Given(1, np.stack([g.first for g in own]), np.stack([g.second for g in own if g.second is not None]))
    together = sampler.draw_rows(uniforms, [stacked], groups)
    for group, given in enumerate(own):
        alone = sampler.draw_rows(uniforms, [given])
        mine = groups == group
        assert {tuple(row) for row in together[mine, 1:3].tolist()} == set(allowed[group])
        assert (together[mine] == alone[mine]).mean() > 0.9999


def test_temperature_and_top_p_follow_their_formulas() -> None:
    """p^(1/T) normalized; and the smallest set of the likeliest values that holds top_p. One column of known shares."""
    plain = np.array([0.1, 0.4, 0.05, 0.3, 0.15])
    settings, parents = TabularSettings(4, 8, 0), np.zeros((1, 1), np.int64)
    network = TabularNetwork((5,), parents, settings, [np.log(plain).astype(np.float32)], 3)
    weights = {name: p.detach() * (0 if name == "heads.0" else 1) for name, p in network.named_parameters()}
    facts = model_facts((5,), parents, settings, [0], ((0,),))
    sampler = TabularSampler.fold(weights, facts, {0: np.ones(5, bool)})

    def shares(style: Style) -> npt.NDArray[np.float64]:
        drawn = sampler.draw_rows(np.random.default_rng(3).random((1, 400_000), dtype=np.float32), style=style)[:, 0]
        return np.bincount(drawn, minlength=5) / len(drawn)

    np.testing.assert_allclose(shares(Style()), plain, atol=0.003)
    for temperature in (0.5, 2.0):
        expected = plain ** (1 / temperature)
        np.testing.assert_allclose(shares(Style(temperature)), expected / expected.sum(), atol=0.003)
    np.testing.assert_allclose(shares(Style(top_p=0.5)), np.array([0, 4, 0, 3, 0]) / 7, atol=0.003)
    np.testing.assert_allclose(shares(Style(top_p=0.39)), [0, 1, 0, 0, 0], atol=1e-9)


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
