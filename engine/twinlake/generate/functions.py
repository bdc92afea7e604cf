"""Rules that are functions of the user's: found by name, asked of each row in Spark tasks.

A function takes a row as a dict (column -> Python value, nested ones as dicts and lists, None for null) and says whether it is
kept; None keeps it, as null does in SQL. Knows nothing of drawing again.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from twinlake.core.errors import ConfigError, UserError, in_quotes
from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column

Check = Callable[[dict[str, Any]], Any]
EXAMPLE = "checks.py:plausible, or package.module:plausible"


def function_of(reference: str) -> tuple[Check, str]:
    """The function that `reference` names (file.py:name or module:name), and a hash of the source of its file, by which parts
    of another version are told apart. A file's functions travel with the tasks; a module must be installed where they run.

    Errors: ConfigError.
    """
    where, _, name = reference.rpartition(":")
    if not where or not name.isidentifier():
        raise ConfigError(f"generate.rules: function {in_quotes(reference)} must be written as {EXAMPLE}")
    module = _file(Path(where), reference) if where.endswith(".py") else _module(where, reference)
    found = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"generate.rules: {in_quotes(where)} has no function {in_quotes(name)}")
    return found, hashlib.sha256(inspect.getsource(module).encode()).hexdigest()


def _file(path: Path, reference: str) -> ModuleType:
    """The file as a module that is not among the imported ones: its functions are then shipped by value."""
    if not path.is_file():
        raise ConfigError(f"generate.rules: there is no file {in_quotes(str(path))}; a function is written as {EXAMPLE}")
    spec = importlib.util.spec_from_file_location(f"_rules_of_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file does
        raise ConfigError(f"generate.rules: {in_quotes(reference)} can't be loaded: {type(error).__name__}") from error
    return module


def _module(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the user's module does
        why = f"{type(error).__name__}; a file is named with its ending: {EXAMPLE}"
        raise ConfigError(f"generate.rules: {in_quotes(reference)} can't be loaded: {why}") from error


def kept(reference: str, columns: Sequence[str]) -> Column:
    """Whether the function keeps each row of `columns`, boolean. Errors, in the task: UserError without the function's message,
    which may hold a cell."""
    from pyspark.sql import functions as F

    check = function_of(reference)[0]
    # a lambda: Spark would read the type hints of a function as those of a vectorized one
    asked = F.udf(lambda row: _asked(check, reference, row), "boolean")
    return asked(F.struct(*[F.col(quoted(name)) for name in columns]))


def _asked(check: Check, reference: str, row: Any) -> bool | None:
    try:
        told = check(row.asDict(recursive=True))
    except Exception as error:
        raise UserError(f"generate.rules: {reference} failed with {type(error).__name__} on a row") from None
    return None if told is None else bool(told)
