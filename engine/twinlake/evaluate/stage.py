"""The evaluate and report stages of a run: artifacts in; evaluation.json, report.html and report.md out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinlake.core.config import Config
from twinlake.core.errors import ConfigError, DataError, in_quotes, nearest
from twinlake.core.privacy_config import NOT_FOR_RELEASE
from twinlake.core.progress import Progress
from twinlake.evaluate.evaluate import Evaluation, evaluate_tables
from twinlake.evaluate.evidence import Evidence, Promised
from twinlake.evaluate.frames import mistyped
from twinlake.evaluate.report import write_report
from twinlake.evaluate.summary import markdown_summary
from twinlake.evaluate.tracking import log_to_mlflow
from twinlake.generate.rules import Rule, read_rules
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.encode import sum_counts
from twinlake.models.nested import flat_frame, has_column, with_leaves
from twinlake.models.transcribe import free_texts
from twinlake.profile.counts import TokenCounts
from twinlake.tables.parts import part_files, read_manifest, read_parquet, write_text
from twinlake.tables.people import least_rows
from twinlake.tables.run_folder import RunFolder
from twinlake.train.ledger import guarantee_of, told_guarantee
from twinlake.transform.plan import Plan

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType


def evaluate_run(spark: SparkSession, folder: RunFolder, config: Config, progress: Progress) -> str:
    """Writes evaluation.json. Errors: ConfigError (fail_under names no metric), DataError (a limit is missed)."""
    evidence = evidence_of(spark, folder, config)
    evaluation = evaluate_tables(evidence, progress=progress)
    if guarantee := guarantee_of(folder.model):
        evaluation = replace(evaluation, facts={**evaluation.facts, "privacy": guarantee, "release": NOT_FOR_RELEASE})
    write_text(folder / "evaluation.json", evaluation.to_json())
    missed = evaluation.failed(config.evaluate.fail_under)
    if missed:
        raise DataError("evaluate.fail_under: " + "; ".join(missed))
    return (
        "no score: " + (evaluation.results["quality_score"].reason or "")
        if evaluation.score is None
        else f"score {evaluation.score:.1f} of 100"
    )


def check_columns(schema: StructType, target: str | None, protected: Sequence[str], secrets: Sequence[str] = ()) -> None:
    """Refuses a target, a protected or a secret column that a table of this schema has not. Errors: ConfigError."""
    named = [("target", target), *(("protected", name) for name in protected), *(("secrets", name) for name in secrets)]
    for key, name in named:
        if name is not None and not has_column(schema, name):
            raise ConfigError(f"evaluate.{key}: no column {in_quotes(name)}{nearest(name, schema.names)}")
    if target in protected:
        raise ConfigError(f"evaluate.protected: {in_quotes(str(target))} is the target; name a column beside it")


def evidence_of(spark: SparkSession, folder: RunFolder, config: Config) -> Evidence:
    """What the metrics look at: protected train and holdout rows, the twin, and the token counts of each."""
    codec = Codec.from_json((folder / "codec.json").read_text(encoding="utf-8"))
    manifest = read_manifest(folder.synthetic)
    names = [folder.synthetic / f["file"] for f in manifest["files"]]
    holdout = TokenCounts.load(folder.private / "holdout.npz")
    has_holdout = holdout.rows > 0
    real, twin = (read_parquet(spark.read, part_files(f)) for f in (folder.protected, folder.synthetic))
    first = sum_counts([n for n in names if n.name.endswith("-first.npz")], codec)
    return Evidence(
        flat_frame(real, codec.names, codec.leaves),
        flat_frame(twin, codec.names, codec.leaves),
        tuple(c.name for c in codec.columns if c.coarse),
        {c.name: kind_of(c) for c in codec.columns},
        TokenCounts.load(folder.private / "pairs.npz").measured(),
        sum_counts([n for n in names if not n.name.endswith("-first.npz")], codec),
        flat_frame(read_parquet(spark.read, part_files(folder.holdout)), codec.names, codec.leaves) if has_holdout else None,
        holdout if has_holdout else None,
        first if has_holdout and first.rows else None,
        flat_frame(first_rows(spark, folder.synthetic, first.rows), codec.names, codec.leaves)
        if has_holdout and 0 < first.rows < manifest["rows"]
        else None,
        target=config.evaluate.target,
        protected=tuple(dict.fromkeys(config.evaluate.protected)),
        positive=config.evaluate.positive,
        seed=config.run.seed,
        k=least_rows(folder, config),
        promised=promised_of(codec, real, twin, read_rules(config.generate.rules)),
        texts=tuple(codec.names[i] for i in free_texts(codec)),
        secrets=tuple(dict.fromkeys(config.evaluate.secrets)),
        model=str(folder.model) if folder.model.is_dir() else None,
    )


def first_rows(spark: SparkSession, twin: Path, rows: int) -> DataFrame:
    """The `rows` rows of the lowest row ids: a sample, for which row gets which id is random."""
    from pyspark.sql import functions as F

    files, left = [], rows
    for part, file in zip(read_manifest(twin)["parts"], part_files(twin), strict=True):
        files.append(file)
        if left <= part["rows"]:
            break
        left -= part["rows"]
    found = read_parquet(spark.read, files)
    where = found.metadataColumn("_metadata")  # also where the table has a column of that name
    return found.where((where["file_name"] != Path(files[-1]).name) | (where["row_index"] < F.lit(left)))


def promised_of(codec: Codec, real: DataFrame, twin: DataFrame, rules: tuple[Rule, ...] = ()) -> Promised:
    """What the rows of `twin`, a table like `real`, should keep."""
    told = [with_leaves(df, codec.names, codec.leaves) for df in (real, twin)]
    return Promised(codec, told[0], told[1], rules, mistyped(real.schema, twin.schema))


def kind_of(column: ColumnCodec) -> str:
    """Kind as the metrics name it: of the twin's column, not of what it was before the plan."""
    if column.method == "number" and column.type != "string":
        return "datetime" if column.type in ("date", "timestamp", "timestamp_ntz") else "number"
    return {"category": "category", "constant": "constant", "number": "category"}.get(column.method, "text")


