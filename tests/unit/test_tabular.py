"""The any-order network and its sampler against an oracle in plain numpy: the same probabilities in any order."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats

from twinlake.core.seeds import generator
from twinlake.models import folded
from twinlake.models.sampler import BLOCK_ROWS, Given, TabularSampler
from twinlake.models.tabular import TabularNetwork, TabularSettings, choose_parents, head_groups, model_facts, ranks_of

SIZES = (3, 40, 5, 9, 2)  # of three groups of heads
SLOTS = ((0,), (1, 2), (3,), (4,))  # column 1 has two tokens
Floats = npt.NDArray[np.float64]


def network(
    sizes: tuple[int, ...], settings: TabularSettings, parents: npt.NDArray[np.int64] | None = None, scale: float = 1.0
) -> TabularNetwork:
    """Random weights everywhere, also where training starts from zero."""
    draw = generator(3, len(sizes))
    parents = np.tile(np.arange(len(sizes), dtype=np.int64), (len(sizes), 1)) if parents is None else parents
    marginals = [np.log(draw.dirichlet(np.ones(size))).astype(np.float32) for size in sizes]
    made = TabularNetwork(sizes, parents, settings, marginals, 5)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if not name.startswith("head_bias"):
                parameter.add_(torch.from_numpy(draw.standard_normal(tuple(parameter.shape)).astype(np.float32)) * 0.3 * scale)
    return made


class Oracle:
    """Log-probabilities of the documented formula, one row and one token at a time, in float64."""

    def __init__(self, made: TabularNetwork) -> None:
        self.sizes, self.settings = made.sizes, made.settings
        self.parents = made.parents.numpy()
        self.weights = {n: p.detach().numpy().astype(np.float64) for n, p in made.named_parameters()}
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        self.head: dict[int, tuple[Floats, Floats]] = {}
        for number, group in enumerate(head_groups(self.sizes)):
            for place, token in enumerate(group):
                size = self.sizes[token]
                weights, bias = self.weights[f"heads.{number}"][place], self.weights[f"head_bias.{number}"][place, 0]
                self.head[token] = weights[:, :size], bias[:size]

    def log_probabilities(self, token: int, known: dict[int, int]) -> Floats:
        width = self.settings.embedding
        a = self.weights["into_bias"][token, 0].copy()
        for k, parent in enumerate(dict.fromkeys(self.parents[token].tolist())):
            if parent in known:
                into = self.weights["into"][token][k * width : (k + 1) * width]
                a += self.weights["embed"][self.offsets[parent] + known[parent]] @ into
        h = np.maximum(a, 0.0)
        for block in range(self.settings.blocks):
            first, bias, second = (self.weights[f"blocks.{3 * block + i}"][token] for i in range(3))
            h = h + np.maximum(h @ first + bias[0], 0.0) @ second
        weights, bias = self.head[token]
        logits = h @ weights + bias
        return logits - np.logaddexp.reduce(logits)

    def row(self, tokens: npt.NDArray[Any], order: list[int]) -> Floats:
        """Negative log-probability of each token when tokens come in `order`."""
        out = np.zeros(len(tokens))
        known: dict[int, int] = {}
        for token in order:
            out[token] = -self.log_probabilities(token, known)[tokens[token]]
            known[token] = int(tokens[token])
        return out


@pytest.mark.parametrize("settings", [TabularSettings(4, 8, 0), TabularSettings(6, 16, 1), TabularSettings(3, 8, 2)])
def test_the_loss_is_the_negative_log_probability_in_any_order(settings: TabularSettings) -> None:
    made = network(SIZES, settings)
    oracle, draw = Oracle(made), generator(9)
    tokens = np.stack([draw.integers(0, size, 12) for size in SIZES], axis=1)
    orders = [draw.permutation(len(SIZES)) for _ in tokens]
    ranks = np.argsort(np.stack(orders), axis=1)
    with torch.no_grad():
        found = made(torch.from_numpy(tokens), torch.from_numpy(ranks), None).numpy()
    expected = np.stack([oracle.row(row, order.tolist()) for row, order in zip(tokens, orders, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_links_are_folded_into_the_saved_weights() -> None:
    """A parent with a link of 0 is not seen, one with 1/2 half as strongly; saved weights need no links."""
    parents = np.tile(np.arange(3), (3, 1))
    level = [np.zeros(size, np.float32) for size in (3, 4, 2)]
    links = np.array([[1.0, 0.0, 0.5], [1.0, 1.0, 0.0], [0.5, 1.0, 1.0]], np.float32)
    made = TabularNetwork((3, 4, 2), parents, TabularSettings(4, 8, 1), level, 5, None, links)
    saved = TabularNetwork((3, 4, 2), parents, TabularSettings(4, 8, 1), level, 6)
    saved.load_state_dict(made.plain(dict(made.named_parameters())), strict=False)
    assert torch.equal(saved.into[0, 8:12], made.into[0, 8:12] / 2) and not saved.into[1, 8:12].any()
    rows = torch.tensor(list(itertools.product(range(3), range(4), range(2))))
    with torch.no_grad():
        for order in itertools.permutations(range(3)):
            ranks = torch.argsort(torch.tensor(order)).expand(len(rows), -1)
            torch.testing.assert_close(made(rows, ranks, None), saved(rows, ranks, None))
        alone = made(rows, torch.tensor([1, 0, 2]).expand(len(rows), -1), None)[:, 0]  # after token 1, to which it has no link
    assert all(len(alone[rows[:, 0] == value].unique()) == 1 for value in range(3))


def test_probabilities_sum_to_one_over_all_rows() -> None:
    sizes = (3, 4, 2)
    made = network(sizes, TabularSettings(4, 8, 1))
    rows = torch.tensor(list(itertools.product(*map(range, sizes))))
    with torch.no_grad():
        for order in itertools.permutations(range(3)):
            ranks = torch.argsort(torch.tensor(order)).expand(len(rows), -1)
            assert float(torch.exp(-made(rows, ranks, None).sum(1)).sum()) == pytest.approx(1.0, abs=1e-5)


def test_few_parents_mean_that_the_others_are_not_looked_at() -> None:
    parents = np.array([[1, 2, 0], [0, 2, 1], [0, 0, 2], [2, 3, 3], [4, 4, 4]], np.int64)  # repeats fill up
    settings = TabularSettings(4, 8, 1)
    made, draw = network(SIZES, settings, parents), generator(10)
    # padding repeats the token itself or a parent; only the first place of a parent is used by the folded tables
    weights = {n: p.detach().clone() for n, p in made.named_parameters()}
    for token, places in enumerate(parents):
        for k in range(1, 3):
            if places[k] in places[:k]:
                weights["into"][token][k * 4 : (k + 1) * 4] = 0.0
    with torch.no_grad():
        made.into.copy_(weights["into"])
    oracle = Oracle(made)
    tokens = np.stack([draw.integers(0, size, 8) for size in SIZES], axis=1)
    ranks = torch.arange(len(SIZES)).expand(8, -1)
    with torch.no_grad():
        found = made(torch.from_numpy(tokens), ranks, None).numpy()
    expected = np.stack([oracle.row(row, list(range(len(SIZES)))) for row in tokens])
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("blocks", [0, 1])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_drawn_rows_follow_the_probabilities(order: list[int], blocks: int) -> None:
    """Chi-square over all 24 rows of a table of three tokens: the folded sampler against the oracle."""
    sizes, settings = (3, 4, 2), TabularSettings(4, 8, blocks)
    made = network(sizes, settings, scale=0.5)
    sampler = sampler_of(made, sizes, ((0,), (1,), (2,)), order)
    drawn = np.concatenate([sampler.draw(block, 77) for block in range(6)])
    oracle = Oracle(made)
    rows = np.array(list(itertools.product(*map(range, sizes))))
    expected = np.exp([-oracle.row(row, order).sum() for row in rows]) * len(drawn)
    found = np.bincount(np.ravel_multi_index(drawn.T.astype(int), sizes), minlength=len(rows))
    assert stats.chisquare(*_pooled(found, expected)).pvalue > 1e-3
    # the test has teeth: the probabilities of another order of a network that never learned are other ones
    other = np.exp([-oracle.row(row, order[::-1]).sum() for row in rows]) * len(drawn)
    assert stats.chisquare(*_pooled(found, other)).pvalue < 1e-6


@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize("onednn", [True, False])
def test_each_row_is_the_inversion_of_its_numbers(blocks: int, onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token by token against the oracle's cumulative shares; heads that are wider than the hidden layer and others."""
    monkeypatch.setattr(folded, "ONEDNN", onednn and folded.ONEDNN)
    made = network(SIZES, TabularSettings(4, 16, blocks), scale=0.5)
    oracle, order = Oracle(made), [2, 0, 1, 3]
    uniforms = generator(12).random((len(SIZES), 100), dtype=np.float32)
    drawn = sampler_of(made, SIZES, SLOTS, order).draw_rows(uniforms)
    for row, numbers in zip(drawn.tolist(), uniforms.T, strict=True):
        known: dict[int, int] = {}
        for token in [t for c in order for t in SLOTS[c]]:
            shares = np.exp(oracle.log_probabilities(token, known))
            assert row[token] == np.searchsorted(np.cumsum(shares), numbers[token], "right")
            known[token] = row[token]


