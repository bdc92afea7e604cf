"""What the model itself says of targets: the log-probability of rows trained on and of rows never seen.

Yeom et al., "Privacy risk in machine learning: analyzing the connection to overfitting" (CSF 2018): a model that has learned
rows by heart holds them for likelier than others. Only for families whose sampler has `log_prob(tokens)`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from twinlake.core.seeds import derive
from twinlake.evaluate.attacks.targets import TARGETS
from twinlake.evaluate.counters import Floats
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import HOLDOUT, TRAIN, at_most, row_counts
from twinlake.tables.names import quoted

FAMILIES = ("tabular", "marginal")
DDL = "side int, told double"
OUT = pa.schema([("side", pa.int32()), ("told", pa.float64())])


@dataclass(frozen=True)
class Likelihoods:
    """Log-probabilities of about 2,000 rows trained on, and of as many rows never seen."""

    trained: Floats
    unseen: Floats


def likelihoods(evidence: Evidence) -> Likelihoods | None:
    """What the model says; None without a model, or where its family gives no probabilities."""
    return evidence.once("likelihoods", _likelihoods)


def _likelihoods(evidence: Evidence) -> Likelihoods | None:
    if evidence.model is None or evidence.holdout is None:
        return None
    from twinlake.models.codec import Codec
    from twinlake.models.store import check_model

    folder = Path(evidence.model)
    # A large model is not loaded to learn that it has no answer.
    if json.loads((folder / "model.json").read_text(encoding="utf-8")).get("family") not in FAMILIES:
        return None
    names = Codec.from_json((folder / "codec.json").read_text(encoding="utf-8")).names
    rows, frames = row_counts(evidence), []
    for side, frame in ((TRAIN, evidence.real), (HOLDOUT, evidence.holdout)):
        plain = frame.select(*[F.col(quoted(name)).alias(f"c{i}") for i, name in enumerate(names)])
        some = at_most(plain, TARGETS, rows[side], derive(evidence.seed, "likelihoods") >> 1)
        frames.append(some.select("*", F.lit(side).alias("__side")))
    # One task, so that the model is loaded once.
    task = partial(_told, evidence.model, check_model(folder))
    found = frames[0].unionAll(frames[1]).repartition(1).mapInArrow(task, DDL).toArrow()
    told = {
        side: np.sort(found.column("told").to_numpy()[found.column("side").to_numpy() == side]) for side in (TRAIN, HOLDOUT)
    }
    return Likelihoods(told[TRAIN], told[HOLDOUT]) if all(map(len, told.values())) else None


def _told(folder: str, digest: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from twinlake.models.store import load_model

    model = load_model(folder, digest)
    if model.sampler is None:
        return
    for batch in batches:
        last = batch.num_columns - 1
        rows = pa.RecordBatch.from_arrays(batch.columns[:last], names=list(model.codec.names))
        told = np.nan_to_num(model.sampler.log_prob(model.codec.encode(rows)).astype(np.float64), neginf=-1e30)
        yield pa.RecordBatch.from_arrays([batch.column(last), pa.array(told, pa.float64())], schema=OUT)
