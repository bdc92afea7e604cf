"""What noisy releases cost, against the accountants of opacus and dp-accounting; the ledger that keeps them; the noise."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from twinlake.core.errors import BudgetError, DataError
from twinlake.train import accounting
from twinlake.train.accounting import Release, rdp_epsilon, smallest_sigma, spent, zcdp_epsilon
from twinlake.train.ledger import Budget, Ledger, delta_of
from twinlake.train.noise import drawn, gaussians, noisy_counts, noisy_sum

SETTINGS = [  # rate, sigma, steps
    (0.01, 1.0, 1000),
    (0.03, 0.8, 600),
    (0.1, 2.0, 400),
    (0.2, 5.0, 300),
    (0.001, 0.6, 10_000),
    (0.05, 1.5, 2000),
    (0.02, 0.7, 100),
    (0.3, 10.0, 1000),
    (0.02, 4.0, 5000),
    (0.5, 20.0, 500),
    (1.0, 30.0, 100),
    (0.004, 0.5, 2000),
]


@pytest.mark.parametrize(("rate", "sigma", "steps"), SETTINGS)
def test_two_other_accountants_agree(rate: float, sigma: float, steps: int) -> None:
    import dp_accounting

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        prv = PRVAccountant()
        prv.history = [(sigma, rate, steps)]
        by_prv = prv.get_epsilon(1e-6, eps_error=0.005)
    ours = spent([Release("training", sigma, rate, steps)], 1e-6)
    assert ours == pytest.approx(by_prv, rel=0.02)
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
    other = dp_accounting.rdp.RdpAccountant(orders=list(accounting.ALPHAS)).compose(event, steps).get_epsilon(1e-6)
    by_rdp = rdp_epsilon([Release("training", sigma, rate, steps)], 1e-6)
    assert by_rdp == pytest.approx(other, rel=2e-3)
    assert by_rdp >= ours


@pytest.mark.parametrize(("rate", "sigma", "steps"), [s for s in SETTINGS if s[1] >= 0.7])
def test_the_fallback_is_within_a_fifth(rate: float, sigma: float, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    release = [Release("training", sigma, rate, steps)]
    tight = spent(release, 1e-6)
    monkeypatch.setattr(accounting.importlib.util, "find_spec", lambda _: None)
    assert accounting.accountant(release) == "RDP"
    assert tight <= spent(release, 1e-6) <= 1.2 * tight


def test_a_single_gaussian_release_has_the_analytic_cost() -> None:
    """Balle and Wang 2018: delta = Phi(1 / 2s - eps s) - e^eps Phi(-1 / 2s - eps s)."""
    epsilon = spent([Release("counts", 3.0)], 1e-5)
    delta = stats.norm.cdf(1 / 6 - 3 * epsilon) - math.exp(epsilon) * stats.norm.cdf(-1 / 6 - 3 * epsilon)
    assert delta == pytest.approx(1e-5, rel=1e-2)


def test_releases_of_all_units_compose_by_their_precisions() -> None:
    apart = spent([Release("a", 3.0), Release("b", 4.0)], 1e-6)
    assert apart == pytest.approx(spent([Release("both", 2.4)], 1e-6), rel=1e-6)  # 1/9 + 1/16 = 1/2.4^2


def test_the_probability_of_failing_comes_out_of_delta() -> None:
    assert spent([Release("a", 3.0), Release("b", delta=5e-7)], 1e-6) == spent([Release("a", 3.0)], 5e-7)
    assert spent([Release("a", 3.0), Release("b", delta=1e-6)], 1e-6) == math.inf
    assert spent([], 1e-6) == 0 and spent([Release("a", 0.0)], 1e-6) == math.inf


def test_several_rows_of_a_unit_cost_no_less_than_the_exact_mixture() -> None:
    """dp-accounting has the binomial mixture itself; it is slow, and this bound is near where one row is drawn mostly."""
    from dp_accounting.pld import privacy_loss_distribution as losses

    exact = losses.from_mixture_gaussian_mechanism(8.0, [0, 1, 2], [0.9025, 0.095, 0.0025], value_discretization_interval=1e-3)
    ours = spent([Release("training", 8.0, 0.05, 50, 2)], 1e-6)
    assert exact.self_compose(50).get_epsilon_for_delta(1e-6) < ours < 2.5 * exact.self_compose(50).get_epsilon_for_delta(1e-6)


def test_zcdp_converts_and_mixes() -> None:
    rho = 1 / (2 * 5.0**2)  # of a Gaussian with sigma 5
    assert spent([Release("a", 5.0)], 1e-6) <= zcdp_epsilon(rho, 1e-6) <= 1.2 * spent([Release("a", 5.0)], 1e-6)
    mixed = [Release("select", rho=rho), Release("measure", 5.0)]
    assert accounting.accountant(mixed) == "zCDP"
    assert spent(mixed, 1e-6) == pytest.approx(zcdp_epsilon(2 * rho, 1e-6), rel=2e-2)


@pytest.mark.parametrize("epsilon", [0.5, 3.0])
def test_the_smallest_noise_is_enough_and_hardly_more(epsilon: float) -> None:
    def releases(sigma: float) -> list[Release]:
        return [Release("counts", 40.0), Release("training", sigma, 0.05, 200)]

    sigma = smallest_sigma(releases, epsilon, 1e-6)
    assert 0.98 * epsilon < spent(releases(sigma), 1e-6) <= epsilon
    with pytest.raises(ValueError, match="no noise is enough"):
        smallest_sigma(lambda s: [Release("counts", 1.0), Release("training", s)], 0.5, 1e-6)


# -- noise -----------------------------------------------------------------------------------------------------------


def test_counts_get_whole_gaussian_noise() -> None:
    drawn = noisy_counts(np.full(100_000, 7), 5.0)
    assert drawn.dtype == np.int64
    assert drawn.mean() == pytest.approx(7, abs=0.1)
    assert drawn.std() == pytest.approx(math.sqrt(25 + 1 / 12), rel=0.02)
    assert stats.kstest(gaussians(50_001), "norm").pvalue > 1e-4
    with pytest.raises(TypeError):
        noisy_counts(np.array([0.5]), 1.0)


def test_rows_are_drawn_by_a_coin_each() -> None:
    assert drawn(0, 0.5).tolist() == [] and drawn(7, 1.0).tolist() == list(range(7))
    own = [drawn(400, 0.05) for _ in range(4_000)]
    assert all((np.diff(rows) > 0).all() and (rows >= 0).all() and (rows < 400).all() for rows in own if len(rows))
    often = np.bincount(np.concatenate(own), minlength=400)
    assert stats.kstest((often - 200) / (200 * 0.95) ** 0.5, "norm").pvalue > 1e-4
    together = sum(1 in rows and 2 in rows for rows in own)  # 10 expected, if neighbours are independent
    assert stats.binomtest(together, 4_000, 0.0025).pvalue > 1e-4


def test_neighbours_have_the_same_support() -> None:
    """Mironov's attack looks for outputs that only one of two neighbouring tables can give."""
    one, other = (np.unique(noisy_counts(np.full(100_000, n), 2.0)) for n in (10, 11))
    inside = np.arange(4, 18)
    assert np.isin(inside, one).all() and np.isin(inside, other).all()
    sums = [noisy_sum(torch.full((100_000,), v), 1.0, 1.0).double() for v in (0.1, 0.3)]
    for total in sums:
        assert torch.equal(total * 2**20, (total * 2**20).round())
        assert float(total.std()) == pytest.approx(1.0, rel=0.02)


