"""Trains on a DataFrame without a run folder: the rows go through the same parts, codec and shards, in a folder that is
removed afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from twinlake.classify.labels import ColumnLabel, Labels
from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.core.progress import Progress, Silent
from twinlake.models.encode import encode_table
from twinlake.models.store import model_folder
from twinlake.profile.profile import profile_table
from twinlake.tables.parts import publish
from twinlake.tables.split import Split, part_count
from twinlake.train.fit import MODELS
from twinlake.transform.plan import Plan, make_plan
from twinlake.transform.policy import load_policy
from twinlake.transform.protect import stage_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def fit_frame(
    df: DataFrame,
    plan: Plan | None,
    out: Path,
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
    people: int,
    progress: Progress | None = None,
) -> None:
    """Writes the model folder `out`, trained on all rows of `df`. `plan` says how each column's twin is made."""
    progress = progress or Silent()
    earlier = model_folder(model.start_from) if model.start_from else None
    rows = df.count()
    decided = plan or make_plan(profile_table(df, None, people, rows), _unlabelled(df), load_policy(None))
    work = out.absolute().with_name(f".{out.name}.work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, mode=0o700)
    try:
        train_staging, unused = work / "rows", work / "unused"
        train_staging.mkdir()
        unused.mkdir()
        parts = part_count(rows, len(df.columns))
        stage_rows(df, Split(seed), parts, train_staging, unused)
        publish(train_staging, work / "table", parts, {})
        codec, counts = encode_table(
            df.sparkSession, work / "table", decided, people, seed, work / "codec.json", work / "encoded", earlier, model
        )
        MODELS[model.family](codec, counts, work / "encoded", work / "train", out, model, train, seed, progress)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unlabelled(df: DataFrame) -> Labels:
    """Labels that find nothing. The rows hold no personal data any more, so nested ones count as looked into (sampled: 1)."""
    return Labels(tuple(ColumnLabel(f.name, f.dataType.simpleString(), None, 0.0, 1, 0, {}, {}) for f in df.schema.fields), 0)
