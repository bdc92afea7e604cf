"""One token of a tabular network, folded for drawing: what could be multiplied once is multiplied when the model is loaded.

The first layer is a table with a row for each value of each parent, so that embeddings are never multiplied; the last residual
block is multiplied by the head, so that its sum is taken over logits, which are fewer than hidden units. Arithmetic
only: knows nothing of orders, conditions or random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Block = tuple[Tensor, Tensor, Tensor]
LANES = 16
FULL = "float32"
ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")


@dataclass(frozen=True)
class Folded:
    """A token's network. `starts`: the first row in the table of each parent; the last row is zero, for a parent that is not
    known. Matrices are [out, in]. The head has `padded` rows; `tail` is the block that was multiplied by it, None without
    blocks and where the head is wider than the hidden layer. Matrices may be bfloat16, of which products are taken then."""

    parents: list[int]
    starts: list[int]
    table: Tensor
    bias: Tensor
    blocks: list[Block]
    tail: Block | None
    head: Tensor
    head_bias: Tensor

    @classmethod
    def of(
        cls,
        parents: list[int],
        tables: Sequence[Tensor],
        bias: Tensor,
        blocks: Sequence[Block],
        head: Tensor,
        head_bias: Tensor,
    ) -> Folded:
        """Of the [values, hidden] `tables` of its parents, and of matrices as the network has them, [in, out]."""
        starts = [sum(map(len, tables[:k])) for k in range(len(tables))]
        table = torch.cat([*tables, torch.zeros(1, len(bias))])
        layers = [(first.T.contiguous(), inner_bias, second.T.contiguous()) for first, inner_bias, second in blocks]
        wide, tail = padded(head.T, 0.0), None
        if layers and len(wide) <= len(bias):
            first, inner_bias, second = layers.pop()
            tail = (first, inner_bias, wide @ second)
        return cls(parents, starts, table, bias, layers, tail, wide, padded(head_bias, -torch.inf))

    def in_bfloat16(self) -> Folded:
        """The same with products in bfloat16; tables, by which the first layer is added up, and biases stay float32."""

        def half(block: Block) -> Block:
            return block[0].bfloat16(), block[1].bfloat16(), block[2].bfloat16()

        tail = None if self.tail is None else half(self.tail)
        return replace(self, blocks=[half(b) for b in self.blocks], tail=tail, head=self.head.bfloat16())

    def logits(self, ids: Tensor | None, offsets: Tensor | None) -> Tensor:
        """Of rows of the table to add up, int32 [rows, parents], None for one row without parents, and `offsets` [V] of the
        logits; float32 [rows, V padded], -inf behind V."""
        if ids is None:
            h = self.bias.relu()[None, :]
        else:
            h = torch.nn.functional.embedding_bag(ids, self.table, mode="sum").add_(self.bias).relu_()
        h, whole = h.to(self.head.dtype), self.head.dtype == torch.float32
        for first, bias, second in self.blocks:
            h = linear(linear(h, first, bias, relu=True), second, plus=h)
        offset = self.head_bias if offsets is None else self.head_bias + padded(offsets, 0.0)
        logits = linear(h, self.head, offset if whole else None)
        if self.tail is not None:
            first, bias, second = self.tail
            logits = linear(linear(h, first, bias, relu=True), second, plus=logits)
        return logits if whole else logits.float().add_(offset)


def padded(values: Tensor, fill: float) -> Tensor:
    """[V, ...] with rows of `fill` up to a whole number of vector registers: torch's softmax is several times slower else."""
    return torch.cat([values, values.new_full((-len(values) % LANES, *values.shape[1:]), fill)])


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False, plus: Tensor | None = None) -> Tensor:
    """x weight^T + bias, of which `relu` is taken or to which `plus` is added.

    Where torch has it, by the product of oneDNN that torch.compile calls: it uses AVX-512 on any processor, the BLAS of torch
    (MKL) on Intel's only, and on others takes twice the time.
    """
    out: Tensor
    if ONEDNN and plus is not None:
        out = torch.ops.mkldnn._linear_pointwise.binary(x, plus, weight, bias, "add")
    elif ONEDNN:
        out = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "relu" if relu else "none", [], "")
    else:
        out = torch.nn.functional.linear(x, weight, bias)
        out = out.relu_() if relu else out
        out = out if plus is None else out.add_(plus)
    return out
