"""The `privacy` section of the config."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from twinlake.core.section import Count, Section

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
    """Whose data is protected, and how rare a value may be."""

    unit: str | None = Field(None, description="Column that tells people apart; default, or row: each row is one person.")
    min_people: Count = Field(10, ge=2, description="Values held by fewer people never reach an artifact or the model.")
    filters: FiltersConfig = Field(FiltersConfig(), description="Generated rows that are drawn again.")
