"""What a sweep may vary and what it tries next. Optuna suggests; it is imported on first use.

A suggestion is a pure function of (seed, number of the trial, trials before it): a sweep that was cut off goes on as if it
had not been. Every value is checked before any work, by the rules of the config itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twinlake.core.config import Config, parse_config
from twinlake.core.errors import ConfigError, DataError, UserError, escaped, nearest
from twinlake.core.seeds import derive
from twinlake.core.sweep_config import ParameterConfig, SweepConfig
from twinlake.evaluate.evaluate import Evaluation
from twinlake.evaluate.metrics import METRICS
from twinlake.sweep.record import Settings, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


WHERE = "sweep.parameters"
FIXED = ("output", "sweep", "run.name", "run.dir", "run.resume", "run.keep_private", "train.loss_limits")
GUIDED = 20  # times that the estimator is asked for settings that are new, before they are drawn evenly


@dataclass(frozen=True)
class Dimension:
    """One setting that varies: one of `choices` if there are any, else a number from `low` to `high`."""

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    step: float | None = None

    def size(self) -> float:
        """How many values there are."""
        if self.choices:
            return len(self.choices)
        if self.step is None and not self.integer:
            return math.inf
        return round((self.high - self.low) / (self.step or 1)) + 1

    def distribution(self) -> BaseDistribution:
        """As Optuna has it. Choices are told by their position, for it takes 1 and true for the same."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(range(len(self.choices)))
        if self.integer:
            return IntDistribution(round(self.low), round(self.high), log=self.log, step=round(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def value(self, drawn: Any) -> Any:
        """The setting for what Optuna drew; fractions have six digits."""
        if self.choices:
            return self.choices[drawn]
        if self.integer or self.step is not None:
            return drawn
        return min(self.high, max(self.low, float(f"{drawn:.6g}")))

    def drawn(self, value: Any) -> Any:
        """What Optuna drew for a setting."""
        return [_key(c) for c in self.choices].index(_key(value)) if self.choices else value

    def place(self, value: Any) -> float:
        """Where a value stands on an axis from 0 to 1."""
        if self.choices:
            return (float(self.drawn(value)) + 0.5) / len(self.choices)
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, float(value)))
        return (at - low) / (high - low)


@dataclass(frozen=True)
class Objective:
    """A number of evaluation.json to better."""

    name: str
    lower: bool

    def read(self, evaluation: Evaluation) -> float:
        """Its value. Errors: DataError when it can't be computed."""
        result = evaluation.results[self.name]
        if result.value is None:
            raise DataError(f"{self.name} can't be computed: {result.reason}")
        return result.value


def told(value: Any) -> str:
    """A setting as text for people: as it stands in YAML where it has no parts."""
    return value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def _key(value: Any) -> str:
    """A setting as text that no other setting has."""
    return json.dumps(value, sort_keys=True)


def changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """`config` with dotted `settings`. Errors: ConfigError naming the setting."""
    values = config.model_dump()
    for key, value in settings.items():
        *parents, last = key.split(".")
        node = values
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                node[parent] = {}
            node = node[parent]
        node[last] = value
    return parse_config(values, WHERE)


def read_space(config: Config) -> tuple[Dimension, ...]:
    """The settings that vary, each checked at its ends or choices. Errors: ConfigError, with every problem, one a line."""
    wanted = config.sweep.parameters
    if not wanted:
        raise ConfigError(f"{WHERE}: nothing varies; name settings, such as {{train.epochs: {{min: 2, max: 30}}}}")
    problems, found = [], []
    for name, parameter in wanted.items():
        try:
            _check_name(name, wanted)
            found.append(_dimension(config, name, parameter))
        except ConfigError as error:
            problems += str(error).splitlines()
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return tuple(found)


def _check_name(name: str, all_: Iterable[str]) -> None:
    if fixed := [f for f in FIXED if name == f or name.startswith(f"{f}.")]:
        raise ConfigError(f"{WHERE}: {escaped(name)}: {fixed[0]} is the same for all trials; leave it out")
    if other := [o for o in all_ if o.startswith(f"{name}.")]:
        raise ConfigError(f"{WHERE}: {escaped(other[0])} is a part of {escaped(name)}; vary one of them")


