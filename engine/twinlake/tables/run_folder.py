"""The run folder: where each artifact lives, which stages are done, and for which inputs.

A stage is done for a fingerprint: the hash of the config it reads and of the artifacts it starts from. A rerun with the
same fingerprint does nothing; a changed config redoes the stages whose fingerprint changed and those after them. One
process writes a run folder at a time (a lock that dies with its holder). Knows nothing of what the stages do.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinlake.core.errors import CommitError, ConfigError, DataError, escaped
from twinlake.tables.parts import write_text

MARKER = "run.json"
LOCK = ".lock"


@dataclass(frozen=True)
class RunFolder:
    """Paths of the artifacts of one run (DESIGN section 1). `marker`: the file that says what the folder is, and its state."""

    root: Path
    marker: str = MARKER

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    @property
    def protected(self) -> Path:
        """The transformed train rows."""
        return self.root / "protected"

    @property
    def private(self) -> Path:
        """What can be turned back into real rows; mode 0700."""
        return self.root / "private"

    @property
    def holdout(self) -> Path:
        """The transformed holdout rows."""
        return self.private / "holdout"

    @property
    def encoded(self) -> Path:
        """The token shards of the train rows."""
        return self.private / "encoded"

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.root / "model"

    @property
    def synthetic(self) -> Path:
        """The twin."""
        return self.root / "synthetic"

    def staging(self, name: str) -> Path:
        """A folder for unfinished output of the stage that writes `name`; made if missing."""
        path = self.root / f".staging-{name}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def state(self) -> dict[str, Any]:
        """The content of the marker; empty for a new folder. Errors: DataError when it can't be read."""
        file = self.root / self.marker
        if not file.is_file():
            return {}
        try:
            state: dict[str, Any] = json.loads(file.read_text())
        except ValueError:
            raise DataError(f"{escaped(str(file))} is damaged; remove the run folder to start again") from None
        return state

    def update(self, **values: Any) -> None:
        """Sets top-level keys of the marker."""
        write_text(self.root / self.marker, json.dumps({**self.state(), **values}, indent=1, sort_keys=True))

    def stage_done(self, stage: str, fingerprint: str) -> bool:
        """Whether `stage` was finished for this fingerprint."""
        entry = self.state().get("stages", {}).get(stage, {})
        return bool(entry.get("fingerprint") == fingerprint and entry.get("status") == "done")

    def record(self, stage: str, **entry: Any) -> None:
        """Sets the status of a stage."""
        stages = self.state().get("stages", {})
        self.update(stages={**stages, stage: entry})

    def drop_private(self) -> None:
        """Removes everything that can be turned back into real rows."""
        shutil.rmtree(self.private, ignore_errors=True)


def open_folder(root: str | Path, marker: str = MARKER) -> RunFolder:
    """The folder of a run (by `marker`, of a sweep) at `root`, made if missing; `locked` marks it as ours.

    Errors: ConfigError for a foreign or unwritable folder.
    """
    path = Path(root).absolute()
    if path.exists() and not path.is_dir():
        raise ConfigError(f"run.dir {escaped(str(path))} is a file; give a folder")
    if path.is_dir() and not (path / marker).is_file() and any(not _is_ours(file.name, marker) for file in path.iterdir()):
        what = Path(marker).stem
        raise ConfigError(
            f"run.dir {escaped(str(path))} holds files that are not of a {what}; choose another folder or empty it"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        folder = RunFolder(path, marker)
        if folder.private.is_dir():
            os.chmod(folder.private, 0o700)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(0, "permission denied")
    except OSError as error:
        raise ConfigError(f"run.dir {escaped(str(path))} can't be written: {error.strerror}; set run.dir") from None
    return folder


def _is_ours(name: str, marker: str) -> bool:
    """What a run that is just starting, or was killed then, may have put in the folder before its marker."""
    return name in (LOCK, marker) or name.startswith(f".{marker}.")


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Holds the folder for this process, and marks a new one as ours.

    Errors: CommitError when another process has it.
    """
    with open(folder.root / LOCK, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommitError(
                f"another run is writing {escaped(str(folder.root))}; wait for it, or set another run.dir"
            ) from None
        if not (folder.root / folder.marker).is_file():
            folder.update(format=1)
        yield


def fingerprint(*parts: Any) -> str:
    """A hash of plain values: the identity of a stage's inputs."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
