"""Keeps what Spark's JVM, Ray and native libraries print off the user's terminal: it goes to a log file instead.

Works on file descriptors, so it holds for the JVM (a child process that inherits them), for C++ code and for Python
loggers alike, without touching anyone's logging settings. Knows nothing of Spark's own configuration: a session that
exists already keeps the log that it started with.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_visible: list[TextIO] = []


@contextmanager
def quiet_jvm(log_path: Path | None) -> Iterator[TextIO]:
    """Sends file descriptors 1 and 2 to `log_path` (created for its owner alone) and yields the caller's own stderr.

    What is to be seen is written to the yielded stream; everything else that reaches stdout or stderr inside the block
    lands in the log, and child processes started inside keep writing there after it. None changes nothing, and inside
    another such block the outer log stays.
    """
    if log_path is None or _visible:
        yield _visible[-1] if _visible else sys.stderr
        return
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _flush()
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    visible = _own_stream(saved[2])
    try:
        for descriptor in saved:
            os.dup2(log, descriptor)
        _visible.append(visible)
        yield visible
    finally:
        _visible.clear()
        visible.flush()
        _flush()
        for descriptor, copy in saved.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(log)


def _own_stream(copy: int) -> TextIO:
    """A text stream on `copy`, or the present sys.stderr where that isn't file descriptor 2 (notebooks, tests)."""
    try:
        on_two = sys.stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):
        on_two = False
    return open(copy, "w", encoding="utf-8", errors="backslashreplace", closefd=False) if on_two else sys.stderr


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
