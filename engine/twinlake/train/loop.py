"""The training loop of every Ray Train worker (train/worker.py), the same for all model families: data-parallel, resumable,
the same result for any number of workers.

Each step takes the global batch of train/data.py, of which a worker computes its slice; what is random is drawn for the
global batch and sliced likewise. Gradients are averaged by DistributedDataParallel (gloo on CPUs, nccl on GPUs). A few
times in the run all workers validate, rank 0 saves a checkpoint, and training stops when validation got no better.
What is of one family, its network and what a step feeds it, is a Learner.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from twinlake.core.errors import GivenUp, ModelError
from twinlake.core.seeds import derive, generator
from twinlake.train.data import Schedule, Shards, Tokens

EMA_DECAY = 0.98
CLIP = 5.0
Scalar = TypeVar("Scalar", bound=np.generic)
Inputs = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class Plan:
    """Everything a worker of any family needs besides the shards: plain data, so that it travels as JSON. `private`: the
    PrivateSteps of train/dp.py, where steps are private, and then `shares`: the marginals as they were measured with noise."""

    family: str
    shards: str
    progress: str
    settings: dict[str, Any]
    seed: int
    batch: int
    steps: int
    rate: float
    checks: int
    patience: int
    max_seconds: float | None
    stops_early: bool
    limits: list[list[float]]
    private: dict[str, Any] | None = field(default=None, kw_only=True)
    shares: list[list[float]] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Place:
    """Where a worker stands among `world` others, and the device that it computes on."""

    rank: int
    world: int
    device: torch.device

    def mine(self, drawn: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """This worker's slice of what is drawn for all."""
        return drawn[self.rank :: self.world]

    def precision(self, mixed: bool) -> torch.autocast:
        """What products of a forward pass are taken in."""
        able = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed and able)

    def sum(self, tensor: Tensor) -> Tensor:
        """`tensor` summed over the workers, in place."""
        if self.world > 1:
            torch.distributed.all_reduce(tensor)
        return tensor


