"""400 labelled columns in 40 small tables, half of them without personal data: from Faker and from lists here.

Everything follows from SEED and Faker's version. Values are messy on purpose: nulls (10 to 40%), words for missing values,
spaces around, mixed case, typos, several formats in a column; headers are in several languages, shortened, or misleading.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from faker import Faker
from stdnum import luhn
from stdnum.de import idnr
from stdnum.gb import nhs
from stdnum.us import ssn

SEED = 20_26
ROWS = 160
MISSING = ("N/A", "-", "", "null", "NULL", "n/a", "?", "unknown", "None")
LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE")

Random = Any
"""The seeded random.Random of a Faker."""
Make = Callable[[Faker, Random], str]


@dataclass(frozen=True)
class Labelled:
    """A table with the right answers of each column (none: nothing personal) and the kind of each."""

    name: str
    table: pa.Table
    right: tuple[frozenset[str], ...]
    kinds: tuple[str, ...]


def _date(day: dt.date, form: str) -> str:
    return day.strftime(form)


def _phone(f: Faker, r: Random) -> str:
    plain = f.phone_number()
    return plain if r.random() < 0.7 else plain.replace(" ", r.choice((".", "-", "")))


def _birth(f: Faker, r: Random) -> str:
    day = f.date_of_birth(minimum_age=18, maximum_age=92)
    return _date(day, "%Y-%m-%d" if r.random() < 0.8 else "%d.%m.%Y" if r.random() < 0.5 else "%d %b %Y")


def _email(f: Faker, r: Random) -> str:
    text = f.email() if r.random() < 0.6 else f.ascii_company_email()
    return text.upper() if r.random() < 0.1 else text


def _card(f: Faker, r: Random) -> str:
    number = f.credit_card_number("visa16" if r.random() < 0.6 else "mastercard")
    return " ".join(number[i : i + 4] for i in range(0, 16, 4)) if r.random() < 0.3 else number


def _iban(f: Faker, r: Random) -> str:
    number = f.iban()
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4)) if r.random() < 0.3 else number


def _searched(f: Faker, r: Random, digits: int, valid: Callable[[str], bool]) -> str:
    while True:
        number = str(r.randrange(10 ** (digits - 1), 10**digits))
        if valid(number):
            return number


def _national(locale: str) -> tuple[str, Make]:
    """(entity, how to make one) of the number that a country gives its people."""
    made: dict[str, tuple[str, Make]] = {
        "en_US": ("US_SSN", _ssn),
        "en_GB": ("UK_NHS", lambda f, r: nhs.format(_searched(f, r, 10, nhs.is_valid))),
        "de_DE": ("DE_TAX_ID", lambda f, r: _searched(f, r, 11, idnr.is_valid)),
        "fr_FR": ("FR_NIR", lambda f, r: f.ssn()),
        "es_ES": ("ES_NIF", lambda f, r: f.nif()),
        "it_IT": ("IT_FISCAL_CODE", lambda f, r: f.ssn()),
        "nl_NL": ("NL_BSN", lambda f, r: f.ssn()),
        "pl_PL": ("PL_PESEL", lambda f, r: f.pesel()),
        "pt_BR": ("BR_CPF", lambda f, r: f.cpf()),
        "sv_SE": ("SE_PERSONNUMMER", lambda f, r: f.ssn()),
    }
    return made[locale]


def _ssn(f: Faker, r: Random) -> str:
    number = f.ssn()
    return number if ssn.is_valid(number) else "536-90-4399"


HEADERS: dict[str, dict[str, str]] = {
    "FIRST_NAME": {"en": "fname", "de": "Vorname", "fr": "prenom_client", "es": "Nombre", "it": "nome", "nl": "voornaam",
                   "pl": "imie", "pt": "primeiro_nome", "sv": "fornamn", "gb": "Forename"},
    "LAST_NAME": {"en": "cust_lname", "de": "Nachname", "fr": "nomDeFamille", "es": "apellidos", "it": "cognome",
                  "nl": "achternaam", "pl": "nazwisko", "pt": "sobrenome", "sv": "efternamn", "gb": "Surname"},
    "PERSON": {"en": "CUST_NM", "de": "Kundenname", "fr": "nom_complet", "es": "nombre_completo", "it": "nome_completo",
               "nl": "volledige_naam", "pl": "imie_i_nazwisko", "pt": "nome_completo", "sv": "fullstandigt_namn",
               "gb": "contact name"},
    "STREET_ADDRESS": {"en": "addr1", "de": "Strasse", "fr": "adresse", "es": "direccion", "it": "indirizzo", "nl": "straat",
                       "pl": "ulica", "pt": "endereco", "sv": "gatuadress", "gb": "Address Line 1"},
    "ADDRESS": {"en": "ship_addr", "de": "Anschrift", "fr": "adresse_complete", "es": "domicilio", "it": "indirizzo_casa",
                "nl": "adres", "pl": "adres", "pt": "endereco_entrega", "sv": "adress", "gb": "home address"},
    "CITY": {"en": "city", "de": "Wohnort", "fr": "ville", "es": "ciudad", "it": "citta", "nl": "plaats", "pl": "miasto",
             "pt": "cidade", "sv": "stad", "gb": "Town"},
    "POSTAL_CODE": {"en": "zip", "de": "PLZ", "fr": "code_postal", "es": "codigoPostal", "it": "CAP", "nl": "postcode",
                    "pl": "kod_pocztowy", "pt": "cep", "sv": "postnummer", "gb": "Post Code"},
    "PHONE_NUMBER": {"en": "ph_no", "de": "Telefonnummer", "fr": "telephone", "es": "telefono", "it": "cellulare",
                     "nl": "telefoonnummer", "pl": "nr_telefonu", "pt": "celular", "sv": "telefonnummer", "gb": "mobile no"},
    "EMAIL_ADDRESS": {"en": "e-mail", "de": "EMail", "fr": "courriel", "es": "correo_electronico", "it": "posta_elettronica",
                      "nl": "emailadres", "pl": "email", "pt": "e_mail", "sv": "epost", "gb": "eml"},
    "BIRTH_DATE": {"en": "DOB", "de": "Geburtsdatum", "fr": "date_naissance", "es": "fecha_nacimiento", "it": "data_nascita",
                   "nl": "geboortedatum", "pl": "data_urodzenia", "pt": "data_nascimento", "sv": "fodelsedatum",
                   "gb": "birth_dt"},
    "GENDER": {"en": "sex", "de": "Geschlecht", "fr": "sexe", "es": "sexo", "it": "sesso", "nl": "geslacht", "pl": "plec",
               "pt": "sexo", "sv": "kon", "gb": "gndr"},
    "NATIONAL": {"en": "ssn_no", "de": "steuer_id", "fr": "numero_secu", "es": "dni", "it": "codice_fiscale", "nl": "bsn",
                 "pl": "pesel", "pt": "cpf", "sv": "personnummer", "gb": "nhs number"},
    "CREDIT_CARD": {"en": "cc_num", "de": "Kreditkarte", "fr": "carte_bancaire", "es": "tarjeta", "it": "carta_credito",
                    "nl": "creditcard", "pl": "karta", "pt": "cartao", "sv": "kortnummer", "gb": "PAN"},
    "IBAN_CODE": {"en": "iban", "de": "IBAN", "fr": "iban_client", "es": "cuenta", "it": "IBAN", "nl": "rekeningnummer",
                  "pl": "konto", "pt": "conta", "sv": "konto", "gb": "bank_acct"},
    "IP_ADDRESS": dict.fromkeys(("en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "gb"), "last_ip"),
    "IMEI": dict.fromkeys(("en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "gb"), "imei"),
    "JOB_TITLE": {"en": "job", "de": "Beruf", "fr": "profession", "es": "profesion", "it": "professione", "nl": "beroep",
                  "pl": "zawod", "pt": "profissao", "sv": "yrke", "gb": "occ"},
}  # fmt: skip

KINDS = {
    **dict.fromkeys(("FIRST_NAME", "LAST_NAME", "PERSON", "STREET_ADDRESS", "ADDRESS", "CITY", "POSTAL_CODE"), "worded"),
    **dict.fromkeys(("NATIONAL", "CREDIT_CARD", "IBAN_CODE", "IMEI"), "checksummed"),
}
PEOPLE = (
    "FIRST_NAME",
    "LAST_NAME",
    "GENDER",
    "BIRTH_DATE",
    "STREET_ADDRESS",
    "POSTAL_CODE",
    "CITY",
    "PHONE_NUMBER",
    "EMAIL_ADDRESS",
    "JOB_TITLE",
)
CLIENTS = (
    "PERSON",
    "ADDRESS",
    "NATIONAL",
    "PHONE_NUMBER",
    "EMAIL_ADDRESS",
    "CREDIT_CARD",
    "IBAN_CODE",
    "IP_ADDRESS",
    "IMEI",
    "LAST_NAME",
)
LETTERS = {"FIRST_NAME", "LAST_NAME", "PERSON", "STREET_ADDRESS", "ADDRESS", "CITY", "JOB_TITLE"}
MAKERS: dict[str, Make] = {
    "FIRST_NAME": lambda f, r: f.first_name(),
    "LAST_NAME": lambda f, r: f.last_name(),
    "PERSON": lambda f, r: f"{f.last_name()}, {f.first_name()}" if r.random() < 0.2 else f.name(),
    "STREET_ADDRESS": lambda f, r: f.street_address(),
    "ADDRESS": lambda f, r: f.address() if r.random() < 0.5 else f.address().replace("\n", ", "),
    "CITY": lambda f, r: f.city(),
    "POSTAL_CODE": lambda f, r: f.postcode(),
    "PHONE_NUMBER": _phone,
    "EMAIL_ADDRESS": _email,
    "BIRTH_DATE": _birth,
    "GENDER": lambda f, r: r.choice(("M", "F", "m", "f", "Male", "Female")),
    "JOB_TITLE": lambda f, r: f.job(),
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "IP_ADDRESS": lambda f, r: f.ipv4() if r.random() < 0.8 else f.ipv6(),
    "IMEI": lambda f, r: _imei(r),
}
RIGHT = {"ADDRESS": {"ADDRESS", "STREET_ADDRESS"}, "JOB_TITLE": {"JOB_TITLE"}}


def _imei(r: Random) -> str:
    body = f"35{r.randrange(10**12):012d}"
    return body + luhn.calc_check_digit(body)


COLOURS = ("red", "blue", "green", "black", "Dark Green", "ivory", "white", "Rose", "Amber", "navy", "Olive", "violet")
PRODUCTS = ("Desk", "Lamp", "Chair", "Bottle", "Cable", "Mouse", "Backpack", "Drill", "Kettle", "Notebook", "Sofa", "Screw set")
NOUNS = ("parcel", "order", "invoice", "server", "box", "refund", "build", "engine", "shipment", "pump", "pallet", "ticket")
VERBS = ("arrived late", "was damaged", "needs a new label", "is on hold", "was closed", "passed the test", "must be checked")
STATUS = ("open", "closed", "pending", "in progress", "on hold", "cancelled", "Shipped", "returned")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")
METALS = ("Iron", "Copper", "Sodium", "Potassium", "Argon", "Helium", "Neon", "Zinc", "Cobalt", "Nickel", "Titanium", "Radon")


def _number(low: int, high: int) -> Make:
    return lambda f, r: str(r.randrange(low, high))


def _pick(words: tuple[str, ...]) -> Make:
    return lambda f, r: r.choice(words)


def _code(shape: str) -> Make:
    def make(f: Faker, r: Random) -> str:
        return "".join(r.choice("0123456789") if c == "9" else r.choice("ABCDEFGHKMNPRSTVXZ") if c == "A" else c for c in shape)

    return make


def _sentence(f: Faker, r: Random) -> str:
    return f"the {r.choice(NOUNS)} {r.choice(VERBS)}, {r.choice(NOUNS)} {r.randrange(10, 99)} {r.choice(VERBS)}"


def _stamp(f: Faker, r: Random) -> str:
    moment = dt.datetime(2023, 1, 1) + dt.timedelta(seconds=r.randrange(60_000_000))
    return moment.strftime("%Y-%m-%d %H:%M:%S" if r.random() < 0.8 else "%d/%m/%Y %H:%M")


NEGATIVE: tuple[tuple[tuple[str, str], Make], ...] = (
    (("amount", "ssn"), lambda f, r: f"{r.random() * 900:.2f}"),
    (("order_no", "card_type_id"), _number(10**15, 10**16)),
    (("sku", "zip_file"), _code("AAA-9999-A")),
    (("width_mm", "age_limit_cm"), lambda f, r: f"{r.random() * 300:.1f}"),
    (("colour", "name"), _pick(COLOURS)),
    (("product_name", "name"), lambda f, r: f"{r.choice(COLOURS)} {r.choice(PRODUCTS)} {r.randrange(100)}"),
    (("version", "ip_version"), lambda f, r: f"{r.randrange(9)}.{r.randrange(20)}.{r.randrange(50)}"),
    (("created_at", "updated"), _stamp),
    (("active", "email"), _pick(("yes", "no", "Y", "N"))),
    (("status", "state"), _pick(STATUS)),
    (("notes", "comment"), _sentence),
    (("quantity", "phone"), _number(1, 60)),
    (("month", "first"), _pick(MONTHS)),
    (("element", "title"), _pick(METALS)),
    (("batch", "national_park_code"), _code("99-AA-999")),
    (("tracking", "passport"), _code("9A9999")),
    (("article", "iban"), _code("A99999")),
    (("percent", "gender_gap"), lambda f, r: f"{r.random() * 100:.1f}%"),
    (("lot_number", "house"), _number(10**8, 10**9)),
    (("duration_s", "birth_rate"), lambda f, r: f"{r.expovariate(0.01):.3f}"),
    (("temperature", "address"), lambda f, r: f"{r.gauss(12, 9):.1f} C"),
    (("memory_address", "address"), lambda f, r: f"0x{r.randrange(16**8):08x}"),
    (("model", "mobile"), lambda f, r: f"{r.choice('ABX')}{r.randrange(100, 999)} {r.choice(('Pro', 'Max', 'Lite'))}"),
    (("size", "sex"), _pick(("S", "M", "L", "XL", "XXL"))),
    (("department", "city"), _pick(("Sales", "Finance", "Logistics", "R&D", "Legal", "IT", "Support"))),
    (("currency", "country"), _pick(("EUR", "USD", "GBP", "SEK", "PLN", "BRL"))),
    (("rating", "age"), _number(1, 6)),
    (("invoice", "cpf"), lambda f, r: f"INV-{r.randrange(2019, 2026)}-{r.randrange(10**5):05d}"),
    (("weight", "height"), lambda f, r: f"{r.gauss(20, 4):.2f} kg"),
    (("file", "user_file"), lambda f, r: f"report_{r.randrange(1000)}.{r.choice(('csv', 'pdf', 'txt'))}"),
    (("serial", "imei_count"), _number(10**14, 10**15)),
    (("year_built", "year"), _number(1950, 2020)),
    (("slot", "time"), lambda f, r: f"{r.randrange(24):02d}:{r.choice((0, 15, 30, 45)):02d}"),
    (("score", "pin_count"), lambda f, r: f"{r.gauss(0, 1):.4f}"),
    (("channel", "contact"), _pick(("web", "store", "phone", "mail", "partner"))),
    (("category", "last"), _pick(("Furniture", "Garden", "Toys", "Food", "Books", "Sport", "Music"))),
    (("ean", "account"), _number(10**12, 10**13)),
    (("bin", "postal_zone"), lambda f, r: f"{r.choice('ABCD')}{r.randrange(1, 9)}"),
    (("message", "description"), lambda f, r: f"{r.choice(STATUS)}: {_sentence(f, r)}"),
    (("ratio", "credit"), lambda f, r: f"{r.randrange(1, 20)}/{r.randrange(20, 40)}"),
)  # fmt: skip


def _messy(values: list[str], r: Random, letters: bool) -> list[str | None]:
    """Values as people leave them: nulls, words for missing, spaces, another case, typos."""
    nulls, typos = r.uniform(0.1, 0.4), r.uniform(0.02, 0.05)
    style = r.choice(("as is", "as is", "mixed", "upper", "lower")) if letters else "as is"
    out: list[str | None] = []
    for value in values:
        if r.random() < nulls:
            out.append(r.choice((None, None, None, *MISSING)))
            continue
        if r.random() < typos and len(value) > 3:
            at = r.randrange(len(value) - 1)
            value = value[:at] + (value[at + 1] + value[at] if r.random() < 0.5 else "") + value[at + 2 :]
        how = r.choice(("upper", "lower", "as is")) if style == "mixed" else style
        value = value.upper() if how == "upper" else value.lower() if how == "lower" else value
        out.append(f" {value}" if r.random() < 0.05 else f"{value}  " if r.random() < 0.05 else value)
    return out


def _language(locale: str) -> str:
    return "gb" if locale == "en_GB" else locale[:2]


def _personal(locale: str, entities: tuple[str, ...], name: str, r: Random) -> Labelled:
    f = Faker(locale)
    f.seed_instance(r.randrange(2**31))
    columns, right, kinds = {}, [], []
    for entity in entities:
        label, make = _national(locale) if entity == "NATIONAL" else (entity, MAKERS[entity])
        columns[HEADERS[entity][_language(locale)]] = _messy([make(f, r) for _ in range(ROWS)], r, entity in LETTERS)
        right.append(frozenset(RIGHT.get(entity, {label})))
        kinds.append(KINDS.get(entity, "other"))
    return Labelled(name, _table(columns), tuple(right), tuple(kinds))


def _impersonal(number: int, r: Random) -> Labelled:
    f = Faker("en_US")
    columns = {}
    for i in range(10):
        (plain, misleading), make = NEGATIVE[(number * 10 + i) % len(NEGATIVE)]
        name = misleading if (number * 10 + i) // len(NEGATIVE) % 2 else plain
        columns[name if name not in columns else f"{name}_2"] = _messy([make(f, r) for _ in range(ROWS)], r, False)
    return Labelled(f"things {number}", _table(columns), (frozenset(),) * 10, ("none",) * 10)


def _table(columns: dict[str, list[str | None]]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def corpus() -> list[Labelled]:
    """The tables, the same each time."""
    dice = Faker("en_US")
    dice.seed_instance(SEED)
    r = dice.random
    out = [_personal(locale, PEOPLE, f"people {locale}", r) for locale in LOCALES]
    out += [_personal(locale, CLIENTS, f"clients {locale}", r) for locale in LOCALES]
    return out + [_impersonal(number, r) for number in range(20)]
