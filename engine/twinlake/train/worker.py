"""What every Ray Train worker runs: the choice of settings by short trials where a family wants it, then the training of
train/loop.py. Trials are deterministic, and a checkpoint holds what they chose.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from twinlake.core.errors import ModelError
from twinlake.train.data import Schedule, Shards, open_shards
from twinlake.train.dp import PrivateGradients, PrivateSteps
from twinlake.train.language import LanguagePlan
from twinlake.train.llm import LlmLearner, LlmPlan
from twinlake.train.loop import Learner, Place, Plan, TrainingState, behind, failure_file, take_steps, validate
from twinlake.train.tabular import TabularPlan, choose_settings

TRIAL_TIME = 0.25
AnyPlan = TabularPlan | LanguagePlan | LlmPlan
PLANS: dict[str, Callable[[dict[str, Any]], AnyPlan]] = {
    "tabular": TabularPlan.read,
    "language": LanguagePlan.read,
    "llm": LlmPlan.read,
}


def train_worker(config: dict[str, Any]) -> None:
    """The train function of one worker (top level, so that Ray ships it by name). A loss that is not a number ends the
    training, with the reason in `failure_file`."""
    import ray.train
    import ray.train.torch

    torch.set_num_threads(1)
    plan = PLANS[config["family"]](config)
    context = ray.train.get_context()
    place = Place(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    shards = open_shards(plan.shards)
    prepared = plan.prepare(shards, place)
    try:
        _train(plan, place, shards, prepared)
    except ModelError as error:  # a retry would end the same way: the driver is told, and the workers end in peace
        if place.rank == 0:
            failure_file(plan).write_text(str(error))


def _train(plan: AnyPlan, place: Place, shards: Shards, prepared: Any) -> None:
    import ray.train

    started = time.monotonic()
    trials: list[dict[str, Any]] = []
    checkpoint = ray.train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            plan = replace(plan, settings=json.loads((Path(folder) / "state.json").read_text())["settings"])
    elif isinstance(plan, TabularPlan) and plan.trial_steps:
        whole, late = plan, _clock(plan, started, TRIAL_TIME, place)
        settings, trials = choose_settings(
            plan.settings, shards.rows, lambda s: _trial(whole.trial(s), place, shards, prepared, late)
        )
        plan = replace(plan, settings=settings)
    learner = plan.learner(prepared, place)
    private = None
    if plan.private is not None:
        if isinstance(learner, LlmLearner):
            raise ModelError("the family llm has no private steps")
        private = PrivateGradients(PrivateSteps(**plan.private), learner, shards.rows, place)
    wrapped = _wrapped(learner, place) if private is None else learner.network
    state = TrainingState(learner, plan, trials)
    if checkpoint:
        with checkpoint.as_directory() as folder:
            state.restore(Path(folder))
        started = time.monotonic() - state.seconds
    schedule, out_of_time = Schedule(shards.rows, plan.seed, plan.batch), _clock(plan, started, 1.0, place)
    if plan.earlier and not checkpoint:
        state.start_loss = validate(state, plan, schedule, shards, place)[0]
    while not state.finished:
        loss, cut = take_steps(wrapped, state, plan, schedule, shards, place, out_of_time, private)
        if private is None:
            state.after_check(loss, validate(state, plan, schedule, shards, place), time.monotonic() - started)
        else:
            state.after_block(time.monotonic() - started)
        state.finished |= cut or behind(plan, state.history) is not None
        metrics = state.history[-1]
        with tempfile.TemporaryDirectory() as folder:
            saved = None
            if place.rank == 0:
                state.save(Path(folder))
                saved = ray.train.Checkpoint.from_directory(folder)
                with open(plan.progress, "a") as handle:
                    handle.write(json.dumps(metrics) + "\n")
            ray.train.report({**metrics, "finished": state.finished}, checkpoint=saved)


def _clock(plan: Plan, started: float, share: float, place: Place) -> Callable[[], bool]:
    """Whether `share` of the time limit has passed. All workers must agree, or one would wait for the others for ever."""

    def passed() -> bool:
        if plan.max_seconds is None:
            return False
        late = time.monotonic() - started > share * plan.max_seconds
        return bool(place.sum(torch.tensor([late], dtype=torch.int32, device=place.device)))

    return passed


def _wrapped(learner: Learner, place: Place) -> nn.Module:
    """The network, or what averages its gradients over the workers."""
    if place.world == 1:
        return learner.network
    devices = [place.device] if place.device.type == "cuda" else None
    # gradients are kept once: in the buckets that are sent
    return nn.parallel.DistributedDataParallel(learner.network, device_ids=devices, gradient_as_bucket_view=True)


def _trial(plan: TabularPlan, place: Place, shards: Shards, prepared: Any, out_of_time: Callable[[], bool]) -> float | None:
    """The validation loss after the short training `plan`; None when time cut it short."""
    learner = plan.learner(prepared, place)
    state, schedule = TrainingState(learner, plan, []), Schedule(shards.rows, plan.seed, plan.batch)
    _, cut = take_steps(_wrapped(learner, place), state, plan, schedule, shards, place, out_of_time)
    return None if cut else validate(state, plan, schedule, shards, place)[0]
