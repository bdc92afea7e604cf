"""Trains a language model on written shards: of whole rows (family language), or of the texts of a table whose rows another
family draws. The same loop, checkpoints and resumption as every family."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, replace
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
from twinlake.models.cores import LanguageSettings
from twinlake.models.encode import TEXTS
from twinlake.models.layout import Layout
from twinlake.models.sampler import BLOCK_ROWS
from twinlake.models.script import Script
from twinlake.models.store import TEXTS as TEXT_WEIGHTS
from twinlake.models.store import save_model, writer_of
from twinlake.models.writing import LanguageSampler
from twinlake.profile.counts import TokenCounts
from twinlake.train.data import Schedule, open_shards
from twinlake.train.language import LanguagePlan
from twinlake.train.private_codec import Prepared
from twinlake.train.private_plan import private_language_plan
from twinlake.train.runner import run_training

Shares = list[npt.NDArray[np.float64]]
MIN_ROWS = 10
UNITS = {"s": 128, "m": 256, "l": 512}
DIMENSIONS = {"lstm": {"s": 64, "m": 128, "l": 192}, "transformer": {"s": 96, "m": 128, "l": 256}}
LAYERS = {"lstm": {"s": 1, "m": 1, "l": 2}, "transformer": {"s": 2, "m": 3, "l": 6}}
RATES = {"lstm": 6e-3, "transformer": 2e-3}
ROWS_SEEN = 600_000
MOST_EPOCHS = 24
MIN_STEPS = 400
CHECKS = 20
PATIENCE = 4
CALIBRATION_BLOCKS, CALIBRATION_ROUNDS = 4, 2
FEW_ROWS = 5_000
DROPOUT = {"few": 0.5, "many": 0.2}
HELD_OUT_FROM = 500  # fewer rows hold out too few to tell when to stop: dropout alone keeps them from being known by heart


def fit_language(
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
    """Trains on the written shards in `shards` and writes the model folder `out`; returns the facts of the training.

    `codec` and `counts`: of the table as it is counted. `work`: a folder for checkpoints that all workers can write. With
    `prepared` (of train/private_codec.py) steps are differentially private, the shards are those of `codec`, whose tokens the
    model tells as they are, and of the counts the number of rows alone is used.
    Errors: DataError (too few rows), ModelError (loss not a number, or training failed).
    """
    progress = progress or Silent()
    script = Script.load(shards) if prepared is None else Script(codec)
    weights, facts = train_script(
        script, shards, work, model, train, counts.rows, seed, progress, verbose, prepared, out.exists()
    )
    progress.update(1, 1, "calibrating the marginals")
    if weights:
        sampler = writer_of(script, weights, facts)
        shares = _drawable(sampler, _marginals(sampler.layout, shards) if prepared is None else prepared.shares)
        closed = replace(sampler, texts=False)  # texts come last in a row: what is counted here does not depend on them
        weights["calibration"] = calibrate(closed, shares, derive(seed, "calibration"), CALIBRATION_BLOCKS, CALIBRATION_ROUNDS)
    if prepared is not None:
        facts["privacy"] = prepared.ledger.reopened().guarantee()
    saved = save_model(out, codec, weights, facts, script)
    shutil.rmtree(work / "ray", ignore_errors=True)
    return saved


def train_script(
    script: Script,
    shards: Path,
    work: Path,
    model: ModelConfig,
    train: TrainConfig,
    rows: int,
    seed: int,
    progress: Progress,
    verbose: bool = False,
    prepared: Prepared | None = None,
    shown: bool = False,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and facts of a model that writes `script`; no weights where there is nothing to tell. `prepared`: see
    fit_language; `shown`: whether a model of it was published before. Errors: as fit_language."""
    if 0 < rows < MIN_ROWS:
        raise DataError(f"{rows} rows to train on; at least {MIN_ROWS} are needed")
    facts: dict[str, Any] = {"family": "language", "rows": rows, "seed": seed, "history": [], "trials": []}
    if not script.layout.columns:
        return {}, facts
    shards, work = shards.absolute(), work.absolute()  # workers run in folders of their own
    plan = (
        _plan(script, shards, work, model, train, rows, seed)
        if prepared is None
        else private_language_plan(script.layout, rows, shards, work, model, train, seed, prepared, shown)
    )
    trained = run_training(plan, work, train, progress, verbose)
    history = trained.history if plan.private is None else []  # no loss of private rows is told
    facts |= {"batch": plan.batch, "steps": plan.steps, "rate": plan.rate, "history": history, "settings": plan.settings}
    return trained.weights, facts


