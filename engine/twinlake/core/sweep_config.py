"""The settings of a sweep: which settings vary, between what, and what is reached for."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from twinlake.core.section import Count, Section, Share


class ParameterConfig(Section):
    """What one setting may be in a sweep: one of `choices`, or a number from `min` to `max`."""

    choices: list[Any] | None = Field(None, min_length=1, description="Values to choose from; a list alone means the same.")
    min: Share | None = Field(None, description="The least number.")
    max: Share | None = Field(None, description="The greatest number.")
    log: bool = Field(False, description="Draw by the logarithm: for numbers over several sizes.")
    integer: bool | None = Field(None, description="Whole numbers alone; default: where the setting takes no others.")
    step: Annotated[Share, Field(gt=0)] | None = Field(None, description="Only min, min + step, min + 2 step, ...")

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        return {"choices": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _check(self) -> ParameterConfig:
        if self.choices is not None:
            if self.min is not None or self.max is not None or self.log or self.integer is not None or self.step is not None:
                raise ValueError("give either choices, or min and max")
            return self
        if self.min is None or self.max is None:
            raise ValueError("must be a list of choices, or have both min and max")
        if not self.min < self.max:
            raise ValueError("min must be below max")
        if self.log and (self.min <= 0 or self.step is not None):
            raise ValueError("log wants min above 0, and no step")
        if self.integer and any(x is not None and x != int(x) for x in (self.min, self.max, self.step)):
            raise ValueError("integer wants whole numbers")
        if self.step is not None and abs((self.max - self.min) / self.step % 1 - 0.5) < 0.5 - 1e-9:
            raise ValueError("max must be min plus a whole number of steps")
        return self


class SweepConfig(Section):
    """`twinlake sweep`: trials of the run with other settings, by Optuna; needs twinlake[sweep]."""

    parameters: dict[str, ParameterConfig] = Field(
        {}, description="Settings to vary: {model.size: [s, m], train.epochs: {min: 2, max: 30, log: true}}."
    )
    objective: str | list[str] = Field(
        "quality_score", description="Metric of evaluation.json to better, or a list of several."
    )
    trials: Count = Field(20, ge=1, description="How many settings are tried.")
    max_minutes: Share | None = Field(None, gt=0, description="No trial begins after that.")
    stop_early: bool = Field(True, description="Give up a training that is behind the median of earlier ones.")

    @field_validator("objective")
    @classmethod
    def _check_objective(cls, objective: str | list[str]) -> str | list[str]:
        if isinstance(objective, list) and (not objective or len(set(objective)) < len(objective)):
            raise ValueError("must be a metric, or a list of different ones")
        return objective
