"""The command: help worth reading, arguments to config, errors to exit codes, and nobody else's chatter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import twinlake
from twinlake.cli import execute
from twinlake.core import errors

VERBS = ("run", "profile", "classify", "plan", "transform", "train", "generate", "evaluate", "report")


@dataclass
class FakeResult:
    run_dir: Path = Path("runs/x")

    def summary(self) -> str:
        return "the summary"


@dataclass
class FakePipeline:
    """Stands in for twinlake.pipeline: records what it is asked, then does `act`."""

    act: Callable[[], None] = lambda: None
    damaged: list[str] = field(default_factory=list)
    config: Any = None
    last: str = ""

    def run(self, config: Any, spark: Any = None, progress: Any = None, last: str = "report") -> FakeResult:
        self.config, self.last = config, last
        progress.stage("profile", "15 columns")
        self.act()
        return FakeResult()

    def verify(self, _run_dir: Path) -> list[str]:
        return self.damaged

    def describe(self, _run_dir: Path, stage: str) -> str:
        return f"the {stage}"


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setattr(twinlake, "pipeline", fake, raising=False)
    return fake


@pytest.fixture
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def _raise(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize("verb", [*VERBS, "sweep", "drift", "verify", "schema"])
def test_each_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: twinlake {verb}" in text
    if verb in VERBS:
        assert f"Example: twinlake {verb} customers.parquet" in text
        for option in ("--rows", "--target", "--holdout", "--name", "--config", "--set", "--quiet", "--verbose"):
            assert option in text


def test_help_has_examples_exit_codes_and_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--help"]) == 0
    text = capsys.readouterr().out
    for part in ("Examples:", "Exit codes:", "twinlake run customers.parquet", *VERBS, "sweep", "drift", "verify", "schema"):
        assert part in text


def test_version_and_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out.startswith("twinlake ")
    assert execute(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"].keys() >= {"run", "source", "train"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_runs_to_its_stage_and_prints_its_artifact(
    verb: str, pipeline: FakePipeline, capsys: pytest.CaptureFixture[str], log_folder: Path
) -> None:
    assert execute([verb, "a.csv"]) == 0
    assert pipeline.last == ("report" if verb == "run" else verb)
    out = capsys.readouterr()
    assert out.out == ("the summary\n" if verb == "run" else f"the {verb}\n")
    assert out.err.startswith("profile    15 columns\nprofile    done in ")
    assert list(log_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "path", "table"),
    [
        ("people.csv", "people.csv", None),
        ("people.parquet", "people.parquet", None),
        ("data/people", "data/people", None),
        ("s3a://bucket/people", "s3a://bucket/people", None),
        (".", ".", None),
        ("main.sales.people", None, "main.sales.people"),
        ("people", None, "people"),
    ],
)
def test_source_is_a_path_or_a_table(source: str, path: str | None, table: str | None, pipeline: FakePipeline) -> None:
    assert execute(["run", source, "--quiet"]) == 0
    assert (pipeline.config.source.path, pipeline.config.source.table) == (path, table)


def test_source_is_a_run_folder_to_go_on_with(pipeline: FakePipeline, tmp_path: Path) -> None:
    made_with = {"source": {"path": "a.csv"}, "run": {"name": "x", "seed": 3, "dir": "runs/old"}, "generate": {"rows": 5}}
    (tmp_path / "run.json").write_text(json.dumps({"config": made_with}), encoding="utf-8")
    assert execute(["generate", str(tmp_path), "--rows", "7", "--quiet"]) == 0
    config = pipeline.config
    assert (config.source.path, config.run.dir, config.run.seed, config.generate.rows) == ("a.csv", str(tmp_path), 3, 7)


@pytest.mark.parametrize("text", ['{"age": 3}\n{"age": 4}\n', "[1, 2]", '{"age": 3}'])
def test_a_folder_of_rows_called_run_json_is_a_table(text: str, pipeline: FakePipeline, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    assert execute(["run", str(tmp_path), "--quiet"]) == 0
    assert pipeline.config.source.path == str(tmp_path)


def test_options_win_over_the_file_and_set_over_options(pipeline: FakePipeline, tmp_path: Path) -> None:
    file = tmp_path / "team.yaml"
    file.write_text("source: {table: a.b}\ngenerate: {rows: 5}\nrun: {name: x, seed: 3}\n", encoding="utf-8")
    arguments = ["--rows", "7", "--target", "y", "--holdout", "h.csv", "--name", "n", "--set", "generate.rows=9"]
    assert execute(["run", "a.csv", "--config", str(file), *arguments, "--quiet"]) == 0
    config = pipeline.config
    assert (config.source.path, config.source.table) == ("a.csv", None)
    assert (config.generate.rows, config.run.seed, config.run.name) == (9, 3, "n")
    assert (config.evaluate.target, config.holdout.source) == ("y", "h.csv")


def test_limits_of_metrics(pipeline: FakePipeline) -> None:
    assert execute(["run", "a.csv", "--fail-under", "quality_score=80", "--fail-under", "detection=0.6", "--quiet"]) == 0
    assert pipeline.config.evaluate.fail_under == {"quality_score": 80.0, "detection": 0.6}


FAILURES = [
    *[(e, 2) for e in (errors.UserError, errors.ConfigError, errors.PolicyError, errors.KeyReferenceError)],
    *[(e, 2) for e in (errors.TableError,)],
    *[(e, 3) for e in (errors.DataError, errors.ModelError)],
    *[(e, 4) for e in (errors.CommitError,)],
    *[(e, 70) for e in (ValueError, KeyError, RuntimeError, OSError, MemoryError, AssertionError, ZeroDivisionError)],
    *[(e, 70) for e in (TypeError, RecursionError, NotImplementedError, UnicodeError, TimeoutError)],
    (KeyboardInterrupt, 130),
]


@pytest.mark.parametrize(("kind", "code"), FAILURES)
def test_failures_have_exit_codes(
    kind: type[BaseException],
    code: int,
    pipeline: FakePipeline,
    capsys: pytest.CaptureFixture[str],
    log_folder: Path,
) -> None:
    pipeline.act = _raise(kind("CANARY-7f3a"))
    assert execute(["run", "a.csv", "--quiet"]) == code
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("error: ")
    assert out.err.count("\n") == 1
    assert ("CANARY-7f3a" in out.err) == (code in (2, 3, 4))
    assert ("this is a bug" in out.err) == (code == 70)
    assert len(list(log_folder.iterdir())) == (code == 70)


def test_a_job_that_spark_was_told_to_end_is_an_interruption(
    pipeline: FakePipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.act = _raise(RuntimeError("[SPARK_JOB_CANCELLED] Job 3 cancelled, CANARY-7f3a"))
    assert execute(["run", "a.csv", "--quiet"]) == 130
    assert capsys.readouterr().err == "error: interrupted; run again to go on from the last finished part\n"


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ([], 2, "Usage: twinlake"),
        (["trian"], 2, "Did you mean 'train'"),
        (["run"], 2, "error: no source"),
        (["run", "a.csv", "--bad"], 2, "error: No such option: --bad; see twinlake run --help"),
        (["run", "a.csv", "--rows", "many"], 2, "--rows"),
        (["run", "a.csv", "--rows", "0"], 2, "generate.rows"),
        (["run", "a.csv", "b.csv"], 2, "b.csv"),
        (["run", "a.csv", "--config", "absent.yaml"], 2, "error: no config file at absent.yaml"),
        (["run", "a.csv", "--set", "train.epochz=3"], 2, "did you mean 'epochs'"),
        (["run", "a.csv", "--name", "../x"], 2, "run.name"),
        (["sweep"], 2, "CONFIG"),
        (["drift", "a.csv"], 2, "SECOND"),
        (["drift", "a.csv", "b.csv", "--fail-over", "worst=0.1"], 2, "known: worst_column"),
        (["sweep", "absent.yaml"], 2, "error: no config file at absent.yaml"),
        (["sweep", "conf/quickstart.yaml", "--trials", "0"], 2, "sweep.trials"),
        (["sweep", "conf/quickstart.yaml", "sweep.parameters.train.epochz=[1]"], 2, "sweep.parameters"),
        (["sweep", "conf/warehouse.yaml", "--quiet"], 2, "error: no source"),
        (["verify"], 2, "RUN_DIR"),
        (["verify", "absent"], 2, "error: no run folder at absent"),
    ],
)
def test_wrong_requests(
    arguments: list[str], code: int, expected: str, pipeline: FakePipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(arguments) == code
    out = capsys.readouterr()
    assert expected in out.err + out.out
    assert pipeline.last == ""


def test_verify(pipeline: FakePipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["verify", str(tmp_path)]) == 0
    pipeline.damaged = ["profile.json", "synthetic/part-00000.parquet"]
    assert execute(["verify", str(tmp_path)]) == 3
    assert "2 damaged: profile.json, synthetic/part-00000.parquet" in capsys.readouterr().err


def test_verbose_shows_where_a_bug_is_but_no_message(pipeline: FakePipeline, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.act = _raise(ValueError("CANARY-7f3a"))
    assert execute(["run", "a.csv", "--verbose"]) == 70
    shown = capsys.readouterr().err
    assert "test_cli.py:" in shown
    assert "CANARY-7f3a" not in shown


def test_an_error_is_one_line_whatever_it_holds(pipeline: FakePipeline, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.act = _raise(errors.TableError("column a\x1b[31m\u202eb"))
    assert execute(["run", "a.csv", "--quiet"]) == 2
    assert capsys.readouterr().err == "error: column a\\x1b[31m\\u202eb\n"


def test_java_is_asked_for_before_anything_starts(
    pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("JAVA_HOME", "PYSPARK_GATEWAY_PORT", "SPARK_REMOTE", "DATABRICKS_RUNTIME_VERSION"):
        monkeypatch.delenv(variable, raising=False)
    assert execute(["run", "a.csv"]) == 2
    assert "Java 17 or newer" in capsys.readouterr().err
    monkeypatch.setenv("SPARK_REMOTE", "sc://somewhere")
    assert execute(["run", "a.csv", "--quiet"]) == 0


SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background has it ignored
import os, subprocess, sys, time, warnings, logging
import twinlake
from twinlake.cli import main

class Pipeline:
    def run(self, config, spark=None, progress=None, last="report"):
        os.write(1, b"CHATTER from C\\n"); os.write(2, b"CHATTER from C\\n")
        subprocess.run(["sh", "-c", "echo CHATTER from a child; echo CHATTER from a child >&2"])
        print("CHATTER by print"); print("CHATTER by print", file=sys.stderr)
        warnings.warn("CHATTER by warning"); logging.getLogger("x").warning("CHATTER by logger")
        progress.say("progress is seen")
        if "sleep" in sys.argv:
            print("ready", file=open(os.environ["READY"], "w"), flush=True)
            time.sleep(60)
        class Result:
            run_dir = "runs/x"
            def summary(self): return "the summary"
        return Result()

twinlake.pipeline = Pipeline()
main(["run", "a.csv", *(a for a in sys.argv[1:] if a != "sleep")])
"""


def _process(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    env = {**os.environ, **environment}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def test_chatter_stays_off_the_terminal_unless_asked_for(tmp_path: Path) -> None:
    out, err = _process(TMPDIR=str(tmp_path)).communicate(timeout=60)
    assert (out, err) == ("the summary\n", "progress is seen\n")
    assert list(tmp_path.iterdir()) == []
    out, err = _process("--verbose", TMPDIR=str(tmp_path)).communicate(timeout=60)
    assert out.count("CHATTER") == 3
    assert err.count("CHATTER by") == 3  # print, warning, logger
    assert "progress is seen" in err


@pytest.mark.parametrize(("signal_name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signals_have_exit_codes(signal_name: str, code: int, tmp_path: Path) -> None:
    import signal
    import time

    ready = tmp_path / "ready"
    process = _process("sleep", READY=str(ready))
    deadline = time.monotonic() + 30
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(getattr(signal, signal_name))
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == ""
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err
