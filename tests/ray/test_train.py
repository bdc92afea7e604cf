"""Training through a real TorchTrainer: two worker processes over gloo on a local Ray cluster that all tests here
share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
from processes import descendants, wait_for

from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.core.errors import ConfigError, DataError, GivenUp, ModelError
from twinlake.core.progress import Silent
from twinlake.core.seeds import generator

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]
COLUMNS, VALUES, EPOCHS = 10, 12, 12.0


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    from twinlake.train.cluster import ray_cluster

    with ray_cluster() as resources:
        assert resources["CPU"] >= 1
        yield


def write_table(folder: Path, rows: int) -> Path:
    """codec.json, counts.npz and two token shards of a table in which each column follows from the one before."""
    from twinlake.models.codec import Codec
    from twinlake.models.column import ColumnCodec
    from twinlake.models.encode import TokenCounter

    draw = generator(31)
    tokens = np.zeros((rows, COLUMNS), np.uint16)
    tokens[:, 0] = draw.integers(0, VALUES, rows)
    for column in range(1, COLUMNS):
        noise = draw.integers(0, VALUES, rows)
        tokens[:, column] = np.where(draw.random(rows) < 0.8, (tokens[:, column - 1] * 5 + column) % VALUES, noise)
    columns = []
    for number in range(COLUMNS):
        codec = ColumnCodec(f"c{number}", "string", "category", values=tuple(f"v{v}" for v in range(VALUES)))
        columns.append(replace(codec, coarse=tuple(range(codec.sizes[0]))))
    made = Codec(tuple(columns), pa.schema([(c.name, pa.string()) for c in columns]))
    counter = TokenCounter(made)
    counter.add(tokens)
    (folder / "shards").mkdir(parents=True)
    counter.counts().save(folder / "counts.npz")
    (folder / "codec.json").write_text(made.to_json())
    cut = rows // 50  # shards may differ in size as much as they like
    shards = [{"file": f"shard-{n:05d}.npy", "rows": len(part)} for n, part in enumerate((tokens[:cut], tokens[cut:]))]
    for shard, part in zip(shards, (tokens[:cut], tokens[cut:]), strict=True):
        np.save(folder / "shards" / shard["file"], part)
    (folder / "shards" / "manifest.json").write_text(json.dumps({"format": 1, "rows": rows, "shards": shards, "files": []}))
    return folder


def fit(folder: Path, workers: int = 2, epochs: float = EPOCHS, earlier: Path | None = None, **train: Any) -> dict[str, Any]:
    from twinlake.models.codec import Codec
    from twinlake.profile.counts import TokenCounts
    from twinlake.train.fit_tabular import fit_tabular

    codec = Codec.from_json((folder / "codec.json").read_text())
    counts = TokenCounts.load(folder / "counts.npz")
    settings = TrainConfig(workers=workers, epochs=epochs, **train)
    model = ModelConfig(size="m", start_from=None if earlier is None else str(earlier))
    return fit_tabular(codec, counts, folder / "shards", folder / "work", folder / "model", model, settings, 3)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A training with two workers that nobody disturbs, on 6,000 rows."""
    folder = write_table(tmp_path_factory.mktemp("calm"), 6_000)
    return folder, fit(folder)


