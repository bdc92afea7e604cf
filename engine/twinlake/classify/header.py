"""How much a column name speaks for an entity. Knows words, not values."""

from __future__ import annotations

import re

from twinlake.classify.text import listed, plain

# words that say whose or which, not what: "billing address" is an address, "customer email 2" an e-mail
NEUTRAL = frozenset(
    [
        *listed(
            """
            customer client user usr cust contact emp employee patient person member guest owner holder account
            billing bill shipping ship delivery home work office private personal business primary secondary
            main alt alternate old new current previous the my your kunde kunden kontakt privat client contact
            domicile cliente usuario num number no nr value txt text str col field mother mothers father
            emergency residence native legal official recipient sender from to a b 1 2 3 4 registered raw
            """
        ),
    ]
)


def tokens(name: str) -> tuple[str, ...]:
    """Lower-case words of a column name: camelCase, snake_case, dots, spaces and digits apart; accents removed."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name[:256])
    return tuple(word for word in re.split(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])", plain(split)) if word)


def support(name: str, phrases: tuple[str, ...], against: tuple[str, ...] = ()) -> float:
    """1.0 where the name is one of `phrases` (neutral words aside), 0.5 where it contains one, else 0.0."""
    words = tokens(name)
    wanted = [tuple(phrase.split()) for phrase in phrases]
    if any(_contains(words, tuple(phrase.split())) for phrase in against):
        return 0.0
    core = tuple(word for word in words if word not in NEUTRAL)
    joined = "".join(words)
    if any(words == phrase or core == phrase or joined == "".join(phrase) for phrase in wanted):
        return 1.0
    return 0.5 if any(_contains(words, phrase) for phrase in wanted) else 0.0


def _contains(words: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    return any(words[i : i + len(phrase)] == phrase for i in range(len(words) - len(phrase) + 1))
