"""A sweep of three trials on a small table in local[2], cut off once: what runs again, what is left, what goes on from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from twinlake import pipeline
from twinlake.core.config import load_config, parse_config
from twinlake.core.errors import ConfigError
from twinlake.core.progress import Silent
from twinlake.sweep.sweep import SweepResult, sweep

COLUMNS = ["age", "sex", "hours_per_week", "income"]


class Told(Silent):
    """Keeps what is said; ends the sweep as Ctrl-C does when a trial after the first comes to the stage `stop`."""

    def __init__(self, stop: str = "-") -> None:
        self.stages: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self._stop = stop

    def stage(self, name: str, detail: str = "") -> None:
        self.stages.append((name, detail))

    def update(self, done: float, total: float, note: str = "") -> None:
        self.notes.append(note)
        if self.stages[-1][0] in ("trial 2", "trial 3") and note == self._stop:
            raise KeyboardInterrupt

    def say(self, text: str) -> None:
        self.notes.append(text)


def _times(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.fixture(scope="module")
def swept(
    spark: Any, started_ray: None, adult_rows: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], SweepResult, Told]:
    """Two sizes of the model and one that can't be: two trials finish and one fails. One is cut off once its training is
    done."""
    folder = tmp_path_factory.mktemp("sweep")
    pq.write_table(adult_rows(700).select(COLUMNS), folder / "people.parquet")
    values = {
        "run": {"dir": str(folder / "sweep")},
        "source": {"path": str(folder / "people.parquet")},
        "train": {"workers": 1, "epochs": 1},
        "sweep": {
            "parameters": {"model": [{"size": "s"}, {"size": "m"}, {"family": "llm"}]},
            "objective": ["quality_score", "univariate_tv"],
        },
    }
    root, cut = folder / "sweep", Told(stop="generate")
    with pytest.raises(KeyboardInterrupt):
        sweep(parse_config(values), spark, cut)
    running = len([name for name, _ in cut.stages if name.startswith("trial")])
    ended = sorted(str(p.relative_to(root)) for p in root.rglob("trial.json"))
    assert ended == [f"trials/{number:04d}/trial.json" for number in range(1, running)]
    records, base = {name: (root / name).stat().st_mtime_ns for name in ended}, _times(root / "base")

    told = Told()
    result = sweep(parse_config(values), spark, told)
    assert {name: (root / name).stat().st_mtime_ns for name in ended} == records
    assert _times(root / "base") == {name: time for name, time in base.items() if not name.startswith("private/")}
    assert [name for name, _ in told.stages] == [f"trial {number}" for number in range(running, 4)]
    assert told.stages[0] == cut.stages[-1] and told.notes[0] == "generate"  # its training was done
    return folder, values, result, told


def test_the_table_is_profiled_and_encoded_once(swept: Any) -> None:
    folder, _, result, _ = swept
    best = folder / "sweep" / "trials" / f"{result.best[0].number:04d}"
    base = folder / "sweep" / "base"
    assert (best / "protected/part-00000.parquet").samefile(base / "protected/part-00000.parquet")
    for name in ("profile.json", "labels.json", "plan.yaml", "codec.json"):
        assert (best / name).read_bytes() == (base / name).read_bytes()
    stages, those = (json.loads((f / "run.json").read_text())["stages"] for f in (base, best))
    assert list(stages) == ["classify", "encode", "plan", "profile", "transform"]
    assert all(those[name] == entry for name, entry in stages.items())  # the seconds too


def test_all_settings_end_and_failures_say_why(swept: Any) -> None:
    _, _, result, told = swept
    for trial in result.trials:
        if "family" in trial.settings["model"]:
            assert trial.state == "failed" and "model.llm.path" in (trial.reason or "")
        else:
            assert trial.state == "finished" and set(trial.values) == {"quality_score", "univariate_tv"}
    assert "all 3 settings were tried" in told.notes
    assert {t.number for t in result.best} <= {t.number for t in result.trials if t.values}


def test_the_best_are_whole_runs_and_nothing_private_is_left(swept: Any) -> None:
    folder, _, result, _ = swept
    root = folder / "sweep"
    assert {p.name for p in root.iterdir()} == {
        ".lock",
        "sweep.json",
        "base",
        "trials",
        "trials.csv",
        "best.yaml",
        "sweep.html",
    }
    assert not list(root.rglob("private"))
    best = {t.number for t in result.best}
    for trial in result.trials:
        place = root / "trials" / f"{trial.number:04d}"
        if trial.number in best:
            assert pipeline.verify(place) == [] and (place / "report.html").is_file()
        else:
            assert {p.name for p in place.iterdir()} <= {"trial.json", "evaluation.json"}
    # best.yaml goes on with the run of the best: nothing is left to do, and no session is asked for
    again = pipeline.run(load_config(root / "best.yaml"))
    assert set(again.status.values()) == {"unchanged"}
    assert again.score == pytest.approx(result.best[0].values["quality_score"])
    assert f"trial {result.best[0].number}" in (root / "sweep.html").read_text(encoding="utf-8")
    assert len((root / "trials.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_a_finished_sweep_has_nothing_to_do(swept: Any) -> None:
    folder, values, result, _ = swept
    kept = _times(folder / "sweep" / "trials")
    told = Told()
    again = sweep(parse_config(values), progress=told)  # no session is given, and none is started
    assert told.stages == [] and again.trials == result.trials and _times(folder / "sweep" / "trials") == kept


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"sweep": {"parameters": {"train.max_minutes": [1, 3]}}}, "other parameters and objective"),
        ({"generate": {"rows": 5}}, "other settings"),
        ({"run": {"dir": "{base}"}}, "not of a sweep"),
    ],
)
def test_a_folder_is_of_one_sweep(swept: Any, changes: dict[str, Any], part: str) -> None:
    folder, values, _, _ = swept
    if "run" in changes:
        changes = {"run": {"dir": str(folder / "sweep" / "base")}}
    with pytest.raises(ConfigError, match=part):
        sweep(parse_config({**values, **changes}))


def test_wrong_parameters_are_refused_before_any_work(swept: Any, tmp_path: Path) -> None:
    _, values, _, _ = swept
    wrong = {**values, "run": {"dir": str(tmp_path / "x")}, "sweep": {"parameters": {"train.epochz": [1]}}}
    with pytest.raises(ConfigError, match="epochs"):
        sweep(parse_config(wrong))
    assert not (tmp_path / "x").exists()
