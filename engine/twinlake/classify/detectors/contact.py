"""E-mail addresses, phone numbers, web addresses. Knows the shapes; whether a mailbox or line exists it does not."""

from __future__ import annotations

from functools import cache, lru_cache

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Detector, Keys, Mask, Search, as_mask, matches, narrowed
from twinlake.classify.detectors.names import first_name_of, last_index, person_words
from twinlake.classify.fakes import digits, draw, from_bytes, hex_letters, hexadecimal, joined, pick
from twinlake.classify.features import Gate
from twinlake.classify.text import listed

LOCAL = "[\\p{L}\\p{N}!#$%&'*+/=?^_`{|}~-]+(?:\\.[\\p{L}\\p{N}!#$%&'*+/=?^_`{|}~-]+)*"
HOST = "(?:[\\p{L}\\p{N}](?:[\\p{L}\\p{N}-]*[\\p{L}\\p{N}])?\\.)+(?:xn--[a-z0-9-]+|\\p{L}{2,24})"
EMAIL = f"{LOCAL}@{HOST}"
EMAIL_INSIDE = "[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\\.)+[A-Za-z]{2,24}"

URL = "(?:(?:https?|ftps?|file)://[^\\s/?#]+(?:[/?#]\\S*)?|www\\.[^\\s/?#]+\\.[a-z]{2,24}(?:[/?#]\\S*)?)"

PHONE = "(?:\\+|00)?[(]?[0-9][0-9 ().\\-/]{4,24}[0-9](?: *(?:x|ext\\.?|#) *[0-9]{1,6})?"
# shapes of digits and punctuation that are something else
NOT_PHONE = (
    "[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{2}|[0-9]{4})"
    "|[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}|[0-9]*\\.[0-9]*"
    "|[0-9]{4} ?- ?[0-9]{4}|[0-9]{5}-[0-9]{3,4}|[0-9]{1,6}"
    "|[0-9]{4}-[0-9]{2}-[0-9]{2} .*"
)
PHONE_ALONE = (
    "(?:\\+|00)[1-9].*|[(][0-9]{2,5}[)].*|0[0-9]{1,4}[ /-].*"
    "|(?:1[-. ])?[2-9][0-9]{2}[-. ][2-9][0-9]{2}[-. ][0-9]{4}(?: *(?:x|ext).*)?"
)
PHONE_INSIDE = (
    "(?:\\+[1-9][0-9]{0,2}[ .-]?(?:[(]?[0-9]{1,4}[)]?[ .-]?){2,5}[0-9]{2,4}"
    "|(?:[(][2-9][0-9]{2}[)] ?|\\b[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ][0-9]{4})\\b"
)
PHONE_BEFORE = (
    "\\b(?:phone|tel(?:ephone|efon[oe]?)?|mobile|cell|fax|desk|handy|m\u00f3vil|whatsapp|call(?: me| us"
    "| him| her)?(?: back)?|text me|dial|ring|reach(?: me| us| him| her)?"
    "|messages? to|answering|contact(?: me| us)?|number)\\.?(?: ?(?:no\\.?|number|#|nr\\.?))?(?: (?:is|at"
    "|on|to|was))?\\s{0,3}[:#]?\\s{0,3}"
)
PHONE_REGIONS = ("US", "GB", "DE", "FR", "ES")
AREA_CODES = pa.array(
    [
        *listed(
            """
            201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240
            248 251 252 253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314
            315 316 317 318 319 320 321 323 325 330 334 336 337 339 347 351 352 360 361 386 401 402 404 405 406
            407 408 409 410 412 413 414 415 417 419 423 425 432 434 435 440 443 469 478 479 480 484 501 502 503
            504 505 507 508 509 510 512 513 515 516 517 518 520 530 540 541 551 559 561 562 563 567 570 571 573
            574 580 585 586 601 602 603 605 606 607 608 609 610 612 614 615 616 617 618 619 620 623 626 630 631
            636 641 646 650 651 660 661 662 678 682 701 702 703 704 706 707 708 712 713 714 715 716 717 718 719
            720 724 727 731 732 734 740 754 757 760 763 765 770 772 773 774 775 781 785 786 801 802 803 804 805
            806 808 810 812 813 814 815 816 817 818 828 830 831 832 843 845 847 850 856 857 858 859 860 862 863
            864 865 870 901 903 904 906 907 908 909 910 912 913 914 915 916 917 918 919 920 925 928 931 936 937
            940 941 949 951 952 954 956 970 971 972 973 978 979 980 985 989
            """
        ),
    ]
)
PHONE_GATE = Gate(6, 40, digits=(6, 24), letters=(0, 3))
DOMAINS = pa.array(["example.com", "example.org", "example.net"])  # RFC 2606: nobody can receive mail there


def match_email(values: pa.StringArray) -> Mask:
    """Addresses of at most 254 characters (RFC 5321), plus tags and international domains included."""
    return matches(values, EMAIL) & matches(values, ".{6,254}") & matches(values, "[^@]{1,64}@.*")


def match_url(values: pa.StringArray) -> Mask:
    """http, https, ftp and file URLs, and hosts that begin with www."""
    # longer ones are text for a browser, not an address that someone keeps
    return matches(values, URL, ignore_case=True) & as_mask(pc.less_equal(pc.binary_length(values), 2048))


def match_phone(values: pa.StringArray) -> Mask:
    """Seven to fifteen digits (E.164) grouped as people group them; with + or 00 also a possible number of its country.

    National numbers are not checked further: their rules are those of a country that the value does not name.
    """
    shape = matches(values, PHONE, ignore_case=True) & ~matches(values, NOT_PHONE)
    return narrowed(values, shape, _plausible_phone)


