"""Processes die while a twin is written: the rows come out once each and unchanged, readers see nothing or everything.

Each fault happens once here; with the marker faults_repeat (make test-faults) it happens twenty times.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from processes import descendants, kill_tree, wait_for

from twinlake.tables.parts import FAULT_POINTS, part_files, read_manifest, verify_folder

ROOT = Path(__file__).resolve().parents[2]
ROWS = 300_000
IN_TASKS = ("after-part-write", "after-part-row")
ONCE_AND_OFTEN = [
    pytest.param(0, id="once"),
    *[pytest.param(n, marks=pytest.mark.faults_repeat, id=f"repeat-{n}") for n in range(1, 21)],
]


@pytest.fixture(scope="module")
def expected(many_rows: pa.Table, content_hash: Any) -> str:
    return content_hash(many_rows)


@pytest.fixture(scope="module")
def staged(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose driver died when every part was in staging and nothing was published."""
    run = tmp_path_factory.mktemp("staged")
    assert driver("local[2]", random_model, run, fault="after-all-parts").wait() == -signal.SIGKILL
    assert not (run / "synthetic").exists()
    return run


@pytest.mark.parametrize("repeat", ONCE_AND_OFTEN)
@pytest.mark.parametrize("victim", ["executor", "python worker"])
def test_killed_workers_change_nothing(
    spark: Any,
    random_model: Path,
    expected: str,
    content_hash: Any,
    publish_twin: Any,
    tmp_path: Path,
    victim: str,
    repeat: int,
) -> None:
    killed: list[int] = []

    def kill() -> None:
        staging = tmp_path / ".staging-synthetic"
        wait_for(lambda: len(list(staging.glob("part-*.json"))) > repeat % 4)
        killed.extend(kill_one(victim))

    killer = threading.Thread(target=kill)
    killer.start()
    with polled(tmp_path / "synthetic"):
        publish_twin(spark, random_model, tmp_path, ROWS)
    killer.join()
    assert killed
    check(tmp_path, expected, content_hash)


