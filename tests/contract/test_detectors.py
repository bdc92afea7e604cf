"""What every registered detector must keep: valid values, near misses, chance, hostile text, fakes."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from stdnum import iban, luhn
from stdnum.us import ssn

from twinlake.classify.detector import Detector
from twinlake.classify.detectors import DETECTORS
from twinlake.classify.features import features
from twinlake.classify.text import normalize
from twinlake.core.seeds import generator

CASES = json.loads(Path(__file__).with_name("detector_cases.json").read_text(encoding="utf-8"))
VALID: dict[str, list[str]] = CASES["valid"]
NEAR_MISSES: dict[str, list[str]] = CASES["near_misses"]
FALSE_ALARMS = {"checksum": 0.0005, "pattern": 0.002, "dictionary": 0.01, "weak": 0.01}
"""Bound on the share of random strings (1 to 24 letters, digits and punctuation) that match, by strength."""
OWN_BOUNDS = {"SOCIAL_HANDLE": 0.01, "USER_NAME": 0.03}
"""One random string in 68 begins with @; and a short word is a user name as good as any."""
KEYS = np.arange(100_000, dtype=np.uint64)
FEWER = 3000
HOSTILE = (
    "a",
    "1",
    "1-",
    "1 ",
    "a@",
    "a.",
    "a.b@",
    "1.",
    "::",
    "0:",
    "http://",
    "(1",
    "é",
    "\u200b",
    "a b ",
    "+1 ",
    "4111 ",
    "/1",
)

every = pytest.mark.parametrize("detector", DETECTORS.values(), ids=DETECTORS.keys())
cased = pytest.mark.parametrize("detector", [DETECTORS[entity] for entity in VALID], ids=VALID.keys())


def matched(detector: Detector, values: list[str]) -> list[bool]:
    return list(detector.match(normalize(pa.array(values, pa.string()))))


def test_there_are_twenty_cases_of_each() -> None:
    assert set(VALID) == set(NEAR_MISSES) <= set(DETECTORS)
    assert all(len(set(cases)) >= 20 for group in (VALID, NEAR_MISSES) for cases in group.values())


@cased
def test_valid_values_match(detector: Detector) -> None:
    values = VALID[detector.entity]
    missed = [v for v, hit in zip(values, matched(detector, values), strict=True) if not hit]
    assert not missed


@cased
def test_near_misses_do_not_match(detector: Detector) -> None:
    values = NEAR_MISSES[detector.entity]
    wrong = [v for v, hit in zip(values, matched(detector, values), strict=True) if hit]
    assert not wrong


@every
def test_random_strings_rarely_match(detector: Detector) -> None:
    random = generator(11)
    letters = np.array(list(string.ascii_letters + string.digits + " .-_@:/"))
    values = ["".join(random.choice(letters, random.integers(1, 25))) for _ in range(10_000)]
    # what cannot decide without a header may match anything: the header and the share decide then
    alone = detector.alone or (lambda some: np.zeros(len(some), dtype=np.bool_))
    bound = FALSE_ALARMS[detector.strength] if detector.rule == "share" else FALSE_ALARMS["weak"]
    bound = OWN_BOUNDS.get(detector.entity, bound)
    assert np.mean(alone(normalize(pa.array(values)))) <= bound


@every
def test_the_gate_refuses_nothing_that_matches(detector: Detector) -> None:
    values = normalize(pa.array([*VALID.get(detector.entity, []), *detector.fake(KEYS[:300]).to_pylist()], pa.string()))
    matching = values.filter(pa.array(detector.match(values)))
    assert detector.gate.passes(features(matching)).all()


@every
def test_null_and_empty_do_not_match(detector: Detector) -> None:
    assert not detector.match(pa.array([None, ""], pa.string())).any()


@pytest.mark.timeout(120)
@every
def test_hostile_text_ends(detector: Detector) -> None:
    # a fraction of a second; work that grows with the square of the length would hang
    detector.match(normalize(pa.array([(piece * 100_000)[:100_000] + "!" for piece in HOSTILE])))


@every
def test_fakes_match_their_detector(detector: Detector) -> None:
    hits = detector.match(normalize(detector.fake(KEYS[:1_000])))
    assert hits.mean() >= (0.99 if detector.strength in ("checksum", "pattern") else 0.95)


@every
def test_fakes_are_a_function_of_the_key(detector: Detector) -> None:
    keys = KEYS[:1000]
    whole = detector.fake(keys)
    assert isinstance(whole, pa.StringArray)
    assert whole.null_count == 0
    assert detector.fake(keys[::-1]).to_pylist() == whole.to_pylist()[::-1]
    assert detector.fake(keys[500:]).to_pylist() == whole.to_pylist()[500:]
    assert len(detector.fake(keys[:0])) == 0


@every
def test_the_stated_space_of_fakes_is_there(detector: Detector) -> None:
    # with n draws from s equally likely values, s (1 - exp(-n/s)) different ones are expected
    space, keys = min(detector.space, 10**9), KEYS[:FEWER]
    expected = space * -np.expm1(-len(keys) / space)
    assert len(detector.fake(keys).unique()) >= 0.95 * expected


@pytest.mark.parametrize("entity", ["EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "UUID", "MAC_ADDRESS", "URL"])
def test_fakes_of_identifiers_hardly_repeat(entity: str) -> None:
    assert len(DETECTORS[entity].fake(KEYS).unique()) >= 0.99 * len(KEYS)


def test_fake_checksums_are_right() -> None:
    def fake(entity: str) -> list[str]:
        return DETECTORS[entity].fake(KEYS[:2000]).to_pylist()

    assert all(luhn.is_valid(v) for v in fake("CREDIT_CARD"))
    assert all(iban.is_valid(v) for v in fake("IBAN_CODE"))
    assert all(ssn.is_valid(v) for v in fake("US_SSN"))


def test_every_wrong_check_digit_is_refused() -> None:
    card, account = "4111111111111111", "DE89370400440532013000"
    assert not any(matched(DETECTORS["CREDIT_CARD"], [card[:-1] + d for d in "023456789"]))
    assert not any(matched(DETECTORS["IBAN_CODE"], ["DE" + f"{n:02}" + account[4:] for n in range(100) if n != 89]))
    swapped = [
        account[:i] + account[i + 1] + account[i] + account[i + 2 :] for i in range(4, 21) if account[i] != account[i + 1]
    ]
    assert not any(matched(DETECTORS["IBAN_CODE"], swapped))


def test_foreign_digits_spaces_and_dashes_are_read() -> None:
    assert (
        matched(
            DETECTORS["CREDIT_CARD"],
            [
                "4111\u00a01111\u00a01111\u00a01111",
                "４１１１１１１１１１１１１１１１",
                "4111\u20131111\u20131111\u20131111",
            ],
        )
        == [True] * 3
    )
    assert matched(DETECTORS["US_SSN"], ["٥٣٦-٩٠-٤٣٩٩", "536\u200b-90-4399", " 536-90-4399 "]) == [True] * 3
    assert matched(DETECTORS["IBAN_CODE"], ["DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000"]) == [True]


def test_the_fakes_of_one_key_are_one_person() -> None:
    def fake(entity: str) -> list[str]:
        return DETECTORS[entity].fake(KEYS[:500]).to_pylist()

    people = zip(*map(fake, ("FIRST_NAME", "LAST_NAME", "PERSON", "EMAIL_ADDRESS", "GENDER")), strict=True)
    gender: dict[str, str] = {}
    for first, last, person, email, sex in people:
        assert person == f"{first} {last}"
        assert email.startswith(f"{first}.{last}".lower())
        assert gender.setdefault(first, sex) == sex


def test_the_fakes_of_one_key_are_one_place() -> None:
    def fake(entity: str) -> list[str]:
        return DETECTORS[entity].fake(KEYS[:5000]).to_pylist()

    states: dict[tuple[str, str], str] = {}
    for city, state, postal, country in zip(*map(fake, ("CITY", "US_STATE", "POSTAL_CODE", "COUNTRY")), strict=True):
        assert states.setdefault((city, postal[:3]), state) == state
        assert country == "United States"
    assert states["Seattle", "981"] == "WA"


def test_pinned_fakes() -> None:
    """These must never change: surrogates of an earlier run have to come out again."""
    keys = np.array([0, 1, 2**64 - 1], dtype=np.uint64)
    assert DETECTORS["PERSON"].fake(keys).to_pylist()[:2] == ["Roger Sheppard", "Deanna Odonnell"]
    assert DETECTORS["CREDIT_CARD"].fake(keys).to_pylist()[:2] == ["4000000541034023", "2223004877903384"]
    assert DETECTORS["CITY"].fake(keys).to_pylist()[:2] == ["Topeka", "Tulsa"]
