"""The verbs on DataFrames, for notebooks and other programs. `twinlake` re-exports them; each is a thin door to a room."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from twinlake.classify.classify import classify_table
from twinlake.classify.detector import Detector
from twinlake.classify.labels import Labels
from twinlake.core.config import Config, ModelConfig, TrainConfig, load_config
from twinlake.core.errors import ConfigError, nearest
from twinlake.core.keys import Keyring, ephemeral_keyring, resolve_keys
from twinlake.core.progress import Progress, opened
from twinlake.core.seeds import derive
from twinlake.evaluate.evaluate import Evaluation
from twinlake.generate.model import Model
from twinlake.profile.profile import profile_table
from twinlake.profile.types import Profile
from twinlake.transform.apply import apply_plan
from twinlake.transform.plan import Plan, make_plan
from twinlake.transform.policy import Policy, load_policy

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from twinlake.evaluate.drift import Drift
    from twinlake.evaluate.results import RunResult
    from twinlake.sweep.sweep import SweepResult

__all__ = [
    "Model",
    "classify",
    "drift",
    "evaluate",
    "fit",
    "plan",
    "profile",
    "register",
    "restore",
    "run",
    "sweep",
    "transform",
]


def run(
    config: Config | Mapping[str, Any] | str | Path,
    spark: SparkSession | None = None,
    progress: Progress | None = None,
    detectors: Mapping[str, Detector] | None = None,
) -> RunResult:
    """Makes a twin: the whole line. `config` is a Config, a dict of its keys, or the path of a YAML file.

    `detectors` are added to the built-in ones, by entity.
    Errors: the tree of twinlake.core.errors.
    """
    from twinlake import pipeline

    settled = _settled(config)
    with nullcontext(progress) if progress is not None else opened() as shown:
        return pipeline.run(settled, spark, shown, detectors=detectors)


def sweep(
    config: Config | Mapping[str, Any] | str | Path,
    spark: SparkSession | None = None,
    progress: Progress | None = None,
    detectors: Mapping[str, Detector] | None = None,
) -> SweepResult:
    """Tries the settings that `sweep.parameters` of the config names, for the best `sweep.objective`; arguments as in `run`.

    Needs the extra twinlake[sweep]. A sweep that was cut off goes on where it was. Errors: as `run`.
    """
    from twinlake.sweep.sweep import sweep as run_sweep

    settled = _settled(config)
    with nullcontext(progress) if progress is not None else opened() as shown:
        return run_sweep(settled, spark, shown, detectors)


def _settled(config: Config | Mapping[str, Any] | str | Path) -> Config:
    if isinstance(config, Config):
        return config
    return load_config(config) if isinstance(config, str | Path) else load_config(base=dict(config))


def profile(df: DataFrame, min_people: int = 10) -> Profile:
    """Statistics of each column, without values held by fewer than `min_people` rows."""
    return profile_table(_checked(df), None, min_people)


def classify(
    df: DataFrame,
    sample_rows: int = 10_000,
    detectors: Mapping[str, Detector] | None = None,
    full_scan: bool = False,
    ner: bool = False,
) -> Labels:
    """Which personal data each column holds. `detectors` are added to the built-in ones; `full_scan` looks at all rows;
    `ner` searches text for names and places too (the extra twinlake[ner])."""
    from twinlake.classify.detectors import DETECTORS

    known = {**DETECTORS, **(detectors or {})}
    return classify_table(_checked(df), sample_rows, detectors=known, full_scan=full_scan, ner=ner)


def plan(
    profile: Profile,
    labels: Labels,
    policy: Policy | Mapping[str, Any] | str | Path | None = None,
    tags: Mapping[str, Sequence[str]] | None = None,
) -> Plan:
    """What happens to each column. `policy`: rules, a YAML file, a ready one's name such as `gdpr`, or None for the
    default. `tags`: column -> its tags, for rules that select by tag."""
    return make_plan(profile, labels, policy if isinstance(policy, Policy) else load_policy(policy), tags=tags)


def restore(df: DataFrame, plan: Plan, keys: Mapping[str, str] | Keyring) -> DataFrame:
    """`df`, protected by `plan`, with what was encrypted turned back; lazy. Errors: KeyReferenceError without the keys."""
    from twinlake.transform.restore import restore_plan

    return restore_plan(df, plan, keys if isinstance(keys, Keyring) else resolve_keys(keys))


def transform(df: DataFrame, plan: Plan, keys: Mapping[str, str] | Keyring | None = None) -> DataFrame:
    """`df` as planned; lazy. `keys`: references such as {"pseudonyms": "env:TWINLAKE_KEY"}; without them a random key of
    this call makes surrogates that can't be repeated."""
    if isinstance(keys, Keyring):
        return apply_plan(df, plan, keys)
    return apply_plan(df, plan, resolve_keys(keys) if keys else ephemeral_keyring(plan.key_names()))


