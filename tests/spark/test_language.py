"""The language family, and texts beside the tabular one, on a small table in local[2]: the whole line, and every steering."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import twinlake
from twinlake import pipeline
from twinlake.core.config import Config, parse_config
from twinlake.core.errors import ConfigError
from twinlake.core.seeds import generator
from twinlake.generate.model import Model
from twinlake.tables.parts import part_files

ROWS = 900
SECRET = "Qwyjibonerxk"
TOPICS = ("card", "loan", "cash")
FIRST, LAST = dt.date(2021, 2, 1), dt.date(2023, 1, 31)


def tickets(rows: int) -> pa.Table:
    """Texts whose words follow from a topic; one row holds a secret word, another a secret number."""
    draw = generator(31)
    topic = np.array(TOPICS)[draw.integers(0, 3, rows)]
    how = np.array(["please help me with my", "where is my", "I have lost the"])[draw.integers(0, 3, rows)]
    end = np.array(["today", "as soon as you can", "before the week is over", "thank you"])[draw.integers(0, 4, rows)]
    texts = [f"{h} {t}, {e} {d}" for h, t, e, d in zip(how, topic, end, draw.integers(0, 10_000, rows), strict=True)]
    texts[5] = f"my password is {SECRET} and my {topic[5]}"
    texts[7] = f"call me about the {topic[7]} on 8675309867"
    days = [FIRST + dt.timedelta(int(n)) for n in draw.integers(0, (LAST - FIRST).days + 1, rows)]
    return pa.table(
        {
            "ticket": pa.array(np.arange(rows) + 50_000, pa.int64()),
            "topic": topic.tolist(),
            "opened": pa.array(days, pa.date32()),
            "amount": pa.array(np.round(draw.gamma(3.0, 40.0, rows), 2), mask=draw.random(rows) < 0.2),
            "message": pa.array(texts, mask=draw.random(rows) < 0.1),
        }
    )


def config_of(folder: Path, family: str, core: str = "lstm", epochs: int = 12) -> Config:
    language = {"core": core, "rnn_units": 64, "embedding_dim": 64, "layers": 1}
    values = {
        "run": {"dir": str(folder / "run")},
        "source": {"path": str(folder / "tickets.parquet")},
        "model": {"family": family, "language": language},
        "train": {"epochs": epochs, "workers": 2},
    }
    return parse_config(values)


@pytest.fixture(scope="module", params=["language", "tabular"])
def finished(request: Any, spark: Any, started_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished run: of family language, and of family tabular with texts."""
    folder = tmp_path_factory.mktemp(request.param)
    pq.write_table(tickets(ROWS), folder / "tickets.parquet")
    result = pipeline.run(config_of(folder, request.param), spark=spark)
    assert set(result.status.values()) == {"done"} and pipeline.verify(folder / "run") == []
    return folder / "run"


def twin_of(run: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(f) for f in part_files(run / "synthetic")])


def test_every_row_is_valid(finished: Path) -> None:
    twin, real = twin_of(finished), tickets(ROWS)
    assert twin.num_rows == ROWS and twin.schema.names == real.schema.names
    assert [f.type for f in twin.schema] == [f.type for f in real.schema]
    assert set(twin["topic"].to_pylist()) <= set(TOPICS)
    assert pc.min(twin["opened"]).as_py() >= FIRST and pc.max(twin["opened"]).as_py() <= LAST
    assert pc.min(real["amount"]).as_py() <= pc.min(twin["amount"]).as_py()
    assert pc.max(twin["amount"]).as_py() <= pc.max(real["amount"]).as_py()
    state = json.loads((finished / "run.json").read_text())
    assert state["synthetic"].get("invalid", 0) == 0
    assert ("invalid" in state["synthetic"]) == (state["config"]["model"]["family"] == "language")
    assert len(set(twin["ticket"].to_pylist())) == ROWS
    assert not set(twin["ticket"].to_pylist()) & set(real["ticket"].to_pylist())


def test_texts_look_like_texts_and_follow_the_row(finished: Path) -> None:
    twin = twin_of(finished).select(["topic", "message"]).to_pylist()
    told = [row for row in twin if row["message"]]
    assert 0.03 < 1 - len([r for r in twin if r["message"] is not None]) / ROWS < 0.2
    words = {word for text in tickets(ROWS)["message"].to_pylist() if text for word in text.split()}
    own = [word for row in told for word in row["message"].split() if word.isalpha()]
    assert np.mean([word in words for word in own]) > 0.6
    named = [(row["topic"], topic) for row in told for topic in TOPICS if topic in row["message"]]
    assert len(named) > 0.3 * ROWS
    assert np.mean([a == b for a, b in named]) > 0.6  # a third by chance


