"""Relations of a table are found by its encoding, and kept in every row that a model makes, however steered. The models
here have random weights, or shares of a tree: what holds, holds by construction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from random_model import save_random_model

from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.core.seeds import generator
from twinlake.generate.model import Model
from twinlake.models.encode import encode_table
from twinlake.tables.parts import publish, write_part
from twinlake.train.fit_marginal import fit_marginal
from twinlake.transform.columns import ColumnPlan
from twinlake.transform.plan import Plan

ROWS = 6_000
LANDS = [f"land {n % 7}" for n in range(40)]
SPARK = {"int": "int", "net": "decimal(9,2)", "tax": "decimal(9,2)", "gross": "decimal(9,2)", "sent": "date", "paid": "date"}


@pytest.fixture(scope="module", params=["tabular", "marginal"])
def model(request: Any, spark: Any, with_spark_schema: Any, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Zip codes (600, so two tokens) in 40 cities in 7 lands; net + tax = gross; paid not before sent; code = city."""
    draw, folder = generator(5), tmp_path_factory.mktemp("related")
    zips = draw.integers(0, 600, 2 * ROWS * 5)
    cents, tax = draw.integers(1, 90_000, len(zips)), draw.integers(1, 9_000, len(zips))
    sent = draw.integers(0, 900, len(zips))
    table = pa.table(
        {
            "zip": [f"z{z}" for z in zips],
            "city": [f"city {z % 40}" for z in zips],
            "land": [LANDS[z % 40] for z in zips],
            "code": [f"city {z % 40}" for z in zips],
            "net": pa.array([Decimal(int(c)).scaleb(-2) for c in cents], pa.decimal128(9, 2)),
            "tax": pa.array([Decimal(int(t)).scaleb(-2) for t in tax], pa.decimal128(9, 2)),
            "gross": pa.array([Decimal(int(c + t)).scaleb(-2) for c, t in zip(cents, tax, strict=True)], pa.decimal128(9, 2)),
            "sent": pa.array(sent, pa.int32()).cast(pa.date32()),
            "paid": pa.array(sent + draw.integers(0, 60, len(zips)), pa.int32(), mask=sent % 4 == 0).cast(pa.date32()),
        }
    )
    schema = with_spark_schema(table.schema)
    (folder / "staging").mkdir()
    for part, half in enumerate((table.slice(0, len(zips) // 2), table.slice(len(zips) // 2))):
        write_part(folder / "staging", part, schema, half.cast(schema).to_batches())
    publish(folder / "staging", folder / "table", 2, {})
    kinds = [SPARK.get(f.name, "string") for f in schema]
    plan = Plan(
        tuple(ColumnPlan(f.name, k, True, None, "keep", {}, k, "model", "") for f, k in zip(schema, kinds, strict=True))
    )
    config, encoded, out = ModelConfig(family=request.param), folder / "encoded", folder / "model"
    codec, counts = encode_table(spark, folder / "table", plan, 10, 3, folder / "codec.json", encoded, model=config)
    if request.param == "marginal":
        fit_marginal(codec, counts, encoded, folder / "work", out, config, TrainConfig(), 3)
        return Model.load(out)
    return Model.load(save_random_model(out, codec))


def check(made: pa.Table) -> None:
    assert made.num_rows == ROWS
    rows = made.to_pylist()
    for row in rows:
        assert row["city"] == f"city {int(row['zip'][1:]) % 40}" == row["code"]
        assert row["land"] == LANDS[int(row["city"].split()[1])]
        assert row["net"] + row["tax"] == row["gross"]
        assert row["paid"] is None or row["sent"] <= row["paid"]
    assert len({row["zip"] for row in rows}) > 5 and len({row["tax"] for row in rows}) > 500


def test_the_relations_are_found(model: Model) -> None:
    from twinlake.models.store import load_model

    codec = load_model(str(model.path), model.digest).codec
    names = [c.name for c in codec.columns]
    found = {(r.kind, *(names[c] for c in r.columns)) for r in codec.relations}
    assert found == {
        ("copy", "city", "code"),
        ("sum", "net", "tax", "gross"),
        ("order", "sent", "paid"),
        ("determines", "zip", "city"),
        ("determines", "zip", "code"),
        ("determines", "city", "code"),
        ("determines", "code", "land"),
        ("determines", "zip", "land"),
        ("determines", "city", "land"),
    }


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"city": "city 3"},
        {"land": "land 2"},
        {"code": ["city 1", "city 2"]},
        {"net": "7.25"},
        {"gross": {"min": "100.00", "max": "200.00"}},
    ],
)
def test_every_row_keeps_them(spark: Any, model: Model, conditions: dict[str, Any]) -> None:
    made = model.generate(spark, ROWS, conditions, partitions=2).toArrow()
    check(made)
    for name, wanted in conditions.items():
        values = made[name].to_pylist()
        if isinstance(wanted, dict):
            assert min(values) >= Decimal(wanted["min"]) and max(values) <= Decimal(wanted["max"])
        else:
            assert {str(v) for v in values} <= set(wanted if isinstance(wanted, list) else [wanted])


def test_completed_rows_keep_them(spark: Any, model: Model) -> None:
    gross = "cast(id % 50 + 500 AS decimal(9,2)) AS gross"
    seeds = spark.range(ROWS).selectExpr("id", "concat('land ', id % 7) AS land", gross)
    made = model.generate(spark, conditions=seeds, partitions=2).toArrow()
    check(made)
    assert {row["land"] for row in made.to_pylist() if row["id"] % 7 == 3} == {"land 3"}
    some = ["if(id % 2 = 0, land, null) AS land", "if(id % 3 = 0, gross, null) AS gross"]
    gaps = seeds.selectExpr("id", *some, "cast(null AS string) AS city")
    check(model.impute(gaps, partitions=2).toArrow())
