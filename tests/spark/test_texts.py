"""Texts of the twin against those of train rows: counts made by plain Python, scipy's tests, planted copies."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import TRAIN, TWIN
from twinlake.evaluate.metrics.texts import (
    PARTS,
    compare_words,
    nearness_score,
    structure_score,
    structure_step,
    text_copies,
    text_semantics,
    text_structure,
)

NAME = "no.`te"
THINGS = ("card", "loan", "cash", "rent")
ABOUT = {
    "card": ("shop", "chip", "limit", "payment"),
    "loan": ("bank", "rate", "years", "house"),
    "cash": ("coins", "till", "purse", "notes"),
    "rent": ("flat", "month", "owner", "lease"),
}


def written(seed: int, n: int, mixed: bool = False) -> list[str | None]:
    """One to three sentences about one thing, each with words that go with it; `mixed`: with any words."""
    draw = np.random.default_rng(seed)
    out: list[str | None] = []
    for _ in range(n):
        thing = draw.choice(THINGS)
        words = [w for t in THINGS for w in ABOUT[t]] if mixed else ABOUT[thing]
        told = [" and a ".join(draw.choice(words, draw.integers(1, 4))) for _ in range(draw.integers(1, 4))]
        parts = [f"My {thing} has a {what}" for what in told]
        out.append(None if draw.random() < 0.05 else ". ".join(parts) + draw.choice([".", "!", "", " 7?"]))
    return out


def frame(spark: Any, texts: list[str | None]) -> Any:
    return spark.createDataFrame([(i, text) for i, text in enumerate(texts)], "id int, `no.``te` string")


@pytest.fixture(scope="module")
def tables() -> tuple[list[str | None], list[str | None], list[str | None]]:
    real, holdout, twin = written(1, 400), written(2, 200), written(3, 150, mixed=True)
    long = [t for t in real if t is not None and len(re.findall(r"[^\W_]+", t)) >= 8 and real.count(t) < 10]
    twin[:6] = [long[0].upper(), long[1] + " !!", *long[2:5], f"{long[5]} and more"]  # five copies and one that is none
    return real, holdout, twin


@pytest.fixture(scope="module")
def held(spark: Any, tables: tuple[list[str | None], ...]) -> Evidence:
    real, holdout, twin = (frame(spark, t) for t in tables)
    return Evidence(real, twin, ("id",), {"id": "number"}, holdout=holdout, texts=(NAME,))


def shapes(texts: list[str | None]) -> dict[str, Counter[int]]:
    """Sentences of a text, words of a sentence, letters of a word, by Python's own splitting."""
    sentences = [[s for s in re.split(r"[.!?]+(?:\s+|$)", t) if re.search(r"[^\W_]", s)] for t in texts if t is not None]
    words = [re.findall(r"[^\W_]+", s) for text in sentences for s in text]
    return {
        "sentences": Counter(map(len, sentences)),
        "words": Counter(map(len, words)),
        "letters": Counter(len(w) for sentence in words for w in sentence),
    }


def distance(a: list[str | None], b: list[str | None]) -> float:
    one, two = shapes(a), shapes(b)
    spread = [[[counts[part][k] for k in range(256)] for counts in (one, two)] for part in PARTS]
    return float(np.mean([jensenshannon(x, y, base=2) for x, y in spread]))


def test_structure_is_that_of_plain_python(held: Evidence, tables: tuple[list[str | None], ...]) -> None:
    real, holdout, twin = tables
    found = text_structure(held)
    assert found.detail["each"] == pytest.approx({NAME: distance(real, twin)}, abs=1e-9)
    assert found.value == pytest.approx(structure_score(distance(real, twin)), abs=1e-9)
    assert found.reference == pytest.approx(structure_score(distance(real, holdout)), abs=1e-9)
    assert found.detail["at_reference_n"] == pytest.approx(found.value, abs=1e-12)  # the twin is the smaller one
    assert [structure_score(d) for d in (0.1, 0.12, 0.5, 0.8, 0.81)] == pytest.approx([10.0, 10.0, 5.25, 1.5, 1.5])


def test_texts_of_other_scripts_and_none_are_counted() -> None:
    batch = pa.RecordBatch.from_pydict({"t0": pa.array(["Ça va? Ďalší 日本語!\nyes", "", None, "3.5 v1.2 ..."])})
    found = structure_step(1, batch, TRAIN)
    assert {k: int(v) for k, v in enumerate(found["sentences0"]) if v} == {0: 1, 1: 1, 3: 1}
    assert {k: int(v) for k, v in enumerate(found["words0"]) if v} == {1: 1, 2: 2, 4: 1}
    assert {k: int(v) for k, v in enumerate(found["letters0"]) if v} == {1: 3, 2: 3, 3: 2, 5: 1}
    assert all(v.sum() == 0 for v in structure_step(1, batch.slice(2, 1), TWIN).values())


def test_nearness_is_scipys_one_sided_test() -> None:
    draw = np.random.default_rng(4)
    real, other = draw.normal(0.6, 0.1, 300), draw.normal(0.65, 0.2, 170).round(2)
    under, over = (ks_2samp(other, real, alternative=side).statistic for side in ("greater", "less"))
    assert nearness_score(real, other) == pytest.approx(10 * np.exp(-under) * np.exp(-over), abs=1e-9)
    assert nearness_score(real, real) == 10.0
    assert nearness_score(np.ones(40), np.zeros(40)) == pytest.approx(10 / np.e)


def test_words_tell_mixed_topics_and_repeated_texts_from_real_texts() -> None:
    real, fresh, mixed = ([t for t in written(s, 500, m) if t] for s, m in ((1, False), (2, False), (3, True)))
    good, bad, copied = (compare_words(real, other, fresh, 7) for other in (fresh, mixed, real))
    assert good["twin"] == good["holdout"] > 8.5
    assert bad["twin"] < good["twin"] - 1.5
    assert copied["twin"] < good["twin"]  # half of them are looked up: they find themselves
    assert good == compare_words(real, fresh, fresh, 7)
    assert compare_words(real, mixed[:29], fresh, 7) == {}


def test_words_and_copies_of_a_table(spark: Any, held: Evidence, tables: tuple[list[str | None], ...]) -> None:
    found = text_semantics(held)
    assert found.value is not None and found.reference is not None and found.value < found.reference
    assert found.detail["each"][NAME]["n_twin"] == sum(t is not None for t in tables[2])
    copies = text_copies(held)
    plain = [[" ".join(re.findall(r"[^\W_]+", (t or "").lower())) for t in table] for table in tables]
    long = [[t for t in table if len(t.split()) >= 8] for table in plain]
    own = {t for t, n in Counter(long[0]).items() if n < 10}
    assert copies.detail["copies"] == sum(t in own for t in long[2]) >= 5
    assert copies.value == pytest.approx(copies.detail["copies"] / len(long[2]), abs=1e-12)
    assert copies.reference == pytest.approx(np.mean([t in own for t in long[1]]), abs=1e-12)
    for metric in (text_structure, text_semantics, text_copies):
        none = metric(replace(held, texts=(), memo={}))
        assert none.value is None and none.reason == "no column is free text that a model writes" and not none.asked()
