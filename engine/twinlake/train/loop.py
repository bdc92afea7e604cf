"""The training loop of every Ray Train worker (train/worker.py): data-parallel, resumable, the same result for any number
of workers.

Each step takes the global batch of train/data.py, of which a worker computes its slice; orders and dropout are drawn
for the global batch and sliced likewise. Gradients are averaged by DistributedDataParallel (gloo on CPUs, nccl on
GPUs). A few times in the run all workers validate, rank 0 saves a checkpoint, and training stops when validation got no
better.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from twinlake.core.errors import ModelError
from twinlake.core.seeds import derive, generator, permute
from twinlake.models.tabular import TabularNetwork, ranks_of
from twinlake.train.data import Schedule, Shards

EMA_DECAY = 0.98
CLIP = 5.0
COUNT_ROWS = 2_000_000
Scalar = TypeVar("Scalar", bound=np.generic)
Shares = list[npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Plan:
    """Everything a worker needs besides the shards: plain data, so that it travels as JSON."""

    shards: str
    progress: str
    sizes: tuple[int, ...]
    slots: tuple[tuple[int, ...], ...]
    parents: list[list[int]]
    links: list[list[float]]
    orders: list[list[int]]
    places: list[list[float]]
    settings: dict[str, Any]
    seed: int
    batch: int
    steps: int
    rate: float
    checks: int
    patience: int
    max_seconds: float | None
    trial_steps: int
    stops_early: bool
    earlier: dict[str, Any] | None = None


@dataclass(frozen=True)
class Place:
    """Where a worker stands among `world` others, and the device that it computes on."""

    rank: int
    world: int
    device: torch.device

    def mine(self, drawn: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """This worker's slice of what is drawn for all."""
        return drawn[self.rank :: self.world]

    def sum(self, tensor: Tensor) -> Tensor:
        """`tensor` summed over the workers, in place."""
        if self.world > 1:
            torch.distributed.all_reduce(tensor)
        return tensor


def failure_file(plan: Plan) -> Path:
    """Where a worker leaves the reason why training can't go on."""
    return Path(plan.progress).with_suffix(".failed")


class TrainingState:
    """What a checkpoint holds: weights, their moving average, the best average so far, the optimizer, where we are, and the
    trials that chose the settings."""

    def __init__(self, network: TabularNetwork, plan: Plan, trials: list[dict[str, Any]]) -> None:
        self.network, self.plan, self.settings, self.trials = network, plan, plan.settings, trials
        matrices = [p for p in network.parameters() if p.dim() > 1 and p.shape[-2] > 1]
        others = [p for p in network.parameters() if not (p.dim() > 1 and p.shape[-2] > 1)]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": network.settings.decay}, {"params": others, "weight_decay": 0.0}],
            lr=plan.rate,
        )
        self.average = {n: p.detach().clone() for n, p in network.named_parameters()}
        self.best = network.plain(self.average)  # never trained on, so it is kept as it will be drawn from
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

    def after_check(self, train_loss: float, losses: list[float], seconds: float) -> None:
        """Notes a validation; `losses` are those of the canonical order or, once, of all candidates."""
        plan = self.plan
        if len(losses) > 1:
            self.order = int(np.argmin(losses))
            self.best_loss = math.inf  # another order is another yardstick
        loss = min(losses)
        if loss < self.best_loss or not plan.stops_early:
            self.best_loss, self.waited = loss, 0
            self.best = self.network.plain(self.average)
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
        tensors = load_file(folder / "state.safetensors", device=str(next(self.network.parameters()).device))
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(tensors[f"now.{name}"])
                self.average[name].copy_(tensors[f"average.{name}"])
            for name, best in self.best.items():
                best.copy_(tensors[f"best.{name}"])
        state = self.optimizer.state_dict()
        entries: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".")
                entries.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict({**state, "state": entries})
        for name, value in json.loads((folder / "state.json").read_text()).items():
            setattr(self, name, value)


