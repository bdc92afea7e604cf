"""Filters of generated rows: the search for near rows against an exact one, the limits, and what is drawn again."""

from __future__ import annotations

import itertools
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from random_model import save_random_model

from twinlake.core.errors import DataError
from twinlake.core.privacy_config import FiltersConfig
from twinlake.core.progress import Silent
from twinlake.generate import filter_index
from twinlake.generate.blocks import ATTEMPTS, Job, decoded
from twinlake.generate.filter_index import filters_of
from twinlake.generate.filters import Filters, Screen
from twinlake.generate.generate import _refused
from twinlake.generate.nearest import Forest, squared_distances
from twinlake.generate.points import Places
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.store import check_model, load_model
from twinlake.tables.parts import publish, write_part
from twinlake.tables.run_folder import RunFolder

AUTO, NONE = FiltersConfig(), FiltersConfig(outliers=None, similarity=None)


# -- the search --------------------------------------------------------------------------------------------------------


def exact(queries: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Squared distances to the nearest row, by the formula, pair by pair."""
    return np.array([(np.minimum(np.abs(rows - one), 1.0) ** 2).sum(axis=1).min() for one in queries.astype(np.float64)])


def mixed_rows(rows: int, seed: int) -> npt.NDArray[np.float32]:
    """Six numbers that go together, and six categories of which two are rare but for one value."""
    draw = np.random.default_rng(seed)
    level = draw.random((rows, 1))
    numbers = np.clip(level + draw.normal(0, 0.15, (rows, 6)), 0, 1)
    numbers[:, 5] = np.where(draw.random(rows) < 0.8, 0.4, numbers[:, 5])
    codes = np.minimum(draw.geometric([0.2, 0.3, 0.5, 0.5, 0.97, 0.99], (rows, 6)), 40)
    return np.concatenate([numbers, codes], axis=1).astype(np.float32)


NUMBERS = np.arange(12) < 6


def test_the_distance_is_as_written() -> None:
    a = np.array([[0.25, 3.0, 2.0, 0.5]], np.float32)  # a number, a category, a gap, a number
    b = np.array([[0.75, 3.0, 0.4, 0.5], [0.25, 7.0, 2.0, 2.0]], np.float32)
    assert squared_distances(a, b).tolist() == [0.25 + 0 + 1 + 0, 0 + 1 + 0 + 1]


def test_near_rows_are_found_as_an_exact_search_finds_them() -> None:
    rows, queries = mixed_rows(20_000, 1), mixed_rows(1_000, 2)
    forest = Forest.of(rows, np.ones(len(rows), np.bool_), NUMBERS, 3)
    found, every = forest.nearest(queries)
    true = exact(queries, rows)
    assert (found >= true - 1e-5).all() and (found == every).all()
    for share in (0.01, 0.05):
        near = true < np.quantile(true, share)
        assert near.sum() >= 10 and (found[near] <= true[near] + 1e-5).mean() >= 0.95


def test_a_row_finds_itself_and_a_planted_copy_is_found_in_a_crowd() -> None:
    """30,000 rows that are equal but for one number: keys of a few columns would not tell them apart."""
    crowd = np.zeros((30_000, 12), np.float32)
    crowd[:, 0] = np.random.default_rng(5).permutation(30_000) / 30_000
    own = np.ones(len(crowd), np.bool_)
    found, _ = Forest.of(crowd, own, NUMBERS, 3).nearest(crowd[:1_000])
    assert (found == 0).all()


def test_rows_that_are_not_own_count_for_all_alone() -> None:
    rows = mixed_rows(500, 1)
    own = np.arange(500) >= 250
    found, every = Forest.of(rows, own, NUMBERS, 3).nearest(rows)
    assert (every == 0).all() and (found[own] == 0).all() and (found[~own] > 0).all()
    nothing, none = Forest.of(rows[:0], own[:0], NUMBERS, 3).nearest(rows)
    assert np.isinf(nothing).all() and np.isinf(none).all()


def test_the_search_does_not_depend_on_what_is_searched_for_with_it() -> None:
    rows, queries = mixed_rows(3_000, 1), mixed_rows(900, 2)
    forest = Forest.of(rows, np.ones(3_000, np.bool_), NUMBERS, 3)
    whole = forest.nearest(queries)[0]
    assert (np.concatenate([forest.nearest(queries[i : i + 77])[0] for i in range(0, 900, 77)]) == whole).all()


# -- filters of a model -------------------------------------------------------------------------------------------------

TABLE = pa.schema([("a", pa.float64()), ("b", pa.float64()), ("kind", pa.string()), ("place", pa.string())])


def codec_of(schema: pa.Schema, categories: int = 12) -> Codec:
    """Numbers in [0, 1) of 96 x 32 cells, and categories."""
    edges = np.arange(3_073) / 3_072
    columns = []
    for field in schema:
        if field.type == pa.float64():
            cells: dict[str, Any] = {
                "low": tuple(edges[:-1]),
                "high": tuple(edges[1:]),
                "bin_start": tuple(range(0, 3_072, 32)),
            }
            coarse = tuple(i // 7 for i in range(97))
            columns.append(ColumnCodec(field.name, "double", "number", domain="float", coarse=coarse, **cells))
        else:
            values = tuple(f"{field.name}{i}" for i in range(categories))
            coarse = tuple(range(categories + 1))
            columns.append(ColumnCodec(field.name, "string", "category", values=values, coarse=coarse))
    return Codec(tuple(columns), schema)


class Made:
    """A run folder with a model that needed no training, and train and holdout rows that it drew itself."""

    def __init__(self, root: Path, codec: Codec, train: int, holdout: int) -> None:
        self.folder = RunFolder(root)
        save_random_model(self.folder.model, codec)
        self.digest = check_model(self.folder.model)
        self.model = load_model(str(self.folder.model), self.digest)
        self.train = self.publish("protected", 101, train)
        self.publish("private/holdout", 102, holdout)

    def rows(self, seed: int, count: int, filters: Filters | None = None, refused: Counter[str] | None = None) -> pa.Table:
        job = Job(str(self.folder.model), self.digest, count, seed, {}, filters=filters)
        drawn = decoded(range(-(-count // 4_096)), job, refused)
        return pa.Table.from_batches([batch for _, _, batch in drawn])

    def publish(self, name: str, seed: int, count: int, parts: int = 2, alike: bool = False) -> pa.Table:
        rows = self.rows(seed, count) if count else self.model.codec.schema.empty_table()
        if alike:  # what this model draws once in 144 rows
            rows = rows.filter((pc.field("kind") == "kind0") & (pc.field("place") == "place0"))
            count = rows.num_rows
        staging = self.folder.root / f"staging-{seed}"
        staging.mkdir()
        for part in range(parts):
            write_part(staging, part, rows.schema, rows.take(np.arange(part, count, parts)).to_batches())
        (self.folder / name).parent.mkdir(exist_ok=True)
        publish(staging, self.folder / name, parts, {})
        return rows

    def filters(self, wanted: FiltersConfig = AUTO, steered: tuple[str, ...] = ()) -> tuple[Filters | None, list[str]]:
        return filters_of(None, self.folder, self.model, self.digest, wanted, 10, steered)  # type: ignore[arg-type]

    def refused(self, filters: Filters, rows: pa.Table) -> dict[str, float]:
        tokens = self.model.codec.encode(rows.combine_chunks().to_batches()[0])
        hits = Screen.of(filters, self.model.sampler).refused(tokens)
        return {name: float(found.mean()) for name, found in hits.items()}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Spark's tasks, one after the other."""

    def run(_spark: Any, numbers: Iterable[int], _tasks: int | None, work: Callable[[int], Iterator[Any]]) -> list[Any]:
        return [row for number in numbers for row in work(number)]

    monkeypatch.setattr(filter_index, "run_tasks", run)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("run"), codec_of(TABLE), 20_000, 5_000)


