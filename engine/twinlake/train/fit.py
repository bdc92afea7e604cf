"""Trains a tabular model on token shards and writes the model folder.

`fit_tabular` derives every setting from the rows and tokens, runs the loop of train/loop.py in a Ray TorchTrainer, calibrates
the heads to the train marginals and publishes the folder, manifest last. A killed training resumes at its last checkpoint.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from twinlake.core.config import Config, ModelConfig, TrainConfig
from twinlake.core.errors import CommitError, DataError, ModelError
from twinlake.core.progress import Progress, Silent
from twinlake.core.seeds import derive
from twinlake.models.codec import Codec
from twinlake.models.continuing import value_maps
from twinlake.models.places import places_of
from twinlake.models.sampler import TabularSampler, calibrate
from twinlake.models.store import check_model, determines_of, doors_of, drawable_of, load_model, model_folder, save_model
from twinlake.models.tabular import MANY_ROWS, TabularSettings, choose_parents, model_facts, orders_of, settings_for
from twinlake.profile.counts import TokenCounts
from twinlake.tables.parts import MODEL_MANIFEST as SHARDS_MANIFEST
from twinlake.tables.parts import file_hash, write_text
from twinlake.tables.run_folder import RunFolder
from twinlake.train.cluster import ray_cluster
from twinlake.train.data import CHOSEN_FROM, Schedule
from twinlake.train.links import information_of, links_of
from twinlake.train.loop import Plan, failure_file
from twinlake.train.worker import train_worker

MIN_ROWS = 10
MIN_STEPS = 400

TRIAL_STEPS = 160


def train_run(folder: RunFolder, config: Config, progress: Progress) -> str:
    """Trains the model of a run: private/encoded/ -> model/."""
    codec = Codec.from_json((folder / "codec.json").read_text(encoding="utf-8"))
    counts = TokenCounts.load(folder.private / "pairs.npz")
    facts = MODELS[config.model.family](
        codec,
        counts,
        folder.encoded,
        folder.private / "train",
        folder.model,
        config.model,
        config.train,
        derive(config.run.seed, "model"),
        progress,
    )
    history = facts["history"]
    best = min((h["validation_loss"] for h in history), default=None)
    if best is None:
        return "nothing to learn: every column is constant or made anew"
    told = f"{len(history)} validations, best loss {best:.3f} nats a row; {_said(facts)}"
    if start := facts.get("start_from"):
        told += (
            f"; the earlier model began with {start['loss_here']:.3f} here and had {start['loss_there']:.3f} on its own rows"
        )
    return told


def _said(facts: dict[str, Any]) -> str:
    """The chosen size of the network, and how it was chosen."""
    settings, tried = facts["settings"], len(facts["trials"])
    blocks = f"{settings['blocks']} block{'' if settings['blocks'] == 1 else 's'}"
    how = f"the best of {tried} trials" if tried else "by rows and columns"
    return f"width {settings['hidden']}, {blocks}, decay {settings['decay']:.2g}: {how}"


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
) -> dict[str, Any]:
    """Trains on `shards` and writes the model folder `out`; returns the facts of the training (also in model.json).

    `counts` are the train rows' token counts, `work` a folder for checkpoints that all workers can write.
    Errors: DataError (too few rows), ModelError (loss not a number, or training failed).
    """
    progress = progress or Silent()
    shards, work, out = shards.absolute(), work.absolute(), out.absolute()  # workers run in folders of their own
    rows = counts.rows
    if 0 < rows < MIN_ROWS:
        raise DataError(f"{rows} rows to train on; at least {MIN_ROWS} are needed")
    if not codec.sizes:  # every column is constant or regenerated: there is nothing to learn
        return save_model(
            out,
            codec,
            {},
            {
                "family": "tabular",
                "rows": rows,
                "order": [],
                "sizes": [],
                "slots": [[] for _ in codec.columns],
                "history": [],
            },
        )
    plan = _plan(codec, counts, shards, work, model, train, seed)
    history = _run(plan, work, train, progress, verbose)
    weights, order = _best(history, work)
    facts = {
        "family": "tabular",
        "rows": rows,
        "seed": seed,
        "batch": plan.batch,
        "steps": plan.steps,
        "rate": plan.rate,
        "history": history.metrics,
        "trials": history.checkpoint["trials"],
        **_started_from(plan, history.checkpoint["start_loss"]),
        **model_facts(
            plan.sizes,
            np.array(plan.parents),
            TabularSettings(**history.checkpoint["settings"]),
            plan.orders[order],
            codec.slots,
        ),
    }
    progress.update(1, 1, "calibrating the marginals")
    sampler = TabularSampler.fold(weights, facts, drawable_of(codec), determines_of(codec), doors_of(codec))
    weights["calibration"] = calibrate(sampler, _true_marginals(plan, codec), derive(seed, "calibration"))
    saved = save_model(out, codec, weights, facts)
    shutil.rmtree(work / "ray", ignore_errors=True)
    return saved


def _started_from(plan: Plan, loss: float | None) -> dict[str, Any]:
    """How well the earlier model knew the new rows: the difference of the losses is what has drifted."""
    if plan.earlier is None:
        return {}
    return {"start_from": {"model": plan.earlier["digest"], "loss_there": plan.earlier["loss"], "loss_here": loss}}


def _plan(
    codec: Codec, counts: TokenCounts, shards: Path, work: Path, model: ModelConfig, train: TrainConfig, seed: int
) -> Plan:
    rows = counts.rows
    information = information_of(codec, counts)
    modelled = [c for c, slots in enumerate(codec.slots) if slots]
    batch, steps = schedule_of(rows, train)
    few = rows < MANY_ROWS
    earlier = _earlier(codec, model_folder(model.start_from)) if model.start_from else None
    settings = asdict(settings_for(model.size, rows, codec.sizes, batch))
    if earlier is not None:  # weights fit a network of the same widths alone
        settings |= {name: earlier["settings"][name] for name in ("embedding", "hidden", "blocks")}
    parents = choose_parents(codec.slots, information, seed)
    # the weights of an earlier model have learned which links there are
    links = links_of(codec, counts, parents) if earlier is None else np.ones(parents.shape, np.float32)
    return Plan(
        str(shards),
        str(work / "progress.jsonl"),
        codec.sizes,
        codec.slots,
        parents.tolist(),
        links.tolist(),
        orders_of(modelled, codec.slots, codec.sizes, information, seed),
        places_of(codec),
        settings,
        derive(seed, "train"),
        batch,
        steps,
        (6e-3 if few else 3e-3) * math.sqrt(batch / 512),
        min(20, steps),
        4,
        None if train.max_minutes is None else 60.0 * train.max_minutes,
        min(TRIAL_STEPS, steps // 3) if earlier is None and model.size == "auto" and CHOSEN_FROM <= rows < MANY_ROWS else 0,
        rows >= CHOSEN_FROM,  # fewer rows hold out too few to tell: decay alone keeps them from being known by heart
        earlier,
    )


def _earlier(codec: Codec, folder: Path) -> dict[str, Any]:
    """What the workers need to start from the model in `folder`."""
    old, facts, _ = load_model(str(folder), digest := check_model(folder))
    losses = [h["validation_loss"] for h in facts["history"]]
    return {
        "folder": str(folder),
        "digest": digest,
        "loss": min(losses, default=None),
        "settings": facts.get("settings", {}),
        "tokens": value_maps(codec, old),
    }


def schedule_of(rows: int, train: TrainConfig) -> tuple[int, int]:
    """Rows of a training batch, and how many batches at most; from the number of rows unless `train` says otherwise."""
    batch = max(1, min(max(256, min(8_192, rows // 64)), max(16, rows // 8)))
    epochs = min(30.0, max(1.5, 400_000 / rows)) if train.epochs == "auto" else float(train.epochs)
    steps = math.ceil(epochs * Schedule(rows, 0, batch).train_rows / batch)
    return batch, max(MIN_STEPS if train.epochs == "auto" else 1, steps)


class _History:
    """What came back from the workers."""

    def __init__(self, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        self.metrics, self.checkpoint = metrics, checkpoint


def _run(plan: Plan, work: Path, train: TrainConfig, progress: Progress, verbose: bool) -> _History:
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    _start_over_if_changed(plan, work)
    failure_file(plan).unlink(missing_ok=True)
    with ray_cluster(train.ray_address, verbose) as resources:
        gpu = resources.get("GPU", 0.0) > 0 if train.use_gpu == "auto" else train.use_gpu
        slots = int(resources.get("GPU" if gpu else "CPU", 1.0))
        workers = min(max(1, slots), max(1, plan.batch // 16)) if train.workers == "auto" else train.workers
        trainer = TorchTrainer(
            train_worker,
            train_loop_config=asdict(plan),
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
            scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=gpu),
            run_config=ray.train.RunConfig(
                name="fit",
                storage_path=str((work / "ray").absolute()),
                failure_config=ray.train.FailureConfig(max_failures=train.max_failures),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            ),
        )
        with _following(Path(plan.progress), plan, progress):
            try:
                result = trainer.fit()
            except Exception as error:
                if os.strerror(errno.ENOSPC) in str(error):
                    raise CommitError(f"training: the disk of {work} is full; make room and run again to resume") from None
                raise ModelError(_reason(error)) from None
        if failure_file(plan).is_file():
            raise ModelError(failure_file(plan).read_text())
        if result.checkpoint is None:
            raise ModelError("training ended without a checkpoint; run again with --verbose to see the workers' logs")
        with result.checkpoint.as_directory() as folder:
            kept = work / "best"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept)
    state = json.loads((work / "best" / "state.json").read_text())
    return _History(state["history"], state)


def _start_over_if_changed(plan: Plan, work: Path) -> None:
    """Checkpoints of another training (settings, seed or shards) must not be resumed."""
    now = json.dumps([asdict(plan), file_hash(Path(plan.shards) / SHARDS_MANIFEST)], sort_keys=True)
    file = work / "plan.json"
    if not file.is_file() or file.read_text() != now:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_text(file, now)


def _reason(error: Exception) -> str:
    text = str(error)
    if "the loss is not a number" in text:
        return "the loss is not a number" + text.split("the loss is not a number", 1)[1].split("\n", 1)[0]
    return f"training failed in a Ray worker ({type(error).__name__}); run again with --verbose to see the workers' logs"


def _best(history: _History, work: Path) -> tuple[dict[str, torch.Tensor], int]:
    tensors = load_file(work / "best" / "state.safetensors")
    return {n.removeprefix("best."): t for n, t in tensors.items() if n.startswith("best.")}, int(history.checkpoint["order"])


def _true_marginals(plan: Plan, codec: Codec) -> list[npt.NDArray[np.float64]]:
    """Marginals of the train rows without what is never drawn, each summing to one."""
    with np.load(Path(plan.progress).with_name("marginals.npz"), allow_pickle=False) as saved:
        out = [saved[f"arr_{token}"] for token in range(len(plan.sizes))]
    for column, slots in enumerate(codec.slots):
        if slots:
            out[slots[0]] = np.where(codec.columns[column].drawable, out[slots[0]], 0.0)
            out[slots[0]] /= max(out[slots[0]].sum(), 1e-12)
    return out


class _following:
    """Shows the workers' progress while training runs: they append a JSON line for each validation."""

    def __init__(self, file: Path, plan: Plan, progress: Progress) -> None:
        self._file, self._plan, self._progress = file, plan, progress
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._done.wait(0.5):
            self._show()
        self._show()

    def _show(self) -> None:
        lines = self._file.read_text().splitlines() if self._file.is_file() else []
        if not lines:
            self._progress.update(0, self._plan.steps, "starting Ray workers")
            return
        try:
            last = json.loads(lines[-1])
        except ValueError:
            return
        losses = f"train loss {last['train_loss']:.3f}  validation loss {last['validation_loss']:.3f}"
        note = f"step {last['step']:,} of {last['steps']:,}  {losses}"
        self._progress.update(last["step"], last["steps"], note)


MODELS = {
    "tabular": fit_tabular,  # any-order autoregression over tokens; fast, steerable
}
