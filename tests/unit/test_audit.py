"""The audit: its bound against the binomial by hand, and that it finds planted bugs and no others."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from twinlake.core.seeds import generator
from twinlake.models import by_row, uses
from twinlake.models.cores import LanguageSettings
from twinlake.models.layout import Layout
from twinlake.models.tabular import TabularSettings
from twinlake.train import dp
from twinlake.train.accounting import Release
from twinlake.train.audit import Audit, audit, chance, guessed, lower_bound
from twinlake.train.dp import PrivateSteps, private_steps
from twinlake.train.exposure import CHANCE
from twinlake.train.language import LanguagePlan
from twinlake.train.ledger import Budget, Ledger
from twinlake.train.tabular import TabularPlan

SIZES = (400, 400)
STEPS, CLIP = 60, 0.1


def test_the_bound_is_that_of_the_binomial() -> None:
    assert chance(1000, 500, 300, 0.5, 0.0) == pytest.approx(stats.binom.sf(299, 500, 1 / (1 + np.exp(-0.5))), rel=1e-9)
    low = lower_bound(1000, 500, 450, 0.0)
    assert stats.binom.sf(449, 500, 1 / (1 + np.exp(-low))) == pytest.approx(0.05, abs=1e-4)
    assert lower_bound(1000, 500, 450, 1e-5) < low
    assert lower_bound(1000, 500, 255, 0.0) == 0.0
    assert lower_bound(1000, 500, 500, 0.0) > 5


def test_the_highest_scores_are_taken_for_kept() -> None:
    kept = np.array([True, True, False, True, False, False, True, False])
    assert guessed(np.arange(8, 0, -1.0), kept) == (4, 3)  # of the four outer ones the last but one was kept


@pytest.fixture(params=["tabular", "language"])
def family(request: Any) -> str:
    return str(request.param)


def toy(tmp_path: Path, family: str) -> tuple[TabularPlan | LanguagePlan, PrivateSteps, Ledger]:
    """A model of two columns in which every canary has a cell of its own."""
    common: dict[str, Any] = {
        "family": family,
        "shards": "unused",
        "progress": str(tmp_path / "progress.jsonl"),
        "seed": 1,
        "batch": 100,
        "steps": STEPS,
        "rate": 0.05,
        "checks": 4,
        "patience": STEPS,
        "max_seconds": None,
        "stops_early": False,
        "limits": [],
        "private": {},
        "shares": [[1 / size] * size for size in SIZES],
    }
    slots = ((0,), (1,))
    plan: TabularPlan | LanguagePlan
    if family == "language":
        settings = asdict(LanguageSettings("transformer", 32, 0, 1, 0.0, 0.0))
        plan = LanguagePlan(settings=settings, layout=asdict(Layout(SIZES, slots, (0, 1))), **common)
    else:
        plan = TabularPlan(
            settings=asdict(TabularSettings(8, 8, 0, 0.0, 0.0, 0.0)),
            sizes=SIZES,
            slots=slots,
            parents=[[0, 1]] * 2,
            links=[[1.0, 1.0]] * 2,
            orders=[[0, 1]],
            places=[],
            trial_steps=0,
            **common,
        )
    ledger = Ledger.begin(tmp_path / "ledger.json", Budget(1.0, 1e-5, "row", 1, 400), {})
    return plan, private_steps(ledger, rate=0.5, steps=STEPS, clip=CLIP), ledger


def audited(tmp_path: Path, family: str = "tabular") -> Audit:
    torch.set_num_threads(1)
    rows = generator(5).integers(0, 20, (200, 2)).astype(np.uint16)
    canaries = np.stack([np.arange(100, 400), np.arange(100, 400)[::-1]], axis=1).astype(np.uint16)
    plan, steps, ledger = toy(tmp_path, family)
    return audit(plan, steps, rows, canaries, ledger)


def test_an_honest_claim_stands(tmp_path: Path, family: str) -> None:
    found = audited(tmp_path, family)
    assert found.holds, found.to_text()
    assert found.claimed == pytest.approx(1.0, abs=0.01) and found.counted == pytest.approx(found.claimed)
    assert "nothing speaks against" in found.to_text()
    assert found.exposure == pytest.approx(CHANCE, abs=0.8)  # of about 150 canaries: more than four standard errors


def test_training_without_clipping_is_found(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "shrink", lambda norms, clip: torch.ones_like(norms))
    monkeypatch.setattr(by_row, "shrink", uses.shrink)
    found = audited(tmp_path, family)
    assert found.lower > found.claimed and not found.holds, found.to_text()


def test_training_without_noise_is_found(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dp, "noisy_sum", lambda total, *_: total)
    found = audited(tmp_path, family)
    assert found.lower > found.claimed and not found.holds, found.to_text()
    assert found.exposure > CHANCE + 1.5


def test_counting_half_of_the_steps_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Ledger.reserve
    monkeypatch.setattr(Ledger, "reserve", lambda self, release, steps, **told: whole(self, release, steps // 2, **told))
    found = audited(tmp_path)
    assert found.counted > 1.2 * found.claimed and not found.holds
    assert "FALSE" in found.to_text()


def test_the_ledger_of_an_audit_holds_its_steps_alone(tmp_path: Path) -> None:
    audited(tmp_path)
    (name,) = Ledger.open(tmp_path / "ledger.json").releases
    assert name == "training" and isinstance(Ledger.open(tmp_path / "ledger.json").releases[name], Release)
