"""The whole line on a small table in local[2], trained once: what is left, what is done again, what it may not hold."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinlake import pipeline
from twinlake.core.config import Config, parse_config
from twinlake.core.errors import CommitError, ConfigError, DataError, KeyReferenceError
from twinlake.core.progress import Silent
from twinlake.tables.parts import part_files
from twinlake.tables.run_folder import locked, open_folder

ROWS = 1_200


class Notes(Silent):
    """Keeps what is said, to be searched."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, name: str, detail: str = "") -> None:
        self.lines.append(f"{name} {detail}")

    def update(self, done: float, total: float, note: str = "") -> None:
        self.lines.append(note)

    def say(self, text: str) -> None:
        self.lines.append(text)


class Finished:
    """A finished run, its config, and what it said."""

    def __init__(self, folder: Path, values: dict[str, Any], notes: Notes, result: pipeline.RunResult) -> None:
        self.folder, self.values, self.notes, self.result = folder, values, notes, result

    def config(self, **sections: dict[str, Any]) -> Config:
        return parse_config({**self.values, **{k: {**self.values.get(k, {}), **v} for k, v in sections.items()}})


@pytest.fixture(scope="module")
def finished(
    spark: Any, started_ray: None, people_rows: Any, adult_rows: Any, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """Adult's columns beside made-up people: 1,200 rows, one epoch."""
    folder = tmp_path_factory.mktemp("pipeline")
    people, adult = people_rows(ROWS), adult_rows(ROWS)
    for name in ("workclass", "education", "sex", "hours_per_week", "income"):
        people = people.append_column(name, adult[name])
    pq.write_table(people, folder / "people.parquet")
    values = {
        "run": {"dir": str(folder / "run")},
        "source": {"path": str(folder / "people.parquet")},
        "train": {"epochs": 1, "workers": 2},
        "generate": {"replace_copies": True},
        "evaluate": {"target": "income", "protected": ["sex", "plan"]},
    }
    notes, before = Notes(), spark.conf.getAll
    result = pipeline.run(parse_config(values), spark=spark, progress=notes)
    assert spark.conf.getAll == before
    return Finished(folder, values, notes, result)


def twin_of(run: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(f) for f in part_files(run / "synthetic")])


def test_every_stage_is_done_and_every_artifact_is_whole(finished: Finished) -> None:
    run = finished.folder / "run"
    assert tuple(finished.result.status) == pipeline.STAGES and set(finished.result.status.values()) == {"done"}
    assert pipeline.verify(run) == []
    assert finished.result.rows == ROWS == twin_of(run).num_rows
    state = json.loads((run / "run.json").read_text())
    assert state["source_rows"] == ROWS and state["train_rows"] + state["holdout_rows"] == ROWS
    assert all(entry["status"] == "done" for entry in state["stages"].values())
    assert finished.result.score is not None and 0 <= finished.result.score <= 100


def test_nothing_private_is_left(finished: Finished) -> None:
    run = finished.folder / "run"
    assert {p.name for p in run.iterdir()} == {
        ".lock",
        "run.json",
        "profile.json",
        "labels.json",
        "labels.sql",
        "plan.yaml",
        "protected",
        "codec.json",
        "model",
        "synthetic",
        "evaluation.json",
        "report.html",
        "report.md",
    }


def test_the_twin_has_the_schema_of_the_plan(spark: Any, finished: Finished) -> None:
    run = finished.folder / "run"
    source = spark.read.parquet(str(finished.folder / "people.parquet")).schema
    twin = spark.read.parquet(str(run / "synthetic")).schema  # the folder reads as one table
    assert [(f.name, f.dataType, f.nullable) for f in twin.fields] == [(f.name, f.dataType, f.nullable) for f in source.fields]
    real, made = pq.read_table(finished.folder / "people.parquet"), twin_of(run)
    assert made.column_names == real.column_names
    assert set(made["sex"].to_pylist()) <= set(real["sex"].to_pylist())
    assert min(made["age"].to_pylist()) >= 18 and max(made["age"].to_pylist()) < 80


def test_no_artifact_holds_a_planted_value(finished: Finished) -> None:
    """Personal columns nowhere; the rare category not outside the protected rows, which are the user's own."""
    run = finished.folder / "run"
    searched = 0
    for file in sorted(p for p in run.rglob("*") if p.is_file()):
        text = _readable(file)
        searched += len(text)
        assert "canary.mail" not in text and "canarymail" not in text and "Canarysen" not in text, file
        assert "212 867" not in text and "2128670" not in text, file
        if run / "protected" not in file.parents:
            assert "CANARYRARE" not in text, file
    assert searched > 100_000
    said = "\n".join(finished.notes.lines)
    assert "anary" not in said and "CANARY" not in said and len(said) > 200


