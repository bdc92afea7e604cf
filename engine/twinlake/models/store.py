"""The model folder: weights.safetensors, codec.json, model.json, of models that write also their script, and last
manifest.json. Loading it runs no code.

A model that draws rows and has texts beside them holds the weights of both: those of the texts are named `texts.`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from twinlake.core.errors import ModelError, escaped
from twinlake.models.codec import Codec
from twinlake.models.column import BLOCK
from twinlake.models.cores import LanguageSettings
from twinlake.models.folded import FULL
from twinlake.models.llm import LlmSampler
from twinlake.models.marginal import TreeSampler
from twinlake.models.relations import opening
from twinlake.models.rows_as_text import RowScript
from twinlake.models.sampler import Door, TabularSampler
from twinlake.models.script import FILES as SCRIPT_FILES
from twinlake.models.script import Script
from twinlake.models.token_tables import TokenTree
from twinlake.models.writing import LanguageSampler
from twinlake.models.written import from_text
from twinlake.tables.parts import MODEL_MANIFEST, file_hash, replace_folder, write_text

FORMAT = 1
FILES = ("codec.json", "model.json", "weights.safetensors")
TEXTS = "texts."
FAMILIES = ("tabular", "marginal", "language", "llm")

RowSampler = TabularSampler | TreeSampler
"""Draws rows of tokens and knows how likely they are."""


def save_model(
    out: Path, codec: Codec, weights: dict[str, torch.Tensor], facts: dict[str, Any], script: Script | None = None
) -> dict[str, Any]:
    """Writes the folder beside `out` and renames it into place; returns the content of model.json."""
    work = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_text(work / "codec.json", codec.to_json())
    save_file({k: v.contiguous() for k, v in weights.items()}, work / "weights.safetensors")
    content = {"format": FORMAT, **facts}
    write_text(work / "model.json", json.dumps(content))
    if script is not None:
        script.save(work)
    files = [*FILES, *(SCRIPT_FILES if script is not None else ())]
    entries = [{"file": f, "bytes": (work / f).stat().st_size, "sha256": file_hash(work / f)} for f in files]
    write_text(work / MODEL_MANIFEST, json.dumps({"format": FORMAT, "files": entries}, indent=1))
    replace_folder(work, out)
    return content


def check_model(folder: Path) -> str:
    """The hash of the model in `folder`: of its manifest.

    Errors: ModelError naming what is missing, changed or foreign.
    """
    try:
        manifest = json.loads((folder / MODEL_MANIFEST).read_text())
        entries = {e["file"]: e for e in manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{escaped(str(folder))} is no model folder: {MODEL_MANIFEST} is missing or damaged") from None
    if manifest.get("format") != FORMAT:
        raise ModelError(f"{escaped(str(folder))} has model format {manifest.get('format')}; this version reads {FORMAT}")
    if set(entries) not in (set(FILES), {*FILES, *SCRIPT_FILES}):
        raise ModelError(
            f"{escaped(str(folder))} must hold {', '.join(FILES)}; "
            f"its manifest names {', '.join(map(escaped, sorted(entries)))}"
        )
    for name, entry in entries.items():
        file = folder / name
        if not file.is_file() or file_hash(file) != entry["sha256"]:
            raise ModelError(
                f"{name} in {escaped(str(folder))} is missing or was changed after training; copy the model again or retrain"
            )
    return file_hash(folder / MODEL_MANIFEST)


def model_folder(path: str | Path) -> Path:
    """The model folder that `path` names: itself, or that of a run. Errors: ModelError unless it is whole."""
    folder = Path(path).absolute()
    folder = folder / "model" if (folder / "model" / MODEL_MANIFEST).is_file() else folder
    check_model(folder)
    return folder


def model_identity(path: str | None) -> str | None:
    """The hash of the model that `path` names, None where there is no path. Errors: ModelError."""
    return check_model(model_folder(path)) if path else None


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to draw: its `codec`, by which rows are counted and tabular tokens are told; the `facts` of model.json;
    the `sampler` of a tabular or marginal model, None where there is nothing to learn; the `script` and `writer` of a model
    that writes."""

    codec: Codec
    facts: dict[str, Any]
    sampler: RowSampler | None
    script: Script | None = None
    writer: LanguageSampler | LlmSampler | None = None

    @property
    def writes_rows(self) -> bool:
        """Whether whole rows are written, and not texts alone."""
        return self.script is not None and not self.script.given

    @property
    def told(self) -> Codec:
        """The codec by which the model draws."""
        return self.script.codec if self.script is not None and self.writes_rows else self.codec