def test_noise_is_new_each_time() -> None:
    assert not np.array_equal(noisy_counts(np.zeros(50, int), 9.0), noisy_counts(np.zeros(50, int), 9.0))
    zero = torch.zeros(50)
    assert not torch.equal(noisy_sum(zero, 1.0, 1.0), noisy_sum(zero, 1.0, 1.0))


# -- ledger ----------------------------------------------------------------------------------------------------------

BUDGET = Budget(1.0, 1e-6, "row", 1, 1000)


def test_the_ledger_survives_and_goes_on(tmp_path: Path) -> None:
    file, training = tmp_path / "ledger.json", Release("training", 3.0, 0.05)
    ledger = Ledger.begin(file, BUDGET, {"rows": "their number"})
    ledger.spend(Release("codec", 30.0), columns=3)
    assert ledger.reserve(training, 20)
    for _ in range(2):  # killed twice within the second block, which is taken again
        assert Ledger.open(file).reserve(training, 40)
    resumed, undisturbed = Ledger.open(file), [Release("codec", 30.0), Release("training", 3.0, 0.05, 40)]
    assert resumed.spent() == pytest.approx(spent(undisturbed, 1e-6))
    assert resumed.reserve(training, 20) and resumed.spent() == pytest.approx(spent(undisturbed, 1e-6))  # never less
    guarantee = resumed.guarantee()
    assert guarantee["accountant"] == "PLD" and guarantee["public"] == {"rows": "their number"}
    told = {"name": "codec", "sigma": 30.0, "rate": 1.0, "steps": 1, "group": 1, "delta": 0.0, "columns": 3}
    assert guarantee["releases"][0] == told


def test_over_budget_stops_before_the_step(tmp_path: Path) -> None:
    ledger = Ledger.begin(tmp_path / "ledger.json", BUDGET, {})
    training = Release("training", 2.0, 0.05)
    assert ledger.reserve(training, 5)
    assert not ledger.reserve(training, 5000)
    assert Ledger.open(ledger.file).releases["training"].steps == 5
    with pytest.raises(BudgetError, match=r"privacy\.epsilon"):
        ledger.spend(Release("more", 0.5))
    assert "more" not in Ledger.open(ledger.file).releases


def test_what_was_shown_is_not_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "ledger.json"
    first = Ledger.begin(file, BUDGET, {})
    first.spend(Release("codec", 30.0))
    assert Ledger.begin(file, BUDGET, {}).earlier == []  # killed before anything was shown
    second = Ledger.open(file)
    second.spend(Release("codec", 30.0))
    second.show()
    (old,) = Ledger.begin(file, BUDGET, {}).earlier
    assert old["epsilon"] == pytest.approx(spent([Release("codec", 30.0)], 1e-6))
    file.write_text("{")
    with pytest.raises(DataError, match=r"ledger\.json"):
        Ledger.open(file)


def test_delta_by_itself_is_below_one_in_ten_per_row() -> None:
    assert delta_of("auto", 1000) == 1e-6 and delta_of("auto", 10**8) == 1e-9 and delta_of(1e-5, 10**8) == 1e-5
