"""Where the values of a number's tokens stand on a line, and the waves by which neighbours share what is learned.

The values of a category have nothing in common. Those of a number do: next to a vector of its own each value has a sum of
cosines of its place, so that a few rows teach a whole stretch of the line (a truncated cosine series, as smoothers use it:
Eubank, "Nonparametric Regression and Spline Smoothing", 1999, chapter 3). The sum is folded into plain vectors when
weights are saved; drawing knows nothing of it. Knows nothing of training and files.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec

NOWHERE = -1.0
WAVES = 12
FEWEST = 5
OWN = 0.3  # how far the own vectors of placed values start from zero, as a share of those of categories


def places_of(codec: Codec) -> list[list[float]]:
    """For each token of a row the place in (0, 1) of each of its values, or NOWHERE for those that have none."""
    return [places for column in codec.columns for places in _of_column(column)]


def _of_column(column: ColumnCodec) -> list[list[float]]:
    """Atoms and bins of the first token are placed evenly in order of their numbers (bins hold about equally many rows), the
    parts of a bin in order."""
    out = [np.full(size, NOWHERE) for size in column.sizes]
    if column.method == "number":
        values = [*column.atoms, *(column.low[cell] for cell in column.bin_start)]
        if len(values) >= FEWEST:  # they come right before the rare value
            first = column.sizes[0] - 1 - len(values)
            out[0][first + np.argsort(values, kind="stable")] = _even(len(values))
        if len(column.sizes) == 2:
            out[1][:] = _even(column.sizes[1])
    return [places.tolist() for places in out]


def _even(count: int) -> npt.NDArray[np.float64]:
    return (np.arange(count) + 0.5) / count


def waves_at(places: list[float]) -> npt.NDArray[np.float32]:
    """Cosines at `places`, float32 [values, WAVES]: zero where there is no place, and for waves as many as places or more.

    Wave k is strength_k cos(pi k x), strength_k^2 = (2 / k) / (sum of 1 / j): slow ones are the stronger, and a sum of all with
    independent weights of variance one has a variance of about one.
    """
    x = np.array(places)[:, None]
    number = np.arange(1, WAVES + 1)
    found = np.sqrt(2.0 / number / (1.0 / number).sum()) * np.cos(np.pi * number * x)
    found[:, number >= (x != NOWHERE).sum()] = 0.0
    return np.where(x == NOWHERE, 0.0, found).astype(np.float32)


class Waves(nn.Module):
    """What the values of numbers share in the embedding and in the heads of a network.

    `sizes` [S] and `groups` (tokens of each group of heads) are those of the network, `width` and `hidden` its widths; `normal`
    draws a parameter of a shape at a scale.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        groups: list[list[int]],
        places: list[list[float]],
        width: int,
        hidden: int,
        normal: Callable[..., nn.Parameter],
    ) -> None:
        super().__init__()
        self.rows: Tensor
        self.tables: Tensor
        placed = placed_tokens(places)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        widest = max(sizes[t] for t in placed)
        # tokens of fewer values are padded: rows of zeros are added to their last value
        rows = [np.minimum(starts[t] + np.arange(widest), starts[t + 1] - 1) for t in placed]
        tables = _padded([waves_at(places[t]) for t in placed], widest)
        self.register_buffer("rows", torch.from_numpy(np.concatenate(rows)), persistent=False)
        self.register_buffer("tables", tables, persistent=False)
        self.into = normal(len(placed), WAVES, width, scale=1.0)
        self.out = nn.ParameterList(normal(len(g), hidden, WAVES, scale=0.3 / hidden**0.5) for g in groups)
        for number, group in enumerate(groups):
            head = _padded([waves_at(places[t]) for t in group], max(sizes[t] for t in group))
            self.register_buffer(f"head{number}", head.transpose(1, 2).contiguous(), persistent=False)

    def embedding(self, own: Tensor, into: Tensor | None = None) -> Tensor:
        """The embedding [values of all tokens, width]: `own` vectors plus what is shared."""
        shared = torch.bmm(self.tables, self.into if into is None else into)
        return own.index_add(0, self.rows, shared.flatten(0, 1))

    def head(self, number: int, own: Tensor, out: Tensor | None = None) -> Tensor:
        """The heads [tokens, hidden, values] of a group: `own` ones plus what is shared."""
        return torch.baddbmm(own, self.out[number] if out is None else out, self.get_buffer(f"head{number}"))


def placed_tokens(places: list[list[float]]) -> list[int]:
    """The tokens that have values with a place."""
    return [token for token, values in enumerate(places) if max(values) != NOWHERE]


def _padded(tables: list[npt.NDArray[np.float32]], rows: int) -> Tensor:
    out = np.zeros((len(tables), rows, WAVES), np.float32)
    for place, table in zip(out, tables, strict=True):
        place[: len(table)] = table
    return torch.from_numpy(out)
