"""Spans: every occurrence, in characters of the text as given, without overlap; linear; no value in errors."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest

from twinlake.classify.detector import Detector, Keys, Mask, Search
from twinlake.classify.spans import find_spans
from twinlake.core.errors import DataError

FOUND = [
    ("write to jane.doe+tag@example.org, or bob@example.com.", [("EMAIL_ADDRESS", "jane.doe+tag@example.org"),
        ("EMAIL_ADDRESS", "bob@example.com")]),
    ("call (212) 555-0123 or +44 20 7946 0958 today", [("PHONE_NUMBER", "(212) 555-0123"), ("PHONE_NUMBER",
        "+44 20 7946 0958")]),
    ("paid with 4111 1111 1111 1111, refunded to DE89 3704 0044 0532 0130 00", [("CREDIT_CARD", "4111 1111 1111 1111"),
        ("IBAN_CODE", "DE89 3704 0044 0532 0130 00")]),
    ("card 4111\u00a01111\u00a01111\u00a01111 and ４１１１１１１１１１１１１１１１", [("CREDIT_CARD", "4111\u00a01111\u00a01111\u00a01111"),  # noqa: E501
        ("CREDIT_CARD", "４１１１１１１１１１１１１１１１")]),
    ("my ssn is 536-90\u200b-4399.", [("US_SSN", "536-90\u200b-4399")]),
    ("the test number 078-05-1120 is labelled too", [("US_SSN", "078-05-1120")]),
    ("é é 10.0.0.1 and 2001:db8::1 é", [("IP_ADDRESS", "10.0.0.1"), ("IP_ADDRESS", "2001:db8::1")]),
    ("see https://example.org/a?b=c for it", [("URL", "https://example.org/a?b=c")]),
    ("key AKIAIOSFODNN7EXAMPLE leaked", [("AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE")]),
    ("passport number: C01X00T47 and driver's license number is D1234567", [("DRIVER_LICENSE", "D1234567")]),
    ("MRN: 00123456, NPI 1234567893", [("MEDICAL_RECORD_NUMBER", "00123456"), ("US_NPI", "1234567893")]),
    ("password: hunter2!x", [("PASSWORD", "hunter2!x")]),
    ("at 40.712800, -74.006000 on 2024-02-29", [("COORDINATES", "40.712800, -74.006000"), ("DATE_TIME", "2024-02-29")]),
    ("nothing here: order 4111111111111112, price 12.99", []),
    ("", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FOUND, ids=[text[:24] for text, _ in FOUND])
def test_what_is_found_and_where(text: str, expected: list[tuple[str, str]]) -> None:
    spans = find_spans(pa.array([text])).to_pylist()
    assert [(s["entity"], text[s["start"] : s["end"]]) for s in spans] == expected


def test_rows_nulls_and_order() -> None:
    table = find_spans(pa.array(["a@b.org", None, "", "x", "c@d.org then e@f.org"]))
    assert table["row"].to_pylist() == [0, 4, 4]
    assert table["start"].to_pylist() == [0, 0, 13]
    assert table.schema.types == [pa.int64(), pa.int32(), pa.int32(), pa.string(), pa.float32()]


def test_a_slice_of_an_array_is_searched_as_itself() -> None:
    whole = pa.array(["x@example.org", "nothing", "y@example.org é"])
    assert find_spans(whole.slice(1)).to_pylist() == find_spans(pa.array(whole.slice(1).to_pylist())).to_pylist()


def test_spans_do_not_overlap() -> None:
    texts = pa.array(["https://user:pw@example.org/4111111111111111?ip=10.0.0.1 card 4111111111111111 a@b.org"] * 3)
    spans = find_spans(texts).to_pylist()
    for first, second in pairwise(spans):
        assert first["row"] < second["row"] or first["end"] <= second["start"]


def test_surrogates_of_control_characters_are_harmless() -> None:
    text = "\x02a@b.org\x03 \x02\x03 c@d.org"
    spans = find_spans(pa.array([text])).to_pylist()
    assert [text[s["start"] : s["end"]] for s in spans] == ["a@b.org", "c@d.org"]


@pytest.mark.parametrize(
    "piece", ["a@b.org ", "1-", "4111 ", "a.", "@", "1.", "::", "+1 ", "é", "x=", "(1", "card 4111111111111111 "]
)
def test_hostile_text_ends(piece: str) -> None:
    # a few seconds; work that grows with the square of the length would hang
    spans = find_spans(pa.array([(piece * 100_000)[:100_000]])).to_pylist()
    assert all(first["end"] <= second["start"] for first, second in pairwise(spans))


def test_an_error_names_the_entity_and_no_value() -> None:
    def broken(values: pa.StringArray) -> Mask:
        raise ValueError(values[0].as_py())

    def fake(keys: Keys) -> pa.StringArray:
        return pa.array([""] * len(keys))

    detector = Detector("BROKEN", broken, (), "pattern", fake, 1, searches=(Search("[A-Z]+-[0-9a-f]+"),))
    with pytest.raises(DataError) as error:
        find_spans(pa.array(["see CANARY-7f3a"]), {"BROKEN": detector})
    assert "BROKEN" in str(error.value) and "CANARY" not in str(error.value)
