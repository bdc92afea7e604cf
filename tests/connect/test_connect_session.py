"""The Connect tests run where they say: the session has no SparkContext."""

from __future__ import annotations

from typing import Any

import pytest


def test_the_session_is_a_connect_session(spark: Any) -> None:
    assert type(spark).__module__.startswith("pyspark.sql.connect")
    with pytest.raises(Exception, match="JVM_ATTRIBUTE_NOT_SUPPORTED"):
        _ = spark.sparkContext
    assert spark.range(5).count() == 5
