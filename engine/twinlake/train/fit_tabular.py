"""Trains a tabular model on token shards and writes the model folder.

`fit_tabular` derives every setting from the rows and tokens, runs the loop of train/loop.py in a Ray TorchTrainer, calibrates
the heads to the train marginals and publishes the folder, manifest last. A killed training resumes at its last checkpoint.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.core.errors import DataError
from twinlake.core.progress import Progress, Silent
from twinlake.core.seeds import derive
from twinlake.models.calibration import calibrate
from twinlake.models.codec import Codec
from twinlake.models.continuing import value_maps
from twinlake.models.places import places_of
from twinlake.models.sampler import TabularSampler
from twinlake.models.store import check_model, determines_of, doors_of, drawable_of, load_model, model_folder, save_model
from twinlake.models.tabular import MANY_ROWS, TabularSettings, choose_parents, model_facts, orders_of, settings_for
from twinlake.models.tree import information_of
from twinlake.profile.counts import TokenCounts
from twinlake.train.data import CHOSEN_FROM, Schedule
from twinlake.train.fit_language import train_texts
from twinlake.train.links import links_of
from twinlake.train.private_codec import Prepared
from twinlake.train.private_plan import private_tabular_plan
from twinlake.train.runner import run_training
from twinlake.train.tabular import TabularPlan

MIN_ROWS = 10
MIN_STEPS = 400

TRIAL_STEPS = 160


def fit_tabular(
    codec: Codec,
    counts: TokenCounts,
    shards: Path,
    work: Path,
    out: Path,
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
    progress: Progress | None = None,
    verbose: bool = False,
    prepared: Prepared | None = None,
) -> dict[str, Any]:
    """Trains on `shards` and writes the model folder `out`; returns the facts of the training (also in model.json).

    `counts` are the train rows' token counts, `work` a folder for checkpoints that all workers can write. With `prepared` (of
    train/private_codec.py) steps are differentially private, and of the counts the number of rows alone is used.
    Errors: DataError (too few rows), ModelError (loss not a number, or training failed).
    """
    progress = progress or Silent()
    shards, work, out = shards.absolute(), work.absolute(), out.absolute()  # workers run in folders of their own
    rows = counts.rows
    if 0 < rows < MIN_ROWS:
        raise DataError(f"{rows} rows to train on; at least {MIN_ROWS} are needed")
    if codec.sizes:
        plan = (
            _plan(codec, counts, shards, work, model, train, seed)
            if prepared is None
            else private_tabular_plan(codec, rows, shards, work, model, train, seed, prepared, out.exists())
        )
        weights, facts = _rows(codec, plan, rows, work, train, seed, progress, verbose)
    else:  # every column is constant or regenerated: there is nothing to learn
        facts = {"family": "tabular", "rows": rows, "order": [], "sizes": [], "history": []}
        weights, facts["slots"] = {}, [[] for _ in codec.columns]
    if prepared is not None:
        facts["privacy"] = prepared.ledger.reopened().guarantee()
    script = train_texts(shards, work, model, train, rows, seed, progress, verbose, weights, facts)
    saved = save_model(out, codec, weights, facts, script)
    shutil.rmtree(work / "ray", ignore_errors=True)
    return saved


def _rows(
    codec: Codec,
    plan: TabularPlan,
    rows: int,
    work: Path,
    train: TrainConfig,
    seed: int,
    progress: Progress,
    verbose: bool,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and facts of the model of the rows."""
    trained = run_training(plan, work, train, progress, verbose)
    weights, settings = trained.weights, TabularSettings(**trained.facts["settings"])
    facts = {
        "family": "tabular",
        "rows": rows,
        "members": settings.members,
        "seed": seed,
        "batch": plan.batch,
        "steps": plan.steps,
        "rate": plan.rate,
        "history": trained.history if plan.private is None else [],  # no loss of private rows is told
        "trials": trained.facts["trials"],
        **_started_from(plan, trained.facts["start_loss"]),
        **model_facts(
            plan.sizes,
            np.array(plan.parents),
            settings.merged,
            plan.orders[trained.facts["order"]],
            codec.slots,
        ),
    }
    progress.update(1, 1, "calibrating the marginals")
    sampler = TabularSampler.fold(weights, facts, drawable_of(codec), determines_of(codec), doors_of(codec))
    weights["calibration"] = calibrate(sampler, _true_marginals(plan, codec), derive(seed, "calibration"))
    return weights, facts


