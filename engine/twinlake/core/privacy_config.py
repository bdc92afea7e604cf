"""The `privacy` section of the config, and what a privacy budget forbids elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from twinlake.core.section import Count, Section, Share

if TYPE_CHECKING:
    from twinlake.core.config import Config

ROW = "row"
ROWS_PER_UNIT = 4
FAMILIES = ("tabular", "marginal", "language")
NOT_FOR_RELEASE = "not for release: exact statistics of private rows, outside the budget of privacy.epsilon"

Level = Literal["auto", "medium", "high"]


class FiltersConfig(Section):
    """Generated rows that are drawn again, since they tell too much of single people."""

    outliers: Level | None = Field(
        "auto", description="Rows in places where hardly any real row lies: auto, medium, high, or null for none."
    )
    similarity: Level | None = Field(
        "auto", description="Rows nearer to a training row than holdout rows are: auto, medium, high, or null for none."
    )

    def within_budget(self) -> FiltersConfig:
        """The filters under differential privacy: none, since they read real rows after the budget is spent.

        Errors: ValueError naming the key of one that is asked for by name.
        """
        for key in ("outliers", "similarity"):
            if (level := getattr(self, key)) not in (None, "auto"):
                raise ValueError(
                    f"privacy.filters.{key}: {level} can't be used with privacy.epsilon: it compares with real rows"
                )
        return FiltersConfig(outliers=None, similarity=None)


class PrivacyConfig(Section):
    """Whose data is protected, how rare a value may be, and the budget of differential privacy."""

    unit: str | None = Field(
        None, description="Column that tells people apart; row: each row is one person, as by default. Needed with epsilon."
    )
    min_people: Count = Field(10, ge=2, description="Values held by fewer people never reach an artifact or the model.")
    epsilon: Annotated[Share, Field(gt=0)] | None = Field(
        None, description="Budget of differential privacy for the whole model; null: no such guarantee."
    )
    delta: Annotated[Share, Field(gt=0.0, lt=1.0)] | Literal["auto"] = Field(
        "auto", description="Chance that the guarantee fails; auto: the smaller of 1e-6 and 1 / (10 rows)."
    )
    max_rows_per_unit: Annotated[Count, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="Rows of one unit that are used, with epsilon; auto: 1 of unit row, 4 of a column."
    )
    public: dict[str, list[Any] | dict[str, Any]] = Field(
        {}, description="With epsilon, what everybody knows: column -> its values as a list, or {min, max} of its numbers."
    )
    filters: FiltersConfig = Field(FiltersConfig(), description="Generated rows that are drawn again.")

    @property
    def rows_per_unit(self) -> int:
        """`max_rows_per_unit` as a number."""
        if self.max_rows_per_unit != "auto":
            return self.max_rows_per_unit
        return 1 if self.unit in (None, ROW) else ROWS_PER_UNIT

    @property
    def person(self) -> str | None:
        """The column whose rows are cut to `rows_per_unit` before anything is counted; None where none is."""
        return self.unit if self.epsilon is not None and self.unit != ROW else None

    @field_validator("public")
    @classmethod
    def _check_public(cls, public: dict[str, Any]) -> dict[str, Any]:
        for name, told in public.items():
            if isinstance(told, list):
                if not told or any(value is None or isinstance(value, dict | list) for value in told):
                    raise ValueError(f"{name}: must be a list of values, or {{min, max}}")
                continue
            numbers = [told.get(key) for key in ("min", "max")]
            if set(told) != {"min", "max"} or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
                raise ValueError(f"{name}: must be a list of values, or {{min, max}} of numbers")
            if told["min"] >= told["max"]:
                raise ValueError(f"{name}: min must be below max")
        return {n: [_as_text(v) for v in told] if isinstance(told, list) else told for n, told in public.items()}

    @model_validator(mode="after")
    def _check_unit(self) -> PrivacyConfig:
        if self.epsilon is None:
            given = [key for key in ("delta", "max_rows_per_unit") if getattr(self, key) != "auto"] + ["public"] * bool(
                self.public
            )
            if given:
                raise ValueError(f"{given[0]} says nothing without privacy.epsilon; set both, or leave {given[0]} out")
        elif self.unit is None:
            raise ValueError(
                "epsilon needs privacy.unit, whose data one guarantee is about: the column that tells people apart, or row "
                "if no two rows are of the same person"
            )
        elif self.unit == ROW and self.rows_per_unit != 1:
            raise ValueError("max_rows_per_unit must be 1 where unit is row; name the column that tells people apart instead")
        return self


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_budgeted(config: Config) -> None:
    """Refuses what would read private rows outside the budget of `privacy.epsilon`. Errors: ValueError naming the key."""
    if config.privacy.epsilon is None:
        return
    config.privacy.filters.within_budget()
    balance = config.generate.balance
    refused = [
        (
            config.model.family not in FAMILIES,
            f"model.family: {config.model.family}",
            f"use {', '.join(FAMILIES[:-1])} or {FAMILIES[-1]}",
        ),
        (config.model.start_from is not None, "model.start_from", "its model was trained outside this budget; leave it out"),
        (bool(config.train.loss_limits), "train.loss_limits", "validation losses are not measured; leave it out"),
        (config.generate.replace_copies is True, "generate.replace_copies: true", "it compares with real rows; use auto"),
        (config.generate.augment, "generate.augment", "it writes real rows; leave it out"),
        (
            bool(balance.columns) and (balance.mode == "additive" or balance.shares is None),
            "generate.balance",
            "it counts real rows; give shares that sum to 1, with mode replace",
        ),
    ]
    for wrong, key, remedy in refused:
        if wrong:
            raise ValueError(f"{key} can't be used with privacy.epsilon: {remedy}")
