"""Quality within groups of rows, beside pandas and numbers worked by hand; small groups have none, absent ones are named."""

from __future__ import annotations

import itertools
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.metrics.segments import LEAST, coarse_labels, segment_tv
from twinlake.profile.counts import TokenCounts

VALUES = {"city": ["Rome", "Oslo", "(rare)"], "paid": ["no", "yes"], "age": ["1 .. 9", "10 .. 19", "20 .. 29", "30 .. 39"]}
COARSE = {"city": [0, 1, 2], "paid": [0, 1], "age": [0, 0, 1, 1]}
KINDS = {"city": "category", "paid": "category", "age": "number"}


def counted(df: pd.DataFrame) -> TokenCounts:
    names = tuple(VALUES)
    codes = {c: df[c].map(VALUES[c].index).to_numpy(np.int64) for c in names}
    coarse = {c: np.array(COARSE[c], np.uint8) for c in names}
    pairs = []
    for a, b in itertools.combinations(names, 2):
        held = np.zeros((16, 16), np.int64)
        np.add.at(held, (coarse[a][codes[a]], coarse[b][codes[b]]), 1)
        pairs.append(held)
    single = tuple(np.bincount(codes[c], minlength=len(VALUES[c])) for c in names)
    return TokenCounts(
        len(df), names, single, tuple(coarse.values()), np.stack(pairs), tuple(tuple(v) for v in VALUES.values())
    )


def evidence(*tables: pd.DataFrame | None, k: int = 10) -> Evidence:
    """Of train, twin, holdout and the twin at the holdout's size."""
    none = cast(Any, None)  # no table is read
    real, twin, held, at = (None if t is None else counted(t) for t in (*tables, *[None] * (4 - len(tables))))
    return Evidence(none, none, tuple(VALUES), KINDS, real, twin, none, held, at, k=k)


def rows(city: str, paid: str, age: str, n: int) -> list[tuple[str, str, str]]:
    return [(city, paid, age)] * n


