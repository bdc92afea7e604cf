"""A standalone master with two workers on two loopback addresses: spark-submit, and speculation (which Spark allows on
another host only)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
from processes import wait_for

from twinlake.tables.parts import part_files, read_manifest, verify_folder

ROOT = Path(__file__).resolve().parents[2]
SPARK_HOME = Path(pyspark.__path__[0])
ENVIRONMENT = {
    **{k: v for k, v in os.environ.items() if not k.startswith(("SPARK_ENV", "PYSPARK_GATEWAY"))},
    "SPARK_HOME": str(SPARK_HOME),
    "SPARK_LOCAL_IP": "127.0.0.1",
    "SPARK_NO_DAEMONIZE": "1",
    "SPARK_DAEMON_MEMORY": "256m",
    "PYSPARK_PYTHON": sys.executable,
    "PYTHONPATH": str(ROOT / "engine"),
}


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a master that two workers of one core and 1 GB have joined."""
    folder = tmp_path_factory.mktemp("standalone")
    log = folder / "master.log"
    processes = [_daemon(log, "master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")]
    try:
        wait_for(lambda: "Starting Spark master at" in log.read_text())
        address = log.read_text().split("Starting Spark master at ")[1].split()[0]
        for host in ("127.0.0.1", "127.0.0.2"):
            options = ["--host", host, "--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", str(folder / host)]
            processes.append(_daemon(folder / f"{host}.log", "worker.Worker", *options, address))
        wait_for(lambda: log.read_text().count("Registering worker") == 2)
        yield address
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def _daemon(log: Path, name: str, *options: str) -> subprocess.Popen[bytes]:
    command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *options]
    with log.open("wb") as handle:
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=handle, stderr=subprocess.STDOUT)


def test_spark_submit_makes_a_twin(master: str, people_rows: Any, tmp_path: Path) -> None:
    pq.write_table(people_rows(300), tmp_path / "people.parquet")
    submit = [str(Path(sys.executable).with_name("spark-submit")), "--master", master, "--executor-memory", "800m"]
    paths = [f"run.dir={tmp_path / 'run'}", f"source.path={tmp_path / 'people.parquet'}"]
    options = [word for setting in (*paths, "train.epochs=1", "train.workers=1") for word in ("--set", setting)]
    command = [*submit, str(ROOT / "jobs" / "run_pipeline.py"), *options]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {stage["status"] for stage in state["stages"].values()} == {"done"}
    twin = pa.concat_tables([pq.read_table(f) for f in part_files(tmp_path / "run" / "synthetic")])
    assert twin.num_rows == 300 and "canary" not in str(twin["email"].to_pylist())
    assert "</html>" in (tmp_path / "run" / "report.html").read_text()


def test_a_speculative_copy_of_a_task_doubles_nothing(
    master: str, random_model: Path, many_rows: pa.Table, content_hash: Any, tmp_path: Path
) -> None:
    """The first attempt at one part sleeps; Spark starts a second one on the other worker."""
    script = str(ROOT / "tests" / "drivers" / "speculate.py")
    command = [sys.executable, script, master, str(random_model), str(tmp_path), str(many_rows.num_rows)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(tmp_path.glob("attempt-*"))) >= 2
    out = tmp_path / "synthetic"
    assert read_manifest(out)["rows"] == many_rows.num_rows and verify_folder(out) == []
    assert content_hash(out) == content_hash(many_rows)
    assert not (tmp_path / ".staging-synthetic").exists()
