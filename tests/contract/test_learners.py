"""What the training loop asks of every family's learner: what a step does follows from the plan and the step alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twinlake.core.seeds import generator
from twinlake.models.cores import LanguageSettings
from twinlake.models.layout import Layout
from twinlake.models.tabular import TabularSettings
from twinlake.models.tokenizer import END
from twinlake.train import loop
from twinlake.train.data import Schedule, Shards
from twinlake.train.language import LanguagePlan
from twinlake.train.tabular import TabularPlan

SIZES = (4, 3, 5)
ROWS = 300
HERE = loop.Place(0, 1, torch.device("cpu"))
COMMON: dict[str, Any] = {
    "shards": "unused",
    "seed": 6,
    "batch": 33,
    "steps": 9,
    "rate": 3e-3,
    "checks": 3,
    "patience": 4,
    "max_seconds": None,
    "stops_early": True,
    "limits": [],
}
Case = tuple[Any, Shards]


def common(folder: Path) -> dict[str, Any]:
    return {**COMMON, "progress": str(folder / "progress.jsonl")}


def shards(tokens: Any) -> Shards:
    return Shards((tokens.astype(np.uint16),), np.array([0]), len(tokens))


def cells(rows: int = ROWS) -> Any:
    return np.stack([generator(4).integers(0, size, rows) for size in SIZES], axis=1)


def tabular(folder: Path) -> Case:
    everything = list(range(len(SIZES)))
    more: dict[str, Any] = {
        "sizes": SIZES,
        "slots": tuple((t,) for t in everything),
        "parents": [everything] * len(SIZES),
        "links": [[1.0] * len(SIZES)] * len(SIZES),
        "orders": [everything, everything[::-1]],
        "places": [[-1.0] * size for size in SIZES],
        "trial_steps": 0,
    }
    return TabularPlan("tabular", settings=asdict(TabularSettings(4, 8, 1)), **common(folder), **more), shards(cells())


def language(core: str, given: bool = False) -> Callable[[Path], Case]:
    def make(folder: Path) -> Case:
        layout = Layout(SIZES, ((0,), (1,), (2,), ()), (0, 1, 2), ((3, 5),), 9, given)
        texts = generator(5).integers(END, 9, (ROWS, 5))
        settings = LanguageSettings(core, 32, 16, 1, 0.3)
        plan = LanguagePlan("language", settings=asdict(settings), **common(folder), layout=asdict(layout))
        return plan, shards(np.concatenate([cells(), texts], axis=1))

    return make


def llm(folder: Path) -> Case:
    if importlib.util.find_spec("peft") is None or importlib.util.find_spec("transformers") is None:
        pytest.skip("needs the extra llm")
    from tiny_llm import build_llm

    from twinlake.models.base_model import base_hash
    from twinlake.train.llm import LlmPlan

    base = build_llm(folder / "base")
    plan = LlmPlan(
        "llm",
        settings={"lora_rank": 2, "lora_alpha": 4},
        **common(folder),
        source=str(base),
        base=base_hash(base),
        prompt=[3, 4],
    )
    return plan, shards(generator(4).integers(2, 400, (60, 7)))


FAMILIES = {
    "tabular": tabular,
    "lstm": language("lstm"),
    "transformer": language("transformer"),
    "texts": language("lstm", given=True),
    "llm": llm,
}


@pytest.fixture(params=list(FAMILIES))
def case(request: Any, tmp_path: Path) -> Case:
    return FAMILIES[request.param](tmp_path)


def start(case: Case) -> loop.TrainingState:
    plan, table = case
    return loop.TrainingState(plan.learner(plan.prepare(table, HERE), HERE), plan, [])


def advance(state: loop.TrainingState, case: Case) -> None:
    """To the next validation, as the only worker. What is global and random must not matter."""
    plan, table = case
    torch.manual_seed(state.step)
    schedule = Schedule(table.rows, plan.seed, plan.batch)
    loss, cut = loop.take_steps(state.network, state, plan, schedule, table, HERE, lambda: False)
    assert not cut
    state.after_check(loss, loop.validate(state, plan, schedule, table, HERE), 1.0)


def test_a_restored_checkpoint_goes_on_bit_for_bit(case: Case, tmp_path: Path) -> None:
    plan, _ = case
    state = start(case)
    before = {n: p.detach().clone() for n, p in state.network.named_parameters()}
    for _ in range(plan.checks):
        advance(state, case)
    assert any(not torch.equal(p, before[n]) for n, p in state.network.named_parameters())
    half = start(case)
    advance(half, case)
    half.save(tmp_path)
    torch.rand(7)
    other = start(case)
    other.restore(tmp_path)
    assert other.step == plan.steps // plan.checks and other.history == half.history
    for _ in range(plan.checks - 1):
        advance(other, case)
    for (name, a), (_, b) in zip(state.network.named_parameters(), other.network.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert all(torch.equal(state.best[n], other.best[n]) for n in state.best)
    assert [h["validation_loss"] for h in state.history] == [h["validation_loss"] for h in other.history]
    assert state.finished and other.finished


def test_two_workers_gradients_average_to_those_of_one(case: Case) -> None:
    """33 rows: the slices are of 17 and 16, so a mean of means would be off."""
    plan, table = case
    state = start(case)
    index = Schedule(table.rows, plan.seed, plan.batch).step(0)

    def gradient(rank: int, world: int) -> list[torch.Tensor]:
        place = loop.Place(rank, world, torch.device("cpu"))
        parts = state.learner.inputs(len(index), 0, generator(9), place)
        state.network.zero_grad()
        for part in parts(table.take(place.mine(index))):
            (state.network(*part).sum() * (world / len(index))).backward()
        return [p.grad.clone() for p in state.network.parameters() if p.grad is not None]

    one = gradient(0, 1)
    two = [(a + b) / 2 for a, b in zip(gradient(0, 2), gradient(1, 2), strict=True)]
    assert len(one) > 3 and any(float(g.abs().max()) > 0 for g in one)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_each_validation_row_counts_once(case: Case) -> None:
    """Rows are sorted and cut into parts for speed: their losses add up to those of rows taken one at a time."""
    plan, table = case
    state = start(case)
    tokens = table.take(Schedule(table.rows, plan.seed, plan.batch).validation())
    with torch.inference_mode():
        together = sum(float(state.network(*part).double().sum()) for part in state.learner.checks(tokens, 0, HERE))
        singly = sum(
            float(state.network(*part).double().sum())
            for n in range(len(tokens))
            for part in state.learner.checks(tokens[n : n + 1], 0, HERE)
        )
    assert together == pytest.approx(singly, rel=1e-5)
