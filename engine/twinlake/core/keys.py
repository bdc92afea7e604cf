"""Keys by reference: `env:NAME`, `file:path` or `secret://scope/key` in, usable keys out, on the driver.

Configs hold references only; this module is the single place that follows them. A key's material never appears in a
repr, an error or a log, and nothing here writes it anywhere. What a key is used for is decided elsewhere: callers ask
for a sub-key by purpose, derived with HKDF-SHA256 (RFC 5869), so that no two purposes or domains ever share key bytes.
Knows nothing of Spark, transforms or tables.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets as random_source
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twinlake.core.errors import KeyReferenceError, escaped, in_quotes, nearest

MIN_BYTES = 16
MAX_BYTES = 4096
DEFAULT_KEY = "pseudonyms"
_SALT = b"twinlake/keys/v1"
_FORMS = "env:NAME, file:path or secret://scope/key"
_WAITS = (0.5, 1.0)

SecretReader = Callable[[str, str], str]
"""(scope, key) -> the secret's text, such as Databricks' `dbutils.secrets.get`."""


class SecretUnavailableError(KeyReferenceError):
    """A secret scope can't be reached or read just now; running again may work (exit code 4)."""

    exit_code = 4


@dataclass(frozen=True)
class Key:
    """A resolved key. `key_id` is derived from the material, tells keys apart and is no secret."""

    name: str
    key_id: str
    material: bytes = field(repr=False)

    def subkey(self, *parts: str, length: int = 32) -> bytes:
        """The sub-key for the purpose and domain named by `parts`; no two tuples of parts share one."""
        return hkdf_sha256(self.material, _SALT, _info(parts), length)


@dataclass(frozen=True)
class Keyring:
    """The keys of a run, by name. `ephemeral` keys are random and end with the process: nothing is restored later."""

    keys: tuple[Key, ...] = ()
    ephemeral: bool = False

    def __getitem__(self, name: str) -> Key:
        for key in self.keys:
            if key.name == name:
                return key
        known = [key.name for key in self.keys]
        raise KeyReferenceError(
            f"no key named {in_quotes(name)}{nearest(name, known)}; add it to the config as "
            f"keys.{escaped(name)}: one of {_FORMS}"
        )

    def __contains__(self, name: object) -> bool:
        return any(key.name == name for key in self.keys)

    def by_id(self, key_id: str) -> Key | None:
        """The key with this id, or None. Ciphertexts name their key by id, so that old ones survive a rotation."""
        return next((key for key in self.keys if key.key_id == key_id), None)


def resolve_keys(references: Mapping[str, str], secrets: SecretReader | None = None) -> Keyring:
    """The keys behind `references` (name -> reference). `secrets` reads `secret://`; default: Databricks' dbutils.

    Errors: KeyReferenceError (SecretUnavailableError after three tries at a scope), naming the reference, never the
    key.
    """
    keys: list[Key] = []
    for name, reference in references.items():
        key = make_key(name, _read(name, reference, secrets))
        twin = next((other for other in keys if other.material == key.material), None)
        if twin:
            raise KeyReferenceError(
                f"keys.{escaped(name)} and keys.{escaped(twin.name)} are the same key; give each name a key of its own"
            )
        keys.append(key)
    return Keyring(tuple(keys))


def ephemeral_keyring(names: Iterable[str] = (DEFAULT_KEY,)) -> Keyring:
    """Random keys for a run without configured ones: surrogates agree within the run and with no other run."""
    return Keyring(tuple(make_key(name, random_source.token_bytes(32)) for name in names), ephemeral=True)


def make_key(name: str, material: bytes) -> Key:
    """A Key of raw `material` that was checked for length and triviality. Errors: KeyReferenceError."""
    if len(material) < MIN_BYTES:
        raise KeyReferenceError(
            f"keys.{escaped(name)}: the key has {len(material)} bytes; at least {MIN_BYTES} are needed, such as {_make_one()}"
        )
    if len(set(material)) == 1:
        raise KeyReferenceError(
            f"keys.{escaped(name)}: the key is one byte repeated, which anyone can guess; make one with {_make_one()}"
        )
    return Key(name, hkdf_sha256(material, _SALT, _info(("key id",)), 4).hex(), material)


