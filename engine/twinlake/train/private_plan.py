"""The plans of differentially private trainings: everything in them is public or was paid for.

Nothing is tried, compared or stopped by real rows: the network is small, since noise grows with the number of its weights,
batches are large, since noise is added once for each, and steps are as many as the budget is best spread over.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.core.errors import ConfigError
from twinlake.core.seeds import derive
from twinlake.models.codec import Codec
from twinlake.models.cores import LanguageSettings
from twinlake.models.layout import Layout
from twinlake.models.tabular import TabularSettings, choose_parents
from twinlake.train.dp import CLIP, private_steps
from twinlake.train.language import LanguagePlan
from twinlake.train.private_codec import Prepared
from twinlake.train.tabular import TabularPlan

SIZES = {"s": TabularSettings(8, 16, 0), "m": TabularSettings(8, 32, 0), "l": TabularSettings(16, 64, 0)}
RATE = 0.1
EPOCHS = 40.0
MOST_EXPECTED = 65_536
LEARNING_RATE = 5e-3
LANGUAGE_SIZES = {  # width of embeddings, of the LSTM, and layers
    "lstm": {"s": (32, 16, 1), "m": (32, 32, 1), "l": (64, 128, 1)},
    "transformer": {"s": (32, 32, 1), "m": (32, 32, 1), "l": (64, 64, 2)},
}
LANGUAGE_RATE = 5e-3
LANGUAGE_EPOCHS = 30.0
CHECKS = 20


def private_tabular_plan(
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
    settings = SIZES["m" if model.size == "auto" else model.size]
    modelled = [c for c, slots in enumerate(codec.slots) if slots]
    parents = choose_parents(codec.slots, np.zeros((len(codec.columns), len(codec.columns))), seed)
    return TabularPlan(
        family="tabular",
        settings=asdict(settings) | {"dropout": 0.0, "token_dropout": 0.0, "decay": 0.0},
        rate=LEARNING_RATE,
        sizes=codec.sizes,
        slots=codec.slots,
        parents=parents.tolist(),
        links=[[1.0] * parents.shape[1]] * len(parents),
        orders=[modelled],
        places=[],
        trial_steps=0,
        **_budgeted(rows, "auto", EPOCHS, shards, work, train, seed, prepared, shown),
    )


def private_language_plan(
    layout: Layout,
    rows: int,
    shards: Path,
    work: Path,
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
    prepared: Prepared,
    shown: bool,
) -> LanguagePlan:
    """The same of the language family, for rows of the places of `layout`; model.language settles what it says."""
    wanted = model.language
    embedding, units, layers = LANGUAGE_SIZES[wanted.core]["m" if model.size == "auto" else model.size]
    settings = LanguageSettings(
        wanted.core,
        embedding if wanted.embedding_dim == "auto" else wanted.embedding_dim,
        units if wanted.rnn_units == "auto" else wanted.rnn_units,
        layers if wanted.layers == "auto" else wanted.layers,
        0.0 if wanted.dropout_rate == "auto" else wanted.dropout_rate,
        0.0,
    )
    return LanguagePlan(
        family="language",
        settings=asdict(settings),
        rate=LANGUAGE_RATE if wanted.learning_rate == "auto" else wanted.learning_rate,
        layout=asdict(layout),
        **_budgeted(rows, wanted.batch_size, LANGUAGE_EPOCHS, shards, work, train, seed, prepared, shown),
    )


def _budgeted(
    rows: int,
    batch: int | str,
    epochs: float,
    shards: Path,
    work: Path,
    train: TrainConfig,
    seed: int,
    prepared: Prepared,
    shown: bool,
) -> dict[str, Any]:
    """What the plans of all families have in common. `batch`: rows that a step is expected to draw, or "auto"; `epochs`: unless
    `train` says otherwise."""
    sampling = min(RATE, MOST_EXPECTED / max(1, rows)) if isinstance(batch, str) else min(1.0, batch / max(1, rows))
    steps = max(1, math.ceil((epochs if train.epochs == "auto" else train.epochs) / sampling))
    try:
        private = private_steps(prepared.ledger, sampling, steps, CLIP, shown)
    except ValueError as error:
        raise ConfigError(
            f"privacy.epsilon: {error}; allow more, or fewer rows of one unit by privacy.max_rows_per_unit"
        ) from None
    return {
        "shards": str(shards),
        "progress": str(work / "progress.jsonl"),
        "seed": derive(seed, "train"),
        "batch": max(1, round(sampling * rows)),
        "steps": steps,
        "checks": min(CHECKS, steps),
        "patience": steps,
        "max_seconds": None if train.max_minutes is None else 60.0 * train.max_minutes,
        "stops_early": False,
        "limits": [],
        "private": asdict(private),
        "shares": [share.tolist() for share in prepared.shares],
    }
