"""The generate stage of a run: reads the model, writes synthetic/ and, on request, the output path or table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinlake.core.config import Config
from twinlake.core.errors import CommitError
from twinlake.core.progress import Progress
from twinlake.core.seeds import derive
from twinlake.generate.blocks import Job
from twinlake.generate.conditions import read_conditions
from twinlake.generate.generate import write_rows
from twinlake.models.store import check_model, load_model
from twinlake.tables.names import parse_table_name, quoted
from twinlake.tables.parts import part_files
from twinlake.tables.run_folder import RunFolder
from twinlake.tables.source import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def generate_run(spark: SparkSession, folder: RunFolder, config: Config, progress: Progress) -> str:
    """Publishes the twin of a run; returns a line about it.

    Errors: ConfigError (conditions), CommitError, ModelError.
    """
    wanted, state = config.generate, folder.state()
    digest = check_model(folder.model)
    codec, _, _ = load_model(str(folder.model), digest)
    read_conditions(wanted.conditions, codec)
    rows = state["source_rows"] if wanted.rows == "source" else wanted.rows
    job = Job(str(folder.model), digest, rows, derive(config.run.seed, "generate"), wanted.conditions, state["holdout_rows"])
    facts = write_rows(
        spark,
        job,
        folder.staging("synthetic"),
        folder.synthetic,
        wanted.partitions,
        progress,
        folder.protected if wanted.replace_copies else None,
        wanted.strict_kernel,
    )
    folder.update(synthetic=facts)
    _write_output(spark, folder, config)
    if len(facts["kernels"]) > 1:
        progress.say(
            "executors have different processors or libraries: "
            "another run gives these very rows only where each part is made by the same kind"
        )
    replaced = f", {facts['copies_replaced']:,} copies redrawn" if wanted.replace_copies else ""
    parts = f"{facts['parts']} parts" if facts["parts"] > 1 else "one part"
    return f"{facts['rows']:,} rows in {parts}{replaced}"


def _write_output(spark: SparkSession, folder: RunFolder, config: Config) -> None:
    """The second sink: Spark's own writer, for paths on any store and for catalog tables."""
    path, table, mode = config.output.path, config.output.table, config.output.mode
    if path is None and table is None:
        return
    twin = spark.read.parquet(*part_files(folder.synthetic))
    try:
        with spark_errors("output"):
            if path is not None:
                twin.write.mode(mode).parquet(path)
            if table is not None:
                twin.write.mode(mode).saveAsTable(quoted(*parse_table_name(table)))
    except Exception as error:
        raise CommitError(
            f"{error}; the twin itself is in {folder.synthetic}; set output.mode to overwrite, or another output"
        ) from None
