"""The Spark data source: `spark.read.format("twinlake").option("rows", 1000000).load("runs/adult-twin/model")`, and SQL on it.

Register it once a session: `twinlake.register(spark)`. Rows are those of `Model.generate`: blocks of row ids are the
partitions, so LIMIT reads as few as it needs, and a row does not depend on how many there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

from twinlake.core.errors import ConfigError, escaped, nearest
from twinlake.generate.blocks import MAX_BLOCKS, Job, block_count, decoded
from twinlake.generate.steering import read_steering
from twinlake.models.store import check_model, load_model
from twinlake.tables.parts import spark_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

OPTIONS = ("rows", "seed", "conditions")


def register(spark: SparkSession) -> None:
    """Makes the format `twinlake` known to a session (classic or Connect)."""
    spark.dataSource.register(TwinSource)


class TwinSource(DataSource):
    """Options: `path` (a model folder), `rows`, `seed` (7), `conditions` (JSON, as in generate.conditions).

    A schema with some of the model's columns reads these alone. Errors: ConfigError, ModelError.
    """

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return "twinlake"

    def schema(self) -> StructType:
        """All columns of the model."""
        return spark_schema(_codec_of(self._job()).schema.metadata)  # type: ignore[no-any-return]

    def reader(self, schema: StructType) -> DataSourceReader:
        """Reads the columns of `schema`."""
        job = self._job()
        known = {f.name: f.dataType for f in spark_schema(_codec_of(job).schema.metadata).fields}
        for field in schema.fields:
            if known.get(field.name) != field.dataType:
                has = f"has it as {known[field.name].simpleString()}" if field.name in known else "does not have it"
                raise ConfigError(
                    f"format twinlake: column {escaped(field.name)} {field.dataType.simpleString()}: the model {has}"
                    f"{'' if field.name in known else nearest(field.name, known)}; leave the schema out to read all"
                )
        return TwinReader(job, schema.fieldNames())

    def _job(self) -> Job:
        given = dict(self.options)
        unknown = sorted(set(given) - {*OPTIONS, "path"})
        if unknown or "path" not in given:
            told = f"unknown option {escaped(unknown[0])}{nearest(unknown[0], OPTIONS)}" if unknown else "no model folder"
            raise ConfigError(f"format twinlake: {told}; give load(MODEL_FOLDER) and the options {', '.join(OPTIONS)}")
        folder = Path(given["path"]).absolute()
        conditions = _json(given.get("conditions", "{}"))
        job = Job(str(folder), check_model(folder), _whole(given, "rows", None), _whole(given, "seed", 7), conditions)
        read_steering(conditions, (), job.seed, _codec_of(job))
        return job


class TwinReader(DataSourceReader):
    """One partition for each 64 blocks of row ids, for fewer than eight partitions smaller ones."""

    def __init__(self, job: Job, columns: list[str]) -> None:
        self.job, self.columns = job, columns

    def partitions(self) -> list[InputPartition]:
        """Ranges of blocks."""
        blocks = block_count(self.job.rows)
        size = max(1, min(MAX_BLOCKS, -(-blocks // 8)))
        return [InputPartition((start, min(start + size, blocks))) for start in range(0, max(1, blocks), size)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Rows of a range of blocks; a block at a time, so that a LIMIT stops early."""
        for block in range(*partition.value):
            for _, _, rows in decoded(range(block, block + 1), self.job):
                yield rows.select(self.columns)


def _codec_of(job: Job) -> Any:
    return load_model(job.model, job.digest).told


def _whole(given: Mapping[str, str], name: str, default: int | None) -> int:
    text = given.get(name, default)
    try:
        number = int(str(text))
    except ValueError:
        number = -1
    if number < 0:
        raise ConfigError(f"format twinlake: option {name} must be a whole number of 0 or more, got {escaped(str(text))}")
    return number


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError('format twinlake: option conditions must be a JSON object, such as {"sex": "Female"}')
    return value
