"""Rules that every row of the twin keeps. What breaks one is found by Spark, on whole tables; drawing again is not done here.

A rule is a condition in Spark SQL (kept where it is true or null, as a CHECK constraint of SQL is), a function of the user's,
columns whose values are unique together, a combination of columns that must occur in the train rows, columns of which exactly
one is set, that a row is no copy of a train row, or that a longer text is none of a train row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twinlake.core.errors import ConfigError, escaped, in_quotes, nearest
from twinlake.generate.functions import function_of, kept
from twinlake.models.nested import has_column
from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ROW, ATTEMPT, RULES = "__twinlake_row", "__twinlake_attempt", "__twinlake_rules"
KINDS = ("unique", "combination", "one_hot")
COPY, TEXT = "no copy of a train row", "no text of a train row"
LONG_TEXT = 8  # words: shorter ones are said by many without knowing of each other


@dataclass(frozen=True)
class Rule:
    """`kind`: sql, function, copy, text or one of KINDS. `text`: how it is called in messages; of kind sql the condition, of a
    function its reference. `source`: a hash of the function's source."""

    kind: str
    text: str
    columns: tuple[str, ...] = ()
    source: str = ""


def read_rules(
    wanted: Sequence[str | Mapping[str, Any]], no_copies: Sequence[str] = (), own_texts: Sequence[str] = ()
) -> tuple[Rule, ...]:
    """The rules of generate.rules: texts of Spark SQL, {unique: [columns]}, {combination: ...}, {one_hot: ...}, or {function:
    reference} (see generate/functions.py).

    `no_copies`: the columns in which a row must differ from every train row; `own_texts`: those whose texts of LONG_TEXT words
    or more must be none of a train row. Errors: ConfigError.
    """
    rules = []
    for number, one in enumerate(wanted, start=1):
        if isinstance(one, str):
            rules.append(Rule("sql", one))
            continue
        kind, columns = next(iter(one.items())) if len(one) == 1 else ("", None)
        if kind == "function" and isinstance(columns, str):
            rules.append(Rule("function", columns, source=function_of(columns)[1]))
            continue
        listed = [columns] if isinstance(columns, str) else columns
        if kind not in KINDS or not isinstance(listed, list) or not listed or not all(isinstance(c, str) for c in listed):
            raise ConfigError(
                f"generate.rules: rule {number} must be a condition in Spark SQL, one of {', '.join(KINDS)} with a list of "
                "columns, such as {unique: [id]}, or {function: checks.py:name}"
            )
        rules.append(Rule(kind, f"{kind} ({', '.join(listed)})", tuple(listed)))
    copies = [Rule("copy", COPY, tuple(no_copies))] if no_copies else []
    texts = [Rule("text", f"{TEXT} in {name}", (name,)) for name in own_texts]
    return tuple(rules + copies + texts)


def check_rules(rules: Sequence[Rule], df: DataFrame, with_leaves: bool = False) -> None:
    """Errors: ConfigError for a rule that can't be asked of this table. `with_leaves`: it has all leaves of nested columns that
    are modelled as columns; else a rule may name some that it has not yet."""
    from pyspark.errors import PySparkException
    from pyspark.sql.types import BooleanType, NumericType

    for rule in rules:
        for name in rule.columns:
            if name not in df.columns and (with_leaves or not has_column(df.schema, name)):
                raise ConfigError(f"generate.rules: no column {in_quotes(name)}{nearest(name, df.columns)}")
            kind = df.schema[name].dataType if rule.kind == "one_hot" and name in df.columns else None
            if kind is not None and not isinstance(kind, (BooleanType, NumericType)):
                raise ConfigError(
                    f"generate.rules: {in_quotes(rule.text)}: column {in_quotes(name)} is {kind.simpleString()}; one_hot takes "
                    "columns of 0 and 1 or of booleans, a rule over others is a condition in Spark SQL"
                )
        try:
            if rule.kind in ("sql", "one_hot") and set(rule.columns) <= set(df.columns):
                df.limit(0).where(_broken_cell(rule)).schema  # noqa: B018  # a Connect session finds the error only here
        except PySparkException as error:
            raise ConfigError(
                f"generate.rules: {in_quotes(rule.text)} can't be asked of this table ({_why(error)}); a rule is a "
                f"condition in Spark SQL over one row: {escaped(', '.join(df.columns[:12]))}"
            ) from None


