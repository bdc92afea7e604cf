"""Decides the entity of a column from its name, its profile kind and what was counted. Sees no value.

Neither a header nor a pattern decides by itself, but for spellings that hardly anything else has:

- with header support: at least WITH_HEADER of the values match;
- without: at least ALONE of the values match a spelling that may decide alone (lower end of the 95% Wilson interval);
  words from a list (names, places) must also be many different ones;
- entities of strength `weak` (gender, birth date, postal code) never decide without a header.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from twinlake.classify.detector import Detector
from twinlake.classify.evidence import Counts, Found
from twinlake.classify.header import support

Evidence = dict[str, dict[str, float | int | bool]]

ALONE = 0.5
"""Least share (lower end) without a header. One random number of 16 digits in ten passes Luhn: far below."""
ALONE_DICTIONARY = 0.5
"""The same for words of a list, of the values and of the different values."""
WITH_HEADER = 0.3
WITH_HEADER_WEAK = 0.5
LEAST_LOW = 0.1
"""The lower end that even a supported share must reach: one match among two values is no evidence."""
MIN_DISTINCT = 20
"""Different words of a list that a column without a header must hold."""
MIN_DISTINCT_COUNTRIES = 10
SHAPE = 0.85
"""With the entity's own header: share of the looser shape; `Detector.shape_least` of the values must match besides."""
CONTAINS_LEAST = 0.0
Z = 1.96

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


def decide(
    name: str, kind: str | None, counts: Counts, detectors: Mapping[str, Detector]
) -> tuple[str | None, float, Evidence]:
    """(entity or None, score, evidence). The score is the lower end of the share, raised by header support."""
    evidence: Evidence = {}
    best: tuple[float, ...] = ()
    chosen: str | None = None
    if kind in ("empty", "opaque") or not counts.filled:
        return None, 0.0, evidence
    for entity, detector in detectors.items():
        found = counts.found.get(entity, Found())
        header = support(name, detector.headers, detector.against)
        if not found.hits and not header:
            continue
        low, high = wilson(found.hits, counts.filled)
        yes = _is(detector, found, counts, header, kind)
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
        order = (header, RANK[detector.strength], found.distinct / max(counts.distinct, 1), score)
        if order > best:
            best, chosen = order, entity
    return chosen, round(best[3], 6) if chosen else 0.0, evidence


def contained(label: str | None, counts: Counts) -> dict[str, float]:
    """Share of the values that hold an entity somewhere inside, the column's own entity aside."""
    shares = {
        entity: n / counts.filled for entity, n in sorted(counts.inside.items()) if entity != label and counts.filled
    }
    return {entity: round(share, 6) for entity, share in shares.items() if share > CONTAINS_LEAST}


def _is(detector: Detector, found: Found, counts: Counts, header: float, kind: str | None) -> bool:
    share = found.hits / counts.filled
    low, _ = wilson(found.hits, counts.filled)
    if header:
        enough = share >= (WITH_HEADER_WEAK if detector.strength == "weak" else WITH_HEADER) and low >= LEAST_LOW
        shaped = (
            header == 1.0
            and detector.shape is not None
            and found.shape / counts.filled >= SHAPE
            and share >= detector.shape_least
        )
        if enough or shaped:
            return True
    if detector.alone is None or detector.strength == "weak":
        return False
    alone, _ = wilson(found.alone, counts.filled)
    if detector.strength != "dictionary":
        return alone >= ALONE
    # a few values that happen to be names (months, colours) are a category, not people
    least = MIN_DISTINCT_COUNTRIES if detector.entity == "COUNTRY" else MIN_DISTINCT
    many = found.distinct >= least and found.distinct >= ALONE_DICTIONARY * counts.distinct
    return alone >= ALONE_DICTIONARY and many and kind != "constant"
