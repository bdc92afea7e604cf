"""CPU seconds of private steps of training beside those of the same steps without privacy: same network, rows and batches.

python bench/dp_cost.py [--rows 30000] [--batch 3000] [--steps 30]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict

import numpy as np
import torch

from twinlake.core.seeds import generator
from twinlake.models.tabular import TabularSettings
from twinlake.train import loop
from twinlake.train.data import Schedule, Shards
from twinlake.train.dp import PrivateGradients, PrivateSteps
from twinlake.train.tabular import TabularPlan

SIZES = (50, 8, 49, 13, 15, 6, 14, 7, 4, 3, 11, 6, 32, 3, 3)  # as of Adult at epsilon 1


class Unlimited(PrivateGradients):
    """Private steps without a ledger."""

    def reserve(self, steps: int) -> bool:
        return True


def plan_of(settings: TabularSettings, batch: int, steps: int) -> TabularPlan:
    every = list(range(len(SIZES)))
    facts = {
        "family": "tabular",
        "shards": "",
        "progress": "",
        "settings": asdict(settings),
        "seed": 1,
        "batch": batch,
        "steps": steps,
    }
    facts |= {"rate": 1e-3, "checks": 1, "patience": 1, "max_seconds": None, "stops_early": False, "limits": [], "sizes": SIZES}
    facts |= {"slots": [[t] for t in every], "parents": [every] * len(SIZES), "links": [[1.0] * len(SIZES)] * len(SIZES)}
    return TabularPlan.read(
        {**facts, "orders": [every], "places": [], "trial_steps": 0, "shares": [[1 / s] * s for s in SIZES]}
    )


def seconds(plan: TabularPlan, shards: Shards, private: bool) -> float:
    place = loop.Place(0, 1, torch.device("cpu"))
    learner = plan.learner([np.array(s) for s in plan.shares or []], place)
    state = loop.TrainingState(learner, plan, [])
    steps = PrivateSteps(1.0, 8.0, plan.batch / shards.rows, 1, "")
    own = Unlimited(steps, learner, shards.rows, place) if private else None
    start = time.process_time()
    loop.take_steps(learner.network, state, plan, Schedule(shards.rows, 1, plan.batch), shards, place, lambda: False, own)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rows", 30_000), ("batch", 3_000), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    told = parser.parse_args()
    torch.set_num_threads(1)
    draw = generator(2)
    tokens = np.stack([draw.integers(0, size, told.rows) for size in SIZES], axis=1).astype(np.uint16)
    shards = Shards((tokens,), np.array([0]), told.rows)
    for name, settings in (
        ("8 x 32", TabularSettings(8, 32, 0, 0.0, 0.0)),
        ("16 x 64, a block", TabularSettings(16, 64, 1, 0.0, 0.0)),
    ):
        plan = plan_of(settings, told.batch, told.steps)
        seconds(plan, shards, False)  # warm up
        plain, private = seconds(plan, shards, False), seconds(plan, shards, True)
        print(f"{name:18} plain {plain:6.2f} CPU-s  private {private:6.2f} CPU-s  x{private / plain:.2f}")


if __name__ == "__main__":
    main()
