"""The language model that a user brings: a folder of the Hugging Face layout, read without a network and without running code.

Only safetensors are read, never pickles; code that a folder brings is refused. What is learned of a table is a LoRA adapter
(Hu et al., "LoRA", ICLR 2022), added to all linear maps but the head. Needs the extra `twinlake[llm]`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twinlake.core.errors import ConfigError, ModelError, escaped
from twinlake.core.seeds import derive
from twinlake.models.vocabulary import Vocabulary
from twinlake.tables.parts import file_hash

MISSING = 'model.family llm needs the extra: pip install "twinlake[llm]"'
TOKENIZER = "tokenizer.json"


def check_base(path: str | None) -> None:
    """Errors: ConfigError unless the extra is there and `path` is a folder with a causal language model."""
    if any(importlib.util.find_spec(name) is None for name in ("transformers", "peft", "tokenizers")):
        raise ConfigError(MISSING)
    if path is None:
        raise ConfigError("model.family llm needs model.llm.path: the folder of a Hugging Face causal language model")
    folder, shown = Path(path), escaped(path)
    if not folder.is_dir():
        raise ConfigError(f"model.llm.path: {shown} is no folder; models are never downloaded, so it must be there")
    for name in ("config.json", TOKENIZER):
        if not (folder / name).is_file():
            raise ConfigError(f"model.llm.path: {shown} has no {name}, so it is no folder of a Hugging Face language model")
    if not list(folder.glob("*.safetensors")):
        raise ConfigError(f"model.llm.path: {shown} has no *.safetensors; weights in other files could run code")
    if not _is_causal(folder):
        raise ConfigError(f"model.llm.path: {shown} is no causal language model that transformers knows")
    vocabulary_of(str(folder))


def _is_causal(folder: Path) -> bool:
    _offline()
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config["model_type"])
        named = config.get("architectures") or [known]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return known is not None and known in named


@lru_cache(maxsize=2)
def vocabulary_of(path: str) -> Vocabulary:
    """The vocabulary of the model in a folder, read once for each process. Errors: ConfigError."""
    try:
        return Vocabulary((Path(path) / TOKENIZER).read_text("utf-8"))
    except (OSError, ValueError):
        raise ConfigError(f"model.llm.path: {escaped(path)}/{TOKENIZER} can't be read") from None


@lru_cache(maxsize=4)
def base_hash(path: str) -> str:
    """The hash of a language model: of its config, its vocabulary and its weights. Errors: ModelError."""
    folder, total = Path(path), hashlib.sha256()
    try:
        for file in [folder / "config.json", folder / TOKENIZER, *sorted(folder.glob("*.safetensors"))]:
            total.update(f"{file.name} {file_hash(file)}\n".encode())
    except OSError:
        raise ModelError(
            f"the language model in {escaped(path)}, which this model goes on from, is not there; executors must see it too"
        ) from None
    return total.hexdigest()


def load_base(path: str, digest: str) -> nn.Module:
    """The language model in a folder, frozen, float32. Errors: ModelError if it is missing or not the one of `digest`."""
    if base_hash(path) != digest:
        raise ModelError(f"the language model in {escaped(path)} is not the one that was trained on; put that one back")
    _offline()
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model: nn.Module = AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise ModelError(f"the language model in {escaped(path)} can't be loaded: {type(error).__name__}") from None
    model.requires_grad_(False)
    return model.eval()


def with_adapter(model: nn.Module, rank: int, alpha: int, seed: int) -> Any:
    """`model` with a LoRA adapter that does nothing yet, the only part with gradients."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in words that it retires
        torch.manual_seed(derive(seed, "adapter") % 2**63)
        config = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear")
        return get_peft_model(model, config).eval()


def merged(path: str, digest: str, settings: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    """The language model in a folder with the adapter `weights` in it. Errors: ModelError."""
    model = with_adapter(load_base(path, digest), settings["lora_rank"], settings["lora_alpha"], 0)
    adapter = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if set(adapter) != set(weights) or any(adapter[n].shape != w.shape for n, w in weights.items()):
        raise ModelError("the adapter does not fit its language model; train the model again")
    with torch.no_grad():
        for name, parameter in adapter.items():
            parameter.copy_(weights[name])
    whole: nn.Module = model.merge_and_unload()
    return whole.requires_grad_(False).eval()


def context_of(path: str) -> int | None:
    """How many tokens the model in a folder can see, None where its config does not say."""
    config = json.loads((Path(path) / "config.json").read_text("utf-8"))
    found = config.get("max_position_embeddings") or config.get("n_positions") or config.get("n_ctx")
    return int(found) if found else None


def _offline() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
