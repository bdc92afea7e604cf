"""The plan of a differentially private training of the tabular family: everything in it is public or was paid for.

Nothing is tried, compared or stopped by real rows: the network is small, since noise grows with the number of its weights,
batches are large, since noise is added once for each, and steps are as many as the budget is best spread over.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.core.errors import ConfigError
from twinlake.core.seeds import derive
from twinlake.models.codec import Codec
from twinlake.models.tabular import TabularSettings, choose_parents
from twinlake.train.dp import CLIP, private_steps
from twinlake.train.private_codec import Prepared
from twinlake.train.tabular import TabularPlan

SIZES = {"s": TabularSettings(8, 16, 0), "m": TabularSettings(8, 32, 0), "l": TabularSettings(16, 64, 0)}
RATE = 0.1
EPOCHS = 40.0
MOST_EXPECTED = 65_536
LEARNING_RATE = 5e-3
CHECKS = 20


def private_plan(
    codec: Codec,
    rows: int,
    shards: Path,
    work: Path,
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
    prepared: Prepared,
    shown: bool,
) -> TabularPlan:
    """The plan of a training that spends what is left in the ledger of `prepared`. `shown`: whether a model of it was published
    before. Errors: ConfigError (no noise is enough)."""
    sampling = min(RATE, MOST_EXPECTED / max(1, rows))
    epochs = EPOCHS if train.epochs == "auto" else train.epochs
    steps = max(1, math.ceil(epochs / sampling))
    try:
        private = private_steps(prepared.ledger, sampling, steps, CLIP, shown)
    except ValueError as error:
        raise ConfigError(
            f"privacy.epsilon: {error}; allow more, or fewer rows of one unit by privacy.max_rows_per_unit"
        ) from None
    settings = SIZES["m" if model.size == "auto" else model.size]
    modelled = [c for c, slots in enumerate(codec.slots) if slots]
    parents = choose_parents(codec.slots, np.zeros((len(codec.columns), len(codec.columns))), seed)
    return TabularPlan(
        family="tabular",
        shards=str(shards),
        progress=str(work / "progress.jsonl"),
        settings=asdict(settings) | {"dropout": 0.0, "token_dropout": 0.0, "decay": 0.0},
        seed=derive(seed, "train"),
        batch=max(1, round(sampling * rows)),
        steps=steps,
        rate=LEARNING_RATE,
        checks=min(CHECKS, steps),
        patience=steps,
        max_seconds=None if train.max_minutes is None else 60.0 * train.max_minutes,
        stops_early=False,
        limits=[],
        sizes=codec.sizes,
        slots=codec.slots,
        parents=parents.tolist(),
        links=[[1.0] * parents.shape[1]] * len(parents),
        orders=[modelled],
        places=[],
        trial_steps=0,
        private=asdict(private),
        shares=[share.tolist() for share in prepared.shares],
    )
