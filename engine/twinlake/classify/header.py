"""How much a column name speaks for an entity. Knows words, not values."""

from __future__ import annotations

import re
from functools import lru_cache

from twinlake.classify.text import listed, plain

# words that say whose or which, not what: "billing address" is an address, "customer email 2" an e-mail
NEUTRAL = frozenset(
    listed(
        """
        customer client user usr cust contact emp employee patient person member guest owner holder account
        billing bill shipping ship delivery home work office private personal business primary secondary
        main alt alternate old new current previous the my your kunde kunden kontakt privat client contact
        domicile cliente usuario num number no nr value txt text str col field mother mothers father
        emergency residence native legal official recipient sender from to a b 1 2 3 4 5 registered raw
        full dim fact src source stg tmp clean std
        """
    )
)
# what a column is called by people who did not name it
SILENT = frozenset(
    listed(
        """
        c col column columns f field fld v var variable val value x y z attr attribute attrib feature feat unnamed data
        item key no num number txt text str string a b d e k n p q s t u w raw misc other info
        """
    )
)
SHORT = {
    "nm": "name", "fname": "first name", "lname": "last name", "fn": "first name", "ln": "last name", "frst": "first",
        "lst": "last",
    "addr": "address", "adr": "address", "addr1": "address", "str": "street", "ph": "phone", "phn": "phone", "fon": "phone",
        "mob": "mobile",
    "tel": "phone", "cel": "cell", "no": "number", "nbr": "number", "nr": "number", "num": "number", "dt": "date",
        "dat": "date", "cd": "code", "cty": "city",
    "cntry": "country", "ctry": "country", "gndr": "gender", "gend": "gender", "bday": "birthday", "bdate": "birthdate",
        "birthdt": "birthdate",
    "brth": "birth", "eml": "email", "mail": "email", "pwd": "password", "pass": "password", "natl": "national",
        "nat": "national", "lic": "license",
    "licence": "license", "acct": "account", "acc": "account", "ctzn": "citizen", "occ": "occupation", "org": "organization",
        "co": "company",
    "comp": "company", "cmpny": "company", "edu": "education", "lang": "language", "uname": "username", "usr": "user",
        "zip5": "zip", "pcode": "postcode", "pc": "postcode",
    "st": "state", "prov": "province", "cust": "customer", "emp": "employee", "pat": "patient", "mrn": "mrn", "ident": "id",
        "sal": "salary", "empl": "employee",
}  # fmt: skip
"""How people shorten words in column names; both spellings are tried."""


@lru_cache(maxsize=4096)
def tokens(name: str) -> tuple[str, ...]:
    """Lower-case words of a column name: camelCase, snake_case, dots, spaces and digits apart; accents removed."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name[:256])
    return tuple(word for word in re.split(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])", plain(split)) if word)


def is_silent(name: str) -> bool:
    """Whether the name says nothing of what the column holds: c17, col_3, field, _1."""
    return all(word in SILENT or word.isdigit() for word in tokens(name))


def support(name: str, phrases: tuple[str, ...], against: tuple[str, ...] = ()) -> float:
    """1.0 where the name is one of `phrases` (neutral words aside), 0.5 where it contains one, else 0.0."""
    given = tokens(name)
    long = _spelled(given)
    if any(_contains(words, tuple(phrase.split())) for phrase in against for words in {given, long}):
        return 0.0
    return max(_support(words, phrases) for words in {given, long})


def _support(words: tuple[str, ...], phrases: tuple[str, ...]) -> float:
    wanted = [tuple(phrase.split()) for phrase in phrases]
    core = tuple(word for word in words if word not in NEUTRAL)
    joined = "".join(words)
    if any(words == phrase or core == phrase or joined == "".join(phrase) for phrase in wanted):
        return 1.0
    return 0.5 if any(_contains(words, phrase) for phrase in wanted) else 0.0


@lru_cache(maxsize=4096)
def _spelled(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(long for word in words for long in SHORT.get(word, word).split())


def _contains(words: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    return any(words[i : i + len(phrase)] == phrase for i in range(len(words) - len(phrase) + 1))
