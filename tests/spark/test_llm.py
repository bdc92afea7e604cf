"""The llm family on a small table in local[2]: the whole line with a language model of random weights, and every steering."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from twinlake import pipeline
from twinlake.core.config import parse_config
from twinlake.core.errors import ConfigError, ModelError
from twinlake.core.seeds import generator
from twinlake.generate.model import Model
from twinlake.models.store import check_model, load_model
from twinlake.tables.parts import part_files

pytest.importorskip("transformers")
pytest.importorskip("peft")
from tiny_llm import build_llm

ROWS = 300
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


@pytest.fixture(scope="module", params=["json", "csv"])
def finished(request: Any, spark: Any, started_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished run: of JSON the whole line, of CSV up to its rows."""
    folder = tmp_path_factory.mktemp(request.param)
    pq.write_table(tickets(ROWS), folder / "tickets.parquet")
    values = {
        "run": {"dir": str(folder / "run"), "keep_private": True},
        "source": {"path": str(folder / "tickets.parquet")},
        "model": {
            "family": "llm",
            "llm": {"path": str(build_llm(folder / "llm")), "format": request.param, "lora_rank": 4, "learning_rate": 0.01},
        },
        "train": {"epochs": 1, "workers": 2},
        "generate": {"rows": 60},
    }
    result = pipeline.run(parse_config(values), spark=spark, last="report" if request.param == "json" else "generate")
    assert set(result.status.values()) == {"done"} and pipeline.verify(folder / "run") == []
    return folder / "run"


def test_every_row_is_valid(finished: Path) -> None:
    twin, real = pa.concat_tables([pq.read_table(f) for f in part_files(finished / "synthetic")]), tickets(ROWS)
    assert twin.num_rows == 60 and [f.type for f in twin.schema] == [f.type for f in real.schema]
    assert set(twin["topic"].to_pylist()) <= set(TOPICS)
    assert pc.min(twin["opened"]).as_py() >= FIRST and pc.max(twin["opened"]).as_py() <= LAST
    assert pc.min(real["amount"]).as_py() <= pc.min(twin["amount"]).as_py()
    assert pc.max(twin["amount"]).as_py() <= pc.max(real["amount"]).as_py()
    assert len(set(twin["ticket"].to_pylist()) - set(real["ticket"].to_pylist())) == 60
    assert "\ufffd" not in " ".join(t for t in twin["message"].to_pylist() if t)


def test_what_one_person_wrote_is_nowhere(finished: Path) -> None:
    from twinlake.models.base_model import vocabulary_of
    from twinlake.models.llm_shards import FORCED, PAD
    from twinlake.models.rows_as_text import RowScript

    script = RowScript.load(finished / "model")
    vocabulary, told = vocabulary_of(script.source), b""
    for shard in (finished / "private" / "encoded").glob("*.npy"):
        for row in np.load(shard):
            told += b"".join(vocabulary.tokens[i] for i in (row[row != PAD] & ~FORCED).tolist())
    assert b"please help me with my card" in told and SECRET.encode() not in told and b"8675309867" not in told
    for file in (finished / "model").iterdir():
        assert SECRET.encode() not in file.read_bytes()


def test_the_adapter_alone_is_kept(finished: Path) -> None:
    model = load_model(str(finished / "model"), check_model(finished / "model"))
    assert model.facts["family"] == "llm" and model.facts["settings"] == {"lora_rank": 4, "lora_alpha": 32}
    whole = sum(f.stat().st_size for f in (finished.parent / "llm").glob("*.safetensors"))
    assert (finished / "model" / "weights.safetensors").stat().st_size < whole / 2
    history = model.facts["history"]
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]


def test_rows_are_a_function_of_seed_and_id(spark: Any, finished: Path, content_hash: Any) -> None:
    model = Model.load(finished / "model")
    one = model.generate(spark, 40, seed=3, partitions=1).toArrow()
    assert content_hash(one) == content_hash(model.generate(spark, 40, seed=3, partitions=3).toArrow())
    assert content_hash(one) != content_hash(model.generate(spark, 40, seed=4).toArrow())


def test_conditions_balance_and_missing_cells(spark: Any, finished: Path) -> None:
    model = Model.load(finished / "model")
    wanted = {"topic": "loan", "opened": {"min": "2022-02-27", "max": "2022-03-02"}, "amount": {"min": 50, "max": 60.5}}
    rows = model.generate(spark, 40, wanted).toArrow()
    assert set(rows["topic"].to_pylist()) == {"loan"}
    assert set(rows["opened"].to_pylist()) <= {dt.date(2022, 2, 27) + dt.timedelta(n) for n in range(4)}
    assert pc.min(rows["amount"]).as_py() >= 50 and pc.max(rows["amount"]).as_py() <= 60.5
    rows = model.generate(spark, 40, balance={"columns": ["topic"], "shares": dict.fromkeys(TOPICS, 1 / 3)}, seed=2).toArrow()
    assert {v["values"] for v in pc.value_counts(rows["topic"]).to_pylist() if v["counts"] in (13, 14)} == set(TOPICS)
    real = spark.createDataFrame(tickets(40))
    filled = model.impute(real).toArrow().sort_by("ticket")
    assert filled["amount"].null_count == 0 and filled["opened"].equals(real.toArrow().sort_by("ticket")["opened"])
    with pytest.raises(ConfigError, match="unknown to the model"):
        model.generate(spark, 5, {"topic": "mortgage"})


def test_another_language_model_is_refused(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished / "model", tmp_path / "model")
    raw = json.loads((copy / "script.json").read_text("utf-8"))
    raw["rows"]["source"] = str(build_llm(tmp_path / "other", seed=1))
    (copy / "script.json").write_text(json.dumps(raw), "utf-8")
    with pytest.raises(ModelError, match="not the one that was trained on"):
        load_model(str(copy), "another")
    raw["rows"]["source"] = str(tmp_path / "none")
    (copy / "script.json").write_text(json.dumps(raw), "utf-8")
    with pytest.raises(ModelError, match="no folder"):
        load_model(str(copy), "a third")


def test_a_folder_that_is_no_causal_model_is_refused_before_any_work(tmp_path: Path) -> None:
    pq.write_table(tickets(20), tmp_path / "t.parquet")

    def attempt(path: Path | None) -> None:
        llm = {} if path is None else {"path": str(path)}
        values = {"run": {"dir": str(tmp_path / "run")}, "source": {"path": str(tmp_path / "t.parquet")}}
        pipeline.run(parse_config({**values, "model": {"family": "llm", "llm": llm}}))

    for path, why in ((None, "needs model.llm.path"), (tmp_path / "none", "no folder"), (tmp_path, "no config.json")):
        with pytest.raises(ConfigError, match=why):
            attempt(path)
    folder = build_llm(tmp_path / "llm")
    config = (folder / "config.json").read_text("utf-8")
    (folder / "config.json").write_text(config.replace("LlamaForCausalLM", "LlamaForSequenceClassification"), "utf-8")
    with pytest.raises(ConfigError, match="no causal language model"):
        attempt(folder)
    (folder / "config.json").write_text(config, "utf-8")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="could run code"):
        attempt(folder)
    assert not (tmp_path / "run" / "profile.json").exists()
