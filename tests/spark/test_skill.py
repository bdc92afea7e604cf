"""Skill scores by hand, and the counts of triples against pandas."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN
from twinlake.evaluate.joint import triple_counts
from twinlake.evaluate.metrics.skill import _product, skill, triple_skill
from twinlake.evaluate.triples import MISSING

NAMES = ("x", "a.b", "c")
KINDS = {"x": "number", "a.b": "category", "c": "category"}


def test_skill_by_hand() -> None:
    assert skill(0.2, 0.1, 0.5) == pytest.approx(0.75)
    assert skill(0.05, 0.1, 0.5) == 1.0 and skill(0.9, 0.1, 0.5) == 0.0
    assert skill(0.1, 0.1, 0.1) is None


def test_a_product_of_margins_by_hand() -> None:
    assert _product(np.array([[1.0, 1.0], [0.0, 2.0]])) == pytest.approx(np.array([[0.125, 0.375], [0.125, 0.375]]))
    cube = np.zeros((2, 2, 2))
    cube[0, 0, 0] = cube[1, 1, 0] = 5.0
    assert _product(cube)[:, :, 0] == pytest.approx(np.full((2, 2), 0.25)) and _product(cube)[:, :, 1].sum() == 0


def table(seed: int, rows: int, exclusive: bool) -> pd.DataFrame:
    """c tells whether x is above 0 and b is "q", but not both: no two columns know anything of each other."""
    draw = np.random.default_rng(seed)
    x, b, c = np.round(draw.normal(0, 1, rows), 2), draw.choice(["p", "q"], rows), draw.choice(["n", "y"], rows)
    if exclusive:
        c = np.where((x > 0) != (b == "q"), "y", "n")
    return pd.DataFrame({"x": x, "a.b": b, "c": c})


def evidence(spark: Any, real: pd.DataFrame, twin: pd.DataFrame, holdout: pd.DataFrame | None) -> Evidence:
    def frame(held: pd.DataFrame) -> Any:
        rows = [tuple(None if v != v else v for v in r) for r in held.itertuples(index=False, name=None)]
        return spark.createDataFrame(rows, "x double, `a.b` string, c string")

    return Evidence(frame(real), frame(twin), NAMES, KINDS, holdout=None if holdout is None else frame(holdout))


def test_counts_are_those_of_pandas_and_triples_are_seen_where_pairs_are_not(spark: Any) -> None:
    real, twin, held = table(1, 900, True), table(2, 900, False), table(3, 900, True)
    real.loc[:20, "x"] = np.nan
    real.loc[10:40, "c"] = None
    given = evidence(spark, real, twin, held)
    sides = triple_counts(given)
    assert [s.sum() for s in sides[:3]] == [900.0] * 3
    edges = np.unique(np.quantile(real["x"].dropna(), np.arange(1, 6) / 6, method="inverted_cdf"))
    common = {
        n: list(real[n].value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable").index)
        for n in NAMES[1:]
    }
    for side, held_ in ((TRAIN, real), (HOLDOUT, held), (TWIN, twin)):
        x = np.where(held_["x"].isna(), MISSING, np.searchsorted(edges, held_["x"], side="left"))
        codes = [x] + [
            held_[n].map(lambda v, n=n: common[n].index(v) if v == v and v is not None else MISSING).to_numpy(int)
            for n in NAMES[1:]
        ]
        wanted = pd.Series(list(zip(*codes, strict=True))).value_counts()
        for cell in itertools.product(range(8), repeat=3):
            assert sides[side][0][cell] == wanted.get(cell, 0), (side, cell)
    assert triple_skill(given).value == 0.0
    assert triple_skill(evidence(spark, real, held, table(4, 900, True))).value > 0.9


def test_two_columns_have_no_triples(spark: Any) -> None:
    real = table(1, 60, True).assign(c="n")
    found = triple_skill(evidence(spark, real, real, real))
    assert found.value is None and found.reason == "fewer than three columns vary"
