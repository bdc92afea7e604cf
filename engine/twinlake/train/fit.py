"""The train stage of a run: token shards -> the model folder, by the family that the config names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twinlake.core.config import Config
from twinlake.core.errors import escaped
from twinlake.core.progress import Progress
from twinlake.core.seeds import derive
from twinlake.models.codec import Codec
from twinlake.profile.counts import TokenCounts
from twinlake.tables.run_folder import RunFolder
from twinlake.train.fit_language import fit_language
from twinlake.train.fit_llm import fit_llm
from twinlake.train.fit_marginal import fit_marginal
from twinlake.train.fit_tabular import fit_tabular
from twinlake.train.private_codec import prepared_of

MODELS: dict[str, Callable[..., dict[str, Any]]] = {
    "tabular": fit_tabular,  # any-order autoregression over tokens; fast, steerable
    "language": fit_language,  # rows and texts written token by token; any column
    "marginal": fit_marginal,  # shares of values beside those of one other column, from counts alone
    "llm": fit_llm,  # the same by a language model of the user's, fine-tuned
}


def train_run(folder: RunFolder, config: Config, progress: Progress) -> str:
    """Trains the model of a run: private/encoded/ -> model/."""
    codec = Codec.from_json((folder / "codec.json").read_text(encoding="utf-8"))
    counts = TokenCounts.load(folder.private / "pairs.npz")
    budget = {} if config.privacy.epsilon is None else {"prepared": prepared_of(folder)}
    facts = MODELS[config.model.family](
        codec,
        counts,
        folder.encoded,
        folder.private / "train",
        folder.model,
        config.model,
        config.train,
        derive(config.run.seed, "model"),
        progress,
        **budget,
    )
    if guarantee := facts.get("privacy"):
        return (
            f"epsilon {guarantee['epsilon']:.3g} at delta {guarantee['delta']:.2g} for each {guarantee['unit']}, "
            f"by {guarantee['accountant']}"
        )
    told = [_told(facts)] if facts["history"] else []
    if facts["family"] == "marginal" and facts["shares"]:
        beside = f", all columns beside {escaped(facts['hub'])}" if facts["hub"] is not None else ""
        told.append(f"{facts['shares']:,} shares of values{beside}")
    if "texts" in facts:
        told.append(f"texts: {_told(facts['texts'])}")
    return "; ".join(told) or "nothing to learn: every column is constant or made anew"


def _told(facts: dict[str, Any]) -> str:
    """How a training ended, for the line of the stage."""
    history = facts["history"]
    best = min(h["validation_loss"] for h in history)
    told = f"{len(history)} validations, best loss {best:.3f} nats a row; {_said(facts)}"
    if start := facts.get("start_from"):
        told += (
            f"; the earlier model began with {start['loss_here']:.3f} here and had {start['loss_there']:.3f} on its own rows"
        )
    return told


def _said(facts: dict[str, Any]) -> str:
    """The chosen size of the network, and how it was chosen."""
    settings, tried = facts["settings"], len(facts["trials"])
    if facts["family"] == "llm":
        return f"LoRA of rank {settings['lora_rank']}"
    if facts["family"] == "language":
        size = settings["rnn_units"] if settings["core"] == "lstm" else settings["embedding_dim"]
        return f"{settings['core']}, width {size}, {settings['layers']} layer{'' if settings['layers'] == 1 else 's'}"
    blocks = f"{settings['blocks']} block{'' if settings['blocks'] == 1 else 's'}"
    how = f"the best of {tried} trials" if tried else "by rows and columns"
    members = facts.get("members", 1)
    many = f"{members} networks of " if members > 1 else ""
    return f"{many}width {settings['hidden'] // members}, {blocks}, decay {settings['decay']:.2g}: {how}"