class Learner(Protocol):
    """What a family brings to the loop. `network`: its forward takes the tensors of `inputs` or `checks` and returns losses
    whose sum is that of the rows, in nats; `decay`: of its matrices; `orders`: candidates for the order of telling; `mixed`:
    whether GPUs that have bfloat16 multiply in it (weights and sums stay float32)."""

    decay: float
    orders: int
    mixed: bool

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    def inputs(self, rows: int, order: int, draws: np.random.Generator, place: Place) -> Callable[[Tokens], Iterator[Inputs]]:
        """Draws what is random in a step of `rows` rows, for all workers; the result turns this worker's tokens into parts
        that fit in memory."""

    def checks(self, tokens: Tokens, order: int, place: Place) -> Iterator[Inputs]:
        """The same for validation, where nothing is random."""

    def plain(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Copies of `tensors`, named like the parameters, as rows are drawn from them."""


class PrivateLearner(Learner, Protocol):
    """A Learner whose steps can be made private."""

    def add_clipped(self, part: Inputs, clip: float) -> None:
        """Adds to `.grad` of all weights the gradients of the rows of `part`, each scaled down to the norm `clip` if it is
        longer."""


class Private(Protocol):
    """What takes the place of averaged gradients where steps must be differentially private (train/dp.py)."""

    def reserve(self, steps: int) -> bool:
        """Whether the steps up to number `steps` may be taken; the same for all workers."""

    def step(self, shards: Shards, order: int) -> None:
        """Leaves the gradient of a step in the network, the same in all workers."""


def failure_file(plan: Plan) -> Path:
    """Where a worker leaves the reason why training can't go on."""
    return Path(plan.progress).with_suffix(".failed")


def behind(plan: Plan, history: list[dict[str, Any]]) -> GivenUp | None:
    """Why to give up after these validations: the best loss so far is above the limit of the last share that was reached."""
    if not plan.limits:
        return None
    share, loss = history[-1]["step"] / plan.steps, min(h["validation_loss"] for h in history)
    reached = [limit for limit in sorted(plan.limits) if limit[0] <= share]
    return GivenUp(share, loss) if reached and share < 1 and loss > reached[-1][1] else None


class TrainingState:
    """What a checkpoint holds: weights, their moving average, the best average so far, the optimizer, where we are, and the
    trials that chose the settings."""

    def __init__(self, learner: Learner, plan: Plan, trials: list[dict[str, Any]]) -> None:
        self.learner, self.network, self.plan, self.settings, self.trials = (
            learner,
            learner.network,
            plan,
            plan.settings,
            trials,
        )
        network = self.network
        matrices = [p for p in network.parameters() if p.dim() > 1 and p.shape[-2] > 1]
        others = [p for p in network.parameters() if not (p.dim() > 1 and p.shape[-2] > 1)]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": learner.decay}, {"params": others, "weight_decay": 0.0}],
            lr=plan.rate,
        )
        self.average = {n: p.detach().clone() for n, p in network.named_parameters()}
        self.best = learner.plain(self.average)  # never trained on, so it is kept as it will be drawn from
        self.best_loss, self.waited, self.step, self.seconds = math.inf, 0, 0, 0.0
        self.order, self.finished = 0, False
        self.start_loss: float | None = None
        self.history: list[dict[str, Any]] = []

    def update_average(self) -> None:
        """EMA with warm-up: min(0.98, (1 + t) / (10 + t)), so that early averages are not pulled to the start."""
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                self.average[name].lerp_(parameter, 1.0 - decay)

    def after_block(self, seconds: float) -> None:
        """Notes steps that no loss may be told of: the latest average is the best."""
        self.best, self.seconds = self.learner.plain(self.average), seconds
        self.finished = self.step >= self.plan.steps
        self.history.append({"step": self.step, "steps": self.plan.steps, "seconds": round(seconds, 2)})

    def after_check(self, train_loss: float, losses: list[float], seconds: float) -> None:
        """Notes a validation; `losses` are those of the canonical order or, once, of all candidates."""
        plan = self.plan
        if len(losses) > 1:
            self.order = int(np.argmin(losses))
            self.best_loss = math.inf  # another order is another yardstick
        loss = min(losses)
        if loss < self.best_loss or not plan.stops_early:
            self.best_loss, self.waited = loss, 0
            self.best = self.learner.plain(self.average)
        else:
            self.waited += 1
        self.seconds = seconds
        self.finished = self.step >= plan.steps or self.waited >= plan.patience
        rows = self.step * plan.batch
        self.history.append(
            {
                "step": self.step,
                "steps": plan.steps,
                "rows": rows,
                "train_loss": train_loss,
                "validation_loss": loss,
                "seconds": round(seconds, 2),
            }
        )

    def save(self, folder: Path) -> None:
        """Writes safetensors and JSON; nothing that runs code on loading."""
        tensors = {f"now.{n}": p.detach() for n, p in self.network.named_parameters()}
        tensors |= {f"average.{n}": p for n, p in self.average.items()} | {f"best.{n}": p for n, p in self.best.items()}
        for number, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{k}": v for k, v in entry.items()}
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, folder / "state.safetensors")
        names = ("best_loss", "waited", "step", "seconds", "order", "finished", "history", "settings", "trials", "start_loss")
        facts = {name: getattr(self, name) for name in names}
        (folder / "state.json").write_text(json.dumps(facts))

    def restore(self, folder: Path) -> None:
        """Goes on where `save` left off."""
        device = str(next(self.network.parameters()).device)
        state = self.optimizer.state_dict()
        entries: dict[int, dict[str, Tensor]] = {}
        with safe_open(folder / "state.safetensors", "pt", device) as tensors, torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(tensors.get_tensor(f"now.{name}"))
                self.average[name].copy_(tensors.get_tensor(f"average.{name}"))
            for name, best in self.best.items():
                best.copy_(tensors.get_tensor(f"best.{name}"))
            for name in list(tensors.keys()):
                if name.startswith("optimizer."):
                    _, number, key = name.split(".")
                    entries.setdefault(int(number), {})[key] = tensors.get_tensor(name)
        self.optimizer.load_state_dict({**state, "state": entries})
        for name, value in json.loads((folder / "state.json").read_text()).items():
            setattr(self, name, value)


