"""Plans written out column by column, for tests of what a plan does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twinlake.transform.columns import synthesis_of
from twinlake.transform.plan import ColumnPlan, Plan
from twinlake.transform.transforms import TRANSFORMS, Context

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def plan_for(df: DataFrame, chosen: Mapping[str, tuple[str, dict[str, Any]]]) -> Plan:
    """The plan of `df` with the transforms and parameters `chosen` by column; every other column is kept."""
    columns = []
    for field in df.schema.fields:
        transform, parameters = chosen.get(field.name, ("keep", {}))
        kind = field.dataType.simpleString()
        output = TRANSFORMS[transform].output_type(kind, parameters)
        made = synthesis_of(transform, parameters, Context(field.name, kind, field.nullable), "category")
        columns.append(ColumnPlan(field.name, kind, field.nullable, None, transform, parameters, output, made, ""))
    return Plan(tuple(columns))
