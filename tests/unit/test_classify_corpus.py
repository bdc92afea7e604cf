"""Promise D3: recall first, on 400 labelled columns of which 200 hold nothing personal (`tests/data/labelled_columns.py`)."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from twinlake.classify.classify import classify_arrow
from twinlake.classify.decide import wilson
from twinlake.classify.entities import GENERAL

PATH = Path(__file__).parents[1] / "data" / "labelled_columns.py"
HEADED = {"checksummed": 0.99, "worded": 0.95, "other": 0.95}
BARE = {"checksummed": 0.85, "worded": 0.85, "other": 0.85}
PRECISION = 0.9


@pytest.fixture(scope="module")
def tables() -> list[Any]:
    spec = importlib.util.spec_from_file_location("labelled_columns", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    made: list[Any] = module.corpus()
    return made


def test_half_of_400_columns_hold_nothing_personal(tables: list[Any]) -> None:
    kinds = Counter(kind for table in tables for kind in table.kinds)
    assert kinds == {"none": 200, "worded": 80, "checksummed": 40, "other": 80}
    filled = [label.non_null / label.sampled for table in tables[:5] for label in classify_arrow(table.table).columns]
    assert min(filled) > 0.5 and max(filled) < 0.97


@pytest.mark.parametrize("headers", [True, False], ids=["headers", "no headers"])
def test_recall_and_precision(tables: list[Any], headers: bool) -> None:
    due: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    said = right = 0
    wrong = []
    for one in tables:
        names = one.table.column_names
        given = one.table if headers else one.table.rename_columns([f"c{i + 1}" for i in range(len(names))])
        for name, label, answers, kind in zip(names, classify_arrow(given).columns, one.right, one.kinds, strict=True):
            good = bool({label.entity, GENERAL.get(label.entity or "")} & answers)
            if answers:
                due[kind] += 1
                hit[kind] += good
            if label.entity:
                said += 1
                right += good
            if not good and (answers or label.entity):
                wrong.append(f"{one.name}: {name}: {label.entity} instead of {sorted(answers)}")
    told = [f"{kind} {hit[kind]}/{due[kind]} {wilson(hit[kind], due[kind])}" for kind in due]
    short = [kind for kind, least in (HEADED if headers else BARE).items() if hit[kind] < least * due[kind]]
    assert not short and right >= PRECISION * said, "\n".join([*told, f"precision {right}/{said}", *wrong])
