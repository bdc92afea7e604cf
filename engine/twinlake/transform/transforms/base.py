"""What a transform is: a pure function from an Arrow array to an Arrow array, with its parameters and types declared.

A transform sees one column of one batch, and of other columns only those that its `reads` names. It knows nothing of
tables. What needs no key may also be a Spark column expression (`native`), with the same results. Invariants, asked of
each one by the contract suite: null in, null out; the same input, parameters and key give the same output; a removing
transform puts no input value into its output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.errors import PolicyError, escaped, nearest
from twinlake.core.keys import DEFAULT_KEY, Keyring

if TYPE_CHECKING:
    from pyspark.sql import Column


class Faker(Protocol):
    """The part of a detector that transforms use: surrogates of 64-bit keys, and how many different ones there are."""

    @property
    def fake(self) -> Callable[[npt.NDArray[np.uint64]], pa.StringArray]: ...
    @property
    def space(self) -> int: ...


@dataclass(frozen=True)
class Context:
    """What a transform may know about its column besides the values. `type` is the Spark type, as simple string.

    `detectors` are a caller's own, beside the built-in ones, which executors import.
    `others`: for a transform that reads other columns, their values in the same rows, before any transform.
    `transforms`: those that may stand inside another one's parameters; None means the built-in ones.
    """

    column: str
    type: str
    nullable: bool = True
    entity: str | None = None
    detectors: Mapping[str, Faker] | None = field(default=None, repr=False)
    others: Mapping[str, pa.Array] = field(default_factory=dict, repr=False, compare=False)
    transforms: Mapping[str, Transform] | None = field(default=None, repr=False, compare=False)

    @property
    def known(self) -> Mapping[str, Transform]:
        """The transforms that may stand inside parameters."""
        if self.transforms is not None:
            return self.transforms
        from twinlake.transform.transforms import TRANSFORMS

        return TRANSFORMS


@dataclass(frozen=True)
class Parameter:
    """A parameter of a transform: its name, Python type (float takes whole numbers too), default, and what is allowed."""

    name: str
    type: type
    default: Any = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    help: str = ""


@dataclass(frozen=True)
class Inner:
    """A transform inside another one's parameters, and the leaf, entity or case that it is for (`place`)."""

    place: str
    transform: str
    parameters: Mapping[str, Any]


Apply = Callable[[pa.Array, Mapping[str, Any], Keyring, Context], pa.Array]
SqlColumn = Callable[[str], "Column"]
Native = Callable[["Column", Mapping[str, Any], Context, SqlColumn], "Column | None"]
Output = Callable[[str, Mapping[str, Any]], str]


