"""The error tree of twinlake. Each class fixes the exit code of the command.

0 ok, 2 user, 3 data, 4 commit (run again), 70 bug.

An error names the thing, what was got, what is allowed and the remedy. It never carries a cell value or a key:
messages are built from names, counts and types alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CANCELLED = "SPARK_JOB_CANCELLED"  # Spark's condition, after Ctrl-C or where someone ends a job in Spark's own pages


class TwinlakeError(Exception):
    """Base of all expected failures; anything else that reaches the command is a bug (exit code 70)."""

    exit_code = 70


class UserError(TwinlakeError):
    """The request can't be carried out as written; the user can mend it."""

    exit_code = 2


class ConfigError(UserError):
    """A config file, a `--set` or an argument is wrong."""


class PolicyError(UserError):
    """A policy or a plan is wrong, stale or for another table."""


class KeyReferenceError(UserError):
    """A key reference can't be resolved, or the key behind it is unusable. Never says what the key is."""


class BudgetError(UserError):
    """A release would go over the privacy budget."""


class TableError(UserError):
    """A table can't be opened, or its names or types are refused."""


class DataError(TwinlakeError):
    """The rows are not what the request needs, or an artifact is not what its manifest says."""

    exit_code = 3


class ModelError(DataError):
    """A model folder is incomplete, changed, of another format, or training went wrong."""


class GivenUp(ModelError):
    """A training was behind `train.loss_limits`: its best validation `loss` at a `share` of its steps."""

    def __init__(self, share: float, loss: float) -> None:
        super().__init__(
            f"training was given up after {share:.0%} of its steps: the validation loss {loss:.3f} is above train.loss_limits"
        )
        self.share, self.loss = share, loss


class CommitError(TwinlakeError):
    """Writing or publishing failed; running again resumes."""

    exit_code = 4


def escaped(name: str) -> str:
    """A name fit for one line of log or error: control, bidi and invisible characters escaped, at most 80 long."""
    shown = "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode("ascii") for ch in name)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def in_quotes(name: str) -> str:
    """`escaped(name)` between quotes."""
    return f"'{escaped(name)}'"


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or the empty text when nothing known is near."""
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(in_quotes(c) for c in close)}?)" if close else ""
