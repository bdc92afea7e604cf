"""The page of a sweep opened in a browser: many trials, hostile and long names, a phone and a desk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twinlake.core.seeds import generator
from twinlake.sweep.page import write_page
from twinlake.sweep.ranking import front
from twinlake.sweep.record import Trial
from twinlake.sweep.space import Dimension, Objective

pytestmark = pytest.mark.browser
LONG = "generate.conditions." + "w" * 60
SPACE = (
    Dimension("train.epochs", (), 1.0, 100.0, log=True),
    Dimension("model.language.embedding_dim", (), 32, 256, integer=True, step=32),
    Dimension(LONG, ("<img src=x onerror=alert(1)>", "$x_2$ \u202egnp", None, "v" * 300)),
    *(Dimension(f"generate.choice_{i}", tuple(range(20))) for i in range(4)),
)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
def test_the_page_in_a_browser(browser: Any, opened_in: Any, tmp_path: Path, width: int, scheme: str) -> None:
    draw = generator(3)
    objectives = (Objective("quality_score", False), Objective("auc_gap", True))
    trials = []
    for number in range(1, 61):
        settings: dict[str, Any] = {
            d.name: d.choices[int(draw.integers(len(d.choices)))] if d.choices else float(draw.integers(32, 100)) for d in SPACE
        }
        values = {"quality_score": float(draw.normal(80, 5)), "auc_gap": float(draw.random())}
        trials.append(Trial(number, settings, 12.0, values if number % 9 else {}, reason=None if number % 9 else "<b>why</b>"))
    path = write_page(tmp_path / "sweep.html", "a <b>sweep</b>", trials, front(trials, objectives), objectives, SPACE)
    opened_in(browser, path, width, scheme)
