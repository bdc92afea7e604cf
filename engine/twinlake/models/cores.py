"""The two cores of a language model: an LSTM and a small decoder-only transformer, to train and to draw with.

LSTM: Hochreiter and Schmidhuber (1997), forget gates begin open (Jozefowicz et al., ICML 2015). Transformer: Vaswani et al.
(NeurIPS 2017) with the normalization first (Xiong et al., ICML 2020). Neither knows positions: what is told next, and where,
is part of each input. Training sees whole sequences; drawing goes on step by step with a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from twinlake.models.folded import linear

HEAD = 32
Normal = Callable[..., nn.Parameter]


@dataclass(frozen=True)
class LanguageSettings:
    """Size of the network: `core` lstm or transformer; `embedding_dim`, and the width of the core, which for a transformer is
    `embedding_dim`; `dropout_rate`; `decay`, the weight decay of AdamW."""

    core: str = "lstm"
    embedding_dim: int = 128
    rnn_units: int = 256
    layers: int = 1
    dropout_rate: float = 0.2
    decay: float = 0.01

    @property
    def width(self) -> int:
        """Of what the core gives for each step."""
        return self.rnn_units if self.core == "lstm" else self.embedding_dim


def core_products(settings: LanguageSettings) -> int:
    """Multiplications of one step through the core: as many as it has weights."""
    d, units = settings.embedding_dim, settings.rnn_units
    if settings.core == "transformer":
        return 12 * settings.layers * d * d
    return 4 * units * (d + units) + (settings.layers - 1) * 8 * units * units


class LstmCore(nn.Module):
    """float32 [B, T, embedding_dim] -> [B, T, rnn_units]. `by_row`: in operations of which torch.func knows what single rows
    do to them, as it does not of nn.LSTM."""

    by_row = False

    def __init__(self, settings: LanguageSettings, normal: Normal) -> None:
        super().__init__()
        units = settings.rnn_units
        self.lstm = nn.LSTM(settings.embedding_dim, units, settings.layers, batch_first=True)
        with torch.no_grad():
            for name, parameter in self.lstm.named_parameters():
                parameter.copy_(normal(*parameter.shape, scale=1.0 / math.sqrt(3.0 * units)))
                if name.startswith("bias"):
                    parameter.zero_()
                if name.startswith("bias_ih"):
                    parameter[units : 2 * units] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Of whole sequences."""
        out: Tensor = unrolled(self.lstm, x) if self.by_row else self.lstm(x)[0]
        return out