def _dimension(config: Config, name: str, wanted: ParameterConfig) -> Dimension:
    if wanted.choices is not None:
        if len({_key(c) for c in wanted.choices}) < len(wanted.choices):
            raise ConfigError(f"{WHERE}: {escaped(name)}: a choice stands there twice")
        for choice in wanted.choices:
            changed(config, {name: choice})
        return Dimension(name, tuple(wanted.choices))
    assert wanted.min is not None and wanted.max is not None  # ParameterConfig has seen to it
    low, high, step = wanted.min, wanted.max, wanted.step
    whole = all(x is None or x == int(x) for x in (low, high, step))
    integer = whole and not _takes(config, name, low + (high - low) / math.pi) if wanted.integer is None else wanted.integer
    following = min(high, low + (step or 1)) if integer or step else low
    for value in (low, high, following):
        changed(config, {name: int(value) if integer else value})
    return Dimension(name, (), low, high, wanted.log, integer, step)


def _takes(config: Config, name: str, value: float) -> bool:
    try:
        changed(config, {name: value})
    except ConfigError:
        return False
    return True


def variants(config: Config, space: Sequence[Dimension]) -> list[Config]:
    """`config` with one setting changed, to each of its choices or both ends."""
    ends = [(d.name, v) for d in space for v in (d.choices or [int(x) if d.integer else x for x in (d.low, d.high)])]
    return [changed(config, {name: value}) for name, value in ends]


def read_objectives(wanted: SweepConfig) -> tuple[Objective, ...]:
    """What is reached for. Errors: ConfigError with the nearest metrics."""
    lower = {"quality_score": False, **{name: metric.better == "lower" for name, metric in METRICS.items()}}
    names = [wanted.objective] if isinstance(wanted.objective, str) else wanted.objective
    for name in names:
        if name not in lower:
            raise ConfigError(
                f"sweep.objective: no metric {escaped(name)!r}{nearest(name, lower)}; there are {', '.join(sorted(lower))}"
            )
    return tuple(Objective(name, lower[name]) for name in names)


def check_optuna() -> None:
    """Errors: UserError when the extra is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError("a sweep needs Optuna: pip install 'twinlake[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def suggest(
    space: Sequence[Dimension], objectives: Sequence[Objective], before: Sequence[Trial], seed: int, number: int
) -> Settings | None:
    """The settings of trial `number`, none of those `before`; None when all have been tried.

    By Optuna's tree-structured Parzen estimator (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011;
    of several objectives Ozaki et al., GECCO 2020), which learns from finished trials and from those given up.
    """
    import optuna

    tried = {_key(trial.settings) for trial in before}
    if len(tried) >= math.prod(d.size() for d in space):
        return None
    distributions = {d.name: d.distribution() for d in space}
    study = optuna.create_study(directions=["minimize" if o.lower else "maximize" for o in objectives])
    study.add_trials([_as_optuna(space, objectives, t, distributions) for t in before if t.values or t.given_up])
    attempt = 0
    while True:
        drawn_by = derive(seed, "sweep", number, attempt) % 2**32
        samplers = optuna.samplers
        study.sampler = samplers.TPESampler(seed=drawn_by) if attempt < GUIDED else samplers.RandomSampler(seed=drawn_by)
        asked = study.ask(distributions)
        drawn = {d.name: d.value(asked.params[d.name]) for d in space}
        if _key(drawn) not in tried:
            return drawn
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
        attempt += 1


def _as_optuna(
    space: Sequence[Dimension], objectives: Sequence[Objective], trial: Trial, distributions: dict[str, BaseDistribution]
) -> Any:
    from optuna.trial import TrialState, create_trial

    params = {d.name: d.drawn(trial.settings[d.name]) for d in space}
    if trial.given_up is None:
        values = [trial.values[o.name] for o in objectives]
        return create_trial(state=TrialState.COMPLETE, params=params, distributions=distributions, values=values)
    share, loss = trial.given_up  # told in the direction of the objective, as Optuna compares it
    reached = {round(100 * share): loss if objectives[0].lower else -loss}
    return create_trial(state=TrialState.PRUNED, params=params, distributions=distributions, intermediate_values=reached)
