"""Does a twin keep what dates and times are made of? Hours, weekdays, months, durations, lags, and what hangs on them.

    python bench/times.py

Makes 20,000 rows with a daily, weekly and yearly shape, an end after each start and a booking day before it, runs the command
`twinlake` on 70% of them and prints the total variation of each shape to the held-back rows at their count, beside that of the
train rows (floor). 0 is equal.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROWS, TRAIN = 20_000, 14_000


def _log(table: pd.DataFrame) -> pd.Series:
    return np.log((table.ended - table.started).dt.total_seconds().clip(lower=1)).round()


def _weekend(table: pd.DataFrame) -> pd.Series:
    return (table.started.dt.dayofweek >= 5).astype(int)


SHAPES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "hour of start": lambda t: t.started.dt.hour,
    "weekday of start": lambda t: t.started.dt.dayofweek,
    "month of start": lambda t: t.started.dt.month,
    "hour and weekday": lambda t: t.started.dt.hour + 24 * t.started.dt.dayofweek,
    "hour of end": lambda t: t.ended.dt.hour,
    "duration, by e": _log,
    "duration and weekend": lambda t: _log(t) + 100 * _weekend(t),
    "days from booking": lambda t: (t.started.dt.normalize() - pd.to_datetime(t.booked)).dt.days,
    "channel and hour": lambda t: t.channel + t.started.dt.hour.astype(str),
    "amount and weekend": lambda t: (t.amount // 10).clip(upper=30) + 100 * _weekend(t),
}


def make_table() -> pd.DataFrame:
    """More in December and in later years, fewer at weekends, peaks at 9:30 and 17:00; longer and dearer at weekends."""
    draw = np.random.Generator(np.random.Philox(3))
    first, day = pd.Timestamp("2021-01-01"), np.empty(0, np.int64)
    while len(day) < ROWS:
        some = draw.integers(0, 3 * 365, 50_000)
        date = first + pd.to_timedelta(some, unit="D")
        weight = np.where(date.dayofweek >= 5, 0.25, 1) * np.where(date.month == 12, 2.5, 1) * (0.5 + some / 1_095)
        day = np.concatenate([day, some[draw.random(50_000) < weight / 4]])
    hour = np.where(draw.random(ROWS) < 0.5, draw.normal(9.5, 1, ROWS), draw.normal(17, 1.5, ROWS)) % 24
    started = first + pd.to_timedelta(day[:ROWS], unit="D") + pd.to_timedelta((hour * 3600).astype(int), unit="s")
    weekend = started.dayofweek >= 5
    seconds = draw.lognormal(np.where(weekend, 8.5, 7), 0.6).astype(int)
    booked = (started - pd.to_timedelta(draw.integers(0, 30, ROWS), unit="D")).date
    return pd.DataFrame(
        {
            "started": started,
            "ended": started + pd.to_timedelta(seconds, unit="s"),
            "channel": np.where(draw.random(ROWS) < np.where(started.hour < 12, 0.8, 0.2), "phone", "web"),
            "amount": np.round(draw.gamma(2, 20, ROWS) * np.where(weekend, 2, 1), 2),
            "booked": booked,
        }
    )


def variation(a: pd.Series, b: pd.Series) -> float:
    """Total variation of two samples."""
    shares = pd.concat([a.value_counts(normalize=True), b.value_counts(normalize=True)], axis=1).fillna(0.0)
    return float((shares.iloc[:, 0] - shares.iloc[:, 1]).abs().sum() / 2)


def main() -> None:
    """Makes the table, runs the line, prints the shapes."""
    table = make_table()
    train, holdout = table[:TRAIN], table[TRAIN:]
    with tempfile.TemporaryDirectory() as scratch:
        for name, part in (("train", train), ("holdout", holdout)):
            part.to_parquet(f"{scratch}/{name}.parquet", index=False, coerce_timestamps="us")
        command = [sys.executable, "-m", "twinlake.cli", "run", f"{scratch}/train.parquet", "--holdout"]
        subprocess.run([*command, f"{scratch}/holdout.parquet", "--set", f"run.dir={scratch}/run"], check=True)
        twin = pd.concat([pd.read_parquet(part) for part in sorted(Path(scratch).glob("run/synthetic/part-*.parquet"))])
    twin = twin.sample(len(holdout), random_state=0)
    for name, shape in SHAPES.items():
        found, floor = (variation(shape(holdout), shape(other)) for other in (twin, train))
        print(f"{name:<22}{found:.3f} (floor {floor:.3f})")
    print(f"{'end after start':<22}{(twin.ended >= twin.started).mean():.3f}")


if __name__ == "__main__":
    main()
