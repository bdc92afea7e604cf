"""What steers the rows of a job: conditions that all rows meet, groups of rows with conditions of their own, and style.

Which group a row is in follows from its id by a seeded permutation, so every group has exactly as many rows as asked,
scattered over the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.errors import ConfigError, escaped
from twinlake.core.seeds import derive, permute
from twinlake.generate.conditions import Condition, anything, read_conditions
from twinlake.generate.gates import gate_columns, with_gates
from twinlake.models.automaton import Automaton, of_sets
from twinlake.models.codec import Codec
from twinlake.models.column import Tokens
from twinlake.models.sampler import Given

UInt64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Group:
    """`rows` rows that meet `conditions` (by column name). Plain data, as JSON holds it."""

    conditions: dict[str, Any]
    rows: int


@dataclass(frozen=True)
class Steering:
    """By column position: one Condition for all rows, or one for each group. `ends`: rows of the groups, summed up."""

    columns: dict[int, list[Condition]]
    ends: npt.NDArray[np.int64]
    seed: int

    @property
    def givens(self) -> list[Given]:
        """What the sampler has to know of the conditions."""
        own = [given for conditions in self.columns.values() if (given := _stacked(conditions)) is not None]
        single = [conditions[0].before for conditions in self.columns.values() if len(conditions) == 1]
        before = {given.column: given for given in single if given is not None}
        return [*own, *before.values()]

    def allowed(self, codec: Codec) -> dict[int, list[Automaton]]:
        """The same for a model that writes: the cells that each group of rows may hold, by column."""
        single = [given[0].before for given in self.columns.values() if len(given) == 1]
        before = {given.column: [words_of(given, codec)] for given in single if given is not None}
        own = {at: [words_of(c.given, codec) for c in given if c.given is not None] for at, given in self.columns.items()}
        return before | {at: words for at, words in own.items() if words}

    def groups_of(self, row_ids: UInt64) -> npt.NDArray[np.int64] | None:
        """The group of each row, int64 [rows]; None where there are no groups."""
        if not len(self.ends):
            return None
        rows = int(self.ends[-1])
        ids = np.minimum(row_ids, np.uint64(rows - 1)).astype(np.int64)  # a block's rows behind the last one are cut off
        return np.searchsorted(self.ends, permute(ids, rows, self.seed), side="right")

    def apply(
        self, batch: pa.RecordBatch, tokens: Tokens, uniforms: npt.NDArray[np.float64], row_ids: UInt64, codec: Codec
    ) -> pa.RecordBatch:
        """`batch` with the very values that were asked for in the columns that have conditions."""
        groups = self.groups_of(row_ids)
        for at, conditions in self.columns.items():
            own = tokens[:, list(codec.slots[at])]
            if len(conditions) == 1 or groups is None:
                fixed = conditions[0].apply(batch.column(at), own, uniforms[:, at])
            else:
                order = np.argsort(groups, kind="stable")
                cuts = np.searchsorted(groups[order], np.arange(len(conditions) + 1))
                mine = [order[a:b] for a, b in pairwise(cuts)]
                pieces = [
                    c.apply(batch.column(at).take(pa.array(rows)), own[rows], uniforms[rows, at])
                    for c, rows in zip(conditions, mine, strict=True)
                ]
                fixed = pa.concat_arrays(pieces).take(pa.array(np.argsort(order, kind="stable")))
            batch = batch.set_column(at, codec.schema.field(at), fixed)
        return batch


def words_of(given: Given, codec: Codec) -> Automaton:
    """The cells that a condition leaves, of those that may be drawn."""
    if given.words is not None:
        return given.words
    column = codec.columns[given.column]
    second = None if given.second is None else given.second > 0
    if second is None and len(column.sizes) == 2:
        second = np.arange(column.sizes[1])[None, :] < column.behind[:, None]
    return of_sets((given.first > 0) & column.drawable, second)


def read_steering(conditions: Mapping[str, Any], groups: Sequence[Group], seed: int, codec: Codec) -> Steering:
    """Errors: ConfigError naming the column (see `read_conditions`), or a column that has both kinds of condition."""
    columns = {c.column: [c] for c in read_conditions(conditions, codec)}
    gates = {codec.names[c] for c in gate_columns(codec)}
    own: list[dict[int, Condition]] = []
    for group in groups:
        for name in group.conditions:
            if name in conditions:
                raise ConfigError(f"generate.balance: {escaped(name)} is in generate.conditions too; leave it out of one")
        wanted = with_gates({**conditions, **group.conditions}, codec) if gates else group.conditions
        named = {name: one for name, one in wanted.items() if name in group.conditions or name in gates}
        own.append({c.column: c for c in read_conditions(named, codec)})
    for column in dict.fromkeys(c for found in own for c in found):
        name, method = codec.names[column], codec.columns[column].method
        if any(column in found and found[column].given is None for found in own):
            raise ConfigError(f"generate.balance: {escaped(name)} is made by {method}, not modelled: it can't be balanced")
        if name not in gates and not all(column in found for found in own):
            raise ConfigError(f"generate.balance: every group must say something about {escaped(name)}")
        columns[column] = [found.get(column) or anything(column, codec) for found in own]
    return Steering(columns, np.cumsum([g.rows for g in groups]).astype(np.int64), derive(seed, "groups"))


def _stacked(conditions: list[Condition]) -> Given | None:
    givens = [c.given for c in conditions if c.given is not None]
    if len(givens) <= 1:
        return givens[0] if givens else None
    seconds = [g.second for g in givens if g.second is not None]
    return Given(givens[0].column, np.stack([g.first for g in givens]), np.stack(seconds) if seconds else None)
