"""The error boundary of the command: every way out becomes an exit code, and at most one kind of line on stderr.

Exit codes: 0 done, 2 the request is wrong, 3 the data is, 4 writing failed (run again to resume), 70 a bug, 130 and 143
interrupted. Errors are one line each and never carry a cell value: of an unexpected exception only its type and the places
in the code are shown.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from typer import Abort

from twinlake.core.errors import CANCELLED, CommitError, TwinlakeError, UserError

BUG, INTERRUPTED, TERMINATED = 70, 130, 143
MORE_MEMORY = "give it more (spark.driver.memory)"
GO_ON = "; run again to go on from the last finished part"


@dataclass
class _Invocation:
    """What the boundary has to know of the running command."""

    verbose: bool = False
    log: Path | None = None


_now = _Invocation()


def _forget() -> None:
    _now.verbose, _now.log = False, None


class _Terminated(BaseException):
    """SIGTERM, as an exception that ends the work in order."""


def guarded(command: Callable[[], Any]) -> int:
    """Runs `command`, a typer app that is called with standalone_mode=False, and returns the exit code."""
    _quiet_environment()
    _forget()
    before = _on_sigterm(_raise_terminated)
    code = BUG
    try:
        code = _outcome(command)
    finally:
        _on_sigterm(before)
        if _now.log is not None and code != BUG:
            _now.log.unlink(missing_ok=True)
    return code


def _outcome(command: Callable[[], Any]) -> int:
    """Every way out becomes an exit code, and at most one kind of line on stderr."""
    try:
        returned = command()
        if returned == INTERRUPTED:  # how typer answers Ctrl-C
            raise KeyboardInterrupt
        return returned if isinstance(returned, int) else 0
    except TwinlakeError as error:
        _say_error(str(error))
        return error.exit_code
    except (KeyboardInterrupt, Abort):
        _say_error(f"interrupted{GO_ON}")
        return INTERRUPTED
    except _Terminated:
        _say_error(f"terminated{GO_ON}")
        return TERMINATED
    except SystemExit as end:  # Ray answers SIGTERM with sys.exit(15)
        return TERMINATED if end.code == signal.SIGTERM else end.code if isinstance(end.code, int) else BUG
    except BrokenPipeError:
        _close_stdout()
        return 0
    except Exception as error:
        if CANCELLED in str(error):  # what Ctrl-C becomes where a thread waits for Spark
            _say_error(f"interrupted{GO_ON}")
            return INTERRUPTED
        if _spark_is_gone(error):
            _say_error(f"Spark's driver process (the JVM) has ended, most often for want of memory; {MORE_MEMORY}{GO_ON}")
            return CommitError.exit_code
        return _refuse_usage(error) if hasattr(error, "format_message") else _say_bug(error)


def _spark_is_gone(error: Exception) -> bool:
    """Whether py4j, the bridge to Spark's JVM, found nothing at its other end: it names a cause where the JVM answers."""
    by_py4j = f"{os.sep}py4j{os.sep}" in traceback.extract_tb(error.__traceback__)[-1].filename
    unanswered = re.fullmatch(r"An error occurred while calling \S+", str(error)) is not None
    return by_py4j and (unanswered or isinstance(error, OSError) or type(error).__name__ == "Py4JNetworkError")


def _refuse_usage(error: Any) -> int:
    """Of the argument parser's errors (typer brings its own copy of click, so they're told by shape)."""
    message = str(error.format_message())
    if "\n" in message.strip():  # no verb: the help itself
        print(message)
    else:
        path = error.ctx.command_path if getattr(error, "ctx", None) else "twinlake"
        _say_error(f"{message.rstrip('.')}; see {path} --help")
    return UserError.exit_code


def _say_error(message: str) -> None:
    for line in message.splitlines() or [""]:
        shown = "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode("ascii") for ch in line)
        print(f"error: {shown}", file=sys.stderr)


def _say_bug(error: BaseException) -> int:
    """Type and places, never the message: it may hold a cell value."""
    frames = traceback.extract_tb(error.__traceback__)
    log = f"; engine log: {_now.log}" if _now.log is not None else ""
    more = "" if _now.verbose else "; --verbose shows where"
    _say_error(f"this is a bug in twinlake, an unexpected {type(error).__name__}{more}{log}")
    if _now.verbose:
        for frame in frames:
            print(f"  {frame.filename}:{frame.lineno} in {frame.name}", file=sys.stderr)
    return BUG


def _raise_terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _on_sigterm(handler: Any) -> Any:
    """Sets the handler of SIGTERM and returns the one before; outside the main thread nothing changes."""
    with suppress(ValueError):
        return signal.signal(signal.SIGTERM, handler)
    return signal.SIG_DFL


def _close_stdout() -> None:
    """Keeps the interpreter from complaining at exit that nobody reads stdout any more."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _quiet_environment() -> None:
    """Settings that Ray, torch and Spark read when they load; what the user has set stays."""
    for name, value in (
        ("PYSPARK_PYTHON", sys.executable),
        ("PYSPARK_DRIVER_PYTHON", sys.executable),
        ("RAY_USAGE_STATS_ENABLED", "0"),
        ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"),
        ("GLOG_minloglevel", "2"),
        ("TORCH_CPP_LOG_LEVEL", "ERROR"),
        ("MPLBACKEND", "Agg"),
    ):
        os.environ.setdefault(name, value)


def engine_log(verbose: bool) -> Path | None:
    """A new file for what Spark and Ray print; None where it should be seen."""
    _now.verbose = verbose
    if not verbose:
        descriptor, path = tempfile.mkstemp(prefix="twinlake-", suffix=".log")
        os.close(descriptor)
        _now.log = Path(path)
    return _now.log
