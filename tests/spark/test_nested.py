"""Nested records end to end: JSON lines in, a twin of the very same type, JSON lines out; conditions on leaves, exact.

What must hold by construction is tried on a model of random weights; the distribution on one that was trained.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from random_model import save_random_language, save_random_model

from twinlake import api, pipeline
from twinlake.core.config import parse_config
from twinlake.core.errors import ConfigError
from twinlake.core.seeds import generator
from twinlake.generate.model import Model
from twinlake.models.codec import Codec
from twinlake.models.encode import encode_table
from twinlake.models.nested import Leaf, flat_frame, flatten
from twinlake.models.store import load_model
from twinlake.tables.parts import part_files, publish
from twinlake.tables.split import Split
from twinlake.transform.columns import ColumnPlan
from twinlake.transform.plan import Plan
from twinlake.transform.protect import stage_rows

ROWS = 2_400
DDL = (
    "no int not null, plan string, home struct<land:string,rooms:int,size:struct<sqm:double>>, tags array<string>, "
    "orders array<struct<sku:string,price:decimal(8,2),seen:timestamp,parts:array<int>>> not null, more map<string,int>"
)


def records(rows: int) -> list[dict[str, Any]]:
    """No key and no name; `mail` is personal data, and holds the word canary."""
    draw, out = generator(31), []
    for number in range(rows):
        pro = bool(draw.random() < 0.4)
        lengths = [0.1, 0.3, 0.4, 0.2] if pro else [0.5, 0.3, 0.15, 0.05]
        row: dict[str, Any] = {"no": int(draw.integers(0, 9)), "plan": "pro" if pro else "free", "home": None, "tags": None}
        if draw.random() < 0.8:
            rooms = int(draw.integers(1, 6)) if draw.random() < 0.7 else None
            size = None if draw.random() < 0.1 else {"sqm": round(float(draw.normal(80 if pro else 50, 9)), 1)}
            row["home"] = {
                "land": str(draw.choice(["north", "south", "west"], p=[0.6, 0.3, 0.1])),
                "rooms": rooms,
                "size": size,
            }
        if draw.random() < 0.9:
            tags = [str(draw.choice(["a", "b", "c"])) for _ in range(int(draw.choice(4, p=lengths)))]
            row["tags"] = [None if draw.random() < 0.05 else tag for tag in tags]
        row["orders"] = [
            {
                "sku": str(draw.choice(["x1", "x2"])),
                "price": round(float(draw.exponential(20)) + 1, 2),
                "mail": f"canary{number}-{i}@example.org",
            }
            for i in range(int(draw.choice(3, p=lengths[1:] / np.sum(lengths[1:]))))
        ]
        out.append(row)
    return out


# -- by construction -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    file = tmp_path_factory.mktemp("real") / "real.jsonl"
    with file.open("w") as out:
        for number, row in enumerate(records(1_500)):
            for at, order in enumerate(row["orders"]):
                order |= {"seen": f"2024-01-0{1 + at} 0{row['no']}:00:00", "parts": list(range(number % 4))}
            out.write(json.dumps({**row, "more": {"k": 1}}) + "\n")
    schema = spark.createDataFrame([], DDL).schema
    return spark.createDataFrame(spark.read.schema(schema).json(str(file)).toArrow(), schema).cache()


@pytest.fixture(scope="module", params=["tabular", "language"])
def model(request: Any, spark: SparkSession, real: DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("nested")
    for name in ("staging", "unused"):
        (folder / name).mkdir()
    stage_rows(real, Split(3), 2, folder / "staging", folder / "unused")
    publish(folder / "staging", folder / "table", 2, {})
    kinds = [(f.name, f.dataType.simpleString(), f.nullable) for f in real.schema.fields]
    made = {name: "null" if kind.startswith("map") else "model" for name, kind, _ in kinds}
    plan = Plan(tuple(ColumnPlan(name, kind, null, None, "keep", {}, kind, made[name], "") for name, kind, null in kinds))
    codec, _ = encode_table(spark, folder / "table", plan, 10, 3, folder / "codec.json", folder / "encoded")
    save = save_random_model if request.param == "tabular" else save_random_language
    return Model.load(save(folder / "model", codec))


def where(condition: str) -> Column:
    """How many rows meet a condition in SQL."""
    return F.count_if(F.expr(condition))


def codec_of(model: Model) -> Codec:
    return load_model(str(model.path), model.digest).codec


def test_leaves_by_spark_are_leaves_by_arrow(model: Model, real: DataFrame) -> None:
    codec = codec_of(model)
    assert {"home", "home.size.sqm", "tags.length", "tags[0]", "orders[0].parts.length", "orders[1].price"} <= set(codec.names)
    flat = flat_frame(real, codec.names, codec.leaves).toArrow()
    batches = real.toArrow().combine_chunks().to_batches()
    ours = pa.Table.from_batches([codec.flat(batch.cast(codec.table.remove_metadata())) for batch in batches])
    assert flat.to_pylist() == ours.to_pylist() and flat.num_rows == 1_500
    again = pa.Table.from_batches([codec.whole(batch) for batch in ours.combine_chunks().to_batches()])
    kept = [name for name in real.columns if name != "more"]
    longest = {leaf.path[0]: leaf.most for leaf in codec.leaves if leaf.kind == "length" and len(leaf.path) == 1}
    assert longest == {"tags": 3, "orders": 2}
    assert again.select(kept).to_pylist() == real.select(kept).toArrow().to_pylist()
    assert Codec.from_json(codec.to_json()) == codec


def test_any_member_name_is_found(spark: SparkSession) -> None:
    """Dots, backticks, brackets, spaces, keywords: no name is ever parsed."""
    names = ["a.b", "x`y", "n[0]", "with space", "select", "é", "length"]
    kind = pa.struct([(name, pa.list_(pa.struct([(name, pa.int32())]))) for name in names])
    rows = [{"a.b": {name: [{name: at}] for at, name in enumerate(names)}}, {"a.b": {names[2]: [None, {names[2]: 7}]}}, {}]
    frame = spark.createDataFrame(pa.Table.from_pylist(rows, schema=pa.schema([("a.b", kind)])))
    paths: list[tuple[str | int, ...]] = [("a.b", name, at, name) for name in names for at in (0, 1)]
    leaves = [Leaf(("a.b",), "present"), *map(Leaf, paths), *(Leaf(("a.b", name), "length", most=2) for name in names)]
    flat = flat_frame(frame, [f"f{i}" for i in range(len(leaves))], leaves).toArrow()
    (batch,) = frame.toArrow().combine_chunks().to_batches()
    assert [column.to_pylist() for column in flat.columns] == [array.to_pylist() for array in flatten(batch, leaves)]
    assert flat.to_pylist()[1]["f6"] == 7 and flat.column("f0").to_pylist() == [True, True, None]


def test_a_drawn_row_is_valid_and_of_the_very_type(spark: SparkSession, model: Model, real: DataFrame) -> None:
    twin = model.generate(spark, 9_000).cache()
    assert twin.schema == real.schema and model.columns == real.columns
    one = twin.agg(
        where("home IS NOT NULL AND home.land IS NULL"),
        where("exists(orders, o -> o IS NULL OR o.sku IS NULL OR o.price IS NULL OR o.seen IS NULL OR o.parts IS NULL)"),
        where("exists(orders, o -> exists(o.parts, p -> p IS NULL))"),
        where("more IS NOT NULL"),
    ).first()
    assert one is not None and list(one) == [0, 0, 0, 0]
    states = twin.agg(
        *(where(text) for text in ("home IS NULL", "home.rooms IS NULL AND home IS NOT NULL", "home.size IS NULL")),
        *(where(text) for text in ("tags IS NULL", "array_size(tags) = 0", "exists(tags, t -> t IS NULL)")),
        *(where(text) for text in ("array_size(orders) = 0", "array_size(orders) = 2")),
    ).first()
    assert states is not None and min(states) > 100  # all are there, and told apart
    arrow = pa.Table.from_batches(twin.toArrow().to_batches())
    arrow.validate(full=True)


BOTH_ORDERS = "get(orders, 1).sku = 'x2' AND array_size(get(orders, 0).parts) >= 2"


@pytest.mark.parametrize(
    ("conditions", "rule"),
    [
        ({"home.land": "west"}, "home.land = 'west'"),
        ({"home": None}, "home IS NULL"),
        ({"home.rooms": None, "home": True}, "home IS NOT NULL AND home.rooms IS NULL"),
        ({"home.size.sqm": {"min": 60, "max": 70}}, "home.size.sqm BETWEEN 60 AND 70"),
        ({"tags.length": 2}, "array_size(tags) = 2"),
        ({"tags.length": None}, "tags IS NULL"),
        ({"tags[2]": "b", "plan": "pro"}, "array_size(tags) = 3 AND get(tags, 2) = 'b' AND plan = 'pro'"),
        ({"orders[1].sku": "x2", "orders[0].parts.length": {"min": 2}}, BOTH_ORDERS),
    ],
)
def test_conditions_on_leaves_are_exact(spark: SparkSession, model: Model, conditions: dict[str, Any], rule: str) -> None:
    made = model.generate(spark, 5_000, conditions).agg(F.count("*"), where(rule)).first()
    assert made is not None and list(made) == [5_000, 5_000]


def test_what_no_row_meets_or_is_no_leaf_is_refused(spark: SparkSession, model: Model) -> None:
    with pytest.raises(ConfigError, match="no row has it together"):
        model.generate(spark, 10, {"home": None, "home.land": "west"})
    for name in ("home.town", "tags[7]", "tags"):
        with pytest.raises(ConfigError, match="no column"):
            model.generate(spark, 10, {name: "x"})


def test_groups_of_a_leaf_are_balanced(spark: SparkSession, model: Model, real: DataFrame) -> None:
    twin = model.generate(spark, 8_000, balance=["home.land"], real=real)
    assert {row["land"]: row["count"] for row in twin.groupBy("home.land").count().collect()} == {
        None: 2_000, "north": 2_000, "south": 2_000, "west": 2_000,
    }  # fmt: skip
    assert twin.where("home IS NOT NULL AND home.land IS NULL").count() == 0


def test_seed_rows_keep_nested_cells_and_gaps_are_filled(spark: SparkSession, model: Model, real: DataFrame) -> None:
    seeds = real.select("plan", "home", "tags").limit(300)
    made = model.generate(spark, conditions=seeds)
    assert made.columns == ["plan", "home", "tags", "no", "orders", "more"]
    assert made.select("plan", "home", "tags").exceptAll(seeds).count() == 0 and made.count() == 300
    full = model.impute(real.limit(300))
    assert full.where("home IS NULL OR home.rooms IS NULL OR home.size IS NULL OR tags IS NULL").count() == 0
    assert full.where("exists(tags, t -> t IS NULL)").count() == 0
    whole = "home IS NOT NULL AND home.rooms IS NOT NULL AND home.size IS NOT NULL"
    assert real.limit(300).where(whole).select("home").exceptAll(full.select("home")).count() == 0


def test_the_data_source_gives_the_same_rows(spark: SparkSession, model: Model) -> None:
    api.register(spark)
    read = spark.read.format("twinlake").options(rows=500, conditions='{"home.land": "south"}').load(str(model.path))
    assert (
        read.select("home", "orders")
        .exceptAll(model.generate(spark, 500, {"home.land": "south"}).select("home", "orders"))
        .count()
        == 0
    )


# -- trained ---------------------------------------------------------------------------------------------------------------


class Run:
    """A finished run of JSON lines."""

    def __init__(self, folder: Path, values: dict[str, Any]) -> None:
        self.folder, self.values = folder, values

    def twin(self, spark: SparkSession) -> DataFrame:
        return spark.read.parquet(str(self.folder / "run" / "synthetic"))


@pytest.fixture(scope="module")
def run(spark: SparkSession, started_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("records")
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records(ROWS)))
    values = {
        "run": {"dir": str(folder / "run"), "keep_private": True},
        "source": {"path": str(folder / "records.jsonl"), "format": "json"},
        "train": {"epochs": 40, "workers": 1},
        "model": {"size": "s"},
        "output": {"path": str(folder / "out"), "format": "json"},
    }
    pipeline.run(parse_config(values), spark=spark)
    return Run(folder, values)


def test_the_twin_has_the_schema_of_the_source(spark: SparkSession, run: Run) -> None:
    source = spark.read.json(str(run.folder / "records.jsonl"))
    assert run.twin(spark).schema == source.schema and run.twin(spark).count() == ROWS
    assert pipeline.verify(run.folder / "run") == []
    evaluation = json.loads((run.folder / "run" / "evaluation.json").read_text())
    assert {"home.land", "home.size.sqm", "tags.length", "tags[0]", "orders[0].price"} <= set(evaluation["facts"]["columns"])
    assert evaluation["score"] > 70


def shares(values: list[Any]) -> dict[Any, float]:
    return {value: n / len(values) for value, n in Counter(values).items()}


def apart(real: list[Any], twin: list[Any]) -> float:
    """Total variation distance."""
    a, b = shares(real), shares(twin)
    return sum(abs(a.get(v, 0) - b.get(v, 0)) for v in {*a, *b}) / 2


def test_lengths_and_leaves_follow_the_real_ones(spark: SparkSession, run: Run) -> None:
    real, twin = records(ROWS), [row.asDict(recursive=True) for row in run.twin(spark).collect()]
    told = {
        "home": lambda r: r["home"] is None,
        "land": lambda r: r["home"] and r["home"]["land"],
        "rooms": lambda r: (r["home"] is None, r["home"] and r["home"]["rooms"]),
        "size": lambda r: (r["home"] is None, bool(r["home"] and r["home"]["size"])),
        "tags": lambda r: (r["plan"], None if r["tags"] is None else len(r["tags"])),
        "first": lambda r: r["tags"][0] if r["tags"] else "-",
        "orders": lambda r: len(r["orders"]),
        "skus": lambda r: "".join(o["sku"] for o in r["orders"]),
    }
    for name, tell in told.items():
        assert apart(list(map(tell, real)), list(map(tell, twin))) < 0.08, name
    prices = [[o["price"] for r in rows for o in r["orders"]] for rows in (real, twin)]
    assert abs(np.median(prices[0]) / np.median(prices[1]) - 1) < 0.15
    assert not any(o[m] is None for r in twin for o in r["orders"] for m in ("sku", "price", "mail"))


def test_leaves_are_protected_before_they_are_modelled(spark: SparkSession, run: Run) -> None:
    whole = run.folder / "run"
    for file in [*part_files(whole / "protected"), *part_files(whole / "synthetic")]:
        assert "canary" not in str(pq.read_table(file).to_pylist())
    for name in ("codec.json", "profile.json", "labels.json", "evaluation.json", "report.html", "model/codec.json"):
        assert "canary" not in (whole / name).read_text()
    mails = [o["mail"] for row in run.twin(spark).collect() for o in row["orders"]]
    assert all("@" in mail for mail in mails) and len(set(mails)) > 0.99 * len(mails)  # one of its own for each element


def test_json_lines_out_equal_the_twin(spark: SparkSession, run: Run) -> None:
    twin = run.twin(spark)
    read = spark.read.schema(twin.schema).option("mode", "FAILFAST").json(str(run.folder / "out"))
    assert read.exceptAll(twin).count() == 0 and read.count() == ROWS
    assert spark.read.json(str(run.folder / "out")).schema == twin.schema  # also without being told
    lines = next((run.folder / "out").glob("part-*.json")).read_text().splitlines()
    assert set(json.loads(lines[0])) == {"no", "plan", "home", "tags", "orders"}


def test_generating_again_by_a_leaf(spark: SparkSession, run: Run) -> None:
    """Conditions, rules over leaves and no copies, by the config of a run; it trains nothing."""
    steered = {
        "conditions": {"home.land": "west"},
        "rules": ["array_size(orders) > 0", {"combination": ["home.land", "plan"]}],
        "replace_copies": True,
        "rows": 500,
    }
    values = {**run.values, "generate": steered, "output": {"path": str(run.folder / "west"), "format": "json"}}
    done = pipeline.run(parse_config(values), spark=spark, last="generate")
    assert done.status["train"] == "unchanged" and done.rows == 500
    assert run.twin(spark).where("home.land = 'west' AND array_size(orders) > 0").count() == 500
    for where, wanted in (("conditions", {"home.town": "x"}), ("rules", [{"unique": ["home.town"]}])):
        with pytest.raises(ConfigError, match="no column"):
            pipeline.run(parse_config({**values, "generate": {where: wanted}}), spark=spark)
    with pytest.raises(
        ConfigError, match=r"output.format: csv can't hold column 'home' of type struct<.*; use parquet or json"
    ):
        pipeline.run(parse_config({**values, "output": {"path": str(run.folder / "no"), "format": "csv"}}), spark=spark)
    assert not (run.folder / "no").exists()


def test_fit_and_evaluate_frames(spark: SparkSession, run: Run) -> None:
    real = spark.createDataFrame(spark.read.json(str(run.folder / "records.jsonl")).drop("orders").toArrow())
    made = api.fit(real, path=run.folder / "fitted", epochs=2, workers=1, size="s")
    twin = made.generate(spark, 1_000)
    assert twin.schema == real.schema
    found = api.evaluate(real, twin)
    assert "home.rooms" in found.facts["columns"] and found.score is not None
