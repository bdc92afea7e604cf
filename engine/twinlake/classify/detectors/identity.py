"""Documents and accounts of people: passports, driver licenses, licenses, ids of customers, user names, handles, vehicles."""

from __future__ import annotations

import pyarrow as pa

from twinlake.classify.build import checked, patterned
from twinlake.classify.detector import Detector, Keys, Mask, Search, matches
from twinlake.classify.detectors.names import first_name_of, last_index, person_words
from twinlake.classify.drawn import completed, shaped
from twinlake.classify.fakes import digits, draw, joined, pick
from twinlake.classify.features import Gate

VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8,
    9, *range(10)], strict=True))  # fmt: skip
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
CODE = "[0-9a-z](?:[-_./# ]?[0-9a-z]){1,23}"
HANDLE = "@[a-z0-9_](?:[a-z0-9_.]{0,28}[a-z0-9_])?"
USER = "[a-z0-9](?:[a-z0-9]|[._-][a-z0-9]){2,38}"
PLATES = (
    "[a-z]{1,3}[- ·]?[a-z]{1,2}[- ]?[0-9]{1,4}[eh]?|[a-z]{2}[0-9]{2} ?[a-z]{3}|[a-z]{2}-?[0-9]{3}-?[a-z]{2}|[0-9]{4} ?[b-z]{3}"
    "|[a-z]{3}[- ]?[0-9]{3,4}|[0-9]{3}[- ]?[a-z]{3}|[0-9][a-z]{3}[0-9]{3}|[a-z]{2}[- ]?[0-9]{2}[- ]?[a-z]{1,2}[- ]?[0-9]{4}"
    "|[a-z]{3} ?[0-9][a-z][0-9]{2}|[a-z]{1,2}[- ]?[0-9]{3,6}|[0-9]{1,3}[- ]?[a-z]{1,3}[- ]?[0-9]{1,4}"
)


def vin_digit(vin: str) -> str:
    """The ninth character of a VIN (49 CFR 565)."""
    total = sum(VIN_VALUES[ch] * w for ch, w in zip(vin, VIN_WEIGHTS, strict=True)) % 11
    return "X" if total == 10 else str(total)


def valid_vin(value: str) -> bool:
    """Right ninth character. Makers outside North America need not set it, so a column of theirs shows one in eleven."""
    vin = value.upper()
    return vin[8] == vin_digit(vin) and any(ch.isdigit() for ch in vin) and len(set(vin)) > 4


def match_username(values: pa.StringArray) -> Mask:
    """One word of letters and digits, dots and dashes between: many things are, so a header must speak."""
    return matches(values, USER, ignore_case=True) & matches(values, ".*[A-Za-z].*")


def match_handle(values: pa.StringArray) -> Mask:
    """@ and a word, or the address of a profile."""
    link = (
        "(?:https?://)?(?:www\\.)?(?:twitter|x|instagram|facebook|tiktok|linkedin|github|threads)\\.(?:com"
        "|net)/(?:in/|@)?[a-z0-9_.-]{2,50}/?"
    )
    return matches(values, f"{HANDLE}|{link}", ignore_case=True)


def fake_username(keys: Keys) -> pa.StringArray:
    """Letters of the same person's name and four digits."""
    female, male, last = person_words(slug=True)
    return joined(first_name_of(keys, female, male), pick(last, last_index(keys)), digits(draw(keys, "user digits", 10_000), 4))


def fake_handle(keys: Keys) -> pa.StringArray:
    """@ and the user name."""
    return joined("@", fake_username(keys))


def _vin(body: str) -> str:
    vin = "1HG" + body[:5] + "0" + body[5:]
    return vin[:8] + vin_digit(vin) + vin[9:]


