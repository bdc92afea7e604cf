"""Writes a DataFrame into a new folder that others can't look into: for rows that leave the run folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from twinlake.core.errors import CommitError, ConfigError, escaped

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def check_new_folder(out: Path, apart_from: Path) -> None:
    """Errors: ConfigError unless `out` can be made, and lies outside the folder `apart_from`."""
    if out.exists():
        raise ConfigError(f"--out {escaped(str(out))} exists already; give a folder that does not")
    if out.resolve().is_relative_to(apart_from.resolve()):
        raise ConfigError(
            f"--out {escaped(str(out))} is inside the run folder, whose protected rows may be shared; choose another"
        )
    if not out.parent.is_dir():
        raise ConfigError(f"--out {escaped(str(out))}: there is no folder {escaped(str(out.parent))}; make it first")


def write_new_folder(rows: DataFrame, out: Path) -> None:
    """The rows as Parquet in `out`, mode 0700, also while they are written; nothing stays after a failure.

    Errors: CommitError.
    """
    staging = out.with_name(f".{out.name}.writing")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
    except OSError as error:
        raise CommitError(f"can't write {escaped(str(out))}: {error.strerror}; choose another folder") from None
    try:
        rows.write.parquet(str(staging / "rows"))
        os.chmod(staging / "rows", 0o700)
        (staging / "rows").rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
