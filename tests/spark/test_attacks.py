"""Attacks on twins whose answer is known: rows trained on leak, other rows of the table do not, planted copies are counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinlake.evaluate.attacks import likelihood
from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.metrics import METRICS
from twinlake.evaluate.metrics.attacks import OF_ROWS
from twinlake.models.sampler import TabularSampler
from twinlake.models.store import check_model, load_model

pytestmark = pytest.mark.spark
ROWS, HELD = 2400, 1200
MEASURED = (*OF_ROWS, "privacy_risk")


@pytest.fixture(scope="module")
def evidence(spark: Any, adult_rows: Callable[[int], Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Evidence]:
    """`evidence(name, table)`: a twin of the first rows of Adult; the holdout are the next ones."""
    folder: Path = tmp_path_factory.mktemp("attacked")
    table = adult_rows(2 * ROWS + HELD)

    def frame(name: str, rows: pa.Table) -> Any:
        pq.write_table(rows, folder / f"{name}.parquet")
        return spark.read.parquet(str(folder / f"{name}.parquet"))

    real, held = frame("real", table.slice(0, ROWS)), frame("held", table.slice(ROWS, HELD))
    kinds = {f.name: "number" if pa.types.is_integer(f.type) else "category" for f in table.schema}

    def of(name: str, twin: pa.Table) -> Evidence:
        return Evidence(real, frame(name, twin), tuple(kinds), kinds, holdout=held, target="income")

    return of


def test_the_rows_trained_on_are_flagged(evidence: Callable[..., Evidence], adult_rows: Callable[[int], Any]) -> None:
    twin = evidence("same", adult_rows(ROWS))
    found = {name: METRICS[name].compute(twin) for name in MEASURED}
    for name in OF_ROWS:
        assert found[name].interval[0] > 0.5, name
    assert found["privacy_risk"].detail["level"] == "Poor"
    assert METRICS["near_copies"].compute(twin).detail["excess"][1] > 0.9
    ratio = METRICS["neighbour_ratio"].compute(twin)
    assert ratio.value == 0.0 and ratio.reference > 0.1


def test_other_rows_of_the_table_are_not(evidence: Callable[..., Evidence], adult_rows: Callable[[int], Any]) -> None:
    twin = evidence("fresh", adult_rows(2 * ROWS + HELD).slice(ROWS + HELD, ROWS))
    found = {name: METRICS[name].compute(twin) for name in MEASURED}
    for name, result in found.items():
        assert result.interval[0] == 0.0 and result.value <= result.interval[1], name
    assert found["privacy_risk"].detail["level"] in ("Good", "Very Good", "Excellent")
    assert not found["privacy_risk"].detail["missing"]
    for name in ("exact_copies", "near_copies"):
        assert METRICS[name].compute(twin).detail["excess"][1] == 0.0, name


def test_the_holdout_itself_is_not(evidence: Callable[..., Evidence], adult_rows: Callable[[int], Any]) -> None:
    twin = evidence("holdout", adult_rows(ROWS + HELD).slice(ROWS))
    for name in MEASURED:
        assert METRICS[name].compute(twin).interval[0] == 0.0, name


def test_planted_copies_are_counted(evidence: Callable[..., Evidence], adult_rows: Callable[[int], Any]) -> None:
    """A tenth of the twin's rows, and as many of the people trained on."""
    table = adult_rows(2 * ROWS + HELD)
    chosen = table.take(np.random.default_rng(1).permutation(ROWS)[: ROWS // 10])
    twin = evidence("planted", pa.concat_tables([table.slice(ROWS + HELD, ROWS - len(chosen)), chosen]))
    for name in ("exact_copies", "near_copies"):
        assert METRICS[name].compute(twin).detail["excess"][0] == pytest.approx(0.1, abs=0.02), name
    result = METRICS["copies"].compute(twin)
    assert result.value == pytest.approx(0.1, abs=0.02) and result.interval[0] > 0.08


def test_a_task_asks_the_model_of_the_rows_that_it_gets(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that holds rows for the likelier the higher their tokens."""
    monkeypatch.setattr(TabularSampler, "log_prob", lambda self, tokens: tokens.sum(1) - 1e4, raising=False)
    digest = check_model(random_model)
    codec = load_model(str(random_model), digest).codec
    rows = pq.read_table(random_model.parent / "table").slice(0, 50).combine_chunks().to_batches()[0]
    sides = pa.array(np.arange(50) % 2, pa.int32())
    asked = pa.RecordBatch.from_arrays([*rows.columns, sides], names=[*rows.schema.names, "__side"])
    (told,) = likelihood._told(str(random_model), digest, iter([asked]))
    assert told.column("told").to_pylist() == (codec.encode(rows).sum(1) - 1e4).tolist()
    assert told.column("side").to_pylist() == sides.to_pylist()


def test_what_the_model_itself_holds_likely_is_an_attack(
    evidence: Callable[..., Evidence], adult_rows: Callable[[int], Any]
) -> None:
    """A stand-in for what a model said: rows trained on are likelier by three standard deviations."""
    draw = np.random.default_rng(5)
    twin = evidence("told", adult_rows(2 * ROWS + HELD).slice(ROWS + HELD, ROWS))
    told = likelihood.Likelihoods(draw.normal(3, 1, ROWS), draw.normal(0, 1, HELD))
    twin.memo["likelihoods"] = told
    result = METRICS["model_membership"].compute(twin)
    assert result.detail["strongest"].startswith("the model's own probability") and result.interval[0] > 0.7
    of_rows = METRICS["privacy_risk"].compute(twin)
    assert "model_membership" not in of_rows.detail["attacks"] and of_rows.interval[0] <= 0.01
    told = Evaluation(None, "", {"model_membership": result}).model_exposure
    assert told is not None and re.search(r"risk [789]\d% or more", told) and "model folder" in told
    assert Evaluation(None, "", {"model_membership": of_rows}).model_exposure is None