def test_what_one_person_wrote_is_nowhere(finished: Path) -> None:
    for file in finished.rglob("*"):
        if file.is_file() and "protected" not in file.parts:  # the protected rows are the real texts, kept by the plan
            content = file.read_bytes()
            assert SECRET.encode() not in content, file.name
            assert b"8675309867" not in content, file.name
    texts = " ".join(text for text in twin_of(finished)["message"].to_pylist() if text)
    assert SECRET not in texts and "8675309867" not in texts


def test_rows_are_a_function_of_seed_and_id(spark: Any, finished: Path, content_hash: Any) -> None:
    model = Model.load(finished / "model")
    one = model.generate(spark, 9_000, seed=3, partitions=1).toArrow()
    assert content_hash(one) == content_hash(model.generate(spark, 9_000, seed=3, partitions=3).toArrow())
    assert content_hash(one.slice(0, 500)) == content_hash(model.generate(spark, 500, seed=3).toArrow())
    assert content_hash(one.slice(0, 500)) != content_hash(model.generate(spark, 500, seed=4).toArrow())


def test_conditions_are_exact(spark: Any, finished: Path) -> None:
    model = Model.load(finished / "model")
    wanted = {"topic": "loan", "opened": {"min": "2022-02-27", "max": "2022-03-02"}, "amount": {"min": 50, "max": 60.5}}
    rows = model.generate(spark, 2_000, wanted).toArrow()
    assert set(rows["topic"].to_pylist()) == {"loan"}
    assert set(rows["opened"].to_pylist()) <= {dt.date(2022, 2, 27) + dt.timedelta(n) for n in range(4)}
    assert pc.min(rows["amount"]).as_py() >= 50 and pc.max(rows["amount"]).as_py() <= 60.5
    assert set(model.generate(spark, 300, {"amount": None}).toArrow()["amount"].to_pylist()) == {None}
    texts = [t for t in rows["message"].to_pylist() if t]
    assert np.mean(["loan" in t for t in texts]) > 0.3
    with pytest.raises(ConfigError, match="no value in this range"):
        model.generate(spark, 5, {"opened": {"min": "2030-01-01"}})
    with pytest.raises(ConfigError, match="unknown to the model"):
        model.generate(spark, 5, {"topic": "mortgage"})


def test_balance_and_missing_cells(spark: Any, finished: Path) -> None:
    model = Model.load(finished / "model")
    shares = {"card": 0.5, "loan": 0.3, "cash": 0.2}
    rows = model.generate(spark, 1_000, balance={"columns": ["topic"], "shares": shares}).toArrow()
    counts = {v["values"]: v["counts"] for v in pc.value_counts(rows["topic"]).to_pylist()}
    assert counts == {"card": 500, "loan": 300, "cash": 200}
    real = spark.createDataFrame(tickets(200))
    filled = model.impute(real).toArrow().sort_by("ticket")
    assert filled["amount"].null_count == 0 and filled["opened"].equals(real.toArrow().sort_by("ticket")["opened"])
    seeds = spark.createDataFrame([("loan", "x1"), ("cash", "x2")], "topic string, note string")
    made = model.generate(spark, conditions=seeds).toArrow().sort_by("note")
    assert made["topic"].to_pylist() == ["loan", "cash"] and made["opened"].null_count == 0


def test_a_transformer_goes_the_same_line(spark: Any, tmp_path: Path) -> None:
    pq.write_table(tickets(300), tmp_path / "tickets.parquet")
    config = config_of(tmp_path, "language", "transformer", 1)
    pipeline.run(config, spark=spark, last="generate")
    twin = twin_of(tmp_path / "run")
    assert twin.num_rows == 300 and set(twin["topic"].to_pylist()) <= set(TOPICS)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["synthetic"]["invalid"] == 0


def test_fit_takes_a_frame(spark: Any, tmp_path: Path) -> None:
    df = spark.createDataFrame(tickets(300)).select("topic", "amount")
    model = twinlake.fit(df, "language", path=tmp_path / "model", epochs=1)
    assert model.facts["family"] == "language"
    assert set(model.generate(spark, 200).toArrow()["topic"].to_pylist()) <= set(TOPICS)
