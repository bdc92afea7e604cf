"""A sweep's rules, without any run: what may vary, what comes next, what is best, and what is shown of it."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from twinlake.core.config import dump_config, load_config, parse_config
from twinlake.core.errors import CommitError, ConfigError, DataError, GivenUp
from twinlake.sweep.page import parallel, summary_text, trials_csv, write_page
from twinlake.sweep.ranking import front, ranked
from twinlake.sweep.record import Trial
from twinlake.sweep.space import Dimension, Objective, Settings, read_objectives, read_space, suggest
from twinlake.sweep.trials import loss_limits, read_trials, run_trial, take_over, tidy, trial_folder, write_trial
from twinlake.tables.run_folder import RunFolder

SCORE, GAP = Objective("quality_score", False), Objective("auc_gap", True)


def _config(parameters: dict[str, Any], **sweep: Any) -> Any:
    return parse_config({"source": {"path": "a.csv"}, "sweep": {"parameters": parameters, **sweep}})


@pytest.mark.parametrize(
    ("parameters", "parts"),
    [
        ({}, ["nothing varies"]),
        ({"train.epochz": [1, 2]}, ["sweep.parameters: unknown key train.epochz", "did you mean 'epochs'"]),
        ({"trian.epochs": [1, 2]}, ["unknown key trian", "did you mean 'train'"]),
        ({"train.epochs": [1, -2]}, ["train.epochs", "greater than 0", "-2 (int)"]),
        ({"train.epochs": [1, 1]}, ["train.epochs", "twice"]),
        ({"model.size": ["s", "xl"]}, ["model.size", "'xl' (str)"]),
        ({"generate.temperature": {"min": 0, "max": 2}}, ["generate.temperature", "greater than 0"]),
        ({"generate.top_p": {"min": 0.5, "max": 1.5}}, ["generate.top_p", "less than or equal to 1"]),
        ({"model.language.embedding_dim": {"min": 32, "max": 256}}, ["embedding_dim", "multiple of 32", "33 (int)"]),
        ({"train.workers": {"min": 1, "max": 4, "integer": False}}, ["train.workers", "1.0 (float)"]),
        ({"run.dir": ["a", "b"]}, ["run.dir", "the same for all trials"]),
        ({"sweep.trials": [1, 2]}, ["sweep", "the same for all trials"]),
        (
            {"generate.balance": [[]], "generate.balance.mode": ["replace"]},
            ["generate.balance.mode is a part of generate.balance"],
        ),
        ({"train.epochz": [1], "model.sise": ["s"]}, ["did you mean 'epochs'", "did you mean 'size'"]),
    ],
)
def test_what_cannot_vary_is_refused_with_its_name(parameters: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_space(_config(parameters))
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "part"),
    [
        ({"min": 1}, "both min and max"),
        ([], "at least 1"),
        ({"min": 2, "max": 2}, "min must be below max"),
        ({"min": 0, "max": 2, "log": True}, "log wants min above 0"),
        ({"min": 1, "max": 2, "log": True, "step": 0.5}, "no step"),
        ({"min": 1, "max": 2, "step": 0.3}, "whole number of steps"),
        ({"min": 0.5, "max": 2, "integer": True}, "whole numbers"),
        ({"choices": [1], "max": 2}, "either choices"),
        ({"minimum": 1, "max": 2}, "unknown key"),
    ],
)
def test_a_parameter_of_another_form_is_refused_by_the_config(parameter: Any, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _config({"train.epochs": parameter})
    assert part in str(caught.value) and "sweep.parameters" in str(caught.value)


def test_numbers_are_whole_where_the_setting_takes_no_others() -> None:
    config = _config(
        {
            "train.workers": {"min": 1, "max": 4},
            "train.epochs": {"min": 1, "max": 4},
            "generate.rows": {"min": 100, "max": 300, "step": 100},
            "model.language.embedding_dim": {"min": 32, "max": 256, "step": 32},
            "run.seed": [1, 2],
        }
    )
    space = read_space(config)
    assert [d.integer for d in space] == [True, False, True, True, False]
    assert [d.size() for d in space] == [4, float("inf"), 3, 8, 2]


def test_the_section_survives_a_file(tmp_path: Path) -> None:
    config = _config(
        {"train.epochs": {"min": 1, "max": 4, "log": True}, "model.size": ["s", "m"]}, objective=["auc_gap", "detection"]
    )
    (tmp_path / "x.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "x.yaml") == config


def test_an_objective_is_a_metric_and_has_its_direction() -> None:
    config = _config({"train.epochs": [1]}, objective=["quality_score", "auc_gap"])
    assert read_objectives(config.sweep) == (SCORE, GAP)
    with pytest.raises(ConfigError, match=r"no metric 'auc_gab' \(did you mean 'auc_gap'"):
        read_objectives(_config({"train.epochs": [1]}, objective="auc_gab").sweep)
    with pytest.raises(ConfigError, match="different"):
        _config({"train.epochs": [1]}, objective=["auc_gap", "auc_gap"])


SPACE = (
    Dimension("train.epochs", (), 1.0, 30.0, log=True),
    Dimension("model.size", ("s", "m", "l")),
    Dimension("generate.rows", (), 100, 900, integer=True),
)


def _sweep(objective: Objective, numbers: int, seed: int = 7, kept: int = 0, sign: float = 1.0) -> list[Settings]:
    """Suggestions where more epochs are better; every fifth trial fails, every seventh is given up. The first `kept` trials are
    read again from their records."""
    trials: list[Trial] = []
    for number in range(1, numbers + 1):
        drawn = suggest(SPACE, [objective], trials, seed, number)
        assert drawn is not None
        value = {objective.name: sign * drawn["train.epochs"]}
        trials.append(Trial(number, drawn, 1.0, {} if number % 5 == 0 or number % 7 == 0 else value))
        if number % 5 == 0:
            trials[-1] = Trial(number, drawn, 1.0, reason="it failed")
        elif number % 7 == 0:
            trials[-1] = Trial(number, drawn, 1.0, given_up=(0.25, 40.0))
    return [trial.settings for trial in trials]


def test_suggestions_follow_from_the_seed_and_the_trials_before(tmp_path: Path) -> None:
    first = _sweep(SCORE, 24)
    assert _sweep(SCORE, 24) == first
    assert _sweep(SCORE, 24, seed=8)[0] != first[0]
    # the same trials, read from their records by a process that starts now
    for number, settings in enumerate(first[:10], 1):
        trial_folder(tmp_path, number).root.mkdir(parents=True)
        write_trial(tmp_path, Trial(number, settings, 1.0, {"quality_score": settings["train.epochs"]}))
    trials = read_trials(tmp_path)
    assert [trial.settings for trial in trials] == first[:10]
    again = suggest(SPACE, [SCORE], trials, 7, 11)
    assert again == suggest(SPACE, [SCORE], list(trials), 7, 11)
    assert again is not None and 1 <= again["train.epochs"] <= 30 and again["generate.rows"] == int(again["generate.rows"])


def test_the_direction_of_the_objective_is_kept() -> None:
    """A number to lower is the number to raise with the other sign."""
    assert _sweep(GAP, 20, sign=-1.0) == _sweep(SCORE, 20)


def test_later_suggestions_lean_to_what_was_good() -> None:
    drawn = [s["train.epochs"] for s in _sweep(SCORE, 40)]
    assert sum(drawn[25:]) / 15 > 1.3 * sum(drawn[:10]) / 10


def test_no_settings_are_tried_twice_and_a_finite_space_ends() -> None:
    space = (Dimension("run.resume", (True, 1, "1")), Dimension("train.workers", (), 1, 3, integer=True))
    trials: list[Trial] = []
    while (drawn := suggest(space, [SCORE], trials, 7, len(trials) + 1)) is not None:
        trials.append(Trial(len(trials) + 1, drawn, 1.0, {"quality_score": float(len(trials) % 2)}))
    assert len(trials) == 9
    assert len({repr(t.settings) for t in trials}) == 9


def _trial(number: int, score: float, gap: float) -> Trial:
    return Trial(number, {"a": number}, 1.0, {"quality_score": score, "auc_gap": gap})


def test_the_front_by_hand() -> None:
    trials = [
        _trial(1, 80, 0.10),  # beaten by 3
        _trial(2, 90, 0.20),  # the best score
        _trial(3, 85, 0.05),
        _trial(4, 70, 0.01),  # the least gap
        _trial(5, 85, 0.05),  # equal to 3, later
        Trial(6, {"a": 6}, 1.0, reason="failed"),
    ]
    both = [SCORE, GAP]
    # ranks (how many are better): score 2:0, 3:1, 5:1, 1:3, 4:4; gap 4:0, 3:1, 5:1, 1:3, 2:4
    assert [t.number for t in ranked(trials, both)] == [3, 5, 2, 4, 1]
    assert [t.number for t in front(trials, both)] == [3, 2, 4]
    assert [t.number for t in front(trials, [SCORE])] == [2]
    assert [t.number for t in front(trials, [GAP])] == [4]
    assert front(trials[-1:], both) == []


def test_loss_limits_are_medians_of_comparable_trials() -> None:
    def told(number: int, losses: Sequence[tuple[float, float]], codec: str = "a", **more: Any) -> Trial:
        return Trial(number, {}, 1.0, **{"values": {"quality_score": 1.0}, "losses": tuple(losses), "codec": codec, **more})

    curves = [
        told(1, [(0.1, 9.0), (0.2, 7.0), (0.4, 6.0), (1.0, 5.0)]),
        told(2, [(0.2, 8.0), (0.5, 8.5), (1.0, 4.0)]),  # got worse: its best counts
        told(3, [(0.25, 6.0), (0.75, 3.0)]),
        told(4, [(0.2, 10.0), (0.3, 4.0)]),  # stopped by itself at 0.3
        told(5, [(0.2, 1.0)], codec="b"),  # of another encoding
        told(6, [(0.2, 1.0)], values={}, reason="failed"),
    ]
    # by 0.25: 7, 8, 6, 10; by 0.5: 6, 8, 6, 4; by 0.75: 6, 8, 3, 4
    assert loss_limits(curves, "a") == [[0.25, 7.5], [0.5, 6.0], [0.75, 5.0]]
    assert loss_limits(curves[:3], "a") == []
    assert loss_limits(curves, "b") == []


def test_a_trial_takes_over_the_base_and_can_change_nothing_in_it(tmp_path: Path) -> None:
    base = RunFolder(tmp_path / "base")
    for name in ("protected/part-00000.parquet", "private/encoded/shard-00000.npy", "private/train/x", "private/pairs.npz"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(name)
    os.chmod(base.private, 0o700)
    (base / "plan.yaml").write_text("plan")
    (base / ".lock").write_text("")
    base.update(stages={"encode": {"status": "done", "fingerprint": "f"}})
    trial = trial_folder(tmp_path, 3)
    take_over(base, trial)
    assert trial.stage_done("encode", "f")
    assert trial.private.stat().st_mode & 0o777 == 0o700
    assert (trial / "protected/part-00000.parquet").samefile(base / "protected/part-00000.parquet")
    assert not (trial / "private/train").exists() and not (trial / ".lock").exists()
    for name in ("private/pairs.npz", "plan.yaml", "run.json"):  # written in place, or by people
        (trial / name).write_text("changed")
    assert (base / "private/pairs.npz").read_text() == "private/pairs.npz" and base.stage_done("encode", "f")
    take_over(base, trial)  # it is a run already
    assert (trial / "plan.yaml").read_text() == "changed"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ConfigError("no column 'x'"), "failed"),
        (DataError("too few rows"), "failed"),
        (GivenUp(0.25, 41.0), "given up"),
        (CommitError("the disk is full"), None),
        (ValueError("a bug"), None),
        (KeyboardInterrupt(), None),
    ],
)
def test_errors_of_the_user_or_the_data_end_one_trial_others_the_sweep(
    error: BaseException, state: str | None, tmp_path: Path
) -> None:
    base, ran = RunFolder(tmp_path / "base"), []
    base.root.mkdir()
    base.update(stages={"encode": {"status": "done", "fingerprint": "f"}})

    def run(config: Any, last: str) -> None:
        ran.append((config.run.dir, config.train.epochs, config.train.loss_limits, config.output.path, last))
        if last == "evaluate":
            raise error

    config = _config({"train.epochs": [1, 3]})
    before = [Trial(n, {}, 1.0, {"quality_score": 1.0}, losses=((0.2, 9.0),), codec="f") for n in range(1, 5)]
    arguments = (tmp_path, base, config, {"train.epochs": 3}, [SCORE], before, run)
    if state is None:
        with pytest.raises(type(error)):
            run_trial(*arguments)
    else:
        trial = run_trial(*arguments)
        assert (trial.number, trial.state, trial.values) == (5, state, {})
        assert trial.reason == (str(error) if state == "failed" else None)
        assert trial.given_up == ((0.25, 41.0) if state == "given up" else None)
    place = str(tmp_path / "trials" / "0005")
    limits = [[0.25, 9.0], [0.5, 9.0], [0.75, 9.0]]
    assert ran == [(place, 3, [], None, "encode"), (place, 3, limits, None, "evaluate")]


def test_of_a_beaten_trial_small_results_are_left(tmp_path: Path) -> None:
    trials = [_trial(1, 80, 0.1), _trial(2, 90, 0.1)]
    for trial in trials:
        for name in ("run.json", "evaluation.json", "model/weights", "private/pairs.npz", "synthetic/part-00000.parquet"):
            (trial_folder(tmp_path, trial.number) / name).parent.mkdir(parents=True, exist_ok=True)
            (trial_folder(tmp_path, trial.number) / name).write_text("x")
        write_trial(tmp_path, trial)
    tidy(tmp_path, trials, trials[1:])
    assert {p.name for p in trial_folder(tmp_path, 1).root.iterdir()} == {"trial.json", "evaluation.json"}
    assert {p.name for p in trial_folder(tmp_path, 2).root.iterdir()} == {
        "run.json",
        "trial.json",
        "evaluation.json",
        "model",
        "private",
        "synthetic",
    }
    assert read_trials(tmp_path) == trials
    (trial_folder(tmp_path, 2) / "trial.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_trials(tmp_path)


HOSTILE = "=cmd|$x_2$'/c calc'!A1<script>alert(1)</script>\u202e\n]]>"
SHOWN_SPACE = (
    Dimension(HOSTILE, (HOSTILE, {"<b>": [1, None]}, True)),
    Dimension("train.epochs", (), 1.0, 100.0, log=True),
)
SHOWN = [
    Trial(1, {HOSTILE: HOSTILE, "train.epochs": 10.0}, 61.2, {"quality_score": 80.0}),
    Trial(2, {HOSTILE: True, "train.epochs": 100.0}, 3.0, {"quality_score": 90.0}),
    Trial(3, {HOSTILE: {"<b>": [1, None]}, "train.epochs": 1.0}, 3.0, given_up=(0.25, 41.0)),
    Trial(4, {HOSTILE: True, "train.epochs": 2.5}, 3.0, reason="no column '<script>alert(2)</script>'"),
]


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href") or k.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_inert_and_says_what_was_best(tmp_path: Path) -> None:
    best = front(SHOWN, [SCORE])
    text = write_page(tmp_path / "sweep.html", HOSTILE, SHOWN, best, [SCORE], SHOWN_SPACE).read_text(encoding="utf-8")
    seen = _Seen()
    seen.feed(text)
    assert "script" not in seen.tags and "b" not in seen.tags
    assert all(link.startswith(("#", "data:")) for link in seen.links)
    assert "Best: trial 2" in seen.text and "alert(2)" in seen.text
    assert "\u202e" not in text and "://" not in text.replace("http://www.w3.org", "")
    assert write_page(tmp_path / "again.html", HOSTILE, SHOWN, best, [SCORE], SHOWN_SPACE).read_text(encoding="utf-8") == text


def test_each_finished_or_given_up_trial_is_a_line() -> None:
    picture = parallel(SHOWN, SHOWN[1:2], [SCORE], SHOWN_SPACE)
    assert re.findall(r'id="p1-trial-(\d+)"', picture) == ["3", "1", "2"]  # the best is drawn last
    assert "$x_2$" in picture  # drawn as it is, not as a formula
    assert re.match(r'<svg role="img" aria-label="[^"]*best: [^"]*train.epochs 100', picture)
    assert SHOWN_SPACE[1].place(10.0) == pytest.approx(0.5)  # half way by the logarithm
    assert [SHOWN_SPACE[0].place(v) for v in (HOSTILE, {"<b>": [1, None]}, True)] == pytest.approx([1 / 6, 0.5, 5 / 6])


def test_the_tables_as_text_and_csv() -> None:
    best = front(SHOWN, [SCORE])
    lines = summary_text(Path("runs/x"), SHOWN, best, [SCORE]).splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["trial", "2", "1", "3", "4"]
    assert [line.split()[-1] for line in lines[1:5]] == ["best", "finished", "up", "failed"]
    rows = list(csv.reader(io.StringIO(trials_csv(SHOWN, [SCORE], SHOWN_SPACE))))
    assert rows[0] == ["trial", "state", "quality_score", f"'{HOSTILE}", "train.epochs", "seconds", "reason"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4"]
    assert rows[1][2:5] == ["80.0", f"'{HOSTILE}", "10.0"]
    assert rows[4][1] == "failed" and rows[4][2] == "" and "alert(2)" in rows[4][6]
