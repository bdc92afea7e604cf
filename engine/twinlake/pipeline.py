"""The straight line: table -> profile -> labels -> plan -> protected table -> tokens -> model -> twin -> evaluation -> report.

Each stage reads artifacts of earlier stages from the run folder and writes its own (DESIGN section 1); the order, and what
each stage reads and writes, is the table `LINE` at the end. `run` is the whole line or its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twinlake.classify.custom import with_names
from twinlake.classify.detector import Detector
from twinlake.classify.ner import check_ner
from twinlake.classify.stage import classify_run
from twinlake.core.config import Config, config_hash
from twinlake.core.progress import Progress, Silent
from twinlake.evaluate.results import RunResult, describe, record_texts, result_of, verify, versions
from twinlake.evaluate.stage import check_columns, evaluate_run, report_run
from twinlake.generate.stage import check_steering, generate_run
from twinlake.models.encode import encode_run
from twinlake.models.store import model_identity
from twinlake.profile.stage import profile_run, read_profile
from twinlake.tables.parts import file_hash
from twinlake.tables.people import check_unit
from twinlake.tables.run_folder import RunFolder, locked, open_folder
from twinlake.tables.session import open_session, stop_session
from twinlake.tables.source import Source, check_request, default_name, open_source, snapshots
from twinlake.tables.spark_errors import spark_errors
from twinlake.tables.split import rows_of_units
from twinlake.tables.stages import Stage, run_stages, stages_to_run
from twinlake.train.cost import run_cost
from twinlake.train.fit import train_run
from twinlake.train.ledger import LEDGER
from twinlake.train.private_codec import encode_privately
from twinlake.transform.plan import tags_of
from twinlake.transform.policy import policy_text
from twinlake.transform.stage import plan_change, plan_run, read_plan, transform_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["STAGES", "RunResult", "describe", "dry_run", "run", "verify"]


@dataclass
class Run:
    """What every stage gets: the config, the run folder, who to tell, and the session and source once they are needed."""

    config: Config
    folder: RunFolder
    progress: Progress
    spark: SparkSession
    source: Source
    detectors: Mapping[str, Detector] | None = None


def profile(run: Run) -> str:
    """profile.json: statistics of the train rows, rare values left out."""
    return profile_run(run.folder, run.source, run.config, run.progress)


def classify(run: Run) -> str:
    """labels.json: which personal data each column holds; labels.sql: tags and masks to review."""
    return classify_run(run.folder, run.source, run.config, run.detectors)


def plan(run: Run) -> str:
    """plan.yaml: what happens to each column; may be edited by hand before going on."""
    return plan_run(run.folder, run.config, run.detectors)


def transform(run: Run) -> str:
    """protected/ and private/holdout/: the plan applied to train and holdout rows."""
    return transform_run(run.spark, run.folder, run.source, run.config, run.progress, run.detectors)


def encode(run: Run) -> str:
    """codec.json, private/encoded/ and pairs.npz: the protected rows as tokens, and their counts. With a privacy budget also
    ledger.json, which says how much of it was spent on what."""
    if run.config.privacy.epsilon is not None:
        decimals = {c.name: c.decimals for c in read_profile(run.folder).columns}
        return encode_privately(run.spark, run.folder, read_plan(run.folder, run.source), decimals, run.config)
    (run.folder / LEDGER).unlink(missing_ok=True)  # an earlier run in this folder may have had a budget
    return encode_run(run.spark, run.folder, read_plan(run.folder, run.source), run.config)


def train(run: Run) -> str:
    """model/: the network, trained by Ray Train workers on the token shards."""
    return train_run(run.folder, run.config, run.progress)


def generate(run: Run) -> str:
    """synthetic/: the twin, drawn on executors, published in one rename."""
    return generate_run(run.spark, run.folder, run.config, run.progress)


def evaluate(run: Run) -> str:
    """evaluation.json: every metric beside the same number for real holdout rows."""
    return evaluate_run(run.spark, run.folder, run.config, run.progress)


def report(run: Run) -> str:
    """report.html: one page that opens offline; report.md: the same in short."""
    return report_run(run.folder, run.config, run.source.name, run.progress)


# fmt: off
# name, work, the settings that it depends on, what it reads, what it writes
LINE: tuple[Stage[Run], ...] = (
    Stage("profile", profile,
          lambda c, f: [snapshots(c), c.source.model_dump(), c.holdout.model_dump(), c.run.seed, c.privacy.min_people,
                        c.privacy.unit, c.privacy.rows_per_unit if c.privacy.person else None],
          (), ("profile.json",)),
    Stage("classify", classify, lambda c, f: c.classify.model_dump(), ("profile.json",), ("labels.json", "labels.sql")),
    Stage("plan", plan, lambda c, f: policy_text(c.policy), ("profile.json", "labels.json"), ("plan.yaml",)),
    Stage("transform", transform, lambda c, f: [c.keys, file_hash(f / "plan.yaml")],
          ("plan.yaml",), ("protected", "private/holdout")),
    Stage("encode", encode,
          lambda c, f: [model_identity(c.model.start_from), c.model.family, *c.model.language.script(), *c.model.llm.script(),
                        c.privacy.model_dump() if c.privacy.epsilon is not None else None],
          ("protected", "private/holdout"),
          ("codec.json", "private/encoded", "private/pairs.npz", "private/holdout.npz")),
    Stage("train", train, lambda c, f: [c.model.model_dump(), c.train.epochs, c.train.max_minutes],
          ("private/encoded", "private/pairs.npz"), ("model",)),
    Stage("generate", generate,
          lambda c, f: [c.generate.model_dump(exclude={"partitions", "strict_kernel"}), c.output.model_dump(),
                        c.privacy.filters.model_dump()],
          ("model", "protected"), ("synthetic",)),
    Stage("evaluate", evaluate, lambda c, f: c.evaluate.model_dump(),
          ("protected", "private/holdout", "private/pairs.npz", "private/holdout.npz", "synthetic"), ("evaluation.json",)),
    Stage("report", report, lambda c, f: c.run.name, ("evaluation.json", "private/pairs.npz", "synthetic"),
          ("report.html", "report.md")),
)
# fmt: on
STAGES = tuple(stage.name for stage in LINE)


def run(
    config: Config,
    spark: SparkSession | None = None,
    progress: Progress | None = None,
    last: str = "report",
    detectors: Mapping[str, Detector] | None = None,
) -> RunResult:
    """Runs the line up to `last`, skipping stages that are done for the same config, source and artifacts.

    `spark`: the session to use (classic or Connect, its settings stay); else the active one or a local one for this run.
    `detectors`: added to the built-in ones, by entity.
    Errors: the tree of core/errors.py. After the whole line everything private is removed unless run.keep_private.
    """
    progress = progress or Silent()
    if detectors:
        config = with_names(config, detectors)
    folder = open_folder(config.run.dir or f"runs/{config.run.name or default_name(config.source)}")
    check_request(config, folder.root)
    if config.classify.ner:
        check_ner()
    if config.model.family == "llm":
        from twinlake.models.base_model import check_base

        check_base(config.model.llm.path)
    stages = LINE[: STAGES.index(last) + 1]
    with locked(folder):
        todo = stages_to_run(folder, stages, config)
        if not todo:
            _end(folder, config, last)  # an earlier run may have kept it, or died before it was removed
            return result_of(folder, dict.fromkeys((s.name for s in stages), "unchanged"))
        folder.update(config=config.model_dump(), config_hash=config_hash(config), seed=config.run.seed, versions=versions())
        own = spark or open_session()
        try:
            with spark_errors("run"):
                source = open_source(own, config.source)
                if config.privacy.person is not None:
                    rows = rows_of_units(source.df, config.privacy.person, config.privacy.rows_per_unit, config.run.seed)
                    source = replace(source, df=rows)
                for warning in source.warnings:
                    progress.say(f"warning: {warning}")
                check_steering(config, source.df)
                check_unit(config, source.df.schema)
                check_columns(source.df.schema, config.evaluate.target, config.evaluate.protected, config.evaluate.secrets)
                tags = tags_of({f.name: f.metadata for f in source.df.schema.fields})
                folder.update(warnings=list(source.warnings), tags=tags)
                line = Run(config, folder, progress, own, source, detectors)
                status = run_stages(folder, stages, todo, config, line, progress)
        finally:
            if spark is None:
                stop_session(own)
        record_texts(folder)
        _end(folder, config, last)
        return result_of(folder, status)


def _end(folder: RunFolder, config: Config, last: str) -> None:
    """What is private goes with the end of the line."""
    if last == "report" and not config.run.keep_private:
        folder.drop_private()


def dry_run(config: Config, spark: SparkSession | None = None, progress: Progress | None = None, cost: bool = False) -> str:
    """What `plan` would decide, as a diff from the run's plan.yaml or from the table as it is; with `cost`, what the run will
    take. Profiles and classifies; writes no plan."""
    folder = RunFolder(run(config, spark, progress, last="classify").run_dir)
    return run_cost(folder, config) if cost else plan_change(folder, config)
