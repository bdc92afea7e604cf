"""Decides the entity of a column from its name, what was counted in it, and its neighbours. Sees no value.

Neither a header nor a pattern decides by itself, but for spellings that hardly anything else has:

- with header support: at least WITH_HEADER of the values match;
- without: at least ALONE of the values match a spelling that may decide alone (lower end of the 95% Wilson interval);
  words from a list (names, places) must also be many different ones;
- where the header is silent (c17) the profile may decide too: few values that are all words for gender, dates spread over
  generations, whole numbers spread as ages are (`profile_rules.py`); there a neighbour counts, such as names beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from twinlake.classify.detector import Detector
from twinlake.classify.evidence import Counts, Found
from twinlake.classify.header import is_silent, support
from twinlake.classify.profile_rules import Table, by_neighbours, by_profile

Evidence = dict[str, dict[str, float | int | bool]]
Decision = tuple[str | None, float, Evidence]

ALONE = 0.5
"""Least share (lower end) without a header. One random number of 16 digits in ten passes Luhn: far below."""
WITH_HEADER = 0.3
WITH_HEADER_WEAK = 0.5
LEAST_LOW = 0.1
"""The lower end that even a supported share must reach: one match among two values is no evidence."""
SHAPE = 0.85
"""With the entity's own header: share of the looser shape; `Detector.shape_least` of the values must match besides."""
ROUNDS = 3
NEAR = 2
"""Columns to either side that count as neighbours."""
CONTAINS_LEAST = 0.0
Z = 1.96

UNMISTAKABLE = frozenset(["IBAN_CODE", "CREDIT_CARD"])
"""Entities of a long check that nothing else passes in such a share."""
NARROWER = {"HR_OIB": ("DE_TAX_ID",)}
"""Entity -> those whose numbers all pass its check too (both mod 11,10): the narrower one is meant where both decide."""
RANK = {"checksum": 3, "pattern": 2, "weak": 1, "dictionary": 0}


def wilson(hits: int, trials: int, z: float = Z) -> tuple[float, float]:
    """Interval of a share (Wilson, JASA 1927); (0, 1) when there were no trials."""
    if trials <= 0:
        return 0.0, 1.0
    share, square = hits / trials, z * z
    middle = share + square / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def relevant(name: str, detectors: Mapping[str, Detector]) -> dict[str, Detector]:
    """The detectors that can have a say on a column of this name: a weak one needs a header, or a rule and a silent one."""
    silent = is_silent(name)
    out = {}
    for entity, detector in detectors.items():
        header = support(name, detector.headers, detector.against)
        lone = detector.alone is not None and (silent or detector.strength != "weak")
        if header or lone or (silent and detector.rule == "ages"):
            bare = None if header else detector.bare_gate
            out[entity] = replace(detector, gate=bare) if bare else detector
    return out


def decide_table(columns: Sequence[tuple[str, str | None, Counts]], detectors: Mapping[str, Detector]) -> list[Decision]:
    """(entity or None, score, evidence) of every column (name, profile kind, counts) of one table."""
    out = [decide(name, kind, counts, detectors) for name, kind, counts in columns]
    for _ in range(ROUNDS):  # a town that is found speaks for the postal code beside it, and that for the street
        entities = [entity for entity, _, _ in out]
        known = frozenset(e for e in entities if e)
        for i, (name, kind, counts) in enumerate(columns):
            if entities[i] is None:
                near = frozenset(e for e in entities[max(0, i - NEAR) : i + NEAR + 1] if e)
                out[i] = decide(name, kind, counts, detectors, Table(known, near))
        if [entity for entity, _, _ in out] == entities:
            break
    return _towns(columns, out, detectors)


def _towns(
    columns: Sequence[tuple[str, str | None, Counts]], out: list[Decision], detectors: Mapping[str, Detector]
) -> list[Decision]:
    """Many towns are called as people are: a second column of last names, beside a street or postal code, is of towns."""
    entities = [entity for entity, _, _ in out]
    if entities.count("LAST_NAME") < 2 or "CITY" in entities:
        return out
    others = {entity: detector for entity, detector in detectors.items() if entity != "LAST_NAME"}
    for i, (name, kind, counts) in enumerate(columns):
        near = frozenset(e for e in entities[max(0, i - 1) : i + 2] if e)
        if entities[i] == "LAST_NAME" and is_silent(name) and near & {"STREET_ADDRESS", "POSTAL_CODE"}:
            again = decide(name, kind, counts, others, Table(frozenset(e for e in entities if e), near))
            if again[0] == "CITY":
                out[i] = again
                break
    return out


