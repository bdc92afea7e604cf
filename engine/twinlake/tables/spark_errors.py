"""Spark's errors as ours: what went wrong and what to do, never Spark's own text, which may hold cells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from twinlake.core import errors
from twinlake.core.errors import CANCELLED, DataError, TableError, TwinlakeError, UserError

CONDITION = re.compile(r"\[([A-Z][A-Z0-9_]+)(?:\.[A-Z0-9_]+)*\]")


@contextmanager
def spark_errors(what: str) -> Iterator[None]:
    """Turns Spark's errors into ours: the condition and the thing at hand, never Spark's text, which may hold cells."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import AnalysisException, ParseException, PySparkException

    try:
        yield
    except Py4JJavaError as error:  # results fetched as Arrow: pyspark does not translate what failed in a task
        text = str(error)
        if own := _own_error(text):
            raise own from None
        if CANCELLED in text:
            raise KeyboardInterrupt from None
        named = CONDITION.findall(text)
        if not named:
            raise
        if named[0] == "PYTHON_EXCEPTION":
            raise _bug(what, text) from None
        condition = next((name for name in named if name.startswith("MALFORMED")), named[0])
        raise DataError(f"{what}: Spark refused it with {condition}{_hint(condition)}") from None
    except PySparkException as error:
        condition = error.getCondition() or type(error).__name__
        if own := _own_error(str(error)):
            raise own from None
        if CANCELLED in str(error):
            raise KeyboardInterrupt from None
        if condition == "PYTHON_EXCEPTION":
            raise _bug(what, str(error)) from None
        user = isinstance(error, (AnalysisException, ParseException))
        raise (TableError if user else DataError)(f"{what}: Spark refused it with {condition}{_hint(condition)}") from None


def _own_error(text: str) -> TwinlakeError | None:
    """The error that our own code raised inside a Spark task, whose traceback is `text`, or what its Python lacks; the message
    holds no cell."""
    if missing := re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", text):
        where = "install twinlake where the executors run, or let PYSPARK_PYTHON name a Python that has it"
        return UserError(f"the executors' Python has no module {missing[1]}; {where}")
    found = re.search(r"twinlake\.core\.errors\.(\w+): (.+)", text)
    return getattr(errors, found[1])(found[2]) if found and hasattr(errors, found[1]) else None


def _bug(what: str, text: str) -> TwinlakeError:
    """What failed in a task and where in our code, from the traceback in `text`; not its message, which may hold a cell."""
    kinds = re.findall(r"^\s*([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)): ", text, re.MULTILINE)
    frames = re.findall(r'File "[^"\n]*?(twinlake/[\w/]+\.py)", line (\d+)', text)
    where = f" at {frames[-1][0]}:{frames[-1][1]}" if frames else ""
    kind = kinds[-1] if kinds else "an unknown error"
    return TwinlakeError(f"{what}: this is a bug in twinlake, a task failed with {kind}{where}")


def _hint(condition: str) -> str:
    hints = {
        "TABLE_OR_VIEW_NOT_FOUND": "; check the name and the current catalog",
        "UNABLE_TO_INFER_SCHEMA": "; the folder holds no readable file of this format",
        "MALFORMED": "; a record does not fit the schema (wrong number of fields, or a wrong type); "
        "CSV with line breaks inside quotes needs source.options.multiLine: true",
        "PARQUET_TYPE_ILLEGAL": "; a column holds a type that Spark has not, such as times in nanoseconds: write microseconds",
        "FAILED_READ_FILE": "; a file is damaged, or not of this format",
        "PARSE_SYNTAX_ERROR": "; check the SQL of source.where",
        "UNRESOLVED_COLUMN": "; check the column names in source.where",
    }
    return next((hint for start, hint in hints.items() if condition.startswith(start)), "")
