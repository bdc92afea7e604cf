"""What a fine-tuned LLM brings to the training loop: its plan, and its network, of which the adapter alone is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from twinlake.models.base_model import load_base, with_adapter
from twinlake.models.llm_shards import FORCED, PAD
from twinlake.train.data import Shards, Tokens
from twinlake.train.loop import Inputs, Place, Plan

MAX_FLOATS = 100_000_000


@dataclass(frozen=True)
class LlmPlan(Plan):
    """What workers need to fine-tune a language model: its folder and hash, and the `prompt` in its tokens."""

    source: str
    base: str
    prompt: list[int]
    earlier: dict[str, Any] | None = None

    @classmethod
    def read(cls, raw: dict[str, Any]) -> LlmPlan:
        """The plan that travelled as JSON."""
        return cls(**raw)

    def prepare(self, shards: Shards, place: Place) -> None:
        """There is nothing to find out first."""

    def learner(self, prepared: None, place: Place) -> LlmLearner:
        """The network at its start."""
        model = load_base(self.source, self.base)
        adapted = with_adapter(model, self.settings["lora_rank"], self.settings["lora_alpha"], self.seed).to(place.device)
        config = json.loads((Path(self.source) / "config.json").read_text("utf-8"))
        width = int(config.get("hidden_size") or config.get("n_embd") or 1_024)
        layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 24)
        return LlmLearner(AdaptedNetwork(adapted, self.prompt), int(config.get("vocab_size") or 50_000) + 16 * width * layers)


class AdaptedNetwork(nn.Module):
    """A language model with an adapter, which alone is among its parameters: it is what is averaged, checked and kept."""

    def __init__(self, model: nn.Module, prompt: list[int]) -> None:
        super().__init__()
        self._model = [model]  # in a list, so that its frozen weights are nobody's parameters
        self._names: list[str] = []
        self._prompt = torch.tensor(prompt)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.register_parameter(name.replace(".", DOT), parameter)

    def forward(self, ids: Tensor, told: Tensor) -> Tensor:
        """Negative log-probability of each row behind the prompt, float32 [B]: of the tokens that are drawn.

        `ids` int64 [B, T]; `told` bool [B, T]: which tokens are drawn."""
        prompt = self._prompt.to(ids.device)
        whole = torch.cat([prompt.expand(len(ids), -1), ids], dim=1)
        logits = self._model[0](input_ids=whole[:, :-1], use_cache=False, return_dict=True).logits[:, len(prompt) - 1 :]
        row, step = torch.nonzero(told, as_tuple=True)
        losses = nn.functional.cross_entropy(logits[row, step].float(), ids[row, step], reduction="none")
        return torch.zeros(len(ids), device=ids.device).index_add(0, row, losses)


DOT = "/"


class LlmLearner:
    """An adapter in training: see Learner. Nothing is random in a step: the order of columns was drawn with the shards."""

    decay = 0.0
    orders, mixed = 1, True

    def __init__(self, network: AdaptedNetwork, floats: int) -> None:
        self._network, self._floats = network, floats

    @property
    def network(self) -> AdaptedNetwork:
        """See Learner."""
        return self._network

    def inputs(self, rows: int, order: int, draws: np.random.Generator, place: Place) -> Callable[[Tokens], Iterator[Inputs]]:
        """See Learner."""
        return lambda tokens: self.checks(tokens, order, place)

    def checks(self, tokens: Tokens, order: int, place: Place) -> Iterator[Inputs]:
        """Rows of about the same length together, few enough for a memory bound."""
        lengths = (tokens != PAD).sum(axis=1)
        by_length = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(tokens):
            longest = max(1, int(lengths[by_length[start]]))
            some = by_length[start : start + max(1, MAX_FLOATS // (longest * self._floats))]
            own = tokens[some, :longest]
            ids = np.where(own == PAD, 0, own & ~FORCED).astype(np.int64)
            told = (own & FORCED) == 0
            yield torch.from_numpy(ids).to(place.device), torch.from_numpy(told).to(place.device)
            start += len(some)

    def plain(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See Learner: the names are those of the adapter."""
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}
