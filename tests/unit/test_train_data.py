"""Which rows a training step sees and what it does, without Ray: order, averages, checkpoints, slices of workers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twinlake.core.errors import DataError
from twinlake.core.seeds import generator
from twinlake.models.tabular import TabularNetwork, TabularSettings
from twinlake.train import loop
from twinlake.train.data import Schedule, Shards, open_shards
from twinlake.train.tabular import TabularLearner, TabularPlan, random_ranks

SIZES = (4, 3, 5)


@pytest.mark.parametrize(("rows", "batch"), [(10_007, 256), (1_000, 999), (40, 16), (13, 64)])
def test_each_row_is_seen_once_an_epoch(rows: int, batch: int) -> None:
    schedule = Schedule(rows, 5, batch)
    validation = schedule.validation()
    assert len(set(validation.tolist())) == schedule.validation_rows == max(1, round(rows * 0.05))
    steps = -(-3 * schedule.train_rows // batch)
    seen = np.concatenate([schedule.step(step) for step in range(steps)])
    for epoch in range(3):
        once = seen[epoch * schedule.train_rows : (epoch + 1) * schedule.train_rows]
        assert sorted([*once.tolist(), *validation.tolist()]) == list(range(rows))
    first, second = seen[: schedule.train_rows], seen[schedule.train_rows : 2 * schedule.train_rows]
    assert (first != second).any()


def test_workers_slices_are_the_global_batch() -> None:
    schedule = Schedule(1_003, 8, 100)
    for world in (1, 2, 3, 7):
        slices = [schedule.step(4)[rank::world] for rank in range(world)]
        assert sorted(np.concatenate(slices).tolist()) == sorted(schedule.step(4).tolist())
    assert (Schedule(1_003, 9, 100).step(4) != schedule.step(4)).any()


def test_rows_are_taken_from_shards_of_any_size(tmp_path: Path) -> None:
    tokens = generator(2).integers(0, 4, (503, 3)).astype(np.uint16)
    entries = []
    for number, (start, stop) in enumerate([(0, 1), (1, 1), (1, 490), (490, 503)]):
        np.save(tmp_path / f"shard-{number:05d}.npy", tokens[start:stop])
        entries.append({"file": f"shard-{number:05d}.npy", "rows": stop - start})
    (tmp_path / "manifest.json").write_text(json.dumps({"shards": entries}))
    shards = open_shards(tmp_path)
    assert shards.rows == 503
    index = generator(3).permutation(503)
    assert (shards.take(index) == tokens[index]).all()
    (tmp_path / "manifest.json").write_text(json.dumps({"shards": entries[1:2]}))
    with pytest.raises(DataError):
        open_shards(tmp_path)


def plan_of(steps: int = 12, batch: int = 64) -> TabularPlan:
    everything = list(range(len(SIZES)))
    return TabularPlan(
        family="tabular",
        shards="unused",
        progress="unused",
        settings=asdict(TabularSettings(4, 8, 1)),
        seed=6,
        batch=batch,
        steps=steps,
        rate=3e-3,
        checks=3,
        patience=4,
        max_seconds=None,
        stops_early=True,
        limits=[],
        sizes=SIZES,
        slots=tuple((t,) for t in everything),
        parents=[everything] * len(SIZES),
        links=[[1.0] * len(SIZES)] * len(SIZES),
        orders=[everything, everything[::-1]],
        places=[[-1.0] * size for size in SIZES],
        trial_steps=0,
    )


def shards_of(rows: int = 400) -> Shards:
    tokens = np.stack([generator(4).integers(0, size, rows) for size in SIZES], axis=1).astype(np.uint16)
    return Shards((tokens,), np.array([0]), rows)


def learner_of(plan: TabularPlan) -> TabularLearner:
    settings, start = TabularSettings(**plan.settings), [np.zeros(s, np.float32) for s in SIZES]
    return TabularLearner(TabularNetwork(plan.sizes, np.array(plan.parents), settings, start, 2), plan)


def advance(state: Any, plan: TabularPlan, shards: Shards) -> None:
    """To the next validation, as the only worker."""
    schedule, place = Schedule(shards.rows, plan.seed, plan.batch), loop.Place(0, 1, torch.device("cpu"))
    loss, cut = loop.take_steps(state.network, state, plan, schedule, shards, place, lambda: False)
    assert not cut
    state.after_check(loss, loop.validate(state, plan, schedule, shards, place), 1.0)


def test_training_stops_at_the_step_that_passes_the_time_limit() -> None:
    plan, shards = plan_of(), shards_of()
    state = loop.TrainingState(learner_of(plan), plan, [])
    schedule, place = Schedule(shards.rows, plan.seed, plan.batch), loop.Place(0, 1, torch.device("cpu"))
    _, cut = loop.take_steps(state.network, state, plan, schedule, shards, place, lambda: state.step == 3)
    assert cut and state.step == 3


def test_the_average_follows_its_formula() -> None:
    learner = learner_of(plan_of())
    network, state = learner.network, loop.TrainingState(learner, plan_of(), [])
    expected = float(network.into_bias.detach().flatten()[0])
    for step in range(1, 600):
        with torch.no_grad():
            network.into_bias.fill_(float(np.sin(step)))
        state.step = step
        state.update_average()
        decay = min(loop.EMA_DECAY, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * float(np.sin(step))
        assert float(state.average["into_bias"].flatten()[0]) == pytest.approx(expected, abs=1e-4)


def test_orders_are_permutations_half_of_them_canonical() -> None:
    plan = plan_of()
    ranks = random_ranks(4_000, plan, 1, generator(3))
    assert (np.sort(ranks, axis=1) == np.arange(3)).all()
    canonical = (ranks == np.array([2, 1, 0])).all(axis=1).mean()
    assert 0.5 < canonical < 0.66  # half, and one in six of the other half
    assert len(np.unique(ranks, axis=0)) == 6


def test_a_step_that_breaks_the_numbers_stops() -> None:
    from dataclasses import replace

    from twinlake.core.errors import ModelError

    plan, shards = replace(plan_of(), rate=1e30), shards_of()
    learner = learner_of(plan)
    with pytest.raises(ModelError, match=r"not a number at step \d+"):
        for _ in range(3):
            advance(state := loop.TrainingState(learner, plan, []), plan, shards)
            del state


def test_a_training_that_ran_out_of_memory_is_told_so() -> None:
    """The words are those of Ray 2.60; what it says of the machine is not passed on."""
    from twinlake.train.runner import _reason

    told = "Training failed due to controller error:\n3 worker(s) were killed due to the node running low on memory. "
    reason = _reason(RuntimeError(told + "Memory on the node (IP: 192.0.2.2) was 22.35GB used / 23.54GB limit"))
    assert reason.startswith("training ran out of memory") and "192.0.2.2" not in reason
    assert "RuntimeError" in _reason(RuntimeError("anything else"))
