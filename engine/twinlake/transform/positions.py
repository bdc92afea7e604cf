"""A DataFrame by position: its columns are called c0, c1, ... so that no name can be mistaken, and the Spark SQL
expressions that a plan needs stand beside them. Knows nothing of transforms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twinlake.core.errors import PolicyError, escaped
from twinlake.transform.transforms.conditional import SQL

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


class Positions:
    """`df` with its columns by position. `wanted`: names of columns, or `sql:` and an expression over the names of `df`.

    Errors: PolicyError for an expression that Spark can't take.
    """

    def __init__(self, df: DataFrame, wanted: Iterable[str]) -> None:
        self.schema = df.schema
        texts = list(dict.fromkeys(name[len(SQL) :] for name in wanted if name.startswith(SQL)))
        self._expressions = {text: f"s{number}" for number, text in enumerate(texts)}
        names = [f"c{number}" for number in range(len(self.schema.names))]
        self.df = _evaluated(df, texts).toDF(*names, *self._expressions.values())

    def cell(self, at: int) -> Column:
        """The column at this position."""
        from pyspark.sql import functions as F

        return F.col(f"c{at}")

    def expression(self, text: str) -> Column:
        """The column of an expression that was asked for."""
        from pyspark.sql import functions as F

        return F.col(self._expressions[text])

    def named(self, name: str) -> Column:
        """The column of this name, or of an expression after `sql:`, as a condition."""
        if name.startswith(SQL):
            return self.expression(name[len(SQL) :]).cast("boolean")
        return self.cell(self.schema.names.index(name))

    def without(self, at: int, where: str | None) -> Positions:
        """Without the rows for which `where` is true; without `where`, those that have a value at this position."""
        from pyspark.sql import functions as F

        gone = self.cell(at).isNotNull() if where is None else self.expression(where).cast("boolean")
        out = Positions.__new__(Positions)
        out.schema, out._expressions = self.schema, self._expressions
        out.df = self.df.where(~F.coalesce(gone, F.lit(False)))
        return out


def _evaluated(df: DataFrame, texts: list[str]) -> DataFrame:
    """`df` with a column for each expression at its end."""
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as F

    out = df
    for number, text in enumerate(texts):
        try:
            out = out.withColumn(f"__twinlake_sql_{number}", F.expr(text))
            out.schema  # noqa: B018  # a Connect session finds the error only here
        except PySparkException as error:
            why = error.getCondition() if hasattr(error, "getCondition") else type(error).__name__
            raise PolicyError(
                f"the expression {escaped(text)!r} can't be used on this table ({why}); it is Spark SQL over the table's "
                f"columns: {escaped(', '.join(df.columns[:12]))}"
            ) from None
    return out


def quoted(name: str) -> str:
    """A column's name for Spark's parser."""
    return "`" + name.replace("`", "``") + "`"


def spark_type(name: str) -> Any:
    """The Spark type of a scalar simple string. Errors: PolicyError."""
    from pyspark.sql import types as T

    if match := re.fullmatch(r"decimal\((\d+),\s*(\d+)\)", name):
        return T.DecimalType(int(match[1]), int(match[2]))
    plain = (
        T.StringType, T.BooleanType, T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.FloatType, T.DoubleType,
        T.DateType, T.TimestampType, T.TimestampNTZType,
    )  # fmt: skip
    for kind in plain:
        if kind().simpleString() == name:
            return kind()
    raise PolicyError(
        f"a ciphertext can't become {escaped(name)!r}; the type is one of "
        f"{', '.join(k().simpleString() for k in plain)}, decimal(p,s)"
    )
