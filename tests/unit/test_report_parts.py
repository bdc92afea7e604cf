"""What the report says of single metrics: hostile names are inert, and what is empty is not there."""

from __future__ import annotations

from typing import Any

from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.evidence import Result
from twinlake.evaluate.metrics import METRICS
from twinlake.evaluate.report import render_report

HOSTILE = "<b>pay`x</b>"


def page(**details: Any) -> str:
    results = {name: Result(0.8, None, 0.5, None, detail) for name, detail in details.items()}
    about = {n: {"title": METRICS[n].title, "group": METRICS[n].group, "better": METRICS[n].better} for n in details}
    return render_report(Evaluation(None, "none", {"quality_score": Result(None), **results}, {"metrics": about}))


def test_what_gives_the_twin_away_is_a_table() -> None:
    one = {"columns": [HOSTILE], "loss": 0.25, "interval": [0.2, 0.3]}
    pair = {"columns": ["age", HOSTILE], "loss": 0.125, "interval": [0.1, 0.15]}
    shown = page(detection={"columns": [one], "pairs": [pair]})
    assert "What gives the twin away" in shown and HOSTILE not in shown
    assert "<td>age × &lt;b&gt;pay`x&lt;/b&gt;</td>" in shown
    assert ">0.250</td>" in shown and ">0.100 to 0.150</td>" in shown
    assert "What gives the twin away" not in page(detection={"columns": [], "pairs": []})
    assert "What gives the twin away" not in page(auc_gap={})


def test_groups_of_rows_are_named_and_those_that_the_twin_lacks() -> None:
    worst = {
        "column": HOSTILE,
        "group": "<i>x</i>",
        "tv": 0.1,
        "at_reference_n": 0.25,
        "reference": 0.125,
        "n": 1_200,
        "most": "age",
    }
    lacking = {"column": "city", "group": "Oslo", "n": 60, "reason": "few"}
    shown = page(segment_tv={"worst": [worst, {**worst, "reference": None, "at_reference_n": None}], "lacking": [lacking]})
    assert "<td>&lt;b&gt;pay`x&lt;/b&gt; = &lt;i&gt;x&lt;/i&gt;; farthest in age</td>" in shown
    assert all(f">{cell}</td>" in shown for cell in ("0.250", "0.125", "1,200", "0.100", "–"))
    assert "less than half as many" in shown and "<td>city = Oslo</td>" in shown
    assert "Groups of rows:" not in page(segment_tv={}) and "less than half" not in page(segment_tv={"worst": [worst]})


def test_checks_are_a_short_list_and_failing_ones_are_named() -> None:
    sound = [{"check": "range", "of": f"c{i}", "passed": True, "rows": 0} for i in range(300)]
    failing = [{"check": "range", "of": HOSTILE, "passed": False, "rows": 1_200}]
    failing += [{"check": "null", "of": f"n{i}", "passed": False, "rows": i + 1} for i in range(7)]
    shown = page(validity={"n": 5_000, "checks": [*sound, *failing]})
    assert "300 of 301" in shown and "↳ &lt;b&gt;pay`x&lt;/b&gt;" in shown and ">1,200</td>" in shown
    assert "↳ n6" in shown and "↳ n1<" not in shown and "↳ 2 more" in shown and "c299" not in shown
    assert "8 of 308 checks fail, the worst for 1,200 rows." in shown
    assert "Every row passes every check." in page(validity={"checks": sound})
