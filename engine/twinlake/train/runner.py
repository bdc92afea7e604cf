"""Runs a plan on a Ray cluster: workers, checkpoints, progress, resumption. The same for all model families."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from twinlake.core.config import TrainConfig
from twinlake.core.errors import CommitError, ConfigError, ModelError
from twinlake.core.progress import Progress
from twinlake.tables.parts import MODEL_MANIFEST as SHARDS_MANIFEST
from twinlake.tables.parts import file_hash, write_text
from twinlake.train.cluster import ray_cluster
from twinlake.train.loop import Plan, behind, failure_file
from twinlake.train.worker import train_worker


@dataclass(frozen=True)
class Trained:
    """What came back from the workers: the validations, the facts of the last checkpoint, and the best weights."""

    history: list[dict[str, Any]]
    facts: dict[str, Any]
    weights: dict[str, torch.Tensor]


def run_training(plan: Plan, work: Path, train: TrainConfig, progress: Progress, verbose: bool) -> Trained:
    """Trains `plan`; `work` is a folder for checkpoints that all workers can write. A killed training resumes at its last one.

    Errors: ConfigError (more workers than rows of a batch), ModelError (loss not a number, or a worker failed), GivenUp (behind
    plan.limits), CommitError (disk full)."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    if train.workers != "auto" and train.workers > plan.batch:
        raise ConfigError(
            f"train.workers: {train.workers} workers would share batches of {plan.batch} rows, and each needs one at least; "
            f"ask for {plan.batch} or fewer, or for auto"
        )
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
    if given_up := behind(plan, state["history"]):
        raise given_up
    with safe_open(work / "best" / "state.safetensors", "pt") as tensors:  # the optimizer's moments stay on the disk
        names = [name for name in list(tensors.keys()) if name.startswith("best.")]
        weights = {name.removeprefix("best."): tensors.get_tensor(name) for name in names}
    return Trained(state["history"], state, weights)


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
    if "running low on memory" in text:  # Ray's word for a worker that it stopped to keep the machine alive
        return (
            "training ran out of memory: Ray stopped a worker where hardly any was left; take fewer train.workers, a smaller "
            "model.size or machines with more memory, and run again to resume"
        )
    return f"training failed in a Ray worker ({type(error).__name__}); run again with --verbose to see the workers' logs"


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
        note = f"step {last['step']:,} of {last['steps']:,}"
        if "train_loss" in last:  # nothing is told of private steps
            note += f"  train loss {last['train_loss']:.3f}  validation loss {last['validation_loss']:.3f}"
        self._progress.update(last["step"], last["steps"], note)
