"""The marginal family on arrays: its tree against networkx, its conditionals against all rows written out, its tables against
numpy, its shares by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy import stats

from twinlake.core.seeds import generator
from twinlake.models.codec import Codec, Relation
from twinlake.models.column import ColumnCodec
from twinlake.models.encode import TokenCounter
from twinlake.models.marginal import TreeSampler
from twinlake.models.sampler import Given, Known, Style
from twinlake.models.store import check_model, load_model
from twinlake.models.token_tables import TokenTables, TokenTree, added, tables_of
from twinlake.models.tree import Structure, column_tree, parents_first, spanning_forest, token_parents
from twinlake.train.conditionals import allowed_pairs, conditionals, leaning, together

SIZES = (3, 4, 2, 3, 2)  # column 1 has two tokens
SLOTS = ((0,), (1, 2), (3,), (4,))
TREES = {
    "tree": TokenTree(SIZES, (-1, 0, 1, 1, 3), -1, (False,) * 5),
    "forest": TokenTree(SIZES, (-1, 0, 1, -1, 3), -1, (False,) * 5),
    "hub": TokenTree(SIZES, (-1, 3, 1, -1, 1), 0, (False, True, False, True, True)),
}
DRAWABLE = {1: np.array([True, True, True, False])}
ROWS = np.array(list(itertools.product(*map(range, SIZES))))


@pytest.fixture(params=list(TREES))
def sampler(request: Any) -> TreeSampler:
    tree, draw = TREES[request.param], generator(3)
    return TreeSampler(tree, SLOTS, [draw.random(tree.shape(t)) ** 2 + 0.02 for t in range(5)], DRAWABLE)


def joint(sampler: TreeSampler) -> npt.NDArray[np.float64]:
    """The probability of each of ROWS, by the definition."""
    out = np.ones(len(ROWS))
    for number, row in enumerate(ROWS):
        for t, table in enumerate(sampler.tables):
            hub = row[sampler.tree.hub] if sampler.tree.hubbed[t] else 0
            above = row[sampler.tree.parents[t]] if sampler.tree.parents[t] >= 0 else 0
            may = DRAWABLE.get(t, np.ones(SIZES[t], bool))
            out[number] *= table[hub, above, row[t]] * may[row[t]]
    return out


def agrees(drawn: npt.NDArray[Any], expected: npt.NDArray[np.float64]) -> bool:
    """Whether rows come as often as expected (shares of ROWS), by a chi-square test; impossible ones never."""
    found = np.bincount(np.ravel_multi_index(tuple(drawn.T.astype(int)), SIZES), minlength=len(ROWS))
    expected = expected / expected.sum() * len(drawn)
    some = expected > 5
    assert not found[expected == 0].any()
    seen, wanted = np.append(found[some], found[~some].sum()), np.append(expected[some], expected[~some].sum())
    kept = wanted > 0
    return len(wanted[kept]) == 1 or bool(stats.chisquare(seen[kept], wanted[kept]).pvalue > 1e-4)


def draws(rows: int = 40_000, seed: int = 5) -> npt.NDArray[np.float32]:
    return generator(seed).random((5, rows), dtype=np.float32)


def test_free_rows_and_their_probability(sampler: TreeSampler) -> None:
    exact = joint(sampler)
    assert exact.sum() == pytest.approx(1.0)
    with np.errstate(divide="ignore"):
        assert np.allclose(sampler.log_prob(ROWS), np.log(exact), atol=1e-12)
    assert agrees(sampler.draw_rows(draws()), exact)


FIRST, LAST = np.array([0.2, 1.0, 0.0]), np.array([0.0, 1.0])
PAIRS = np.array([[0, 1.0], [1, 1], [0.3, 0], [1, 1]])
CONDITIONS = {
    "one": [Given(2, FIRST)],
    "two": [Given(2, FIRST), Given(0, np.array([1.0, 0, 0.5]))],
    "second": [Given(1, (PAIRS.sum(axis=1) > 0).astype(float), PAIRS)],
    "all": [Given(3, LAST), Given(1, np.array([1.0, 0, 1, 1]), PAIRS), Given(0, np.array([0, 1.0, 1.0]))],
}


def likely(given: list[Given]) -> npt.NDArray[np.float64]:
    """The factor of each of ROWS."""
    out = np.ones(len(ROWS))
    for one in given:
        slots = SLOTS[one.column]
        out *= one.first[ROWS[:, slots[0]]]
        out *= 1.0 if one.second is None else one.second[ROWS[:, slots[0]], ROWS[:, slots[1]]]
    return out


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_conditions_leave_the_exact_conditional_distribution(sampler: TreeSampler, name: str) -> None:
    assert agrees(sampler.draw_rows(draws(), CONDITIONS[name]), joint(sampler) * likely(CONDITIONS[name]))


def test_groups_have_conditions_of_their_own(sampler: TreeSampler) -> None:
    groups = np.arange(40_000) % 2
    both = [
        Given(2, np.stack([FIRST, 1 - FIRST])),
        Given(1, np.ones((2, 4)), np.stack([PAIRS, np.ones_like(PAIRS)])),
        Given(3, LAST),
    ]
    drawn = sampler.draw_rows(draws(), both, groups)
    for group in (0, 1):
        own = [Given(2, both[0].first[group]), Given(1, np.ones(4), np.asarray(both[1].second)[group]), both[2]]
        assert agrees(drawn[groups == group], joint(sampler) * likely(own))


@pytest.mark.parametrize("columns", [(0,), (3,), (1,), (0, 2, 3), (0, 1, 2, 3)])
def test_what_is_known_of_a_row_is_kept_and_the_rest_follows(sampler: TreeSampler, columns: tuple[int, ...]) -> None:
    """Half of the rows know some columns, the other half nothing but a condition."""
    row, mask = np.array([1, 2, 1, 2, 0]), np.zeros((40_000, 5), bool)
    tokens = [t for c in columns for t in SLOTS[c]]
    mask[::2, tokens] = True
    given = [] if 2 in columns else CONDITIONS["one"]
    drawn = sampler.draw_rows(draws(), given, known=Known(np.tile(row, (40_000, 1)).astype(np.uint16), mask))
    kept = (ROWS[:, tokens] == row[tokens]).all(axis=1)
    assert agrees(drawn[::2], joint(sampler) * likely(given) * kept)
    assert agrees(drawn[1::2], joint(sampler) * likely(given))


def test_a_row_is_the_same_in_any_company(sampler: TreeSampler) -> None:
    uniforms, draw = draws(3_000), generator(8)
    known = Known(draw.integers(0, 2, (3_000, 5)).astype(np.uint16), draw.random((3_000, 5)) < 0.4)
    whole = sampler.draw_rows(uniforms, CONDITIONS["one"], known=known)
    for rows in (slice(0, 1), slice(1_000, 1_400), slice(2_999, 3_000)):
        part = sampler.draw_rows(uniforms[:, rows], CONDITIONS["one"], known=Known(known.tokens[rows], known.mask[rows]))
        assert (part == whole[rows]).all()
    assert (sampler.draw_rows(uniforms)[:7] == sampler.draw_rows(uniforms[:, :7])).all()


def test_a_style_makes_shares_bolder(sampler: TreeSampler) -> None:
    def most(style: Style, given: list[Given]) -> float:
        drawn = sampler.draw_rows(draws(), given, style=style)
        return float(np.bincount(drawn[:, 0]).max() / len(drawn))

    for given in ([], [Given(3, np.array([1.0, 0.5]))]):
        assert most(Style(0.3), given) > most(Style(), given) + 0.1
        assert most(Style(1.0, 0.05), given) == 1.0


def test_what_no_row_can_be_is_taken_as_it_is_asked_for() -> None:
    tables = [np.array([[[0.5, 0.5]]]), np.array([[[1.0, 0.0], [1.0, 0.0]]])]
    sampler = TreeSampler(TokenTree((2, 2), (-1, 0), -1, (False, False)), ((0,), (1,)), tables, {})
    assert (sampler.draw_rows(draws()[:2], [Given(1, LAST)])[:, 1] == 1).all()
    known = Known(np.ones((4, 2), np.uint16), np.tile([False, True], (4, 1)))
    assert (sampler.draw_rows(draws(4)[:2], known=known)[:, 1] == 1).all()


def test_columns_that_decide_others_agree_with_them_outside_the_tree() -> None:
    """Column 0 (six values) decides column 1 (three); the tree knows nothing of it."""
    tables = [np.full((1, 1, 6), 1 / 6), np.full((1, 1, 3), 1 / 3)]
    links = [(0, 1, [0, 0, 1, 1, 2, 2])]
    sampler = TreeSampler(TokenTree((6, 3), (-1, -1), -1, (False, False)), ((0,), (1,)), tables, {}, links)
    for given in ([], [Given(1, np.array([0, 1.0, 0]))], [Given(0, np.array([0, 1.0, 0, 0, 0, 1]))]):
        drawn = sampler.draw_rows(draws()[:2], given)
        assert (drawn[:, 0] // 2 == drawn[:, 1]).all()
        assert not given or (given[0].first[drawn[:, given[0].column]] > 0).all()
    drawn = sampler.draw_rows(draws()[:2], [Given(1, np.array([0, 1.0, 0]))])
    assert abs((drawn[:, 0] == 2).mean() - 0.5) < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_the_forest_is_the_maximum_spanning_one(seed: int) -> None:
    draw, graph = generator(seed), networkx.Graph()
    pairs = [(a, b) for a, b in itertools.combinations(range(9), 2) if draw.random() < 0.6]
    scores = draw.random(len(pairs))
    for pair, score in zip(pairs, scores, strict=True):
        graph.add_edge(*pair, weight=score)
    expected = {tuple(sorted(e)) for e in networkx.maximum_spanning_edges(graph, data=False)}
    assert set(spanning_forest(pairs, scores)) == expected


def test_forced_edges_come_first_and_close_no_cycle() -> None:
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert spanning_forest(pairs, np.array([3.0, 2.0, 1.0]), forced=[(1, 2), (2, 1)]) == [(1, 2), (0, 1)]
    assert spanning_forest(pairs, np.array([3.0, -np.inf, -np.inf])) == [(0, 1)]


def test_tokens_hang_on_the_first_one_of_their_parent() -> None:
    slots = ((0,), (1, 2), (), (3,), (4,))
    parents = token_parents(slots, [(1, 3), (0, 1)])
    assert parents == [-1, 0, 1, 1, -1]
    order = parents_first(parents)
    assert sorted(order) == list(range(5)) and all(p < 0 or order.index(p) < order.index(t) for t, p in enumerate(parents))
    deep = parents_first([-1, *range(5_000)])
    assert deep == list(range(5_001))


def test_tables_are_cross_tabulations() -> None:
    tokens = np.stack([generator(4).integers(0, size, 500) for size in SIZES], axis=1).astype(np.uint16)
    tree = TREES["hub"]
    found = tables_of(tokens, tree)
    assert found.rows == 500 and found.counts[0].tolist() == [[np.bincount(tokens[:, 0], minlength=3).tolist()]]
    by_hand = np.zeros((3, 4, 2), int)
    np.add.at(by_hand, (tokens[:, 0], tokens[:, 1], tokens[:, 4]), 1)
    assert (found.counts[4] == by_hand).all()
    assert found.counts[2].shape == (1, 4, 2) and found.counts[3].shape == (3, 1, 3)
    halves = added(tables_of(tokens[:200], tree), tables_of(tokens[200:], tree))
    assert all((a == b).all() for a, b in zip(found.counts, halves.counts, strict=True))


def test_saved_tables_are_loaded_again(tmp_path: Path) -> None:
    found = tables_of(np.zeros((3, 5), np.uint16), TREES["hub"])
    found.save(tmp_path / "t.npz")
    again = TokenTables.load(tmp_path / "t.npz")
    assert again.tree == found.tree and all((a == b).all() for a, b in zip(again.counts, found.counts, strict=True))


def test_shares_lean_on_what_foretells_left_out_rows() -> None:
    """Many rows speak for themselves; single rows that differ from each other say nothing, and what is expected stands."""
    sure = leaning(np.array([[900, 100]]), np.array([[0.5, 0.5]]))
    assert abs(sure[0, 0] - 0.9) < 0.01
    unsure = leaning(np.eye(40, dtype=int), np.full((1, 40), 1 / 40))
    assert unsure.max() < 0.03 and np.allclose(unsure.sum(axis=1), 1)
    masked = leaning(np.array([[5, 5, 0]]), np.array([[0.2, 0.2, 0.6]]), np.array([[True, False, True]]))
    assert masked[0, 1] == 0 and masked.sum() == pytest.approx(1)


def test_three_tables_of_two_are_put_together() -> None:
    """A cube without an interaction of three is found again from its faces."""
    draw = generator(2)
    cube = draw.random((2, 3, 1)) * draw.random((2, 1, 4)) * draw.random((1, 3, 4))
    found = together(cube.sum(axis=0), cube.sum(axis=1), cube.sum(axis=2))
    assert np.allclose(found, cube / cube.sum(axis=2, keepdims=True), atol=1e-4)


def codec_of(*names: str) -> Codec:
    """Categories of four values and a rare one."""
    columns = tuple(ColumnCodec(n, "string", "category", values=tuple("wxyz"), coarse=(0, 1, 2, 3, 4)) for n in names)
    return Codec(columns, pa.schema([(n, pa.string()) for n in names]))


def counted(codec: Codec, tokens: npt.NDArray[Any]) -> Any:
    counter = TokenCounter(codec, every_pair=True)
    counter.add(tokens.astype(np.uint16))
    return counter.counts()


def test_the_structure_of_a_chain_is_the_chain_and_a_common_cause_is_the_hub() -> None:
    draw, rows = generator(6), 20_000

    def after(cells: npt.NDArray[Any], kept: float) -> npt.NDArray[Any]:
        return np.where(draw.random(rows) < kept, cells, draw.integers(0, 4, rows))

    a = draw.integers(0, 4, rows)
    chain = [a]
    for _ in range(3):
        chain.append(after(chain[-1], 0.6))
    codec = codec_of(*"abcd")
    found = column_tree(codec, counted(codec, np.stack(chain, axis=1)))
    joined = {frozenset(e) for e in found.edges} | {frozenset((found.hub, c)) for c in range(4) if found.hub >= 0}
    assert {frozenset(e) for e in ((0, 1), (1, 2), (2, 3))} <= joined
    alone = column_tree(codec, counted(codec, draw.integers(0, 4, (rows, 4))))
    assert len(alone.edges) <= 1
    # each of five columns hangs on the first, and neighbours on each other
    apart = [a, after(a, 0.5)]
    for _ in range(3):
        apart.append(np.where(draw.random(rows) < 0.4, apart[-1], after(a, 0.6)))
    wide = codec_of(*"abcde")
    found = column_tree(wide, counted(wide, np.stack(apart, axis=1)))
    assert found.hub == 0 and set(found.edges) == {(1, 2), (2, 3), (3, 4)}


def test_relations_forbid_what_breaks_them() -> None:
    codec = codec_of("a", "b")
    kept = Codec(codec.columns, codec.schema, (Relation("determines", (0, 1), (1, 1, 2, -1, -1)),))
    allowed = allowed_pairs(kept)
    assert allowed[0, 1][0].tolist() == [False, True, False, False, False] and allowed[0, 1][3].all()
    assert (allowed[1, 0] == allowed[0, 1].T).all()
    tokens = np.array([[0, 1], [1, 1], [2, 2]] * 30)
    for edges in ([(0, 1)], [(1, 0)]):
        tree = TokenTree.of(kept, Structure(-1, tuple(edges)))
        shares = conditionals(kept, tables_of(tokens, tree))
        assert shares[1].shape == (1, 5, 5) and np.allclose(shares[1].sum(axis=2), 1)
        assert (shares[1][0, 0] > 0).tolist() == [False, True, False, False, False]


def test_a_model_is_fitted_saved_and_loaded(tmp_path: Path) -> None:
    from twinlake.core.config import ModelConfig, TrainConfig
    from twinlake.train.fit_marginal import fit_marginal

    codec, draw = codec_of("a", "b", "c"), generator(9)
    a = draw.integers(0, 4, 3_000)
    tokens = np.stack([a, np.where(draw.random(3_000) < 0.7, a, 0), draw.integers(0, 4, 3_000)], axis=1)
    counts, shards = counted(codec, tokens), tmp_path / "shards"
    shards.mkdir()
    tables_of(tokens, TokenTree.of(codec, column_tree(codec, counts))).save(shards / "tables.npz")
    out = tmp_path / "model"
    fit_marginal(codec, counts, shards, tmp_path / "work", out, ModelConfig(family="marginal"), TrainConfig(), 3)
    assert json.loads((out / "model.json").read_text())["family"] == "marginal"
    sampler = load_model(str(out), check_model(out)).sampler
    assert isinstance(sampler, TreeSampler)
    drawn = np.concatenate([sampler.draw(block, 7) for block in range(5)])
    for true, made in ((tokens, drawn),):
        both = [np.bincount(x[:, 0].astype(int) * 5 + x[:, 1], minlength=25) / len(x) for x in (true, made)]
        assert np.abs(both[0] - both[1]).sum() / 2 < 0.02
    assert (sampler.draw(2, 7) == drawn[2 * 4_096 : 3 * 4_096]).all()
