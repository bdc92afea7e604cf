"""Balance: how many rows each group of values gets, exactly. `replace`: of all rows; `additive`: rows to add to the real ones.

Groups are the combinations of values that the rows given to fit hold, or what the caller lists. Shares become counts by
the largest remainder (Hamilton's method), so the sum is exact and each group is within one row of its share.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from twinlake.core.errors import ConfigError, escaped, in_quotes, nearest
from twinlake.generate.conditions import in_utc
from twinlake.generate.steering import Group
from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MAX_GROUPS = 1_000
WHERE = "generate.balance"
Values = dict[str, Any]


@dataclass(frozen=True)
class Balance:
    """`columns` are balanced together. `shares`: {value: share} of one column, or [{column: condition, ..., share: s}];
    None: every group the same. Groups that are not listed divide what is left as they do in the real rows."""

    columns: tuple[str, ...]
    mode: Literal["replace", "additive"] = "replace"
    shares: Mapping[str, float] | Sequence[Mapping[str, Any]] | None = None


def count_groups(real: DataFrame, columns: Sequence[str], people: int) -> tuple[list[tuple[Values, int]], int]:
    """The groups of `real` that at least `people` rows are in, with their rows; and how many others there are.

    Errors: ConfigError for unknown columns and for more than MAX_GROUPS groups. The values of at most that many groups come
    to the driver, each held by at least `people` rows.
    """
    from pyspark.sql import functions as F

    for name in columns:
        if name not in real.columns:
            raise ConfigError(f"{WHERE}.columns: no column {in_quotes(name)}{nearest(name, real.columns)}")
    names = [f"c{i}" for i in range(len(columns))]
    counted = (
        real.select(*[F.col(quoted(c)).alias(name) for c, name in zip(columns, names, strict=True)]).groupBy(*names).count()
    )
    enough = F.col("count") >= people
    kept = counted.select(*[F.when(enough, F.col(n)).alias(n) for n in (*names, "count")])  # nulls: the rare ones together
    counts = kept.groupBy(*names, "count").agg(F.count("*").alias("groups")).limit(MAX_GROUPS + 2)
    groups = counts.toArrow().to_pylist()  # collect gives times in the driver's own zone
    common = [row for row in groups if row["count"] is not None]
    if len(common) > MAX_GROUPS:
        raise ConfigError(
            f"{WHERE}.columns: more than {MAX_GROUPS:,} groups of {escaped(', '.join(columns))}; "
            "balance columns of few values, or list ranges in generate.balance.shares"
        )
    rare = sum(row["groups"] for row in groups if row["count"] is None)
    found = [({c: _plain(row[name]) for c, name in zip(columns, names, strict=True)}, int(row["count"])) for row in common]
    return sorted(found, key=lambda group: tuple(str(v) for v in group[0].values())), rare


def needs_counts(balance: Balance) -> bool:
    """Whether the real rows must be counted: not where the shares alone say everything."""
    listed = _listed(balance)
    return balance.mode == "additive" or listed is None or sum(share for _, share in listed) < 1 - 1e-9


def balanced(balance: Balance, counts: Sequence[tuple[Values, int]], rows: int | None) -> tuple[Group, ...]:
    """The groups of the twin. `counts`: of the real rows; `rows`: of the twin, in mode additive None.

    Errors: ConfigError for shares that do not fit together, or groups that a top-up can't count.
    """
    listed = _listed(balance)
    if listed is None:
        wanted = [(values, 1.0 / len(counts)) for values, _ in counts]
    else:
        rest = 1.0 - sum(share for _, share in listed)
        others = [(values, n) for values, n in counts if all(not _same(values, named) for named, _ in listed)]
        total = sum(n for _, n in others)
        if rest < -1e-9 or (rest > 1e-9 and (not total or any(not _exact(named) for named, _ in listed))):
            raise ConfigError(
                f"{WHERE}.shares: they sum to {1.0 - rest:.6g}; they must sum to 1, or to less where single values are listed "
                "and others are left to divide the rest"
            )
        wanted = listed + [(values, rest * n / total) for values, n in others if rest > 1e-9]
    if not wanted:
        raise ConfigError(f"{WHERE}: no group of values is held by enough rows to be balanced")
    if balance.mode == "replace":
        if rows is None:
            raise ConfigError(f"{WHERE}: mode replace needs a number of rows")
        numbers = largest_remainder([share for _, share in wanted], rows)
    else:
        real = [_real_rows(values, counts) for values, _ in wanted]
        size = max((n / share for n, (_, share) in zip(real, wanted, strict=True) if share > 0), default=0.0)
        if any(n and not share for n, (_, share) in zip(real, wanted, strict=True)):
            raise ConfigError(f"{WHERE}.shares: mode additive removes no rows, so a group that has rows needs a share above 0")
        numbers = [max(0, round(size * share) - n) for n, (_, share) in zip(real, wanted, strict=True)]
    if rows is None and not any(numbers):
        raise ConfigError(f"{WHERE}: the real rows have the shares asked for already; there is nothing to add")
    return tuple(Group(values, n) for (values, _), n in zip(wanted, numbers, strict=True) if n)


def largest_remainder(shares: Sequence[float], rows: int) -> list[int]:
    """Whole numbers that sum to `rows`, each within one of rows * share; ties go to the first."""
    exact = np.array(shares, np.float64) / sum(shares) * rows
    out = np.floor(exact).astype(np.int64)
    out[np.argsort(-(exact - out), kind="stable")[: rows - int(out.sum())]] += 1
    return [int(n) for n in out]


def _listed(balance: Balance) -> list[tuple[Values, float]] | None:
    if balance.shares is None:
        return None
    if isinstance(balance.shares, Mapping):
        if len(balance.columns) != 1:
            raise ConfigError(f"{WHERE}.shares: of several columns give a list, such as [{{a: x, b: y, share: 0.3}}]")
        pairs: list[tuple[Values, Any]] = [
            ({balance.columns[0]: None if v == "null" else v}, s) for v, s in balance.shares.items()
        ]
    else:
        pairs = [({k: v for k, v in one.items() if k != "share"}, one.get("share")) for one in balance.shares]
    for values, share in pairs:
        if set(values) != set(balance.columns):
            raise ConfigError(
                f"{WHERE}.shares: each entry must name {escaped(', '.join(balance.columns))} and a share, "
                f"got {escaped(', '.join(map(str, values))) or 'none'}"
            )
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ConfigError(f"{WHERE}.shares: a share must be a number from 0 to 1")
    return [(values, float(share)) for values, share in pairs]


def _real_rows(values: Values, counts: Sequence[tuple[Values, int]]) -> int:
    if not _exact(values):
        raise ConfigError(f"{WHERE}.shares: mode additive counts real rows by single values; ranges and lists need replace")
    return sum(n for real, n in counts if _same(real, values))


def _exact(values: Values) -> bool:
    return not any(isinstance(v, dict | list) for v in values.values())


def _same(real: Values, wanted: Values) -> bool:
    return all(_text(real[name]) == _text(value) for name, value in wanted.items())


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    """A cell as JSON holds it and conditions read it."""
    if isinstance(value, dt.datetime):
        return in_utc(value).isoformat(sep=" ")
    return value if value is None or isinstance(value, bool | int | str) else str(value)