@lru_cache(maxsize=2)
def load_model(folder: str, digest: str, precision: str = FULL) -> LoadedModel:
    """The model in a folder, once for each process. `digest` is what `check_model` gave (the cache's key); `precision`: FULL or
    bfloat16, in which the tabular family multiplies."""
    root = Path(folder)
    codec = Codec.from_json((root / "codec.json").read_text(encoding="utf-8"))
    facts = json.loads((root / "model.json").read_text())
    family = facts.get("family")
    if family not in FAMILIES:
        raise ModelError(f"{escaped(folder)}: unknown model family {escaped(str(family))}; known are {', '.join(FAMILIES)}")
    kind = RowScript if family == "llm" else Script
    script = kind.load(root) if (root / SCRIPT_FILES[0]).is_file() else None
    if family in ("tabular", "marginal") and list(codec.sizes) != facts["sizes"]:
        raise ModelError(f"{escaped(folder)}: codec.json and model.json are of different runs")
    try:
        weights = load_file(root / "weights.safetensors")
    except (SafetensorError, OSError):
        raise ModelError(
            f"{escaped(folder)}: weights.safetensors can't be read as safetensors; it is damaged or of another kind"
        ) from None
    if any(not torch.isfinite(w).all() for w in weights.values()):
        raise ModelError(f"{escaped(folder)}: the weights hold values that are not numbers; retrain")
    texts = {name.removeprefix(TEXTS): w for name, w in weights.items() if name.startswith(TEXTS)}
    sampler: RowSampler | None = None
    writer: LanguageSampler | LlmSampler | None = None
    try:
        if isinstance(script, RowScript):
            writer = LlmSampler.of(script, weights, facts) if weights else None
        elif family == "language":
            writer = writer_of(script, weights, facts) if script is not None and weights else None
        else:
            if codec.sizes:
                sampler = tree_of(codec, weights, facts) if family == "marginal" else network_of(codec, weights, facts)
                if isinstance(sampler, TabularSampler) and precision != FULL:
                    sampler = sampler.in_bfloat16()
            writer = writer_of(script, texts, facts["texts"]) if script is not None else None
        return LoadedModel(codec, facts, sampler, script, writer)
    except (KeyError, RuntimeError, IndexError):
        raise ModelError(f"{escaped(folder)}: the weights do not fit model.json; retrain") from None


def network_of(codec: Codec, weights: dict[str, torch.Tensor], facts: dict[str, Any]) -> TabularSampler:
    """The sampler of a tabular model."""
    return TabularSampler.fold(weights, facts, drawable_of(codec), determines_of(codec), doors_of(codec))


def tree_of(codec: Codec, weights: dict[str, torch.Tensor], facts: dict[str, Any]) -> TreeSampler:
    """The sampler of a marginal model."""
    tables = [weights[f"table.{token}"].double().numpy() for token in range(len(codec.sizes))]
    drawable = {codec.slots[column][0]: allowed for column, allowed in drawable_of(codec).items()}
    # what opens a column is drawn without regard to it
    links = [link for link in determines_of(codec) if link[1] not in opening(codec, link[0])]
    return TreeSampler(TokenTree.from_json(facts["tree"]), codec.slots, tables, drawable, links)


def writer_of(script: Script, weights: dict[str, torch.Tensor], facts: dict[str, Any]) -> LanguageSampler:
    """The sampler of saved `weights`; `facts`: the settings of the network."""
    layout, drawable = script.layout, np.zeros(0, np.bool_)
    if script.tokenizer is not None:
        drawable = script.tokenizer.drawable()
    calibration = None
    if "calibration" in weights:
        calibration = list(torch.split(weights["calibration"], list(layout.sizes)))
    nulls = frozenset(text.column for text in script.texts if text.nulls)
    settings = LanguageSettings(**facts["settings"])
    return LanguageSampler(layout, settings, weights, script.automata, drawable, nulls, calibration)


def determines_of(codec: Codec) -> list[tuple[int, int, list[int]]]:
    """Which column decides which, and the code of the second for each code of the first."""
    found = []
    for relation in codec.relations:
        if relation.kind == "determines":
            a, b = relation.columns
            map_ = np.array(relation.map, np.int64)
            if len(codec.columns[a].sizes) == 2:  # the last block has fewer members: decoding wraps around, so do codes
                first, second = np.divmod(np.arange(len(map_)), BLOCK)
                members = np.clip(len(codec.columns[a].values) - first * BLOCK, 1, BLOCK)
                map_ = map_[first * BLOCK + second % members]
            found.append((a, b, map_.tolist()))
    return found


def drawable_of(codec: Codec) -> dict[int, npt.NDArray[np.bool_]]:
    """For each modelled column what may be drawn of its first token."""
    return {i: c.drawable for i, c in enumerate(codec.columns) if c.sizes}


def doors_of(codec: Codec) -> list[Door]:
    """The gates of a nested table (models/nested.py) as tokens. One without tokens is open in every row."""
    found = []
    for column, gate in codec.gates.items():
        by, null = codec.columns[gate.column], codec.columns[column].null
        if null is not None and by.sizes:
            cells = from_text(by.value_set, codec.schema.field(gate.column).type)
            states = [False] * len(by.states)
            opened = np.array([*gate.opened(cells), *states, True])  # rare: not known
            found.append(Door(column, gate.column, opened, null, codec.leaves[column].filled))
    return found
