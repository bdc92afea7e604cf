"""Fine-tunes a language model that the user brings on rows as text, by the same loop and checkpoints as every family."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.core.errors import DataError
from twinlake.core.progress import Progress, Silent
from twinlake.core.seeds import derive
from twinlake.models.base_model import vocabulary_of
from twinlake.models.codec import Codec
from twinlake.models.rows_as_text import RowScript
from twinlake.models.store import save_model
from twinlake.profile.counts import TokenCounts
from twinlake.train.data import Schedule
from twinlake.train.fit_language import CHECKS, MIN_ROWS, PATIENCE
from twinlake.train.llm import DOT, LlmPlan
from twinlake.train.runner import run_training

RATE = 5e-4
ROWS_SEEN = 60_000
MOST_EPOCHS = 20


def fit_llm(
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
    """Trains an adapter on the written shards in `shards` and writes the model folder `out`; returns the facts of the
    training. See fit_language for the arguments and errors."""
    script, rows = RowScript.load(shards), counts.rows
    if 0 < rows < MIN_ROWS:
        raise DataError(f"{rows} rows to train on; at least {MIN_ROWS} are needed")
    facts: dict[str, Any] = {"family": "llm", "rows": rows, "seed": seed, "history": [], "trials": []}
    weights = {}
    if script.columns:
        shards, work = shards.absolute(), work.absolute()  # workers run in folders of their own
        wanted = model.llm
        batch, steps = llm_schedule(rows, model, train)
        plan = LlmPlan(
            family="llm",
            shards=str(shards),
            progress=str(work / "progress.jsonl"),
            settings={"lora_rank": wanted.lora_rank, "lora_alpha": wanted.lora_alpha},
            seed=derive(seed, "train"),
            batch=batch,
            steps=steps,
            rate=RATE if wanted.learning_rate == "auto" else wanted.learning_rate,
            checks=min(CHECKS, steps),
            patience=PATIENCE,
            max_seconds=None if train.max_minutes is None else 60.0 * train.max_minutes,
            stops_early=True,
            limits=train.loss_limits,
            source=script.source,
            base=script.base,
            prompt=vocabulary_of(script.source).prompt(script.prompt),
        )
        trained = run_training(plan, work, train, progress or Silent(), verbose)
        weights = {name.replace(DOT, "."): w for name, w in trained.weights.items()}
        facts |= {"batch": batch, "steps": steps, "rate": plan.rate, "history": trained.history, "settings": plan.settings}
    saved = save_model(out, codec, weights, facts, script)
    shutil.rmtree(work / "ray", ignore_errors=True)
    return saved


def llm_schedule(rows: int, model: ModelConfig, train: TrainConfig) -> tuple[int, int]:
    """Rows of a training batch, and how many batches at most."""
    wanted = model.llm.batch_size
    batch = max(1, min(32, max(8, rows // 64), rows // 2)) if wanted == "auto" else wanted
    epochs = min(MOST_EPOCHS, max(1.0, ROWS_SEEN / rows)) if train.epochs == "auto" else float(train.epochs)
    return batch, max(1, math.ceil(epochs * Schedule(rows, 0, batch).train_rows / batch))
