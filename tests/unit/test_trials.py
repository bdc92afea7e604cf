"""Which settings short trials choose, by losses that are written down, and how they go with checkpoints' plans."""

from __future__ import annotations

from typing import Any

import pytest

from twinlake.models.tabular import settings_for
from twinlake.train.data import Schedule
from twinlake.train.tabular import choose_settings

FIRST: dict[str, Any] = {"blocks": 0, "decay": 2.0}


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ({(0, 2.0): 20.0, (1, 2.0): 19.5, (1, 0.5): 19.2}, (1, 0.5)),
        ({(0, 2.0): 20.0, (1, 2.0): 19.5, (1, 0.5): 19.48}, (1, 2.0)),  # weaker decay gains too little
        ({(0, 2.0): 20.0, (1, 2.0): 19.96, (0, 0.5): 20.1}, (0, 2.0)),  # so does a block
        ({(0, 2.0): 20.0, (1, 2.0): 21.0, (0, 0.5): 19.0}, (0, 0.5)),
        ({(0, 2.0): 20.0, (1, 2.0): None}, (0, 2.0)),  # out of time
        ({(0, 2.0): None}, (0, 2.0)),
    ],
)
def test_changes_must_earn_their_place(losses: dict[tuple[int, float], float | None], chosen: tuple[int, float]) -> None:
    asked: list[tuple[int, float]] = []

    def trial(settings: dict[str, Any]) -> float | None:
        asked.append((settings["blocks"], settings["decay"]))
        return losses[asked[-1]]

    best, trials = choose_settings(FIRST, 5_000, trial)
    assert (best["blocks"], best["decay"]) == chosen
    assert asked == list(losses)
    assert [t["validation_loss"] for t in trials] == [loss for loss in losses.values() if loss is not None]
    assert FIRST == {"blocks": 0, "decay": 2.0}


def test_many_rows_ask_more_of_a_block() -> None:
    losses = {(0, 2.0): 20.0, (1, 2.0): 19.92, (0, 0.5): 20.0, (1, 0.5): 20.0}
    for rows, blocks in ((19_999, 1), (20_000, 0)):
        best, _ = choose_settings(FIRST, rows, lambda s: losses[s["blocks"], s["decay"]])
        assert best["blocks"] == blocks


def test_decay_follows_from_batch_and_rows() -> None:
    assert settings_for("auto", 640, (5,), 80).decay == pytest.approx(7.5 / 8**0.5)
    assert settings_for("m", 40_000, (5,), 625).decay == pytest.approx(7.5 / 8)
    assert settings_for("auto", 1_000_000, (5,), 8_192).decay == 1e-4
    fine, plain = (60,) * 8, (60,) * 7
    assert [settings_for("auto", rows, fine, 512).hidden for rows in (9_999, 10_000, 50_000)] == [64, 128, 128]
    assert [settings_for("auto", 10_000, fine * times, 512).hidden for times in (64, 65)] == [128, 64]  # 512 tokens, 520
    assert [settings_for("auto", rows, fine, 512).blocks for rows in (9_999, 10_000, 50_000)] == [0, 1, 1]
    assert [settings_for("auto", rows, plain, 512).blocks for rows in (9_999, 49_999, 50_000)] == [0, 0, 1]


def test_a_network_with_a_block_is_tried_with_weaker_decay_only() -> None:
    asked = []

    def trial(settings: dict[str, Any]) -> float:
        asked.append((settings["blocks"], settings["decay"]))
        return settings["decay"]

    best, _ = choose_settings({"blocks": 1, "decay": 0.8}, 30_000, trial)
    assert asked == [(1, 0.8), (1, 0.2)] and best["decay"] == 0.2


@pytest.mark.parametrize(
    ("rows", "held"), [(10, 1), (700, 35), (1_999, 100), (2_000, 200), (5_000, 500), (10_000, 500), (20_000, 1_000)]
)
def test_up_to_a_tenth_is_held_out_where_settings_are_chosen(rows: int, held: int) -> None:
    assert Schedule(rows, 1, 64).validation_rows == held


def test_at_most_fifty_thousand_rows_are_held_out() -> None:
    assert Schedule(3_000_000, 1, 64).validation_rows == 50_000