def test_honest_rows_pass_and_copies_do_not(made: Made) -> None:
    filters, notes = made.filters()
    assert filters is not None and notes == [] and not filters.strict
    fresh = made.refused(filters, made.rows(103, 20_000))
    assert 0.002 < fresh["similarity"] <= 0.02 and fresh["outliers"] <= 0.004
    assert made.refused(filters, made.train)["similarity"] == 1.0
    high, _ = made.filters(FiltersConfig(similarity="high", outliers="high"))
    assert high is not None and high.strict and filters.near is not None and high.near is not None and high.near > filters.near
    fresh = made.refused(high, made.rows(103, 20_000))
    assert 0.02 < fresh["similarity"] <= 0.1 and 0.005 < fresh["outliers"] <= 0.04


def test_nearly_equal_rows_do_not_pass(made: Made) -> None:
    filters, _ = made.filters()
    near = made.train.set_column(0, "a", pa.array(np.clip(made.train["a"].to_numpy() + 0.0004, 0, 0.9999)))
    assert filters is not None and made.refused(filters, near)["similarity"] > 0.95


def test_rows_where_none_is_are_outliers(made: Made) -> None:
    """The least likely of all 12 x 12 pairs of categories with the least likely numbers."""
    filters, _ = made.filters()
    assert filters is not None and made.model.sampler is not None and filters.unlikely is not None
    rows = made.rows(104, 40_000)
    told = made.model.sampler.log_prob(made.model.codec.encode(rows.combine_chunks().to_batches()[0]))
    hits = made.refused(filters, rows.take(np.argsort(told)[:20]))
    assert hits["outliers"] == 1.0


