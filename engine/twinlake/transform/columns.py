"""The decision on one column, and how the twin's column follows from it. `plan.py` makes decisions, `plan_file.py` keeps
them; both build on this and it on neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from twinlake.core.keys import DEFAULT_KEY
from twinlake.transform.transforms import Context, Inner, Transform, walk
from twinlake.transform.transforms.base import Faker, spec_of
from twinlake.transform.transforms.redact import replacement
from twinlake.transform.transforms.values import family, is_scalar, is_text

PROSE = ("keep", "spans")
"""Transforms that leave prose that can be learned; of all others texts keep their form alone."""
Synthesis = Literal["model", "text", "surrogate", "key", "format", "constant", "null", "none"]
"""How the twin's column is made. model: by the model. text: written by a language model, given the rest of the row. surrogate:
the entity's fakes. key: new unique identifiers. format: text of the same shape. constant: one text. null: nulls only. none:
the column is not in the twin."""

COARSER = ("bucket", "round", "clip", "generalize")
"""Transforms after which many rows share a value, so that a key is none any more."""


@dataclass(frozen=True)
class ColumnPlan:
    """The decision on one column. `type`, `nullable`: the table's. `output_type`: after the transform."""

    name: str
    type: str
    nullable: bool
    entity: str | None
    transform: str
    parameters: dict[str, Any]
    output_type: str
    synthesis: Synthesis
    reason: str

    def context(
        self, detectors: Mapping[str, Faker] | None = None, transforms: Mapping[str, Transform] | None = None
    ) -> Context:
        """What the transform may know of this column."""
        return Context(self.name, self.type, self.nullable, self.entity, detectors, transforms=transforms)

    def steps(self, transforms: Mapping[str, Transform]) -> Iterator[Inner]:
        """The transform and those inside its parameters."""
        return walk(self.transform, self.parameters, transforms)

    def keys(self, transforms: Mapping[str, Transform]) -> set[str]:
        """The names of the keys that it needs."""
        steps = [step for step in self.steps(transforms) if transforms[step.transform].keyed(step.parameters)]
        return {str(step.parameters.get("key", DEFAULT_KEY)) for step in steps}

    @property
    def leaves(self) -> dict[str, dict[str, Any]]:
        """Of a nested column, by path, how the twin's leaf is made where a transform of its own decides that, and its entity.
        `leaf`: as its values ask for."""
        if self.transform != "paths" or not has_leaves(self.type):
            return {}
        specs = {str(path): spec_of(str(path), raw) for path, raw in self.parameters.get("paths", {}).items()}
        return {path: _made_by(step) for path, step in specs.items()}

    @property
    def constant(self) -> str | None:
        """The canonical text of every non-null value of a column redacted to a constant; None for any other column."""
        if self.transform != "redact" or self.synthesis != "constant":
            return None
        return replacement(self.parameters, self.context())


def schema_hash(columns: Sequence[tuple[str, str]]) -> str:
    """The first 16 hex digits of a SHA-256 over names and types."""
    return hashlib.sha256(json.dumps([list(pair) for pair in columns]).encode()).hexdigest()[:16]


def synthesis_of(transform: str, parameters: Mapping[str, Any], column: Context, kind: str | None) -> Synthesis:
    """How the twin's column is made after `transform`. `kind` is the profile's; None where it is not known."""
    if transform == "drop":
        return "none"
    if transform == "drop_row" and "where" not in parameters:
        return "null"
    if transform == "redact":
        if parameters.get("with") == "characters" and is_text(column.type):
            return "format"
        return "null" if replacement(parameters, column) is None else "constant"
    if not is_scalar(column.type):  # nested: by its leaves
        return "model" if has_leaves(column.type) and kind != "empty" else "null"
    if kind in ("empty", "opaque"):
        return "null"
    if transform == "fake":  # the twin draws from built-in fakes alone: a model must be loaded without a caller's code
        own = column.detectors and str(parameters.get("as") or column.entity) in column.detectors
        return "format" if own else "surrogate"
    if transform in COARSER:
        return "model"
    if kind == "key" or (kind == "number" and parameters.get("cipher") == "ff1"):
        return "key"
    if kind == "text":
        return "text" if transform in PROSE else "format"
    # pseudonyms of numbers and dates are text without an order: only few different ones can be modelled
    return "format" if transform in ("hash", "encrypt", "combine") and kind in ("number", "datetime") else "model"


def _made_by(step: Inner) -> dict[str, Any]:
    from twinlake.classify.detectors import DETECTORS

    entity = step.parameters.get("as") or step.parameters.get("entity")
    if step.transform == "fake":  # the twin draws from built-in fakes alone
        return {"synthesis": "surrogate" if entity in DETECTORS else "format", "entity": entity}
    drawn = step.transform == "redact" and step.parameters.get("with") == "characters"
    return {"synthesis": "format" if drawn else "leaf", "entity": entity}


def has_leaves(spark_type: str) -> bool:
    """Whether a column of this type is modelled by its leaves: structs and arrays."""
    return spark_type.split("<", maxsplit=1)[0] in ("struct", "array")


def is_nested(spark_type: str) -> bool:
    """Whether a type has leaves: struct, array or map."""
    return family(spark_type) == "other" and spark_type.split("<", maxsplit=1)[0] in ("struct", "array", "map")
