"""Numbers by which countries tax people and firms, and general ids without a scheme of their own."""

from __future__ import annotations

import pyarrow as pa

from twinlake.classify.detector import Detector, Mask, Search, matches
from twinlake.classify.detectors.national import HEADERS, Scheme, by_digit, detector_of, valid_by
from twinlake.classify.drawn import completed, ending, shaped
from twinlake.classify.features import Gate

TAX_HEADERS = (
    "tax id", "tax number", "tax identification number", "taxpayer id", "taxpayer number", "tin", "vat", "vat number", "vat id",
    "steuernummer", "steuer id", "ust id", "ustid", "umsatzsteuer id", "numero fiscal", "numero tva", "tva", "partita iva",
    "fiscal number", "fiscal id", "nif empresa", "cif", "tax ref", "tax reference", "tax no", "vat no", "vatin",
)  # fmt: skip
EU_VAT = (
    "at-?u[0-9]{8}|be[01]?[0-9]{9}|bg[0-9]{9,10}|cy[0-9]{8}[a-z]|cz[0-9]{8,10}|de[0-9]{9}|dk[0-9]{8}|ee[0-9]{9}|el[0-9]{9}"
    "|es[a-z0-9][0-9]{7}[a-z0-9]|fi[0-9]{8}|fr[a-z0-9]{2}[0-9]{9}|hr[0-9]{11}|hu[0-9]{8}|ie[0-9][0-9a-z][0-9]{5}[a-z]{1,2}"
    "|it[0-9]{11}|lt(?:[0-9]{9}|[0-9]{12})|lu[0-9]{8}|lv[0-9]{11}|mt[0-9]{8}|nl[0-9]{9}b[0-9]{2}|pl[0-9]{10}|pt[0-9]{9}"
    "|ro[0-9]{2,10}|se[0-9]{12}|si[0-9]{8}|sk[0-9]{10}"
)


def _german(body: str) -> str:
    from stdnum.iso7064 import mod_11_10

    # of the first ten digits one comes twice, the others at most once: a permutation picked by the drawn digits
    rest = list("0123456789")
    order = [rest.pop(int(digit) % len(rest)) for digit in body]
    if order[0] == "0":
        order[0], order[1] = order[1], order[0]
    order[9] = order[int(body[0]) % 9]
    ten = "".join(order)
    return ten + str(mod_11_10.calc_check_digit(ten))


def _cpf(body: str) -> str:
    for _ in range(2):
        total = sum(int(d) * w for d, w in zip(body, range(len(body) + 1, 1, -1), strict=True)) * 10 % 11
        body += str(total % 10)
    return body


def _abn(body: str) -> str:
    from stdnum.au import abn

    return str(abn.calc_check_digits(body)) + body


def _utr(body: str) -> str:
    from stdnum.gb import utr

    return str(utr.calc_check_digit(body)) + body


TAXED = (
    Scheme("US_ITIN", "us.itin", "9[0-9]{2}([- ]?)[0-9]{2}([- ]?)[0-9]{4}", ("itin",
        "individual taxpayer identification number"),
           shaped("99-70-9999", "itin", "9"), alone="9[0-9]{2}-[0-9]{2}-[0-9]{4}", finish=str),
    Scheme("US_EIN", "us.ein", "[0-9]{2}-?[0-9]{7}", ("ein", "employer identification number", "fein", "federal tax id"),
           shaped("20-9999999", "ein"), alone=None, finish=str),
    Scheme("EU_VAT", "eu.vat", EU_VAT, ("vat", "vat number", "vat id", "ust id", "ustid", "partita iva", "tva", "vatin"),
           shaped("89999999", "vat", "DE"), loose=" ./-", letters=(2, 8), least=8, digits=7, bare=False,
               finish=ending(valid_by("eu.vat"))),
    Scheme("DE_TAX_ID", "de.idnr", "[1-9][0-9](?: ?[0-9]{3}){3}",
           ("steuer id", "steueridentifikationsnummer", "steuerid", "idnr", "german tax id", "identifikationsnummer"),
           shaped("9999999999", "deid"), least=11, digits=11, finish=_german),
    Scheme("BR_CPF", "br.cpf", "[0-9]{3}[.]?[0-9]{3}[.]?[0-9]{3}-?[0-9]{2}", ("cpf", "numero cpf",
        "cadastro de pessoas fisicas"),
           shaped("189999999", "cpf"), least=11, digits=11, finish=_cpf),
    Scheme("BR_CNPJ", "br.cnpj", "[0-9]{2}[.]?[0-9]{3}[.]?[0-9]{3}/?[0-9]{4}-?[0-9]{2}", ("cnpj",), shaped("189999990001",
        "cnpj"),
           least=14, most=18, digits=14, finish=by_digit("br.cnpj", "calc_check_digits")),
    Scheme("MX_RFC", "mx.rfc", "[a-zñ&]{3,4}[0-9]{6}[0-9a-z]{3}", ("rfc", "registro federal de contribuyentes"),
           shaped("GOMB9q08208q", "rfc"), loose=" -", letters=(3, 7), least=12, digits=6, bare=False,
               finish=by_digit("mx.rfc")),
    Scheme("AR_CUIT", "ar.cuit", "(?:2[03-7]|3[034])-?[0-9]{8}-?[0-9]", ("cuit", "cuil"), shaped("2089999999", "cuit"),
        least=11,
           digits=11),
    Scheme("IN_PAN", "in_.pan", "[a-z]{3}[abcfghjlpt][a-z][0-9]{4}[a-z]", ("pan", "pan number", "pan card",
        "permanent account number"),
           completed(shaped("AAAA8999A", "inpan"), lambda body: body[:3] + "P" + body[3:]), least=10, most=10, digits=4,
           bare=False, finish=str),
    Scheme("AU_TFN", "au.tfn", "[0-9]{3} ?[0-9]{3} ?[0-9]{2,3}", ("tfn", "tax file number"), shaped("89999999", "tfn"), least=8,
           digits=8, alone="[0-9]{3} [0-9]{3} [0-9]{3}"),
    Scheme("AU_ABN", "au.abn", "[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", ("abn", "australian business number"),
           shaped("899999999", "abn"), loose=" ", letters=(0, 0), least=11, digits=11, finish=_abn),
    Scheme("RU_INN", "ru.inn", "[0-9]{10}|[0-9]{12}", ("inn", "nomer nalogoplatelshchika"), shaped("7799999999", "inn"),
        least=10,
           digits=10, finish=by_digit("ru.inn", "calc_personal_check_digits")),
    Scheme("UK_UTR", "gb.utr", "k?[0-9]{10}", ("utr", "unique taxpayer reference"), shaped("899999999", "utr"), least=10,
        digits=10,
           alone=None, finish=_utr),
)  # fmt: skip


