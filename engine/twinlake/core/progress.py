"""One stream of progress events with three sinks: a live line in a terminal, plain lines when piped, nothing in tests.

Stages say `progress.stage("train")`, `progress.update(done, total, note)` and `progress.say(text)`; they never print.
Knows nothing of where the numbers come from.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID


class Progress(Protocol):
    """What a stage may say while it works."""

    def stage(self, name: str, detail: str = "") -> None: ...
    def update(self, done: float, total: float, note: str = "") -> None: ...
    def say(self, text: str) -> None: ...
    def close(self, done: bool = True) -> None: ...


class Silent:
    """Says nothing; the default of the Python API."""

    def stage(self, name: str, detail: str = "") -> None:
        """Ignored."""

    def update(self, done: float, total: float, note: str = "") -> None:
        """Ignored."""

    def say(self, text: str) -> None:
        """Ignored."""

    def close(self, done: bool = True) -> None:
        """Ignored."""


class Lines:
    """Plain lines on stderr: where a stage starts, what is new every ten seconds of its work (once a minute what is not),
    and its time at its end."""

    def __init__(self, interval: float = 10.0, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._interval, self._last, self._start = interval, 0.0, 0.0
        self._name, self._note, self._said = "", "", ""

    def stage(self, name: str, detail: str = "") -> None:
        """Ends the stage before and opens the next."""
        self._finish()
        self._name, self._start, self._note = name, time.monotonic(), ""
        self._last = self._start
        self.say(f"{name:<10} {detail}".rstrip())

    def update(self, done: float, total: float, note: str = "") -> None:
        """A line at most every `interval` seconds."""
        now = time.monotonic()
        self._note = note
        line = f"{self._name:<10} {100 * done / total:3.0f}% {note}" if total else f"{self._name:<10} {note}"
        wait = self._interval if line != self._said else 6 * self._interval
        if now - self._last >= wait and (done < total or not total):
            self._last, self._said = now, line
            self.say(line.rstrip())

    def say(self, text: str) -> None:
        """One line."""
        print(text, file=self._stream or sys.stderr, flush=True)

    def close(self, done: bool = True) -> None:
        """Ends the last stage; `done`: it is finished."""
        self._finish(done)

    def _finish(self, done: bool = True) -> None:
        if self._name:
            seconds, ended = time.monotonic() - self._start, "done in" if done else "stopped after"
            self.say(f"{self._name:<10} {ended} {seconds:.1f} s  {self._note if done else ''}".rstrip())
            self._name = ""


class Terminal:
    """One live line (rich) for the running stage, finished stages above it with their time."""

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(file=stream, stderr=stream is None, highlight=False)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[stage]:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID | None = None
        self._name, self._detail, self._start = "", "", 0.0
        self._bar.start()

    def stage(self, name: str, detail: str = "") -> None:
        """Writes the stage before as done and opens the next."""
        self._finish()
        self._name, self._detail, self._start = name, detail, time.monotonic()
        self._task = self._bar.add_task(detail, total=None, stage=name)

    def update(self, done: float, total: float, note: str = "") -> None:
        """Moves the bar."""
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total or None, description=note)
            self._detail = note or self._detail

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._console.print(text, markup=False)

    def close(self, done: bool = True) -> None:
        """Writes the last stage, as `done` or not, and removes the bar."""
        self._finish(done)
        self._bar.stop()

    def _finish(self, done: bool = True) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            seconds = time.monotonic() - self._start
            # one print: the live line is drawn again after each, over whatever a first half had left
            from rich.text import Text

            took = (f"{seconds:6.1f} s", "dim")
            mark = ("✓", "green") if done else ("✗", "red")
            self._console.print(Text.assemble(mark, f" {self._name:<10} ", took, f"  {self._detail if done else 'stopped'}"))
            self._task = None


@contextmanager
def opened(quiet: bool = False, stream: TextIO | None = None) -> Iterator[Progress]:
    """The sink that fits `stream` (default: stderr); always closed."""
    progress: Progress
    if quiet:
        progress = Silent()
    elif (stream or sys.stderr).isatty():
        progress = Terminal(stream)
    else:
        progress = Lines(stream=stream)
    done = False
    try:
        yield progress
        done = True
    finally:
        progress.close(done)
