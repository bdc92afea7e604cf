"""The `privacy` section of the config."""

from __future__ import annotations

from pydantic import Field

from twinlake.core.section import Count, Section


class PrivacyConfig(Section):
    """Whose data is protected, and how rare a value may be."""

    unit: str | None = Field(None, description="Column that tells people apart; default: each row is one person.")
    min_people: Count = Field(10, ge=2, description="Values held by fewer people never reach an artifact or the model.")
