"""Finding, waiting for and killing processes, for tests of faults."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import psutil


def wait_for(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    """Returns once `condition()` holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def descendants(of: int | None, *names: str) -> list[psutil.Process]:
    """Processes below process `of` (None: this one) whose command line holds one of `names`, oldest first."""
    found = psutil.Process(of).children(recursive=True)
    return sorted((p for p in found if any(n in _command(p) for n in names)), key=lambda p: p.pid)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a driver; its JVM and workers end by themselves, and that is waited for."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    psutil.wait_procs(children, timeout=60)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
