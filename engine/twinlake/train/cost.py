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
from twinlake.models.tabular import TabularSettings, settings_for
from twinlake.profile.stage import read_profile
from twinlake.profile.types import ColumnProfile, Profile
from twinlake.tables.run_folder import RunFolder
from twinlake.train.fit import schedule_of
from twinlake.transform.columns import has_leaves
from twinlake.transform.decide import leaf_types
from twinlake.transform.plan import Plan
from twinlake.transform.stage import plan_of

NUMBER_TOKENS = (96, 24)
"""Values of the two tokens of a number with many values, about."""
PARENTS = 32
FLOPS = 1.2e10
"""Floating-point operations of one core in a second, small products, forward and backward."""
CELLS = {"profile": 1.2e6, "classify": 3.0e5, "transform": 1.5e6, "encode": 3.0e6, "generate": 1.8e6, "evaluate": 1.0e6}
"""Cells of one core in a second."""
START = {"profile": 8.0, "transform": 2.0, "encode": 3.0, "train": 15.0, "generate": 2.0, "evaluate": 20.0, "report": 3.0}
"""Seconds before the first row."""
CLASSIFIED_ROWS = 10_000


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

    def to_text(self) -> str:
        """For a terminal."""
        lines = [
            f"rows        {self.rows:,} in, {self.twin_rows:,} out",
            f"columns     {self.modelled} modelled, {self.made_anew} made anew",
            f"tokens      about {self.tokens} a row, {self.values:,} values",
            f"model       about {self.parameters:,} parameters, {self.parameters * 4 / 2**20:,.1f} MiB",
            f"training    {self.steps:,} steps of {self.batch:,} rows; a worker takes about "
            f"{self.worker_bytes / 2**20:,.0f} MiB besides its libraries",
            "",
            f"time, about, on {self.cores} cores:",
        ]
        lines += [f"  {stage:10}{_shown(seconds):>9}" for stage, seconds in self.seconds.items()]
        return "\n".join([*lines, f"  {'all':10}{_shown(sum(self.seconds.values())):>9}"])


def estimate(profile: Profile, plan: Plan, config: Config, cores: int) -> Cost:
    """The cost of the whole line for a table with this profile under this plan."""
    kept = {c.name: c for c in plan.kept}
    learned = [c for c in profile.columns if c.name in kept and kept[c.name].synthesis == "model"]
    sizes = [size for c in learned for size in _sizes(c)]
    modelled = sum(1 for c in learned if _sizes(c))
    rows, columns = max(1, profile.rows), len(kept)
    held_out = 0.0 if config.holdout.source else config.holdout.fraction
    source = round(profile.rows / (1.0 - held_out))
    twin = source if config.generate.rows == "source" else config.generate.rows
    batch, steps = schedule_of(rows, config.train)
    settings = settings_for(config.model.size, rows, tuple(sizes), batch)
    parents = min(PARENTS, len(sizes))
    per_row = _products(sizes, parents, settings)
    flops = 6.0 * per_row * batch * steps  # forward, and backward twice as much (Kaplan et al., 2020)
    train = flops / FLOPS / cores
    if config.train.max_minutes is not None:
        train = min(train, 60.0 * config.train.max_minutes)
    work = {
        "profile": rows * len(profile.columns),
        "classify": min(rows, CLASSIFIED_ROWS) * len(profile.columns),
        "transform": rows * columns,
        "encode": rows * columns,
        "generate": twin * columns,
        "evaluate": (rows + twin) * columns,
    }
    seconds = {stage: START.get(stage, 0.0) + cells / CELLS[stage] / cores for stage, cells in work.items()}
    seconds |= {"train": START["train"] + train, "report": START["report"]}
    order = ("profile", "classify", "transform", "encode", "train", "generate", "evaluate", "report")
    parameters = sum(sizes) * settings.embedding + per_row + sum(sizes)
    activations = 4 * batch * len(sizes) * (parents * settings.embedding + 4 * settings.hidden) + 4 * batch * sum(sizes)
    worker = 16 * parameters + min(activations, 2**31) + 2 * rows * len(sizes)
    return Cost(
        source,
        twin,
        modelled,
        columns - modelled,
        len(sizes),
        sum(sizes),
        parameters,
        steps,
        batch,
        worker,
        cores,
        {stage: seconds[stage] for stage in order},
    )


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


def _shown(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