def take_steps(
    wrapped: nn.Module,
    network: TabularNetwork,
    state: TrainingState,
    plan: Plan,
    schedule: Schedule,
    shards: Shards,
    place: Place,
    out_of_time: Callable[[], bool],
) -> tuple[float, bool]:
    """Trains up to the next validation, or until the time is up; the mean loss of this worker's rows in nats a row, and
    whether time cut it short."""
    checks = [round(plan.steps * (i + 1) / plan.checks) for i in range(plan.checks)]
    until = next(c for c in checks if c > state.step)
    total, seen, cut = 0.0, 0, False
    while state.step < until and not cut:
        index = schedule.step(state.step)
        draws = generator(derive(plan.seed, "step"), state.step)
        ranks = place.mine(random_ranks(len(index), plan, state.order, draws))
        dropout = place.mine(draws.random((len(index), len(plan.sizes) * (1 + plan.settings["hidden"])), dtype=np.float32))
        tokens = shards.take(place.mine(index)).astype(np.int64)
        for group in state.optimizer.param_groups:
            group["lr"] = plan.rate * _schedule(state.step, plan.steps)
        state.optimizer.zero_grad(set_to_none=True)
        at_once = network.rows_at_once(len(tokens))
        batch = [torch.split(torch.from_numpy(a).to(place.device), at_once) for a in (tokens, ranks, dropout)]
        for number, part in enumerate(zip(*batch, strict=True), 1):
            with nullcontext() if number == len(batch[0]) or place.world == 1 else wrapped.no_sync():  # type: ignore[operator]
                # summed over this worker's rows and scaled so that averaging over workers gives the global mean
                loss = wrapped(*part).sum() * (place.world / len(index))
                loss.backward()
            total += float(loss.detach()) * len(index) / place.world
        seen += len(tokens)
        norm = nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        # judged by the averaged gradient, which all workers share: they stop at the same step
        if not math.isfinite(float(norm)):
            raise ModelError(f"the loss is not a number at step {state.step}; lower model.size, or report this table's profile")
        state.optimizer.step()
        state.step += 1
        state.update_average()
        cut = out_of_time()
    return total / max(1, seen), cut


def random_ranks(rows: int, plan: Plan, canonical: int, draws: np.random.Generator) -> npt.NDArray[np.int64]:
    """The place of each token in each row's order, int64 [rows, S]: half the rows canonical, half uniformly random
    columns."""
    keys = draws.random((rows, len(plan.orders[0])))
    position = {c: i for i, c in enumerate(plan.orders[canonical])}
    columns = sorted(plan.orders[0])
    straight = np.array([position[c] for c in columns], float)
    keys[draws.random(rows) < 0.5] = straight / len(straight)
    by_token = np.concatenate(
        [
            np.tile(keys[:, i : i + 1], (1, len(plan.slots[c]))) + np.arange(len(plan.slots[c])) * 1e-9
            for i, c in enumerate(columns)
        ],
        axis=1,
    )
    return np.argsort(np.argsort(by_token, axis=1, kind="stable"), axis=1, kind="stable")


def _schedule(step: int, steps: int) -> float:
    """Warm-up over 5% of the steps, then a cosine to zero."""
    warm = max(1, steps // 20)
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def validate(
    network: TabularNetwork, state: TrainingState, plan: Plan, schedule: Schedule, shards: Shards, place: Place
) -> list[float]:
    """Mean loss of the averaged weights on the validation rows, nats a row; of each candidate order at 60% of the
    steps."""
    first_past = state.step >= 0.6 * plan.steps and not any(h["step"] >= 0.6 * plan.steps for h in state.history)
    orders = list(range(len(plan.orders))) if first_past else [state.order]
    tokens = torch.from_numpy(shards.take(place.mine(schedule.validation())).astype(np.int64)).to(place.device)
    now = {n: p.detach().clone() for n, p in network.named_parameters()}
    _load(network, state.average)
    sums = torch.zeros(len(orders) + 1, dtype=torch.float64, device=place.device)
    with torch.inference_mode():
        for number, order in enumerate(orders):
            ranks = torch.from_numpy(ranks_of(plan.orders[order], plan.slots)).to(place.device)
            for part in torch.split(tokens, network.rows_at_once(len(tokens))):
                sums[number] += network(part, ranks.expand(len(part), -1), None).double().sum()
    sums[-1] = len(tokens)
    _load(network, now)
    place.sum(sums)
    return [float(s / sums[-1]) for s in sums[:-1]]


def _load(network: TabularNetwork, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(tensors[name])


def marginals(shards: Shards, plan: Plan) -> Shares:
    """The share of each value of each token among the rows (among 2 million of them at most)."""
    counts = [np.zeros(size) for size in plan.sizes]
    index = (
        np.arange(shards.rows)
        if shards.rows <= COUNT_ROWS
        else permute(np.arange(COUNT_ROWS), shards.rows, derive(plan.seed, "marginals"))
    )
    for start in range(0, len(index), 100_000):
        tokens = shards.take(index[start : start + 100_000])
        for t, count in enumerate(counts):
            count += np.bincount(tokens[:, t], minlength=len(count))
    return [count / count.sum() for count in counts]


def save_marginals(shares: Shares, plan: Plan) -> None:
    """Leaves the marginals for the driver, which must not read the shards: mapped pages would count as its memory."""
    file = Path(plan.progress).with_name("marginals.npz")
    temporary = file.with_name(".marginals.tmp.npz")
    np.savez(temporary, *shares)
    temporary.replace(file)


def log_marginals(shares: Shares) -> list[npt.NDArray[np.float32]]:
    """Where the heads start: log shares, no value below one in ten million."""
    return [np.log(np.maximum(share, 1e-7)).astype(np.float32) for share in shares]
