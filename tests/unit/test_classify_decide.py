"""Decisions on hand-made columns: neither a header nor a pattern alone decides."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from stdnum import luhn

from twinlake.classify.classify import classify_arrow
from twinlake.classify.decide import wilson
from twinlake.classify.detectors import DETECTORS
from twinlake.classify.header import support, tokens
from twinlake.classify.labels import Labels
from twinlake.core.seeds import generator

KEYS = np.arange(1000, dtype=np.uint64)


def entity_of(name: str, values: object, kind: str | None = None) -> str | None:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return classify_arrow(pa.table({name: array}), kinds={name: kind} if kind else None).columns[0].entity


def fake(entity: str, n: int = 1000) -> pa.StringArray:
    return DETECTORS[entity].fake(KEYS[:n])


def random_numbers(digits: int, n: int = 5000) -> pa.Array:
    return pa.array(generator(3).integers(10 ** (digits - 1), 10**digits, n))


# header, entity whose fakes fill the column, label
HEADED = [
    ("c17", "US_SSN", "US_SSN"),
    ("x", "EMAIL_ADDRESS", "EMAIL_ADDRESS"),
    ("x", "CREDIT_CARD", "CREDIT_CARD"),
    ("x", "IBAN_CODE", "IBAN_CODE"),
    ("x", "IP_ADDRESS", "IP_ADDRESS"),
    ("x", "UUID", "UUID"),
    ("x", "MAC_ADDRESS", "MAC_ADDRESS"),
    ("x", "URL", "URL"),
    ("x", "PHONE_NUMBER", "PHONE_NUMBER"),
    ("x", "STREET_ADDRESS", "STREET_ADDRESS"),
    ("x", "PERSON", "PERSON"),
    ("x", "FIRST_NAME", "FIRST_NAME"),
    ("x", "LAST_NAME", "LAST_NAME"),
    ("x", "CITY", "CITY"),
    ("x", "GENDER", "GENDER"),
    ("x", "BIRTH_DATE", "BIRTH_DATE"),
    ("x", "POSTAL_CODE", None),
    ("x", "US_STATE", "US_STATE"),
    ("x", "COUNTRY", None),
    ("sex", "GENDER", "GENDER"),
    ("Geschlecht", "GENDER", "GENDER"),
    ("dob", "BIRTH_DATE", "BIRTH_DATE"),
    ("hire_date", "BIRTH_DATE", "DATE_TIME"),
    ("created", "BIRTH_DATE", None),
    ("status", "GENDER", None),
    ("geburtsdatum", "BIRTH_DATE", "BIRTH_DATE"),
    ("fechaNacimiento", "BIRTH_DATE", "BIRTH_DATE"),
    ("date_de_naissance", "BIRTH_DATE", "BIRTH_DATE"),
    ("PLZ", "POSTAL_CODE", "POSTAL_CODE"),
    ("code_postal", "POSTAL_CODE", "POSTAL_CODE"),
    ("zipCode", "POSTAL_CODE", "POSTAL_CODE"),
    ("state", "US_STATE", "US_STATE"),
    ("pays", "COUNTRY", "COUNTRY"),
    ("Nachname", "LAST_NAME", "LAST_NAME"),
    ("prénom", "FIRST_NAME", "FIRST_NAME"),
    ("apellidos", "LAST_NAME", "LAST_NAME"),
    ("ciudad", "CITY", "CITY"),
    ("email_address", "EMAIL_ADDRESS", "EMAIL_ADDRESS"),
    ("customer_name", "PERSON", "PERSON"),
    ("home phone", "PHONE_NUMBER", "PHONE_NUMBER"),
    ("ip_address", "IP_ADDRESS", "IP_ADDRESS"),
]


@pytest.mark.parametrize(("header", "filled_with", "label"), HEADED)
def test_headers_and_values(header: str, filled_with: str, label: str | None) -> None:
    assert entity_of(header, fake(filled_with)) == label


WRONG = [
    ("ssn", [f"{i}.99" for i in range(500)]),
    ("email", ["yes", "no"] * 200),
    ("telephone", ["A191", "A192"] * 100),
    ("phone", ["yes", "no"] * 100),
    ("PhoneService", ["Yes", "No"] * 100),
    ("credit_card", ["Visa", "Amex"] * 100),
    ("purpose", ["A43", "A46"] * 100),
    ("housing", ["own", "rent", "free"] * 100),
    ("relationship", ["Husband", "Wife", "Own-child", "Not-in-family"] * 50),
    ("contact", ["cellular", "unknown"] * 50),
    ("month", ["jan", "may", "jun", "apr", "aug"] * 50),
    ("status", ["CA", "OK", "IN"] * 50),
    ("name", ["blue widget", "red widget"] * 50),
    ("city", ["A1", "B2"] * 50),
    ("gender", ["0", "1"] * 50),
    ("address", ["n", "y"] * 50),
    ("country_code", ["1", "44"] * 50),
    ("score", [str(i % 100) for i in range(500)]),
    ("year", [str(1950 + i % 70) for i in range(500)]),
    ("grade", ["M", "F"] * 50),
]


@pytest.mark.parametrize(("header", "values"), WRONG, ids=[header for header, _ in WRONG])
def test_a_header_alone_does_not_decide(header: str, values: list[str]) -> None:
    assert entity_of(header, values) is None


def test_census_words_need_the_header() -> None:
    colours = ["White", "Black", "Other"] * 50
    assert entity_of("race", colours) == "RACE"
    assert entity_of("c3", colours) is None
    assert entity_of("c3", [*colours, *["Asian", "Hispanic"] * 20]) == "RACE"


@pytest.mark.parametrize("name", ["order_no", "id", "credit_card"])
def test_order_numbers_are_not_cards(name: str) -> None:
    numbers = random_numbers(16)
    assert sum(map(luhn.is_valid, map(str, numbers.to_pylist()))) > 400
    assert entity_of(name, numbers) is None
    assert entity_of(name, numbers.cast(pa.string())) is None


def test_cards_with_some_junk_are_cards() -> None:
    values = fake("CREDIT_CARD").to_pylist()
    assert entity_of("x", values[:950] + ["declined"] * 50) == "CREDIT_CARD"
    assert entity_of("x", pa.array([int(v) for v in values])) == "CREDIT_CARD"


def test_numbers_of_nine_digits_need_a_header() -> None:
    bare = pa.array([int(v.replace("-", "")) for v in fake("US_SSN").to_pylist() if v[0] != "0"])
    assert entity_of("ssn", bare) == "US_SSN"
    assert entity_of("x", bare) is None


def test_small_numbers_are_no_postal_codes_without_header() -> None:
    values = pa.array(generator(4).integers(10_000, 99_999, 500))
    assert entity_of("amount", values) is None
    assert entity_of("zip", values) == "POSTAL_CODE"


def test_dates_by_type() -> None:
    days = pa.array([dt.date(1950, 1, 1) + dt.timedelta(days=31 * i) for i in range(500)])
    assert entity_of("birthDate", days) == "BIRTH_DATE"
    assert entity_of("created", days) is None
    assert entity_of("birthday", days.cast(pa.timestamp("us"))) == "BIRTH_DATE"


def test_missing_marks_are_no_evidence() -> None:
    values = fake("EMAIL_ADDRESS", 60).to_pylist() + [None, "", "N/A", "?"] * 200
    label = classify_arrow(pa.table({"x": values})).columns[0]
    assert (label.entity, label.non_null, label.sampled) == ("EMAIL_ADDRESS", 60, 860)


def test_text_contains() -> None:
    notes = ["call me at (212) 555-0123 please"] * 2 + ["my ssn is 536-90-4399."] + ["paid with 4111 1111 1111 1111 today"]
    label = classify_arrow(pa.table({"note": notes + ["nothing to see, order 4111111111111112"] * 96})).columns[0]
    assert label.entity is None
    assert label.contains == {"PHONE_NUMBER": 0.02, "US_SSN": 0.01, "CREDIT_CARD": 0.01}


def test_wilson_interval() -> None:
    # worked out by hand: (0.5 + 1.96^2 / 20 +- 1.96 sqrt(0.25 / 10 + 1.96^2 / 400)) / (1 + 1.96^2 / 10)
    assert wilson(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_header_words() -> None:
    assert tokens("customerFirstName2") == ("customer", "first", "name", "2")
    assert tokens("Geburts-Datum") == ("geburts", "datum")
    assert tokens("IPAddress") == ("ip", "address")
    assert tokens("prénom.légal") == ("prenom", "legal")
    phrases = ("first name",)
    assert [
        support(n, phrases) for n in ("FIRST_NAME", "firstname", "customer_first_name", "first name hash", "last name")
    ] == [1, 1, 1, 0.5, 0]


def test_labels_come_back_from_json_and_hold_no_value() -> None:
    table = pa.table(
        {"e": fake("EMAIL_ADDRESS"), "<b>": ["zz-canary-7f3a"] * 1000, "l": [["zz-canary-7f3a"]] * 1000, "b": [b"zz"] * 1000}
    )
    labels = classify_arrow(table)
    assert Labels.from_json(labels.to_json()) == labels
    shown = labels.to_json() + labels.to_table() + labels._repr_html_()
    assert "canary" not in shown and table["e"][0].as_py() not in shown
    assert "<b>" not in labels._repr_html_()
    assert "not looked into" in labels.to_table()


def test_known_test_numbers_are_labelled() -> None:
    assert entity_of("card_number", ["4111 1111 1111 1111"] * 50) == "CREDIT_CARD"
    assert entity_of("ssn", ["078-05-1120"] * 50) == "US_SSN"
