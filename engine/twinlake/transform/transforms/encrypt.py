"""`encrypt` replaces a value by a ciphertext that the key turns back: AES-SIV (RFC 5297, two 256-bit keys).

A ciphertext reads `<key id>.<base64url>`: it names the key it was made with, so that old ones still open after a
rotation. The domain (declared, else the entity, else the column) is associated data: the same value in the same
domain has the same ciphertext in every table, and a ciphertext moved into another domain does not open. A changed
ciphertext raises, it never opens to something else. Known leak: equal values stay recognizable as equal, with their
frequencies. Empty text stays empty unless `encrypt_empty`. Numbers and dates are encrypted by their canonical text.
With `cipher: ff1` values keep their format instead (`format_preserving.py`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from twinlake.core.errors import DataError
from twinlake.core.keys import DEFAULT_KEY, Keyring
from twinlake.transform.transforms.base import DOMAIN, KEY, Context, Parameter, Transform, domain_of
from twinlake.transform.transforms.format_preserving import ALPHABETS, encrypt_format, restore_format
from twinlake.transform.transforms.matrices import Bytes, by_length, strings
from twinlake.transform.transforms.siv import Sealer
from twinlake.transform.transforms.values import (
    by_distinct,
    canonical_array,
    from_canonical,
    is_scalar,
    is_text,
    per_distinct,
)

CIPHERTEXT = r"^[0-9a-f]{8}\.[A-Za-z0-9_-]{22,}$"
"""What a ciphertext looks like, for Python and for Spark's `rlike`. 22 characters hold the 16 bytes of the tag."""
_SHAPE = re.compile(CIPHERTEXT.encode())
# one byte before every text: AES-SIV libraries refuse empty plaintexts, and a later version can tell itself apart
_FORMAT = b"\x01"
_URL_ALPHABET = np.arange(256, dtype=np.uint8)
_URL_ALPHABET[[0x2B, 0x2F]] = [0x2D, 0x5F]  # + and / become - and _
_NO_FF3 = "NIST SP 800-38G r1, second draft of February 2025, withdraws FF3 and FF3-1"


def encrypt(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` with each value replaced by its ciphertext."""
    if parameters.get("cipher") == "ff1":
        return encrypt_format(array, parameters, keys, context)
    key = keys[str(parameters.get("key", DEFAULT_KEY))]
    sealer = Sealer(key.subkey("encrypt", length=64), domain_of(parameters, context).encode("utf-8", "surrogatepass"))
    prefix, empty_too = key.key_id.encode() + b".", bool(parameters.get("encrypt_empty", False))

    def tokens(texts: Bytes) -> pa.Array:
        if not texts.shape[1] and not empty_too:
            return pa.array([""] * len(texts), pa.string())
        version = np.full((len(texts), len(_FORMAT)), np.frombuffer(_FORMAT, np.uint8))
        written = _base64url(sealer.seal(np.hstack([version, texts])))
        return strings(np.hstack([np.full((len(texts), len(prefix)), np.frombuffer(prefix, np.uint8)), written]))

    return by_distinct(array, lambda values: by_length(canonical_array(values), tokens))


def _base64url(raw: Bytes) -> Bytes:
    """Each row in base64url without padding. Rows padded to whole groups of three bytes are written in one call."""
    rows, length = raw.shape
    more = -length % 3
    whole = binascii.b2a_base64(np.hstack([raw, np.zeros((rows, more), np.uint8)]).tobytes(), newline=False)
    written = np.frombuffer(whole, np.uint8).reshape(rows, (length + more) * 4 // 3)
    return _URL_ALPHABET[written[:, : -(-length * 4 // 3)]]


def restore(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """The values behind the ciphertexts in `array`, as `context.type`.

    Text that is no ciphertext is left where `foreign` is `keep` (the default; text columns only), becomes null where it
    is `null`, and raises where it is `error`. Errors: DataError for a changed ciphertext, a wrong domain or an
    unknown key.
    """
    if parameters.get("cipher") == "ff1":
        return restore_format(array, parameters, keys, context)
    tied = [domain_of(parameters, context).encode("utf-8", "surrogatepass")]
    ciphers = {key.key_id.encode(): AESSIV(key.subkey("encrypt", length=64)) for key in keys.keys}
    foreign = str(parameters.get("foreign", "keep"))

    def plain(token: bytes) -> bytes | None:
        if _SHAPE.match(token):
            return _opened(token, ciphers, tied)
        if not token and is_text(context.type):
            return token
        if foreign == "error" or (foreign == "keep" and not is_text(context.type)):
            raise DataError("holds text that is no ciphertext")
        return token if foreign == "keep" else None

    return per_distinct(array, lambda tokens: from_canonical([plain(token) for token in tokens], context.type))


def _opened(token: bytes, ciphers: Mapping[bytes, AESSIV], tied: list[bytes]) -> bytes:
    key_id, _, body = token.partition(b".")
    cipher = ciphers.get(key_id)
    if cipher is None:
        raise DataError(f"a ciphertext was made with key {key_id.decode()}, which is not among the keys given")
    try:
        raw = base64.b64decode(body + b"=" * (-len(body) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(raw).rstrip(b"=") != body:  # unused low bits of the last character must be zero
            raise DataError("a ciphertext was changed")
        text = cipher.decrypt(raw, tied)
    except (InvalidTag, binascii.Error):
        raise DataError("a ciphertext was changed, or belongs to another domain") from None
    if text[:1] != _FORMAT:
        raise DataError("a ciphertext has a newer format; update twinlake")
    return text[1:]


def _valid(parameters: Mapping[str, Any]) -> str | None:
    if parameters.get("cipher") != "ff1" and ("alphabet" in parameters or "short" in parameters):
        return "alphabet and short work with `cipher: ff1` only; add that"
    if parameters.get("cipher") == "ff1" and parameters.get("encrypt_empty"):
        return "ff1 can't encrypt empty text; leave encrypt_empty out"
    return None


ENCRYPT = Transform(
    "encrypt",
    encrypt,
    (
        KEY,
        DOMAIN,
        Parameter("cipher", str, "aes-siv", ("aes-siv", "ff1"), help=_NO_FF3),
        Parameter("alphabet", str, "digits", tuple(ALPHABETS), help="ff1: the characters that are encrypted"),
        Parameter("short", str, "error", ("error", "null"), help="ff1: what becomes of values that are too short"),
        Parameter("encrypt_empty", bool, False, help="encrypt empty text too"),
        Parameter(
            "allow_low_cardinality",
            bool,
            False,
            help="accept a column with under 50 different values, whose frequencies tell them apart",
        ),
    ),
    output=lambda spark_type, parameters: spark_type if parameters.get("cipher") == "ff1" else "string",
    takes=is_scalar,
    removes=True,
    restore=restore,
    valid=_valid,
)
