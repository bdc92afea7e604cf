"""What is left of a trial that has ended. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]
Losses = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Trial:
    """What is left of a trial. `values`: objective -> value, empty unless it finished; `given_up`: share of the training and
    loss, when it was; `reason`: why it failed. `losses`: best validation loss after shares of the training, in nats a row of
    the encoding `codec`."""

    number: int
    settings: Settings
    seconds: float
    values: dict[str, float] = field(default_factory=dict)
    given_up: tuple[float, float] | None = None
    reason: str | None = None
    losses: Losses = ()
    codec: str = ""

    @property
    def state(self) -> str:
        """How it ended."""
        return "finished" if self.values else "given up" if self.given_up else "failed"
