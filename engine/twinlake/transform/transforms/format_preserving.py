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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import DataError, PolicyError
from twinlake.core.keys import DEFAULT_KEY, Keyring
from twinlake.transform.transforms.base import Context, domain_of
from twinlake.transform.transforms.ff1 import FF1, MIN_DOMAIN, UInt64
from twinlake.transform.transforms.matrices import laid_out
from twinlake.transform.transforms.values import by_distinct, canonical_array, family

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
_SHORTEST = 7  # digits, of which the first is not 0
Step = Callable[[UInt64], UInt64]


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


def _converted(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context, forward: bool) -> pa.Array:
    if why := check_format(context.type):
        raise PolicyError(why)
    whole = family(context.type) == "integer"
    letters = digits if whole else ALPHABETS[str(parameters.get("alphabet", "digits"))]
    key = keys[str(parameters.get("key", DEFAULT_KEY))].subkey("ff1", length=32)
    cipher = FF1(key, len(letters), domain_of(parameters, context).encode("utf-8", "surrogatepass"))
    step = cipher.encrypt_all if forward else cipher.decrypt_all
    null_short = parameters.get("short") == "null"
    if whole:
        return by_distinct(array, lambda values: _numbers(values, step, context.type, null_short))
    return by_distinct(array, lambda values: _texts(values, step, letters, null_short))


def _texts(values: pa.Array, step: Step, letters: str, null_short: bool) -> pa.Array:
    """Texts with their characters of the alphabet converted, where they stand."""
    places, data = laid_out(canonical_array(values))
    out = data[: places[-1]].copy()
    code = np.frombuffer(letters.encode(), np.uint8)
    numeral = np.full(256, -1, np.int64)
    numeral[code] = np.arange(len(code))
    # bytes of other characters are 0x80 and above in UTF-8, never those of a letter here
    at = np.flatnonzero(numeral[out[places[0] :]] >= 0) + int(places[0])
    first = np.searchsorted(at, places)
    counts, empty = np.diff(first), np.diff(places) == 0
    enough = next(count for count in range(1, 21) if len(code) ** count >= MIN_DOMAIN)
    short = (counts < enough) & ~empty
    if short.any() and not null_short:
        count = int(counts[np.argmax(short)])
        raise DataError(
            f"holds a value with {count} of {len(code)} symbols, one of fewer than {MIN_DOMAIN:,}: it could "
            "be guessed; use the default cipher, or `short: null`"
        )
    for count in np.unique(counts[~short & ~empty]).tolist():
        rows = np.flatnonzero((counts == count) & ~short)
        mine = at[first[rows][:, None] + np.arange(count)]
        out[mine] = code[step(numeral[out[mine]].astype(np.uint64)).astype(np.int64)]
    buffers = [None, pa.py_buffer(places.tobytes()), pa.py_buffer(out.tobytes())]
    made = pa.Array.from_buffers(pa.string(), len(values), buffers)
    return pc.if_else(pa.array(short), pa.scalar(None, pa.string()), made) if short.any() else made


def _numbers(values: pa.Array, step: Step, spark_type: str, null_short: bool) -> pa.Array:
    """Whole numbers as others of the same sign and number of digits."""
    numbers = values.to_numpy(zero_copy_only=False).astype(np.int64)
    # the smallest one has no positive twin of its type, but has one as an unsigned number
    sizes = np.where(numbers < 0, -numbers, numbers).view(np.uint64)
    powers = np.array([10**digit for digit in range(1, 20)], np.uint64)
    lengths = np.searchsorted(powers, sizes, side="right") + 1
    short = lengths < _SHORTEST
    if short.any() and not null_short:
        raise DataError(
            f"holds a number of {lengths[np.argmax(short)]} digits, one of fewer than {MIN_DOMAIN:,}: it could be guessed; "
            "use the default cipher, or `short: null`"
        )
    out = np.zeros(len(numbers), np.int64)
    for length in np.unique(lengths[~short]).tolist():
        rows = np.flatnonzero(lengths == length)
        scale = np.array([10 ** (length - 1 - digit) for digit in range(length)], np.uint64)
        left = np.arange(len(rows))
        drawn = sizes[rows][:, None] // scale % np.uint64(10)
        # of n digits, only those that don't start with 0 are whole numbers of n digits: 9/10 of the domain
        while len(left):
            drawn[left] = step(drawn[left])
            made = (drawn[left] * scale).sum(axis=1, dtype=np.uint64)
            left = left[(drawn[left, 0] == 0) | (made >= np.uint64(_LIMITS[spark_type]))]
        out[rows] = (drawn * scale).sum(axis=1, dtype=np.uint64).astype(np.int64)
    return pa.array(np.where(numbers < 0, -out, out), pa.int64(), mask=short).cast(values.type)
