"""The marginal family under a budget: noise and choices against their formulas, the ledger against the sum of what is asked,
and what comes out where there is hardly any noise against the exact counts."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy import stats

from twinlake.core.config import MarginalConfig, ModelConfig, TrainConfig
from twinlake.core.errors import ConfigError
from twinlake.core.seeds import generator
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.encode import TokenCounter
from twinlake.models.marginal import TreeSampler
from twinlake.models.store import check_model, load_model
from twinlake.profile.counts import TokenCounts
from twinlake.train import private_rounds
from twinlake.train.fit_marginal import fit_marginal
from twinlake.train.ledger import Budget, Ledger
from twinlake.train.noise import noisy_counts
from twinlake.train.noisy_shares import fitted, shares_near, shrunk
from twinlake.train.private_codec import Prepared
from twinlake.train.private_marginal import Measured, measure
from twinlake.train.spender import SPLITS, Spender, exponential, spender_of

ROWS = 20_000


def ledger(folder: Path, epsilon: float = 1.0, most: int = 1, rows: int = ROWS) -> Ledger:
    return Ledger.begin(folder / "ledger.json", Budget(epsilon, 1e-6, "row" if most == 1 else "who", most, rows), {})


def cells() -> npt.NDArray[Any]:
    """Column 0 (3 values) stands behind 1 and 2, 3 hangs on 2, 4 on nothing."""
    draw = generator(5)

    def after(base: npt.NDArray[Any], kept: float, size: int) -> npt.NDArray[Any]:
        return np.where(draw.random(ROWS) < kept, base, draw.integers(0, size, ROWS))

    hub = draw.integers(0, 3, ROWS)
    second = after(hub, 0.6, 4)
    return np.stack([hub, after(hub, 0.7, 3), second, after(second, 0.7, 4), draw.integers(0, 3, ROWS)], axis=1)


def tables(tokens: npt.NDArray[Any], sizes: tuple[int, ...] = (3, 3, 4, 4, 3)) -> dict[tuple[int, int], Any]:
    out = {}
    for a, b in itertools.combinations(range(len(sizes)), 2):
        both = np.bincount(tokens[:, a] * sizes[b] + tokens[:, b], minlength=sizes[a] * sizes[b])
        out[a, b] = both.reshape(sizes[a], sizes[b])
    return out


@pytest.mark.parametrize("most", [1, 4])
def test_noise_is_as_large_as_the_budget_asks(tmp_path: Path, most: int) -> None:
    """Ten tables that a unit changes by `most` each: sqrt(10) most in the Euclidean norm D; rho = (D / deviation)^2 / 2."""
    spender = Spender(ledger(tmp_path, 3.0, most), 0.05)
    zeros = [np.zeros((200, 20), np.int64)] * 10
    noisy, deviation = spender.counts("pairs", zeros)
    assert deviation == pytest.approx(most * math.sqrt(10 / (2 * 0.05 * SPLITS["tree"]["pairs"])))
    assert np.std(noisy) == pytest.approx(deviation, rel=0.02)
    assert abs(np.mean(noisy)) < 5 * deviation / math.sqrt(40_000)
    assert all((n == np.rint(n)).all() for n in noisy)


def test_a_choice_is_the_exponential_mechanism(tmp_path: Path) -> None:
    """exp(epsilon score / (2 sensitivity)), where `times` of them are epsilon^2 / 8 each of the share of rho."""
    spender = Spender(ledger(tmp_path, 50.0, 2), 1.6)
    choose, scores = spender.choice("which pairs", 4), np.array([0.0, 3.0, -2.0, 1.0])
    epsilon = math.sqrt(8 * 1.6 * SPLITS["tree"]["which pairs"] / 4)
    expected = np.exp(epsilon * scores / (2 * 2))
    found = np.bincount([choose(scores) for _ in range(20_000)], minlength=4)
    assert stats.chisquare(found, expected / expected.sum() * 20_000).pvalue > 1e-4


def test_what_is_asked_adds_up_to_the_budget(tmp_path: Path) -> None:
    own = ledger(tmp_path)
    spender = spender_of(own, False)
    measure(tables(cells()), (3, 3, 4, 4, 3), [0, 1], spender)
    spent = [r.rho if r.rho is not None else 1 / (2 * (r.sigma or 0.0) ** 2) for r in own.releases.values()]
    assert set(own.releases) == set(SPLITS["tree"]) and sum(SPLITS["tree"].values()) == pytest.approx(1)
    assert sum(spent) == pytest.approx(spender.rho)
    assert 0.98 < own.spent() <= 1.0
    again = spender_of(own, False)  # nothing of the first was shown: it is taken back
    assert again.rho == pytest.approx(spender.rho) and not own.earlier
    measure(tables(cells()), (3, 3, 4, 4, 3), [0, 1], again)
    assert own.spent() <= 1.0
    spender_of(own, True)
    assert [e["epsilon"] for e in own.earlier] == [pytest.approx(1.0, abs=0.02)]


def test_an_empty_purse_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.epsilon leaves nothing"):
        spender_of(ledger(tmp_path, 1e-12), False)


def test_without_noise_to_speak_of_the_counts_come_back(tmp_path: Path) -> None:
    exact = tables(cells())
    found = measure(exact, (3, 3, 4, 4, 3), [0, 1], spender_of(ledger(tmp_path, 300.0), False))
    assert found.hub == 0 and found.edges[0] == (2, 3)  # those behind it are what chance gives
    for c, table in found.beside.items():
        assert np.abs(table - exact[0, c] / ROWS).max() < 2e-3
    for (a, b), table in found.pairs.items():
        assert np.abs(table - (exact[a, b] if a < b else exact[b, a].T) / ROWS).max() < 2e-3
    assert np.abs(found.singles[3] - exact[0, 3].sum(axis=0) / ROWS).max() < 1e-3


def test_rare_values_are_counted_together_and_spread_again(tmp_path: Path) -> None:
    tokens = cells()
    tokens[:40, 1] = 3
    exact = tables(tokens, (3, 4, 4, 4, 3))
    found = measure(exact, (3, 4, 4, 4, 3), [0], spender_of(ledger(tmp_path, 0.3), False))
    assert found.beside[1].shape == (3, 4) and found.beside[1].sum() == pytest.approx(1)
    assert found.beside[1].sum(axis=0) == pytest.approx(found.singles[1], abs=1e-6)


def test_the_nearest_shares_by_hand() -> None:
    """Of the sum 6, one less for each that stays above zero."""
    assert shares_near(np.array([5.0, 3.0, -2.0])) == pytest.approx(np.array([4.0, 2.0, 0.0]) / 6)
    assert shares_near(np.array([-3.0, -1.0])).sum() == pytest.approx(1)


def test_a_noisy_table_takes_the_shares_of_its_columns() -> None:
    rows, columns = np.array([0.5, 0.3, 0.2]), np.array([0.6, 0.4])
    found = fitted(np.array([[30.0, 15], [-2, 40], [10, 10]]), rows, columns)
    assert found.sum(axis=1) == pytest.approx(rows, abs=1e-3) and found.sum(axis=0) == pytest.approx(columns, abs=1e-3)
    assert (found >= 0).all()


def asked_in_rounds(pairs: Any, sizes: tuple[int, ...], hubs: list[int], own: Ledger) -> Measured:
    return measure(pairs, sizes, hubs, spender_of(own, False, "adaptive"))


@pytest.mark.parametrize("most", [1, 4])
def test_rounds_stay_within_the_budget(tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round's rho, worked out from what was drawn: (most / deviation)^2 / 2 a measurement, epsilon^2 / 8 a choice."""
    own, paid = ledger(tmp_path, 1.0, most), []

    def counts(table: Any, deviation: float) -> Any:
        assert "rounds" in Ledger.open(own.file).releases  # it stands there before it is made
        paid.append((most / deviation) ** 2 / 2)
        return noisy_counts(table, deviation)

    def choice(scores: Any, epsilon: float, rows: int) -> int:
        assert rows == most and "rounds" in Ledger.open(own.file).releases
        paid.append(epsilon**2 / 8)
        return exponential(scores, epsilon, rows)

    monkeypatch.setattr(private_rounds, "noisy_counts", counts)
    monkeypatch.setattr(private_rounds, "exponential", choice)
    spender = spender_of(own, False, "adaptive")
    measure(tables(cells()), (3, 3, 4, 4, 3), [0, 1], spender)
    assert sum(paid) == pytest.approx(spender.rho * SPLITS["adaptive"]["rounds"])
    assert set(own.releases) == set(SPLITS["adaptive"]) and sum(SPLITS["adaptive"].values()) == pytest.approx(1)
    whole = sum(r.rho if r.rho is not None else 1 / (2 * (r.sigma or 0.0) ** 2) for r in own.releases.values())
    assert whole == pytest.approx(spender.rho) and 0.98 < own.spent() <= 1.0
    assert spender_of(own, False, "tree").rho == pytest.approx(spender.rho)  # the other selection takes its place
    assert not own.releases