def _plan(
    script: Script, shards: Path, work: Path, model: ModelConfig, train: TrainConfig, rows: int, seed: int
) -> LanguagePlan:
    settings = language_settings(model, rows)
    batch, steps = language_schedule(rows, model, train)
    rate = model.language.learning_rate
    return LanguagePlan(
        family="language",
        shards=str(shards),
        progress=str(work / "progress.jsonl"),
        settings=asdict(settings),
        seed=derive(seed, "train"),
        batch=batch,
        steps=steps,
        rate=RATES[settings.core] * math.sqrt(min(batch, 256) / 256) if rate == "auto" else rate,
        checks=min(CHECKS, steps),
        patience=PATIENCE,
        max_seconds=None if train.max_minutes is None else 60.0 * train.max_minutes,
        stops_early=rows >= HELD_OUT_FROM,
        limits=train.loss_limits,
        layout=asdict(script.layout),
    )


def train_texts(
    shards: Path,
    work: Path,
    model: ModelConfig,
    train: TrainConfig,
    rows: int,
    seed: int,
    progress: Progress,
    verbose: bool,
    weights: dict[str, Tensor],
    facts: dict[str, Any],
) -> Script | None:
    """Trains what writes the texts of a table given the rest of a row, where the table has any: returns their script, and adds
    to the `weights` and `facts` of the model that draws the rows. Errors: as fit_language."""
    if not (shards / TEXTS).is_dir():
        return None
    progress.say("training the texts")
    script, apart = Script.load(shards / TEXTS), work.with_name(f"{work.name}-texts")
    free = train.model_copy(update={"loss_limits": []})  # those are of the rows
    told = train_script(script, shards / TEXTS, apart, model, free, rows, derive(seed, "texts"), progress, verbose)
    weights |= {f"{TEXT_WEIGHTS}{name}": tensor for name, tensor in told[0].items()}
    facts["texts"] = told[1]
    return script


def language_settings(model: ModelConfig, rows: int) -> LanguageSettings:
    """The size of the network: what model.language says, the rest by model.size, which auto takes from the rows."""
    wanted = model.language
    size = ("s" if rows < FEW_ROWS else "m") if model.size == "auto" else model.size
    return LanguageSettings(
        wanted.core,
        DIMENSIONS[wanted.core][size] if wanted.embedding_dim == "auto" else wanted.embedding_dim,
        UNITS[size] if wanted.rnn_units == "auto" else wanted.rnn_units,
        LAYERS[wanted.core][size] if wanted.layers == "auto" else wanted.layers,
        DROPOUT["few" if rows < HELD_OUT_FROM else "many"] if wanted.dropout_rate == "auto" else wanted.dropout_rate,
    )


def language_schedule(rows: int, model: ModelConfig, train: TrainConfig) -> tuple[int, int]:
    """Rows of a training batch, and how many batches at most."""
    wanted = model.language.batch_size
    batch = max(1, min(256, max(16, rows // 64), rows // 2)) if wanted == "auto" else wanted
    epochs = min(MOST_EPOCHS, max(1.0, ROWS_SEEN / rows)) if train.epochs == "auto" else float(train.epochs)
    steps = math.ceil(epochs * Schedule(rows, 0, batch).train_rows / batch)
    return batch, max(MIN_STEPS if train.epochs == "auto" else 1, steps)


def _marginals(layout: Layout, shards: Path) -> Shares:
    """Shares of the values of each closed place among some train rows."""
    table = open_shards(shards)
    tokens = table.take(np.arange(min(table.rows, 50 * BLOCK_ROWS)))
    return [np.bincount(tokens[:, p], minlength=layout.sizes[p]) / max(1, len(tokens)) for p in range(layout.closed)]


def _drawable(sampler: LanguageSampler, shares: Shares) -> Shares:
    """`shares`, those of the first token of a column without what is never drawn, each summing to one."""
    out = [share.copy() for share in shares]
    for column, slots in enumerate(sampler.layout.slots):
        if slots:
            automaton = sampler.automata[column]
            out[slots[0]] *= automaton.next[automaton.start, : len(out[slots[0]])] >= 0
    return [share / max(1e-12, share.sum()) for share in out]
