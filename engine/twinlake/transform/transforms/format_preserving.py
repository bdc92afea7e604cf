"""`encrypt` with `cipher: ff1`: text and whole numbers keep their length and what separates them.

Only characters of the alphabet are encrypted; all others stay where they are. The join domain is the tweak. Nothing in
the result tells the key, so that restoring needs the plan, and nothing is authenticated: where the format need not be kept,
AES-SIV (the default) is better. Whole numbers keep sign, digits and type, by walking the cycle past numbers that start
with 0 or do not fit (Black and Rogaway, CT-RSA 2002). A value with fewer than 1,000,000 of its kind is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

import pyarrow as pa

from twinlake.core.errors import DataError, PolicyError
from twinlake.core.keys import DEFAULT_KEY, Keyring
from twinlake.transform.transforms.base import Context, domain_of
from twinlake.transform.transforms.ff1 import FF1, MIN_DOMAIN
from twinlake.transform.transforms.values import family, per_distinct

ALPHABETS = {
    "digits": digits,
    "hexadecimal": digits + "abcdef",
    "lower": ascii_lowercase,
    "upper": ascii_uppercase,
    "letters": ascii_lowercase + ascii_uppercase,
    "lower_digits": digits + ascii_lowercase,
    "upper_digits": digits + ascii_uppercase,
    "letters_digits": digits + ascii_lowercase + ascii_uppercase,
}
_LIMITS = {"tinyint": 2**7, "smallint": 2**15, "int": 2**31, "bigint": 2**63}
Convert = Callable[[str], str]


def encrypt_format(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` with each value replaced by its FF1 ciphertext, of the same type."""
    return _converted(array, parameters, keys, context, forward=True)


def restore_format(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """The values behind FF1 ciphertexts. A wrong key or domain is not noticed: there is no tag to tell."""
    return _converted(array, parameters, keys, context, forward=False)


def check_format(spark_type: str) -> str | None:
    """Why FF1 can't work on values of the type, or None."""
    if family(spark_type) in ("text", "integer"):
        return None
    return f"ff1 works on text and whole numbers, not on {spark_type}; leave `cipher` out"


def _converted(
    array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context, forward: bool
) -> pa.Array:
    if why := check_format(context.type):
        raise PolicyError(why)
    whole = family(context.type) == "integer"
    letters = digits if whole else ALPHABETS[str(parameters.get("alphabet", "digits"))]
    key = keys[str(parameters.get("key", DEFAULT_KEY))].subkey("ff1", length=32)
    cipher = FF1(key, len(letters), domain_of(parameters, context).encode("utf-8", "surrogatepass"))
    numeral = {letter: number for number, letter in enumerate(letters)}
    step = cipher.encrypt if forward else cipher.decrypt

    def text(value: str) -> str | None:
        places = [at for at, letter in enumerate(value) if letter in numeral]
        if not value:
            return value
        if len(letters) ** len(places) < MIN_DOMAIN:
            if parameters.get("short") == "null":
                return None
            raise DataError(
                f"holds a value with {len(places)} of {len(letters)} symbols, one of fewer than {MIN_DOMAIN:,}: it could "
                "be guessed; use the default cipher, or `short: null`"
            )
        out = list(value)
        for at, number in zip(places, step([numeral[value[at]] for at in places]), strict=True):
            out[at] = letters[number]
        return "".join(out)

    def number(value: str) -> str | None:
        sign, plain = ("-", value[1:]) if value.startswith("-") else ("", value)
        # of n digits, only those that don't start with 0 are whole numbers of n digits: 9/10 of the domain
        if len(plain) < 7:
            if parameters.get("short") == "null":
                return None
            raise DataError(
                f"holds a number of {len(plain)} digits, one of fewer than {MIN_DOMAIN:,}: it could be guessed; use the "
                "default cipher, or `short: null`"
            )
        numerals = step([numeral[letter] for letter in plain])
        while numerals[0] == 0 or _too_large(numerals, context.type):
            numerals = step(numerals)
        return sign + "".join(map(str, numerals))

    def convert(texts: list[bytes]) -> pa.Array:
        made = [(number if whole else text)(raw.decode("utf-8", "surrogateescape")) for raw in texts]
        if whole:
            return pa.array([None if value is None else int(value) for value in made], array.type)
        raw = [None if value is None else value.encode("utf-8", "surrogateescape") for value in made]
        return pa.array(raw, pa.binary()).cast(pa.string(), safe=False)

    return per_distinct(array, convert)


def _too_large(numerals: list[int], spark_type: str) -> bool:
    return int("".join(map(str, numerals))) >= _LIMITS[spark_type]

