"""A model folder whose distribution is known exactly: two columns and any joint table of probabilities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.store import save_model
from twinlake.models.tabular import TabularSettings, model_facts
from twinlake.models.token_tables import TokenTree


def save_exact_tree(folder: Path, joint: npt.NDArray[np.float64], values: tuple[tuple[str, ...], tuple[str, ...]]) -> Path:
    """The same of the marginal family: b hangs on a."""
    codec = _codec(values, "ab")
    tree = TokenTree(codec.sizes, (-1, 0), -1, (False, False))
    tables = [np.zeros(tree.shape(token), np.float32) for token in range(2)]
    tables[0][0, 0, :-1] = joint.sum(axis=1)
    tables[1][0, :-1, :-1] = joint / joint.sum(axis=1, keepdims=True)
    weights = {f"table.{token}": torch.from_numpy(table) for token, table in enumerate(tables)}
    facts = {"family": "marginal", "rows": 1_000, "history": [], "sizes": list(codec.sizes), "tree": asdict(tree)}
    save_model(folder, codec, weights, facts)
    return folder


def save_exact_model(
    folder: Path, joint: npt.NDArray[np.float64], values: tuple[tuple[str, ...], tuple[str, ...]], names: Sequence[str] = "ab"
) -> Path:
    """Columns `a` and `b` (texts, or `names`) with P(a = values[0][i], b = values[1][j]) = joint[i, j]; returns the folder.

    Each value has a hidden unit of its own. Nothing seen: the logits are the log marginal, held by the bias of the head.
    The other column seen: its unit adds log P(own | other) - log P(own).
    """
    codec = _codec(values, names)
    first, second = codec.sizes
    units = first + second
    parents = np.tile(np.arange(2, dtype=np.int64), (2, 1))
    settings = TabularSettings(units, units, 0)
    into = np.zeros((2, 2 * units, units))
    into[0, units + first : 2 * units, first:] = np.eye(second)  # a looks at b
    into[1, :first, :first] = np.eye(first)  # b looks at a
    heads, bias = np.zeros((2, units, max(first, second))), np.full((2, 1, max(first, second)), -1e9)
    marginals = joint.sum(axis=1), joint.sum(axis=0)
    bias[0, 0, : first - 1], bias[1, 0, : second - 1] = np.log(marginals[0]), np.log(marginals[1])
    heads[0, first : units - 1, : first - 1] = np.log(joint / np.outer(*marginals)).T
    heads[1, : first - 1, : second - 1] = np.log(joint / np.outer(*marginals))
    arrays = {
        "embed": np.eye(units),
        "into": into,
        "into_bias": np.zeros((2, 1, units)),
        "heads.0": heads,
        "head_bias.0": bias,
    }
    weights = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    facts = {"family": "tabular", "rows": 1_000, "history": []}
    save_model(folder, codec, weights, {**facts, **model_facts(codec.sizes, parents, settings, [0, 1], codec.slots)})
    return folder


def _codec(values: tuple[tuple[str, ...], tuple[str, ...]], names: Sequence[str]) -> Codec:
    columns = tuple(
        ColumnCodec(name, "string", "category", values=texts, coarse=tuple(range(len(texts) + 1)))
        for name, texts in zip(names, values, strict=True)
    )
    fields = [{"name": name, "type": "string", "nullable": True, "metadata": {}} for name in names]
    metadata = {"org.apache.spark.sql.parquet.row.metadata": json.dumps({"type": "struct", "fields": fields})}
    codec = Codec(columns, pa.schema([(name, pa.string()) for name in names]).with_metadata(metadata))
    return codec