@pytest.fixture
def fresh(calm: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """The same table in a folder of its own, at the path that the calm training saw."""
    for name in ("codec.json", "counts.npz", "shards"):
        source = calm[0] / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    return tmp_path


def losses(facts: dict[str, Any]) -> list[float]:
    return [h["validation_loss"] for h in facts["history"]]


def same_model(a: Path, b: Path) -> bool:
    return (a / "model" / "weights.safetensors").read_bytes() == (b / "model" / "weights.safetensors").read_bytes()


def test_loss_falls_on_a_small_table(tmp_path: Path) -> None:
    facts = fit(write_table(tmp_path, 200), epochs=40.0)
    assert losses(facts)[-1] < losses(facts)[0] - 1.0
    assert facts["history"][-1]["rows"] >= 190 * 40 * 0.5 and facts["batch"] <= 50


def test_the_model_folder_is_complete_and_nothing_is_left_over(calm: tuple[Path, dict[str, Any]]) -> None:
    from twinlake.generate.model import Model

    folder, facts = calm
    assert Model.load(folder / "model").facts["history"] == facts["history"]
    assert {f.name for f in (folder / "model").iterdir()} == {
        "codec.json",
        "model.json",
        "weights.safetensors",
        "manifest.json",
    }
    steps = [h["step"] for h in facts["history"]]
    assert steps == sorted(set(steps)) and steps[-1] == facts["steps"]
    # columns follow from one another: far less is left than independent columns would have (2.48 nats each)
    assert min(losses(facts)) < COLUMNS * np.log(VALUES) - 3.0


def test_one_worker_or_two_give_the_same_losses(calm: tuple[Path, dict[str, Any]], fresh: Path) -> None:
    alone = fit(fresh, workers=1)
    assert alone["batch"] == calm[1]["batch"]
    np.testing.assert_allclose(losses(alone), losses(calm[1]), rtol=1e-4)


def test_a_killed_worker_is_replaced_and_nothing_changes(calm: tuple[Path, dict[str, Any]], fresh: Path) -> None:
    killed: list[tuple[int, int]] = []

    def kill() -> None:
        steps = wait_for_checks(fresh / "work" / "progress.jsonl", 3)
        worker = train_workers()[-1]
        worker.kill()
        killed.append((worker.pid, steps[-1]))

    killer = threading.Thread(target=kill)
    killer.start()
    facts = fit(fresh)
    killer.join()
    assert killed and killed[0][1] < facts["steps"]
    assert losses(facts) == losses(calm[1])
    assert [h["step"] for h in facts["history"]] == [h["step"] for h in calm[1]["history"]]
    assert same_model(fresh, calm[0])


def test_a_killed_driver_resumes_at_its_last_checkpoint(calm: tuple[Path, dict[str, Any]], fresh: Path) -> None:
    script = str(ROOT / "tests" / "drivers" / "train_model.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "engine")}
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(
        [sys.executable, script, str(fresh), str(EPOCHS)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    file = fresh / "work" / "progress.jsonl"
    wait_for_checks(file, 4)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = descendants(process.pid, "TrainWorker")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert workers and not psutil.wait_procs(workers, timeout=60)[1]  # nobody trains on behind the back of the next run
    for child in children:  # helpers of Ray outlive their cluster by a minute or more
        if child.is_running():
            child.kill()
    before = [json.loads(line)["step"] for line in file.read_text().splitlines()]
    assert not (fresh / "model").exists() and before[-1] < calm[1]["steps"]
    facts = fit(fresh)
    after = [json.loads(line)["step"] for line in file.read_text().splitlines()][len(before) :]
    assert after[0] >= before[1], "training started over"
    assert losses(facts) == losses(calm[1])
    assert same_model(fresh, calm[0])


def test_other_settings_do_not_resume_the_old_training(calm: tuple[Path, dict[str, Any]], fresh: Path) -> None:
    """A folder with the checkpoints of a finished training, whose model was never published."""
    shutil.copytree(calm[0] / "work", fresh / "work")
    facts = fit(fresh, workers=1, epochs=1.0)
    assert facts["steps"] < calm[1]["steps"] and facts["history"][0]["step"] < calm[1]["history"][0]["step"]


def test_a_training_that_is_behind_is_given_up(calm: tuple[Path, dict[str, Any]], fresh: Path) -> None:
    _, facts = calm
    shares, losses = zip(*((h["step"] / h["steps"], h["validation_loss"]) for h in facts["history"]), strict=True)
    at = len(shares) // 2
    easy, hard = [shares[0], max(losses)], [shares[at], min(losses) - 1.0]
    with pytest.raises(GivenUp) as caught:
        fit(fresh, loss_limits=[hard, easy])
    assert (caught.value.share, caught.value.loss) == (pytest.approx(shares[at]), pytest.approx(min(losses[: at + 1])))
    assert not (fresh / "model").exists()


def test_a_loss_that_is_no_number_stops_at_once(fresh: Path) -> None:
    from twinlake.models.codec import Codec
    from twinlake.profile.counts import TokenCounts
    from twinlake.train import fit_tabular as module

    codec = Codec.from_json((fresh / "codec.json").read_text())
    settings = TrainConfig(workers=2, epochs=2.0)
    counts = TokenCounts.load(fresh / "counts.npz")
    plan = module._plan(codec, counts, fresh / "shards", fresh / "work", ModelConfig(size="m"), settings, 3)
    with pytest.raises(ModelError, match=r"not a number at step \d+"):
        module.run_training(replace(plan, rate=1e30), fresh / "work", settings, Silent(), False)
    assert not (fresh / "model").exists()


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 10"):
        fit(write_table(tmp_path, 9))


def test_more_workers_than_rows_of_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.workers: 64 workers would share batches of 16 rows"):
        fit(write_table(tmp_path, 40), workers=64)


def train_workers() -> list[psutil.Process]:
    """The training processes of the cluster that this process started, by rank."""
    return descendants(None, "TrainWorker")


def wait_for_checks(file: Path, count: int, seconds: float = 240.0) -> list[int]:
    def steps() -> list[int]:
        lines = file.read_text().splitlines() if file.is_file() else []
        return [json.loads(line)["step"] for line in lines]

    wait_for(lambda: len(steps()) >= count, seconds)
    return steps()


def test_a_training_goes_on_from_an_earlier_model(calm: tuple[Path, dict[str, Any]], fresh: Path) -> None:
    """The first validation is as good as the earlier model's last, before a step is taken."""
    from twinlake.models.store import check_model

    earlier = calm[0] / "model"
    facts = fit(fresh, epochs=0.2, earlier=earlier)
    start = facts["start_from"]
    assert start["model"] == check_model(earlier)
    assert start["loss_there"] == min(losses(calm[1]))
    assert start["loss_here"] == pytest.approx(start["loss_there"], abs=0.02)
    assert losses(facts)[-1] < losses(calm[1])[0] - 1.0
