"""Makes a marginal model of the counts of token shards and writes the model folder. There is nothing to iterate over.

Each token is drawn from its shares beside the values that it hangs on (models/tree.py, train/conditionals.py).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.core.errors import DataError
from twinlake.core.progress import Progress, Silent
from twinlake.models.codec import Codec
from twinlake.models.store import save_model
from twinlake.models.token_tables import FILE, TokenTables
from twinlake.profile.counts import TokenCounts
from twinlake.train.conditionals import conditionals
from twinlake.train.fit_language import MIN_ROWS, train_texts
from twinlake.train.private_codec import Prepared
from twinlake.train.private_marginal import measured_tables
from twinlake.train.spender import spender_of


def fit_marginal(
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
    """Writes the model folder `out` from the token tables in `shards`; returns the content of model.json. Texts are trained as
    those of the tabular family. With `prepared` (of train/private_codec.py) the model is differentially private: made of noisy
    answers to questions about the pairs of `counts`, for all that is left of the budget.

    Errors: DataError (too few rows), ConfigError (nothing is left), and those of training where there are texts."""
    progress = progress or Silent()
    if 0 < counts.rows < MIN_ROWS:
        raise DataError(f"{counts.rows} rows to learn from; at least {MIN_ROWS} are needed")
    progress.update(0, 1, "shares of values")
    if prepared is None:
        tables = TokenTables.load(shards / FILE)
        tree, shares = tables.tree, conditionals(codec, tables)
    else:
        spender = spender_of(prepared.ledger, out.exists(), model.marginal.selection)
        tree, shares = measured_tables(codec, counts, prepared.shares, spender)
    progress.update(1, 1, "shares of values")
    facts: dict[str, Any] = {
        "family": "marginal",
        "rows": counts.rows,
        "sizes": list(codec.sizes),
        "tree": asdict(tree),
        "hub": next((codec.names[c] for c, slots in enumerate(codec.slots) if tree.hub in slots), None),
        "shares": sum(table.size for table in shares),
        "history": [],
    }
    if prepared is not None:
        facts["privacy"] = prepared.ledger.reopened().guarantee()
    weights = {f"table.{token}": torch.from_numpy(table.astype(np.float32)) for token, table in enumerate(shares)}
    script = train_texts(shards, work, model, train, counts.rows, seed, progress, verbose, weights, facts)
    return save_model(out, codec, weights, facts, script)
