"""The section `generate` of the config: how many rows, and what steers them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from twinlake.core.section import Count, Section, Share, written


class BalanceConfig(Section):
    """Exact shares of groups of rows."""

    columns: list[str] = Field([], description="Columns whose values are balanced, together; none turns it off.")
    mode: Literal["replace", "additive"] = Field(
        "replace", description="replace: shares of the twin; additive: write only rows that top the real ones up to them."
    )
    shares: dict[str, Share] | list[dict[str, Any]] | None = Field(
        None, description="{value: share}, or [{column: value, share: 0.3}]; the rest as in the data. Default: equal."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        if isinstance(value, str | list):
            return {"columns": [value] if isinstance(value, str) else value}
        if isinstance(value, dict) and isinstance(value.get("shares"), dict):
            return {**value, "shares": {written(key): share for key, share in value["shares"].items()}}
        return value


class GenerateConfig(Section):
    """The synthetic rows."""

    rows: Annotated[Count, Field(ge=1)] | Literal["source"] = Field(
        "source", description="How many rows; source: as many as the table has."
    )
    conditions: dict[str, Any] = Field({}, description="What columns must hold: a value, null, a list, or {min, max}.")
    balance: BalanceConfig = Field(BalanceConfig(), description="Exact shares of groups of rows; a list of columns is enough.")
    augment: bool = Field(False, description="Also write <run.dir>/augmented: real rows and twin, told apart by `synthetic`.")
    rules: list[str | dict[str, Any]] = Field(
        [],
        description="Conditions in Spark SQL, {unique: [..]}, {combination: [..]}, {one_hot: [..]}, {function: file.py:name}.",
    )
    temperature: Share = Field(1.0, gt=0.0, le=10.0, description="Below 1: likelier values; above 1: bolder ones.")
    top_p: Share = Field(1.0, gt=0.0, le=1.0, description="Draw from the likeliest values that reach this share.")
    guidance: Share = Field(0.5, ge=0.0, le=5.0, description="How much closer texts follow their row than was learned.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Of the tabular family's products; bfloat16: sooner where processors have it, other rows."
    )
    partitions: Count | None = Field(None, ge=1, description="Spark tasks; never changes a row. Default: one for each part.")
    replace_copies: bool | Literal["auto"] = Field(
        "auto", description="Redraw texts of 8 words or more that are a training row's; true: also rows that equal one."
    )
    strict_kernel: bool = Field(False, description="Refuse a cluster whose processors or libraries differ.")