def take_steps(
    wrapped: nn.Module,
    state: TrainingState,
    plan: Plan,
    schedule: Schedule,
    shards: Shards,
    place: Place,
    out_of_time: Callable[[], bool],
    private: Private | None = None,
) -> tuple[float, bool]:
    """Trains up to the next validation, or until the time is up or `private` allows no more; the mean loss of this worker's
    rows in nats a row (0 with `private`, which tells none), and whether it was cut short. `wrapped`: the learner's network,
    or what averages its gradients over the workers."""
    checks = [round(plan.steps * (i + 1) / plan.checks) for i in range(plan.checks)]
    until = next(c for c in checks if c > state.step)
    total, seen, cut = 0.0, 0, private is not None and not private.reserve(until)
    while state.step < until and not cut:
        for group in state.optimizer.param_groups:
            group["lr"] = plan.rate * _schedule(state.step, plan.steps)
        state.optimizer.zero_grad(set_to_none=True)
        if private is None:
            loss, rows = _average(wrapped, state, plan, schedule.step(state.step), shards, place)
            total, seen = total + loss, seen + rows
        else:
            private.step(shards, state.order)
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), CLIP)
        # judged by the averaged gradient, which all workers share: they stop at the same step
        if not math.isfinite(float(norm)):
            raise ModelError(f"the loss is not a number at step {state.step}; lower model.size, or report this table's profile")
        state.optimizer.step()
        state.step += 1
        state.update_average()
        cut = out_of_time()
    return total / max(1, seen), cut


def _average(
    wrapped: nn.Module, state: TrainingState, plan: Plan, index: npt.NDArray[np.int64], shards: Shards, place: Place
) -> tuple[float, int]:
    """Leaves the mean gradient of the rows `index` in the network; the summed loss and number of this worker's rows."""
    to_parts = state.learner.inputs(len(index), state.order, generator(derive(plan.seed, "step"), state.step), place)
    tokens, total = shards.take(place.mine(index)), 0.0
    parts = list(to_parts(tokens))
    for number, part in enumerate(parts, 1):
        with nullcontext() if number == len(parts) or place.world == 1 else wrapped.no_sync():  # type: ignore[operator]
            # summed over this worker's rows and scaled so that averaging over workers gives the global mean
            with place.precision(state.learner.mixed):
                loss = wrapped(*part).sum() * (place.world / len(index))
            loss.backward()
        total += float(loss.detach()) * len(index) / place.world
    return total, len(tokens)


def _schedule(step: int, steps: int) -> float:
    """Warm-up over 5% of the steps, then a cosine to zero."""
    warm = max(1, steps // 20)
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def validate(state: TrainingState, plan: Plan, schedule: Schedule, shards: Shards, place: Place) -> list[float]:
    """Mean loss of the averaged weights on the validation rows, nats a row; of each candidate order at 60% of the
    steps."""
    first_past = state.step >= 0.6 * plan.steps and not any(h["step"] >= 0.6 * plan.steps for h in state.history)
    orders = list(range(state.learner.orders)) if first_past else [state.order]
    tokens = shards.take(place.mine(schedule.validation()))
    sums = torch.zeros(len(orders) + 1, dtype=torch.float64, device=place.device)
    with torch.inference_mode():
        for number, order in enumerate(orders):
            for part in state.learner.checks(tokens, order, place):
                sums[number] += functional_call(state.network, state.average, part).double().sum()
    sums[-1] = len(tokens)
    place.sum(sums)
    return [float(s / sums[-1]) for s in sums[:-1]]