def test_rounds_without_noise_to_speak_of_bring_the_counts_back(tmp_path: Path) -> None:
    exact = tables(cells())
    found = asked_in_rounds(exact, (3, 3, 4, 4, 3), [0, 1], ledger(tmp_path, 300.0))
    assert found.hub == 0 and (2, 3) in found.edges and set(found.beside) == {1, 2, 3, 4}
    for c, table in found.beside.items():
        assert np.abs(table - exact[0, c] / ROWS).max() < 2e-3
    for pair, table in found.pairs.items():
        assert np.abs(table - exact[pair] / ROWS).max() < 2e-3


def test_rounds_without_a_hub_and_with_a_pair_alone(tmp_path: Path) -> None:
    exact = tables(cells()[:, 2:4], (4, 4))
    found = asked_in_rounds(exact, (4, 4), [0, 1], ledger(tmp_path, 3.0))
    assert found.hub == -1 and not found.beside and found.edges == ((0, 1),)
    assert np.abs(found.pairs[0, 1] - exact[0, 1] / ROWS).sum() / 2 < 0.02


def test_answers_about_one_pair_are_averaged_by_their_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pair, always chosen: what the model is fitted to is sum(w x) / sum(w) of variance 1 / sum(w), w = 1 / deviation^2."""
    answers: list[tuple[float, Any]] = []
    fits: list[tuple[Any, float]] = []
    epsilons: list[float] = []

    def counts(table: Any, deviation: float) -> Any:
        answers.append((deviation, noisy_counts(table, deviation)))
        return answers[-1][1]

    def choice(scores: Any, epsilon: float, _: int) -> int:
        epsilons.append(epsilon)
        return 0

    def lean(noisy: Any, expected: Any, variance: float) -> Any:
        fits.append((noisy, variance))
        return shrunk(noisy, expected, variance)

    monkeypatch.setattr(private_rounds, "noisy_counts", counts)
    monkeypatch.setattr(private_rounds, "exponential", choice)
    monkeypatch.setattr(private_rounds, "shrunk", lean)
    even = np.full(4, 0.25)
    spender = Spender(ledger(tmp_path, 1.0), 0.01, "adaptive")
    private_rounds.in_rounds({(0, 1): np.full((4, 4), 1250)}, [even, even], ROWS, -1, {}, math.inf, spender)
    weights = np.array([1 / deviation**2 for deviation, _ in answers])
    assert len(answers) == 2
    assert fits[-1][1] == pytest.approx(1 / weights.sum())
    assert fits[-1][0] == pytest.approx(np.tensordot(weights, [x for _, x in answers], axes=1) / weights.sum())
    # 0.004 in eight steps: one, which gains nothing of independent columns; four would leave three: the last takes all seven
    assert epsilons == pytest.approx([0.02, 0.02 * math.sqrt(7)])


def test_noisy_counts_lean_on_what_was_expected_by_hand() -> None:
    """Distance 5, squared 25; noise of variance 4 in two cells: 1 - 8 / 25 of it is left; of variance 20 nothing."""
    expected, noisy = np.array([10.0, 10.0]), np.array([13.0, 6.0])
    assert shrunk(noisy, expected, 4.0) == pytest.approx(np.array([12.04, 7.28]))
    assert (shrunk(noisy, expected, 20.0) == expected).all()


def counted(tokens: npt.NDArray[Any]) -> tuple[Codec, TokenCounts]:
    values = tuple("wxyz")
    columns = tuple(ColumnCodec(n, "string", "category", values=values, coarse=(0, 1, 2, 3, 4)) for n in "abcde")
    codec = Codec(columns, pa.schema([(n, pa.string()) for n in "abcde"]))
    counter = TokenCounter(codec, every_pair=True)
    counter.add(tokens.astype(np.uint16))
    return codec, counter.counts()


@pytest.mark.parametrize("selection", ["tree", "adaptive"])
def test_a_private_model_is_near_the_table_and_another_one_each_time(
    tmp_path: Path, selection: Literal["tree", "adaptive"]
) -> None:
    tokens = cells()
    codec, counts = counted(tokens)
    shares = [np.bincount(tokens[:, t], minlength=5) / ROWS for t in range(5)]
    models = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        prepared = Prepared(ledger(folder), shares)
        family = ModelConfig(family="marginal", marginal=MarginalConfig(selection=selection))
        out = folder / "model"
        facts = fit_marginal(codec, counts, folder, folder / "work", out, family, TrainConfig(), 3, prepared=prepared)
        assert facts["privacy"]["epsilon"] <= 1.0 and facts["hub"] in codec.names and facts["shares"] > 0
        sampler = load_model(str(out), check_model(out)).sampler
        assert isinstance(sampler, TreeSampler)
        models.append(sampler)
    drawn = np.concatenate([models[0].draw(block, 7) for block in range(5)])
    for a, b in ((0, 1), (0, 2), (2, 3)):
        both = [np.bincount(x[:, a].astype(int) * 5 + x[:, b], minlength=25) / len(x) for x in (tokens, drawn)]
        assert np.abs(both[0] - both[1]).sum() / 2 < 0.06
    assert any(a.shape != b.shape or (a != b).any() for a, b in zip(models[0].tables, models[1].tables, strict=True))
