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
# tensors here are small, and threads that wait for one another turn while they wait: worst where two groups share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
# every JVM of the tests lives for minutes: compiling its code once, lightly, takes half the time of compiling it well
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


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
def started_ray() -> Iterator[None]:
    """One local Ray cluster for all trainings of the process, started as `run_training` would start one for each."""
    from twinlake.train.cluster import ray_cluster

    with ray_cluster():
        yield


@pytest.fixture(scope="session")
def adult_path() -> str:
    """The bundled Adult table: 48,842 rows, 15 columns."""
    return str(ROOT / "data" / "adult" / "adult.parquet")


@pytest.fixture(scope="session")
def adult_rows(adult_path: str) -> Callable[[int], Any]:
    """`adult_rows(n)`: the first n rows of Adult as an Arrow table."""
    import pyarrow.parquet as pq

    return lambda rows: pq.read_table(adult_path).slice(0, rows).replace_schema_metadata(None)


@pytest.fixture(scope="session")
def random_model(spark: Any, adult_rows: Callable[[int], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that needed no training: the codec of 4,000 Adult rows with five more columns (a key, e-mail
    addresses, timestamps, decimals, a float with nulls and NaN) and a network of random weights. The same in every
    session: nothing in it depends on Spark."""
    from decimal import Decimal

    import numpy as np
    import pyarrow as pa
    from random_model import save_random_model

    from twinlake.core.seeds import generator
    from twinlake.models.encode import fit_codec
    from twinlake.profile.statistics import Column
    from twinlake.tables.parts import publish, write_part

    rows, draw = 4_000, generator(11)
    table = adult_rows(rows)
    floats = np.round(draw.normal(50, 20, rows), 3)
    floats[:40] = np.nan
    extra = {
        "id": pa.array(np.arange(rows), pa.int64()),
        "email": pa.array([f"person{i}@example.org" for i in range(rows)]),
        "seen": pa.array(1_700_000_000_000_000 + draw.integers(0, 10**7, rows) * 1_000_000, pa.timestamp("us", "UTC")),
        "balance": pa.array(
            [Decimal(int(cents)).scaleb(-2) for cents in draw.integers(-10_000, 90_000, rows)], pa.decimal128(10, 2)
        ),
        "rate": pa.array(floats, mask=np.arange(rows) % 9 == 0),
    }
    for name, column in extra.items():
        table = table.append_column(name, column)
    schema = with_spark_schema(table.schema)
    folder = tmp_path_factory.mktemp("random-model")
    (folder / "staging").mkdir()
    write_part(folder / "staging", 0, schema, table.cast(schema).to_batches())
    publish(folder / "staging", folder / "table", 1, {})
    made = {"id": {"synthesis": "key", "entity": None}, "email": {"synthesis": "surrogate", "entity": "EMAIL_ADDRESS"}}
    types = {"int64": "bigint", "timestamp[us, tz=UTC]": "timestamp", "decimal128(10, 2)": "decimal(10,2)"}
    columns = tuple(
        Column(f.name, types.get(str(f.type), str(f.type)), True, made.get(f.name, {"synthesis": "model", "entity": None}))
        for f in schema
    )
    codec = fit_codec(spark, folder / "table", columns, 10, 3)
    return save_random_model(folder / "model", codec)


@pytest.fixture(scope="session", name="with_spark_schema")
def _with_spark_schema() -> Callable[[Any], Any]:
    """`with_spark_schema(schema)`: an Arrow schema carrying the Spark schema, as the protected parts do."""
    return with_spark_schema


def with_spark_schema(schema: Any) -> Any:
    """`schema` carrying the Spark schema, as the protected parts do."""
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema

    plain = pa.schema([pa.field(f.name, f.type, f.nullable) for f in schema])
    spark_schema = from_arrow_schema(plain).json()
    return plain.with_metadata({"org.apache.spark.sql.parquet.row.metadata": spark_schema})


@pytest.fixture(scope="session")
def people_rows() -> Callable[[int], Any]:
    """`people_rows(n)`: a made-up table with personal data and canaries. Every e-mail, name, phone and card is one of a
    person; each holds the word canary or digits that are found in no other column."""
    import numpy as np
    import pyarrow as pa

    from twinlake.core.seeds import generator

    def make(rows: int) -> Any:
        draw, letters = generator(21), str.maketrans("0123456789", "abcdefghij")
        plan = np.array(["basic", "plus", "family"])[draw.integers(0, 3, rows)].astype(object)
        plan[:3] = "CANARYRARE"  # a category of three people
        age = draw.integers(18, 80, rows)
        return pa.table(
            {
                "customer_id": pa.array(np.arange(rows) + 7_700_000, pa.int64()),
                "email": [f"canary.mail{i}@canarymail{i % 7}.com" for i in range(rows)],
                "full_name": [
                    f"{('Anna', 'Peter', 'Maria', 'John')[i % 4]} Canarysen{str(i).translate(letters)}" for i in range(rows)
                ],
                "phone": [f"+1 212 867 {i % 10_000:04d}" for i in range(rows)],  # made-up numbers have 555 there
                "age": pa.array(age, pa.int32()),
                "plan": pa.array(plan.tolist()),
                "joined": pa.array(18_000 + draw.integers(0, 900, rows), pa.int32()).cast(pa.date32()),
                "spent": pa.array(np.round(age * 3.5 + draw.gamma(2.0, 40.0, rows), 2), mask=draw.random(rows) < 0.2),
                "churned": pa.array(draw.random(rows) < 0.3),
            }
        )

    return make


@pytest.fixture(scope="session")
def content_hash() -> Callable[[Any], str]:
    """`content_hash(table)`: of the values in their order, whatever the batches; a path means a folder of parts."""
    import hashlib

    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from twinlake.tables.parts import part_files

    def of(table: Any) -> str:
        if isinstance(table, Path):
            table = pa.concat_tables([pq.read_table(file) for file in part_files(table)])
        texts = [
            pc.fill_null(c.cast(pa.int64() if pa.types.is_timestamp(c.type) else c.type).cast("string"), "-")
            for c in table.columns
        ]
        digest = hashlib.sha256()
        for text in pc.binary_join_element_wise(*texts, "|").chunks:
            digest.update("\n".join([*text.to_pylist(), ""]).encode())
        return digest.hexdigest()

    return of


@pytest.fixture(scope="session")
def drawn_directly() -> Callable[..., Any]:
    """`drawn_directly(model, rows, seed)`: the rows as generate.blocks draws them, in this process, without Spark."""
    import pyarrow as pa

    from twinlake.generate.blocks import Job, block_count, decoded
    from twinlake.models.store import check_model

    def draw(model: Path, rows: int, seed: int = 7, conditions: dict[str, Any] | None = None) -> Any:
        job = Job(str(model), check_model(model), rows, seed, conditions or {})
        return pa.Table.from_batches([batch for _, _, batch in decoded(range(block_count(rows)), job)])

    return draw


@pytest.fixture(scope="session")
def publish_twin() -> Callable[..., Any]:
    """`publish_twin(spark, model, run, rows)`: writes run/synthetic as the generate stage does; returns the facts."""
    from twinlake.core.progress import Silent
    from twinlake.generate.blocks import Job
    from twinlake.generate.generate import write_rows
    from twinlake.generate.rules import read_rules
    from twinlake.models.store import check_model, load_model

    def write(
        spark: Any,
        model: Path,
        run: Path,
        rows: int,
        partitions: int | None = None,
        train: Path | None = None,
        seed: int = 7,
        progress: Any = None,
        rules: Any = (),
    ) -> Any:
        job, codec = Job(str(model), check_model(model), rows, seed, {}), load_model(str(model), check_model(model)).codec
        kept = read_rules(rules, [c.name for c in codec.columns if c.coarse] if train is not None and not rules else ())
        out = (run / ".staging-synthetic", run / "synthetic")
        return write_rows(spark, job, *out, partitions, progress or Silent(), kept, train)

    return write


MANY_ROWS = 300_000


@pytest.fixture(scope="session")
def many_rows(random_model: Path, drawn_directly: Callable[..., Any]) -> Any:
    """300,000 rows of the random model, drawn without Spark."""
    return drawn_directly(random_model, MANY_ROWS)


@pytest.fixture
def published_by(
    random_model: Path, many_rows: Any, content_hash: Any, publish_twin: Any, tmp_path: Path
) -> Callable[..., tuple[Path, Any]]:
    """`published_by(spark, partitions)`: 300,000 rows written by so many tasks, found equal to those drawn directly;
    their folder, and what writing told."""

    def write(spark: Any, partitions: int) -> tuple[Path, Any]:
        facts = publish_twin(spark, random_model, tmp_path, MANY_ROWS, partitions)
        assert content_hash(tmp_path / "synthetic") == content_hash(many_rows)
        assert not (tmp_path / ".staging-synthetic").exists()
        return tmp_path / "synthetic", facts

    return write


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