def test_refused_rows_are_drawn_again_whatever_the_blocks_beside_them(made: Made) -> None:
    filters, _ = made.filters()
    refused: Counter[str] = Counter()
    drawn = made.rows(7, 20_000, filters, refused)
    plain = made.rows(7, 20_000)
    assert filters is not None and drawn.num_rows == 20_000 and refused["left"] == 0
    assert made.refused(filters, drawn) == {"similarity": 0.0, "outliers": 0.0}
    first = made.refused(filters, plain)
    changed = np.mean([a != b for a, b in zip(drawn["a"].to_pylist(), plain["a"].to_pylist(), strict=True)])
    assert 0 < changed <= first["similarity"] + first["outliers"]
    assert 20_000 * changed <= refused["similarity"] + refused["outliers"] < 20_000 * changed * 1.5
    job = Job(str(made.folder.model), made.digest, 20_000, 7, {}, filters=filters)
    alone = pa.Table.from_batches([batch for block in range(5) for _, _, batch in decoded(range(block, block + 1), job)])
    assert alone.equals(drawn)


def test_the_parts_of_the_train_rows_do_not_matter(made: Made, tmp_path: Path) -> None:
    other = Made(tmp_path, codec_of(TABLE), 0, 0)
    for name, seed, rows in (("protected", 101, 20_000), ("private/holdout", 102, 5_000)):
        other.publish(name, seed, rows, parts=5)
    ours, theirs = made.filters()[0], other.filters()[0]
    assert ours is not None and theirs is not None
    sample = made.rows(103, 5_000)
    assert made.refused(replace(ours, far=0.5), sample) == other.refused(replace(theirs, near=ours.near, far=0.5), sample)


def test_with_few_holdout_rows_exact_copies_alone_are_refused(tmp_path: Path) -> None:
    few = Made(tmp_path, codec_of(TABLE), 5_000, 50)
    filters, notes = few.filters()
    assert filters is not None and filters.far is None and filters.unlikely is None and len(notes) == 2
    assert any("exact copies alone" in note for note in notes) and any("no outlier filter" in note for note in notes)
    assert few.refused(filters, few.train)["similarity"] == 1.0
    assert few.refused(filters, few.rows(103, 5_000))["similarity"] < 0.002


@pytest.mark.parametrize("holdout", [0, 2_000])
def test_where_equal_rows_are_natural_nothing_is_refused(tmp_path: Path, holdout: int) -> None:
    """27 different rows, most of them held by hundreds: not one is anybody's own."""
    names = pa.schema([(name, pa.string()) for name in "abc"])
    common = Made(tmp_path, codec_of(names, 3), 5_000, holdout)
    filters, _ = common.filters(replace_level("similarity"))
    share = 0.0 if filters is None else common.refused(filters, common.rows(103, 5_000))["similarity"]
    assert share <= 0.02


