"""Who a row is about: the distinct values of `privacy.unit`, or each row by itself.

Every later stage counts rows. Where people have several rows, it asks for as many as only enough people can have: of more rows
than the k - 1 people with the most rows have together, at least k people hold some, whoever they are. One count of the rows of
each person says how many that is. So nothing that fewer than k people hold is let through, in values, quantiles, extremes,
words and groups alike; something that a few more hold may be kept back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinlake.core.config import Config
from twinlake.core.errors import ConfigError, in_quotes, nearest
from twinlake.tables.names import quoted
from twinlake.tables.run_folder import RunFolder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ROW = "row"
LEAST_ROWS = "least_rows"


def unit_of(config: Config) -> str | None:
    """The column that tells people apart; None where each row is one person."""
    return None if config.privacy.unit == ROW else config.privacy.unit


def check_unit(config: Config, schema: Any) -> None:
    """Refuses a unit that a table of this Spark schema has not, or that can't tell people apart. Errors: ConfigError."""
    unit = unit_of(config)
    if unit is None:
        return
    if unit not in schema.names:
        raise ConfigError(
            f"privacy.unit: no column {in_quotes(unit)}{nearest(unit, schema.names)}; row: each row is one person"
        )
    kind = schema[unit].dataType.typeName()
    if kind in ("map", "variant", "array", "struct", "binary"):
        raise ConfigError(f"privacy.unit: column {in_quotes(unit)} is of type {kind}; name one of texts, numbers or dates")


def rows_of_people(df: DataFrame, unit: str | None, people: int) -> int:
    """The least number of rows of `df` that are of at least `people` people, whoever they are. Rows whose `unit` is null count
    as one person's."""
    from pyspark.sql import functions as F

    if unit is None:
        return people
    held = df.groupBy(quoted(unit)).count().orderBy(F.desc("count")).limit(people - 1)
    return int((held.agg(F.sum("count")).first() or (0,))[0] or 0) + 1


def least_rows(folder: RunFolder, config: Config) -> int:
    """How many rows must hold a value before it may be told, as the profile stage of a run found it."""
    return int(folder.state().get(LEAST_ROWS, config.privacy.min_people))
