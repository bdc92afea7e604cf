"""The report in Markdown: read by a Markdown parser it shows every name as it is, whatever the name."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from twinlake.core.text_tables import markdown, markdown_text
from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.evidence import Result
from twinlake.evaluate.report_brief import brief
from twinlake.evaluate.summary import markdown_summary
from twinlake.evaluate.tracking import log_to_mlflow

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b",
    "[click](https://evil.example)",
    "![x](https://evil.example/i.png)",
    "*bold* _it_ ~~no~~ `code`",
    "back\\slash \\| pipe",
    "# not a title",
    "&lt;b&gt;",
    "<https://evil.example>",
    "two\nlines\r\n\n# and a title",
]


def shown(text: str) -> str:
    return MarkdownIt("gfm-like", {"linkify": False}).render(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_cell_is_shown_as_it_is(name: str) -> None:
    page = shown(markdown([["head", "next"], [name, "1"]]))
    cells = re.findall(r"<td>(.*?)</td>", page, re.DOTALL)
    assert [html.unescape(c) for c in cells] == [" ".join(name.split()), "1"]
    assert not re.search(r"<(?!/?(table|thead|tbody|tr|th|td)\b)", page)


def evaluation(name: str) -> Evaluation:
    worst = [{"columns": [name, "b"], "tv": 0.25, "at_reference_n": None, "reference": 0.125}]
    results = {
        "quality_score": Result(81.0, None, 95.0, None, {"at_reference_n": 80.0}),
        "bivariate_tv": Result(0.2, None, 0.1, None, {"worst": worst}),
        "detection": Result(None, None, None, "there is no holdout to compare with"),
    }
    metrics = {
        "bivariate_tv": {"title": "Column pairs", "group": "fidelity", "better": "lower"},
        "detection": {"title": "Telling", "group": "utility", "better": "lower"},
    }
    return Evaluation(81.0, "Excellent", results, {"rows": {"train": 900, "holdout": None}, "metrics": metrics})


def test_the_summary_says_what_was_found() -> None:
    text = markdown_summary(evaluation("a|<b>"), "people")
    assert text.startswith("# people\n") and "Quality score: 81.0 of 100, Excellent" in text and "Rows: 900 train." in text
    page = shown(text)
    assert "<td>Column pairs</td>" in page and "<td>0.200</td>" in page and "<td>0.100</td>" in page
    assert "a|&lt;b&gt; × b" in page and "<b>" not in page
    assert "there is no holdout" in page


def test_the_brief_tells_the_worst_of_each_question() -> None:
    """Copies fewer than by chance are good, a lift of 1.2 with its interval above 1 is poor: the poor one is told."""
    about = {n: {"title": n, "group": "privacy", "better": "lower"} for n in ("exact_copies", "nearest_in_train_lift")}
    results = {
        "exact_copies": Result(0.0, (0.0, 0.01), 0.02),
        "nearest_in_train_lift": Result(1.2, (1.1, 1.3), 1.0),
        "auc_gap": Result(0.9),
    }
    lines = brief(Evaluation(None, "", results, {"metrics": about}))
    assert [(line["question"], line["tone"], line["basis"]) for line in lines] == [
        ("Does it give real rows away?", "poor", "nearest_in_train_lift")
    ]
    assert "more often than chance" in lines[0]["text"]


def test_a_risk_that_may_be_chance_is_shown_with_its_interval() -> None:
    about = {n: {"title": n, "group": "privacy", "better": "lower"} for n in ("attribute_inference", "exact_copies")}
    results = {
        "attribute_inference": Result(0.257, (0.0, 0.57), 0.0, None, {"strongest": "education_num"}),
        "exact_copies": Result(0.0, (0.0, 0.01), 0.02),
    }
    text = markdown_summary(Evaluation(None, "", results, {"metrics": about}), "adult")
    assert "| 25.7% (0.00% to 57.0%) |" in text and "| 0.00% |" in text
    assert "No sure gain" in text and "hit no more often" not in text


def test_names_of_runs_are_no_markup() -> None:
    assert "<h1>*x* &lt;i&gt; https://evil.example</h1>" in shown(f"# {markdown_text('*x* <i> https://evil.example')}")


def test_mlflow_is_asked_nothing_unless_it_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DATABRICKS_RUNTIME_VERSION"):
        monkeypatch.delenv(name, raising=False)
    assert log_to_mlflow(tmp_path, evaluation("a"), "people", 7) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_metrics_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By MLflow itself, its store a database file."""
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report.html").write_text("<p>")
    mlflow.set_tracking_uri(uri)
    own = log_to_mlflow(tmp_path, evaluation("a"), "people", 7)
    assert own is not None and mlflow.active_run() is None
    kept = mlflow.get_run(own)
    ceilings = {"quality_score_holdout": 95.0, "bivariate_tv_holdout": 0.1}
    assert kept.data.metrics == {"quality_score": 81.0, "bivariate_tv": 0.2, **ceilings}
    assert kept.data.params == {"twinlake.name": "people", "twinlake.seed": "7"}
    with mlflow.start_run() as outer:
        assert log_to_mlflow(tmp_path, evaluation("a"), "people", 7) == outer.info.run_id
        assert mlflow.active_run() is not None
