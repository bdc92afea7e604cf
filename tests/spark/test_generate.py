"""Generated rows are a function of the model, the seed and the row id alone, on a local session."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from twinlake.core.errors import CommitError, ConfigError, DataError, ModelError
from twinlake.core.progress import Silent
from twinlake.generate.model import Model
from twinlake.tables.parts import part_files, verify_folder

COPY_ROWS = 20_000
HOSTILE = {
    "spark.sql.ansi.enabled": "false",
    "spark.sql.session.timeZone": "Asia/Kathmandu",
    "spark.sql.caseSensitive": "true",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.sql.execution.arrow.pyspark.enabled": "false",
}


@pytest.mark.parametrize("partitions", [1, 7, 64])
def test_parts_are_the_same_for_any_partitions(spark: Any, many_rows: Any, published_by: Any, partitions: int) -> None:
    out, facts = published_by(spark, partitions)
    assert facts["rows"] == many_rows.num_rows == sum(pq.read_metadata(f).num_rows for f in part_files(out))
    assert verify_folder(out) == [] and (out / "_SUCCESS").is_file()
    ids = pa.concat_tables([pq.read_table(f, columns=["id"]) for f in part_files(out)])["id"]
    assert len(ids.unique()) == many_rows.num_rows


def test_parts_are_equal_byte_for_byte(spark: Any, random_model: Path, publish_twin: Any, tmp_path: Path) -> None:
    manifests = []
    for name, partitions in (("a", 1), ("b", 5)):
        publish_twin(spark, random_model, tmp_path / name, 40_000, partitions)
        manifests.append((tmp_path / name / "synthetic" / "_manifest.json").read_bytes())
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("partitions", [1, 7, 64])
def test_lazy_rows_are_the_same_for_any_number_of_partitions(
    spark: Any, random_model: Path, many_rows: pa.Table, content_hash: Any, partitions: int
) -> None:
    before, rows = spark.conf.getAll, 100_000
    frame = Model.load(random_model).generate(spark, rows, partitions=partitions)
    assert frame.rdd.getNumPartitions() == min(partitions, 25)
    once = frame.toArrow()
    assert once.num_rows == rows
    assert content_hash(once) == content_hash(many_rows.slice(0, rows))
    assert spark.conf.getAll == before
    if partitions == 7:  # lazy: it runs again, and gives the same
        assert content_hash(frame.toArrow()) == content_hash(once)


def test_another_seed_gives_other_rows_and_a_prefix_is_a_prefix(
    random_model: Path, many_rows: pa.Table, drawn_directly: Any, content_hash: Any
) -> None:
    assert content_hash(drawn_directly(random_model, 10_000)) == content_hash(many_rows.slice(0, 10_000))
    assert content_hash(drawn_directly(random_model, 10_000, seed=8)) != content_hash(many_rows.slice(0, 10_000))


def test_the_session_may_be_set_up_in_any_way(
    spark: Any, random_model: Path, many_rows: pa.Table, content_hash: Any, publish_twin: Any, tmp_path: Path
) -> None:
    rows = 50_000
    with settings(spark, HOSTILE):
        before = spark.conf.getAll
        lazy = Model.load(random_model).generate(spark, rows, partitions=3)
        written = lazy.write.mode("overwrite").parquet(str(tmp_path / "lazy"))
        assert written is None
        publish_twin(spark, random_model, tmp_path, rows)
        assert spark.conf.getAll == before
    wanted = content_hash(many_rows.slice(0, rows))
    assert content_hash(tmp_path / "synthetic") == wanted
    files = sorted((tmp_path / "lazy").glob("part-*.parquet"))
    through_spark = pa.concat_tables([pq.read_table(f) for f in files]).cast(many_rows.schema)
    assert content_hash(through_spark) == wanted


@pytest.mark.parametrize(
    "conditions",
    [
        {"sex": "Female"},
        {"age": 37, "income": ">50K"},
        {"education": ["Masters", "Doctorate"], "sex": "Male", "age": [25, 26, 27]},
        {"rate": None},
        {"fnlwgt": [200_000, 200_001, 200_002]},  # values of one bin: each comes
        {"fnlwgt": {"min": 150_000, "max": 180_000}, "age": {"min": 40}, "balance": {"max": "100.00"}},
    ],
)
def test_conditions_hold_in_every_row(spark: Any, random_model: Path, conditions: dict[str, Any]) -> None:
    rows = 9_000
    made = Model.load(random_model).generate(spark, rows, conditions=conditions).toArrow()
    assert made.num_rows == rows
    for name, wanted in conditions.items():
        values = set(made[name].to_pylist())
        if isinstance(wanted, dict):
            low, high = wanted.get("min", -math.inf), Decimal(wanted.get("max", "inf"))
            assert None not in values and low <= min(values) and max(values) <= high and len(values) > 20
            continue
        assert values == (set(wanted) if isinstance(wanted, list) else {wanted})
    assert len(made["occupation"].unique()) > 1


@pytest.mark.parametrize(
    ("conditions", "named"),
    [
        ({"sexx": "Male"}, "sex"),
        ({"sex": "Unheard"}, "Female"),
        ({"age": 4_000}, "age"),
        ({"age": "old"}, "age"),
        ({"age": None}, "age"),
        ({"sex": []}, "sex"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(random_model: Path, conditions: dict[str, Any], named: str) -> None:
    from twinlake.generate.conditions import read_conditions
    from twinlake.models.store import check_model, load_model

    codec = load_model(str(random_model), check_model(random_model)).codec
    with pytest.raises(ConfigError, match=named):
        read_conditions(conditions, codec)


def test_a_finished_output_is_not_drawn_again(spark: Any, random_model: Path, publish_twin: Any, tmp_path: Path) -> None:
    first = publish_twin(spark, random_model, tmp_path, 20_000)
    out = tmp_path / "synthetic"
    before = {f.name: f.stat().st_mtime_ns for f in out.iterdir()}
    assert publish_twin(spark, random_model, tmp_path, 20_000) == first
    assert {f.name: f.stat().st_mtime_ns for f in out.iterdir()} == before
    publish_twin(spark, random_model, tmp_path, 30_000)
    assert json.loads((out / "_manifest.json").read_text())["rows"] == 30_000
    # a damaged part is made again
    part = Path(part_files(out)[1])
    content = part.read_bytes()
    part.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    assert verify_folder(out) == [str(out / part.name)]
    publish_twin(spark, random_model, tmp_path, 30_000)
    assert verify_folder(out) == [] and part.read_bytes() == content


def test_only_missing_parts_are_drawn_again(
    spark: Any, random_model: Path, many_rows: pa.Table, content_hash: Any, publish_twin: Any, tmp_path: Path
) -> None:
    """A staging folder as a dead run leaves it: whole parts, a truncated one, one without its manifest row, litter."""
    from functools import partial

    from twinlake.generate.blocks import Job, make_part
    from twinlake.generate.generate import job_identity
    from twinlake.models.store import check_model

    rows, staging = 60_000, tmp_path / ".staging-synthetic"
    job = Job(str(random_model), check_model(random_model), rows, 7, {})
    staging.mkdir()
    (staging / "job.txt").write_text(job_identity(job))
    made = {n: json.loads(json.dumps(list(partial(make_part, job=job, staging=str(staging))(n)))) for n in range(5)}
    assert len(made) == 5
    files = {n: next(staging.glob(f"part-{n:05d}-*.parquet")) for n in range(5)}
    files[1].write_bytes(files[1].read_bytes()[:-100])
    files[2].with_suffix(".json").unlink()
    files[3].with_suffix(".json").write_text('{"part": 3, "fi')
    (staging / ".part-00004-9.tmp").write_bytes(b"half")
    kept = {n: files[n].stat().st_mtime_ns for n in (0, 4)}
    publish_twin(spark, random_model, tmp_path, rows)
    out = tmp_path / "synthetic"
    assert content_hash(out) == content_hash(many_rows.slice(0, rows))
    assert {n: (out / f"part-{n:05d}.parquet").stat().st_mtime_ns for n in kept} == kept
    assert all(not f.name.startswith(".") for f in out.iterdir())


def test_a_foreign_folder_is_not_replaced(spark: Any, random_model: Path, publish_twin: Any, tmp_path: Path) -> None:
    out = tmp_path / "synthetic"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(CommitError, match="not of twinlake"):
        publish_twin(spark, random_model, tmp_path, 5_000)
    assert (out / "thesis.txt").read_text() == "mine"


def test_a_changed_model_is_refused(random_model: Path, tmp_path: Path) -> None:
    Model.load(random_model).save(tmp_path / "model")
    for name in ("weights.safetensors", "codec.json", "model.json"):
        file = tmp_path / "model" / name
        content = file.read_bytes()
        file.write_bytes(content[:-50] + bytes([content[-50] ^ 1]) + content[-49:])
        with pytest.raises(ModelError, match=name):
            Model.load(tmp_path / "model")
        file.write_bytes(content)
    Model.load(tmp_path / "model")


@pytest.fixture(scope="module")
def small(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from twinlake.core.seeds import generator
    from twinlake.models.encode import fit_codec
    from twinlake.models.store import save_model
    from twinlake.models.tabular import TabularNetwork, TabularSettings, model_facts
    from twinlake.profile.statistics import Column
    from twinlake.tables.parts import publish, write_part

    folder = tmp_path_factory.mktemp("copies")
    drawn = generator(4).integers(0, 30, (3, 3_000)).tolist()
    schema = pa.schema([(name, pa.string()) for name in "abc"])
    metadata = {
        "type": "struct",
        "fields": [{"name": n, "type": "string", "nullable": True, "metadata": {}} for n in "abc"],
    }
    schema = schema.with_metadata({"org.apache.spark.sql.parquet.row.metadata": json.dumps(metadata)})
    table = pa.table([pa.array([f"{n}{v}" for v in row]) for n, row in zip("abc", drawn, strict=True)], schema=schema)
    (folder / "staging").mkdir()
    write_part(folder / "staging", 0, schema, table.to_batches())
    publish(folder / "staging", folder / "protected", 1, {})
    columns = tuple(Column(n, "string", True, {"synthesis": "model", "entity": None}) for n in "abc")
    codec = fit_codec(spark, folder / "protected", columns, 10, 3)
    parents = np.tile(np.arange(3), (3, 1))
    settings_ = TabularSettings(4, 8, 0)
    network = TabularNetwork(codec.sizes, parents, settings_, [np.zeros(s, np.float32) for s in codec.sizes], 1)
    weights = {n: p.detach() for n, p in network.named_parameters()}
    facts = {
        "family": "tabular",
        "rows": 3_000,
        "history": [],
        **model_facts(codec.sizes, parents, settings_, [0, 1, 2], codec.slots),
    }
    save_model(folder / "model", codec, weights, facts)
    return folder


@pytest.fixture(scope="module")
def replaced(spark: Any, small: Path, publish_twin: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """An undisturbed twin without copies, and its facts."""
    run = tmp_path_factory.mktemp("replaced")
    return run, publish_twin(spark, small / "model", run, COPY_ROWS, train=small / "protected")


class TestCopies:
    """Three columns of 30 values: of 20,000 drawn rows many equal one of 3,000 training rows by chance."""

    @staticmethod
    def copies(folder: Path, out: Path) -> int:
        real, twin = (pa.concat_tables([pq.read_table(f) for f in part_files(p)]) for p in (folder / "protected", out))
        joined = [pc.binary_join_element_wise(*t.columns, "|") for t in (real, twin)]
        return int(pc.sum(pc.is_in(joined[1], joined[0].combine_chunks())).as_py())

    def test_replacing_leaves_none_and_changes_nothing_else(
        self, spark: Any, small: Path, replaced: tuple[Path, Any], publish_twin: Any, tmp_path: Path
    ) -> None:
        rows = COPY_ROWS
        publish_twin(spark, small / "model", tmp_path / "plain", rows)
        chance = self.copies(small, tmp_path / "plain" / "synthetic")
        assert chance > 500
        folder, facts = replaced
        out = folder / "synthetic"
        assert facts["redrawn"] == {"no copy of a train row": pytest.approx(chance, rel=0.3)} and facts["rows"] == rows
        assert self.copies(small, out) == 0
        assert {f.name for f in out.iterdir()} >= {"_SUCCESS", "_manifest.json"}
        assert not [f for f in out.iterdir() if "redraw" in f.name]
        before, after = (
            pa.concat_tables([pq.read_table(f) for f in part_files(p)]).to_pylist()
            for p in (tmp_path / "plain" / "synthetic", out)
        )
        assert sum(a != b for a, b in zip(before, after, strict=True)) == chance

    def test_a_run_that_died_while_redrawing_gives_the_same_rows(
        self, spark: Any, small: Path, replaced: tuple[Path, Any], publish_twin: Any, content_hash: Any, tmp_path: Path
    ) -> None:
        rows = COPY_ROWS

        class Interrupting(Silent):
            def say(self, text: str) -> None:
                if "round 2" in text:
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            publish_twin(spark, small / "model", tmp_path / "died", rows, train=small / "protected", progress=Interrupting())
        staging = tmp_path / "died" / ".staging-synthetic"
        assert (tmp_path / "died" / ".staging-synthetic-redraws").is_dir()
        next(staging.glob("part-00002-*.json")).unlink()
        resumed = publish_twin(spark, small / "model", tmp_path / "died", rows, partitions=2, train=small / "protected")
        assert resumed == replaced[1]
        assert content_hash(tmp_path / "died" / "synthetic") == content_hash(replaced[0] / "synthetic")

    def test_a_table_of_few_different_rows_is_refused_not_shortened(
        self, spark: Any, small: Path, publish_twin: Any, tmp_path: Path
    ) -> None:

        from twinlake.tables.parts import publish, write_part

        staging, schema = tmp_path / "staging", pq.read_schema(part_files(small / "protected")[0])
        staging.mkdir()
        every = list(itertools.product(range(30), repeat=3))  # all 27,000 combinations are training rows
        columns = [pa.array([f"{n}{v}" for v in values]) for n, values in zip("abc", zip(*every, strict=True), strict=True)]
        write_part(staging, 0, schema, pa.table(columns, schema=schema).to_batches())
        publish(staging, whole := tmp_path / "protected", 1, {})
        with pytest.raises(DataError, match="turn replace_copies off"):
            publish_twin(spark, small / "model", tmp_path / "run", 4_000, train=whole)
        assert not (tmp_path / "run" / "synthetic").exists()


@contextmanager
def settings(spark: Any, wanted: dict[str, str]) -> Iterator[None]:
    before = {key: spark.conf.get(key, None) for key in wanted}
    for key, value in wanted.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            spark.conf.unset(key) if value is None else spark.conf.set(key, value)
