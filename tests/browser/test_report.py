"""The report opened in a browser: nothing on the console, nothing from the network, nothing wider than a phone."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.evidence import Result, not_asked
from twinlake.evaluate.metrics import METRICS
from twinlake.evaluate.report import write_report
from twinlake.profile.counts import TokenCounts, column_pairs

HOSTILE = ("<script>alert(1)</script>", '=HYPERLINK("http://evil")', "a\nb|c", "$x^2$ \u202egnp", "plain", "w" * 300)
pytestmark = pytest.mark.browser


def counts(seed: int, columns: tuple[str, ...], rows: int = 1000) -> TokenCounts:
    draw = np.random.default_rng(seed)
    labels = (("Rome", "<b>Oslo</b>", "(rare)", "rare one"), ("null", "0", "[1, 5)", "[5, 9)", "[9, 40)"))
    chosen = tuple(labels[i % 2] for i in range(len(columns)))
    shares = ([0.6, 0.38, 0.018, 0.002], [0.1, 0.3, 0.3, 0.2, 0.1])
    single = tuple(np.asarray(draw.multinomial(rows, shares[i % 2])) for i in range(len(columns)))
    coarse = tuple(np.arange(len(x), dtype=np.uint8) for x in chosen)
    pairs = np.zeros((len(column_pairs(len(columns))), 16, 16), np.int64)
    return TokenCounts(rows, columns, single, coarse, pairs, chosen)


def evaluation(columns: tuple[str, ...]) -> Evaluation:
    size = len(columns)
    matrix = np.eye(size).tolist()
    matrix[0][1] = None
    spot = np.zeros((40, 40), int)
    spot[18:22, 18:22] = 40
    results: dict[str, Result] = {"quality_score": Result(81.2, None, 93.0, None, {"at_reference_n": 80.9})}
    results |= {name: Result(0.2, (0.1, 0.3), 0.15, None, {"n": 1000, "n_reference": 100}) for name in METRICS}
    worst = [{"columns": list(columns[:2]), "tv": 0.3, "at_reference_n": 0.31, "reference": 0.1}]
    results["univariate_tv"] = Result(0.2, None, 0.1, None, {"each": dict.fromkeys(columns, 0.1), "worst": worst})
    results["association"] = Result(
        0.1, None, 0.1, None, {"columns": list(columns), "real": matrix, "twin": np.eye(size).tolist()}
    )
    results["deep_structure"] = Result(
        9.0,
        None,
        9.5,
        None,
        {
            "density": {"real": spot.tolist(), "twin": spot.tolist()},
            "window": [8.0, 6.0],
            "explained": [0.3, 0.2],
            "loadings": [[[columns[0], 0.9]], [[columns[1], 0.8]]],
        },
    )
    results["pearson"] = Result(None, reason="fewer than two numeric columns")
    results |= use(columns[:3]) | attacked()
    about = {n: {"title": m.title, "group": m.group, "better": m.better} for n, m in METRICS.items()}
    facts = {"metrics": about, "columns": list(columns), "rows": {"train": 1000, "holdout": 100, "synthetic": 1000}}
    return Evaluation(81.2, "Excellent", results, facts)


def use(columns: tuple[str, ...]) -> dict[str, Result]:
    """What the metrics of utility and fairness tell: names and groups of any sort, a gap without an interval, a reason."""
    told = {s: [0.8, 0.75, 0.85] for s in ("real", "synthetic", "augmented")}
    told |= {"synthetic_minus_real": [-0.02, -0.03, -0.01], "augmented_minus_real": [0.01, None, None]}
    learned = {"learners": {"random_forest": told, "decision_tree": told}, "mean": told}
    rows = {"random_forest": {"real": 900, "synthetic": 900, "augmented": 1800}}
    about = {"target": columns[0], "score": "accuracy", "rows": rows, "n_test": 100, "majority": 0.6}
    left_out = {"xgboost": "its library is not installed"}
    others = {"balanced_accuracy": learned}
    groups = [f"{c} of a group" for c in HOSTILE[:2]]
    rates = {r: [0.3, None] for r in ("selection_rate", "accuracy", "recall", "false_positive_rate")}
    of_column = {
        "groups": groups,
        "n": [60, 40],
        "missing": 3,
        "in_small_groups": 4,
        "rates": dict.fromkeys(("real", "synthetic", "augmented"), rates),
        "gaps": dict.fromkeys(("demographic_parity", "equalized_odds", "accuracy"), told),
    }
    fair = {"positive": HOSTILE[0], "target": columns[0], "change": [0.1, 0.0, 0.2]}
    fair |= {"columns": {columns[1]: of_column, columns[2]: {"reason": "it is not a modelled column"}}}
    return {
        "accuracy_gap": Result(0.02, (0.01, 0.03), 0.0, None, {**about, **learned, "left_out": left_out, "others": others}),
        "r2_gap": not_asked("the target has classes: see accuracy_gap"),
        "demographic_parity_gap": Result(0.2, (0.1, 0.3), 0.1, None, fair),
    }


def attacked() -> dict[str, Result]:
    """What attacks tell: a rate, an area, a reason; and the level."""
    rate = {"name": HOSTILE[0], "kind": "rate", "attack": 0.3, "n": 200, "control": 0.1, "n_control": 200}
    area = {"name": "nearest row", "kind": "area", "attack": 0.6, "n": 200}
    return {
        "attribute_inference": Result(0.22, (0.1, 0.34), 0.0, None, {"strongest": HOSTILE[0], "tries": [rate]}),
        "membership_inference": Result(0.2, (0.05, 0.35), 0.0, None, {"strongest": "nearest row", "tries": [area]}),
        "linkability": Result(None, reason="fewer than two columns"),
        "privacy_risk": Result(0.22, (0.1, 0.34), 0.0, None, {"level": "Normal", "why": "Ten percent surely leak."}),
    }


def page(folder: Path, columns: tuple[str, ...] = HOSTILE) -> Path:
    told = {
        "name": "<img src=x onerror=alert(1)>",
        "plan": [{"column": c, "transform": "keep", "detail": "x" * 90} for c in columns],
        "timings": {"train": 3.0},
        "versions": {"twinlake": "0.1.0"},
        "guarantee": {"epsilon": 3.0, "delta": 1e-6, "unit": HOSTILE[0], "public": {"schema": "declared", HOSTILE[1]: ""}},
        "losses": [{"epoch": i, "train": 9.0 / i, "validation": 9.5 / i} for i in range(1, 9)],
    }
    return write_report(folder / "report.html", evaluation(columns), counts(1, columns), counts(2, columns), told)


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    text = page(tmp_path).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "a\\nb|c" in text
    assert "\u202e" not in text
    outside = {u for u in re.findall(r"(?:https?:)?//[\w-]+\.[\w.]+", text) if "evil" not in u}
    # The names of XML, which nothing fetches.
    assert outside <= {"http://www.w3.org", "//www.w3.org"}


def test_downstream_and_fairness_are_told(tmp_path: Path) -> None:
    text = page(tmp_path).read_text(encoding="utf-8")
    assert "-2.0 (-3.0 to -1.0)" in text
    assert "Left out: xgboost (its library is not installed)" in text
    assert "by up to 80.0 points when they learned from real rows" in text
    assert "The twin narrows the gap. Adding the twin changes that by no more than chance does." in text
    assert "Not computed: it is not a modelled column." in text
    assert "Loss of R" not in text


def test_attacks_are_told(tmp_path: Path) -> None:
    text = page(tmp_path).read_text(encoding="utf-8")
    assert "Protection: Normal" in text and "Ten percent surely leak." in text
    assert (
        "epsilon 3, delta 1e-06; unit of privacy: &lt;script&gt;" in text
        and "Treated as public: schema (declared), =HYPERLINK" in text
    )
    assert ">30.0%</td>" in text and ">10.0% to 34.0%</td>" in text and ">AUC 0.600</td>" in text
    assert "Not tried: fewer than two columns." in text
    assert "Guessing a secret column 22.0% (10.0% to 34.0%)" in text  # the picture in words


def test_small_cells_are_left_out(tmp_path: Path) -> None:
    # Two of 1,000 rows hold it: neither its bar nor its name is drawn.
    assert "rare one" not in page(tmp_path).read_text(encoding="utf-8")


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    first = page(tmp_path).read_bytes()
    assert page(tmp_path).read_bytes() == first


def test_a_wide_table_is_folded(tmp_path: Path) -> None:
    columns = tuple(f"column_{i}" for i in range(130))
    text = page(tmp_path, columns).read_text(encoding="utf-8")
    assert "Columns 61 to 120" in text
    assert "Columns 121 to 130" in text
    assert "Find a column: all 130 by name" in text and "that differ most, the farthest first" not in text


def test_of_a_very_wide_table_the_worst_columns_are_drawn_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[write_report.__module__], "DRAWN_COLUMNS", 70)
    text = page(tmp_path, tuple(f"column_{i}" for i in range(80))).read_text(encoding="utf-8")
    assert "Drawn are the 70 of 80 columns that differ most, the farthest first." in text
    assert "Find a column: 70 by name" in text


def test_an_empty_evaluation_still_makes_a_page(tmp_path: Path) -> None:
    none = Evaluation(None, "not computed", {"quality_score": Result(None, reason="no rows")}, {})
    assert "could not be computed" in write_report(tmp_path / "r.html", none).read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1200, "light")])
def test_the_page_in_a_browser(browser: Any, opened_in: Any, tmp_path: Path, width: int, scheme: str) -> None:
    path = page(tmp_path)
    opened_in(browser, path, width, scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(browser: Any, accessible_in: Any, tmp_path: Path, scheme: str) -> None:
    accessible_in(browser, page(tmp_path), scheme)
