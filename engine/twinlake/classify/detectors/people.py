"""What people are: age, race, nationality, religion, language, marital and employment status, education, titles."""

from __future__ import annotations

import pyarrow as pa

from twinlake.classify.build import listed_words
from twinlake.classify.detector import Detector, Mask, Search, is_in, matches
from twinlake.classify.drawn import chosen, completed, shaped
from twinlake.classify.features import Gate
from twinlake.classify.text import plain_array
from twinlake.classify.vocabulary import (
    EDUCATION,
    EMPLOYMENT,
    MARITAL,
    POLITICAL,
    RACES,
    RELIGIONS,
    SEXUALITIES,
    TITLES,
    languages,
    nationalities,
)  # fmt: skip

WORDS = Gate(1, 80, digits=(0, 4))


def _status(entity: str, words: pa.StringArray, headers: tuple[str, ...], shown: pa.StringArray, **more: object) -> Detector:
    lone = bool(more.pop("alone", False))
    return listed_words(
        entity,
        lambda: words,
        headers,
        chosen(shown, entity.lower()),
        len(shown),
        alone=lone,
        open_words=OPEN_WORDS,
        gate=WORDS,
        rule="few",
        **more,
    )


def match_age(values: pa.StringArray) -> Mask:
    """Whole numbers of 0 to 120, also with a word for years."""
    return matches(
        values, "(?:1[01][0-9]|120|[0-9]{1,2})(?:\\.0+)?(?: ?(?:y|yo|yrs?|years?(?: old)?|jahre|ans|anos))?", ignore_case=True
    )


def match_race(values: pa.StringArray) -> Mask:
    """Words of census questions on race and ethnicity, also several of them joined."""
    text = plain_array(values)
    first = pa.compute.replace_substring_regex(text, pattern="[-/,;(].*$| or .*$| and .*$", replacement="")
    return is_in(text, RACES) | is_in(pa.compute.utf8_trim_whitespace(first), RACES)


def match_race_alone(values: pa.StringArray) -> Mask:
    """As `match_race`, but for words that are colours, countries' peoples or answers to any question."""
    return match_race(values) & ~is_in(plain_array(values), OPEN_WORDS)


