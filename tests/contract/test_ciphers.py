"""The ciphers over many values at once give what the library, the standards' vectors and one value at a time give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from twinlake.core.keys import Keyring, make_key
from twinlake.transform.transforms import TRANSFORMS, Context
from twinlake.transform.transforms.ff1 import FF1
from twinlake.transform.transforms.matrices import by_length, strings
from twinlake.transform.transforms.siv import Sealer
from twinlake.transform.transforms.values import all_differ, by_distinct

KEYS = Keyring((make_key("pseudonyms", bytes(range(32))),))
RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize("rows", [1, 300])
def test_sealing_gives_the_vector_of_rfc_5297_a1(rows: int) -> None:
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    datum = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    text = np.frombuffer(bytes.fromhex("112233445566778899aabbccddee"), np.uint8)
    sealed = Sealer(key, datum).seal(np.tile(text, (rows, 1)))
    expected = "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"
    assert [row.tobytes().hex() for row in sealed] == [expected] * rows


@pytest.mark.parametrize("datum", [b"", b"customer", b"exactly 16 bytes", b"a domain of more than sixteen bytes"])
@pytest.mark.parametrize("key_bytes", [32, 64])
def test_sealing_many_gives_what_the_library_gives(datum: bytes, key_bytes: int) -> None:
    key = bytes(RANDOM.integers(0, 256, key_bytes, dtype=np.uint8))
    sealer, library = Sealer(key, datum), AESSIV(key)
    for length in [1, 7, 14, 15, 16, 17, 31, 32, 33, 48, 65, 500]:
        texts = RANDOM.integers(0, 256, (220, length), dtype=np.uint8)
        assert [row.tobytes() for row in sealer.seal(texts)] == [library.encrypt(row.tobytes(), [datum]) for row in texts]


@pytest.mark.parametrize(
    "values",
    [
        [f"C{row}" for row in range(3000)],
        [f"{'x' * (row % 50)}{row}" for row in range(3000)],
        [["", None, "short", "é" * 20][row % 4] for row in range(3000)],
        [None if row % 7 == 0 else "y" * row for row in range(300)],
    ],
)
def test_ciphertexts_do_not_depend_on_the_batch_and_come_back(values: list[str | None]) -> None:
    context, array, cipher = Context("c", "string"), pa.array(values, pa.string()), TRANSFORMS["encrypt"]
    parameters: dict[str, Any] = {"domain": "people", "encrypt_empty": True}
    hidden = cipher.apply(array, parameters, KEYS, context)
    alone = [cipher.apply(array.slice(row, 1), parameters, KEYS, context)[0].as_py() for row in range(0, len(array), 17)]
    assert hidden.to_pylist()[::17] == alone
    assert cipher.restore is not None
    assert cipher.restore(hidden, parameters, KEYS, context).equals(array)


@pytest.mark.parametrize("radix", [2, 10, 36, 62, 65_536])
def test_ff1_over_many_strings_gives_what_it_gives_for_each(radix: int) -> None:
    # both sides of the largest half that fits a word, and a tweak of more than a block
    cipher = FF1(bytes(range(32)), radix, b"tweak of more than sixteen bytes")
    for length in {2: (20, 64, 65), 10: (6, 7, 16, 18, 19), 36: (4, 11, 13), 62: (4, 10, 12), 65_536: (2, 4, 5)}[radix]:
        texts = RANDOM.integers(0, radix, (20, length), dtype=np.uint64)
        hidden = cipher.encrypt_all(texts)
        assert hidden.tolist() == [cipher.encrypt(text) for text in texts.tolist()]
        assert cipher.decrypt_all(hidden).tolist() == texts.tolist()


@pytest.mark.parametrize(
    ("values", "spark_type"),
    [
        ([f"{4_000_000_000_000_000 + row * 7919:016d}" for row in range(50)] + ["12-34 567é", "", None], "string"),
        ([f"ü{row:07d}-{'9' * (row % 20)}" for row in range(500)], "string"),
        ([(-1) ** row * 10 ** (6 + row % 12) + row for row in range(500)] + [None, 2**63 - 1], "bigint"),
    ],
)
def test_formats_kept_do_not_depend_on_the_batch_and_come_back(values: list[Any], spark_type: str) -> None:
    context, cipher, parameters = Context("c", spark_type), TRANSFORMS["encrypt"], {"cipher": "ff1"}
    array = pa.array(values, pa.string() if spark_type == "string" else pa.int64())
    hidden = cipher.apply(array, parameters, KEYS, context)
    assert hidden.to_pylist() == [
        cipher.apply(array.slice(row, 1), parameters, KEYS, context)[0].as_py() for row in range(len(array))
    ]
    part = array.slice(7, 30)
    assert cipher.apply(part, parameters, KEYS, context).to_pylist() == hidden.slice(7, 30).to_pylist()
    assert cipher.restore is not None
    assert cipher.restore(hidden, parameters, KEYS, context).equals(array)


def test_texts_by_length_come_back_in_order() -> None:
    texts = pa.array(["", "bb", "a", "ü", "ccc", "", "dd"] * 3).slice(2, 17)
    assert by_length(texts, strings).equals(texts)
    assert by_length(texts.slice(0, 0), strings).to_pylist() == []


@pytest.mark.parametrize("values", [list(range(5000)), [*range(1000), *[7] * 4000], [1, None, 1] * 900, [], [None] * 1500])
def test_values_that_all_differ_are_converted_without_encoding(values: list[int | None]) -> None:
    array, seen = pa.array(values, pa.int64()), []

    def convert(distinct: pa.Array) -> pa.Array:
        seen.append(distinct)
        return pa.array([value * 2 for value in distinct.to_pylist()], pa.int64())

    assert by_distinct(array, convert).to_pylist() == [None if value is None else value * 2 for value in values]
    assert not seen[0].null_count
    assert all_differ(array) == (len(set(values[:1000])) == 1000 and None not in values)