def hkdf_sha256(material: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869): extract, then expand to `length` bytes."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(material)


def _info(parts: tuple[str, ...]) -> bytes:
    # length prefixes: ("ab", "c") and ("a", "bc") must not derive the same key
    raw = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(len(part).to_bytes(8, "little") + part for part in raw)


def _make_one() -> str:
    return "`openssl rand -hex 32`"


def _read(name: str, reference: str, secrets: SecretReader | None) -> bytes:
    at = f"keys.{escaped(name)}"
    if match := re.fullmatch(r"env:([A-Za-z_][A-Za-z0-9_]{0,127})", reference):
        return _decoded(at, _from_environment(at, match[1]))
    if match := re.fullmatch(r"file:(?://)?([^\x00\n]+)", reference):
        return _from_file(at, match[1])
    if match := re.fullmatch(r"secret://([\w.@-]+)/([\w.@-]+)", reference):
        return _decoded(at, _from_scope(at, match[1], match[2], secrets))
    # whatever stands there may be a key: it is not shown
    raise KeyReferenceError(
        f"{at}: must be a reference ({_FORMS}), never the key itself; put the key where the reference points"
    )


def _from_environment(at: str, variable: str) -> str:
    value = os.environ.get(variable)
    if value is None:
        raise KeyReferenceError(f"{at}: the environment variable {variable} is not set; export it, or use another of {_FORMS}")
    if not value.strip():
        raise KeyReferenceError(f"{at}: the environment variable {variable} is empty")
    return value


def _from_file(at: str, path: str) -> bytes:
    try:
        with Path(path).expanduser().open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeyReferenceError(f"{at}: file {escaped(path)} can't be read ({type(error).__name__})") from None
    if len(raw) > MAX_BYTES:
        raise KeyReferenceError(f"{at}: file {escaped(path)} has over {MAX_BYTES} bytes; that is no key file")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
    # editors and `echo` end a file with one newline; any other white space is a sign of a broken key
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise KeyReferenceError(f"{at}: file {escaped(path)} is empty")
    return _decoded(at, text)


def _from_scope(at: str, scope: str, key: str, secrets: SecretReader | None) -> str:
    read = secrets or _databricks_secrets(at)
    failure = ""
    for wait in (*_WAITS, None):
        try:
            value = read(scope, key)
        except Exception as error:  # the reader is foreign code, and its text may say more than it should
            failure = type(error).__name__
            if wait is not None:
                time.sleep(wait)
            continue
        if not value.strip():
            raise KeyReferenceError(f"{at}: secret://{scope}/{key} is empty")
        return value
    raise SecretUnavailableError(
        f"{at}: secret://{scope}/{key} can't be read after {len(_WAITS) + 1} tries ({failure}); check the "
        "scope, its permissions and the network"
    ) from None


def _databricks_secrets(at: str) -> SecretReader:
    dbutils = _dbutils()
    if dbutils is None:
        raise KeyReferenceError(f"{at}: secret:// works on Databricks only (no dbutils here); use env:NAME or file:path")
    return lambda scope, key: str(dbutils.secrets.get(scope=scope, key=key))


def _dbutils() -> Any:
    try:
        from databricks.sdk.runtime import dbutils  # type: ignore[import-not-found,unused-ignore]
    except Exception:  # not installed, or installed outside a Databricks runtime
        return None
    return dbutils


def _decoded(at: str, text: str) -> bytes:
    """Key bytes of `text`: hex, then base64 (either alphabet), then the text itself as UTF-8."""
    if any(not ch.isprintable() for ch in text) or text != text.strip():
        raise KeyReferenceError(
            f"{at}: the key holds a line break, a control character or white space at its ends; store it as one plain line"
        )
    if len(text) % 2 == 0 and re.fullmatch(r"[0-9A-Fa-f]+", text):
        return bytes.fromhex(text)
    if re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", text) and len(text) % 4 == 0:
        try:
            raw = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) >= MIN_BYTES:
            return raw
    return text.encode("utf-8")