def test_a_condition_comes_first_and_the_rest_follows_from_it() -> None:
    sizes, settings = (3, 4, 2), TabularSettings(4, 8, 1)
    made = network(sizes, settings, scale=0.5)
    sampler = sampler_of(made, sizes, ((0,), (1,), (2,)), [0, 1, 2])
    drawn = np.concatenate([sampler.draw(block, 78, given=[Given(2, np.array([0.0, 1.0]))]) for block in range(4)])
    assert (drawn[:, 2] == 1).all()
    oracle = Oracle(made)
    rows = np.array([(*row, 1) for row in itertools.product(range(3), range(4))])
    expected = np.exp([-oracle.row(row, [2, 0, 1])[:2].sum() for row in rows]) * len(drawn)
    found = np.bincount(np.ravel_multi_index(drawn.T[:2].astype(int), sizes[:2]), minlength=len(rows))
    assert stats.chisquare(*_pooled(found, expected)).pvalue > 1e-3


def test_several_allowed_values_share_the_mass_as_the_model_does() -> None:
    sizes, settings = (6, 4), TabularSettings(4, 8, 0)
    made = network(sizes, settings)
    sampler = sampler_of(made, sizes, ((0,), (1,)), [1, 0])
    drawn = np.concatenate(
        [sampler.draw(block, 79, given=[Given(0, np.array([0.0, 1.0, 0.0, 0.0, 1.0, 0.0]))]) for block in range(4)]
    )
    share = np.exp(Oracle(made).log_probabilities(0, {}))[[1, 4]]
    found = np.array([(drawn[:, 0] == value).sum() for value in (1, 4)])
    assert found.sum() == len(drawn)
    assert stats.chisquare(found, share / share.sum() * len(drawn)).pvalue > 1e-3


