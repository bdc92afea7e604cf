"""The generate stage of a run: reads the model, writes synthetic/ and, on request, the output path or table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinlake.core.config import Config
from twinlake.core.errors import CommitError, ConfigError, in_quotes, nearest
from twinlake.core.generate_config import GenerateConfig
from twinlake.core.progress import Progress
from twinlake.core.seeds import derive
from twinlake.generate.augment import FLAG, write_augmented
from twinlake.generate.balance import Balance, balanced, count_groups, needs_counts
from twinlake.generate.blocks import Job
from twinlake.generate.filter_index import filters_of
from twinlake.generate.generate import write_rows
from twinlake.generate.rules import check_rules, read_rules
from twinlake.generate.steering import Group, read_steering
from twinlake.models.codec import Codec
from twinlake.models.nested import flat_frame, has_column
from twinlake.models.sampler import Style
from twinlake.models.store import LoadedModel, check_model, load_model
from twinlake.tables.names import parse_table_name, quoted
from twinlake.tables.parts import part_files, read_parquet
from twinlake.tables.people import least_rows
from twinlake.tables.run_folder import RunFolder
from twinlake.tables.spark_errors import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


MICROSECONDS = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"}
WRITTEN = {
    "json": {"ignoreNullFields": "false", "timeZone": "UTC", **MICROSECONDS},
    "csv": {"header": "true", "escape": '"', "timeZone": "UTC", **MICROSECONDS},  # as it is read: a quote is doubled
}
"""Options of Spark's writers, so that what is read again equals the twin: null members are written, microseconds too."""


def check_steering(config: Config, source: DataFrame) -> None:
    """Refuses, before any work, conditions, balance and rules that name what the table has not, and an output format that can't
    hold it. Errors: ConfigError."""
    wanted = config.generate
    if config.output.path is not None and config.output.format == "csv":
        for field in source.schema.fields:
            if field.dataType.typeName() in ("struct", "array", "map", "variant", "binary"):
                raise ConfigError(
                    f"output.format: csv can't hold column {in_quotes(field.name)} of type {field.dataType.simpleString()}; "
                    "use parquet or json, or leave the column out by source.columns"
                )
    for where, names in (("conditions", wanted.conditions), ("balance.columns", wanted.balance.columns)):
        for name in names:
            if not has_column(source.schema, name):
                raise ConfigError(f"generate.{where}: no column {in_quotes(name)}{nearest(name, source.columns)}")
    if wanted.balance.mode == "additive" and wanted.balance.columns and wanted.rows != "source":
        raise ConfigError("generate.rows: with balance.mode additive the number of rows follows from the balance; leave it out")
    balance = Balance(tuple(wanted.balance.columns), wanted.balance.mode, wanted.balance.shares)
    if config.privacy.epsilon is not None and balance.columns and needs_counts(balance):
        raise ConfigError(
            "generate.balance.shares: with privacy.epsilon they must sum to 1: the rest would be counted in real rows"
        )
    if wanted.augment and FLAG in {name.lower() for name in source.columns}:
        raise ConfigError(f"generate.augment: the table has a column {FLAG} already; leave it out by source.columns")
    check_rules(read_rules(wanted.rules), source)


