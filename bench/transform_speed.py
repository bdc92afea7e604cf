"""Speed of the transforms, per CPU second of one task: distinct values in batches of 10,000 rows, as Spark hands them over.

    python bench/transform_speed.py            # the transforms alone
    python bench/transform_speed.py --table    # also: a whole table transformed by Spark, beside the table copied

A line a transform: its figure, the target, the share reached. CPU seconds are the process's own (`time.process_time`),
so other work on the machine counts little. The best of three passes is shown.

The table is copied, passed through Arrow and transformed in turns, and medians are compared: a machine that gets slower or
faster over the minutes moves all three. A first turn, which loads code and warms the JVM up, does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))

from twinlake.core.keys import Keyring, make_key
from twinlake.transform.transforms import TRANSFORMS, Context

ROWS, BATCH = 400_000, 10_000
KEYS = Keyring((make_key("pseudonyms", bytes(range(32))),))


def texts(pattern: str) -> pa.Array:
    """ROWS distinct texts; `{}` is the row number."""
    return pa.array([pattern.format(row) for row in range(ROWS)])


def cases() -> list[tuple[str, str, pa.Array, dict[str, Any], str, str | None, int, dict[str, pa.Array]]]:
    """(name, transform, values, parameters, type, entity, target, other columns)."""
    short = texts("ab-{:09d}")
    ids = texts("person-{:07d}")
    days = pa.array((np.arange(ROWS) % 20_000).astype(np.int32)).cast(pa.date32())
    numbers = pa.array(np.arange(ROWS), pa.int64())
    phones = texts("{:010d}")
    emails = texts("person{}@corp.com")
    names = texts("Ann Person{}")
    cards = pa.array([f"{4_000_000_000_000_000 + row * 7_919:016d}" for row in range(ROWS)])
    per = {"person": ids}
    return [
        ("redact, label", "redact", short, {}, "string", "X", 2_000_000, {}),
        ("redact, characters", "redact", short, {"with": "characters"}, "string", None, 2_000_000, {}),
        ("redact, last 4 shown", "redact", short, {"with": "characters", "keep_last": 4}, "string", None, 2_000_000, {}),
        ("number shift, unkeyed", "number_shift", numbers, {"by": 17}, "bigint", None, 2_000_000, {}),
        ("fake e-mail", "fake", emails, {}, "string", "EMAIL_ADDRESS", 500_000, {}),
        ("fake person", "fake", names, {}, "string", "PERSON", 500_000, {}),
        ("fake phone", "fake", phones, {}, "string", "PHONE_NUMBER", 500_000, {}),
        ("fake card", "fake", cards, {}, "string", "CREDIT_CARD", 500_000, {}),
        ("hash", "hash", short, {}, "string", None, 400_000, {}),
        ("date shift per person", "date_shift", days, {"within": 30, "per": "person"}, "date", None, 400_000, per),
        ("number shift per person", "number_shift", numbers, {"within": 30, "per": "person"}, "bigint", None, 400_000, per),
        ("encrypt, AES-SIV", "encrypt", short, {}, "string", None, 150_000, {}),
        ("encrypt, FF1, 16 digits", "encrypt", cards.slice(0, 40_000), {"cipher": "ff1"}, "string", None, 0, {}),
    ]


def speed(work: Callable[[], int]) -> float:
    """Rows a CPU second, the best of three."""
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        rows = work()
        best = max(best, rows / (time.process_time() - start))
    return best


def run_transforms() -> list[dict[str, Any]]:
    found = []
    for name, transform, values, parameters, kind, entity, target, others in cases():
        work = partial(passed, transform, values, parameters, Context("c", kind, entity=entity), others)
        work(BATCH)  # word lists and ciphers are loaded once in a worker's life
        rate = speed(work)
        share = f"{rate / target:6.2f}x of {target:>9,}" if target else "   no target"
        print(f"{name:26} {rate:>12,.0f} cells/CPU-s  {share}", flush=True)
        found.append({"transform": name, "cells_per_cpu_second": round(rate), "target": target})
    return found


def passed(
    name: str,
    values: pa.Array,
    parameters: dict[str, Any],
    context: Context,
    others: dict[str, pa.Array],
    rows: int | None = None,
) -> int:
    """Batch by batch through one transform; returns the rows."""
    for start in range(0, rows or len(values), BATCH):
        near = {column: array.slice(start, BATCH) for column, array in others.items()}
        TRANSFORMS[name].apply(values.slice(start, BATCH), parameters, KEYS, replace(context, others=near))
    return len(values)


def run_table(rows: int, turns: int) -> dict[str, Any]:
    """CPU seconds of Spark and its Python workers to transform a table, and to copy it the same way."""
    import psutil
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    from twinlake.transform.apply import apply_plan
    from twinlake.transform.columns import ColumnPlan
    from twinlake.transform.plan import Plan

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    number = F.col("id")
    df = spark.range(0, rows, 1, 1).select(
        F.concat(F.lit("C"), number).alias("customer"),
        F.concat(F.lit("person"), number, F.lit("@corp.com")).alias("email"),
        F.concat(F.lit("Ann Person"), number % 50_000).alias("name"),
        F.format_string("%010d", 2_000_000_000 + number * 13).alias("phone"),
        F.concat(F.lit("note "), F.sha2(number.cast("string"), 256)).alias("note"),
        (number * 7).alias("amount"),
        (number % 90).cast("int").alias("age"),
        F.date_add(F.lit("1950-01-01").cast("date"), (number % 20_000).cast("int")).alias("born"),
        (number / 3).alias("score"),
        F.concat(F.lit("0"), (number % 9_000) + 1_000).alias("zip"),
    )
    folder = Path(tempfile.mkdtemp())
    df.write.parquet(str(folder / "in"))
    source = spark.read.parquet(str(folder / "in"))
    chosen: dict[str, tuple[str, str | None, dict[str, Any]]] = {
        "customer": ("encrypt", None, {"domain": "customer"}),
        "email": ("fake", "EMAIL_ADDRESS", {}),
        "name": ("fake", "PERSON", {}),
        "phone": ("hash", None, {}),
        "note": ("redact", None, {"with": "characters"}),
        "amount": ("number_shift", None, {"by": 17}),
        "age": ("clip", None, {"top": 89}),
        "born": ("date_shift", None, {"within": 30, "per": "customer"}),
        "zip": ("generalize", None, {"to": "zip3"}),
    }
    columns = []
    for field in source.schema.fields:
        transform, entity, parameters = chosen.get(field.name, ("keep", None, {}))
        kind = field.dataType.simpleString()
        output = TRANSFORMS[transform].output_type(kind, parameters)
        columns.append(ColumnPlan(field.name, kind, field.nullable, entity, transform, parameters, output, "model", ""))
    plan = Plan(tuple(columns))

    def cpu() -> float:
        root = psutil.Process()
        times = [p.cpu_times() for p in [root, *root.children(recursive=True)]]
        return sum(t.user + t.system + t.children_user + t.children_system for t in times)

    def spent(make: Callable[[], Any]) -> float:
        start = cpu()
        make().write.parquet(str(folder / "out"))
        seconds = cpu() - start
        shutil.rmtree(folder / "out")
        return seconds

    ways: dict[str, Callable[[], Any]] = {
        "copied": lambda: source,
        "through_arrow": lambda: source.mapInArrow(lambda batches: batches, source.schema),
        "transformed": lambda: apply_plan(source, plan, KEYS),
    }
    measured: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(turns + 1):
        for way, make in ways.items():
            seconds = spent(make)
            if turn:
                measured[way].append(seconds)
    spark.stop()
    shutil.rmtree(folder)
    print(f"table of {rows:,} rows, 10 columns, 9 of them transformed; CPU-s, median of {turns} turns (least to most):")
    medians = {way: median(seconds) for way, seconds in measured.items()}
    for way, seconds in measured.items():
        share = f"{medians[way] / medians['copied']:.2f}x the copy"
        print(f"  {way:14} {medians[way]:6.2f}  ({min(seconds):.2f} to {max(seconds):.2f})  {share}", flush=True)
    return {"turns": measured, **medians, "ratio": medians["transformed"] / medians["copied"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="also a whole table in Spark")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of that table")
    parser.add_argument("--turns", type=int, default=5, help="how often it is copied and transformed")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"transforms": run_transforms()}
    if arguments.table:
        figures["table"] = run_table(arguments.rows, arguments.turns)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
