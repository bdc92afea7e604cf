"""The Spark session: the one that is there, else a quiet local one. Knows nothing of tables."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twinlake.tables.nanoseconds import AS_LONG
from twinlake.tables.quiet import quiet_jvm

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
    with quiet_jvm(None if verbose else Path(os.devnull)):
        spark = builder.config("spark.sql.session.timeZone", "UTC").config(AS_LONG, "true").getOrCreate()
    _started.append(spark)
    return spark


def stop_session(spark: SparkSession) -> None:
    """Stops `spark` if `open_session` started it; a caller's own session is left alone."""
    if spark in _started:
        _started.remove(spark)
        spark.stop()


def _submitted() -> bool:
    """Whether someone else decides where Spark runs: spark-submit, a Connect URL, Databricks."""
    return any(
        name in os.environ
        for name in ("SPARK_ENV_LOADED", "PYSPARK_GATEWAY_PORT", "SPARK_REMOTE", "DATABRICKS_RUNTIME_VERSION")
    )