def unrolled(lstm: nn.LSTM, x: Tensor) -> Tensor:
    """What nn.LSTM gives for `x` [B, T, I], step by step in products and sums."""
    for n in range(lstm.num_layers):
        w = {name: getattr(lstm, f"{name}_l{n}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        given = x @ w["weight_ih"].T + w["bias_ih"] + w["bias_hh"]
        h = c = torch.zeros_like(given[:, 0, : lstm.hidden_size])
        steps = []
        for at in given.unbind(1):
            i, f, g, o = (at + h @ w["weight_hh"].T).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            steps.append(h)
        x = torch.stack(steps, dim=1)
    return x


class TransformerCore(nn.Module):
    """float32 [B, T, embedding_dim] -> [B, T, embedding_dim]; a step sees itself and those before it.
    `by_row`: see LstmCore."""

    by_row = False

    def __init__(self, settings: LanguageSettings, normal: Normal) -> None:
        super().__init__()
        d, self.layers = settings.embedding_dim, settings.layers
        self.into, self.out, self.up, self.down = (nn.ParameterList() for _ in range(4))
        self.biases, self.norms = nn.ParameterList(), nn.ParameterList()
        for _ in range(settings.layers):
            self.into.append(normal(3 * d, d, scale=d**-0.5))
            self.out.append(normal(d, d, scale=(2 * settings.layers * d) ** -0.5))
            self.up.append(normal(4 * d, d, scale=d**-0.5))
            self.down.append(normal(d, 4 * d, scale=(8 * settings.layers * d) ** -0.5))
            self.biases.append(nn.Parameter(torch.zeros(1, 4 * d)))
            self.norms.append(nn.Parameter(torch.ones(2, 1, d)))
        self.norms.append(nn.Parameter(torch.ones(1, 1, d)))

    def forward(self, x: Tensor) -> Tensor:
        """Of whole sequences."""
        batch, steps, d = x.shape
        for n in range(self.layers):
            q, k, v = (
                (normalized(x, self.norms[n][0]) @ self.into[n].T).view(batch, steps, 3, d // HEAD, HEAD).permute(2, 0, 3, 1, 4)
            )
            with sdpa_kernel(SDPBackend.MATH) if self.by_row else nullcontext():
                seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + seen.transpose(1, 2).reshape(batch, steps, d) @ self.out[n].T
            inner = nn.functional.gelu(normalized(x, self.norms[n][1]) @ self.up[n].T + self.biases[n])
            x = x + inner @ self.down[n].T
        return normalized(x, self.norms[self.layers][0])


def normalized(x: Tensor, scale: Tensor) -> Tensor:
    """Root mean square normalization (Zhang and Sennrich, NeurIPS 2019)."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * scale


CORES: dict[str, Callable[[LanguageSettings, Normal], LstmCore | TransformerCore]] = {
    "lstm": LstmCore,
    "transformer": TransformerCore,
}


class Steps(Protocol):
    """A core that goes on step by step, for `rows` rows at once."""

    def step(self, x: Tensor, rows: Tensor | None) -> Tensor:
        """The output [n, width] for inputs [n, embedding_dim] of these rows (None: of all, in order)."""


def steps_of(settings: LanguageSettings, weights: dict[str, Tensor], rows: int, longest: int) -> Steps:
    """The state of `rows` new sequences of at most `longest` steps. `weights`: those of the core, by its own names."""
    return (LstmSteps if settings.core == "lstm" else TransformerSteps)(settings, weights, rows, longest)


class LstmSteps:
    """The state of an LSTM: h and c of each layer [rows, units]."""

    def __init__(self, settings: LanguageSettings, weights: dict[str, Tensor], rows: int, longest: int) -> None:
        self._layers = [
            (
                torch.cat([weights[f"lstm.weight_ih_l{n}"], weights[f"lstm.weight_hh_l{n}"]], dim=1),
                weights[f"lstm.bias_ih_l{n}"] + weights[f"lstm.bias_hh_l{n}"],
            )
            for n in range(settings.layers)
        ]
        self._h = [torch.zeros(rows, settings.rnn_units) for _ in self._layers]
        self._c = [torch.zeros(rows, settings.rnn_units) for _ in self._layers]

    def step(self, x: Tensor, rows: Tensor | None) -> Tensor:
        """See Steps."""
        for n, (weight, bias) in enumerate(self._layers):
            h, c = (self._h[n], self._c[n]) if rows is None else (self._h[n][rows], self._c[n][rows])
            gates = linear(torch.cat([x, h], dim=1), weight, bias)
            i, f, g, o = gates.chunk(4, dim=1)
            c = f.sigmoid().mul_(c).add_(i.sigmoid().mul_(g.tanh()))
            x = o.sigmoid().mul_(c.tanh())
            if rows is None:
                self._h[n], self._c[n] = x, c
            else:
                self._h[n][rows], self._c[n][rows] = x, c
        return x


class TransformerSteps:
    """The keys and values of a transformer [rows, heads, longest, HEAD] for each layer, and which steps each row took."""

    def __init__(self, settings: LanguageSettings, weights: dict[str, Tensor], rows: int, longest: int) -> None:
        d = settings.embedding_dim
        self._weights, self._layers, self._at = weights, settings.layers, 0
        shape = (rows, d // HEAD, longest, HEAD)
        self._keys = [torch.zeros(shape) for _ in range(self._layers)]
        self._values = [torch.zeros(shape) for _ in range(self._layers)]
        self._taken = torch.zeros(rows, longest, dtype=torch.bool)

    def step(self, x: Tensor, rows: Tensor | None) -> Tensor:
        """See Steps. Rows that take no part in a step leave a gap that nobody sees."""
        w, d, n = self._weights, x.shape[1], len(x)
        own = torch.arange(len(self._taken)) if rows is None else rows
        self._taken[own, self._at] = True
        seen = self._taken[own, : self._at + 1][:, None, None, :]
        for layer in range(self._layers):
            qkv = linear(normalized(x, w[f"norms.{layer}"][0, 0]), w[f"into.{layer}"])
            q, k, v = qkv.view(n, 3, d // HEAD, HEAD).unbind(1)
            self._keys[layer][own, :, self._at] = k
            self._values[layer][own, :, self._at] = v
            keys, values = (kept[layer][:, :, : self._at + 1] for kept in (self._keys, self._values))
            if rows is not None:
                keys, values = keys[own], values[own]
            weight = (q[:, :, None, :] @ keys.transpose(2, 3)) / math.sqrt(HEAD)
            weight = weight.masked_fill_(~seen, -torch.inf).softmax(-1)
            x = linear((weight @ values).reshape(n, d), w[f"out.{layer}"], plus=x)
            inner = linear(normalized(x, w[f"norms.{layer}"][1, 0]), w[f"up.{layer}"], w[f"biases.{layer}"][0])
            x = linear(nn.functional.gelu(inner), w[f"down.{layer}"], plus=x)
        self._at += 1
        return normalized(x, w[f"norms.{self._layers}"][0, 0])
