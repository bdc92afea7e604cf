"""The settings of the llm family."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from twinlake.core.section import Count, Section, Share


class LlmConfig(Section):
    """Of the llm family: a language model of your own, fine-tuned; needs twinlake[llm]."""

    path: str | None = Field(None, description="Folder of a Hugging Face causal language model; nothing is downloaded.")
    prompt: str = Field(
        "Columns: {columns}. One row as {format}:", min_length=1, description="What each row stands behind in training."
    )
    format: Literal["json", "csv"] = Field("json", description="How rows are written; json takes columns in any order.")
    lora_rank: Count = Field(16, ge=1, description="Rank of the LoRA adapter.")
    lora_alpha: Count = Field(32, ge=1, description="Scale of the LoRA adapter, divided by its rank.")
    learning_rate: Annotated[Share, Field(gt=0)] | Literal["auto"] = Field("auto", description="Highest learning rate.")
    batch_size: Annotated[Count, Field(ge=1)] | Literal["auto"] = Field("auto", description="Rows of a training step.")
    max_tokens: Annotated[Count, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="Tokens of a row in training; what is longer is cut."
    )

    def script(self) -> tuple[Any, ...]:
        """What decides how rows are told, before any training."""
        return self.path, self.prompt, self.format, self.max_tokens
