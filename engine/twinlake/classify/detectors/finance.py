"""Bank and pay: BIC, ABA routing numbers, account numbers, CVV, PIN, card expiry, crypto addresses, salaries."""

from __future__ import annotations

import importlib
from functools import cache

from twinlake.classify.build import checked, patterned
from twinlake.classify.detector import Detector, Search
from twinlake.classify.detectors.national import by_digit, valid_by
from twinlake.classify.drawn import completed, shaped
from twinlake.classify.features import Gate

MONEY = "[$€£]? ?-?[0-9]{1,3}(?:[,. ']?[0-9]{3})*(?:[.,][0-9]{1,2})? ?(?:[$€£]|usd|eur|gbp)?"


def valid_bic(value: str) -> bool:
    """ISO 9362 by python-stdnum, with a country that exists."""
    return valid_by("bic")(value) and value[4:6].upper() in _countries()


def valid_crypto(value: str) -> bool:
    """Bitcoin addresses by their checksum (base58 or bech32), Ethereum ones by their shape."""
    return value.lower().startswith("0x") or valid_by("bitcoin")(value)


@cache
def _countries() -> frozenset[str]:
    from faker.providers.address import Provider
    from phonenumbers import SUPPORTED_REGIONS

    return frozenset([*Provider.alpha_2_country_codes, *SUPPORTED_REGIONS, "XK", "TF", "AQ"])


def _bitcoin(body: str) -> str:
    b58 = importlib.import_module("stdnum.bitcoin")
    import hashlib

    raw = b"\x00" + hashlib.sha256(body.encode()).digest()[:20]
    number = int.from_bytes(raw + hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4], "big")
    out = ""
    while number:
        number, digit = divmod(number, 58)
        out = b58._base58_alphabet[digit] + out
    return "1" + out


