"""The augmented table: the protected real rows and the twin's, told apart by the column `synthetic`. It holds real rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from twinlake.tables.parts import SPARK_SCHEMA, part_files, publish, read_part, run_tasks, write_part
from twinlake.tables.run_folder import RunFolder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FLAG = "synthetic"


def write_augmented(spark: SparkSession, folder: RunFolder) -> str:
    """Publishes augmented/ from protected/ and synthetic/; returns a line about it. Errors: CommitError."""
    real, twin = part_files(folder.protected), part_files(folder.synthetic)
    shutil.rmtree(folder.staging("augmented"), ignore_errors=True)
    staging = folder.staging("augmented")
    files = [(file, False) for file in real] + [(file, True) for file in twin]
    run_tasks(spark, range(len(files)), None, partial(_flagged, files=files, staging=str(staging)))
    parts = publish(staging, folder / "augmented", len(files), {"holds_real_rows": True})
    rows = sum(p.rows for p in parts[: len(real)])
    return f"augmented: {rows:,} REAL rows (protected by the plan) and {sum(p.rows for p in parts) - rows:,} synthetic ones"


def _flagged(number: int, files: list[tuple[str, bool]], staging: str) -> Iterator[dict[str, Any]]:
    file, synthetic = files[number]
    schema = with_flag(pq.read_schema(file))
    batches = (
        pa.RecordBatch.from_arrays([*rows.columns, pa.repeat(synthetic, rows.num_rows)], schema=schema)
        for rows in read_part(file)
    )
    part = write_part(Path(staging), number, schema, batches)
    yield {"part": part.part, "rows": part.rows}


def with_flag(schema: pa.Schema) -> pa.Schema:
    """`schema` and the flag at its end, in the Spark schema that it carries too."""
    out = schema.append(pa.field(FLAG, pa.bool_(), nullable=False))
    raw = (schema.metadata or {}).get(SPARK_SCHEMA)
    if raw is None:
        return out
    spark = json.loads(raw)
    spark["fields"].append({"name": FLAG, "type": "boolean", "nullable": False, "metadata": {}})
    return out.with_metadata({**schema.metadata, SPARK_SCHEMA: json.dumps(spark).encode()})
