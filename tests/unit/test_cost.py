"""The cost plan: tokens and parameters by hand, and how cost grows."""

from __future__ import annotations

from typing import Any

import pytest

from twinlake.core.config import parse_config
from twinlake.profile.types import ColumnProfile, Profile
from twinlake.train.cost import Cost, estimate
from twinlake.transform.columns import ColumnPlan
from twinlake.transform.plan import Plan


def cost(rows: int = 100_000, cores: int = 2, **config: Any) -> Cost:
    """Colours (4 values), codes (1,000: 4 blocks and 256 members), amounts (two tokens) and a key."""
    columns = (
        ColumnProfile("colour", "string", True, "category", rows, distinct=4),
        ColumnProfile("code", "string", True, "category", rows, distinct=1_000),
        ColumnProfile("amount", "double", True, "number", rows, distinct=50_000),
        ColumnProfile("id", "bigint", True, "key", rows, distinct=rows),
    )
    plan = tuple(
        ColumnPlan(c.name, c.type, True, None, "keep", {}, c.type, "key" if c.name == "id" else "model", "") for c in columns
    )
    return estimate(Profile(rows, 10, columns), Plan(plan), parse_config(config), cores)


def test_tokens_and_parameters_by_hand() -> None:
    found = cost(model={"size": "m"}, holdout={"fraction": 0.0})
    assert (found.rows, found.twin_rows, found.modelled, found.made_anew) == (100_000, 100_000, 3, 1)
    assert found.tokens == 5 and found.values == 6 + 6 + 256 + 96 + 24 == 388
    # size m: 16 wide, 64 hidden, one block; each of 5 tokens looks at 5 parents
    weights = 5 * (5 * 16 * 64 + 2 * 64 * 64) + 64 * 388
    assert found.parameters == 388 * 16 + weights + 388


def test_rows_that_are_held_out_count_as_read() -> None:
    assert cost(rows=90_000).rows == 100_000 == cost(rows=90_000).twin_rows
    assert cost(generate={"rows": 5}).twin_rows == 5


@pytest.mark.parametrize("stage", ["profile", "transform", "encode", "evaluate"])
def test_work_grows_linearly_with_rows_and_falls_with_cores(stage: str) -> None:
    one, ten, idle = (cost(rows=rows).seconds[stage] for rows in (10**6, 10**7, 1))
    assert (ten - idle) / (one - idle) == pytest.approx(10, rel=1e-3)
    assert cost(rows=10**7, cores=4).seconds[stage] < ten


def test_learners_take_their_time_where_there_is_a_target() -> None:
    more = [cost(rows=rows, evaluate={"target": "colour"}).seconds["evaluate"] for rows in (25_000, 10**6)]
    plain = [cost(rows=rows).seconds["evaluate"] for rows in (25_000, 10**6)]
    assert [a - b for a, b in zip(more, plain, strict=True)] == pytest.approx([55.0, 110.0])


def test_a_time_limit_bounds_the_training() -> None:
    assert cost(train={"max_minutes": 0.1}).seconds["train"] == pytest.approx(15 + 6)
    text = cost().to_text()
    assert "100,000" not in text and "about 111,111 in, as many out" in text and "388 values" in text
    assert "about 111,111 in, 5 out" in cost(generate={"rows": 5}).to_text()


def test_a_marginal_model_is_not_trained() -> None:
    found = cost(model={"family": "marginal"}, holdout={"fraction": 0.0})
    assert found.tokens == 5 and found.parameters == round(388 * 388 / 5) and found.steps == 0
    assert found.seconds["train"] == 1.0 and "none: rows are counted" in found.to_text()


def test_a_written_row_by_hand() -> None:
    found = cost(model={"family": "language", "size": "m"}, holdout={"fraction": 0.0})
    # a colour, a code in two tokens, an amount of unknown range as one digit; an LSTM of 256 units over embeddings of 128
    assert found.tokens == 1 + 2 + 1 and found.values == 6 + 6 + 256 + 10
    assert found.parameters == 278 * 129 + 4 * 256 * (128 + 256)
    assert found.seconds["generate"] > cost(model={"size": "m"}, holdout={"fraction": 0.0}).seconds["generate"]
