"""Attacks on the twin, each with people never seen as the control (see `risk`), and the strongest of them all.

Attacks of Giomi et al. (PoPETs 2023): singling out, linkability, attribute inference. Membership inference by the distance to
the nearest twin row, by that over the distance to real rows never seen, a ratio of densities (van Breugel et al., "Membership
inference attacks against synthetic data through overfitting detection" (DOMIAS), AISTATS 2023). Every attack tries in several
ways; its strongest try is reported, with an interval that holds for all of them at once. A metric is 0 where people trained on
are hit no more often than people never seen. All but one are made on the twin's rows, which are what is given away; the other
asks the model itself how likely a row is, where it can say so, and is told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from twinlake.evaluate.attacks.likelihood import likelihoods
from twinlake.evaluate.attacks.predicates import Singled, singled
from twinlake.evaluate.attacks.search import nearby, told_guesses
from twinlake.evaluate.attacks.targets import FEWEST
from twinlake.evaluate.counters import Floats
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_computed
from twinlake.evaluate.frames import HOLDOUT, TRAIN, row_counts
from twinlake.evaluate.metrics.privacy import ALL, NEAR_COPY, coincident, nearest
from twinlake.evaluate.neighbours import squared_distances
from twinlake.evaluate.protection import protection
from twinlake.evaluate.risk import Try, deviate, strongest
from twinlake.evaluate.scores import area

FALSE_ALARMS = 0.01  # of people never seen, at which true positives are counted as well
Bools = npt.NDArray[np.bool_]
T = TypeVar("T")


def _rate(name: str, hit: Bools, trained: int, control: int) -> Try:
    """Of targets [n], trained ones first: who was hit."""
    return Try(name, int(hit[:trained].sum()), trained, int(hit[trained : trained + control].sum()), control)


def copies(evidence: Evidence) -> list[Try] | str:
    """People whose row stands in the twin, exactly or nearer than 1% of holdout rows are to a train row."""
    found, known = nearby(evidence), nearest(evidence)
    if isinstance(found, str) or isinstance(known, str):
        return found if isinstance(found, str) else str(known)
    rows, exact = row_counts(evidence), coincident(evidence).in_twin
    bound = float(np.quantile(known.holdout[ALL], NEAR_COPY, method="inverted_cdf"))
    near = _rate("near copies", found.distance <= bound, found.asked.trained, found.asked.control)
    return [Try("exact copies", exact[TRAIN], rows[TRAIN], exact[HOLDOUT], rows[HOLDOUT]), near]


def singling_out(evidence: Evidence) -> list[Try] | str:
    """Predicates of one twin row that hold for one real row: a train row more often than their numbers let expect?"""
    found = singled(evidence)
    return found if isinstance(found, str) else single_finds(found)


def single_finds(found: Singled) -> list[Try] | str:
    """The tries by one column and by several; too few of a kind (of two columns hardly any three are told) say nothing beside
    enough of the other."""
    tries = []
    for name, counts in (("one column", found.univariate), ("several columns", found.multivariate)):
        trained, unseen = counts.T
        hits, control = (trained == 1) & (unseen == 0), (trained == 0) & (unseen == 1)
        if len(counts):
            times = found.rows[0] / found.rows[1]
            tries.append(Try(name, int(hits.sum()), len(counts), int(control.sum()), len(counts), times=times))
    enough = [one for one in tries if one.n >= FEWEST]
    return enough or tries or "no predicate holds for one row of the twin alone"


def linkability(evidence: Evidence) -> list[Try] | str:
    """Two halves of a person's columns, whose nearest twin rows have one in common."""
    found = nearby(evidence)
    if isinstance(found, str):
        return found
    if len(found.asked.names) < 2:
        return "fewer than two columns"
    left, right = found.left[:, :, None], found.right[:, None, :]
    hit = (left == right).any(axis=(1, 2))
    return [_rate("two halves", hit, found.asked.trained, found.asked.control)]


def attribute_inference(evidence: Evidence) -> list[Try] | str:
    """A secret column, guessed from the nearest twin row by all others."""
    found = nearby(evidence)
    if isinstance(found, str):
        return found
    hit = told_guesses(found)
    names = [found.asked.names[c] for c in found.halves.secrets]
    tries = [_rate(name, hit[:, s], found.asked.trained, found.asked.control) for s, name in enumerate(names)]
    return tries or ("no secret column is modelled" if evidence.secrets else "fewer than two columns vary")


