"""Numbers with check digits: published ones pass, and 20 valid and 20 near misses of each scheme by its own arithmetic.

The arithmetic is written here from each standard's public description, apart from the library that the detectors use:
`body -> whole number`. Near misses are the same numbers with another check digit, one digit less, and one more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from twinlake.classify.detectors import DETECTORS
from twinlake.classify.text import normalize

PUBLISHED = json.loads(Path(__file__).with_name("published_numbers.json").read_text(encoding="utf-8"))
SERIALS = [f"{(i * 7919 + 1234567) % 10**7:07}" for i in range(24)]
DATES = [(1951 + i, 1 + i % 12, 1 + i % 28) for i in range(24)]


def matched(entity: str, values: list[str]) -> list[bool]:
    return [bool(hit) for hit in DETECTORS[entity].match(normalize(pa.array(values, pa.string())))]


def dot(body: str, weights: str | tuple[int, ...]) -> int:
    return sum(int(a) * int(b) for a, b in zip(body, weights, strict=True))


def luhn(body: str) -> str:
    doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(body))]
    return body + str(-sum(d - 9 * (d > 9) for d in doubled) % 10)


def verhoeff(body: str) -> str:  # J. Verhoeff, Error detecting decimal codes, 1969
    def multiply(a: int, b: int) -> int:
        turn = (a + b) % 5 if b < 5 else (a + b - 5) % 5 + 5
        return turn if a < 5 else ((a - b) % 5 if b >= 5 else (a - 5 - b) % 5 + 5)

    permutation = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        permutation.append([permutation[-1][permutation[1][i]] for i in range(10)])
    check = 0
    for i, d in enumerate(reversed(body)):
        check = multiply(check, permutation[(i + 1) % 8][int(d)])
    return body + str(next(j for j in range(10) if multiply(check, j) == 0))


def iso7064_mod_11_10(body: str) -> str:
    product = 10
    for d in body:
        product = ((product + int(d)) % 10 or 10) * 2 % 11
    return body + str((11 - product) % 10)


def mod11(weights: tuple[int, ...], body: str, tens: str | None = None) -> str | None:
    rest = dot(body, weights) % 11
    return None if rest == 10 and tens is None else body + (tens or "0" if rest == 10 else str(rest))


def estonian(body: str) -> str:
    for weights in ((1, 2, 3, 4, 5, 6, 7, 8, 9, 1), (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)):
        if (rest := dot(body, weights) % 11) < 10:
            return body + str(rest)
    return body + "0"


def cpf(body: str) -> str:
    for length in (10, 11):
        rest = dot(body, tuple(range(length, 1, -1))) % 11
        body += "0" if rest < 2 else str(11 - rest)
    return body


def turkish(body: str) -> str:
    tenth = (7 * sum(map(int, body[0::2])) - sum(map(int, body[1::2]))) % 10
    return f"{body}{tenth}{(sum(map(int, body)) + tenth) % 10}"


def complement11(weights: tuple[int, ...], body: str) -> str | None:
    digit = (11 - dot(body, weights) % 11) % 11
    return None if digit == 10 else body + str(digit)


def vin(serial: str) -> str:
    text = "1HGBH41JX" + "MN" + serial[:6]
    values = dict(
        zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9), strict=True)
    )
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    rest = (
        sum((values.get(ch) or int(ch) if ch in values or ch.isdigit() else 0) * w for ch, w in zip(text, weights, strict=True))
        % 11
    )
    return text[:8] + ("X" if rest == 10 else str(rest)) + text[9:]


def ymd(i: int) -> str:
    year, month, day = DATES[i]
    return f"{year % 100:02}{month:02}{day:02}"


def dmy(i: int) -> str:
    year, month, day = DATES[i]
    return f"{day:02}{month:02}{year % 100:02}"


NIF = "TRWAGMYFPDXBNJZSQVHLCKE"
HETU = "0123456789ABCDEFHJKLMNPRSTUVWXY"
# entity -> i-th number, or None where a body has no check digit
MADE: dict[str, Callable[[int], str | None]] = {
    "CREDIT_CARD": lambda i: luhn("45320151" + SERIALS[i]),
    "IMEI": lambda i: luhn("3520990" + SERIALS[i]),
    "CA_SIN": lambda i: luhn("1" + SERIALS[i]),
    "ZA_ID": lambda i: luhn(ymd(i) + "5" + SERIALS[i][:3] + "08"),
    "SE_PERSONNUMMER": lambda i: luhn(ymd(i) + SERIALS[i][:3]),
    "US_NPI": lambda i: luhn("80840" + "12" + SERIALS[i])[5:],
    "IN_AADHAAR": lambda i: verhoeff("2341" + SERIALS[i]),
    "HR_OIB": lambda i: iso7064_mod_11_10("333" + SERIALS[i]),
    "UK_NHS": lambda i: complement11((10, 9, 8, 7, 6, 5, 4, 3, 2), "94" + SERIALS[i]),
    "NL_BSN": lambda i: mod11((9, 8, 7, 6, 5, 4, 3, 2), "1" + SERIALS[i]),
    "PL_PESEL": lambda i: ymd(i) + SERIALS[i][:4] + str(-dot(ymd(i) + SERIALS[i][:4], "1379137913") % 10),
    "BG_EGN": lambda i: ymd(i) + SERIALS[i][:3] + str(dot(ymd(i) + SERIALS[i][:3], (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10),
    "EE_IK": lambda i: estonian("3" + ymd(i) + SERIALS[i][:3]),
    "LT_ASMENS": lambda i: estonian("4" + ymd(i) + SERIALS[i][:3]),
    "RO_CNP": lambda i: (b := "1" + ymd(i) + "40" + SERIALS[i][:3]) + str(min(dot(b, "279146358279") % 11, 10)).replace("10",
        "1"),
    "TR_TCKN": lambda i: turkish("12" + SERIALS[i]),
    "BR_CPF": lambda i: cpf("11" + SERIALS[i]),
    "BE_NRN": lambda i: (b := ymd(i) + SERIALS[i][:3]) + f"{97 - int(b) % 97:02}",
    "FR_NIR": lambda i: (b := "1" + ymd(i)[:4] + "75116" + SERIALS[i][:3]) + f"{97 - int(b) % 97:02}",
    "CH_AHV": lambda i: (b := "75612" + SERIALS[i]) + str(-dot(b, "131313131313") % 10),
    "TH_TNIN": lambda i: (b := "11014" + SERIALS[i]) + str((11 - dot(b, tuple(range(13, 1, -1))) % 11) % 10),
    "CN_RIC": lambda i: (b := "11010519" + ymd(i) + SERIALS[i][:3]) + "10X98765432"[dot(b, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7,
        9, 10, 5, 8, 4, 2)) % 11],
    "KR_RRN": lambda i: (b := ymd(i) + "10" + SERIALS[i][:4]) + str((11 - dot(b, "234567892345") % 11) % 10),
    "ES_NIF": lambda i: (b := "1" + SERIALS[i]) + NIF[int(b) % 23],
    "ES_NIE": lambda i: "X" + SERIALS[i] + NIF[int(SERIALS[i]) % 23],
    "FI_PERSONAL_IDENTITY_CODE": lambda i: f"{dmy(i)}-{SERIALS[i][3:6]}" + HETU[int(dmy(i) + SERIALS[i][3:6]) % 31] if int(SERIALS[i][3:6]) in range(2,  # noqa: E501
        900) else None,
    "CL_RUT": lambda i: (b := "12" + SERIALS[i][:6]) + "-" + "0K987654321"[dot(b[::-1], "23456723") % 11],
    "AR_CUIT": lambda i: complement11((5, 4, 3, 2, 7, 6, 5, 4, 3, 2), "20" + "1" + SERIALS[i]),
    "IL_ID": lambda i: luhn("3" + SERIALS[i]),
    "ABA_ROUTING_NUMBER": lambda i: (b := "0" + SERIALS[i].replace("9",
        "3")) and (b[:1] + "21" + b[3:]) + str(-dot(b[:1] + "21" + b[3:], "37137137") % 10),
    "MEDICAL_LICENSE": lambda i: "AB" + (b := SERIALS[i][:6]) + str((int(b[0]) + int(b[2]) + int(b[4]) + 2 * (int(b[1]) + int(b[3]) + int(b[5]))) % 10),  # noqa: E501
    "AU_TFN": lambda i: mod11_tfn("1" + SERIALS[i]),
    "AU_MEDICARE": lambda i: (b := "2" + SERIALS[i]) + str(dot(b, "13791379") % 10) + "1",
    "VIN": lambda i: vin(SERIALS[i]),
    "SG_NRIC_FIN": lambda i: "S" + SERIALS[i] + "JZIHGFEDCBA"[dot(SERIALS[i], "2765432") % 11],
    "IE_PPS": lambda i: SERIALS[i] + "WABCDEFGHIJKLMNOPQRSTUV"[dot(SERIALS[i], "8765432") % 23],
    "TW_ID": lambda i: (b := "A1" + SERIALS[i]) + str(-(1 + dot("0" + b[1:], (9, 8, 7, 6, 5, 4, 3, 2, 1))) % 10),
}  # fmt: skip


def mod11_tfn(body: str) -> str | None:
    digits = [d for d in range(10) if dot(body + str(d), (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0]
    return body + str(digits[0]) if digits else None


def numbers(entity: str) -> list[str]:
    return [number for i in range(24) if (number := MADE[entity](i)) is not None]


@pytest.mark.parametrize("entity", sorted(PUBLISHED["valid"]))
def test_published_numbers_pass(entity: str) -> None:
    values = PUBLISHED["valid"][entity]
    assert [v for v, hit in zip(values, matched(entity, values), strict=True) if not hit] == []


@pytest.mark.parametrize("entity", sorted(PUBLISHED["invalid"]))
def test_published_counterexamples_do_not(entity: str) -> None:
    values = PUBLISHED["invalid"][entity]
    assert [v for v, hit in zip(values, matched(entity, values), strict=True) if hit] == []


@pytest.mark.parametrize("entity", sorted(MADE))
def test_numbers_of_the_standard_pass_in_three_spellings(entity: str) -> None:
    values = numbers(entity)
    wide = [v.translate({ord(d): chr(0xFF10 + i) for i, d in enumerate("0123456789")}) for v in values]
    assert len(set(values)) >= 15
    for spelling in (values, wide, [f"\u00a0{v}\u200b " for v in values]):
        assert [v for v, hit in zip(spelling, matched(entity, spelling), strict=True) if not hit] == []


@pytest.mark.parametrize("entity", sorted(MADE))
def test_near_misses_do_not(entity: str) -> None:
    place = {"VIN": 8, "AU_MEDICARE": -2}.get(entity, -1)
    wrong = []
    for value in numbers(entity)[:5]:
        given = value[place]
        others = "0123456789" if given.isdigit() else "ABCDEFGHIJKLMNPQRSTUVWXYZ"
        for other in others:
            if other != given:
                wrong.append(value[:place] + other + (value[place + 1 :] if place != -1 else ""))
    assert len(wrong) >= 20
    assert [v for v, hit in zip(wrong, matched(entity, wrong), strict=True) if hit] == []


@pytest.mark.parametrize("entity", ["CREDIT_CARD", "ES_NIF", "IN_AADHAAR", "NL_BSN", "PL_PESEL", "UK_NHS"])
def test_swaps_that_the_check_promises_to_catch(entity: str) -> None:
    wrong = []
    for value in numbers(entity)[:8]:
        for i in range(len(value) - 2):
            a, b = value[i], value[i + 1]
            if a != b and a.isdigit() and b.isdigit() and abs(int(a) - int(b)) not in (5, 9):  # Luhn and 1-3-7-9 miss those
                wrong.append(value[:i] + b + a + value[i + 2 :])
    assert len(wrong) >= 20
    assert [v for v, hit in zip(wrong, matched(entity, wrong), strict=True) if hit] == []


def test_every_entity_with_a_check_is_here() -> None:
    cases = json.loads(Path(__file__).with_name("detector_cases.json").read_text(encoding="utf-8"))
    covered = {*MADE, *(e for e, values in PUBLISHED["valid"].items() if values), *cases["valid"]}
    assert {e for e, d in DETECTORS.items() if d.strength == "checksum"} <= covered
