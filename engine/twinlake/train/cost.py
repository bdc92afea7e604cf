"""What a run will cost, before it is spent: tokens, parameters, memory and time of each stage, from the profile alone.

Estimates. Rates are those of docs/benchmarks.md, per CPU second of one core of 2020 or later; the order is right, the
minutes are not. Nothing is read but the profile.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from twinlake.core.config import Config
from twinlake.models.column import BLOCK, WIDE
from twinlake.models.cores import core_products
from twinlake.models.tabular import TabularSettings, settings_for
from twinlake.models.tokenizer import LARGEST
from twinlake.profile.stage import read_profile
from twinlake.profile.types import ColumnProfile, Profile
from twinlake.tables.run_folder import RunFolder
from twinlake.train.fit_language import language_schedule, language_settings
from twinlake.train.fit_tabular import schedule_of
from twinlake.transform.columns import has_leaves
from twinlake.transform.decide import leaf_types
from twinlake.transform.plan import Plan
from twinlake.transform.stage import plan_of

NUMBER_TOKENS = (96, 24)
"""Values of the two tokens of a number with many values, about."""
PARENTS = 32
FLOPS = 1.2e10
"""Floating-point operations of one core in a second, small products, forward and backward."""
LARGE_FLOPS = 5.0e10
"""The same of the larger products of a model that writes."""
PIECE = 4.5
"""Characters of a piece of text, about."""
CELLS = {"profile": 1.2e6, "classify": 3.0e5, "transform": 1.5e6, "encode": 3.0e6, "generate": 1.8e6, "evaluate": 1.0e6}
"""Cells of one core in a second."""
START = {"profile": 8.0, "transform": 2.0, "encode": 3.0, "train": 15.0, "generate": 2.0, "evaluate": 20.0, "report": 3.0}
"""Seconds before the first row."""
CLASSIFIED_ROWS = 10_000
LEARNED_ROWS, LEARNED = 50_000, 220.0
"""Rows that the learners of the evaluation see, and the seconds of one core that they take for so many."""


@dataclass(frozen=True)
class Cost:
    """Of a run: rows read and made, columns by how they are made, tokens of a row, values of all tokens, parameters of the
    network, training steps of `batch` rows, and by stage the seconds on `cores` cores. `worker_bytes`: of one training
    worker, without the libraries."""

    rows: int
    twin_rows: int
    modelled: int
    made_anew: int
    tokens: int
    values: int
    parameters: int
    steps: int
    batch: int
    worker_bytes: int
    cores: int
    seconds: dict[str, float]

    def _training(self) -> str:
        if not self.steps:
            return "none: rows are counted"
        memory = f"{self.worker_bytes / 2**20:,.0f} MiB besides its libraries"
        return f"{self.steps:,} steps of {self.batch:,} rows; a worker takes about {memory}"

    def to_text(self) -> str:
        """For a terminal. What is held out is a share of the rows by a hash, so their number is a guess."""
        made = "as many" if self.twin_rows == self.rows else f"{self.twin_rows:,}"
        lines = [
            f"rows        about {self.rows:,} in, {made} out",
            f"columns     {self.modelled} modelled, {self.made_anew} made anew",
            f"tokens      about {self.tokens} a row, {self.values:,} values",
            f"model       about {self.parameters:,} parameters, {self.parameters * 4 / 2**20:,.1f} MiB",
            f"training    {self._training()}",
            "",
            f"time, about, on {self.cores} cores:",
        ]
        lines += [f"  {stage:10}{_shown(seconds):>9}" for stage, seconds in self.seconds.items()]
        return "\n".join([*lines, f"  {'all':10}{_shown(sum(self.seconds.values())):>9}"])


def estimate(profile: Profile, plan: Plan, config: Config, cores: int) -> Cost:
    """The cost of the whole line for a table with this profile under this plan."""
    kept = {c.name: c for c in plan.kept}
    learned = [c for c in profile.columns if c.name in kept and kept[c.name].synthesis == "model"]
    texts = [c for c in profile.columns if c.name in kept and kept[c.name].synthesis == "text"]
    rows, columns = max(1, profile.rows), len(kept)
    networks = _networks(learned, texts, rows, config)
    modelled = sum(1 for c in learned if _sizes(c)) + len(texts)
    held_out = 0.0 if config.holdout.source else config.holdout.fraction
    source = round(profile.rows / (1.0 - held_out))
    twin = source if config.generate.rows == "source" else config.generate.rows
    # forward, and backward twice as much (Kaplan et al., 2020)
    train = sum(6.0 * n.products * n.batch * n.steps / n.flops for n in networks) / cores
    if config.train.max_minutes is not None:
        train = min(train, 60.0 * config.train.max_minutes * len(networks))
    work = {
        "profile": rows * len(profile.columns),
        "classify": min(rows, CLASSIFIED_ROWS) * len(profile.columns),
        "transform": rows * columns,
        "encode": rows * columns,
        "generate": twin * columns,
        "evaluate": (rows + twin) * columns,
    }
    seconds = {stage: START.get(stage, 0.0) + cells / CELLS[stage] / cores for stage, cells in work.items()}
    starts = START["train"] if any(n.steps for n in networks) else 1.0
    seconds |= {"train": starts + train, "report": START["report"]}
    seconds["generate"] += sum(2.0 * n.products * twin / n.flops for n in networks if n.flops == LARGE_FLOPS) / cores
    if config.evaluate.target is not None:
        # the longest of their tasks is half of all
        seconds["evaluate"] += LEARNED * min(rows, LEARNED_ROWS) / LEARNED_ROWS / min(cores, 2)
    order = ("profile", "classify", "transform", "encode", "train", "generate", "evaluate", "report")
    return Cost(
        source,
        twin,
        modelled,
        columns - modelled,
        sum(n.tokens for n in networks),
        sum(n.values for n in networks),
        sum(n.parameters for n in networks),
        networks[0].steps,
        networks[0].batch,
        max(16 * n.parameters + min(n.activations, 2**31) + 2 * rows * n.tokens for n in networks),
        cores,
        {stage: seconds[stage] for stage in order},
    )


@dataclass(frozen=True)
class _Network:
    """What one training takes: tokens and multiplications of a row, values, parameters, bytes between forward and backward."""

    tokens: int
    values: int
    parameters: int
    products: int
    batch: int
    steps: int
    activations: int
    flops: float


def _networks(learned: list[ColumnProfile], texts: list[ColumnProfile], rows: int, config: Config) -> list[_Network]:
    """The networks of a run, the one of the rows first."""
    writes = config.model.family == "language"
    sizes = [size for c in learned for size in _sizes(c)]
    draws = _tree(sizes) if config.model.family == "marginal" else _tabular(sizes, rows, config)
    out = [] if writes else [draws]
    if writes or texts:
        closed = [size for c in learned for size in _told(c)] if writes else []
        out.append(_language(closed, sum(_pieces(c) for c in texts), rows, config))
    return out


def _tree(sizes: list[int]) -> _Network:
    """The tables of a marginal model: each token beside one of about the mean size, and no training at all."""
    shares = round(sum(sizes) * sum(sizes) / max(1, len(sizes)))
    return _Network(len(sizes), sum(sizes), shares, 0, 0, 0, 0, FLOPS)


def _tabular(sizes: list[int], rows: int, config: Config) -> _Network:
    batch, steps = schedule_of(rows, config.train)
    settings = settings_for(config.model.size, rows, tuple(sizes), batch)
    parents = min(PARENTS, len(sizes))
    products = settings.members * _products(sizes, parents, settings)
    parameters = settings.members * sum(sizes) * (settings.embedding + 1) + products
    activations = len(sizes) * (parents * settings.embedding + 4 * settings.hidden) + sum(sizes)
    activations *= 4 * batch * settings.members
    return _Network(len(sizes), sum(sizes), parameters, products, batch, steps, activations, FLOPS)


def _language(sizes: list[int], pieces: int, rows: int, config: Config) -> _Network:
    batch, steps = language_schedule(rows, config.model, config.train)
    settings = language_settings(config.model, rows)
    tokens, values, core = len(sizes) + pieces, sum(sizes) + (LARGEST if pieces else 0), core_products(settings)
    products = tokens * core + settings.embedding_dim * (sum(sizes) + pieces * LARGEST)
    parameters = values * (settings.embedding_dim + 1) + core
    activations = 4 * batch * tokens * (6 * settings.width) + 4 * batch * pieces * LARGEST
    return _Network(tokens, values, parameters, products, batch, steps, activations, LARGE_FLOPS)


def run_cost(folder: RunFolder, config: Config) -> str:
    """The cost of a run that is profiled and classified, for a terminal."""
    cost = estimate(read_profile(folder), plan_of(folder, config), config, os.cpu_count() or 1)
    return cost.to_text()


def _products(sizes: list[int], parents: int, settings: TabularSettings) -> int:
    """Multiplications of one row through the network: as many as it has weights."""
    hidden = settings.hidden
    own = parents * settings.embedding * hidden + settings.blocks * 2 * hidden * hidden
    return len(sizes) * own + hidden * sum(sizes)


def _sizes(column: ColumnProfile) -> tuple[int, ...]:
    """About the vocabularies of a column's tokens; of a nested one a number for each of its leaves."""
    if has_leaves(column.type):
        return NUMBER_TOKENS * len(list(leaf_types(column.type)))
    if column.kind in ("empty", "constant", "opaque", "key", "text"):
        return ()
    distinct = max(1, column.distinct)
    if column.kind in ("number", "datetime"):
        return (distinct + 2,) if distinct <= NUMBER_TOKENS[0] else NUMBER_TOKENS
    return (distinct + 2,) if distinct <= WIDE else (math.ceil(distinct / BLOCK) + 2, BLOCK)


def _told(column: ColumnProfile) -> list[int]:
    """About the vocabularies of a column's tokens when it is written: numbers of many values digit by digit."""
    if column.kind == "datetime":
        return [10] * (8 if column.type == "date" else 14)
    if column.kind == "number" and column.distinct > NUMBER_TOKENS[0]:
        ends = [abs(v) for v in (column.minimum, column.maximum) if isinstance(v, int | float)]
        return [10] * (len(str(int(max(ends, default=1)))) + (column.decimals or 0))
    return list(_sizes(column))


def _pieces(column: ColumnProfile) -> int:
    """About the pieces of a text."""
    return max(1, min(256, round((column.length_mean or PIECE) / PIECE)))


def _shown(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
