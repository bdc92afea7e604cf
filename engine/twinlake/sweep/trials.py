"""One trial: a run folder of its own that takes over what the base has done, and the record that is left of it.

The pipeline decides by its fingerprints what is left to do: a setting of training leaves the encoding as it is, one of an
earlier stage makes that stage run again here. Knows nothing of what is tried next.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twinlake.core.config import Config
from twinlake.core.errors import DataError, GivenUp, UserError, escaped
from twinlake.evaluate.evaluate import Evaluation
from twinlake.sweep.record import Losses, Settings, Trial
from twinlake.sweep.space import Objective, changed
from twinlake.tables.parts import write_text
from twinlake.tables.run_folder import MARKER, RunFolder

RECORD = "trial.json"
RESULTS = (RECORD, "evaluation.json")
IMMUTABLE = (".parquet", ".npy", ".safetensors")  # published by a rename and never written again: a link is enough
SHARES = (0.25, 0.5, 0.75)
ENOUGH = 4  # earlier trainings that a median is taken of

Run = Callable[[Config, str], object]


def trial_folder(root: Path, number: int) -> RunFolder:
    """The run folder of a trial."""
    return RunFolder(root / "trials" / f"{number:04d}")


def trial_config(config: Config, settings: Settings, folder: Path) -> Config:
    """The config of a run in `folder` with `settings`; it publishes nothing elsewhere."""
    return changed(config, {"run.dir": str(folder), "run.resume": True, "output": {}, "sweep": {}, **settings})


def read_trials(root: Path) -> list[Trial]:
    """The trials that have ended, in order. Errors: DataError when a record can't be read."""
    found: list[Trial] = []
    while (file := trial_folder(root, len(found) + 1) / RECORD).is_file():
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
            losses = tuple((share, loss) for share, loss in raw.pop("losses"))
            found.append(Trial(**{**raw, "losses": losses, "given_up": raw["given_up"] and tuple(raw["given_up"])}))
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{escaped(str(file))} is damaged; remove the folder of the trial to run it again") from None
    return found


def write_trial(root: Path, trial: Trial) -> None:
    """Writes the record: from now on the trial has ended."""
    write_text(trial_folder(root, trial.number) / RECORD, json.dumps(asdict(trial), indent=1))


def run_trial(
    root: Path,
    base: RunFolder,
    config: Config,
    settings: Settings,
    objectives: Sequence[Objective],
    before: Sequence[Trial],
    run: Run,
) -> Trial:
    """Runs the trial after those `before` up to its evaluation. `run(config, last)` runs the line.

    An error that the user or the data caused ends the trial alone; others are raised.
    """
    number, start = len(before) + 1, time.monotonic()
    folder = trial_folder(root, number)
    take_over(base, folder)
    try:
        wanted = trial_config(config, settings, folder.root)
        run(wanted, "encode")
        codec: str = folder.state()["stages"]["encode"]["fingerprint"]
        limits = loss_limits(before, codec) if config.sweep.stop_early and len(objectives) == 1 else []
        run(changed(wanted, {"train.loss_limits": limits}), "evaluate")
        evaluation = Evaluation.from_json((folder / "evaluation.json").read_text(encoding="utf-8"))
        values = {o.name: o.read(evaluation) for o in objectives}
        return Trial(number, settings, _since(start), values, losses=_losses(folder), codec=codec)
    except GivenUp as error:
        return Trial(number, settings, _since(start), given_up=(error.share, error.loss))
    except (UserError, DataError) as error:
        return Trial(number, settings, _since(start), reason=str(error))


def take_over(base: RunFolder, folder: RunFolder) -> None:
    """Makes `folder` a run that has done what `base` has, unless it is one already. Large files are links."""
    if (folder / MARKER).is_file():
        return
    new = folder.root.with_name(f".{folder.root.name}.new")
    for old in (new, folder.root):
        shutil.rmtree(old, ignore_errors=True)
    skip = shutil.ignore_patterns(".*", "train", "train-*")
    shutil.copytree(base.root, new, copy_function=_link_or_copy, ignore=skip)
    new.rename(folder.root)


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith(IMMUTABLE):
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copy2(source, target)


def tidy(root: Path, trials: Sequence[Trial], best: Sequence[Trial]) -> None:
    """Leaves small results of the trials that are not among the `best`."""
    for trial in trials:
        if trial not in best:
            for path in trial_folder(root, trial.number).root.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name not in RESULTS:
                    path.unlink()


def loss_limits(before: Sequence[Trial], codec: str) -> list[list[float]]:
    """[share of the training, median of the best losses by then] over finished trials of the same encoding."""
    curves = [trial.losses for trial in before if trial.values and trial.losses and trial.codec == codec]
    limits = []
    for share in SHARES:
        reached = [min(loss for at, loss in curve if at <= share) for curve in curves if curve[0][0] <= share]
        if len(reached) >= ENOUGH:
            limits.append([share, statistics.median(reached)])
    return limits


def _losses(folder: RunFolder) -> Losses:
    history: list[dict[str, Any]] = json.loads((folder.model / "model.json").read_text(encoding="utf-8"))["history"]
    return tuple((h["step"] / h["steps"], h["validation_loss"]) for h in history)


def _since(start: float) -> float:
    return round(time.monotonic() - start, 1)