def test_what_may_not_be_drawn_is_never_drawn() -> None:
    sizes, settings = (4, 3), TabularSettings(4, 8, 0)
    made = network(sizes, settings)
    mask = {0: np.array([True, True, True, False]), 1: np.ones(3, bool)}
    sampler = sampler_of(made, sizes, ((0,), (1,)), [0, 1], mask)
    drawn = np.concatenate([sampler.draw(block, 80) for block in range(5)])
    assert (drawn[:, 0] != 3).all()
    share = np.exp(Oracle(made).log_probabilities(0, {}))[:3]
    found = np.bincount(drawn[:, 0], minlength=4)[:3]
    assert stats.chisquare(found, share / share.sum() * len(drawn)).pvalue > 1e-3  # its mass goes to the others


def test_head_groups_hold_each_token_once() -> None:
    assert sorted(itertools.chain(*head_groups(SIZES))) == list(range(len(SIZES)))
    assert [max(SIZES[t] for t in group) for group in head_groups(SIZES)] == [5, 9, 40]


def test_parents_above_48_tokens_are_distinct_and_hold_the_most_informative() -> None:
    columns = 60
    slots = tuple((c,) for c in range(columns))
    information = generator(4).random((columns, columns))
    information = (information + information.T) / 2
    parents = choose_parents(slots, information, 1)
    assert parents.shape == (columns, 32)
    for token in range(columns):
        others = [p for p in parents[token].tolist() if p != token]
        assert len(set(others)) == len(others) == 31
        best = [c for c in np.argsort(-information[token]) if c != token][:20]
        assert set(best) <= set(others)
    assert (choose_parents(slots, information, 1) == parents).all()


def test_ranks_place_a_columns_tokens_together() -> None:
    assert ranks_of([2, 1, 0, 3], SLOTS).tolist() == [3, 1, 2, 0, 4]


def sampler_of(
    made: TabularNetwork,
    sizes: tuple[int, ...],
    slots: tuple[tuple[int, ...], ...],
    order: list[int],
    mask: dict[int, Any] | None = None,
) -> TabularSampler:
    weights = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
    facts = model_facts(sizes, made.parents.numpy(), made.settings, order, slots)
    everything = {column: np.ones(sizes[tokens[0]], bool) for column, tokens in enumerate(slots)}
    sampler = TabularSampler.fold(weights, facts, mask or everything)
    assert sampler.draw(0, 1).shape == (BLOCK_ROWS, len(sizes))
    return sampler


def _pooled(found: npt.NDArray[Any], expected: Floats) -> tuple[Floats, Floats]:
    """Cells with fewer than five expected rows go together, as the test asks."""
    rare = expected < 5
    pooled = [np.append(x[~rare], x[rare].sum()) if rare.any() else np.asarray(x, float) for x in (found, expected)]
    return pooled[0], pooled[1] * pooled[0].sum() / pooled[1].sum()
