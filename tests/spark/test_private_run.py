"""A run with a privacy budget on a small table of purchases: the ledger, what is counted of whom, what is marked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinlake import pipeline
from twinlake.core.config import parse_config
from twinlake.core.errors import ConfigError
from twinlake.core.seeds import generator
from twinlake.models.script import Script
from twinlake.tables.parts import part_files
from twinlake.tables.split import rows_of_units
from twinlake.train.accounting import Release, spent
from twinlake.train.audit_run import audit_run
from twinlake.train.ledger import Ledger, guarantee_of

UNITS, MOST = 1_500, 2
WHALE = 7


def purchases(whale_age: int = 44) -> pa.Table:
    """Two purchases of each customer, 500 of one; a tier that nobody else has is theirs."""
    draw = generator(5)
    customer = np.concatenate([np.repeat(np.arange(UNITS), 2), np.full(500, WHALE)])
    own = customer == WHALE
    return pa.table(
        {
            "customer": pa.array([f"c{n:05d}" for n in customer]),
            "age": pa.array(np.where(own, whale_age, draw.integers(18, 80, len(customer))), pa.int32()),
            "tier": pa.array(np.where(own, "secret", draw.choice(["basic", "plus", "gold"], len(customer), p=[0.6, 0.3, 0.1]))),
            "paid": pa.array(np.where(own, 1e7, np.round(draw.gamma(2.0, 20.0, len(customer)), 2))),
            "back": pa.array(draw.random(len(customer)) < 0.2),
        }
    )


@pytest.fixture(scope="module", params=["tabular", "language"])
def run(request: Any, spark: Any, started_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("private")
    pq.write_table(purchases(), folder / "purchases.parquet")
    values: dict[str, Any] = {
        "run": {"dir": str(folder / "run"), "keep_private": True},
        "source": {"path": str(folder / "purchases.parquet")},
        "privacy": {"epsilon": 8, "unit": "customer", "max_rows_per_unit": MOST},
        "model": {"family": request.param, "language": {"core": "transformer", "embedding_dim": 32, "layers": 1}},
        "train": {"epochs": 3, "workers": 2},
    }
    result = pipeline.run(parse_config(values), spark=spark)
    assert set(result.status.values()) == {"done"}
    again = pipeline.run(parse_config(values), spark=spark)
    assert set(again.status.values()) == {"unchanged"}
    return folder / "run"


def test_the_ledger_says_what_was_spent(run: Path) -> None:
    ledger, guarantee = Ledger.open(run / "ledger.json"), guarantee_of(run / "model")
    assert guarantee == ledger.guarantee()
    assert list(ledger.releases) == ["frequent values", "ranges of numbers", "histograms of numbers", "training"]
    training = ledger.releases["training"]
    assert (training.group, training.rate, training.steps) == (MOST, 0.1, 30)
    assert 7.8 < guarantee["epsilon"] <= 8.0 and guarantee["accountant"] == "PLD" and guarantee["unit"] == "customer"
    assert guarantee["epsilon"] == pytest.approx(spent([Release(**_fields(r)) for r in guarantee["releases"]], 1e-6), abs=1e-5)
    assert {"rows", "schema", "kinds", "plan"} <= set(guarantee["public"]) and guarantee["earlier"] == []


def _fields(release: dict[str, Any]) -> dict[str, Any]:
    return {name: release[name] for name in ("name", "sigma", "rate", "steps", "group", "delta")}


def test_rows_of_one_person_count_as_one_unit(run: Path) -> None:
    state = json.loads((run / "run.json").read_text())
    assert state["source_rows"] == MOST * UNITS  # not one of the other 500
    codec = json.loads((run / "codec.json").read_text())
    by_name = {c["name"]: c for c in codec["columns"]}
    assert set(by_name["tier"]["values"]) == {"basic", "plus", "gold"}
    assert max(by_name["paid"]["high"]) < 1e6  # in cents; theirs was 1e9
    assert by_name["customer"]["method"] in ("key", "surrogate", "format")
    assert codec["relations"] == []
    for file in (f for folder in (run / "model", run / "synthetic") for f in folder.rglob("*") if f.is_file()):
        assert b"secret" not in file.read_bytes(), file.name


def test_nothing_exact_of_the_training_is_told(run: Path) -> None:
    model = json.loads((run / "model" / "model.json").read_text())
    if model["family"] == "language":  # tells the tokens of the noisy codec, and has no pieces or words
        script = Script.load(run / "model")
        assert script.codec.to_json() == (run / "codec.json").read_text() and script.tokenizer is None and not script.texts
    assert model["history"] == [] and model["trials"] == [] and "loss" not in json.dumps(model)
    assert json.loads((run / "profile.json").read_text())["release"].startswith("not for release")
    facts = json.loads((run / "evaluation.json").read_text())["facts"]
    assert facts["release"].startswith("not for release") and facts["privacy"] == model["privacy"]


def test_the_twin_is_like_the_table(run: Path) -> None:
    twin = pa.concat_tables([pq.read_table(f) for f in part_files(run / "synthetic")])
    assert twin.num_rows == MOST * UNITS and twin.column_names == purchases().column_names
    tiers = dict(zip(*np.unique(twin["tier"].to_numpy(zero_copy_only=False), return_counts=True), strict=True))
    assert tiers["basic"] / twin.num_rows == pytest.approx(0.6, abs=0.08)
    assert set(tiers) == {"basic", "plus", "gold"}
    assert 30 < np.median(twin["age"].to_numpy()) < 70


def test_the_run_can_be_audited(run: Path) -> None:
    found = audit_run(run, 100)
    training = Ledger.open(run / "ledger.json").releases["training"]
    assert found.holds and found.canaries == 100
    assert found.counted == pytest.approx(spent([training], found.delta)) and found.claimed == pytest.approx(found.counted)


def test_at_most_so_many_rows_of_a_unit_are_used_whichever_come_first(spark: Any, tmp_path: Path) -> None:
    pq.write_table(purchases(), tmp_path / "rows.parquet")
    df = spark.read.parquet(str(tmp_path / "rows.parquet"))
    kept = rows_of_units(df, "customer", 3, 1)
    assert kept.columns == df.columns
    assert kept.count() == 2 * (UNITS - 1) + 3
    mixed = rows_of_units(df.repartition(3, "paid"), "customer", 3, 1)
    assert kept.exceptAll(mixed).count() == 0
    with pytest.raises(ConfigError, match=r"privacy\.unit: no column 'custmer' \(did you mean 'customer'\?\)"):
        rows_of_units(df, "custmer", 3, 1)
