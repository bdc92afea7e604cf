"""Key references: where they lead, what is refused, and that no key is ever shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from twinlake.core.errors import KeyReferenceError
from twinlake.core.keys import (
    Keyring,
    SecretUnavailableError,
    ephemeral_keyring,
    hkdf_sha256,
    make_key,
    resolve_keys,
)

GOOD = "5f2c9a7e81d3b6044e1f0c8da7b39562"


def test_hkdf_gives_the_vector_of_rfc_5869_a1() -> None:
    okm = hkdf_sha256(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


def test_env_and_file_references_lead_to_the_same_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TWINLAKE_TEST_KEY", GOOD)
    (tmp_path / "key").write_text(GOOD + "\n")
    by_env = resolve_keys({"pseudonyms": "env:TWINLAKE_TEST_KEY"})["pseudonyms"]
    by_file = resolve_keys({"pseudonyms": f"file:{tmp_path / 'key'}"})["pseudonyms"]
    assert by_env == by_file
    assert by_env.material == bytes.fromhex(GOOD)


@pytest.mark.parametrize(
    ("text", "material"),
    [
        (GOOD, bytes.fromhex(GOOD)),
        (GOOD.upper(), bytes.fromhex(GOOD)),
        ("AAECAwQFBgcICQoLDA0ODw==", bytes(range(16))),
        ("--7_AAECAwQFBgcICQoLDA0ODxAR", b"\xfb\xee\xff" + bytes(range(18))),
        ("correct horse battery staple", b"correct horse battery staple"),
    ],
)
def test_keys_are_hex_base64_or_text(text: str, material: bytes) -> None:
    assert resolve_keys({"k": "secret://scope/key"}, secrets=lambda scope, key: text)["k"].material == material


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "short",
        "deadbeef" * 3,
        "0" * 64,
        "A" * 32,
        "aaaaaaaaaaaaaaaaaaa",
        "AAECAwQFBgcI\nCQoLDA0ODw==",
        GOOD + "\n",
        " " + GOOD,
    ],
)
def test_unusable_keys_are_refused_without_being_shown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLAKE_TEST_KEY", value)
    with pytest.raises(KeyReferenceError, match=r"keys\.pseudonyms") as caught:
        resolve_keys({"pseudonyms": "env:TWINLAKE_TEST_KEY"})
    assert not value.strip() or value.strip() not in str(caught.value)


@pytest.mark.parametrize(
    "literal", [GOOD, "env:", "env:NOT A NAME", "file:", "secret://only-scope", "vault:x/y", "correct horse battery"]
)
def test_a_literal_key_is_refused_without_being_shown(literal: str) -> None:
    with pytest.raises(KeyReferenceError, match="must be a reference") as caught:
        resolve_keys({"pseudonyms": literal})
    assert len(literal) < 8 or literal not in str(caught.value)


def test_missing_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyReferenceError, match="TWINLAKE_NOT_SET is not set"):
        resolve_keys({"k": "env:TWINLAKE_NOT_SET"})
    with pytest.raises(KeyReferenceError, match="can't be read"):
        resolve_keys({"k": f"file:{tmp_path / 'none'}"})
    with pytest.raises(KeyReferenceError, match="Databricks"):
        resolve_keys({"k": "secret://scope/key"})


def test_one_key_for_two_names_is_refused() -> None:
    with pytest.raises(KeyReferenceError, match=r"keys\.b and keys\.a are the same key") as caught:
        resolve_keys(
            {"a": "secret://s/a", "b": "secret://s/b"}, secrets=lambda scope, key: GOOD if key == "a" else GOOD.upper()
        )
    assert GOOD not in str(caught.value).lower()


def test_a_secret_scope_is_tried_three_times_and_then_fails_as_retryable() -> None:
    tries: list[str] = []

    def offline(scope: str, key: str) -> str:
        tries.append(f"{scope}/{key}")
        raise ConnectionError(f"no route, by the way the key is {GOOD}")

    with pytest.raises(SecretUnavailableError, match="secret://scope/key") as caught:
        resolve_keys({"k": "secret://scope/key"}, secrets=offline)
    assert len(tries) == 3
    assert caught.value.exit_code == 4
    assert GOOD not in str(caught.value)
    assert caught.value.__context__ is None


def test_no_text_of_a_key_shows_its_material() -> None:
    keyring = Keyring((make_key("pseudonyms", bytes.fromhex(GOOD)),))
    for text in (repr(keyring), str(keyring["pseudonyms"]), f"{keyring}"):
        assert GOOD not in text
        assert str(bytes.fromhex(GOOD)) not in text
    assert keyring["pseudonyms"].key_id in repr(keyring)


def test_subkeys_differ_by_purpose_domain_and_where_the_parts_meet() -> None:
    key = make_key("k", bytes.fromhex(GOOD))
    subkeys = {key.subkey(*parts) for parts in [("fake", "A"), ("hash", "A"), ("fake", "B"), ("fak", "eA"), ("fake",), ()]}
    assert len(subkeys) == 6
    assert len(key.subkey("encrypt", length=64)) == 64


def test_derived_bytes_are_pinned() -> None:
    """A change here changes every surrogate, hash and ciphertext that users hold."""
    key = make_key("k", bytes(range(32)))
    assert (key.key_id, key.subkey("fake", "EMAIL_ADDRESS").hex()[:16]) == ("20bb821b", "47b9042e4bff2a36")


def test_a_missing_key_names_the_nearest() -> None:
    with pytest.raises(KeyReferenceError, match="did you mean 'pseudonyms'"):
        ephemeral_keyring()["pseudonym"]


def test_ephemeral_keys_differ_each_time_and_survive_a_pickle() -> None:
    one, other = ephemeral_keyring(), ephemeral_keyring()
    assert one.ephemeral
    assert one["pseudonyms"].key_id != other["pseudonyms"].key_id
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - executors get it so
