"""twinlake makes a synthetic twin of a warehouse table, where the table lives.

The verbs, in the order of the line: `run` does all of it from one config, `sweep` does it with other settings for the best
score; `profile`, `classify`, `plan`, `transform`, `fit`, `Model.generate` and `evaluate` are its steps on DataFrames; `drift`
holds two of them side by side. Importing this package loads neither Spark, Ray nor torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinlake.api import Model, classify, drift, evaluate, fit, plan, profile, register, restore, run, sweep, transform

__all__ = [
    "Model",
    "classify",
    "drift",
    "evaluate",
    "fit",
    "plan",
    "profile",
    "register",
    "restore",
    "run",
    "sweep",
    "transform",
]


class _Package(ModuleType):
    """Some verbs have the name of a room: a plain package would lose the verb when the room is imported."""

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self.__name__,)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


def _verb(name: str) -> property:
    def read(_: _Package) -> Any:
        return getattr(import_module("twinlake.api"), name)

    return property(read, lambda _, room: None)


for _name in __all__:
    setattr(_Package, _name, _verb(_name))
sys.modules[__name__].__class__ = _Package
