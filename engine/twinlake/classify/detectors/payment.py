"""Payment cards and bank accounts (IBAN), recognized by their checksums (python-stdnum).

A random number of 16 digits passes the card checksum one time in ten: whether a column holds cards is decided by share
(`decide.py`). Knows nothing of whether a card or an account was ever issued.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import pyarrow as pa
from stdnum import iban, luhn

from twinlake.classify.detector import Detector, Keys, Mask, Search, matches, narrowed
from twinlake.classify.fakes import Bytes, digit_matrix, draw, from_bytes, joined
from twinlake.classify.features import Gate

# lengths go with issuers: Amex 15, Diners 14, the others 16, Maestro 12 to 19
CARD = (
    "3[47][0-9]{13}|3(?:0[0-5]|[689][0-9])[0-9]{11}(?:[0-9]{2})?|35[0-9]{14}|(?:1800|2131)[0-9]{11}|4[0-9]{12}(?:[0-9]{3}){0,2}"
    "|(?:5[1-5]|2[2-7])[0-9]{14}|(?:50|5[6-8]|6[0-9])[0-9]{10,17}"
)
CARD_GROUPED = "[0-9]{4}(?:[ -][0-9]{4}){2,3}(?:[ -][0-9]{1,4})?|[0-9]{4}[ -][0-9]{6}[ -][0-9]{4,5}|[0-9]{12,19}"
IBAN = "[a-z]{2}[0-9]{2}(?:[ -]?[a-z0-9]){11,30}"
CARD_INSIDE = "\\b(?:[0-9]{4}[ -]){3}[0-9]{4}\\b|\\b3[47][0-9]{2}[ -][0-9]{6}[ -][0-9]{5}\\b|\\b[1-6][0-9]{12,18}\\b"
CARD_BEFORE = "\\b(?:cc|card)(?: ?(?:no\\.?|number|num|#))?(?: is| was|,)?[ :#=]{1,3}"
TEST_PREFIXES = np.array([400_000, 555_555, 222_300], dtype=np.int64)  # of the ranges in which processors place test cards
GERMANY = 131_400  # "DE00" as ISO 13616 counts it


def match_card(values: pa.StringArray) -> Mask:
    """12 to 19 digits, also grouped by spaces or dashes, with an issuer's prefix and length, that pass Luhn."""
    return narrowed(values, matches(values, CARD_GROUPED), _valid_card)


def match_iban(values: pa.StringArray) -> Mask:
    """IBANs of any country that python-stdnum knows: length, structure and check digits."""
    return narrowed(values, matches(values, IBAN, ignore_case=True), _valid_iban)


@lru_cache(maxsize=65536)
def _valid_card(value: str) -> bool:
    number = value.replace(" ", "").replace("-", "")
    return re.fullmatch(CARD, number, re.ASCII) is not None and len(set(number)) > 1 and luhn.is_valid(number)


@lru_cache(maxsize=65536)
def _valid_iban(value: str) -> bool:
    # national rules inside the account number are left out: they refuse examples of the IBAN registry itself
    return bool(iban.is_valid(value, check_country=False))


def luhn_digit(matrix: Bytes) -> Bytes:
    """The digit that completes each row of digits to a Luhn number: uint8 [n, 1]."""
    doubled = matrix[:, ::-1].astype(np.int64)
    doubled[:, ::2] *= 2
    doubled -= 9 * (doubled > 9)
    digit: Bytes = ((10 - doubled.sum(axis=1) % 10) % 10).astype(np.uint8)[:, None]
    return digit


def fake_card(keys: Keys) -> pa.StringArray:
    """16 digits with a prefix of the test ranges of Visa and Mastercard and a valid check digit."""
    prefix = TEST_PREFIXES[draw(keys, "card prefix", len(TEST_PREFIXES))]
    body = np.hstack([digit_matrix(prefix, 6), digit_matrix(draw(keys, "card", 10**9), 9)])
    return from_bytes(np.hstack([body, luhn_digit(body)]) + np.uint8(48))


def fake_iban(keys: Keys) -> pa.StringArray:
    """German IBANs with valid check digits and a bank code that begins with 9, which no bank has."""
    bank = draw(keys, "iban bank", 10**7) + 9 * 10**7
    account = draw(keys, "iban account", 10**10)
    rest = (bank % 97 * (10**10 % 97) + account % 97) % 97
    check = 98 - (rest * (10**6 % 97) + GERMANY % 97) % 97
    body = np.hstack([digit_matrix(check, 2), digit_matrix(bank, 8), digit_matrix(account, 10)])
    return joined("DE", from_bytes(body + np.uint8(48)))


PAYMENT = (
    Detector(
        "CREDIT_CARD",
        match_card,
        (
            "credit card",
            "card number",
            "card no",
            "credit card number",
            "cc",
            "cc number",
            "cc num",
            "ccnumber",
            "pan",
            "debit card",
            "kreditkarte",
            "kreditkartennummer",
            "kartennummer",
            "carte",
            "numero de carte",
            "carte bancaire",
            "tarjeta",
            "numero de tarjeta",
        ),
        "checksum",
        fake_card,
        3 * 10**9,
        alone=match_card,
        gate=Gate(12, 30, digits=(12, 19), letters=(0, 0), ascii=True),
        reads=("text", "number"),
        searches=(
            Search(CARD_INSIDE, score=0.9, gate=Gate(digits=(12, 1 << 30))),
            Search("[0-9]{12,19}\\b", CARD_BEFORE, 0.9, gate=Gate(digits=(12, 1 << 30)), ignore_case=True),
        ),
    ),
    Detector(
        "IBAN_CODE",
        match_iban,
        (
            "iban",
            "iban code",
            "bank account",
            "account number",
            "kontonummer",
            "bankverbindung",
            "compte bancaire",
            "cuenta bancaria",
            "konto",
        ),
        "checksum",
        fake_iban,
        10**17,
        alone=match_iban,
        gate=Gate(15, 50, digits=(2, 32), letters=(2, 30), ascii=True),
        searches=(
            Search(
                "\\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\\b", score=0.95, gate=Gate(digits=(2, 1 << 30))
            ),
        ),
    ),
)
