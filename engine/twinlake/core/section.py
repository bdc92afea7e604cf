"""What the sections of the config are made of: frozen, strict values, and numbers that are no booleans."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _not_bool(value: Any) -> Any:
    """`NO` and `yes` are booleans to YAML 1.1, and Python counts a boolean as a number: neither was meant."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number (YAML read the boolean {str(value).lower()})")
    return value


Count = Annotated[int, BeforeValidator(_not_bool), Field(strict=True)]
Share = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]


class Section(BaseModel):
    """A part of the config: frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def written(key: Any) -> str:
    """A key as text: YAML reads 0, true and null as values."""
    return "null" if key is None else str(key).lower() if isinstance(key, bool) else str(key)


Text = Annotated[str, BeforeValidator(lambda value: written(value) if isinstance(value, bool | int) else value)]
