"""What a transform is: a pure function from an Arrow array to an Arrow array, with its parameters and types declared.

A transform sees one column of one batch and knows nothing of tables, Spark or other columns. Invariants, asked of each
one by the contract suite: null in, null out; the same input, parameters and key give the same output; a removing
transform puts no input value into its output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.errors import PolicyError, escaped, nearest
from twinlake.core.keys import DEFAULT_KEY, Keyring


class Faker(Protocol):
    """The part of a detector that transforms use: surrogates of 64-bit keys, and how many different ones there are."""

    @property
    def fake(self) -> Callable[[npt.NDArray[np.uint64]], pa.StringArray]: ...
    @property
    def space(self) -> int: ...


@dataclass(frozen=True)
class Context:
    """What a transform may know about its column besides the values. `type` is the Spark type, as simple string.

    `detectors` None means the built-in ones: executors then import them, and they need not travel with the task.
    """

    column: str
    type: str
    nullable: bool = True
    entity: str | None = None
    detectors: Mapping[str, Faker] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a transform: its name, Python type, default, and what is allowed."""

    name: str
    type: type
    default: Any = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    help: str = ""


Apply = Callable[[pa.Array, Mapping[str, Any], Keyring, Context], pa.Array]


@dataclass(frozen=True)
class Transform:
    """A named transform. `output`: the column keeps its type, or becomes text. `takes`: which types it accepts.

    `removes`: no input value is in the output. `restore` undoes `apply` given the key; None where that is impossible.
    """

    name: str
    apply: Apply
    parameters: tuple[Parameter, ...] = ()
    output: Literal["same", "string"] = "same"
    takes: Callable[[str], bool] = lambda spark_type: True
    removes: bool = False
    restore: Apply | None = None

    @property
    def keyed(self) -> bool:
        """Whether a key is needed."""
        return any(parameter.name == "key" for parameter in self.parameters)

    def output_type(self, spark_type: str) -> str:
        """The Spark type of the result for a column of `spark_type`."""
        return "string" if self.output == "string" else spark_type

    def check(self, given: Mapping[str, Any], at: str) -> dict[str, Any]:
        """`given` when every parameter is known and of its type. Errors: PolicyError that starts with `at`."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in given.items():
            if name not in known:
                allowed = f"parameters of {self.name}: {', '.join(known) or 'none'}"
                raise PolicyError(
                    f"{at}: unknown parameter {escaped(str(name))!r} of {self.name}{nearest(str(name), known)}; "
                    f"{allowed}"
                )
            _check_value(known[name], value, f"{at}: {self.name}.{name}")
        return dict(given)


KEY = Parameter("key", str, DEFAULT_KEY, help="name of the key under `keys:` in the config")
DOMAIN = Parameter(
    "domain", str, help="columns of one domain get equal results for equal values; default: the entity, else the column"
)


def register(transforms: Sequence[Transform]) -> dict[str, Transform]:
    """`transforms` by name."""
    return {transform.name: transform for transform in transforms}


def domain_of(parameters: Mapping[str, Any], context: Context) -> str:
    """The join domain: what is declared, else the entity, else the column's name."""
    return str(parameters.get("domain") or context.entity or context.column)


def _check_value(parameter: Parameter, value: Any, at: str) -> None:
    # bool is a number to Python, and a YAML `yes` was not meant as 1
    if not isinstance(value, parameter.type) or (isinstance(value, bool) and parameter.type is not bool):
        raise PolicyError(
            f"{at} must be {_ENGLISH[parameter.type]}, got {escaped(repr(value))} ({type(value).__name__})"
        )
    if parameter.choices and value not in parameter.choices:
        allowed = f"{', '.join(parameter.choices)} ({parameter.help})"
        raise PolicyError(f"{at} must be {allowed}, got {escaped(repr(value))}{nearest(str(value), parameter.choices)}")
    size = _size(value)
    if (parameter.minimum is not None and size < parameter.minimum) or (
        parameter.maximum is not None and size > parameter.maximum
    ):
        noun = "a length" if isinstance(value, str) else "a number"
        raise PolicyError(f"{at} must be {noun} from {parameter.minimum} to {parameter.maximum}, got {size}")


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str) else int(value)


_ENGLISH = {str: "text", int: "a whole number", bool: "true or false"}
