"""The plan and transform stages of a run: profile.json and labels.json -> plan.yaml -> protected/ and private/holdout/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twinlake.classify.custom import custom_detectors
from twinlake.classify.detector import Detector
from twinlake.classify.stage import read_labels
from twinlake.core.config import Config
from twinlake.core.progress import Progress
from twinlake.profile.stage import read_profile, split_in
from twinlake.tables.parts import write_text
from twinlake.tables.run_folder import RunFolder
from twinlake.tables.source import Source, open_holdout
from twinlake.transform.plan import Plan, make_plan, plan_diff
from twinlake.transform.policy import load_policy
from twinlake.transform.protect import protect_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Detectors = Mapping[str, Detector] | None


def plan_run(folder: RunFolder, config: Config, detectors: Detectors = None) -> str:
    """Writes what happens to each column; may be edited by hand before going on. Returns a line about it."""
    made = plan_of(folder, config, detectors)
    write_text(folder / "plan.yaml", made.to_yaml())
    changed = [c.name for c in made.columns if c.transform != "keep"]
    return f"{len(changed)} of {len(made.columns)} columns are transformed"


def plan_change(folder: RunFolder, config: Config, detectors: Detectors = None) -> str:
    """What `plan_run` would write, as a diff from the plan.yaml that is there, or from the table as it is."""
    file = folder / "plan.yaml"
    old = Plan.from_yaml(file.read_text(encoding="utf-8"), str(file)) if file.is_file() else None
    return plan_diff(old, plan_of(folder, config, detectors))


def transform_run(
    spark: SparkSession,
    folder: RunFolder,
    source: Source,
    config: Config,
    progress: Progress,
    detectors: Detectors = None,
) -> str:
    """Applies the plan to train and holdout rows; returns a line about it."""
    holdout, plan = open_holdout(spark, config.holdout, source), read_plan(folder, source)
    train, held_out = protect_run(
        folder, source.df, holdout, plan, config.keys, split_in(config), progress, config.run.resume, _own(config, detectors)
    )
    return f"{train:,} train rows, {held_out:,} held out"


def read_plan(folder: RunFolder, source: Source) -> Plan:
    """The plan as it stands in the folder, checked to be for this table. Errors: PolicyError."""
    table = [(f.name, f.dataType.simpleString()) for f in source.df.schema.fields]
    file = folder / "plan.yaml"
    return Plan.from_yaml(file.read_text(encoding="utf-8"), str(file), table)


def plan_of(folder: RunFolder, config: Config, detectors: Detectors = None) -> Plan:
    """What the policy decides for the profiled and classified table of a run."""
    policy, tags = load_policy(config.policy), folder.state().get("tags")
    return make_plan(read_profile(folder), read_labels(folder), policy, detectors=_own(config, detectors), tags=tags)


def _own(config: Config, detectors: Detectors) -> dict[str, Detector]:
    """The detectors of the config and those given in Python, without the built-in ones."""
    return {**custom_detectors(config.classify.detectors), **(detectors or {})}