GENERAL_ID = "[a-z]{0,3}[- ]?[0-9](?:[-. /]?[0-9a-z]){4,17}"


def match_general(values: pa.StringArray) -> Mask:
    """Five digits and more, letters among them: says nothing without a header."""
    shape = matches(values, GENERAL_ID, ignore_case=True) & matches(values, "(?:[^0-9]*[0-9]){5}.*")
    return shape & ~matches(values, "[0-9]+[.][0-9]{1,2}")  # a price


def match_nino(values: pa.StringArray) -> Mask:
    """Two prefix letters that are given out, six digits, A to D."""
    shape = matches(values, "[a-ceghj-prtw-z][a-ceghj-nprtw-z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[a-d]", ignore_case=True)
    return shape & ~matches(values, "(?:bg|gb|kn|nk|nt|tn|zz).*", ignore_case=True)


def match_nric_sg(values: pa.StringArray) -> Mask:
    """S, T, F, G or M, seven digits, check letter."""
    from twinlake.classify.detector import narrowed

    return narrowed(values, matches(values, "[stfgm][0-9]{7}[a-z]", ignore_case=True), _valid_nric)


def _valid_nric(value: str) -> bool:
    text = value.upper()
    total = sum(int(d) * w for d, w in zip(text[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    if text[0] in "ST":
        return "JZIHGFEDCBA"[(total + (4 if text[0] == "T" else 0)) % 11] == text[8]
    if text[0] in "FG":
        return "XWUTRQPNMLK"[(total + (4 if text[0] == "G" else 0)) % 11] == text[8]
    return "KLJNPQRTUWX"[10 - (total + 3) % 11] == text[8]


def match_tw_id(values: pa.StringArray) -> Mask:
    """A letter, 1 or 2 (8 or 9 for residents), eight digits of which the last checks."""
    from twinlake.classify.detector import narrowed

    return narrowed(values, matches(values, "[a-z][1289][0-9]{8}", ignore_case=True), _valid_tw)


def _valid_tw(value: str) -> bool:
    number = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(value[0].upper()) + 10
    digits = [number // 10, number % 10, *map(int, value[1:])]
    return sum(d * w for d, w in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10 == 0


TAX: tuple[Detector, ...] = tuple(detector_of(scheme, TAX_HEADERS) for scheme in TAXED)
OWN: tuple[Detector, ...] = (
    Detector(
        "UK_NINO", match_nino, ("nino", "ni number", "national insurance", "national insurance number", *HEADERS), "pattern",
        completed(shaped("AB 99 99 99 C", "nino"), lambda text: "JE" + text[2:-1] + "ABCD"[ord(text[0]) % 4]), 10**6,
        alone=match_nino, gate=Gate(9, 13, digits=(6, 6), letters=(3, 3), ascii=True),
        searches=(Search("\\b[A-CEGHJ-PRTW-Z][A-CEGHJ-NPRTW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]\\b", "", 0.85,
            gate=Gate(9, digits=(6, 1 << 30))),),
    ),
    Detector(
        "SG_NRIC_FIN", match_nric_sg, ("nric", "fin", "nric fin", "singapore id", *HEADERS), "checksum",
        completed(shaped("9999999", "sgnric", "S"), ending(_valid_nric, "ABCDEFGHIJZ")), 10**7, alone=match_nric_sg,
        gate=Gate(9, 9, digits=(7, 7), letters=(2, 2), ascii=True),
        searches=(Search("\\b[STFGMstfgm][0-9]{7}[A-Za-z]\\b", "", 0.85, gate=Gate(9, digits=(7, 1 << 30))),),
    ),
    Detector(
        "TW_ID", match_tw_id, ("taiwan id", "roc id", *HEADERS), "checksum",
        completed(shaped("9999999", "twid", "A1"), ending(_valid_tw)), 10**7, alone=match_tw_id,
        gate=Gate(10, 10, digits=(9, 9), letters=(1, 1), ascii=True),
        searches=(Search("\\b[A-Z][1289][0-9]{8}\\b", "", 0.7, gate=Gate(10, digits=(9, 1 << 30))),),
    ),
    Detector(
        "NATIONAL_ID", match_general, (*HEADERS, "ssn", "nid", "idnumber"), "weak", shaped("AA-9999999", "national id"), 10**8,
        reads=("text", "number"), gate=Gate(5, 24, digits=(5, 20)),
    ),
    Detector(
        "TAX_ID", match_general, TAX_HEADERS, "weak", shaped("9999999999", "tax id", "TX"), 10**8, reads=("text", "number"),
        gate=Gate(5, 24, digits=(5, 20)), against=("rate", "amount", "vat rate"),
    ),
)  # fmt: skip
