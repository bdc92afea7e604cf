"""Whether joins will survive is told from the plans alone (bad input C09)."""

from __future__ import annotations

from typing import Any

import pytest

from twinlake.core.errors import PolicyError
from twinlake.transform.columns import ColumnPlan
from twinlake.transform.joins import join_warnings
from twinlake.transform.plan import Plan

JOIN = [("people.id", "orders.person")]


def plans(one: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]) -> dict[str, Plan]:
    def plan(name: str, choice: tuple[str, dict[str, Any]]) -> Plan:
        return Plan((ColumnPlan(name, "bigint", True, None, *choice, "string", "model", ""),))

    return {"people": plan("id", one), "orders": plan("person", other)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("keep", {}), ("keep", {})),
        (("encrypt", {"domain": "p"}), ("encrypt", {"domain": "p"})),
        (("hash", {"domain": "p"}), ("hash", {"domain": "p", "length": 64, "key": "pseudonyms"})),
        (("fake", {"as": "UUID"}), ("fake", {"as": "UUID"})),
    ],
)
def test_plans_that_agree_keep_the_join(one: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]) -> None:
    assert join_warnings(plans(one, other), JOIN) == []


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (("encrypt", {"domain": "p"}), ("keep", {}), "one side is planned encrypt, the other keep"),
        (("encrypt", {}), ("encrypt", {}), "the join domains are 'id' and 'person'"),
        (("hash", {"domain": "p"}), ("hash", {"domain": "p", "length": 32}), "different values of `length`"),
        (("hash", {"domain": "p"}), ("hash", {"domain": "p", "key": "other"}), "different values of `key`"),
        (("redact", {}), ("redact", {}), "redact doesn't keep equal values equal"),
        (("encrypt", {"domain": "p"}), ("encrypt", {"domain": "p", "cipher": "ff1"}), "different values of `cipher`"),
    ],
)
def test_a_join_that_will_break_is_said_with_both_columns(
    one: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]], why: str
) -> None:
    [line] = join_warnings(plans(one, other), JOIN)
    assert line.startswith("the join people.id = orders.person will break: ") and why in line


def test_unknown_tables_and_columns_are_named() -> None:
    with pytest.raises(PolicyError, match="did you mean 'people'"):
        join_warnings(plans(("keep", {}), ("keep", {})), [("peple.id", "orders.person")])
    with pytest.raises(PolicyError, match="did you mean 'person'"):
        join_warnings(plans(("keep", {}), ("keep", {})), [("people.id", "orders.persn")])
