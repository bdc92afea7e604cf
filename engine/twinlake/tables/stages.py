"""Runs the stages of a line in order and skips those that are done: the mechanism, not what the stages do.

A stage is fresh if it was finished for the same fingerprint: the config it reads, the artifacts it starts from, and the
fingerprints of the stages before it. A stage whose artifacts are gone (private ones are removed after success) is
redone only if a later stage that has to run reads them.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twinlake.core.config import Config
from twinlake.core.errors import CommitError, escaped
from twinlake.core.progress import Progress
from twinlake.tables.run_folder import RunFolder, fingerprint

Context = TypeVar("Context")


@dataclass(frozen=True)
class Stage(Generic[Context]):
    """`settings` of config and folder decide whether it is fresh; `reads`, `writes` are paths below the run folder."""

    name: str
    work: Callable[[Context], str]
    settings: Callable[[Config, RunFolder], Any]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def stages_to_run(folder: RunFolder, stages: Iterable[Stage[Context]], config: Config) -> list[Stage[Context]]:
    """The stages that are not fresh, and those that must make their artifacts again for them."""
    line = list(stages)
    chain = ""
    stale = not config.run.resume
    todo: list[Stage[Context]] = []
    for stage in line:
        if not stale:
            chain = fingerprint(stage.name, stage.settings(config, folder), chain)
            stale = not folder.stage_done(stage.name, chain) or any(
                not (folder / w).exists() for w in stage.writes if not w.startswith("private/")
            )
        if stale:
            todo.append(stage)
    for stage in reversed(line):
        missing = {path for other in todo for path in other.reads if not (folder / path).exists()}
        if stage not in todo and missing & set(stage.writes):
            todo.append(stage)
    return [stage for stage in line if stage in todo]


def run_stages(
    folder: RunFolder,
    stages: Iterable[Stage[Context]],
    todo: list[Stage[Context]],
    config: Config,
    context: Context,
    progress: Progress,
) -> dict[str, str]:
    """Runs `todo` in order and records each; returns stage -> "done" or "unchanged"."""
    chain = ""
    status = {}
    for stage in stages:
        if stage in todo:
            progress.stage(stage.name)
            folder.record(stage.name, status="running")
            start = time.monotonic()
            with disk_refusals(stage.name, folder):
                note = stage.work(context)
            # the settings are read after the work: a stage may depend on what the one before it has just written
            chain = fingerprint(stage.name, stage.settings(config, folder), chain)
            folder.record(stage.name, status="done", fingerprint=chain, seconds=round(time.monotonic() - start, 3))
            progress.update(1, 1, note)
        else:
            chain = fingerprint(stage.name, stage.settings(config, folder), chain)
        status[stage.name] = "done" if stage in todo else "unchanged"
    return status


@contextmanager
def disk_refusals(stage: str, folder: RunFolder) -> Iterator[None]:
    """A full or read-only disk is not a bug: running again resumes."""
    try:
        yield
    except OSError as error:
        denied = error.errno == errno.EACCES and str(error.filename).startswith(str(folder.root))
        if not denied and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise CommitError(
            f"{stage}: can't write in {escaped(str(folder.root))}: {error.strerror}; "
            f"{shutil.disk_usage(folder.root).free:,} bytes are free there; make room and run again, or choose another run.dir"
        ) from None
