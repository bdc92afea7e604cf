"""Progress: a live line in a terminal, plain lines when piped, nothing when quiet; names are never read as markup."""

from __future__ import annotations

import io
import re

import pytest

from twinlake.core.progress import Lines, Progress, Silent, opened


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def _work(progress: Progress) -> None:
    progress.stage("profile", "15 columns")
    progress.update(1, 2, "[bold]half")
    progress.say("a [red]column[/red]")
    progress.stage("train")


def test_a_terminal_gets_one_whole_line_for_each_finished_stage() -> None:
    stream = _Tty()
    with opened(stream=stream) as progress:
        _work(progress)
    plain = [line for line in stream.getvalue().replace("\r", "\n").splitlines() if "✓" in line]
    assert len(plain) == 2
    assert "profile" in plain[0]
    assert plain[0].rstrip().endswith("[bold]half")
    assert "train" in plain[1]
    assert "a [red]column[/red]" in stream.getvalue()


def test_a_pipe_gets_plain_lines() -> None:
    stream = io.StringIO()
    with opened(stream=stream) as progress:
        _work(progress)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "profile    15 columns"
    assert lines[1] == "a [red]column[/red]"
    assert [line.split(" done in ")[0].rstrip() for line in lines if " done in " in line] == ["profile", "train"]
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "last"), [(io.StringIO(), "train      stopped after 0.0 s"), (_Tty(), "✗ train         0.0 s  stopped")]
)
def test_a_stage_that_failed_is_not_done(stream: io.StringIO, last: str) -> None:
    with pytest.raises(ValueError, match="no"), opened(stream=stream) as progress:
        _work(progress)
        raise ValueError("no")
    lines = stream.getvalue().replace("\r", "\n").splitlines()
    [told] = [line for line in lines if "stopped" in line]
    assert re.sub("\x1b.*?[mK]", "", told) == last
    assert sum("done in" in line or "✓" in line for line in lines) == 1


def test_updates_are_lines_only_after_the_interval() -> None:
    stream = io.StringIO()
    progress = Lines(interval=0.0, stream=stream)
    progress.stage("train")
    progress.update(5, 20, "epoch 5, train 1.2, validation 1.3")
    progress.update(5, 0, "no total")
    assert stream.getvalue().splitlines()[1:] == [
        "train       25% epoch 5, train 1.2, validation 1.3",
        "train      no total",
    ]


def test_a_line_that_says_nothing_new_comes_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), iter([0, 11, 22, 33, 44, 93])
    monkeypatch.setattr("twinlake.core.progress.time.monotonic", lambda: next(clock))
    progress = Lines(interval=10.0, stream=stream)
    progress.stage("train")
    for done in (5, 5, 6, 6, 6):
        progress.update(done, 20)
    assert stream.getvalue().splitlines() == ["train", "train       25%", "train       30%", "train       30%"]


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    with opened(quiet=True, stream=stream) as progress:
        assert isinstance(progress, Silent)
        _work(progress)
    assert stream.getvalue() == ""
