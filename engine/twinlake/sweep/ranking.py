"""Which trials are best: by one objective the first of the best, by several those that no other one beats."""

from __future__ import annotations

from collections.abc import Sequence

from twinlake.sweep.record import Trial
from twinlake.sweep.space import Objective


def front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The finished trials that no other is as good as in all objectives (of equal ones the first), best rank sum first.

    By one objective this is the best trial alone; by several, the Pareto front.
    """
    finished = [trial for trial in trials if trial.values]
    left = [t for t in finished if not any(_beats(other, t, objectives) for other in finished if other is not t)]
    return [trial for trial in ranked(finished, objectives) if trial in left]


def ranked(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The finished trials by the sum of their ranks in each objective (how many are better), of equal ones the first."""
    points = {trial.number: _costs(trial, objectives) for trial in trials if trial.values}

    def ranks(trial: Trial) -> int:
        own = points[trial.number]
        return sum(other[i] < own[i] for other in points.values() for i in range(len(objectives)))

    return sorted((trial for trial in trials if trial.values), key=lambda trial: (ranks(trial), trial.number))


def _costs(trial: Trial, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Its values, turned so that less is better."""
    return tuple(trial.values[o.name] if o.lower else -trial.values[o.name] for o in objectives)


def _beats(one: Trial, other: Trial, objectives: Sequence[Objective]) -> bool:
    a, b = _costs(one, objectives), _costs(other, objectives)
    return all(x <= y for x, y in zip(a, b, strict=True)) and (a != b or one.number < other.number)