@pytest.mark.parametrize("repeat", ONCE_AND_OFTEN)
@pytest.mark.parametrize("point", FAULT_POINTS)
def test_a_run_killed_at_a_commit_step_goes_on(
    spark: Any,
    random_model: Path,
    expected: str,
    staged: Path,
    content_hash: Any,
    publish_twin: Any,
    tmp_path: Path,
    point: str,
    repeat: int,
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with polled(run / "synthetic"):
        if point in IN_TASKS:
            code = driver("local[2]", random_model, run, fault=point).wait()
            assert code not in (0, -signal.SIGKILL)  # the task's process died, Spark gave up, the driver said so
            assert not (run / "synthetic").exists()
        else:
            shutil.copytree(staged / ".staging-synthetic", run / ".staging-synthetic")
            assert driver("-", random_model, run, fault=point).wait() == -signal.SIGKILL
        there = {f.name: f.stat().st_mtime_ns for f in (run / "synthetic").glob("*")}
        assert bool(there) == (point == "after-publish")
        publish_twin(spark, random_model, run, ROWS)
    check(run, expected, content_hash)
    if there:
        assert {f.name: f.stat().st_mtime_ns for f in (run / "synthetic").iterdir()} == there
    elif point not in IN_TASKS:  # no part was drawn again
        drawn = sorted(f.stat().st_mtime_ns for f in (staged / ".staging-synthetic").glob("part-*.parquet"))
        assert sorted(f.stat().st_mtime_ns for f in (run / "synthetic").glob("part-*.parquet")) == drawn


@pytest.mark.parametrize("repeat", ONCE_AND_OFTEN)
def test_a_killed_driver_leaves_only_the_missing_parts_to_do(
    spark: Any, random_model: Path, expected: str, content_hash: Any, publish_twin: Any, tmp_path: Path, repeat: int
) -> None:
    staging = tmp_path / ".staging-synthetic"
    with polled(tmp_path / "synthetic"):
        process = driver("local[2]", random_model, tmp_path)
        wait_for(lambda: len(list(staging.glob("part-*.json"))) > 1 + repeat % 4)
        kill_tree(process)
        assert not (tmp_path / "synthetic").exists()
        whole = {
            json.loads(f.read_text())["part"]: f.with_suffix(".parquet").stat().st_mtime_ns for f in staging.glob("part-*.json")
        }
        publish_twin(spark, random_model, tmp_path, ROWS)
    assert whole
    kept = {n: (tmp_path / "synthetic" / f"part-{n:05d}.parquet").stat().st_mtime_ns for n in whole}
    assert kept == whole
    check(tmp_path, expected, content_hash)


@pytest.mark.parametrize("repeat", ONCE_AND_OFTEN)
def test_two_runs_to_one_folder_do_not_mix(adult_path: str, tmp_path: Path, repeat: int) -> None:
    command = [
        sys.executable,
        "-m",
        "twinlake.cli",
        "transform",
        adult_path,
        "--set",
        f"run.dir={tmp_path / 'run'}",
        "--quiet",
    ]
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 4], errors
    refused = next(e for p, e in zip(both, errors, strict=True) if p.returncode)
    assert "another run is writing" in refused
    from twinlake.pipeline import verify

    assert verify(tmp_path / "run") == []
    assert not list((tmp_path / "run").glob(".staging-*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_not_a_short_table(spark: Any, adult_path: str, small_disk: Path, tmp_path: Path) -> None:
    from twinlake import pipeline
    from twinlake.core.config import load_config
    from twinlake.core.errors import CommitError

    def config(folder: Path) -> Any:
        return load_config(None, [f"source.path={adult_path}", f"run.dir={folder}"])

    with pytest.raises(CommitError, match=r"No space left on device.* bytes are free there"):
        pipeline.run(config(small_disk / "run"), spark, last="transform")
    assert not (small_disk / "run" / "protected").exists()
    assert pipeline.run(config(tmp_path / "run"), spark, last="transform").status["transform"] == "done"
    assert read_manifest(tmp_path / "run" / "protected")["rows"] > 40_000


JVM_ENDS = """
import sys
import psutil
from pyspark.sql import SparkSession
from twinlake.core.boundary import guarded

def command():
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    if sys.argv[1] == "killed":
        java = next(c for c in psutil.Process().children(recursive=True) if "java" in c.name())
        java.kill()
        java.wait()
    for _ in range(2):
        try:
            spark.range(3).count()
        except Exception as error:
            if sys.argv[2] == "first":
                raise
    getattr(spark._jvm.java.lang.Math, sys.argv[1])(-7)

sys.exit(guarded(command))
"""


@pytest.mark.parametrize("call", ["first", "later"])
def test_a_lost_driver_of_spark_is_no_bug_and_can_be_run_again(call: str) -> None:
    done = session_of("killed", call)
    assert done.returncode == 4
    assert "the JVM) has ended" in done.stderr.splitlines()[-1]
    assert "spark.driver.memory" in done.stderr.splitlines()[-1]


def test_what_the_jvm_answers_is_no_lost_driver() -> None:
    done = session_of("noSuch", "first")
    assert done.returncode == 70
    assert "Py4JError" in done.stderr.splitlines()[-1]


def session_of(*arguments: str) -> subprocess.CompletedProcess[str]:
    """JVM_ENDS in a process of its own."""
    command = [sys.executable, "-c", JVM_ENDS, *arguments]
    return subprocess.run(command, check=False, env=environment(), capture_output=True, text=True)


def check(run: Path, expected: str, content_hash: Callable[[Path], str]) -> None:
    """The four things that must hold after any fault."""
    out = run / "synthetic"
    assert read_manifest(out)["rows"] == ROWS
    ids = pa.concat_tables([pq.read_table(f, columns=["id"]) for f in part_files(out)])["id"]
    assert len(ids) == ROWS == len(ids.unique())
    assert content_hash(out) == expected
    assert verify_folder(out) == []
    assert [f.name for f in run.iterdir()] == ["synthetic"]
    named = {"_manifest.json", "_SUCCESS", *(e["file"] for k in ("parts", "files") for e in read_manifest(out)[k])}
    assert {f.name for f in out.iterdir()} == named


def driver(master: str, model: Path, run: Path, fault: str | None = None) -> subprocess.Popen[bytes]:
    """A process that writes run/synthetic, and dies at the step `fault`."""
    script = str(ROOT / "tests" / "drivers" / "write_twin.py")
    extra = {"TWINLAKE_FAULT_POINT": fault} if fault else {}
    command = [sys.executable, script, master, str(model), str(run), str(ROWS)]
    return subprocess.Popen(command, env=environment(**extra), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def environment(**extra: str) -> dict[str, str]:
    """The tests' own, without what would tie the process to this one's Spark."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_ENV", "PYSPARK_GATEWAY"))}
    return own | {"PYTHONPATH": str(ROOT / "engine"), "PYSPARK_PYTHON": sys.executable, **extra}


def kill_one(victim: str) -> list[int]:
    """Kills a process of our own driver's tree and says which."""
    executors = descendants(None, "CoarseGrainedExecutorBackend")
    below = [c for p in executors for c in descendants(p.pid, "pyspark.daemon", "pyspark.worker")]
    # of a daemon and its forks the fork does the work
    chosen = executors[:1] if victim == "executor" else [p for p in below if not p.children()][:1]
    for process in chosen:
        process.kill()
    return [process.pid for process in chosen]


@contextmanager
def polled(out: Path) -> Iterator[None]:
    """A reader looks every few milliseconds: `out` is absent or complete."""
    done, wrong, seen = threading.Event(), [], [0]

    def look() -> None:
        while not done.wait(0.005):
            seen[0] += 1
            if not out.exists():
                continue
            names = {f.name for f in out.iterdir()}
            if "_SUCCESS" not in names or "_manifest.json" not in names:
                wrong.append(sorted(names))
                return
            manifest = read_manifest(out)
            missing = {e["file"] for k in ("parts", "files") for e in manifest[k]} - names
            if missing or manifest["rows"] != ROWS:
                wrong.append(sorted(missing))
                return

    reader = threading.Thread(target=look)
    reader.start()
    try:
        yield
    finally:
        done.set()
        reader.join()
    assert not wrong, wrong
    assert seen[0]
