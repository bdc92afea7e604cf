"""What every Ray Train worker runs: the choice of settings by short trials, then the training of train/loop.py.

A block between the layers or a weaker decay helps some tables and harms others, and rows and columns do not tell which. Where
rows are few enough for it to be cheap, each is tried for a few steps and judged by validation rows that no trial has seen.
Trials are deterministic, and a checkpoint holds what they chose.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from twinlake.core.errors import ModelError
from twinlake.models.continuing import start_from
from twinlake.models.tabular import TabularNetwork, TabularSettings
from twinlake.train.data import Schedule, Shards, open_shards
from twinlake.train.loop import (
    Place,
    Plan,
    Shares,
    TrainingState,
    failure_file,
    log_marginals,
    marginals,
    save_marginals,
    take_steps,
    validate,
)

BLOCK_GAIN = {"few": 0.05, "many": 0.1}
MANY = 20_000
DECAY_GAIN = 0.03
WEAKER = 0.25
TRIAL_TIME = 0.25
Settings = dict[str, Any]


def train_worker(config: dict[str, Any]) -> None:
    """The train function of one worker (top level, so that Ray ships it by name). A loss that is not a number ends the
    training, with the reason in `failure_file`."""
    import ray.train
    import ray.train.torch

    torch.set_num_threads(1)
    plan = Plan(**{**config, "sizes": tuple(config["sizes"]), "slots": tuple(map(tuple, config["slots"]))})
    context = ray.train.get_context()
    place = Place(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    shards = open_shards(plan.shards)
    shares = marginals(shards, plan)
    if place.rank == 0:
        save_marginals(shares, plan)
    try:
        _train(plan, place, shards, shares)
    except ModelError as error:  # a retry would end the same way: the driver is told, and the workers end in peace
        if place.rank == 0:
            failure_file(plan).write_text(str(error))


def _train(plan: Plan, place: Place, shards: Shards, shares: Shares) -> None:
    import ray.train

    started = time.monotonic()
    trials: list[dict[str, Any]] = []
    checkpoint = ray.train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            plan = replace(plan, settings=json.loads((Path(folder) / "state.json").read_text())["settings"])
    elif plan.trial_steps:
        late = _clock(plan, started, TRIAL_TIME, place)
        settings, trials = choose_settings(plan.settings, shards.rows, lambda s: _trial(s, plan, place, shards, shares, late))
        plan = replace(plan, settings=settings)
    network, wrapped = _network(plan, shares, place)
    state = TrainingState(network, plan, trials)
    if checkpoint:
        with checkpoint.as_directory() as folder:
            state.restore(Path(folder))
        started = time.monotonic() - state.seconds
    schedule, out_of_time = Schedule(shards.rows, plan.seed, plan.batch), _clock(plan, started, 1.0, place)
    if plan.earlier and not checkpoint:
        state.start_loss = validate(network, state, plan, schedule, shards, place)[0]
    while not state.finished:
        loss, cut = take_steps(wrapped, network, state, plan, schedule, shards, place, out_of_time)
        state.after_check(loss, validate(network, state, plan, schedule, shards, place), time.monotonic() - started)
        state.finished |= cut
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


def _network(plan: Plan, shares: Shares, place: Place) -> tuple[TabularNetwork, nn.Module]:
    """The network of `plan` at its start, and what averages its gradients over the workers."""
    settings, start = TabularSettings(**plan.settings), log_marginals(shares)
    links = np.array(plan.links, np.float32)
    network = TabularNetwork(plan.sizes, np.array(plan.parents), settings, start, plan.seed, plan.places, links)
    if plan.earlier:
        folder = Path(plan.earlier["folder"])
        start_from(network, folder, json.loads((folder / "model.json").read_text()), plan.earlier["tokens"])
    network.to(place.device)
    devices = [place.device] if place.device.type == "cuda" else None
    return network, nn.parallel.DistributedDataParallel(network, device_ids=devices) if place.world > 1 else network


def choose_settings(
    first: Settings, rows: int, trial: Callable[[Settings], float | None]
) -> tuple[Settings, list[dict[str, Any]]]:
    """The settings that trials favour, and the trials: each one's settings and validation loss in nats a row.

    Tried are `first`, the same with a block if it has none, and the better of both with a quarter of the decay. A block must
    gain BLOCK_GAIN nats a row, since it slows drawing down (which matters less for tables of few rows); the weaker decay
    DECAY_GAIN, since short trials show little of what many steps learn by heart. A trial without a loss ran out of time, and
    ends the search.
    """
    trials: list[dict[str, Any]] = []
    best = first

    def tried(settings: Settings) -> float | None:
        loss = trial(settings)
        if loss is not None:
            trials.append({"settings": settings, "validation_loss": loss})
        return loss

    lowest = tried(best)
    changes: list[tuple[Callable[[Settings], Settings], float]] = [
        (lambda s: {**s, "blocks": 1}, BLOCK_GAIN["few" if rows < MANY else "many"]),
        (lambda s: {**s, "decay": s["decay"] * WEAKER}, DECAY_GAIN),
    ]
    if first["blocks"]:
        del changes[0]
    for change, gain in changes:
        loss = None if lowest is None else tried(change(best))
        if loss is None or lowest is None:
            break
        if loss < lowest - gain:
            best, lowest = change(best), loss
    return best, trials


def _trial(
    settings: Settings, plan: Plan, place: Place, shards: Shards, shares: Shares, out_of_time: Callable[[], bool]
) -> float | None:
    """The validation loss after a short training of its own with `settings`; None when time cut it short."""
    short = replace(plan, settings=settings, steps=plan.trial_steps, checks=1, orders=plan.orders[:1])
    network, wrapped = _network(short, shares, place)
    state, schedule = TrainingState(network, short, []), Schedule(shards.rows, short.seed, short.batch)
    _, cut = take_steps(wrapped, network, state, short, schedule, shards, place, out_of_time)
    return None if cut else validate(network, state, short, schedule, shards, place)[0]
