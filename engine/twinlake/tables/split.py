"""Gives every row a stable key and splits off the holdout by it, as a predicate.

The key is a hash of the row's content and of its occurrence number among identical rows, so it depends neither on the
order of the rows nor on how they are spread over partitions, and identical rows are split independently of each other
(the natural rate of coincidence between train and holdout is kept). After `with_row_keys` each partition is sorted by the
hash of the content: which rows lie where is then a function of the table, the seed and the partition count alone.

That costs a shuffle of all rows. Who needs the keys alone takes `with_content`, which moves no row, finds out which
contents come more than once, and numbers their rows with `keys_of` and `is_held_out` (profile/repeats.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from twinlake.core.config import HoldoutConfig
from twinlake.core.errors import ConfigError, in_quotes, nearest
from twinlake.core.seeds import as_long, derive
from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

CONTENT = "__twinlake_content"
KEY = "__twinlake_key"
HOLDOUT = "__twinlake_holdout"
CELLS_PER_PART = 4_000_000
DRAWS = 1_000_000


@dataclass(frozen=True)
class Split:
    """How rows are told apart and which of them are held out. `by` = columns of an entity; fraction 0 = none."""

    seed: int
    fraction: float = 0.0
    by: tuple[str, ...] = ()

    @property
    def by_entity(self) -> bool:
        """Whether the entity of a row decides its side, and not its key."""
        return self.fraction > 0 and bool(self.by)


def split_of(config: HoldoutConfig, seed: int, unit: str | None = None) -> Split:
    """The split that the config asks for; the caller's own holdout turns it off. `unit`: the column that tells people apart,
    whose rows stay together unless the config says otherwise."""
    by = (config.by,) if isinstance(config.by, str) else tuple(config.by or ([unit] if unit is not None else []))
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

    columns = [F.col(quoted(c)) for c in df.columns]
    keyed = with_content(df, split).repartition(parts, CONTENT)
    occurrence = F.row_number().over(Window.partitionBy(CONTENT).orderBy(CONTENT))
    keyed = keyed.select(F.xxhash64(F.col(CONTENT), occurrence).alias(KEY), HOLDOUT, *columns)
    return keyed.select(KEY, F.coalesce(HOLDOUT, _drawn(split, F.col(KEY))).alias(HOLDOUT), *columns)


def with_content(df: DataFrame, split: Split) -> DataFrame:
    """`df` with two columns before its own: CONTENT (bigint), a hash of the row, and HOLDOUT (boolean), null where the
    occurrence number decides it. No shuffle. Errors: ConfigError when an entity column is missing.
    """
    from pyspark.sql import functions as F

    for name in split.by if split.fraction > 0 else ():
        if name not in df.columns:
            raise ConfigError(f"holdout.by: no column {in_quotes(name)}{nearest(name, df.columns)}")
    content = F.xxhash64(_seed(split, "row"), *[_hashable(df, c) for c in df.columns])
    if split.fraction <= 0:
        held_out = F.lit(False)
    elif split.by_entity:
        held_out = _drawn(split, *[_hashable(df, name) for name in split.by])
    else:
        held_out = F.lit(None).cast("boolean")
    return df.select(content.alias(CONTENT), held_out.alias(HOLDOUT), *[F.col(quoted(c)) for c in df.columns])


def rows_of_units(df: DataFrame, unit: str, most: int, seed: int) -> DataFrame:
    """At most `most` rows of each value of the column `unit`, those of the lowest hashes; rows without a value are one unit.
    One shuffle. Errors: ConfigError when the column is missing or can't be compared."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if unit not in df.columns:
        raise ConfigError(f"privacy.unit: no column {in_quotes(unit)}{nearest(unit, df.columns)}; or write row")
    if "map<" in df.schema[unit].dataType.simpleString() or "variant" in df.schema[unit].dataType.simpleString():
        raise ConfigError(f"privacy.unit: column {in_quotes(unit)} holds no plain values; name another column")
    content = F.xxhash64(F.lit(as_long(derive(seed, "rows of units"))), *[_hashable(df, c) for c in df.columns])
    number = F.row_number().over(Window.partitionBy(F.col(quoted(unit))).orderBy(content))
    columns = [F.col(quoted(c)) for c in df.columns]
    return df.select(number.alias(KEY), *columns).where(F.col(KEY) <= most).select(*columns)


def keys_of(content: npt.NDArray[np.int64], occurrence: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The KEY of rows by the hash of their content and their number (1, 2, ...) among identical rows."""
    return _xxhash64_int(_xxhash64_long(np.uint64(42), content.view(np.uint64)), occurrence.astype(np.uint64)).view(np.int64)


def is_held_out(split: Split, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """The HOLDOUT of rows whose KEY decides it."""
    seed = _xxhash64_long(np.uint64(42), np.array([derive(split.seed, "holdout")], np.uint64))
    draw = _xxhash64_long(seed, keys.view(np.uint64)).view(np.int64) % DRAWS
    return draw < round(split.fraction * DRAWS)


def _drawn(split: Split, *who: Column) -> Column:
    from pyspark.sql import functions as F

    return F.pmod(F.xxhash64(_seed(split, "holdout"), *who), F.lit(DRAWS)) < F.lit(round(split.fraction * DRAWS))


def _seed(split: Split, name: str) -> Column:
    from pyspark.sql import functions as F

    return F.lit(as_long(derive(split.seed, name))).cast("bigint")


def _hashable(df: DataFrame, name: str) -> Column:
    """Spark can't hash maps or variants; their JSON text stands in."""
    from pyspark.sql import functions as F

    kind = df.schema[name].dataType.simpleString()
    return F.to_json(F.col(quoted(name))) if "map<" in kind or "variant" in kind else F.col(quoted(name))


# Spark's xxhash64 of one value, seeded by the hash of those before it (XXH64 by Yann Collet, for inputs of 8 and 4 bytes)
_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(p) for p in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
)


def _xxhash64_long(seed: Any, value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        mixed = (seed + _P5 + np.uint64(8)) ^ (_rotated(value * _P2, 31) * _P1)
        return _finished(_rotated(mixed, 27) * _P1 + _P4)


def _xxhash64_int(seed: Any, value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        return _finished(_rotated((seed + _P5 + np.uint64(4)) ^ (value * _P1), 23) * _P2 + _P3)


def _rotated(value: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.uint64]:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


def _finished(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(33))) * _P2
    value = (value ^ (value >> np.uint64(29))) * _P3
    return value ^ (value >> np.uint64(32))