FINANCE: tuple[Detector, ...] = (
    checked(
        "SWIFT_CODE", "(?i:[a-z]{4}[a-z]{2}[0-9a-z]{2}(?:[0-9a-z]{3})?)", valid_bic,
        ("swift", "bic", "swift code", "swift bic", "bic code", "swiftbic", "bic swift"),
        completed(shaped("AAAAXXXXX", "bic"), lambda t: f"{t[:4]}DE{t[4:6]}{t[6:9]}"), 10**9,
            alone="[A-Z]{6}[0-9A-Z]{2}(?:[0-9A-Z]{3})?", ignore_case=False,
        gate=Gate(8, 11, letters=(6, 11), spaces=(0, 0), ascii=True),
        searches=(Search("\\b[A-Z]{6}[0-9A-Z]{2}(?:[0-9A-Z]{3})?\\b",
            "(?i:\\b(?:swift|bic)(?:[ /-]?(?:bic|code|number))?(?: is| was)?[ :#=]{1,3})", 0.9),),
    ),
    checked(
        "ABA_ROUTING_NUMBER", "[0-9]{4}-?[0-9]{4}-?[0-9]", valid_by("us.rtn"),
        ("aba", "routing", "routing number", "aba routing number", "routing no", "rtn", "aba number", "bank routing number",
            "bank routing", "aba routing", "transit number", "routing transit number"),
        completed(shaped("02q99999", "aba"), by_digit("us.rtn")), 10**5, gate=Gate(9, 11, digits=(9, 9), letters=(0, 0),
            ascii=True),
        reads=("text", "number"),
        searches=(Search("\\b[0-9]{9}\\b",
            "\\b(?:aba|routing|rtn)(?:[ -](?:routing|transit))?(?: ?(?:no\\.?|number|#|num))?(?: is| was)?[ :#=]{1,3}", 0.9,
            ignore_case=True, gate=Gate(9, digits=(9, 1 << 30))),),
    ),
    patterned(
        "BANK_ACCOUNT", "[0-9a-z]{0,4}[0-9](?:[ -]?[0-9]){5,19}", (
            "account", "account number", "account no", "acct", "acct no", "acct number", "account num", "bank account",
                "bank account number",
            "acc no", "kontonummer", "konto", "numero de compte", "compte bancaire", "cuenta", "cuenta bancaria",
                "numero de cuenta", "conto",
            "bban", "rekeningnummer", "sort code account"),
        shaped("8999999999", "account"), 10**9, weak=True, gate=Gate(6, 34, digits=(6, 24)), reads=("text", "number"),
        against=("account id", "account name", "account holder", "account status", "account type", "account balance",
            "account manager", "account state", "account age"),
        searches=(Search("\\b[0-9]{6,17}\\b", "\\b(?:account|acct|a/c)(?: ?(?:no\\.?|number|#|num))?(?: is| was)?[ :#=]{1,3}",
            0.6, ignore_case=True, gate=Gate(8, digits=(6, 1 << 30))),),
    ),
    patterned(
        "CVV", "[0-9]{3,4}", ("cvv", "cvv2", "cvc", "cvc2", "csc", "card security code", "security code",
            "card verification value", "prufziffer", "cryptogramme"),
        shaped("999", "cvv"), 1000, weak=True, gate=Gate(1, 4, digits=(1, 4), letters=(0, 0)), reads=("text", "number"),
        searches=(Search("\\b[0-9]{3,4}\\b", "\\b(?:cvv2?|cvc2?|security code)(?: is| code)?[ :#=]{1,3}", 0.8,
            ignore_case=True),),
    ),
    patterned(
        "CARD_EXPIRY", "(?:0?[1-9]|1[0-2]) ?[-/] ?(?:20)?[0-9]{2}|20[0-9]{2}-(?:0[1-9]|1[0-2])(?:-[0-9]{2})?",
        ("card expiry", "expiry", "expiration", "expiry date", "expiration date", "cc expires", "card expires", "exp date",
            "valid thru", "expires", "card exp", "gultig bis", "ablaufdatum", "caducidad"),
        completed(shaped("8q", "expiry"), lambda t: f"0{t[0]}/2{t[1]}"), 60, weak=True, gate=Gate(4, 10, digits=(3, 8)),
        against=("passport", "contract", "coupon", "product", "policy"),
    ),
    patterned(
        "PIN", "[0-9]{4,8}", ("pin", "pin code", "pin number", "atm pin", "card pin", "geheimzahl"), shaped("9999", "pin"),
            10**4,
        weak=True, gate=Gate(3, 8, digits=(3, 8), letters=(0, 0)), reads=("text", "number"),
        searches=(Search("\\b[0-9]{4,6}\\b", "\\bpin(?: ?(?:code|number|no\\.?))?(?: is)?[ :#=]{1,3}", 0.6, ignore_case=True),),
    ),
    checked(
        "CRYPTO", "[13][1-9a-km-zA-HJ-NP-Z]{25,34}|(?:bc1|BC1)[0-9a-zA-Z]{25,62}|0x[0-9a-fA-F]{40}", valid_crypto,
        ("bitcoin", "btc", "wallet", "bitcoin address", "wallet address", "crypto address", "btc address", "ethereum address"),
        completed(shaped("mmmmmmmmmmmm", "btc"), _bitcoin), 10**12, ignore_case=False, gate=Gate(26, 64, spaces=(0, 0),
            ascii=True),
        searches=(Search("\\b(?:[13][1-9a-km-zA-HJ-NP-Z]{25,34}|bc1[0-9a-z]{25,62}|0x[0-9a-fA-F]{40})\\b", "", 0.9,
            gate=Gate(26)),),
    ),
    patterned(
        "SALARY", MONEY, ("salary", "wage", "annual salary", "base salary", "monthly income", "annual income",
            "yearly income", "gehalt", "salaire", "salario", "sueldo", "lohn", "compensation"),
        shaped("89900", "salary"), 900, weak=True, gate=Gate(1, 24, digits=(1, 20)), reads=("text", "number"),
            against=("hike", "percent", "band", "grade"),
    ),
)  # fmt: skip
