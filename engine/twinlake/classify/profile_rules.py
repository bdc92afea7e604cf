"""What the profile of a column without a header says: words that are many, values that are few, spread dates, ages, codes.

Each rule is a bound on counts, so it can be read and argued with. Knows counts, never a value.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinlake.classify.detector import Detector
from twinlake.classify.evidence import Counts, Found

PEOPLE = frozenset(
    ["PERSON", "FIRST_NAME", "LAST_NAME", "EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN", "BIRTH_DATE", "STREET_ADDRESS", "ADDRESS"]
)
PLACES = frozenset(["STREET_ADDRESS", "CITY", "US_STATE", "COUNTRY", "ADDRESS", "PHONE_NUMBER"])
ADDRESS = frozenset(["STREET_ADDRESS", "CITY", "US_STATE", "COUNTRY"])
NAMED = ("FIRST_NAME", "LAST_NAME", "CITY", "COUNTRY", "JOB_TITLE", "ORGANIZATION")
MANY = 20
"""Different words of a list that a column without a header must hold, where the table is not small."""
CLOSED = {"COUNTRY": 10, "US_STATE": 12, "JOB_TITLE": 6}
"""The same for lists with few words in all."""
ALONE_WORDS = {"ORGANIZATION": 0.3}
SMALL = 60
"""Rows with a value below which a column is small, and a few different words must do."""
FEW = 40
GENERATIONS = 4
"""Decades, each with LEAST_DECADE of the dates, over which birth dates spread."""
LEAST_DECADE = 0.05


@dataclass(frozen=True)
class Table:
    """What the other columns of the table were found to hold, and those beside this one."""

    entities: frozenset[str]
    near: frozenset[str] = frozenset()

    @property
    def people(self) -> bool:
        """Whether rows are people."""
        return bool(self.entities & PEOPLE)

    @property
    def places(self) -> bool:
        """Whether rows have an address."""
        return bool(self.entities & PLACES)


def by_profile(detector: Detector, found: Found, counts: Counts, table: Table | None, low: float, silent: bool) -> bool:
    """Whether the profile says that the column holds the entity. low: lower end of the share that may decide alone."""
    if detector.rule == "words":
        return _words(detector.entity, found, counts, table, low, silent)
    if detector.rule == "few":
        return _few(found, counts)
    if detector.rule == "dates":
        return _dates(found, counts, table)
    if detector.rule == "ages":
        return _ages(found, counts)
    return _codes(detector.entity, found, counts, table, low)


def by_neighbours(entity: str, found: Found, counts: Counts, table: Table) -> bool:
    """Patterns that many spellings escape, in a table of people or places: street addresses, phone numbers."""
    share, lone = found.hits / counts.filled, found.alone / counts.filled
    varied = counts.distinct >= min(MANY, 0.5 * counts.filled)
    if entity == "STREET_ADDRESS":
        beside = bool(table.near & (ADDRESS | {"POSTAL_CODE"}))
        return beside and varied and share >= 0.35 and found.shape >= 0.75 * counts.filled
    if entity == "PHONE_NUMBER":
        return table.people and varied and share >= 0.8 and lone >= 0.2
    return False


def _words(entity: str, found: Found, counts: Counts, table: Table | None, low: float, silent: bool) -> bool:
    # a few values that happen to be names (months, colours) are a category, not people
    if counts.stats.get("worded", 0) < 0.9 * counts.filled and entity not in ("JOB_TITLE", "ORGANIZATION"):
        return False
    least = ALONE_WORDS.get(entity, 0.5)
    many = found.distinct >= CLOSED.get(entity, MANY) and found.distinct >= least * counts.distinct
    if low >= least and many:
        return True
    if not silent or table is None:
        return False
    share = found.alone / counts.filled
    if entity == "US_STATE":  # regions of the world are more than any list has
        return bool(table.near & PLACES) and share >= 0.3 and found.distinct >= CLOSED[entity]
    varied = counts.distinct >= min(MANY, 0.5 * counts.filled)
    if entity == "CITY" and table.near & {"POSTAL_CODE", "STREET_ADDRESS"} and "CITY" not in table.entities:
        return varied and share >= 0.25  # small towns are in no list
    if entity == "ORGANIZATION":
        free = counts.stats.get("spaced", 0) >= 0.5 * counts.filled and counts.distinct >= min(MANY, 0.3 * counts.filled)
        return (table.people or table.places) and free and low >= 0.2 and share >= 0.25
    unlike = counts.distinct >= 0.5 * counts.filled or entity in CLOSED or entity == "CITY"
    return (
        counts.filled <= SMALL
        and found.distinct >= 3
        and unlike
        and share >= (0.6 if table.people or table.places else 0.8)
        and low >= 0.3
    )


def _few(found: Found, counts: Counts) -> bool:
    return (
        2 <= counts.distinct <= FEW
        and found.hits >= 0.95 * counts.filled
        and found.distinct >= max(2, 0.3 * counts.distinct)  # the rest are typos
        and found.alone >= max(2, 0.02 * counts.filled)
    )


def _dates(found: Found, counts: Counts, table: Table | None) -> bool:
    if found.hits < 0.9 * counts.filled or counts.filled < 5:
        return False
    decades = {int(k.split()[1]): n for k, n in counts.stats.items() if k.startswith("decade ")}
    total = sum(decades.values())
    if total < 0.9 * counts.filled:
        return False
    spread = [d for d, n in decades.items() if n >= LEAST_DECADE * total]
    before = sum(n for d, n in decades.items() if d <= 199)
    late = sum(n for d, n in decades.items() if d >= 201)
    future = sum(n for d, n in decades.items() if d >= 203)
    needed = GENERATIONS - 1 if table is not None and table.people else GENERATIONS
    return len(spread) >= needed and before >= 0.5 * total and late <= 0.3 * total and future == 0


def _ages(found: Found, counts: Counts) -> bool:
    stats = counts.stats
    if found.hits < 0.98 * counts.filled or counts.filled < 50:
        return False
    least, most, different = stats.get("least", 0), stats.get("most", 0), stats.get("different", 0)
    tens = {int(k.split()[1]): n for k, n in stats.items() if k.startswith("ten ")}
    total = sum(tens.values())
    if not total or not (14 <= least <= 25 and 55 <= most <= 105 and different >= 30):
        return False
    dense = different >= 0.75 * (most - least + 1)
    peak = max(tens, key=lambda ten: tens[ten])
    old = sum(n for ten, n in tens.items() if ten >= 6) / total
    return dense and 1 <= peak <= 7 and max(tens.values()) <= 0.5 * total and old <= 0.55


def _codes(entity: str, found: Found, counts: Counts, table: Table | None, low: float) -> bool:
    share, lone = found.hits / counts.filled, found.alone / counts.filled
    if entity == "USER_NAME":
        unlike = counts.distinct >= min(1000, 0.8 * counts.filled) and counts.filled >= MANY
        named = max((counts.found[e].hits for e in NAMED if e in counts.found), default=0)
        return table is not None and table.people and unlike and share >= 0.97 and lone >= 0.7 and named <= 0.5 * counts.filled
    if table is not None and table.near & ADDRESS:  # in an address the code stands beside the town or the state
        return share >= 0.8 and counts.stats.get("small", 0) <= 0.3 * counts.filled and counts.distinct >= min(5, counts.filled)
    return low >= 0.6 and share >= 0.9