def broken(rows: DataFrame, rules: Sequence[Rule], train: DataFrame | None, people: int, sets: bool = True) -> DataFrame:
    """(ROW bigint, ATTEMPT if `rows` has it, RULES array<int>): which rules each row breaks; `rows` is read once.

    `rows`: the twin's columns and ROW. `train`: the rows that combinations, copies and texts are looked up in; combinations
    held by fewer than `people` of them do not count, nor do texts of as many: they are nobody's own. `sets` False leaves out
    rules that look at several rows (unique).
    """
    from pyspark.sql import functions as F

    keys = [name for name in (ROW, ATTEMPT) if name in rows.columns]
    own = [name for name in rows.columns if name not in keys]
    hits = []
    for number, rule in enumerate(rules):
        mark = f"__twinlake_{number}"
        if rule.kind in ("sql", "one_hot"):
            hit = _broken_cell(rule)
        elif rule.kind == "function":
            rows = rows.withColumn(mark, kept(rule.text, own))
            hit = ~F.coalesce(F.col(mark), F.lit(True))
        elif rule.kind == "unique" and sets:
            rows = rows.withColumn(mark, _repeated(rule.columns))
            hit = F.col(mark)
        elif rule.kind in ("combination", "copy") and train is not None:
            held = train.groupBy(_content(rule.columns).alias(mark)).count()
            known = held.where(F.col("count") >= people) if rule.kind == "combination" else held
            rows = rows.join(known.select(mark), _content(rule.columns) == F.col(mark), "left")
            hit = F.col(mark).isNull() if rule.kind == "combination" else F.col(mark).isNotNull()
        elif rule.kind == "text" and train is not None:
            words = long_text(rule.columns[0])
            held = train.where(words.isNotNull()).groupBy(F.xxhash64(words).alias(mark)).count()
            rows = rows.join(held.where(F.col("count") < people).select(mark), F.xxhash64(words) == F.col(mark), "left")
            hit = F.col(mark).isNotNull() & words.isNotNull()
        else:
            continue
        hits.append(F.when(hit, F.lit(number)))
    return rows.select(*keys, F.array_compact(F.array(*hits).cast("array<int>")).alias(RULES))


def _broken_cell(rule: Rule) -> Column:
    from pyspark.sql import functions as F

    if rule.kind == "one_hot":
        set_ = [F.coalesce(F.col(quoted(c)).cast("double") != 0, F.lit(False)).cast("int") for c in rule.columns]
        return sum(set_[1:], set_[0]) != 1
    return ~F.coalesce(F.expr(rule.text).cast("boolean"), F.lit(True))


def _repeated(columns: Sequence[str]) -> Column:
    """True for all rows but the first (by ROW) of those that are equal in `columns`; a null equals nothing."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    cells = [F.col(quoted(c)) for c in columns]
    whole = cells[0].isNotNull()
    for cell in cells[1:]:
        whole = whole & cell.isNotNull()
    apart = F.when(~whole, F.col(ROW))  # else all rows with a null would meet in one task
    return whole & (F.row_number().over(Window.partitionBy(*cells, apart).orderBy(ROW)) > 1)


def _content(columns: Sequence[str]) -> Column:
    """A 64-bit hash of a row's `columns`; a null differs from every value."""
    from pyspark.sql import functions as F

    cells = [F.col(quoted(c)) for c in columns]
    return F.xxhash64(*[part for cell in cells for part in (cell.isNull(), cell)])


def long_text(column: str) -> Column:
    """The letters and digits of a text of LONG_TEXT words or more, case and marks aside; null for others."""
    from pyspark.sql import functions as F

    plain = F.trim(F.regexp_replace(F.lower(F.col(quoted(column)).cast("string")), r"[^\p{L}\p{N}]+", " "))
    return F.when(F.size(F.split(plain, " ")) >= LONG_TEXT, plain)


def _why(error: Any) -> str:
    return (error.getCondition() if hasattr(error, "getCondition") else None) or type(error).__name__