OPEN_WORDS = pa.array(
    [
        "white",
        "black",
        "other",
        "unknown",
        "none",
        "indian",
        "chinese",
        "native",
        "mixed",
        "refused",
        "blanco",
        "negro",
        "blanc",
        "noir",
        "weiss",
        "schwarz",
        "single",
        "s",
        "m",
        "d",
        "w",
        "student",
        "contract",
        "temporary",
        "intern",
        "permanent",
        "casual",
        "seasonal",
        "private",
        "disabled",
        "military",
        "terminated",
        "certificate",
        "diploma",
        "ma",
        "ms",
        "ba",
        "bs",
        "md",
        "jd",
        "cap",
        "eso",
        "fp",
        "bac",
        "primary",
        "secondary",
        "graduate",
        "professional",
        "promotion",
        "doctor",
        "master",
        "university",
        "spiritual",
        "orthodox",
        "secular",
        "rk",
        "ev",
        "straight",
        "bi",
        "m",
        "fr",
        "pan",
        "hr",
        "left",
        "right",
        "center",
        "centre",
        "green",
        "independent",
        "moderate",
    ]
)
"""Words that say nothing without a header; a column of few values needs others besides."""
PEOPLE: tuple[Detector, ...] = (
    Detector(
        "AGE", match_age, ("age", "age years", "age in years", "patient age", "customer age", "alter", "edad", "eta", "idade",
            "leeftijd", "current age", "age at diagnosis"), "weak",
        completed(shaped("q9", "age"), str), 70, reads=("text", "number"), gate=Gate(1, 16, digits=(1, 5)), rule="ages",
            against=("account age", "age group", "page", "age days"),
        searches=(
            Search("\\b[0-9]{1,3}\\b", "\\b(?:age[ds]?(?: of| is)?|i am|i'm|he is|she is|turning|turned)[ :]{1,2}", 0.6,
                ignore_case=True),
        ),
    ),
    Detector(
        "RACE", match_race, ("race", "ethnicity", "ethnic group", "ethnic", "ethnic origin", "race ethnicity", "raza",
            "etnia", "ethnie", "ethnische herkunft"), "weak",
        chosen(pa.array(["White", "Black", "Asian", "Hispanic", "Native American", "Pacific Islander", "Multiracial"]),
            "race"), 7, gate=Gate(3, 60, digits=(0, 0)),
        alone=match_race_alone, rule="few", against=("race date", "race time", "race id", "race result"),
    ),
    listed_words("NATIONALITY", nationalities, ("nationality", "citizenship", "nationalitat", "staatsangehorigkeit",
        "nationalite", "nacionalidad", "nazionalita", "norp", "citizen of", "nationalities"),
                 chosen(pa.array(["American", "British", "Canadian", "French", "German", "Italian", "Spanish"]),
                     "nationality"), 7, gate=WORDS),
    _status("RELIGION", RELIGIONS, ("religion", "religious belief", "faith", "denomination", "konfession", "culte",
        "religione", "religious affiliation"), pa.array(["Christian", "Muslim", "Hindu", "Buddhist", "Jewish", "Sikh"]),
        alone=True),
    _status("POLITICAL_VIEW", POLITICAL, ("political view", "political views", "politics", "political party",
        "party affiliation", "political affiliation", "party", "partei"), pa.array(["Conservative", "Liberal", "Moderate",
        "Independent"]), against=("third party", "party size")),
    _status("SEXUALITY", SEXUALITIES, ("sexuality", "sexual orientation", "orientation", "sexuelle orientierung",
        "orientation sexuelle", "orientacion sexual"), pa.array(["Heterosexual", "Homosexual", "Bisexual", "Asexual"]),
        alone=True),
    listed_words("LANGUAGE", languages, ("language", "native language", "preferred language", "mother tongue",
        "spoken language", "languages", "sprache", "muttersprache", "langue", "langue maternelle", "idioma", "lingua", "taal",
        "primary language"),
                 chosen(pa.array(["English", "Spanish", "French", "German", "Italian", "Portuguese"]), "language"), 6,
                     gate=WORDS, against=("programming", "code")),
    _status("MARITAL_STATUS", MARITAL, ("marital status", "marital", "marriage", "civil status", "familienstand",
        "etat civil", "situation familiale", "estado civil", "stato civile", "married", "maritalstatus"), pa.array(["Single",
        "Married", "Divorced", "Widowed"]), alone=True, reads=("text",)),
    _status("EMPLOYMENT_STATUS", EMPLOYMENT, ("employment status", "employment", "workclass", "work class", "employment type",
        "working status", "work status", "beschaftigung", "situacion laboral", "job status"), pa.array(["Employed",
        "Unemployed", "Self-employed", "Retired", "Student"]), alone=True),
    _status("EDUCATION", EDUCATION, ("education", "education level", "highest degree", "degree", "qualification",
        "school level", "bildung", "abschluss", "schulabschluss", "niveau d etudes", "diplome", "educacion",
        "nivel educativo", "educational attainment", "edu", "education field"), pa.array(["High school", "Bachelor", "Master",
        "Doctorate"]), alone=True),
    _status("TITLE", TITLES, ("title", "salutation", "prefix", "name prefix", "honorific", "courtesy title",
        "title of courtesy", "anrede", "titel", "civilite", "tratamiento"), pa.array(["Mr.", "Ms.", "Mrs.", "Dr."]),
        alone=True,
            searches=(Search("\\b(?:Mr|Mrs|Ms|Miss|Dr|Prof)\\b\\.?", "", 0.5, gate=Gate(2)),)),
)  # fmt: skip