def decide(
    name: str, kind: str | None, counts: Counts, detectors: Mapping[str, Detector], table: Table | None = None
) -> Decision:
    """(entity or None, score, evidence). The score is the lower end of the share, raised by header support."""
    evidence: Evidence = {}
    best: tuple[float, ...] = ()
    chosen: str | None = None
    if kind in ("empty", "opaque") or not counts.filled:
        return None, 0.0, evidence
    silent = is_silent(name)
    for entity, detector in detectors.items():
        found = counts.found.get(entity, Found())
        header = support(name, detector.headers, detector.against)
        if not found.hits and not header:
            continue
        low, high = wilson(found.hits, counts.filled)
        yes = _is(detector, found, counts, header, kind, silent, table)
        evidence[entity] = {
            "matches": found.hits,
            "share": round(found.hits / counts.filled, 6),
            "low": round(low, 6),
            "high": round(high, 6),
            "alone": found.alone,
            "shape": found.shape,
            "distinct": found.distinct,
            "header": header,
            "decides": yes,
        }
        if not yes:
            continue
        score = min(1.0, low + 0.5 * header * (1.0 - low))
        order = _order(detector, found, counts, header, score)
        if order > best:
            best, chosen = order, entity
    return _narrower(chosen, evidence), round(best[-1], 6) if chosen else 0.0, evidence


def _narrower(entity: str | None, evidence: Evidence) -> str | None:
    """A stricter entity in place of `entity`, where it decides with nearly as many matches and no header says otherwise."""
    for one in NARROWER.get(entity or "", ()):
        mine, other = evidence.get(entity or "", {}), evidence.get(one, {})
        if other.get("decides") and not mine["header"] and other["matches"] >= 0.9 * mine["matches"]:
            return one
    return entity


def _order(detector: Detector, found: Found, counts: Counts, header: float, score: float) -> tuple[float, ...]:
    lone = found.alone / counts.filled
    certain = detector.strength == "checksum" and wilson(found.alone, counts.filled)[0] >= ALONE
    if certain and detector.entity in UNMISTAKABLE:  # an IBAN under `account` is one, whatever else the header names
        header = max(header, 1.0)
    if header:
        return (header, RANK[detector.strength], round(found.hits / counts.filled, 2), lone, score)
    return (0.0, RANK[detector.strength], round(lone, 2), found.distinct / max(counts.distinct, 1), score)


def contained(label: str | None, counts: Counts) -> dict[str, float]:
    """Share of the values that hold an entity somewhere inside, the column's own entity aside."""
    shares = {entity: n / counts.filled for entity, n in sorted(counts.inside.items()) if entity != label and counts.filled}
    return {entity: round(share, 6) for entity, share in shares.items() if share > CONTAINS_LEAST}


def _category(detector: Detector, found: Found, counts: Counts) -> bool:
    """A few values of which some happen to be names (months, goods) are a category."""
    named = detector.entity in ("PERSON", "FIRST_NAME", "LAST_NAME")
    return named and counts.filled >= 60 and counts.distinct < 20 and found.distinct < 0.6 * counts.distinct


def _is(
    detector: Detector, found: Found, counts: Counts, header: float, kind: str | None, silent: bool, table: Table | None
) -> bool:
    share = found.hits / counts.filled
    low, _ = wilson(found.hits, counts.filled)
    if header and not (detector.rule == "words" and _category(detector, found, counts)):
        enough = share >= (WITH_HEADER_WEAK if detector.strength == "weak" else WITH_HEADER) and low >= LEAST_LOW
        shaped = (
            header == 1.0
            and detector.shape is not None
            and found.shape / counts.filled >= SHAPE
            and share >= detector.shape_least
        )
        if enough or shaped:
            return True
    if detector.alone is None and detector.rule != "ages":
        return False
    if detector.rule == "share":
        if detector.strength != "weak" and wilson(found.alone, counts.filled)[0] >= ALONE:
            return True
        return silent and table is not None and by_neighbours(detector.entity, found, counts, table)
    if detector.rule != "words" and not silent:
        return False
    return kind != "constant" and by_profile(detector, found, counts, table, wilson(found.alone, counts.filled)[0], silent)