def replace_level(kept: str) -> FiltersConfig:
    return FiltersConfig(**{name: "auto" if name == kept else None for name in ("outliers", "similarity")})


def test_half_of_the_rows_equal_by_chance(tmp_path: Path) -> None:
    """4,096 different rows, each held by few of 5,000: equal rows are everywhere, and no sign of a copy."""
    names = pa.schema([(name, pa.string()) for name in "abc"])
    common = Made(tmp_path, codec_of(names, 16), 5_000, 2_000)
    filters, _ = common.filters(replace_level("similarity"))
    share = 0.0 if filters is None else common.refused(filters, common.rows(103, 5_000))["similarity"]
    assert share <= 0.02


def test_a_model_that_makes_nothing_else(tmp_path: Path) -> None:
    """Every row that it can make is refused: kept and told where the filter is on by itself, else an error."""
    every = list(itertools.product(range(4), repeat=2))
    names = pa.schema([(name, pa.string()) for name in "ab"])
    only = Made(tmp_path, codec_of(names, 4), 3_000, 0)
    assert len(set(zip(*only.train.to_pydict().values(), strict=True))) == len(every)
    filters_of(None, only.folder, only.model, only.digest, AUTO, 10**6, ())  # type: ignore[arg-type]
    filters = Filters(str(only.folder.private / "filter"), "any", near=1e-9)
    refused: Counter[str] = Counter()
    assert only.rows(7, 1_000, filters, refused).num_rows == 1_000
    assert refused == {"similarity": 1_000 * (ATTEMPTS + 1), "outliers": 0, "left": 1_000}
    staging = tmp_path / "staging"
    staging.mkdir()
    rows = only.rows(7, 10)
    write_part(staging, 0, rows.schema, rows.to_batches(), lambda: {"filters": dict(refused)})
    job = Job(str(only.folder.model), only.digest, 1_000, 7, {}, filters=filters)
    assert _refused(staging, job, Silent())["kept in spite of filters"] == 1_000
    with pytest.raises(DataError, match=r"privacy\.filters: 1,000 of 1,000 rows"):
        _refused(staging, replace(job, filters=replace(filters, strict=True)), Silent())


def test_conditions_turn_the_outlier_filter_off_unless_it_is_asked_for(made: Made) -> None:
    filters, notes = made.filters(steered=("kind",))
    assert filters is not None and filters.far is None and filters.unlikely is None and "outliers turns it on" in notes[0]
    asked, _ = made.filters(FiltersConfig(outliers="medium"), steered=("kind",))
    assert asked is not None and asked.unlikely is not None
    assert made.filters(NONE) == (None, [])


def test_a_model_far_from_the_table_is_not_asked_for_other_rows_by_itself(tmp_path: Path) -> None:
    """All train and holdout rows hold one of the 144 pairs of categories; about 1 of 144 rows of the model does."""
    far = Made(tmp_path, codec_of(TABLE), 0, 0)
    for name, seed, rows in (("protected", 101, 100_000), ("private/holdout", 102, 400_000)):
        shutil.rmtree(far.folder.root / name)
        far.publish(name, seed, rows, alike=True)
    filters, notes = far.filters()
    assert filters is not None and filters.near is not None and filters.far is None and filters.unlikely is None
    assert len(notes) == 1 and re.search(r"no outlier filter: it would refuse (9\d|100)% of the rows .*train.epochs", notes[0])
    asked, notes = far.filters(FiltersConfig(outliers="medium"))
    assert asked is not None and asked.far is not None and asked.strict and notes == []


