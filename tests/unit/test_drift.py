"""Drift from token counts: distances by hand, chance beside a simulation, names that are inert, limits that are passed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from twinlake.core.errors import ConfigError, DataError
from twinlake.evaluate.drift import by_chance, drift_between, limits_of
from twinlake.profile.counts import TokenCounts

HOSTILE = "<b>a|b</b>\n"


def counted(pair: list[list[int]], names: tuple[str, str] = ("a", "b")) -> TokenCounts:
    """Two columns of two bins each, by the table of their pair."""
    table = np.zeros((1, 16, 16), np.int64)
    table[0, :2, :2] = pair
    single = tuple(table[0].sum(axis)[:2] for axis in (1, 0))
    coarse = (np.arange(2, dtype=np.uint8),) * 2
    return TokenCounts(int(table.sum()), names, single, coarse, table, (("x", "y"),) * 2)


def test_distances_by_hand() -> None:
    found = drift_between(counted([[500, 0], [0, 500]]), counted([[300, 200], [200, 300]]))
    # Columns are half and half as before; 0.2 of the rows have left each cell of the diagonal.
    assert [c.tv for c in found.columns] == [0.0, 0.0] and not any(c.moved for c in found.columns)
    [pair] = found.pairs
    assert (pair.tv, pair.beyond, pair.moved) == (pytest.approx(0.4), pytest.approx(0.4), True)
    assert found.summary() == pytest.approx({"worst_column": 0, "worst_pair": 0.4, "mean_column": 0, "mean_pair": 0.4})


def test_a_pair_that_moves_with_its_column_is_not_beyond_it() -> None:
    found = drift_between(counted([[400, 400], [100, 100]]), counted([[100, 100], [400, 400]]))
    assert [(c.columns, c.tv) for c in found.columns] == [(("a",), pytest.approx(0.6)), (("b",), 0.0)]
    assert found.columns[0].moved and not found.columns[1].moved
    assert found.pairs[0].tv == pytest.approx(0.6) and found.pairs[0].beyond == pytest.approx(0.0, abs=1e-12)


def test_chance_is_that_of_a_simulation() -> None:
    draw, share = np.random.default_rng(4), np.array([0.5, 0.3, 0.15, 0.05])
    first, second = draw.multinomial(2_000, share, 4_000), draw.multinomial(500, share, 4_000)
    seen = 0.5 * np.abs(first / 2_000 - second / 500).sum(1)
    told = [by_chance(a, b, 20) for a, b in zip(first, second, strict=True)]
    assert np.mean([mean for mean, _ in told]) == pytest.approx(seen.mean(), rel=0.02)
    passed = [tv > mean + slack for tv, (mean, slack) in zip(seen, told, strict=True)]
    assert np.mean(passed) <= 0.05 / 20
    assert by_chance(np.array([10, 0]), np.array([10, 0]), 1)[0] == 0.0


def test_what_cannot_be_compared_is_said() -> None:
    found = drift_between(counted([[5, 5], [5, 5]]), counted([[0, 0], [0, 0]]), {"c": "in the first alone"})
    assert found.columns == () == found.pairs and found.summary()["worst_column"] is None
    assert found.left_out == {"c": "in the first alone", **dict.fromkeys("ab", "one of the tables has no rows")}
    assert found.failed({"worst_column": 0.5}) == ["worst_column: nothing could be compared, limit 0.5"]
    assert "No column could be compared." in found.to_text() and "in the first alone" in found.to_text()
    with pytest.raises(DataError):
        drift_between(counted([[5, 5], [5, 5]]), counted([[5, 5], [5, 5]], ("a", "z")))


def test_limits() -> None:
    found = drift_between(counted([[400, 400], [100, 100]]), counted([[100, 100], [400, 400]]))
    assert found.failed(limits_of(["worst_column=0.6001", "mean_pair=1"])) == []
    assert found.failed(limits_of(["worst_column=0.5"])) == ["worst_column: 0.6 is above the limit 0.5"]
    for text, told in (("worst=0.1", "known: worst_column"), ("worst_pair", "0 to 1"), ("mean_pair=2", "0 to 1")):
        with pytest.raises(ConfigError, match=told):
            limits_of([text])
    with pytest.raises(ConfigError, match="got 'nan'"):
        limits_of(["mean_pair=nan"])


def test_what_is_written(tmp_path: Path) -> None:
    counts = [counted(rows, (HOSTILE, "b")) for rows in ([[40, 40], [10, 10]], [[10, 10], [40, 40]])]
    found = drift_between(*counts, {HOSTILE: "whole"}, {"release": "This is not for release."})
    found.save(tmp_path / "out")
    told = json.loads((tmp_path / "out" / "drift.json").read_text())
    assert told["rows"] == {"first": 100, "second": 100} and told["columns"][0]["columns"] == [HOSTILE]
    assert set(told["summary"]) == {"worst_column", "worst_pair", "mean_column", "mean_pair"}
    text = (tmp_path / "out" / "drift.md").read_text()
    assert "<b>" not in text and "a\\|b" in text and "This is not for release." in text
    assert "x" not in {c for row in told["columns"] for c in row}  # no label of a bin
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--out"):
        found.save(tmp_path / "file" / "out")
