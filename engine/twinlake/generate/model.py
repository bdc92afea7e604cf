"""The model as users hold it: load a folder, generate a lazy DataFrame, save a copy."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinlake.core.errors import ConfigError, ModelError, UserError, escaped
from twinlake.generate.blocks import Job, block_count, lazy_rows
from twinlake.generate.conditions import read_conditions
from twinlake.models.store import check_model, load_model

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"


@dataclass(frozen=True)
class Model:
    """A trained model in a folder. The folder must be readable where rows are generated (executors)."""

    path: Path
    digest: str

    @classmethod
    def load(cls, path: str | Path) -> Model:
        """The model in `path`, checked against its manifest. Errors: ModelError. Runs no code of the model."""
        folder = Path(path).absolute()
        digest = check_model(folder)
        load_model(str(folder), digest)
        return cls(folder, digest)

    @property
    def facts(self) -> dict[str, Any]:
        """The content of model.json: settings, training history, column order."""
        return load_model(str(self.path), self.digest)[1]

    @property
    def columns(self) -> list[str]:
        """Names of the generated columns."""
        return [c.name for c in load_model(str(self.path), self.digest)[0].columns]

    def generate(
        self,
        spark: SparkSession,
        rows: int,
        conditions: Mapping[str, Any] | None = None,
        seed: int = 7,
        partitions: int | None = None,
    ) -> DataFrame:
        """`rows` synthetic rows as a lazy DataFrame: equal each time it runs, whatever `partitions`.

        `conditions` fix columns: {"sex": "Female", "age": {"min": 20, "max": 30}, "notes": None}. Validity holds by
        construction; rules, filters and the manifest belong to `twinlake generate`. Changes no setting of the session.
        """
        if rows < 0:
            raise ConfigError(f"rows must be 0 or more, got {rows}")
        codec, _, _ = load_model(str(self.path), self.digest)
        read_conditions(conditions or {}, codec)
        blocks = block_count(rows)
        job = Job(str(self.path), self.digest, rows, seed, dict(conditions or {}))
        plan = spark.range(0, blocks, 1, max(1, min(partitions or max(1, blocks // 8), blocks or 1)))
        schema = spark_schema(codec.schema.metadata)
        return plan.mapInArrow(lazy_rows(job), renamed(schema)).toDF(*schema.fieldNames())

    def save(self, path: str | Path) -> None:
        """Copies the model folder to `path`, which must not exist. Errors: UserError."""
        target = Path(path)
        if target.exists():
            raise UserError(f"{escaped(str(target))} exists already; choose another folder")
        shutil.copytree(self.path, target)

    def _repr_html_(self) -> str:
        facts = self.facts
        last = facts["history"][-1] if facts["history"] else {}
        rows = {
            "family": facts["family"],
            "trained on": f"{facts['rows']:,} rows",
            "columns": len(self.columns),
            "validation loss": f"{min(h['validation_loss'] for h in facts['history']):.3f} nats" if last else "-",
            "folder": self.path,
        }
        return (
            "<table>"
            + "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
            + "</table>"
        )


def spark_schema(metadata: Mapping[bytes, bytes] | None) -> Any:
    """The Spark schema that the protected parts carry. Errors: ModelError when there is none."""
    from pyspark.sql.types import StructType

    if not metadata or SPARK_SCHEMA not in metadata:
        raise ModelError("the model's codec carries no Spark schema; train it again")
    return StructType.fromJson(json.loads(metadata[SPARK_SCHEMA]))


def renamed(schema: Any) -> Any:
    """`schema` with the names c0, c1, ...: mapInArrow refuses some legal names."""
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(f"c{i}", f.dataType, f.nullable, f.metadata) for i, f in enumerate(schema.fields)])
