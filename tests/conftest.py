"""What all tests share: one small Spark session a process, the bundled Adult table, data sets that may be absent."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MPLBACKEND", "Agg")


def local_session(master: str, **settings: str) -> Any:
    """A session for tests: quiet, loopback only, small."""
    from pyspark.sql import SparkSession

    builder = (
        SparkSession.builder.master(master)
        .appName("twinlake-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.session.timeZone", "UTC")
    )
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """local[2] with one retry of a failed task; tests/cluster and tests/connect have their own."""
    warehouse = str(tmp_path_factory.mktemp("warehouse"))
    session = local_session("local[2,2]", **{"spark.sql.warehouse.dir": warehouse, "spark.driver.memory": "1g"})
    yield session
    session.stop()


@pytest.fixture(scope="session")
def adult_path() -> str:
    """The bundled Adult table: 48,842 rows, 15 columns."""
    return str(ROOT / "data" / "adult" / "adult.parquet")


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("peeps")`: a data set kept beside the checkout; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs the data set {name}, expected at ../shared/data/{name}")
        return path

    return find


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for `spark` is marked by where it stands: cluster, connect or spark."""
    for item in items:
        folder = Path(item.path).relative_to(ROOT / "tests").parts[0]
        if folder in ("cluster", "connect"):
            item.add_marker(folder)
        elif "spark" in getattr(item, "fixturenames", ()):
            item.add_marker("spark")
