"""Do joins survive? Compares the plans of tables that share keys, before anything runs.

Two columns still join if both are kept, or both have the same transform with the same key, join domain and shape. Knows
no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twinlake.core.errors import PolicyError, escaped, nearest
from twinlake.core.keys import DEFAULT_KEY
from twinlake.transform.columns import ColumnPlan
from twinlake.transform.plan import Plan
from twinlake.transform.transforms.base import domain_of
from twinlake.transform.transforms.fake import surrogate_domain

_AGREEING = ("keep", "fake", "hash", "encrypt")
_SHAPE = {"key": DEFAULT_KEY, "length": 64, "cipher": "aes-siv", "as": None, "locale": None, "fold": False, "format": "kept"}
"""Parameters that decide what a value becomes, and their defaults."""


def join_warnings(plans: Mapping[str, Plan], joins: Iterable[tuple[str, str]]) -> list[str]:
    """What would break, one line for each of `joins`: pairs such as ("people.id", "orders.person_id"). Empty: none.

    Errors: PolicyError for a table or column that is not in `plans`.
    """
    found = []
    for left, right in joins:
        one, other = _column(plans, left), _column(plans, right)
        if why := _difference(one, other):
            found.append(f"the join {escaped(left)} = {escaped(right)} will break: {why}")
    return found


def _column(plans: Mapping[str, Plan], name: str) -> ColumnPlan:
    table, _, column = name.partition(".")
    if table not in plans:
        raise PolicyError(f"no plan for table {escaped(table)!r}{nearest(table, plans)}; tables: {', '.join(plans)}")
    names = [c.name for c in plans[table].columns]
    if column not in names:
        raise PolicyError(f"table {escaped(table)!r} has no column {escaped(column)!r}{nearest(column, names)}")
    return plans[table][column]


def _difference(one: ColumnPlan, other: ColumnPlan) -> str | None:
    if one.transform != other.transform:
        return f"one side is planned {one.transform}, the other {other.transform}; plan both alike"
    if one.transform not in _AGREEING:
        return f"{one.transform} doesn't keep equal values equal and different ones different; use hash, encrypt or fake"
    if one.transform == "keep":
        return None
    for name, default in _SHAPE.items():
        if one.parameters.get(name, default) != other.parameters.get(name, default):
            return f"the two sides have different values of `{name}`; give both the same"
    mine, theirs = _domain(one), _domain(other)
    if mine != theirs:
        return f"the join domains are {escaped(mine)!r} and {escaped(theirs)!r}; give both the same `domain`"
    return None


def _domain(column: ColumnPlan) -> str:
    parameters: dict[str, Any] = column.parameters
    return (surrogate_domain if column.transform == "fake" else domain_of)(parameters, column.context())
