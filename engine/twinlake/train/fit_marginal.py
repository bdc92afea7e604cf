"""Makes a marginal model of the counts of token shards and writes the model folder. There is nothing to iterate over.

Each token is drawn from its shares beside each value of the token that it hangs on (models/tree.py). Shares of few rows lean
on coarser ones: by a Dirichlet prior whose weight is the one that foretells left-out rows best.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.core.errors import DataError
from twinlake.core.progress import Progress, Silent
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.store import doors_of, save_model
from twinlake.models.token_tables import FILE, TokenTables
from twinlake.profile.counts import COARSE_BINS, TokenCounts
from twinlake.train.fit_language import MIN_ROWS, train_texts

WEIGHTS = 2.0 ** np.arange(-3, 17)
Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


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
) -> dict[str, Any]:
    """Writes the model folder `out` from the token tables in `shards`; returns the content of model.json. Texts are trained as
    those of the tabular family. Errors: DataError (too few rows), and those of training where there are texts."""
    progress = progress or Silent()
    if 0 < counts.rows < MIN_ROWS:
        raise DataError(f"{counts.rows} rows to learn from; at least {MIN_ROWS} are needed")
    progress.update(0, 1, "shares of values")
    tables = TokenTables.load(shards / FILE)
    shares = conditionals(codec, tables)
    progress.update(1, 1, "shares of values")
    facts = {
        "family": "marginal",
        "rows": counts.rows,
        "sizes": list(codec.sizes),
        "slots": [list(s) for s in codec.slots],
        "parents": list(tables.parents),
        "history": [],
    }
    weights = {f"table.{token}": torch.from_numpy(table.astype(np.float32)) for token, table in enumerate(shares)}
    script = train_texts(shards, work, model, train, counts.rows, seed, progress, verbose, weights, facts)
    return save_model(out, codec, weights, facts, script)


def conditionals(codec: Codec, tables: TokenTables) -> list[Floats]:
    """For each token its shares beside each value of the one it hangs on: float64 [values there or 1, values], of sum 1."""
    places = [(codec.columns[c], place) for c, slots in enumerate(codec.slots) for place in range(len(slots))]
    column_of = [c for c, slots in enumerate(codec.slots) for _ in slots]
    allowed, out = allowed_pairs(codec), []
    for token, (parent, found) in enumerate(zip(tables.parents, tables.counts, strict=True)):
        column, place = places[token]
        if parent < 0:
            shares = found + (0 if found.any() else 1)
            out.append(shares / shares.sum())
        elif place:
            out.append(leaning(found, within(column, found)))
        else:
            mask = allowed.get((column_of[parent], column_of[token]))
            out.append(beside(found, coarse_of(places[parent][0]), coarse_of(column), mask))
    return out


def coarse_of(column: ColumnCodec) -> npt.NDArray[np.int64]:
    """The coarse bin of each value of a column's first token; of what is not counted in pairs the value itself."""
    return np.array(column.coarse or range(column.sizes[0]), np.int64)


def within(column: ColumnCodec, found: Table) -> Floats:
    """What second tokens lean on, [V0, V1]: parts of a bin are alike, phases (of a day, of a week) as they are at all times."""
    usual = found.sum(axis=0) + 1.0 if column.phase is not None else np.ones(found.shape[1])
    shares = np.where(np.arange(found.shape[1]) < column.behind[:, None], usual, 0.0)
    return shares / shares.sum(axis=1, keepdims=True)


def beside(found: Table, above: npt.NDArray[np.int64], own: npt.NDArray[np.int64], mask: Mask | None = None) -> Floats:
    """Shares of first tokens beside those of another column, [V, W] as the counts `found`: leaning on the shares of coarse
    bins (`above` [V], `own` [W]), which lean on the column's own. `mask` [V, W]: what may be at all."""
    usual = (found.sum(axis=0) + 1e-9) / (found.sum() + 1e-9 * found.shape[1])
    groups = np.zeros((COARSE_BINS, len(found)))
    groups[above, np.arange(len(found))] = 1.0
    bins = np.zeros((found.shape[1], COARSE_BINS))
    bins[np.arange(found.shape[1]), own] = 1.0
    coarse = leaning((groups @ found @ bins).astype(np.int64), np.broadcast_to(usual @ bins, (COARSE_BINS, COARSE_BINS)))
    return leaning(found, spread(coarse, usual, above, own), mask)


def spread(coarse: Floats, usual: Floats, above: npt.NDArray[np.int64], own: npt.NDArray[np.int64]) -> Floats:
    """Shares of coarse bins, [16, 16], as those of values, [V, W]: within a bin values have their `usual` shares [W]."""
    in_bin = np.bincount(own, usual, COARSE_BINS)[own]
    out: Floats = coarse[above][:, own] * (usual / np.where(in_bin > 0, in_bin, 1.0))
    return out


def leaning(found: Table, prior: Floats, mask: Mask | None = None) -> Floats:
    """(found + w prior) / (sum + w) row by row, the posterior mean under a Dirichlet prior: `w` of WEIGHTS is the one under
    which each row of the table, left out, is likeliest (Stone, "Cross-validatory choice", 1974). `mask`: what may be at all."""
    if mask is not None:
        kept = prior * mask
        mass = kept.sum(axis=1, keepdims=True)
        prior = np.where(mass > 0, kept / np.where(mass > 0, mass, 1.0), prior)
        found = found * mask
    row, value = np.nonzero(found)
    times, others = found[row, value], found.sum(axis=1)[row] - 1
    expected = np.maximum(prior[row, value], 1e-12)
    scores = [(times * np.log((times - 1 + w * expected) / (others + w))).sum() for w in WEIGHTS]
    weight = float(WEIGHTS[int(np.argmax(scores))])
    return (found + weight * prior) / (found.sum(axis=1, keepdims=True) + weight)


def allowed_pairs(codec: Codec) -> dict[tuple[int, int], Mask]:
    """By pair of columns, either way round, which first tokens may stand together, where relations or gates forbid some."""
    out: dict[tuple[int, int], Mask] = {}

    def ask(a: int, b: int, mask: Mask) -> None:
        out[a, b] = out[a, b] & mask if (a, b) in out else mask
        out[b, a] = out[a, b].T

    for relation in codec.relations:
        if relation.kind == "determines" and all(len(codec.slots[c]) == 1 for c in relation.columns):
            a, b = relation.columns
            decided = np.array(relation.map)[:, None]
            ask(a, b, (decided < 0) | (decided == np.arange(codec.columns[b].sizes[0])))
    for door in doors_of(codec):
        null = np.arange(codec.columns[door.column].sizes[0]) == door.null
        ask(door.by, door.column, np.where(door.opened[:, None], ~null if door.filled else True, null))
    return out
