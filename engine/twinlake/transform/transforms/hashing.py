"""`hash` replaces a value by its HMAC-SHA256 (RFC 2104, FIPS 198-1) in hex, under a sub-key of its domain.

One way: nothing restores the value, and without the key nobody can try values out. Equal values have equal hashes, so
joins hold and frequencies show. Numbers and dates are hashed by their canonical text.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from twinlake.core.keys import DEFAULT_KEY, Keyring
from twinlake.transform.transforms.base import DOMAIN, KEY, Context, Parameter, Transform, domain_of
from twinlake.transform.transforms.values import is_scalar, per_distinct

MIN_LENGTH = 16  # 64 bits: two of 1,000,000 values collide with probability 3e-8


def hash_values(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` with each value replaced by the first `length` hex digits of its HMAC."""
    subkey = keys[str(parameters.get("key", DEFAULT_KEY))].subkey("hash", domain_of(parameters, context))
    length = int(parameters.get("length", 64))
    return per_distinct(array, lambda texts: pa.array([hmac_hex(subkey, text)[:length] for text in texts], pa.string()))


def hmac_hex(key: bytes, data: bytes) -> str:
    """HMAC-SHA256 of `data`, in lower-case hex."""
    return hmac.digest(key, data, "sha256").hex()


HASH = Transform(
    "hash",
    hash_values,
    (KEY, DOMAIN, Parameter("length", int, 64, minimum=MIN_LENGTH, maximum=64, help="hex digits kept")),
    output="string",
    takes=is_scalar,
    removes=True,
)
