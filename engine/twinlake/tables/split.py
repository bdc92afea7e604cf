"""Gives every row a stable key and splits off the holdout by it, as a predicate.

The key is a hash of the row's content and of its occurrence number among identical rows, so it depends neither on the
order of the rows nor on how they are spread over partitions, and identical rows are split independently of each other
(the natural rate of coincidence between train and holdout is kept). After `with_row_keys` each partition is sorted by the
hash of the content: which rows lie where is then a function of the table, the seed and the partition count alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinlake.core.config import HoldoutConfig
from twinlake.core.errors import ConfigError, in_quotes, nearest
from twinlake.core.seeds import derive
from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

KEY = "__twinlake_key"
HOLDOUT = "__twinlake_holdout"
CELLS_PER_PART = 4_000_000


@dataclass(frozen=True)
class Split:
    """How rows are told apart and which of them are held out. `by` = columns of an entity; fraction 0 = none."""

    seed: int
    fraction: float = 0.0
    by: tuple[str, ...] = ()


def split_of(config: HoldoutConfig, seed: int) -> Split:
    """The split that the config asks for; the caller's own holdout turns it off."""
    by = (config.by,) if isinstance(config.by, str) else tuple(config.by or ())
    return Split(seed, 0.0 if config.source else config.fraction, by)


def part_count(rows: int, columns: int) -> int:
    """Partitions for `rows` x `columns`: about 4 million cells each, a function of the table's size alone."""
    return max(1, -(-rows * columns // CELLS_PER_PART))


def with_row_keys(df: DataFrame, split: Split, parts: int) -> DataFrame:
    """`df` in `parts` partitions with two columns before its own: KEY (bigint) and HOLDOUT (boolean). One shuffle.

    Errors: ConfigError when an entity column is missing.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    content = "__twinlake_content"
    columns = [F.col(quoted(c)) for c in df.columns]
    hashed = F.xxhash64(F.lit(_signed(derive(split.seed, "row"))), *[_hashable(df, c) for c in df.columns])
    keyed = df.select(hashed.alias(content), *columns).repartition(parts, content)
    occurrence = F.row_number().over(Window.partitionBy(content).orderBy(content))
    keyed = keyed.select(F.xxhash64(F.col(content), occurrence).alias(KEY), *columns)
    return keyed.select(KEY, _is_holdout(df, split).alias(HOLDOUT), *columns)


def _is_holdout(df: DataFrame, split: Split) -> Column:
    from pyspark.sql import functions as F

    if split.fraction <= 0:
        return F.lit(False)
    for name in split.by:
        if name not in df.columns:
            raise ConfigError(f"holdout.by: no column {in_quotes(name)}{nearest(name, df.columns)}")
    who = [_hashable(df, name) for name in split.by] or [F.col(KEY)]
    draw = F.pmod(F.xxhash64(F.lit(_signed(derive(split.seed, "holdout"))), *who), F.lit(1_000_000))
    return draw < F.lit(round(split.fraction * 1_000_000))


def _hashable(df: DataFrame, name: str) -> Column:
    """Spark can't hash maps or variants; their JSON text stands in."""
    from pyspark.sql import functions as F

    kind = df.schema[name].dataType.simpleString()
    return F.to_json(F.col(quoted(name))) if "map<" in kind or "variant" in kind else F.col(quoted(name))


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