def match_phone_alone(values: pa.StringArray) -> Mask:
    """Spelled as only phone numbers are, and valid where it says, or in one of a few countries."""
    shape = matches(values, PHONE, ignore_case=True) & ~matches(values, NOT_PHONE)
    return narrowed(values, shape & matches(values, PHONE_ALONE, ignore_case=True), _valid_phone)


@lru_cache(maxsize=65536)
def _plausible_phone(value: str) -> bool:
    number = value.lower().split("x")[0].split("e")[0].split("#")[0]
    count = sum(ch.isdigit() for ch in number)
    if not 6 <= count <= 15 or (count == 6 and number.isdigit()):
        return False
    return not number.startswith("+") or _parsed(number, None, phonenumbers.is_possible_number)


@lru_cache(maxsize=65536)
def _valid_phone(value: str) -> bool:
    if value.startswith(("+", "00")):
        return _parsed("+" + value.lstrip("+0"), None, phonenumbers.is_valid_number)
    return any(_parsed(value, region, phonenumbers.is_valid_number) for region in PHONE_REGIONS)


def _parsed(value: str, region: str | None, test: object) -> bool:
    try:
        return bool(test(phonenumbers.parse(value, region)))  # type: ignore[operator]
    except phonenumbers.NumberParseException:
        return False


def fake_email(keys: Keys) -> pa.StringArray:
    """first.lastNNNN@example.com of the same person as the name fakes; nobody can receive it."""
    female, male, last, hosts = _email_words()
    return joined(
        first_name_of(keys, female, male),
        pick(last, last_index(keys)),
        digits(draw(keys, "email digits", 10_000), 4),
        pick(hosts, draw(keys, "email domain", len(hosts))),
    )


@cache
def _email_words() -> tuple[pa.StringArray, ...]:
    """Female and male first names with a dot, last names, domains with an @: fewer parts to join take less time."""
    female, male, last = person_words(slug=True)
    return joined(female, "."), joined(male, "."), last, joined("@", DOMAINS)


def fake_phone(keys: Keys) -> pa.StringArray:
    """(AAA) 555-01NN: the range that is kept free for fiction. Few of them exist, so they repeat."""
    area = pick(AREA_CODES, draw(keys, "phone area", len(AREA_CODES)))
    return joined("(", area, ") 555-01", digits(draw(keys, "phone line", 100), 2))


def fake_url(keys: Keys) -> pa.StringArray:
    """https://www.example.com/ and twelve hexadecimal digits."""
    return joined("https://www.example.com/", from_bytes(hex_letters(hexadecimal(keys, "url", 12))))


CONTACT = (
    Detector(
        "EMAIL_ADDRESS",
        match_email,
        (
            "email",
            "e mail",
            "mail",
            "email address",
            "email addr",
            "mail address",
            "emailadresse",
            "adresse mail",
            "courriel",
            "correo",
            "correo electronico",
            "posta elettronica",
            "indirizzo email",
            "emailadres",
            "e mailadres",
            "epost",
            "e postadress",
            "sahkoposti",
            "endereco de email",
            "adres email",
            "poczta",
        ),
        "pattern",
        fake_email,
        10**9,
        alone=match_email,
        gate=Gate(6, 600, needs="@."),
        searches=(Search(EMAIL_INSIDE, score=0.95, gate=Gate(needs="@.")),),
    ),
    Detector(
        "PHONE_NUMBER",
        match_phone,
        (
            "phone",
            "telephone",
            "tel",
            "mobile",
            "cell",
            "cellphone",
            "phone number",
            "phone no",
            "phone num",
            "msisdn",
            "telefon",
            "telefonnummer",
            "handy",
            "handynummer",
            "mobil",
            "rufnummer",
            "portable",
            "numero de telephone",
            "telefono",
            "movil",
            "celular",
            "telefone",
            "cellulare",
            "telefoonnummer",
            "telefoon",
            "gsm",
            "mobiel",
            "nr telefonu",
            "numer telefonu",
            "telefonu",
            "komorka",
            "mobilnummer",
            "puhelin",
            "puhelinnumero",
            "cislo telefonu",
        ),
        "pattern",
        fake_phone,
        len(AREA_CODES) * 100,
        alone=match_phone_alone,
        reads=("text", "number"),
        gate=PHONE_GATE,
        searches=(
            Search(PHONE_INSIDE, gate=Gate(digits=(7, 1 << 30))),
            Search(
                "[+(]?[0-9][0-9() .-]{5,20}[0-9](?: ?(?:x|ext\\.?) ?[0-9]{1,6})?\\b",
                PHONE_BEFORE,
                0.75,
                gate=Gate(digits=(7, 1 << 30)),
                ignore_case=True,
            ),
        ),
        against=("phone service", "country code", "phone type", "extension"),
    ),
    Detector(
        "FAX_NUMBER",
        match_phone,
        ("fax", "fax number", "fax no", "facsimile", "telefax", "faxnummer", "numero de fax", "telecopie"),
        "pattern",
        fake_phone,
        len(AREA_CODES) * 100,
        reads=("text", "number"),
        gate=PHONE_GATE,
    ),
    Detector(
        "URL",
        match_url,
        ("url", "uri", "website", "web site", "homepage", "web page", "webseite", "site web", "sitio web", "link"),
        "pattern",
        fake_url,
        2**48,
        alone=match_url,
        gate=Gate(5, 2100, some=":.", letters=(3, 1 << 30)),
        searches=(Search("https?://[^\\s\"'<>]+", score=0.9, gate=Gate(needs=":/")),),
    ),
)
