"""Tests in this folder run on two executor JVMs, with a driver that takes at most 32 MB of results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """local-cluster: two executors of one core and 1 GB each."""
    from pyspark.sql import SparkSession

    # executors start in their own folder, so they need the package by absolute path
    engine = os.path.abspath("engine")
    session = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .appName("twinlake-cluster-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.maxResultSize", "32m")
        .config("spark.executor.extraJavaOptions", os.environ["SPARK_SUBMIT_OPTS"])
        .config("spark.executorEnv.PYTHONPATH", os.pathsep.join([engine, os.environ.get("PYTHONPATH", "")]))
        .config("spark.executorEnv.PYSPARK_PYTHON", sys.executable)
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    yield session
    session.stop()