def test_the_planted_values_would_be_found(finished: Finished) -> None:
    text = _readable(finished.folder / "people.parquet")
    assert all(word in text for word in ("canary.mail", "canarymail", "Canarysen", "212 867", "CANARYRARE"))
    protected = "".join(_readable(Path(f)) for f in part_files(finished.folder / "run" / "protected"))
    assert "CANARYRARE" in protected


def test_no_row_is_a_copy_of_a_train_row(finished: Finished) -> None:
    run = finished.folder / "run"
    codec = json.loads((run / "codec.json").read_text())
    modelled = [c["name"] for c in codec["columns"] if c["coarse"]]
    assert len(modelled) >= 8
    real = pa.concat_tables([pq.read_table(f, columns=modelled) for f in part_files(run / "protected")]).to_pylist()
    twin = twin_of(run).select(modelled).to_pylist()
    assert not {tuple(r.values()) for r in real} & {tuple(r.values()) for r in twin}
    assert "copies" in (run / "evaluation.json").read_text()


def test_a_rerun_does_nothing(finished: Finished) -> None:
    run = finished.folder / "run"
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    again = pipeline.run(finished.config())  # no session is given, and none is started
    assert set(again.status.values()) == {"unchanged"} and again.score == finished.result.score
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and p.name != ".lock"} == before
    assert not (run / "private").exists()


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    shutil.copytree(finished.folder / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "name",
    [
        "synthetic/part-00000.parquet",
        "synthetic/_summary-00000.npz",
        "protected/part-00000.parquet",
        "model/weights.safetensors",
        "model/codec.json",
        "model/model.json",
        "profile.json",
        "labels.json",
        "labels.sql",
        "plan.yaml",
        "codec.json",
        "evaluation.json",
        "report.html",
        "report.md",
    ],
)
def test_one_changed_byte_is_named(copy: Path, name: str) -> None:
    file = copy / name
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :])
    assert pipeline.verify(copy) == [name]
    file.unlink()
    assert pipeline.verify(copy) == [name]


def test_a_changed_setting_redoes_only_what_it_touches(finished: Finished, spark: Any, copy: Path) -> None:
    place = {"dir": str(copy)}
    model = (copy / "model" / "manifest.json").read_bytes()
    part = copy / "synthetic" / "part-00000.parquet"
    twin = part.stat().st_mtime_ns
    result = pipeline.run(finished.config(run=place), spark=spark, last="generate")
    assert set(result.status.values()) == {"unchanged"}
    # the name is shown in the report alone
    result = pipeline.run(finished.config(run={**place, "name": "another"}), spark=spark)
    redone = {stage for stage, what in result.status.items() if what == "done"}
    assert "report" in redone and not redone & {"profile", "classify", "plan", "train", "generate", "evaluate"}
    assert part.stat().st_mtime_ns == twin
    result = pipeline.run(finished.config(run=place, generate={"rows": 500}), spark=spark, last="generate")
    assert {stage for stage, what in result.status.items() if what == "done"} == {"generate"}
    assert result.rows == 500
    assert (copy / "model" / "manifest.json").read_bytes() == model
    # a plan edited by hand is followed from the transform on
    plan = copy / "plan.yaml"
    plan.write_text(plan.read_text() + "\n# reviewed\n")
    result = pipeline.run(finished.config(run=place), spark=spark, last="transform")
    assert {stage for stage, what in result.status.items() if what == "done"} == {"transform"}


def test_the_ledger_of_an_earlier_budget_does_not_stay(finished: Finished, spark: Any, copy: Path) -> None:
    """What the rows are learned from now was counted exactly: a ledger beside it would promise what does not hold."""
    (copy / "ledger.json").write_text("{}")
    (copy / "codec.json").unlink()
    result = pipeline.run(finished.config(run={"dir": str(copy)}), spark=spark, last="encode")
    assert result.status["encode"] == "done" and not (copy / "ledger.json").exists()


