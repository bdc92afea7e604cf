"""Numbers that countries give to people, recognized by their check digits (python-stdnum), each under its own name.

One line a country: the spelling, what it is called in headers, and how a fake is drawn. Which of them may decide a column
without a header follows from how rarely chance passes the check. Knows nothing of whether a number was ever given out.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import LONGEST_CHECKED, Detector, Fake, Mask, Search, matches, narrowed
from twinlake.classify.drawn import completed, dated, ending, shaped
from twinlake.classify.features import Gate

HEADERS = (
    "national id", "nationalid", "national id number", "national identifier", "national identification number",
    "identity number", "identity card", "id card", "citizen id", "personal id", "personal number", "person number",
    "personal identification number", "government id", "gov id", "id document", "identification number", "ausweisnummer",
    "personalausweis", "numero de identidad", "documento de identidad", "documento", "carte d identite", "numero national",
    "social security", "sozialversicherungsnummer", "svnr", "insurance number", "codice fiscale",
)  # fmt: skip


@dataclass(frozen=True)
class Scheme:
    """One country's number: entity, stdnum module, RE2 of its spellings, header words, body of a fake, end of a fake."""

    entity: str
    module: str
    spelled: str
    headers: tuple[str, ...]
    body: Fake
    alphabet: str = "0123456789"
    alone: str | None = ""
    """Spelling that may decide without a header: the same if empty, none if None."""
    least: int = 9
    most: int = 14
    digits: int = 9
    bare: bool = True
    """Whether the number is also written as digits alone, so that a column of whole numbers may hold it."""
    finish: Callable[[str], str] | None = None
    space: int = 10**7
    loose: str = ""
    """Separators that may stand anywhere, as people group the number in many ways."""
    letters: tuple[int, int] = (0, 10)


@cache
def valid_by(module: str) -> Callable[[str], bool]:
    """The validator of a stdnum module, remembering what it has seen; never raises."""
    validator = importlib.import_module(f"stdnum.{module}").is_valid

    @lru_cache(maxsize=16384)
    def valid(value: str) -> bool:
        try:
            return bool(validator(value))
        except Exception:  # a validator that meets an odd value has not accepted it
            return False

    return valid


def by_digit(module: str, name: str = "calc_check_digit", full: bool = False) -> Callable[[str], str]:
    """Adds what the module's own check digit function says. full: the function wants a number with a last digit."""

    def finish(body: str) -> str:
        return body + str(getattr(importlib.import_module(f"stdnum.{module}"), name)(body + "0" if full else body))

    return finish


def detector_of(scheme: Scheme, general: tuple[str, ...]) -> Detector:
    """The detector of one scheme."""

    def check(value: str) -> bool:
        return len(value) <= LONGEST_CHECKED and len(set(re.sub(r"\W", "", value))) > 2 and valid_by(scheme.module)(value)

    def match(values: pa.StringArray) -> Mask:
        bare = pc.replace_substring_regex(values, f"[{scheme.loose}]", "") if scheme.loose else values
        return narrowed(values, matches(bare, scheme.spelled, ignore_case=True), check)

    def alone(values: pa.StringArray) -> Mask:
        return narrowed(values, matches(values, scheme.alone or scheme.spelled, ignore_case=True), check)

    finish = scheme.finish or ending(check, scheme.alphabet)
    gate = Gate(
        scheme.least, scheme.most + (10 if scheme.loose else 4), digits=(scheme.digits, 20), letters=scheme.letters, ascii=True
    )
    spelled = scheme.alone or scheme.spelled
    searches = [Search(f"\\b(?:{spelled})\\b", _before(scheme.headers), 0.92, gate=_long(gate), ignore_case=True)]
    if (scheme.alone and scheme.alone != scheme.spelled) or not scheme.bare:
        searches.append(Search(f"\\b(?:{spelled})\\b", "", 0.75, gate=_long(gate), ignore_case=True))
    return Detector(
        scheme.entity,
        match,
        (*scheme.headers, *general),
        "checksum",
        completed(scheme.body, finish),
        scheme.space,
        alone=None if scheme.alone is None else match if not scheme.alone else alone,
        reads=("text", "number") if scheme.bare else ("text",),
        searches=tuple(searches),
        gate=gate,
    )