def frame(*held: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(list(itertools.chain(*held)), columns=list(VALUES))


def drawn(seed: int, n: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    age = draw.choice(VALUES["age"], n)
    city = np.where(draw.random(n) < 0.3 + 0.4 * (age == "1 .. 9"), "Rome", "Oslo")
    paid = np.where(draw.random(n) < 0.3 + 0.5 * (city == "Rome"), "yes", "no")
    return pd.DataFrame({"city": city, "paid": paid, "age": age})


def test_a_group_that_is_wrong_hides_in_the_whole() -> None:
    """Rome pays and Oslo does not, in the twin the other way round: every column is as it was."""
    real = frame(rows("Rome", "yes", "1 .. 9", 100), rows("Oslo", "no", "1 .. 9", 100), rows("Oslo", "no", "20 .. 29", 100))
    twin = frame(rows("Rome", "no", "1 .. 9", 100), rows("Oslo", "no", "20 .. 29", 100), rows("Oslo", "yes", "1 .. 9", 100))
    found = segment_tv(evidence(real, twin))
    told = {(w["column"], w["group"]): w for w in found.detail["worst"]}
    # Rome: paid is 1 off, age right. Oslo: paid is half off, age right.
    assert told["city", "Rome"]["tv"] == pytest.approx((1 + 0) / 2)
    assert told["city", "Oslo"]["tv"] == pytest.approx((0.5 + 0) / 2)
    # Those who pay: city is 1 off, and of those who do not by half; their ages by 0 and by 0.
    assert told["paid", "yes"]["tv"] == pytest.approx((1 + 0) / 2)
    assert told["paid", "no"]["tv"] == pytest.approx((0.5 + 0) / 2)
    # Bins of age are two coarse ones: up to 19 the cities and payers are the same, as are those of 20 and more.
    assert told["age", "1 .. 19"]["tv"] == told["age", "20 .. 39"]["tv"] == 0.0
    assert found.value == pytest.approx((0.5 + 0.25 + 0.5 + 0.25) / 6) and found.reference is None
    assert found.detail["worst"][0]["group"] == "Rome" and found.detail["worst"][0]["most"] == "paid"
    assert [w["n"] for w in found.detail["worst"][:2]] == [100, 100]


def test_the_numbers_are_those_of_pandas() -> None:
    real, twin, held = drawn(1, 4000), drawn(2, 3000).assign(paid="yes"), drawn(3, 900)
    at = twin[: len(held)]
    found = segment_tv(evidence(real, twin, held, at))
    bins = {c: dict(zip(VALUES[c], COARSE[c], strict=True)) for c in VALUES}
    coded = [pd.DataFrame({c: t[c].map(bins[c]) for c in VALUES}) for t in (real, twin, held, at)]

    def shares(t: pd.DataFrame, c: str) -> pd.Series:
        return t[c].value_counts(normalize=True).reindex(range(4), fill_value=0.0)

    expected: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for c in VALUES:
        for value in coded[0][c].unique():
            within = [t[t[c] == value] for t in coded]
            if min(map(len, within)) < LEAST:
                continue
            for table, of in expected.items():
                others = [o for o in VALUES if o != c]
                of.append(float(np.mean([0.5 * (shares(within[0], o) - shares(within[table], o)).abs().sum() for o in others])))
    got = [found.value, found.reference, found.detail["at_reference_n"]]
    assert got == pytest.approx([float(np.mean(v)) for v in expected.values()])
    # "paid = no" is a group that the twin has nothing of.
    assert found.detail["measured"] == len(expected[1]) == 5
    assert [(one["column"], one["group"]) for one in found.detail["lacking"]] == [("paid", "no")]


def test_small_groups_have_no_number() -> None:
    many = rows("Oslo", "no", "1 .. 9", 200), rows("Oslo", "yes", "1 .. 9", 200)
    real = frame(rows("Rome", "yes", "1 .. 9", LEAST - 1), *many)
    found = segment_tv(evidence(real, real))
    assert found.value == 0.0 and found.detail["too_small"] == 1 and not found.detail["lacking"]
    assert ("city", "Rome") not in {(w["column"], w["group"]) for w in found.detail["worst"]}
    # The size that a value needs to be shown is a bound as well.
    none = segment_tv(evidence(real, real, k=1000))
    assert none.value is None and none.reason == "no group of rows has 1000 rows in each table and another column that varies"


def test_a_small_holdout_makes_a_group_small_and_rare_values_are_none() -> None:
    real = frame(rows("Rome", "yes", "1 .. 9", 300), rows("Oslo", "no", "20 .. 29", 300), rows("(rare)", "no", "1 .. 9", 300))
    found = segment_tv(evidence(real, real, real[:340], real[:340]))
    groups = {(w["column"], w["group"]) for w in found.detail["worst"]}
    assert ("city", "Rome") in groups and ("city", "Oslo") not in groups
    assert "(rare)" not in {g for _, g in groups} | {one["group"] for one in found.detail["lacking"]}


def test_several_values_of_a_bin_are_not_listed() -> None:
    labels = (tuple(f"v{i}" for i in range(20)), ("null", "0", "1 .. 2", "3 .. 9"))
    coarse = (np.minimum(np.arange(20), 15).astype(np.uint8), np.array([0, 1, 2, 2], np.uint8))
    single = (np.ones(20, np.int64), np.ones(4, np.int64))
    held = TokenCounts(20, ("a", "b"), single, coarse, np.zeros((1, 16, 16), np.int64), labels)
    assert coarse_labels(held, 0)[15] == "5 more values" and coarse_labels(held, 0)[3] == "v3"
    assert coarse_labels(held, 1) == {0: "null", 1: "0", 2: "1 .. 9"}


def test_a_table_of_one_column_has_no_groups() -> None:
    flat = frame(rows("Rome", "yes", "1 .. 9", 300))
    assert segment_tv(evidence(flat, flat)).value is None
    assert segment_tv(evidence(None)).reason == "no token counts were given"