def report_run(folder: RunFolder, config: Config, name: str, progress: Progress) -> str:
    """Writes report.html and report.md from the evaluation and the token counts; notes them in MLflow where it is in use."""
    evaluation = Evaluation.from_json((folder / "evaluation.json").read_text(encoding="utf-8"))
    codec = Codec.from_json((folder / "codec.json").read_text(encoding="utf-8"))
    files = [
        folder.synthetic / f["file"] for f in read_manifest(folder.synthetic)["files"] if not f["file"].endswith("-first.npz")
    ]
    model = json.loads((folder.model / "model.json").read_text())
    state = folder.state()
    plan = Plan.from_yaml((folder / "plan.yaml").read_text(encoding="utf-8"), "plan.yaml")
    facts: dict[str, Any] = {
        "name": config.run.name or f"{name}-twin",
        "run": {
            "source": name,
            "parts": state["synthetic"]["parts"],
            "family": model["family"],
            **{f"rows redrawn: {rule}": count for rule, count in state["synthetic"]["redrawn"].items()},
            **({"warnings": "; ".join(state["warnings"])} if state.get("warnings") else {}),
        },
        "versions": state.get("versions", {}),
        "timings": {stage: entry["seconds"] for stage, entry in state.get("stages", {}).items() if "seconds" in entry},
        "privacy": {"least people for a value": config.privacy.min_people, **told_guarantee(model.get("privacy"))},
        "guarantee": model.get("privacy"),
        "plan": [{"column": c.name, "transform": c.transform, "detail": c.reason} for c in plan.columns],
        "losses": [
            {"epoch": h["rows"] / max(1, model["rows"]), "train": h["train_loss"], "validation": h["validation_loss"]}
            for h in model["history"]
        ],
    }
    write_report(
        folder / "report.html",
        evaluation,
        TokenCounts.load(folder.private / "pairs.npz").measured(),
        sum_counts(files, codec),
        facts,
        least_rows(folder, config),
    )
    write_text(folder / "report.md", markdown_summary(evaluation, facts["name"]))
    if run_id := log_to_mlflow(folder.root, evaluation, facts["name"], config.run.seed):
        progress.say(f"noted in MLflow run {run_id}")
    return str(folder / "report.html")