def test_a_steered_twin_tops_up_the_real_rows(finished: Finished, spark: Any, copy: Path) -> None:
    """Balance counts the train rows; the augmented table is as balanced as asked, and says which rows are real."""
    steered = {"balance": {"columns": ["income"], "mode": "additive"}, "augment": True, "rules": ["age + 0 < 75"]}
    config = finished.config(run={"dir": str(copy)}, generate={**steered, "replace_copies": False})
    notes = Notes()
    pipeline.run(config, spark=spark, progress=notes, last="generate")
    real = pa.concat_tables([pq.read_table(f) for f in part_files(copy / "protected")])
    incomes = real["income"].to_pylist()
    fewer, more = sorted((incomes.count(v), v) for v in ("<=50K", ">50K"))
    twin = twin_of(copy)
    assert twin["income"].to_pylist() == [fewer[1]] * (more[0] - fewer[0])
    assert max(twin["age"].to_pylist()) < 75
    whole = pa.concat_tables([pq.read_table(f) for f in part_files(copy / "augmented")])
    flags = np.array(whole["synthetic"].to_pylist())
    assert whole.filter(pa.array(~flags)).drop_columns(["synthetic"]).equals(real)
    assert whole.filter(pa.array(flags)).drop_columns(["synthetic"]).equals(twin)
    assert spark.read.parquet(str(copy / "augmented")).schema["synthetic"].dataType.simpleString() == "boolean"
    assert json.loads((copy / "augmented" / "_manifest.json").read_text())["holds_real_rows"] is True
    assert any("REAL rows" in line for line in notes.lines) and pipeline.verify(copy) == []


@pytest.mark.parametrize(
    ("generate", "named"),
    [
        ({"conditions": {"incme": ">50K"}}, "no column 'incme'.*income"),
        ({"balance": ["incme"]}, "generate.balance.columns: no column"),
        ({"rules": ["age >"]}, "generate.rules: 'age >' can't be asked"),
        ({"balance": {"columns": ["income"], "mode": "additive"}, "rows": 10}, "leave it out"),
    ],
)
def test_steering_that_the_table_cannot_take_is_refused_before_any_work(
    finished: Finished, spark: Any, tmp_path: Path, generate: dict[str, Any], named: str
) -> None:
    config = finished.config(run={"dir": str(tmp_path / "run")}, generate=generate)
    with pytest.raises(ConfigError, match=named):
        pipeline.run(config, spark=spark)
    assert not (tmp_path / "run" / "profile.json").exists()


def test_one_process_at_a_time(finished: Finished, copy: Path) -> None:
    with locked(open_folder(copy)):
        with pytest.raises(CommitError, match="another run is writing"):
            pipeline.run(finished.config(run={"dir": str(copy)}))


@pytest.mark.parametrize(
    ("reference", "content"),
    [
        ("env:TWINLAKE_TEST_ABSENT", None),
        ("env:TWINLAKE_TEST_KEY", ""),
        ("env:TWINLAKE_TEST_KEY", "short"),
        (
            "env:TWINLAKE_TEST_KEY",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
        ),
        ("file:/nonexistent/key", None),
    ],
)
def test_bad_keys_stop_the_run_and_are_not_shown(
    finished: Finished, spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, content: str | None
) -> None:
    if content is not None:
        monkeypatch.setenv("TWINLAKE_TEST_KEY", content)
    shutil.copytree(finished.folder / "run", tmp_path / "run", ignore=shutil.ignore_patterns("synthetic"))
    with pytest.raises(KeyReferenceError) as caught:
        pipeline.run(
            finished.config(run={"dir": str(tmp_path / "run")}, keys={"pseudonyms": reference}),
            spark=spark,
            last="transform",
        )
    assert not content or content not in str(caught.value)


def test_a_key_in_the_config_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"keys": {"pseudonyms": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="}})
    assert "c2Vj" not in str(caught.value)


def test_a_missed_limit_ends_with_a_data_error(finished: Finished, spark: Any, copy: Path) -> None:
    with pytest.raises(DataError, match="fail_under"):
        pipeline.run(finished.config(run={"dir": str(copy)}, evaluate={"fail_under": {"quality_score": 100.0}}), spark=spark)


def _readable(file: Path) -> str:
    """All text in a file: of Parquet and numpy files the values, of others the bytes."""
    raw = file.read_bytes()
    text = raw.decode("utf-8", "replace")
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        text += json.dumps(table.to_pylist(), default=str) + str(table.schema.metadata)
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as held:
            text += "".join(str(a) if a.ndim == 0 else "" for a in held.values())
    return text + "".join(_inflated(raw))


def _inflated(raw: bytes) -> Iterator[str]:
    if raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw).decode("utf-8", "replace")