def _started_from(plan: TabularPlan, loss: float | None) -> dict[str, Any]:
    """How well the earlier model knew the new rows: the difference of the losses is what has drifted."""
    if plan.earlier is None:
        return {}
    return {"start_from": {"model": plan.earlier["digest"], "loss_there": plan.earlier["loss"], "loss_here": loss}}


def _plan(
    codec: Codec, counts: TokenCounts, shards: Path, work: Path, model: ModelConfig, train: TrainConfig, seed: int
) -> TabularPlan:
    rows = counts.rows
    information = information_of(codec, counts)
    modelled = [c for c, slots in enumerate(codec.slots) if slots]
    batch, steps = schedule_of(rows, train)
    few = rows < MANY_ROWS
    earlier = _earlier(codec, model_folder(model.start_from)) if model.start_from else None
    settings = asdict(settings_for(model.size, rows, codec.sizes, batch))
    if earlier is not None:  # weights fit a network of the same widths alone
        settings |= {name: earlier["settings"][name] for name in ("embedding", "hidden", "blocks")} | {"members": 1}
    parents = choose_parents(codec.slots, information, seed)
    # the weights of an earlier model have learned which links there are
    links = links_of(codec, counts, parents) if earlier is None else np.ones(parents.shape, np.float32)
    return TabularPlan(
        family="tabular",
        shards=str(shards),
        progress=str(work / "progress.jsonl"),
        settings=settings,
        seed=derive(seed, "train"),
        batch=batch,
        steps=steps,
        rate=(6e-3 if few else 3e-3) * math.sqrt(batch / 512),
        checks=min(20, steps),
        patience=4,
        max_seconds=None if train.max_minutes is None else 60.0 * train.max_minutes,
        stops_early=rows >= CHOSEN_FROM,  # fewer hold out too few to tell: decay alone keeps them from being known by heart
        limits=train.loss_limits,
        sizes=codec.sizes,
        slots=codec.slots,
        parents=parents.tolist(),
        links=links.tolist(),
        orders=orders_of(modelled, codec.slots, codec.sizes, information, seed),
        places=places_of(codec),
        trial_steps=_trial_steps(rows, steps, model),
        earlier=earlier,
    )


def _trial_steps(rows: int, steps: int, model: ModelConfig) -> int:
    """Steps of a trial of settings; 0 where nothing is left to choose, or trials would tell or gain too little."""
    chosen = model.start_from is not None or model.size != "auto"
    return 0 if chosen or not CHOSEN_FROM <= rows < MANY_ROWS else min(TRIAL_STEPS, steps // 3)


def _earlier(codec: Codec, folder: Path) -> dict[str, Any]:
    """What the workers need to start from the model in `folder`."""
    old = load_model(str(folder), digest := check_model(folder))
    losses = [h["validation_loss"] for h in old.facts["history"]]
    return {
        "folder": str(folder),
        "digest": digest,
        "loss": min(losses, default=None),
        "settings": old.facts.get("settings", {}),
        "tokens": value_maps(codec, old.codec),
    }


def schedule_of(rows: int, train: TrainConfig) -> tuple[int, int]:
    """Rows of a training batch, and how many batches at most; from the number of rows unless `train` says otherwise."""
    batch = max(1, min(max(256, min(8_192, rows // 64)), max(16, rows // 8)))
    epochs = min(30.0, max(1.5, 400_000 / rows)) if train.epochs == "auto" else float(train.epochs)
    steps = math.ceil(epochs * Schedule(rows, 0, batch).train_rows / batch)
    return batch, max(MIN_STEPS if train.epochs == "auto" else 1, steps)


def _true_marginals(plan: TabularPlan, codec: Codec) -> list[npt.NDArray[np.float64]]:
    """Marginals of the train rows without what is never drawn, each summing to one."""
    with np.load(Path(plan.progress).with_name("marginals.npz"), allow_pickle=False) as saved:
        out = [saved[f"arr_{token}"] for token in range(len(plan.sizes))]
    for column, slots in enumerate(codec.slots):
        if slots:
            out[slots[0]] = np.where(codec.columns[column].drawable, out[slots[0]], 0.0)
            out[slots[0]] /= max(out[slots[0]].sum(), 1e-12)
    return out