def test_a_place_where_many_are_near_is_not_thinned_out(tmp_path: Path) -> None:
    """All train rows hold one pair of categories of nine, and half of the drawn rows that do are refused. Fresh rows in their
    place would leave 0.5 + 0.5 x 0.11 of the pair; a redraw that keeps three columns of four in the mean leaves more."""
    crowd = Made(tmp_path, codec_of(TABLE, 3), 0, 0)
    for name, seed, rows in (("protected", 101, 40_000), ("private/holdout", 102, 20_000)):
        shutil.rmtree(crowd.folder.root / name)
        crowd.publish(name, seed, rows, alike=True)
    filters, _ = crowd.filters()
    assert filters is not None

    def pairs(rows: pa.Table) -> npt.NDArray[np.bool_]:
        both = pc.and_(pc.equal(rows["kind"], "kind0"), pc.equal(rows["place"], "place0"))
        return np.asarray(both.to_numpy(zero_copy_only=False))

    plain = crowd.rows(7, 20_000)
    of_crowd = crowd.model.codec.encode(plain.filter(pa.array(pairs(plain))).combine_chunks().to_batches()[0])
    screen = Screen.of(filters, None)
    near = float(np.median(screen.forest.nearest(screen.places.points(of_crowd))[0]))
    half = replace(filters, near=near, far=None, unlikely=None)
    refused: Counter[str] = Counter()
    drawn = crowd.rows(7, 20_000, half, refused)
    assert refused["left"] == 0 and crowd.refused(half, drawn)["similarity"] == 0.0
    assert 0.65 < pairs(drawn).sum() / pairs(plain).sum() < 0.9
    job = Job(str(crowd.folder.model), crowd.digest, 20_000, 7, {}, filters=half)
    alone = pa.Table.from_batches([batch for block in range(5) for _, _, batch in decoded(range(block, block + 1), job)])
    assert alone.equals(drawn)


def test_a_budget_turns_filters_off_and_refuses_those_asked_for() -> None:
    assert AUTO.within_budget() == NONE == NONE.within_budget()
    with pytest.raises(ValueError, match=r"privacy\.filters\.similarity: high"):
        FiltersConfig(similarity="high").within_budget()


# -- coordinates and probabilities -------------------------------------------------------------------------------------


def test_a_number_lies_at_its_rank_and_a_state_apart() -> None:
    """Half of the rows hold the atom 5, a quarter each of the two bins below and above it."""
    column = ColumnCodec(
        "n", "double", "number", states=("null",), atoms=(5.0,), low=(0.0, 2.0, 6.0), high=(2.0, 4.0, 9.0),
        bin_start=(0, 2), domain="float", coarse=(0, 1, 2, 3, 4),
    )  # fmt: skip
    codec = Codec((column,), pa.schema([("n", pa.float64())]))
    places = Places.of(codec, [np.array([7, 50, 25, 25, 0])])
    values = pa.array([None, 5.0, 1.0, 3.0, 7.0])
    points = places.points(codec.encode(pa.record_batch([values], schema=codec.schema)))
    assert points[:, 0].tolist() == pytest.approx([2.0, 0.5, 0.0625, 0.1875, 0.875])


def test_log_probabilities_are_those_that_rows_are_drawn_by(made: Made) -> None:
    """A model of two categories draws each of its 16 rows about as often as its probability says."""
    names = pa.schema([(name, pa.string()) for name in "ab"])
    codec = codec_of(names, 4)
    model = load_model(str(save_random_model(made.folder.root / "two", codec)), "two")
    assert model.sampler is not None
    drawn = np.concatenate([model.sampler.draw(block, 5) for block in range(40)])
    cells = np.array(list(itertools.product(range(4), repeat=2)), np.uint16)
    told = np.exp(model.sampler.log_prob(cells))
    assert told.sum() == pytest.approx(1.0, abs=1e-5) and told.std() > 0.005
    seen = np.array([(drawn == cell).all(axis=1).mean() for cell in cells])
    assert np.abs(seen - told).max() < 5 * np.sqrt(told.max() / len(drawn))
    assert np.isneginf(model.sampler.log_prob(np.array([[4, 0]], np.uint16)))  # rare values are never drawn


@pytest.mark.parametrize(
    ("rows", "share", "limit"), [(99, 0.01, 0.0), (199, 0.01, 1.0), (98, 0.05, None), (175, 0.001, None), (999, 0.001, 0.0)]
)
def test_a_limit_is_an_order_statistic_or_there_is_none(rows: int, share: float, limit: float | None) -> None:
    """k = share (rows + 1): of 199 rows and 1% the second; a share that so few rows can't resolve has none."""
    assert filter_index._limit(np.random.default_rng(1).permutation(rows).astype(float), share) == limit