def generate_run(spark: SparkSession, folder: RunFolder, config: Config, progress: Progress) -> str:
    """Publishes the twin of a run; returns a line about it.

    Errors: ConfigError (conditions, balance, rules), DataError (rules), CommitError, ModelError.
    """
    wanted, state = config.generate, folder.state()
    digest = check_model(folder.model)
    model = load_model(str(folder.model), digest)
    codec = model.told
    seed = derive(config.run.seed, "generate")
    groups = _groups(spark, folder, config, codec, progress)
    rows = sum(g.rows for g in groups) or (state["source_rows"] if wanted.rows == "source" else wanted.rows)
    read_steering(wanted.conditions, groups, seed, codec)
    style = Style(wanted.temperature, wanted.top_p, wanted.guidance)
    steered = [*wanted.conditions, *wanted.balance.columns]
    filtered = config.privacy.filters if config.privacy.epsilon is None else config.privacy.filters.within_budget()
    filters, notes = filters_of(spark, folder, model, digest, filtered, least_rows(folder, config), steered)
    for note in notes:
        progress.say(note)
    job = Job(
        str(folder.model),
        digest,
        rows,
        seed,
        wanted.conditions,
        groups,
        style,
        state["holdout_rows"],
        filters=filters,
        precision=wanted.precision,
    )
    # with a budget no real row is looked at any more
    copies, texts = wanted.replace_copies is True, wanted.replace_copies is not False and config.privacy.epsilon is None
    rules = read_rules(wanted.rules, _compared(model.codec) if copies else (), _written(model, wanted) if texts else ())
    facts = write_rows(
        spark,
        job,
        folder.staging("synthetic"),
        folder.synthetic,
        wanted.partitions,
        progress,
        rules,
        folder.protected if any(rule.kind in ("copy", "combination", "text") for rule in rules) else None,
        least_rows(folder, config),
        wanted.strict_kernel,
    )
    folder.update(synthetic={**facts, "filters": notes})
    _write_output(spark, folder, config)
    if wanted.augment:
        progress.say(write_augmented(spark, folder))
    if len(facts["kernels"]) > 1:
        progress.say(
            "executors have different processors or libraries: "
            "another run gives these very rows only where each part is made by the same kind"
        )
    redrawn = f", {sum(facts['redrawn'].values()):,} redrawn by rules and filters" if facts["redrawn"] else ""
    parts = f"{facts['parts']} parts" if facts["parts"] > 1 else "one part"
    checked = f", {facts['invalid']:,} invalid" if "invalid" in facts else ""
    return f"{facts['rows']:,} rows in {parts}{redrawn}{checked}"


def _compared(codec: Codec) -> list[str]:
    """The columns in which a copy of a train row equals it; that a struct is there its leaves tell."""
    told = [not codec.leaves or codec.leaves[at].kind != "present" for at in range(len(codec.columns))]
    return [c.name for c, own in zip(codec.columns, told, strict=True) if c.coarse and own]


def _written(model: LoadedModel, wanted: GenerateConfig) -> list[str]:
    """The columns whose texts the model writes, without those that conditions fix."""
    names = [model.codec.names[text.column] for text in model.script.texts] if model.script is not None else []
    return [name for name in names if name not in wanted.conditions]


def _groups(spark: SparkSession, folder: RunFolder, config: Config, codec: Codec, progress: Progress) -> tuple[Group, ...]:
    wanted = config.generate.balance
    if not wanted.columns:
        return ()
    balance = Balance(tuple(wanted.columns), wanted.mode, wanted.shares)
    rows: int | None = None
    if balance.mode == "replace":
        rows = folder.state()["source_rows"] if config.generate.rows == "source" else config.generate.rows
    if not needs_counts(balance):
        return balanced(balance, [], rows)
    real = flat_frame(read_parquet(spark.read, part_files(folder.protected)), codec.names, codec.leaves)
    least = least_rows(folder, config)
    counts, rare = count_groups(real, balance.columns, least)
    if rare:
        progress.say(f"balance: {rare} groups of fewer than {least} rows are left out")
    return balanced(balance, counts, rows)


def _write_output(spark: SparkSession, folder: RunFolder, config: Config) -> None:
    """The second sink: Spark's own writer, for paths on any store and for catalog tables."""
    path, table, mode, format_ = config.output.path, config.output.table, config.output.mode, config.output.format
    if path is None and table is None:
        return
    twin = read_parquet(spark.read, part_files(folder.synthetic))
    try:
        with spark_errors("output"):
            if path is not None:
                twin.write.mode(mode).format(format_).options(**WRITTEN.get(format_, {})).save(path)
            if table is not None:
                twin.write.mode(mode).saveAsTable(quoted(*parse_table_name(table)))
    except Exception as error:
        raise CommitError(
            f"{error}; the twin itself is in {folder.synthetic}; set output.mode to overwrite, or another output"
        ) from None
