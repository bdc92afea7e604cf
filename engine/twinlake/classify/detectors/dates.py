"""Birth dates. Any date may be one, so header and plausible years decide; knows no finer calendar."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from twinlake.classify.detector import Detector, Keys, Mask, matches
from twinlake.classify.fakes import draw
from twinlake.classify.features import Gate

YEAR = "(?:19[0-9]{2}|20[0-3][0-9])"
MONTH = "(?:0?[1-9]|1[0-2])"
DAY = "(?:0?[1-9]|[12][0-9]|3[01])"
NAME = "(?:jan|feb|mar|mrz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez)[a-z]*\\.?"
TIME = "(?:[T ][0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\\.[0-9]+)?)?(?: ?[ap]m)?(?: ?Z|[+-][0-9]{2}:?[0-9]{2})?)?"
BIRTH = (
    f"(?:{YEAR}[-/.]{MONTH}[-/.]{DAY}|(?:{MONTH}[-/.]{DAY}|{DAY}[-/.]{MONTH})[-/.](?:{YEAR}|[0-9]{{2}})"
    f"|{YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    f"|{DAY}\\.?[ -]{NAME}[ ,-]*(?:{YEAR}|[0-9]{{2}})|{NAME} {DAY},? {YEAR}){TIME}"
)
FIRST_DAY, LAST_DAY = np.datetime64("1940-01-01"), np.datetime64("2005-12-31")


def match_birth_date(values: pa.StringArray) -> Mask:
    """Dates of 1900 to 2039 in the usual orders of day, month and year, with or without a time."""
    return matches(values, BIRTH, ignore_case=True)


def fake_birth_date(keys: Keys) -> pa.StringArray:
    """ISO dates of 1940 to 2005."""
    days = int((LAST_DAY - FIRST_DAY).astype(np.int64)) + 1
    return pa.array(FIRST_DAY + draw(keys, "birth date", days).astype("timedelta64[D]")).cast(pa.string())


DATES = (
    Detector(
        "BIRTH_DATE",
        match_birth_date,
        (
            "birth date",
            "birthdate",
            "birthday",
            "birth day",
            "date of birth",
            "dob",
            "born",
            "born on",
            "geburtsdatum",
            "geburtstag",
            "geb datum",
            "date de naissance",
            "date naissance",
            "naissance",
            "fecha de nacimiento",
            "fecha nacimiento",
            "nacimiento",
            "data di nascita",
            "data nascita",
            "geboortedatum",
            "geb datum",
            "data de nascimento",
            "data nascimento",
            "nascimento",
            "data urodzenia",
            "fodelsedatum",
            "fodselsdato",
            "fodt",
            "syntymaaika",
            "datum narozeni",
            "szuletesi datum",
            "dogum tarihi",
        ),
        "weak",
        fake_birth_date,
        24_000,
        alone=match_birth_date,
        reads=("text", "date"),
        gate=Gate(6, 40, digits=(3, 24)),
        rule="dates",
    ),
)
