"""Rows written so far, and how many of them are invalid, read off the staging folder while tasks run: works on every kind of
session."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twinlake.core.progress import Progress


@contextmanager
def watching(staging: Path, rows: int, progress: Progress, interval: float = 0.5) -> Iterator[None]:
    """Reports the rows of finished parts to `progress` until the block ends; and of models that check each row, how many
    are not valid."""
    done = threading.Event()

    def show() -> None:
        known: dict[str, int] = {}
        invalid: list[int] = []
        while True:
            ended = done.wait(interval)
            for file in staging.glob("part-*.json"):
                if file.name not in known:
                    try:
                        part = json.loads(file.read_text())
                        known[file.name] = int(part["rows"])
                        invalid += [part["facts"]["invalid"]] if "invalid" in part["facts"] else []
                    except (OSError, ValueError, KeyError):
                        continue
            written = min(rows, sum(known.values()))
            checked = f", {sum(invalid):,} invalid" if invalid else ""
            progress.update(written, rows, f"{written:,} of {rows:,} rows{checked}")
            if ended:
                return

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
