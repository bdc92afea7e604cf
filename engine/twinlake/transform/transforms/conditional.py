"""Transforms that look at other columns: `when` (a condition in Spark SQL), `drop_row`, and `combine`.

A condition is evaluated by Spark over the table as it was, before any transform, and reaches the batch as a column of
its own. A condition that is null counts as false. Reading other columns never changes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Context, Inner, Parameter, SqlColumn, Transform, applied, spec_of
from twinlake.transform.transforms.values import is_scalar, texts_of

if TYPE_CHECKING:
    from pyspark.sql import Column

SQL = "sql:"
"""What `reads` says in front of a Spark SQL condition, in place of a column's name."""


# ---- when


def _branches(parameters: Mapping[str, Any]) -> tuple[Inner, ...]:
    return tuple(spec_of(place, parameters[place]) for place in ("then", "otherwise") if place in parameters)


def when(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` through `then` in rows where the condition is true, through `otherwise` in the others."""
    true = context.others[SQL + str(parameters["condition"])].fill_null(False)
    kind = pa.string() if _when_output(context.type, parameters, context) == "string" else array.type
    parts = []
    for branch, rows in zip(_branches(parameters), (true, pc.invert(true)), strict=True):
        # each branch sees its own rows alone: a value that it can't work on may stand in the others
        at = pc.indices_nonzero(rows)
        others = {name: values.take(at) for name, values in context.others.items()}
        out = applied(array.take(at), branch, keys, _with_others(context, others))
        parts.append(out if out.type == kind else out.cast(kind))
    order = pa.concat_arrays([pc.indices_nonzero(true), pc.indices_nonzero(pc.invert(true))])
    return pa.concat_arrays(parts).take(pc.sort_indices(order))


def _with_others(context: Context, others: Mapping[str, pa.Array]) -> Context:
    return replace(context, others=others)


def _when_output(spark_type: str, parameters: Mapping[str, Any], context: Context | None = None) -> str:
    known = (context or Context("", spark_type)).known
    kinds = {known[b.transform].output_type(spark_type, b.parameters) for b in _branches(parameters) if b.transform in known}
    return kinds.pop() if len(kinds) == 1 else "string"


def _when_native(cell: Column, parameters: Mapping[str, Any], context: Context, sql: SqlColumn) -> Column | None:
    from pyspark.sql import functions as F

    made = []
    kind = _when_output(context.type, parameters, context)
    for branch in _branches(parameters):
        transform = context.known[branch.transform]
        out = transform.native(cell, branch.parameters, context, sql) if transform.native else None
        if out is None or transform.output_type(context.type, branch.parameters) != kind:
            return None
        made.append(out)
    true = F.coalesce(sql(str(parameters["condition"])).cast("boolean"), F.lit(False))
    return F.when(true, made[0]).otherwise(made[1])


def _when_valid(parameters: Mapping[str, Any]) -> str | None:
    missing = [name for name in ("condition", "then", "otherwise") if name not in parameters]
    if missing:
        return f"{' and '.join(missing)} missing; both outcomes must be said, such as `then: redact`, `otherwise: keep`"
    for branch in _branches(parameters):
        if branch.transform in ("drop", "drop_row"):
            return f"{branch.transform} can't stand inside; for rows use `transform: drop_row` with `where`"
    return None


# ---- drop_row


def _rest(parameters: Mapping[str, Any]) -> tuple[Inner, ...]:
    return (spec_of("then", parameters.get("then", "redact")),)


def drop_row(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """The rows that stay, through `then`. `apply_plan` takes the other rows out before."""
    if "where" not in parameters:
        return pa.nulls(len(array), array.type)
    return applied(array, _rest(parameters)[0], keys, context)


def _drop_reads(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    return (SQL + str(parameters["where"]),) if "where" in parameters else ()


# ---- combine


def combine(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """The texts of the columns `of`, joined by `separator`, through `then`; null where the column itself is null or
    any part is. The column's own values are not used."""
    parts = [texts_of(context.others[str(name)]) for name in parameters["of"]]
    joined = pc.binary_join_element_wise(*parts, str(parameters.get("separator", " ")))
    joined = pc.if_else(pc.is_valid(array), joined, pa.scalar(None, pa.string()))
    plain = replace(context, type="string", others={})
    out = applied(joined, _combined(parameters)[0], keys, plain)
    return out.cast(pa.string())


def _combined(parameters: Mapping[str, Any]) -> tuple[Inner, ...]:
    return (spec_of("then", parameters.get("then", "hash")),)


def _combine_valid(parameters: Mapping[str, Any]) -> str | None:
    of = parameters.get("of", [])
    if len(of) < 1 or not all(isinstance(name, str) and name for name in of):
        return "`of` must list the columns to join, such as `of: [first_name, last_name]`"
    if _combined(parameters)[0].transform in ("drop", "drop_row"):
        return "`then` must be a transform of text"
    return None


def _inner_output(spark_type: str, parameters: Mapping[str, Any]) -> str:
    inner = _rest(parameters)[0]
    known = Context("", spark_type).known
    return known[inner.transform].output_type(spark_type, inner.parameters) if inner.transform in known else spark_type


def no_key(parameters: Mapping[str, Any]) -> bool:
    """Of transforms that need no key themselves; those inside them may."""
    return False


WHEN = Transform(
    "when",
    when,
    (
        Parameter("condition", str, minimum=1, help="Spark SQL condition over the table's columns"),
        Parameter("then", object, help="transform of rows where it is true"),
        Parameter("otherwise", object, help="transform of the other rows"),
    ),
    output=_when_output,
    takes=is_scalar,
    needs_key=no_key,
    reads=lambda parameters: (SQL + str(parameters["condition"]),),
    inner=_branches,
    native=_when_native,
    valid=_when_valid,
)
DROP_ROW = Transform(
    "drop_row",
    drop_row,
    (
        Parameter(
            "where",
            str,
            minimum=1,
            help="Spark SQL condition over the table's columns; rows for which it is true go. Default: rows in which "
            "this column has a value",
        ),
        Parameter("then", object, help="transform of the column in the rows that stay; default: redact"),
    ),
    output=_inner_output,
    removes=True,
    needs_key=no_key,
    reads=_drop_reads,
    inner=_rest,
)
COMBINE = Transform(
    "combine",
    combine,
    (
        Parameter("of", list, help="columns whose values are joined"),
        Parameter("separator", str, " ", help="what stands between them"),
        Parameter("then", object, help="transform of the joined text; default: hash"),
    ),
    output="string",
    removes=True,
    needs_key=no_key,
    reads=lambda parameters: tuple(str(name) for name in parameters.get("of", ())),
    inner=_combined,
    valid=_combine_valid,
)
