"""`twinlake sweep`: trials of the run with other settings, one after another, in one Spark session.

    <run.dir>/
      sweep.json      what is varied and reached for; a folder goes on for the same alone
      base/           a run up to its encoding, which every trial starts from
      trials/0001/    trial.json and evaluation.json; of the best also the whole run, model and twin
      trials.csv, best.yaml, sweep.html

Each trial that has ended has a record; what comes next follows from the records alone, so a sweep that was cut off goes on
as if it had not been.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinlake import pipeline
from twinlake.classify.detector import Detector
from twinlake.core.config import Config, config_hash, dump_config
from twinlake.core.errors import ConfigError, DataError, escaped
from twinlake.core.progress import Progress, Silent
from twinlake.sweep.page import summary_text, trials_csv, write_page
from twinlake.sweep.ranking import front
from twinlake.sweep.record import Settings, Trial
from twinlake.sweep.space import (
    Dimension,
    Objective,
    changed,
    check_optuna,
    read_objectives,
    read_space,
    suggest,
    told,
    variants,
)
from twinlake.sweep.trials import (
    read_trials,
    run_trial,
    tidy,
    trial_config,
    trial_folder,
    write_trial,
)
from twinlake.tables.parts import write_text
from twinlake.tables.run_folder import RunFolder, locked, open_folder
from twinlake.tables.session import open_session, stop_session
from twinlake.tables.source import default_name
from twinlake.tables.stages import disk_refusals
from twinlake.train.cluster import ray_cluster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SWEEP = "sweep.json"
PATIENCE = 5  # trials that may fail before any has finished


@dataclass(frozen=True)
class SweepResult:
    """What a sweep gives back. `best`: the best trial, by several objectives the Pareto front, best rank sum first."""

    folder: Path
    trials: tuple[Trial, ...]
    best: tuple[Trial, ...]
    objectives: tuple[Objective, ...]
    config: Path
    page: Path

    def summary(self) -> str:
        """The trials as a text table, best first, and where things are."""
        return summary_text(self.folder, self.trials, self.best, self.objectives)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.summary())}</pre>"


class _Within(Silent):
    """Shows the stages of a trial as the progress of one."""

    def __init__(self, outer: Progress) -> None:
        self._outer, self._stage = outer, ""

    def stage(self, name: str, detail: str = "") -> None:
        """Names the stage beside the trial."""
        self._stage = name
        self._outer.update(0, 0, name)

    def update(self, done: float, total: float, note: str = "") -> None:
        """The stage's own words, while it works."""
        if done < total or not total:
            self._outer.update(done, total, f"{self._stage} {note}".rstrip())


def sweep(
    config: Config,
    spark: SparkSession | None = None,
    progress: Progress | None = None,
    detectors: Mapping[str, Detector] | None = None,
) -> SweepResult:
    """Runs the trials that `config.sweep` asks for and that have not ended before; see docs/sweep.md.

    Errors: ConfigError (before any work: parameters, objective, a folder of another sweep), DataError (no trial finished), and
    those of pipeline.run that are not of one trial's settings.
    """
    progress = progress or Silent()
    check_optuna()
    space, objectives = read_space(config), read_objectives(config.sweep)
    folder = open_folder(config.run.dir or f"runs/{config.run.name or default_name(config.source)}-sweep", SWEEP)
    run = partial(pipeline.run, spark=spark, detectors=detectors)
    with locked(folder), disk_refusals("sweep", folder), ExitStack() as at_end:
        if not config.run.resume:
            shutil.rmtree(folder / "trials", ignore_errors=True)
            folder.update(sweep=None)
        _check_same(folder, _identity(config))
        trials = read_trials(folder.root)
        following = partial(_following, space, objectives, config)
        work = following(trials) is not None
        if work and spark is None:
            session = open_session()
            at_end.callback(stop_session, session)
            run = partial(run, spark=session)
        base = _base(folder, config, space, partial(run, progress=progress), work)
        if work:
            at_end.enter_context(ray_cluster(config.train.ray_address))
            _trials(folder, base, config, objectives, trials, following, run, progress)
        best = front(trials, objectives)
        for trial in best:  # what is private goes with the report, as at the end of any run
            run(trial_config(config, trial.settings, trial_folder(folder.root, trial.number).root))
        if not config.run.keep_private:
            base.drop_private()
        if not best:
            raise DataError(
                f"no trial finished; the first: {trials[0].reason}" if trials else "no trial began: sweep.max_minutes"
            )
        _write_best(folder, config, trials, best, objectives, space)
        page = write_page(folder / "sweep.html", folder.root.name, trials, best, objectives, space)
        return SweepResult(folder.root, tuple(trials), tuple(best), objectives, folder / "best.yaml", page)


