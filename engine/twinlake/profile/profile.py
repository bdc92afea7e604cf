"""Profiles a table: statistics of one pass become the published profile, with rare values left out.

`profile_table` is the verb behind `twinlake.profile`. Only aggregates reach the driver, and hashes of repeated rows.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from twinlake.core.seeds import derive
from twinlake.profile.kinds import decimals_of, kind_of, time_text
from twinlake.profile.repeats import find_repeats
from twinlake.profile.statistics import ColumnStatistics, as_they_are, columns_of, limits_for, summarize, summarize_train
from twinlake.profile.types import ColumnProfile, Kind, Profile
from twinlake.tables.names import quoted
from twinlake.tables.split import HOLDOUT, Split, part_count, with_content, with_row_keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP = 50
SAMPLE = 20_000


def profile_table(df: DataFrame, split: Split | None = None, min_people: int = 10, rows: int | None = None) -> Profile:
    """The profile of the train rows of `df` (all rows when `split` is None).

    `rows` is the row count of `df` if the caller knows it. Costs two passes and a shuffle of hashes (of whole rows where
    more than 100,000 different rows come twice or more), and a count of distinct values for columns that look unique.
    """
    split = split or Split(0)
    rows = df.count() if rows is None else rows
    columns = columns_of(df)
    limits = limits_for(rows, len(columns), min_people, derive(split.seed, "profile sample"), SAMPLE, 20_000)
    publish = partial(_publish, min_people=min_people, most=2 * limits.numbers)
    hashed = with_content(df, split)
    repeats = find_repeats(hashed, split, rows)
    if repeats is not None:
        entries = summarize_train(hashed, repeats, columns, limits, publish)
    else:
        train = with_row_keys(df, split, part_count(rows, len(columns))).where(f"NOT {HOLDOUT}")
        entries = summarize(train, as_they_are, columns, 2, limits, publish)
    published = _verified(df, [json.loads(text) for text in entries])
    repeated = None if repeats is None else int((repeats.rows - 1).sum())
    return Profile(published[0].rows, min_people, tuple(published), repeated)


def _publish(stats: ColumnStatistics, min_people: int, most: int) -> str:
    """The public entry of a column, as JSON. Runs on executors. Counts of more than `most` values depend on how the rows
    lie, those in the sample do not."""
    kind = kind_of(stats)
    low = stats.low[min_people - 1] if len(stats.low) >= min_people else None
    high = stats.high[min_people - 1] if len(stats.high) >= min_people else None
    enough = stats.non_null >= min_people
    shown = partial(time_text, type_=stats.type)
    times = kind == "datetime" and stats.type != "string"
    numbers = (
        np.sort(np.array([float(t) for t in stats.sample], dtype=float))
        if kind == "number" and stats.type != "string"
        else np.empty(0)
    )
    if low is not None and high is not None and len(numbers):
        numbers = np.clip(numbers[np.isfinite(numbers)], low, high)
    # a quantile of few rows is some person's value
    quantiles = tuple(float(np.quantile(numbers, q)) for q in QUANTILES) if len(numbers) >= 20 * min_people else ()
    whole = not stats.uncounted and len(stats.counts) <= most
    counts, share = (stats.counts, 1.0) if whole else (Counter(sorted(stats.sample)), stats.share)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    top = () if kind in ("key", "text") else tuple((v, round(n / share)) for v, n in ranked if n >= min_people)
    entry = ColumnProfile(
        stats.name,
        stats.type,
        stats.nullable,
        kind,
        stats.rows,
        stats.nulls,
        stats.distinct,
        stats.nan,
        stats.plus,
        stats.minus,
        None if low is None else shown(low) if times else low.item(),
        None if high is None else shown(high) if times else high.item(),
        None if times or low is None else _rounded(stats.mean),
        None if times or low is None else _rounded(stats.std),
        quantiles,
        decimals_of(stats.sample) if kind == "number" else None,
        stats.length_min if enough else None,
        stats.length_max if enough else None,
        stats.length_mean if enough else None,
        stats.formats if enough else {},
        top,
    )
    return json.dumps({"entry": asdict(entry), "certain": stats.distinct_exact, "otherwise": kind_of(stats, unique=False)})


def _rounded(value: float | None) -> float | None:
    """9 significant digits: those behind them differ with how the rows lie."""
    return None if value is None else float(f"{value:.9g}")


def _read(raw: dict[str, Any]) -> ColumnProfile:
    return ColumnProfile(**{**raw, "quantiles": tuple(raw["quantiles"]), "top": tuple((v, n) for v, n in raw["top"])})


def _verified(df: DataFrame, found: list[dict[str, Any]]) -> list[ColumnProfile]:
    """Unique columns are told by a sketch first; those above its exact size are verified by an exact count."""
    from pyspark.sql import functions as F

    columns = [_read(f["entry"]) for f in found]
    doubtful = [i for i, c in enumerate(columns) if c.kind == "key" and not found[i]["certain"]]
    if doubtful:
        counted = [F.count_distinct(F.col(quoted(columns[i].name))) for i in doubtful]
        rows, *exact = df.agg(F.count(F.lit(1)), *counted).toArrow().to_pylist()[0].values()
        for i, distinct in zip(doubtful, exact, strict=True):
            kind: Kind = "key" if distinct == rows else found[i]["otherwise"]
            columns[i] = replace(columns[i], kind=kind, distinct=min(distinct, columns[i].rows))
    return columns