IDENTITY: tuple[Detector, ...] = (
    patterned(
        "PASSPORT", "[a-z]{0,3}[0-9]{6,9}[a-z]{0,2}|[cfghjk][0-9cfghjklmnprtvwxyz]{8}", ("passport", "passport number",
            "passport no", "passport num", "reisepass", "reisepassnummer", "passnummer", "passeport", "numero de passeport",
            "pasaporte", "numero de pasaporte", "passaporto", "passaporte", "us passport"),
        shaped("A99999999", "passport"), 10**9, weak=True, gate=Gate(6, 13, digits=(1, 9), spaces=(0, 0), ascii=True),
            reads=("text", "number"), against=("expiry", "expiration", "date", "country"),
        searches=(Search("\\b[A-Z]{0,2}[0-9]{6,9}\\b",
            "\\b(?:passport|reisepass|passeport|pasaporte)(?: ?(?:no\\.?|number|#|num|nr\\.?))?(?: is)?[ :#=]{1,3}", 0.85,
            ignore_case=True, gate=Gate(10, digits=(6, 1 << 30))),),
    ),
    patterned(
        "DRIVER_LICENSE", "[a-z0-9](?:[- ]?[a-z0-9]){4,19}", ("driver license", "drivers license", "driver license number",
            "drivers license number", "driver licence", "driving licence", "driving license", "license number",
            "licence number", "dl", "dl number", "dl no", "fuhrerschein", "fuhrerscheinnummer", "permis de conduire",
            "permis", "licencia de conducir", "carnet de conducir", "patente", "rijbewijs"),
        shaped("A9999999", "license"), 10**8, weak=True, gate=Gate(5, 30, digits=(3, 20)), reads=("text", "number"),
            against=("software", "license plate", "expiry", "date", "type", "product"),
        searches=(Search("\\b[A-Z0-9](?:-?[A-Z0-9]){5,18}\\b",
            "\\b(?:driver'?s?|driving)[ '\u2019]?s? (?:license|licence)(?: ?(?:no\\.?|number|#|num))?(?: is)?[ :#=]{1,3}",
            0.85, ignore_case=True, gate=Gate(10, digits=(4, 1 << 30))),),
    ),
    patterned(
        "LICENSE_NUMBER", "[a-z0-9](?:[-/. ]?[a-z0-9]){3,24}", ("certificate number", "certificate license number",
            "certificate no", "professional license", "license no", "licence no", "permit number", "permit no",
            "registration certificate", "medical license number", "bar number", "certification number"),
        shaped("999999", "certificate", "LIC-"), 10**6, weak=True, gate=Gate(4, 40, digits=(2, 20)), reads=("text", "number"),
    ),
    patterned(
        "CUSTOMER_ID", CODE, ("customer id", "customerid", "customer number", "customer no", "cust id", "custid", "client id",
            "client number", "client no", "member id", "membership number", "kundennummer", "kunden id", "kundennr",
            "numero de client", "numero de cliente", "id cliente", "cliente id", "customer key", "customer code",
            "loyalty number", "guest id", "subscriber number", "patron id", "account id", "person id"),
        shaped("99999999", "customer", "C"), 10**8, weak=True, gate=Gate(1, 48, digits=(0, 24)), reads=("text", "number"),
    ),
    patterned(
        "EMPLOYEE_ID", CODE, ("employee id", "employeeid", "employee number", "employee no", "emp id", "empid", "emp no",
            "emp number", "staff id", "staff number", "worker id", "personnel number", "personalnummer", "mitarbeiternummer",
            "matricule", "numero de empleado", "badge number", "badge id", "student id", "student number"),
        shaped("999999", "employee", "E"), 10**6, weak=True, gate=Gate(1, 48, digits=(0, 24)), reads=("text", "number"),
    ),
    patterned(
        "USER_ID", CODE, ("user id", "userid", "uid", "user key", "benutzer id", "id usuario", "visitor id", "profile id"),
            shaped("99999999", "user id", "U"), 10**8, weak=True,
        gate=Gate(1, 48), reads=("text", "number"),
    ),
    Detector(
        "USER_NAME", match_username, ("user name", "username", "user", "login", "login name", "login id", "user login",
            "screen name", "nick", "nickname", "benutzername", "benutzer", "nom d utilisateur", "identifiant", "usuario",
            "nombre de usuario", "utente", "nome utente", "gebruikersnaam", "userid", "account name", "display name"), "weak",
        fake_username, 10**8, alone=lambda values: matches(values, "[A-Za-z]?[a-z]{2,}[a-z._-]*[0-9]{0,6}"), gate=Gate(3, 80,
            letters=(1, 1 << 30), spaces=(0, 0)), against=("last login", "login count", "login date", "logins", "user agent",
            "user type"), rule="codes",
    ),
    Detector(
        "SOCIAL_HANDLE", match_handle, ("handle", "twitter", "twitter handle", "instagram", "instagram handle", "facebook",
            "facebook id", "linkedin", "social handle", "social media", "tiktok", "snapchat", "telegram", "skype", "skype id",
            "github", "social", "x handle"), "pattern",
        fake_handle, 10**8, alone=match_handle, gate=Gate(3, 120, some="@/", spaces=(0, 0)),
        searches=(Search(HANDLE, "(?:^|[\\s(,;:])", 0.7, ignore_case=True, gate=Gate(3, needs="@")),),
    ),
    checked(
        "VIN", "[a-hj-npr-z0-9]{17}", valid_vin, ("vin", "vin number", "vin no", "vehicle identification number",
            "vehicle identifier", "vehicle id", "chassis number", "chassis", "fahrgestellnummer", "fin", "bastidor",
            "telaio"),
        completed(shaped("BB999B99999999"[:13], "vin"), _vin), 10**9, gate=Gate(17, 17, digits=(3, 16), ascii=True),
            shape=lambda values: matches(values, "[a-hj-npr-z0-9]{17}", ignore_case=True) & matches(values, ".*[0-9]{4}"),
        searches=(Search("\\b[A-HJ-NPR-Z0-9]{17}\\b", "", 0.85, gate=Gate(17, digits=(3, 1 << 30))),),
    ),
    patterned(
        "LICENSE_PLATE", PLATES, ("license plate", "licence plate", "plate", "plate number", "plate no", "number plate",
            "registration plate", "vehicle plate", "vehicle registration", "reg plate", "kennzeichen", "kfz kennzeichen",
            "immatriculation", "plaque", "matricula", "targa", "placa", "kenteken", "registration number", "car plate",
            "vehicle reg"),
        shaped("AB99 AAA", "plate"), 10**7,
            alone="[A-Z]{2}[0-9]{2} [A-Z]{3}|[A-Z]{2}-[0-9]{3}-[A-Z]{2}|[A-Z]{1,3}[- ][A-Z]{1,2} [0-9]{1,4}[EH]?"
            "|[0-9]{4} [B-Z]{3}", gate=Gate(4, 13, digits=(1, 6), letters=(1, 7), ascii=False),
        against=("name", "type", "model"),
        searches=(Search("\\b[A-Z0-9]{1,4}[- ]?[A-Z0-9]{2,4}(?:[- ]?[A-Z0-9]{1,4})?\\b",
            "(?i:\\b(?:licen[cs]e plate|number plate|plate number|kennzeichen|immatriculation)(?: ?(?:no\\.?"
            "|number|#))?(?: is)?[ :#=]{1,3})", 0.8, gate=Gate(8, digits=(1, 1 << 30))),),
    ),
)  # fmt: skip