def _identity(config: Config) -> dict[str, Any]:
    """What a sweep is of: another one needs another folder."""
    fixed: Settings = {
        "run.name": None,
        "run.dir": None,
        "run.resume": True,
        "run.keep_private": False,
        "sweep": {},
        "output": {},
    }
    parameters = {name: parameter.model_dump() for name, parameter in config.sweep.parameters.items()}
    return {"parameters": parameters, "objective": config.sweep.objective, "settings": config_hash(changed(config, fixed))}


def _check_same(folder: RunFolder, now: dict[str, Any]) -> None:
    """Errors: ConfigError when the folder is of another sweep; else notes of which it is."""
    was = {**(folder.state().get("sweep") or {})}
    if differ := [name for name in now if name in was and was[name] != json.loads(json.dumps(now[name]))]:
        raise ConfigError(
            f"run.dir {escaped(str(folder.root))} has trials of a sweep with other {' and '.join(differ)}; "
            "set another run.dir, or drop them with run.resume=false"
        )
    folder.update(sweep={**was, **now})


def _base(folder: RunFolder, config: Config, space: Sequence[Dimension], run: Callable[..., Any], work: bool) -> RunFolder:
    """The run that all trials start from, up to its encoding; trained too where no parameter touches the training."""
    base = RunFolder(folder / "base")
    wanted = trial_config(config, {}, base.root)
    if work and (base / "protected").is_dir() and not base.private.is_dir():
        shutil.rmtree(base / "protected")  # the sweep had ended: what was private is made again
    line = pipeline.LINE[: pipeline.STAGES.index("train") + 1]
    run(wanted if config.run.resume else changed(wanted, {"run.resume": False}), last="encode")
    _check_same(folder, {"rows or plan": base.state()["stages"]["encode"]["fingerprint"]})
    if work:
        settings = [[stage.settings(one, base) for stage in line] for one in (config, *variants(config, space))]
        if all(other == settings[0] for other in settings):
            run(wanted, last="train")
    return base


def _following(
    space: Sequence[Dimension], objectives: Sequence[Objective], config: Config, trials: Sequence[Trial]
) -> Settings | None:
    """The settings of the next trial; None when there is none to come."""
    number = len(trials) + 1
    return suggest(space, objectives, trials, config.run.seed, number) if number <= config.sweep.trials else None


def _trials(
    folder: RunFolder,
    base: RunFolder,
    config: Config,
    objectives: Sequence[Objective],
    trials: list[Trial],
    following: Callable[[Sequence[Trial]], Settings | None],
    run: Callable[..., Any],
    progress: Progress,
) -> None:
    """Runs what is left and appends it to `trials`, up to the end, the time limit, or `PATIENCE` without a success."""
    start, within = time.monotonic(), _Within(progress)

    def run_line(wanted: Config, last: str) -> None:
        run(wanted, last=last, progress=within)

    while (settings := following(trials)) is not None:
        if config.sweep.max_minutes is not None and time.monotonic() - start > 60 * config.sweep.max_minutes:
            progress.say(f"sweep.max_minutes is over; {len(trials)} of {config.sweep.trials} trials have ended")
            return
        progress.stage(f"trial {len(trials) + 1}", _told(settings))
        trial = run_trial(folder.root, base, config, settings, objectives, trials, run_line)
        write_trial(folder.root, trial)
        trials.append(trial)
        best = front(trials, objectives)
        tidy(folder.root, trials, best)
        progress.update(1, 1, f"{_told(settings)}  {_ended(trial)}; {_best(best)}")
        if not best and len(trials) >= PATIENCE:
            return
    if len(trials) < config.sweep.trials:
        progress.say(f"all {len(trials)} settings were tried")


def _told(settings: Settings) -> str:
    return escaped(", ".join(f"{name.rpartition('.')[2]} {told(value)}" for name, value in settings.items()))


def _ended(trial: Trial) -> str:
    if trial.values:
        return ", ".join(f"{name} {value:.4g}" for name, value in trial.values.items())
    if trial.given_up:
        return f"given up after {trial.given_up[0]:.0%} of the training"
    return f"failed: {escaped(trial.reason or '')}"


def _best(best: Sequence[Trial]) -> str:
    if not best:
        return "none finished yet"
    if len(best[0].values) == 1:
        return f"best {next(iter(best[0].values.values())):.4g} (trial {best[0].number})"
    return f"not beaten: trials {', '.join(str(trial.number) for trial in best)}"


def _write_best(
    folder: RunFolder,
    config: Config,
    trials: Sequence[Trial],
    best: Sequence[Trial],
    objectives: Sequence[Objective],
    space: Sequence[Dimension],
) -> None:
    """trials.csv, and best.yaml: the config of the first of the best, whose run it goes on with."""
    write_text(folder / "trials.csv", trials_csv(trials, objectives, space))
    place = trial_folder(folder.root, best[0].number).root
    chosen = changed(config, {"run.dir": str(place), "run.resume": True, "sweep": {}, **best[0].settings})
    head = (
        f"# trial {best[0].number} of {len(trials)}; run.dir is its run: `twinlake generate --config` goes on from its model\n"
    )
    write_text(folder / "best.yaml", head + dump_config(chosen))