@dataclass(frozen=True)
class Transform:
    """A named transform.

    output: the column keeps its type, becomes text, or what the function of (type, parameters) says. takes: which types
    it accepts. removes: no input value is in the output. restore: undoes `apply` given the key; None where that is
    impossible. native: the same as a Spark column expression, or None for parameters that it can't express; never for
    what needs a key; it gets the cell, parameters, context, and a function from an expression named in `reads` to its column.
    quicker_in_arrow: whether `apply` costs less than `native` where the rows go through Arrow anyway.
    needs_key: whether these parameters do; default: if there is a parameter `key`. reads: the other
    columns it looks at. inner: the transforms inside its parameters. valid: what is wrong with the parameters taken
    together, or None.
    """

    name: str
    apply: Apply
    parameters: tuple[Parameter, ...] = ()
    output: Literal["same", "string"] | Output = "same"
    takes: Callable[[str], bool] = lambda spark_type: True
    removes: bool = False
    restore: Apply | None = None
    native: Native | None = None
    quicker_in_arrow: Callable[[Mapping[str, Any]], bool] = lambda parameters: False
    needs_key: Callable[[Mapping[str, Any]], bool] | None = None
    reads: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda parameters: ()
    inner: Callable[[Mapping[str, Any]], tuple[Inner, ...]] = lambda parameters: ()
    valid: Callable[[Mapping[str, Any]], str | None] = lambda parameters: None

    def keyed(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a key is needed, by the transform itself (not by those inside it)."""
        if self.needs_key is not None:
            return self.needs_key(parameters)
        return any(parameter.name == "key" for parameter in self.parameters)

    def output_type(self, spark_type: str, parameters: Mapping[str, Any] | None = None) -> str:
        """The Spark type of the result for a column of `spark_type`."""
        if callable(self.output):
            return self.output(spark_type, parameters or {})
        return "string" if self.output == "string" else spark_type

    def check(self, given: Mapping[str, Any], at: str) -> dict[str, Any]:
        """`given` when every parameter is known and of its type. Errors: PolicyError that starts with `at`."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in given.items():
            if name not in known:
                allowed = f"parameters of {self.name}: {', '.join(known) or 'none'}"
                raise PolicyError(
                    f"{at}: unknown parameter {escaped(str(name))!r} of {self.name}{nearest(str(name), known)}; {allowed}"
                )
            _check_value(known[name], value, f"{at}: {self.name}.{name}")
        if wrong := self.valid(given):
            raise PolicyError(f"{at}: {self.name}: {wrong}")
        return dict(given)


KEY = Parameter("key", str, DEFAULT_KEY, help="name of the key under `keys:` in the config")
DOMAIN = Parameter(
    "domain", str, help="columns of one domain get equal results for equal values; default: the entity, else the column"
)


def register(transforms: Sequence[Transform]) -> dict[str, Transform]:
    """`transforms` by name."""
    return {transform.name: transform for transform in transforms}


def walk(name: str, parameters: Mapping[str, Any], transforms: Mapping[str, Transform]) -> Iterator[Inner]:
    """The transform itself and all those inside its parameters, outermost first."""
    yield Inner("", name, parameters)
    for inner in transforms[name].inner(parameters):
        if inner.transform in transforms:
            for found in walk(inner.transform, inner.parameters, transforms):
                place = f"{inner.place}{found.place}" if found.place else inner.place
                yield Inner(place, found.transform, found.parameters)


def spec_of(place: str, raw: Any) -> Inner:
    """The transform that `raw` names inside parameters: a name, or a mapping of `transform` and its parameters.

    Errors: PolicyError.
    """
    if isinstance(raw, str):
        return Inner(place, raw, {})
    if isinstance(raw, Mapping) and isinstance(raw.get("transform"), str):
        return Inner(place, raw["transform"], {key: value for key, value in raw.items() if key != "transform"})
    raise PolicyError(f"{escaped(place)}: must be a transform's name or a mapping with `transform`, got {escaped(repr(raw))}")


def checked(inner: Inner, at: str, transforms: Mapping[str, Transform]) -> None:
    """Refuses an inner transform that is unknown or has wrong parameters. Errors: PolicyError that starts with `at`."""
    if inner.transform not in transforms:
        raise PolicyError(
            f"{at}, {escaped(inner.place)}: unknown transform {escaped(inner.transform)!r}"
            f"{nearest(inner.transform, transforms)}; known: {', '.join(transforms)}"
        )
    transform = transforms[inner.transform]
    transform.check(inner.parameters, f"{at}, {escaped(inner.place)}")
    for below in transform.inner(inner.parameters):
        checked(below, at, transforms)


def applied(array: pa.Array, inner: Inner, keys: Keyring, context: Context) -> pa.Array:
    """`array` through an inner transform, as the type that it declares."""
    return context.known[inner.transform].apply(array, inner.parameters, keys, context)


def domain_of(parameters: Mapping[str, Any], context: Context) -> str:
    """The join domain: what is declared, else the entity, else the column's name."""
    return str(parameters.get("domain") or context.entity or context.column)


def _check_value(parameter: Parameter, value: Any, at: str) -> None:
    allowed_types = (int, float) if parameter.type is float else (parameter.type,)
    # bool is a number to Python, and a YAML `yes` was not meant as 1
    if not isinstance(value, allowed_types) or (isinstance(value, bool) and parameter.type is not bool):
        raise PolicyError(f"{at} must be {_ENGLISH[parameter.type]}, got {escaped(repr(value))} ({type(value).__name__})")
    if isinstance(value, float) and not math.isfinite(value):
        raise PolicyError(f"{at} must be a finite number, got {value}")
    if parameter.choices and value not in parameter.choices:
        allowed = f"{', '.join(parameter.choices)} ({parameter.help})"
        raise PolicyError(f"{at} must be {allowed}, got {escaped(repr(value))}{nearest(str(value), parameter.choices)}")
    size: float = value if isinstance(value, int | float) else len(value) if isinstance(value, Sized) else 1
    low, high = parameter.minimum, parameter.maximum
    if (low is not None and size < low) or (high is not None and size > high):
        noun = "a number" if isinstance(value, int | float) else "a length"
        limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise PolicyError(f"{at} must be {noun} {limits}, got {size}")


_ENGLISH = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
    object: "a transform's name or a mapping",
}
