"""What the language family brings to the training loop: its plan, and its network with columns in random order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twinlake.core.seeds import derive, permute
from twinlake.models.by_row import add_clipped_by_row
from twinlake.models.cores import LanguageSettings
from twinlake.models.language import LanguageNetwork
from twinlake.models.layout import Layout, sequences
from twinlake.models.tokenizer import END, NULL
from twinlake.train.data import Shards, Tokens
from twinlake.train.loop import Inputs, Place, Plan
from twinlake.train.tabular import log_marginals

COUNT_ROWS = 200_000
FORGOTTEN = 0.1
UNTOLD = 0.1
Shares = list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class LanguagePlan(Plan):
    """What workers need to train a language model; `layout`: the fields of a Layout."""

    layout: dict[str, Any]
    earlier: dict[str, Any] | None = None

    @classmethod
    def read(cls, raw: dict[str, Any]) -> LanguagePlan:
        """The plan that travelled as JSON."""
        return cls(**raw)

    def prepare(self, shards: Shards, place: Place) -> Shares:
        """Where the biases start: log shares of the values of each closed place, and of the pieces."""
        if self.shares is not None:
            return log_marginals([np.array(share) for share in self.shares])
        layout = Layout.from_json(self.layout)
        rows = min(shards.rows, COUNT_ROWS)
        tokens = shards.take(permute(np.arange(rows), shards.rows, derive(self.seed, "marginals")))
        counts = [np.bincount(tokens[:, p], minlength=layout.sizes[p]) for p in range(layout.closed)]
        if layout.texts:
            texts = tokens[:, layout.closed :]
            counts.append(np.bincount(texts[texts > NULL], minlength=layout.pieces) + (np.arange(layout.pieces) == END) * rows)
        return [np.log((c + 0.1) / (c + 0.1).sum()).astype(np.float32) for c in counts]

    def learner(self, shares: Shares, place: Place) -> LanguageLearner:
        """The network at its start."""
        layout, settings = Layout.from_json(self.layout), LanguageSettings(**self.settings)
        network = LanguageNetwork(layout, settings, shares, self.seed).to(place.device)
        network.core.by_row = self.private is not None
        return LanguageLearner(network)


class LanguageLearner:
    """A language network in training: see Learner."""

    orders, mixed = 1, True

    def __init__(self, network: LanguageNetwork) -> None:
        self._network, self.decay = network, network.settings.decay

    @property
    def network(self) -> LanguageNetwork:
        """See Learner."""
        return self._network

    def inputs(self, rows: int, order: int, draws: np.random.Generator, place: Place) -> Callable[[Tokens], Iterator[Inputs]]:
        """Half of the rows tell their columns in the order of the table, half in a random one. Where closed cells are given,
        all are forgotten in one row in ten, and of several one in ten: a row of which less is known can be told too."""
        layout, settings = self.network.layout, self.network.settings
        columns = len(layout.columns)
        keys = draws.random((rows, columns))
        keys[draws.random(rows) < 0.5] = np.arange(columns) / max(1, columns)
        seen = np.ones((rows, 0), np.bool_)
        if layout.given:
            forgotten = FORGOTTEN if sum(map(bool, layout.slots)) > 1 else 0.0
            seen = (draws.random((rows, layout.closed)) >= forgotten) & (draws.random((rows, 1)) >= UNTOLD)
        dropout = draws.random((rows, settings.embedding_dim + settings.width), dtype=np.float32)
        own, known, kept = place.mine(keys), place.mine(seen), place.mine(dropout)
        return lambda tokens: self._parts(tokens, own, known, kept, place)

    def checks(self, tokens: Tokens, order: int, place: Place) -> Iterator[Inputs]:
        """All rows, columns in the order of the table."""
        return self._parts(tokens, None, None, None, place)

    def _parts(
        self,
        tokens: Tokens,
        keys: npt.NDArray[np.float64] | None,
        seen: npt.NDArray[np.bool_] | None,
        dropout: npt.NDArray[np.float32] | None,
        place: Place,
    ) -> Iterator[Inputs]:
        """Rows of about the same length together: what is behind the end of a row costs as much as the row."""
        layout = self.network.layout
        told, lengths = sequences(layout, tokens, keys)
        by_length = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(tokens):
            stop = start + self.network.rows_at_once(int(lengths[by_length[start]]))
            some = by_length[start:stop]
            longest = max(1, int(lengths[some].max()))
            arrays = (tokens[some].astype(np.int64), told[some, :longest], lengths[some])
            rows, order, counts = (torch.from_numpy(a).to(place.device) for a in arrays)
            known = torch.from_numpy(seen[some]).to(place.device) if seen is not None and layout.given else None
            draws = None if dropout is None else torch.from_numpy(dropout[some]).to(place.device)
            yield rows, order, counts, known, draws
            start = stop

    def plain(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See Learner."""
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def add_clipped(self, part: Inputs, clip: float) -> None:
        """See PrivateLearner."""
        add_clipped_by_row(self.network, part, clip)
