"""Health: record and plan numbers, NHS, Medicare, NPI, DEA, ICD codes, blood types."""

from __future__ import annotations

from stdnum import luhn

from twinlake.classify.build import checked, patterned
from twinlake.classify.detector import Detector, Search
from twinlake.classify.detectors.national import valid_by
from twinlake.classify.drawn import completed, ending, shaped
from twinlake.classify.features import Gate

MBI = "[1-9][ac-hjkmnp-rt-y][0-9ac-hjkmnp-rt-y][0-9]-?[ac-hjkmnp-rt-y][0-9ac-hjkmnp-rt-y][0-9]-?[ac-hjkmnp-rt-y]{2}[0-9]{2}"
ICD10 = "[a-tv-z][0-9][0-9ab](?:\\.[0-9a-z]{1,4}|[0-9][0-9a-z]{0,3})?"
ID = "[a-z]{0,6}[-_ #]?[0-9](?:[-. ]?[0-9a-z]){2,17}"


def valid_npi(value: str) -> bool:
    """Ten digits that pass Luhn behind the prefix 80840 (45 CFR 162)."""
    return value[0] in "12" and bool(luhn.is_valid("80840" + value))


def valid_dea(value: str) -> bool:
    """Two letters and seven digits of which the last checks (21 CFR 1301)."""
    d = [int(ch) for ch in value[2:]]
    return (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]


def valid_medicare(value: str) -> bool:
    """Australian Medicare card number: weights 1 3 7 9 1 3 7 9, the ninth digit checks."""
    d = [int(ch) for ch in value if ch.isdigit()]
    return sum(a * w for a, w in zip(d, (1, 3, 7, 9, 1, 3, 7, 9), strict=False)) % 10 == d[8]