def _before(headers: tuple[str, ...]) -> str:
    words = "|".join(h.replace(" ", "[ _-]?") for h in headers)
    return f"\\b(?:{words})(?: ?(?:no\\.?|number|nr\\.?|num\\.?|id|#))?(?: (?:is|was|are|=))?[ :#=]{{1,3}}"


def _long(gate: Gate) -> Gate:
    return Gate(gate.least, digits=(gate.digits[0], 1 << 30))


def _norwegian(body: str) -> str:
    module = importlib.import_module("stdnum.no.fodselsnummer")
    for step in range(100):
        nine = f"{body[:6]}{(int(body[6:]) + step) % 500:03}"
        first = str(module.calc_check_digit1(nine))
        second = str(module.calc_check_digit2(nine + first)) if len(first) == 1 and first.isdigit() else "-"
        if first.isdigit() and second.isdigit() and valid_by("no.fodselsnummer")(nine + first + second):
            return nine + first + second
    return body + "00"


SCHEMES = (
    Scheme("CA_SIN", "ca.sin", "[0-9]{3}([- ]?)[0-9]{3}([- ]?)[0-9]{3}", ("sin", "social insurance number", "canada sin"),
           shaped("q9999999", "sin"), alone="[0-9]{3}[- ][0-9]{3}[- ][0-9]{3}"),
    Scheme("IE_PPS", "ie.pps", "[0-9]{7}[a-w][a-iw]?", ("pps", "ppsn", "pps number"), shaped("9999999", "pps"),
           "ABCDEFGHIJKLMNOPQRSTUVW", least=8, digits=7, bare=False),
    Scheme("ES_NIF", "es.dni", "[0-9]{8}-?[a-z]", ("dni", "nif", "nif dni", "numero de dni"), shaped("99999999", "dni"),
           digits=8, bare=False, finish=by_digit("es.dni")),
    Scheme("ES_NIE", "es.nie", "[xyz]-?[0-9]{7}-?[a-z]", ("nie", "numero nie"), shaped("9999999", "nie", "X"), digits=7,
           bare=False, finish=by_digit("es.nie")),
    Scheme("FR_NIR", "fr.nir", "[12378] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
           ("nir", "insee", "numero de securite sociale", "securite sociale", "numero secu"),
           completed(dated("ym", "nir", "75999999"), lambda body: "1" + body), least=15, most=22, digits=13,
           finish=by_digit("fr.nir", "calc_check_digits")),
    Scheme("IT_FISCAL_CODE", "it.codicefiscale",
        "[a-z]{6}[0-9lmnpqrstuv]{2}[a-ehlmprst][0-9lmnpqrstuv]{2}[a-z][0-9lmnpqrstuv]{3}[a-z]",
           ("codice fiscale", "codicefiscale", "cf", "fiscal code"),
           completed(shaped("BBBBBB8810H501", "cf"), lambda body: body[:6] + body[6:8] + "A" + body[8:10] + body[10:]),
               least=16,
           most=16, digits=0, bare=False, finish=by_digit("it.codicefiscale")),
    Scheme("NL_BSN", "nl.bsn", "[0-9]{9}|[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}", ("bsn", "burgerservicenummer", "sofinummer"),
           shaped("89999999", "bsn")),
    Scheme("BE_NRN", "be.nn", "[0-9]{2}[. ]?[0-9]{2}[. ]?[0-9]{2}[- ]?[0-9]{3}[. ]?[0-9]{2}",
           ("rijksregisternummer", "niss", "insz", "registre national", "numero de registre national"),
           dated("ymd", "nrn", "899"), least=11, most=16, digits=11,
           finish=lambda body: f"{body}{97 - int(body) % 97:02}"),
    Scheme("PT_CC", "pt.cc", "[0-9]{8} ?[0-9] ?[a-z0-9]{2}[0-9]", ("cartao de cidadao", "cartao cidadao", "numero cc"),
           shaped("899999999AA", "ptcc"), least=12, most=15, digits=10, bare=False, finish=by_digit("pt.cc")),
    Scheme("CH_AHV", "ch.ssn", "756[.]?[0-9]{4}[.]?[0-9]{4}[.]?[0-9]{2}", ("ahv", "ahv nummer", "avs", "numero avs", "ahvn13"),
           shaped("756999999999", "ahv"), least=13, most=16, digits=13),
    Scheme("SE_PERSONNUMMER", "se.personnummer", "(?:19|20)?[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9][-+]?[0-9]{4}",
           ("personnummer", "personnr", "svenskt personnummer"), dated("ymd", "pnr", "-999"), least=10, digits=10,
           alone="(?:19|20)?[0-9]{6}[-+][0-9]{4}|(?:19|20)[0-9]{10}"),
    Scheme("NO_FODSELSNUMMER", "no.fodselsnummer", "[0-7][0-9]{5}[ -]?[0-9]{5}", ("fodselsnummer", "fnr", "fodselsnr"),
           dated("dmy", "fnr", "399"), least=11, digits=11, finish=_norwegian),
    Scheme("DK_CPR", "dk.cpr", "[0-3][0-9][01][0-9]{3}-?[0-9]{4}", ("cpr", "cpr nummer", "cprnr", "personnummer dk"),
           dated("dmy", "cpr", "-399"), least=10, digits=10, alone="[0-3][0-9][01][0-9]{3}-[0-9]{4}"),
    Scheme("FI_PERSONAL_IDENTITY_CODE", "fi.hetu", "[0-3][0-9][01][0-9]{3}[-+a-fu-y][0-9]{3}[0-9a-y]",
           ("hetu", "henkilotunnus", "personbeteckning"), dated("dmy", "hetu", "-q99"), "0123456789ABCDEFHJKLMNPRSTUVWXY",
           least=11, bare=False),
    Scheme("EE_IK", "ee.ik", "[1-8][0-9]{2}[01][0-9][0-3][0-9]{5}", ("isikukood", "ik"),
           completed(dated("ymd", "eeik", "999"), lambda body: "3" + body), least=11, digits=11, finish=by_digit("ee.ik",
               full=True)),
    Scheme("LT_ASMENS", "lt.asmens", "[3-6][0-9]{2}[01][0-9][0-3][0-9]{5}", ("asmens kodas", "asmens"),
           completed(dated("ymd", "ltas", "999"), lambda body: "4" + body), least=11, digits=11, finish=by_digit("lt.asmens",
               full=True)),
    Scheme("PL_PESEL", "pl.pesel", "[0-9]{2}[0-3][0-9][0-3][0-9]{6}", ("pesel", "numer pesel"), dated("ymd", "pesel", "9999"),
           least=11, digits=11, finish=by_digit("pl.pesel")),
    Scheme("CZ_RC", "cz.rc", "[0-9]{2}[0-35-8][0-9][0-3][0-9]/?[0-9]{3,4}", ("rodne cislo", "rc", "birth number"),
           dated("ymd", "czrc", "/999", (1955, 1999)), digits=9, alone="[0-9]{6}/[0-9]{3,4}"),
    Scheme("RO_CNP", "ro.cnp", "[1-9][0-9]{2}[01][0-9][0-3][0-9]{7}", ("cnp", "cod numeric personal"),
           completed(dated("ymd", "cnp", "01899"), lambda body: f"{1 + int(body[5]) % 2}{body}"),
           least=13, digits=13, finish=by_digit("ro.cnp")),
    Scheme("BG_EGN", "bg.egn", "[0-9]{2}[0-5][0-9][0-3][0-9]{5}", ("egn", "edinen grazhdanski nomer"), dated("ymd", "egn",
        "999"),
           least=10, digits=10, finish=by_digit("bg.egn")),
    Scheme("HR_OIB", "hr.oib", "(?:hr)?[0-9]{11}", ("oib", "osobni identifikacijski broj"), shaped("8999999999", "oib"),
        loose=" ", letters=(0, 2), least=11,
           digits=11),
    Scheme("TR_TCKN", "tr.tckimlik", "[1-9][0-9]{10}", ("tckn", "tc kimlik", "tc kimlik no", "kimlik no"),
           shaped("899999999", "tckn"), least=11, digits=11, finish=by_digit("tr.tckimlik", "calc_check_digits")),
    Scheme("ZA_ID", "za.idnr", "[0-9]{2}[01][0-9][0-3][0-9]{5}[01][0-9]{2}", ("south african id", "sa id", "rsa id"),
           dated("ymd", "zaid", "999908"), least=13, digits=13),
    Scheme("CN_RIC", "cn.ric", "[1-9][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9x]",
           ("shenfenzheng", "chinese id", "resident identity card", "id card cn"),
           completed(dated("Ymd", "cnric", "999"), lambda body: "110105" + body), least=18, most=18, digits=17,
           finish=by_digit("cn.ric", full=True)),
    Scheme("KR_RRN", "kr.rrn", "[0-9]{2}[01][0-9][0-3][0-9]-?[0-9]{7}", ("rrn", "resident registration number", "jumin"),
           dated("ymd", "krrn", "-109999"), least=13, digits=13),
    Scheme("IN_AADHAAR", "in_.aadhaar", "[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}",
           ("aadhaar", "aadhar", "uidai", "aadhaar number", "aadhaar no"), shaped("3q899999999", "aadhaar"), least=12,
               digits=12),
    Scheme("TH_TNIN", "th.pin", "[1-8]-?[0-9]{4}-?[0-9]{5}-?[0-9]{2}-?[0-9]", ("thai id", "thai national id", "tnin"),
           shaped("199999999999", "thpin"), loose=" -", letters=(0, 0), least=13, most=17, digits=13,
               finish=by_digit("th.pin")),
    Scheme("MY_NRIC", "my.nric", "[0-9]{2}[01][0-9][0-3][0-9]-?[0-9]{2}-?[0-9]{4}", ("mykad", "nric", "malaysian id",
        "ic number"),
           dated("ymd", "mynric", "-14-9999"), least=12, digits=12, alone="[0-9]{6}-[0-9]{2}-[0-9]{4}", finish=str),
    Scheme("CL_RUT", "cl.rut", "[0-9]{1,2}[.]?[0-9]{3}[.]?[0-9]{3}-?[0-9k]", ("rut", "run", "rol unico tributario"),
           shaped("19999999-", "rut"), "0123456789K", least=8, digits=7, alone="[0-9]{1,2}[.]?[0-9]{3}[.]?[0-9]{3}-[0-9k]"),
    Scheme("MX_CURP", "mx.curp", "[a-z][aeioux][a-z]{2}[0-9]{6}[hm][a-z]{5}[0-9a-z][0-9]", ("curp",),
           completed(dated("ymd", "curp"), lambda body: f"GOMC{body}HDFNRL0"), least=18, most=18, digits=7, bare=False,
           finish=by_digit("mx.curp"), space=15_000),
    Scheme("IL_ID", "il.idnr", "[0-9]{9}", ("teudat zehut", "israeli id", "mispar zehut"), shaped("29999999", "ilid"),
        alone=None),
)  # fmt: skip


BY_SCHEME: tuple[Detector, ...] = tuple(detector_of(scheme, HEADERS) for scheme in SCHEMES)
