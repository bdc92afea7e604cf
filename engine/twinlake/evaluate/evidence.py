"""What metrics look at and what they answer. No metric is computed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from twinlake.evaluate.risk import deviate, success
from twinlake.profile.counts import TokenCounts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from twinlake.generate.rules import Rule
    from twinlake.models.codec import Codec

T = TypeVar("T")
Group = Literal["fidelity", "correlation", "structure", "utility", "fairness", "privacy"]
NUMERIC_KINDS = ("number", "datetime")
CATEGORY_KINDS = ("category", "constant", "boolean")


def wilson(hits: float, trials: float) -> tuple[float, float]:
    """The 95% interval of a share; (0, 1) without trials."""
    if trials <= 0:
        return 0.0, 1.0
    rate = success(hits, trials, deviate())
    return max(0.0, rate.value - rate.error), min(1.0, rate.value + rate.error)


def not_computed(reason: str, **detail: Any) -> Result:
    """The answer of a metric that can't be computed: no number, and why."""
    return Result(None, None, None, reason, detail)


def not_asked(reason: str) -> Result:
    """The answer of a metric that this table or request has no use for: summaries leave it out."""
    return not_computed(reason, asked=False)


@dataclass(frozen=True)
class Result:
    """One metric's answer. `reference` is the same metric of real holdout rows; `reason` says why `value` is None.

    `detail["at_reference_n"]` is the value for as many synthetic rows as the holdout has: compare that one with
    `reference`. Everything in `detail` is fit for publication (no cell value, no cell below 10 people) and for JSON.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    reference: float | None = None
    reason: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def comparable(self) -> float | None:
        """The value to hold against `reference`: that at equal n where it is known."""
        at = self.detail.get("at_reference_n")
        return self.value if at is None else float(at)

    def asked(self) -> bool:
        """Whether summaries should show it: see `not_asked`."""
        return bool(self.detail.get("asked", True))


@dataclass(frozen=True)
class Promised:
    """What every row of a twin keeps. `real` and `twin`: the tables as rules are asked of them, nested columns whole and their
    leaves beside them; `mistyped`: columns that one of them lacks or has in another type."""

    codec: Codec
    real: DataFrame
    twin: DataFrame
    rules: tuple[Rule, ...] = ()
    mistyped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """The tables, their token counts, and what is known of the columns.

    `real` are the protected train rows, `holdout` rows that the model never saw, under the same plan. `columns` are the
    modelled ones and `kinds` their kinds. `synthetic_at_holdout` may bring the twin subsampled by row id to the
    holdout's count; otherwise it is sampled by a hash of the row and its occurrence number. `target`, `protected` and
    `positive` (the favoured class of the target, as text) are what utility and fairness are measured of. `texts`: the columns
    of free text that a model writes. `secrets`: the columns that attackers try to guess; none named: the first ones. `model`:
    the folder of the twin's model, where it is at hand.
    """

    real: DataFrame
    synthetic: DataFrame
    columns: tuple[str, ...]
    kinds: Mapping[str, str]
    counts_real: TokenCounts | None = None
    counts_synthetic: TokenCounts | None = None
    holdout: DataFrame | None = None
    counts_holdout: TokenCounts | None = None
    counts_synthetic_at_holdout: TokenCounts | None = None
    synthetic_at_holdout: DataFrame | None = None
    target: str | None = None
    protected: tuple[str, ...] = ()
    positive: str | None = None
    seed: int = 7
    k: int = 10
    promised: Promised | None = None
    texts: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    model: str | None = None
    memo: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, make: Callable[[Evidence], T]) -> T:
        """What `make` returns, computed on the first call: metrics share their passes over the tables."""
        if name not in self.memo:
            self.memo[name] = make(self)
        return cast(T, self.memo[name])

    def numeric(self) -> list[str]:
        """The modelled columns that are measured as numbers."""
        return [c for c in self.columns if self.kinds.get(c) in NUMERIC_KINDS]

    def categorical(self) -> list[str]:
        """The modelled columns that are measured as categories."""
        return [c for c in self.columns if self.kinds.get(c) in CATEGORY_KINDS]


@dataclass(frozen=True)
class Metric:
    """A named measure. `compute` never raises for poor data: it answers `not_computed`."""

    name: str
    title: str
    group: Group
    better: Literal["lower", "higher"]
    compute: Callable[[Evidence], Result]