HEALTH: tuple[Detector, ...] = (
    patterned(
        "MEDICAL_RECORD_NUMBER", ID, ("mrn", "medical record", "medical record number", "medical record no", "patient id",
            "patient number", "patient no", "patient identifier", "chart number", "record number", "hospital number",
            "patientennummer", "numero de paciente", "historia clinica", "health record number"),
        shaped("99999999", "mrn", "MRN-"), 10**8, weak=True, gate=Gate(3, 30, digits=(2, 20)), reads=("text", "number"),
        searches=(Search("\\b[A-Z]{0,3}-?[0-9]{5,12}\\b",
            "\\b(?:mrn|medical record(?: (?:no\\.?|number|#))?)(?: is)?[ :#=]{1,3}", 0.85, ignore_case=True, gate=Gate(8,
            digits=(5, 1 << 30))),),
    ),
    patterned(
        "HEALTH_PLAN_NUMBER", ID, ("health plan", "health plan number", "health insurance number", "health insurance id",
            "insurance id", "insurance number", "member number", "policy number", "insurance policy", "beneficiary number",
            "medicaid", "medicaid id", "medicare", "medicare number", "subscriber id", "health card", "krankenversicherung",
            "versichertennummer", "mutuelle", "health plan beneficiary number", "hic", "ehic"),
        shaped("H999999999", "plan"), 10**9, weak=True, gate=Gate(3, 30, digits=(2, 20)), reads=("text", "number"),
    ),
    checked(
        "UK_NHS", "[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", valid_by("gb.nhs"), ("nhs", "nhs number", "nhs no"),
        completed(shaped("999999999", "nhs"), ending(valid_by("gb.nhs"))), 10**8, gate=Gate(10, 12, digits=(10, 10),
            letters=(0, 0), ascii=True),
        reads=("text", "number"),
        searches=(Search("\\b[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}\\b", "\\bnhs(?: ?(?:no\\.?|number|#))?(?: is)?[ :#=]{1,3}",
            0.92, ignore_case=True, gate=Gate(10, digits=(10, 1 << 30))),),
    ),
    checked(
        "AU_MEDICARE", "[2-6][0-9]{3} ?[0-9]{5} ?[0-9](?:[ /-]?[0-9])?", valid_medicare, ("medicare", "medicare number",
            "medicare card", "medicare no"),
        completed(shaped("2q999999", "aumed"), lambda b: ending(valid_medicare)(b) + "1"), 10**7,
            alone="[2-6][0-9]{3} [0-9]{5} [0-9](?:[ /-]?[0-9])?",
        gate=Gate(10, 14, digits=(10, 11), letters=(0, 0), ascii=True), reads=("text", "number"),
        searches=(Search("\\b[2-6][0-9]{3} ?[0-9]{5} ?[0-9]\\b",
            "\\bmedicare(?: ?(?:card|no\\.?|number|#)){0,2}(?: is)?[ :#=]{1,3}", 0.9, ignore_case=True, gate=Gate(10,
            digits=(10, 1 << 30))),),
    ),
    patterned(
        "US_MBI", MBI, ("mbi", "medicare beneficiary identifier", "medicare id", "beneficiary identifier"),
            shaped("8EG9-TE9-MK99", "mbi"), 10**4,
        alone=True, gate=Gate(11, 13, digits=(5, 8), letters=(3, 6), ascii=True),
        searches=(Search("\\b[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]"
            "-[AC-HJKMNP-RT-Y]{2}[0-9]{2}\\b", "", 0.9, gate=Gate(13, needs="-")),),
    ),
    checked(
        "US_NPI", "[12][0-9]{9}", valid_npi, ("npi", "national provider identifier", "npi number", "provider npi"),
        completed(shaped("1999999q9", "npi"), ending(valid_npi)), 10**8, gate=Gate(10, 10, digits=(10, 10), ascii=True),
            reads=("text", "number"),
        searches=(Search("\\b[12][0-9]{9}\\b", "\\bnpi(?: ?(?:no\\.?|number|#))?(?: is)?[ :#=]{1,3}", 0.92, ignore_case=True,
            gate=Gate(10, digits=(10, 1 << 30))),),
    ),
    checked(
        "MEDICAL_LICENSE", "[abcdefghjklmprstux][a-z9][0-9]{7}", valid_dea, ("dea", "dea number", "medical license", "dea no",
            "medical licence", "prescriber dea"),
        completed(shaped("999999", "dea", "AB"), ending(valid_dea)), 10**6, gate=Gate(9, 9, digits=(7, 8), letters=(1, 2),
            ascii=True),
        searches=(Search("\\b[ABCDEFGHJKLMPRSTUX][A-Z9][0-9]{7}\\b", "", 0.75, gate=Gate(9, digits=(7, 1 << 30))),),
    ),
    patterned(
        "ICD9_CODE", "[0-9]{3}(?:\\.[0-9]{1,2})?|e[0-9]{3}(?:\\.[0-9])?|v[0-9]{2}(?:\\.[0-9]{1,2})?", ("icd9", "icd 9",
            "icd9 code", "icd 9 code", "icd9cm", "diagnosis code", "icd code", "dx code", "dx"),
        shaped("999.99", "icd9"), 10**5, weak=True, gate=Gate(2, 6, digits=(2, 5), letters=(0, 1)), reads=("text", "number"),
    ),
    patterned(
        "ICD10_CODE", ICD10, ("icd10", "icd 10", "icd10 code", "icd 10 code", "icd10cm", "diagnosis code", "icd code", "icd",
            "diagnose", "diagnosis", "diag code", "dx", "dx code", "code cim", "cim10", "cie10"),
        completed(shaped("E99.9", "icd10"), lambda t: "ACDEFGHIJKLM"[int(t[1]) + int(t[2]) % 3] + t[1:]), 1000,
            alone="[A-TV-Z][0-9][0-9AB]\\.[0-9A-Z]{1,4}",
        gate=Gate(3, 8, digits=(1, 7), letters=(1, 5), spaces=(0, 0), ascii=True),
    ),
    patterned(
        "BLOOD_TYPE", "(?:a|b|ab|o|0)[ -]?(?:\\+|-|pos(?:itive)?|neg(?:ative)?|rh[+-]|rhd[+-])", ("blood type", "blood group",
            "bloodtype", "bloodgroup", "blutgruppe", "groupe sanguin", "grupo sanguineo", "gruppo sanguigno"),
        completed(shaped("q", "blood"), lambda t: ("A+", "A-", "B+", "B-", "AB+", "O+", "O-")[int(t) - 1]), 7, alone=True,
            gate=Gate(2, 12, spaces=(0, 1)), rule="few",
    ),
)  # fmt: skip
