"""The cluster tests run where they say: rows are made in executor processes, and the driver refuses large results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa


def test_rows_are_made_outside_the_driver(spark: Any) -> None:
    import os

    driver = os.getpid()

    def where(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import os

        import twinlake.core.seeds as seeds

        for _ in batches:
            yield pa.RecordBatch.from_pydict(
                {"pid": pa.array([os.getppid()], pa.int64()), "seed": pa.array([str(seeds.derive(7, "a"))])}
            )

    rows = spark.range(0, 4, 1, 2).mapInArrow(where, "pid bigint, seed string").collect()
    assert driver not in {row.pid for row in rows}
    from twinlake.core.seeds import derive

    assert {row.seed for row in rows} == {str(derive(7, "a"))}
    assert spark.conf.get("spark.driver.maxResultSize") == "32m"
