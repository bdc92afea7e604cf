"""`sql` puts a Spark SQL expression over the table's columns in place of a value, cast to the type that is declared.

Spark evaluates it, as a column expression; what it does with the values is the writer's choice, so nothing is promised
about removal. Use the `try_` functions: Spark's own errors show the value that they failed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from twinlake.core.errors import PolicyError
from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Context, Parameter, SqlColumn, Transform
from twinlake.transform.transforms.conditional import SQL, no_key

if TYPE_CHECKING:
    from pyspark.sql import Column


def sql(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """Errors: PolicyError; an expression runs in Spark, on whole columns, alone."""
    raise PolicyError("`sql` works on whole columns; it can't stand inside text, nested values or another transform")


def sql_native(cell: Column, parameters: Mapping[str, Any], context: Context, sql: SqlColumn) -> Column:
    """The expression, cast to the declared type."""
    # a safe cast: the error of an unsafe one would show the value
    return sql(str(parameters["expression"])).try_cast(sql_output(context.type, parameters))


def sql_output(spark_type: str, parameters: Mapping[str, Any]) -> str:
    """The type declared with `returns`, else the column's own."""
    return str(parameters.get("returns", spark_type))


SQL_EXPRESSION = Transform(
    "sql",
    sql,
    (
        Parameter("expression", str, minimum=1, maximum=10_000, help="Spark SQL over the table's columns"),
        Parameter("returns", str, minimum=1, maximum=200, help="Spark type of the result; default: the column's"),
    ),
    output=sql_output,
    native=sql_native,
    reads=lambda parameters: (SQL + str(parameters["expression"]),),
    needs_key=no_key,
    valid=lambda parameters: None if "expression" in parameters else "`expression` is missing; add it",
)
