"""The Spark session: the one that is there, else a quiet local one. Knows nothing of tables."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_started: list[SparkSession] = []


def open_session(app_name: str = "twinlake", verbose: bool = False) -> SparkSession:
    """The active session, classic or Connect, untouched; else a new one (local, unless spark-submit says otherwise)."""
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app_name)
    if not _submitted():
        builder = (
            builder.master("local[*]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.memory", "2g")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", str(max(4, 2 * (os.cpu_count() or 2))))
            .config("spark.ui.showConsoleProgress", "false")
        )
    spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    if not verbose:
        spark.sparkContext.setLogLevel("ERROR") if not is_connect(spark) else None
    _started.append(spark)
    return spark


def stop_session(spark: SparkSession) -> None:
    """Stops `spark` if `open_session` started it; a caller's own session is left alone."""
    if spark in _started:
        _started.remove(spark)
        spark.stop()


def is_connect(spark: SparkSession) -> bool:
    """True for a Spark Connect session (serverless and shared clusters are)."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def _submitted() -> bool:
    return "SPARK_ENV_LOADED" in os.environ or "SPARK_REMOTE" in os.environ or "DATABRICKS_RUNTIME_VERSION" in os.environ or "PYSPARK_GATEWAY_PORT" in os.environ
