"""The model as users hold it: load a folder, generate a lazy DataFrame, save a copy."""

from __future__ import annotations

import html
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinlake.core.config import load_config
from twinlake.core.errors import ConfigError, UserError, escaped
from twinlake.generate.balance import Balance, balanced, count_groups, needs_counts
from twinlake.generate.blocks import Job, block_count, lazy_rows
from twinlake.generate.complete import complete
from twinlake.generate.steering import Group, read_steering
from twinlake.models.nested import flat_frame
from twinlake.models.sampler import PLAIN, Style
from twinlake.models.store import check_model, load_model
from twinlake.tables.parts import renamed, spark_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


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
        return load_model(str(self.path), self.digest).facts

    @property
    def columns(self) -> list[str]:
        """Names of the generated columns."""
        return list(load_model(str(self.path), self.digest).codec.table.names)

    def generate(
        self,
        spark: SparkSession,
        rows: int | None = None,
        conditions: Mapping[str, Any] | DataFrame | None = None,
        seed: int = 7,
        partitions: int | None = None,
        balance: Balance | Mapping[str, Any] | Sequence[str] | None = None,
        real: DataFrame | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        guidance: float = PLAIN.guidance,
        min_people: int = 10,
    ) -> DataFrame:
        """`rows` synthetic rows as a lazy DataFrame: equal each time it runs, whatever `partitions`.

        `conditions` fix columns: {"sex": "Female", "age": {"min": 20, "max": 30}, "notes": None}, and leaves of nested ones:
        {"address.city": "Lyon", "tags.length": 2}; or a DataFrame of seed rows, each of which is completed (`rows` and
        `balance` are left out then; columns that the model does not know are carried through). `balance`: columns whose
        values get equal shares, or {"columns": ["income"], "shares": {">50K": 0.5}, "mode": "replace"}; counted in `real`,
        the rows given to fit, unless the shares sum to 1, without the groups of fewer than `min_people` rows. Mode additive
        gives the rows that top `real` up: no `rows` then. Validity holds by construction; rules, filters and the manifest
        belong to `twinlake generate`. `guidance`: how much closer texts follow their row than was learned. Changes no setting
        of the session. Errors: ConfigError.
        """
        style = Style(temperature, top_p, guidance)
        if not 0 < temperature <= 10 or not 0 < top_p <= 1 or not 0 <= guidance <= 5:
            got = f"{temperature}, {top_p} and {guidance}"
            raise ConfigError(f"temperature must be in (0, 10], top_p in (0, 1] and guidance in [0, 5], got {got}")
        if not isinstance(conditions, Mapping | None):
            if rows is not None or balance is not None or not hasattr(conditions, "sparkSession"):
                raise ConfigError("conditions must be a dict, or a DataFrame of seed rows; then rows and balance are left out")
            return complete(
                conditions, Job(str(self.path), self.digest, 0, seed, {}, (), style), impute=False, partitions=partitions or 16
            )
        groups = self._groups(balance, rows, real, min_people) if balance is not None else ()
        rows = sum(group.rows for group in groups) if groups else rows
        if rows is None or rows < 0:
            raise ConfigError(f"rows must be 0 or more, got {rows}")
        codec = load_model(str(self.path), self.digest).told
        read_steering(conditions or {}, groups, seed, codec)
        blocks = block_count(rows)
        job = Job(str(self.path), self.digest, rows, seed, dict(conditions or {}), groups, style)
        plan = spark.range(0, blocks, 1, max(1, min(partitions or max(1, blocks // 8), blocks or 1)))
        schema = spark_schema(codec.schema.metadata)
        return plan.mapInArrow(lazy_rows(job), renamed(schema)).toDF(*schema.fieldNames())

    def impute(self, df: DataFrame, seed: int = 7, partitions: int = 16) -> DataFrame:
        """`df` with every null of a column that the model knows drawn given the rest of its row; lazy.

        Columns that `df` lacks are added at its end, those that the model does not know are carried through; a cell that
        has a value keeps it. Errors: ConfigError for a column of another type.
        """
        return complete(df, Job(str(self.path), self.digest, 0, seed, {}), True, partitions)

    def _groups(
        self, balance: Balance | Mapping[str, Any] | Sequence[str], rows: int | None, real: DataFrame | None, min_people: int
    ) -> tuple[Group, ...]:
        if not isinstance(balance, Balance):
            section = load_config(base={"generate": {"balance": balance}}).generate.balance
            balance = Balance(tuple(section.columns), section.mode, section.shares)
        if balance.mode == "additive" and (rows is not None or real is None):
            raise ConfigError(
                "balance of mode additive needs real=, the rows given to fit, and gives the number of rows itself"
            )
        if not needs_counts(balance):
            return balanced(balance, [], rows)
        if real is None:
            raise ConfigError("balance needs real=, the rows given to fit, unless the shares of all groups are given")
        codec = load_model(str(self.path), self.digest).told
        flat = flat_frame(real, codec.names, codec.leaves)
        return balanced(balance, count_groups(flat, balance.columns, min_people)[0], rows)

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