def fit(
    df: DataFrame,
    family: str = "tabular",
    *,
    plan: Plan | None = None,
    path: str | Path | None = None,
    size: str = "auto",
    seed: int = 7,
    min_people: int = 10,
    start_from: Model | str | Path | None = None,
    progress: Progress | None = None,
    **train: Any,
) -> Model:
    """Trains a model on `df`, which should hold no personal data any more (see `transform`).

    `plan` tells how columns were transformed, so that surrogates are drawn and not modelled. `path`: where the model goes
    (default: a new temporary folder); executors must be able to read it. `start_from`: a model of an earlier day, whose weights
    are used where columns agree. `train`: keys of the config's train section.
    """
    from twinlake.train.frame import fit_frame

    families = get_args(ModelConfig.model_fields["family"].annotation)
    if family not in families:
        raise ConfigError(f"unknown model family {family!r}{nearest(family, families)}; known: {', '.join(families)}")
    out = Path(path) if path is not None else Path(tempfile.mkdtemp(prefix="twinlake-")) / "model"
    earlier = start_from.path if isinstance(start_from, Model) else start_from
    chosen = {"family": family, "size": size, "start_from": None if earlier is None else str(earlier)}
    settings = load_config(base={"model": chosen, "train": train})
    model: ModelConfig = settings.model
    training: TrainConfig = settings.train
    fit_frame(_checked(df), plan, out, model, training, derive(seed, "model"), min_people, progress)
    return Model.load(out)


def register(spark: SparkSession) -> None:
    """Makes `spark.read.format("twinlake")` known to a session: rows of a model folder, and SQL over them."""
    from twinlake.generate.source import register as register_source

    register_source(spark)


def evaluate(
    real: DataFrame,
    synthetic: DataFrame,
    holdout: DataFrame | None = None,
    target: str | None = None,
    seed: int = 7,
    protected: Sequence[str] | str = (),
    positive: str | None = None,
    secrets: Sequence[str] | str = (),
) -> Evaluation:
    """Every metric of `synthetic` against `real` (the rows trained on), beside the same metric of `holdout` rows.

    `target`: what models should predict; `protected`: columns whose groups they should treat alike, when the target has two
    classes, of which `positive` is the favoured one (default: the rarer); `secrets`: columns that attackers try to guess
    (default: the target, the protected and the first ones). Errors: ConfigError for a column that is not there.
    """
    from twinlake.evaluate.frame import evaluate_frames

    names, hidden = ([x] if isinstance(x, str) else x for x in (protected, secrets))
    return evaluate_frames(_checked(real), synthetic, holdout, target, seed, protected=names, positive=positive, secrets=hidden)


def drift(first: DataFrame, second: DataFrame, seed: int = 7) -> Drift:
    """How far `second` has moved from `first`: column by column and pair by pair, beside what chance does."""
    from twinlake.evaluate.drift_tables import drift_of_frames

    return drift_of_frames(_checked(first), _checked(second), seed)


def _checked(df: DataFrame) -> DataFrame:
    """`df` with accepted names and types. Errors: TableError."""
    from twinlake.tables.source import checked

    return checked(df.sparkSession, df, "frame").df