def membership_inference(evidence: Evidence) -> list[Try] | str:
    """Was this person's row trained on? By its nearest twin row, alone and against real rows never seen."""
    found = nearby(evidence)
    if isinstance(found, str):
        return found
    asked, known = found.asked, np.log(found.distance + 0.01)
    beside = np.concatenate(
        [squared_distances(asked.cells.cut(slice(i, i + 256)), asked.others).min(1) for i in range(0, len(asked.cells), 256)]
    )
    ratio = np.log(np.sqrt(beside) + 0.01) - known
    tries = scored("nearest row", -known, asked.trained, asked.control)
    tries += scored("density ratio", ratio, asked.trained, asked.apart)
    return tries


def model_membership(evidence: Evidence) -> list[Try] | str:
    """The same, by the probability that the model itself gives the row: for whoever has the model folder."""
    told = likelihoods(evidence)
    if told is None or min(len(told.trained), len(told.unseen)) < FEWEST:
        return "no probabilities of enough rows trained on and never seen"
    score = np.concatenate([told.trained, told.unseen])
    return scored("the model's own probability", score, len(told.trained), len(told.unseen))


def scored(name: str, score: Floats, trained: int, control: int) -> list[Try]:
    """A score of targets, trained ones first: its area, and true positives at 1% of false ones where 100 can be told."""
    used = score[: trained + control]
    label = (np.arange(len(used)) < trained).astype(np.int64)
    found = area(label, np.column_stack([-used, used]), 2)(np.ones(len(used)))
    n = min(trained, control)
    tries = [Try(name, (0.5 if found is None else found) * n, n, kind="area")]
    if control >= 1 / FALSE_ALARMS:
        bound = np.sort(used[trained:])[-int(FALSE_ALARMS * control)]
        tries.append(_rate(f"{name}, at {FALSE_ALARMS:.0%} false alarms", used > bound, trained, control))
    return tries


Attack = Callable[[Evidence], list[Try] | str]
OF_ROWS: dict[str, tuple[str, Attack]] = {
    "copies": ("People who stand in the twin", copies),
    "singling_out": ("Singling out", singling_out),
    "linkability": ("Linking two halves of a row", linkability),
    "attribute_inference": ("Guessing a secret column", attribute_inference),
    "membership_inference": ("Telling who was trained on", membership_inference),
}
ATTACKS = OF_ROWS | {"model_membership": ("Telling who was trained on, by the model itself", model_membership)}


def tried(evidence: Evidence, name: str) -> list[Try] | str:
    """The tries of an attack, or why there are none."""
    return evidence.once(f"attack {name}", ATTACKS[name][1])


def risk_of(name: str, evidence: Evidence) -> Result:
    """The strongest try of an attack."""
    tries = tried(evidence, name)
    if isinstance(tries, str):
        return not_computed(tries)
    z = deviate(len(tries))
    best = strongest(tries, z)
    risk, told = best.risk(z), [one.told(z) for one in tries]
    return Result(risk.value, (risk.low, risk.high), 0.0, None, {"strongest": best.name, "tries": told})


def privacy_risk(evidence: Evidence) -> Result:
    """The strongest try of all attacks on the rows, with an interval that holds for all of them at once."""
    found = {name: tried(evidence, name) for name in OF_ROWS}
    every = {name: tries for name, tries in found.items() if not isinstance(tries, str)}
    missing = {name: tries for name, tries in found.items() if isinstance(tries, str)}
    if not every:
        return not_computed(next(iter(missing.values())))
    z = deviate(sum(len(tries) for tries in every.values()))
    best = {name: strongest(tries, z) for name, tries in every.items()}
    risks = {name: one.risk(z) for name, one in best.items()}
    gains = {name: max(one.gain(z) for one in tries) for name, tries in every.items()}
    level = protection(_titled({n: r.low for n, r in risks.items()}), _titled(gains), _titled(missing))
    told = {name: {"strongest": best[name].name, "risk": r.value, "interval": [r.low, r.high]} for name, r in risks.items()}
    worst = max(risks, key=lambda name: (risks[name].low, risks[name].value))
    detail = {"level": level.level, "why": level.reason, "attack": worst, "attacks": told, "missing": missing}
    return Result(risks[worst].value, (risks[worst].low, risks[worst].high), 0.0, None, detail)


def _titled(held: Mapping[str, T]) -> dict[str, T]:
    return {ATTACKS[name][0]: value for name, value in held.items()}


ATTACKED = {
    **{n: Metric(n, title, "privacy", "lower", partial(risk_of, n)) for n, (title, _) in ATTACKS.items()},
    "privacy_risk": Metric("privacy_risk", "Strongest attack", "privacy", "lower", privacy_risk),
}
