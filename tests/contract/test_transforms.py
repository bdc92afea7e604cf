"""The contract of every transform: nulls, repetition, declared types, removal, restoring; and published vectors."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from twinlake.classify.detectors import DETECTORS
from twinlake.core.errors import DataError, PolicyError
from twinlake.core.keys import Keyring, make_key
from twinlake.transform.transforms import TRANSFORMS, Context, Transform
from twinlake.transform.transforms.generalize import check_generalize
from twinlake.transform.transforms.hashing import hmac_hex
from twinlake.transform.transforms.values import arrow_type, as_type, canonical, family, from_canonical

KEYS = Keyring((make_key("pseudonyms", bytes(range(32))), make_key("older", bytes(range(1, 33)))))
UTC = dt.UTC

COLUMNS: dict[str, list[Any]] = {
    "string": ["ann@corp.com", "", "bob@corp.com", None, "ann@corp.com", "Zoë Ω 王", "a\x00b", "--"],
    "int": [7, None, -2147483648, 2147483647, 7, 0],
    "bigint": [9007199254740993, None, -(2**63), 2**63 - 1, 7],
    "double": [1.5, None, 7.0, -0.0, 1e308, 5e-324, float("inf"), 0.1 + 0.2],
    "decimal(38,2)": [Decimal("9" * 36 + ".99"), None, Decimal("7.00"), Decimal("0.10")],
    "boolean": [True, None, False, True],
    "date": [dt.date(1, 1, 1), None, dt.date(9999, 12, 31), dt.date(2024, 2, 29)],
    "timestamp": [dt.datetime(1, 1, 1, tzinfo=UTC), None, dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)],
    "timestamp_ntz": [dt.datetime(2024, 3, 10, 2, 30), None, dt.datetime(1582, 10, 10, 0, 0, 0, 1)],
}
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "redact": [{}, {"with": "constant", "value": "gone"}, {"with": "characters"}],
    "drop_row": [{}, {"where": "true", "then": "hash"}],
    "fake": [{"as": "EMAIL_ADDRESS"}, {"as": "CREDIT_CARD", "fold": True}, {"as": "PERSON", "locale": "de_DE"}],
    "hash": [{}, {"length": 20, "domain": "people"}],
    "encrypt": [{}, {"encrypt_empty": True, "key": "older"}],
    "date_shift": [{"within": 30}, {"min": 5, "max": 400, "per": "person"}],
    "number_shift": [{"by": 3}, {"within": 10, "per": "person"}, {"min": -9, "max": -1}],
    "noise": [{"scale": 2}, {"percent": 10, "shape": "laplace"}, {"scale": 1, "shape": "uniform"}],
    "bucket": [{"width": 10}, {"edges": [0, 10.5], "labels": ["low"], "below": "none"}],
    "round": [{"to": 5}, {"to": 0.25}],
    "clip": [{"top": 6}, {"bottom": -3, "top": 4}],
    "generalize": [{"to": "zip3"}, {"to": "grid"}, {"to": "month"}, {"to": "week"}],
    "combine": [{"of": ["person", "number"]}, {"of": ["person"], "then": "redact", "separator": ""}],
    "when": [
        {"condition": "c", "then": "redact", "otherwise": "keep"},
        {"condition": "c", "then": "hash", "otherwise": "encrypt"},
    ],
    "spans": [{}, {"entities": {"EMAIL_ADDRESS": "hash"}, "default": "keep"}],
    "paths": [{"paths": {".email": "hash"}}, {"rest": "redact"}],
}
NATIVE_ONLY = {"sql"}
"""What Spark alone can do: tested in tests/spark."""


def fits(name: str, parameters: dict[str, Any], spark_type: str) -> bool:
    """Whether the contract can be asked of these parameters on this type."""
    if name == "generalize":
        return check_generalize(spark_type, parameters) is None
    return True


CASES = [
    pytest.param(transform, parameters, spark_type, id=f"{name}-{number}-{spark_type}")
    for name, transform in TRANSFORMS.items()
    if name not in NATIVE_ONLY
    for number, parameters in enumerate(PARAMETERS.get(name, [{}]))
    for spark_type in COLUMNS
    if transform.takes(spark_type) and fits(name, parameters, spark_type)
]


def column(spark_type: str) -> pa.Array:
    return pa.array(COLUMNS[spark_type], arrow_type(spark_type))


def context(spark_type: str, rows: slice = slice(None)) -> Context:
    """The context of the rows of COLUMNS[spark_type]; person, number and the condition differ from row to row."""
    count = len(COLUMNS[spark_type])
    others = {
        "person": pa.array([f"p{row % 3}" for row in range(count)]),
        "number": pa.array([None if row == 1 else row for row in range(count)], pa.int64()),
        "sql:c": pa.array([[True, None, False][row % 3] for row in range(count)]),
    }
    start, stop, _ = rows.indices(count)
    return Context("c", spark_type, others={name: values.slice(start, stop - start) for name, values in others.items()})


def text_of(array: pa.Array) -> list[str | None]:
    return [None if value is None else str(value) for value in array.to_pylist()]


@pytest.mark.parametrize(("transform", "parameters", "spark_type"), CASES)
def test_null_in_null_out_and_the_declared_type(transform: Transform, parameters: dict[str, Any], spark_type: str) -> None:
    array = column(spark_type)
    out = transform.apply(array, transform.check(parameters, "test"), KEYS, context(spark_type))
    assert len(out) == len(array)
    assert out.type == arrow_type(transform.output_type(spark_type, parameters))
    assert [o.as_py() for v, o in zip(array, out, strict=True) if not v.is_valid] == [None] * array.null_count


@pytest.mark.parametrize(("transform", "parameters", "spark_type"), CASES)
def test_each_value_depends_on_itself_alone(transform: Transform, parameters: dict[str, Any], spark_type: str) -> None:
    array = column(spark_type)
    whole = transform.apply(array, parameters, KEYS, context(spark_type))
    rows = [slice(row, row + 1) for row in range(len(array))]
    apart = [transform.apply(array[row], parameters, KEYS, context(spark_type, row)) for row in rows]
    assert whole.equals(pa.concat_arrays(apart))
    assert transform.apply(array.slice(2), parameters, KEYS, context(spark_type, slice(2, None))).equals(whole.slice(2))


@pytest.mark.parametrize(("transform", "parameters", "spark_type"), CASES)
def test_empty_and_all_null_columns_pass(transform: Transform, parameters: dict[str, Any], spark_type: str) -> None:
    kind = arrow_type(spark_type)
    assert len(transform.apply(pa.array([], kind), parameters, KEYS, context(spark_type, slice(0, 0)))) == 0
    count = min(3, len(COLUMNS[spark_type]))
    out = transform.apply(pa.nulls(count, kind), parameters, KEYS, context(spark_type, slice(0, count)))
    assert out.null_count == count


@pytest.mark.parametrize("name", [name for name, transform in TRANSFORMS.items() if transform.removes])
@pytest.mark.parametrize("number", range(3))
def test_a_removing_transform_lets_no_value_through(name: str, number: int) -> None:
    transform = TRANSFORMS[name]
    parameters = PARAMETERS.get(name, [{}])[number % len(PARAMETERS.get(name, [{}]))]
    canaries = [f"CANARY-{n:04x}" for n in range(1000)]
    others = {"person": pa.array(["x"] * 1000), "number": pa.array([1] * 1000)}
    out = transform.apply(pa.array(canaries), parameters, KEYS, Context("c", "string", others=others))
    text = "\n".join(value or "" for value in out.to_pylist())
    assert "CANARY" not in text
    assert not [canary for canary in canaries if canary[-4:] in text.split("\n")]


@pytest.mark.parametrize("spark_type", list(COLUMNS))
@pytest.mark.parametrize("name", ["encrypt"])
def test_a_reversible_transform_restores(name: str, spark_type: str) -> None:
    transform, array = TRANSFORMS[name], column(spark_type)
    assert transform.restore is not None
    for parameters in PARAMETERS[name]:
        hidden = transform.apply(array, parameters, KEYS, context(spark_type))
        assert transform.restore(hidden, {}, KEYS, context(spark_type)).equals(array)


def test_a_timestamp_hashes_alike_in_every_session_time_zone() -> None:
    moments = column("timestamp")
    hashed = [
        TRANSFORMS["hash"].apply(moments.cast(pa.timestamp("us", zone)), {}, KEYS, context("timestamp"))
        for zone in ("UTC", "+05:30")
    ]
    assert hashed[0].equals(hashed[1])


def test_equal_numbers_of_different_types_have_one_canonical_text() -> None:
    arrays = [pa.array([7], kind) for kind in (pa.int8(), pa.int64(), pa.float64())] + [pa.array([Decimal("7.00")])]
    assert {canonical(array)[0] for array in arrays} == {b"7"}


@pytest.mark.parametrize("spark_type", list(COLUMNS))
def test_canonical_text_reads_back(spark_type: str) -> None:
    array = column(spark_type).drop_null()
    assert from_canonical(canonical(array), spark_type).equals(array)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        (name, parameters)
        for name, transform in TRANSFORMS.items()
        if name not in NATIVE_ONLY and transform.takes("string")
        for parameters in [*PARAMETERS.get(name, [{}]), *([{"with": "characters", "keep_last": 2}] if name == "redact" else [])]
    ],
)
def test_invalid_utf8_passes_every_transform_of_text(name: str, parameters: dict[str, Any]) -> None:
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9 12", b"ok"]).buffers())
    others = {"person": pa.array(["a", "b"]), "number": pa.array([1, 2]), "sql:c": pa.array([True, False])}
    out = TRANSFORMS[name].apply(broken, parameters, KEYS, Context("c", "string", others=others))
    again = TRANSFORMS[name].apply(broken, parameters, KEYS, Context("c", "string", others=others))
    assert out.cast(pa.binary()).equals(again.cast(pa.binary()))
    assert len(out) == 2


def test_invalid_utf8_neither_fails_nor_changes() -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"]).buffers())
    token = TRANSFORMS["encrypt"].apply(broken, {}, KEYS, context("string"))
    assert TRANSFORMS["encrypt"].restore is not None
    plain = TRANSFORMS["encrypt"].restore(token, {}, KEYS, Context("c", "string"))
    assert plain.cast(pa.binary()).to_pylist() == [b"caf\xe9"]


# ---- redact


@pytest.mark.parametrize(
    ("parameters", "value", "expected"),
    [
        ({}, "x@y.org", "<EMAIL_ADDRESS>"),
        ({"with": "constant", "value": "***"}, "x@y.org", "***"),
        ({"with": "characters"}, "Ab 12-ß王", "xx xx-xx"),
        ({"with": "characters", "keep_last": 4}, "4111-1111-1111-1234", "xxxx-xxxx-xxxx-1234"),
        ({"with": "characters", "keep_first": 1, "char": "*"}, "Ann Lee", "A** ***"),
        ({"with": "characters", "keep_first": 2, "keep_last": 2}, "abcd", "xxxx"),  # all of it would show
        ({"with": "characters", "char": "\\"}, "a1", "\\\\"),
        ({"with": "characters"}, "--\n", "xxx"),
        ({"with": "characters"}, "", ""),
    ],
)
def test_redact_writes(parameters: dict[str, Any], value: str, expected: str) -> None:
    transform = TRANSFORMS["redact"]
    out = transform.apply(
        pa.array([value, None]), transform.check(parameters, "t"), KEYS, Context("c", "string", entity="EMAIL_ADDRESS")
    )
    assert out.to_pylist() == [expected, None]


@pytest.mark.parametrize("spark_type", list(COLUMNS))
def test_redact_without_nulls_writes_the_types_zero(spark_type: str) -> None:
    array = column(spark_type).drop_null()
    out = TRANSFORMS["redact"].apply(array, {}, KEYS, Context("c", spark_type, nullable=False))
    assert out.null_count == 0
    assert len(out.unique()) == 1
    assert out.type == array.type


def test_redact_makes_nested_values_null() -> None:
    nested = pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32()))
    out = TRANSFORMS["redact"].apply(nested, {}, KEYS, Context("c", "map<string,int>"))
    assert (out.null_count, out.type) == (2, nested.type)


# ---- fake


@pytest.mark.parametrize("entity", list(DETECTORS))
def test_equal_values_have_equal_surrogates_in_every_column_and_none_is_its_own(entity: str) -> None:
    values = DETECTORS[entity].fake(np.arange(3000, dtype=np.uint64))
    one = TRANSFORMS["fake"].apply(values, {}, KEYS, Context("a", "string", entity=entity))
    other = TRANSFORMS["fake"].apply(
        values.take(pa.array(range(2999, -1, -1))), {}, KEYS, Context("b", "string", entity=entity)
    )
    assert one.to_pylist() == other.to_pylist()[::-1]
    same = sum(a == b for a, b in zip(values.to_pylist(), one.to_pylist(), strict=True))
    assert same == (3000 if len(values.unique()) == 1 else 0) or DETECTORS[entity].space <= 2


def test_surrogates_depend_on_key_and_domain() -> None:
    values = pa.array([f"p{n}@corp.com" for n in range(100)])
    ctx = Context("a", "string", entity="EMAIL_ADDRESS")
    outs = [
        tuple(TRANSFORMS["fake"].apply(values, parameters, KEYS, ctx).to_pylist())
        for parameters in ({}, {"key": "older"}, {"domain": "staff"})
    ]
    assert len(set(outs)) == 3


def test_spellings_count_as_one_only_when_told() -> None:
    values = pa.array(["Ann@Corp.com", "ann@corp.com ", "ann@corp.com"])
    ctx = Context("a", "string", entity="EMAIL_ADDRESS")
    assert len(TRANSFORMS["fake"].apply(values, {}, KEYS, ctx).unique()) == 3
    assert len(TRANSFORMS["fake"].apply(values, {"fold": True}, KEYS, ctx).unique()) == 1


def test_surrogates_are_pinned() -> None:
    """The same key must give the same surrogates after an upgrade; a change here needs a line in the changelog."""
    out = TRANSFORMS["fake"].apply(pa.array([4111111111111111]), {}, KEYS, Context("a", "bigint", entity="CREDIT_CARD"))
    assert family("bigint") == "integer"
    assert out.to_pylist() == [2223009488978204]


@pytest.mark.parametrize(
    ("text", "spark_type", "expected"),
    [
        ("+1 (555) 010-0199", "bigint", 15550100199),
        ("4111 1111 1111 1111", "double", None),
        ("555-0100", "double", 5550100.0),
        ("02139", "int", 2139),
        ("4111111111111111", "int", None),
        ("300", "tinyint", None),
        ("1234", "decimal(5,2)", None),
        ("123", "decimal(5,2)", Decimal("123.00")),
        ("DE89 3704", "bigint", None),
        ("2023-02-29", "date", None),
        ("2024-02-29", "date", dt.date(2024, 2, 29)),
        ("1990-07-31", "timestamp_ntz", dt.datetime(1990, 7, 31)),
        ("31.07.1990", "date", None),
        ("yes", "boolean", None),
    ],
)
def test_surrogate_text_becomes_a_value_of_the_type_or_null(text: str, spark_type: str, expected: Any) -> None:
    assert as_type(pa.array([text]), spark_type).to_pylist() == [expected]


# ---- hash and encrypt


@pytest.mark.parametrize(
    ("key", "data", "expected"),
    [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    ],
)
def test_hmac_gives_the_vectors_of_rfc_4231(key: bytes, data: bytes, expected: str) -> None:
    assert hmac_hex(key, [data, data]) == [expected] * 2


def test_the_cipher_gives_the_vector_of_rfc_5297_a1() -> None:
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    tied = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    out = AESSIV(key).encrypt(bytes.fromhex("112233445566778899aabbccddee"), [tied])
    assert out.hex() == "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"


def encrypted(values: list[str | None], **parameters: Any) -> pa.Array:
    return TRANSFORMS["encrypt"].apply(pa.array(values, pa.string()), parameters, KEYS, context("string"))


def restored(tokens: pa.Array, **parameters: Any) -> pa.Array:
    assert TRANSFORMS["encrypt"].restore is not None
    return TRANSFORMS["encrypt"].restore(tokens, parameters, KEYS, context("string"))


def test_ten_thousand_values_come_back() -> None:
    values = [f"person{n}@corp.com" for n in range(10_000)]
    tokens = encrypted(values)
    assert len(tokens.unique()) == 10_000
    assert restored(tokens).to_pylist() == values


def test_one_changed_character_anywhere_never_opens() -> None:
    token = encrypted(["ann@corp.com"])[0].as_py()
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        try:
            out = restored(pa.array([changed]), foreign="keep").to_pylist()
        except DataError as error:
            assert "ann" not in str(error)
        else:
            assert out == [changed]  # no longer looks like a ciphertext


def test_one_flipped_bit_of_the_last_character_is_seen() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = encrypted(["ann@corp.com"])[0].as_py()
    for bit in range(6):
        changed = token[:-1] + alphabet[alphabet.index(token[-1]) ^ (1 << bit)]
        with pytest.raises(DataError, match="changed"):
            restored(pa.array([changed]))


def test_another_domain_gives_other_ciphertexts_and_does_not_open() -> None:
    mine, theirs = encrypted(["ann"], domain="people"), encrypted(["ann"], domain="staff")
    assert mine[0] != theirs[0]
    with pytest.raises(DataError, match="another domain"):
        restored(mine, domain="staff")


def test_old_ciphertexts_open_after_a_rotation() -> None:
    old = encrypted(["ann"], key="older")
    assert old[0].as_py().startswith(KEYS["older"].key_id + ".")
    assert restored(old).to_pylist() == ["ann"]
    with pytest.raises(DataError, match=KEYS["older"].key_id):
        assert TRANSFORMS["encrypt"].restore is not None
        TRANSFORMS["encrypt"].restore(old, {}, Keyring(KEYS.keys[:1]), context("string"))


def test_foreign_text_is_left_nulled_or_refused() -> None:
    mixed = pa.concat_arrays([encrypted(["ann", None, ""]), pa.array(["plain", "deadbeef.short"])])
    assert restored(mixed).to_pylist() == ["ann", None, "", "plain", "deadbeef.short"]
    assert restored(mixed, foreign="null").to_pylist() == ["ann", None, "", None, None]
    with pytest.raises(DataError, match="no ciphertext") as caught:
        restored(mixed, foreign="error")
    assert "plain" not in str(caught.value)


def test_a_missing_entity_is_refused_with_the_nearest() -> None:
    with pytest.raises(PolicyError, match="did you mean 'PERSON'"):
        TRANSFORMS["fake"].apply(pa.array(["x"]), {"as": "PERSN"}, KEYS, context("string"))
