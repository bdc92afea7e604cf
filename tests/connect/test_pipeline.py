"""The whole line on a Spark Connect session: no SparkContext, no RDD, no JVM; the session stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinlake import pipeline
from twinlake.core.config import parse_config
from twinlake.generate.model import Model
from twinlake.tables.parts import part_files


@pytest.mark.parametrize("partitions", [1, 7, 64])
def test_parts_are_the_same_for_any_partitions(spark: Any, published_by: Any, partitions: int) -> None:
    published_by(spark, partitions)


@pytest.mark.parametrize("partitions", [1, 7, 64])
def test_lazy_rows_are_the_same_for_any_number_of_partitions(
    spark: Any, random_model: Path, many_rows: pa.Table, content_hash: Any, partitions: int
) -> None:
    before, rows = spark.conf.getAll, 100_000
    frame = Model.load(random_model).generate(spark, rows, partitions=partitions)
    assert content_hash(frame.toArrow()) == content_hash(many_rows.slice(0, rows))
    assert spark.conf.getAll == before


def test_the_whole_line_ends_with_a_report(spark: Any, people_rows: Any, tmp_path: Path) -> None:
    pq.write_table(people_rows(300), tmp_path / "people.parquet")
    config = parse_config(
        {
            "run": {"dir": str(tmp_path / "run")},
            "source": {"path": str(tmp_path / "people.parquet")},
            "train": {"epochs": 1, "workers": 1},
        }
    )
    before = spark.conf.getAll
    result = pipeline.run(config, spark=spark)
    assert spark.conf.getAll == before
    assert set(result.status.values()) == {"done"} and tuple(result.status) == pipeline.STAGES
    assert result.report is not None and "</html>" in result.report.read_text()
    assert result.rows == 300
    assert pipeline.verify(result.run_dir) == []
    real = pq.read_table(tmp_path / "people.parquet")
    twin = pa.concat_tables([pq.read_table(f) for f in part_files(result.run_dir / "synthetic")])
    assert twin.column_names == real.column_names and twin.num_rows == 300
    for name in ("email", "full_name", "phone", "customer_id"):
        assert not set(twin[name].to_pylist()) & set(real[name].to_pylist())
    assert spark.range(3).count() == 3  # still open
    again = pipeline.run(config, spark=spark)
    assert set(again.status.values()) == {"unchanged"}


def test_nested_records_go_the_whole_line(spark: Any, tmp_path: Path) -> None:
    rows = [{"a": None if i % 5 == 0 else {"b.c": i % 3}, "l": [{"d": f"v{i % 2}"}] * (i % 4)} for i in range(300)]
    kind = pa.schema([("a", pa.struct([("b.c", pa.int32())])), ("l", pa.list_(pa.struct([("d", pa.string())])))])
    pq.write_table(pa.Table.from_pylist(rows, schema=kind), tmp_path / "nested.parquet")
    values: dict[str, Any] = {
        "run": {"dir": str(tmp_path / "run")},
        "source": {"path": str(tmp_path / "nested.parquet")},
        "train": {"epochs": 1, "workers": 1},
        "generate": {"balance": {"columns": ["a.b.c"]}, "rules": [{"combination": ["l.length", "a.b.c"]}]},
        "output": {"path": str(tmp_path / "out"), "format": "json"},
    }
    assert pipeline.run(parse_config(values), spark=spark).score is not None
    twin = spark.read.parquet(*part_files(tmp_path / "run" / "synthetic"))
    assert twin.schema == spark.read.parquet(str(tmp_path / "nested.parquet")).schema
    assert sorted(row["count"] for row in twin.groupBy("a").count().collect()) == [75, 75, 75, 75]
    assert spark.read.schema(twin.schema).json(str(tmp_path / "out")).exceptAll(twin).count() == 0
