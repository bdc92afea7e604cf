"""twinlake makes a synthetic twin of a warehouse table, where the table lives.

The verbs, in the order of the line: `run` does all of it from one config; `profile`, `classify`, `plan`, `transform`, `fit`,
`Model.generate` and `evaluate` are its steps on DataFrames. Importing this package loads neither Spark, Ray nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinlake.api import Model, classify, evaluate, fit, plan, profile, register, restore, run, transform

__all__ = ["Model", "classify", "evaluate", "fit", "plan", "profile", "register", "restore", "run", "transform"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from twinlake import api

        return getattr(api, name)
    raise AttributeError(f"module 'twinlake' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
