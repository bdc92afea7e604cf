"""People: first, last and full names, gender. The fakes of one key are one coherent person.

Word lists are never complete, and many names are also words (Rose, Paris): a column is decided by shares and headers,
not by one value. Fake people come from the English lists in `data/`, so a fake is an English name in any column.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Detector, Keys, Mask, is_in, matches
from twinlake.classify.fakes import Ints, draw, joined, pick
from twinlake.classify.features import MARKS, Gate
from twinlake.classify.lexicon import has, head_of, known, plain_of, where
from twinlake.classify.text import listed, plain_array
from twinlake.classify.words import common_words, first_names, last_names, rather_first, rather_last, shipped

WORD = "[\\p{L}][\\p{L}\\p{M}'’`.-]*"
PARTICLE = "(?:van|von|der|den|de|del|della|di|da|dos|la|le|el|al|bin|ibn|ten|ter|zu|af|av|y|e|mc|mac|st\\.?|o'?)"
ONE_NAME = f"(?:{PARTICLE} +){{0,3}}{WORD}(?: {WORD})?"
TITLE = "^(?:(?:mr|mrs|ms|miss|dr|prof|professor|sir|madam|herr|frau|mme|mlle|sr|sra|senor|senora|rev|don|dona)\\.? +)+"
SUFFIX = ",? +(?:jr|sr|ii|iii|iv|md|m\\.d|phd|ph\\.d|dds|dvm|esq)\\.?$"
GENDERS = pa.array(
    [
        *listed(
            """
            male female m f man woman men women boy girl mann frau weiblich mannlich w d divers homme femme h
            masculin feminin hombre mujer masculino femenino varon hembra maschio femmina v vrouw masc fem other
            nonbinary non-binary x transgender trans agender genderqueer genderfluid bigender polygender
            intersex diverse
            """
        ),
        "non binary",
        "prefer not to say",
        "gender fluid",
        "not specified",
    ]
)


HEADS = pa.array(
    listed(
        """mr mrs ms miss dr prof professor sir madam herr frau mme mlle sr sra senor senora rev don dona mr. mrs. ms. dr. prof.
        sr. sra. rev. mme."""
    )
)
PARTICLES = pa.array(
    listed("van von der den de del della di da dos la le el al bin ibn ten ter zu af av y e mc mac st st. o' o")
)
SPACE = 1 << MARKS.index(" ")
SPLIT = SPACE | 1 << MARKS.index("-")
WORDS = Gate(2, 120, digits=(0, 0))
"""What names and places are made of: shared, so that a batch is cut once for all of them."""


def match_first_name(values: pa.StringArray) -> Mask:
    """One or two words (or a double name) that are first names in some language."""
    text = plain_of(values)
    hit = known(text, first_names) | (has(text, SPLIT) & known(head_of(text), first_names))
    return where(values, hit, lambda some: matches(some, f"{WORD}(?:[ -]{WORD})?"))


def match_first_name_alone(values: pa.StringArray) -> Mask:
    """One word, or two with a hyphen: two words without a header are rather a full name. Common words do not count."""
    text = plain_of(values)
    single = ~has(values, SPACE) & ~known(text, common_words) & ~known(text, rather_last)
    return where(values, single, match_first_name)


def match_last_name(values: pa.StringArray) -> Mask:
    """A word, or a double name, that is a last name in some language; particles (von, de la) are allowed."""
    text = plain_of(values)
    head = head_of(text)
    double = has(text, SPLIT) & (known(head, last_names) | is_in(head, PARTICLES))
    double &= ~matches(text, ".*-(?:sur|les|lez|sous|la|le|en)-.*")  # a French town
    hit = known(text, last_names) | where(text, double, _is_double_last)
    return where(values, hit, lambda some: matches(some, ONE_NAME, ignore_case=True))


def match_last_name_alone(values: pa.StringArray) -> Mask:
    """As `match_last_name`, but for words of the language that are names too (White, Price)."""
    text = plain_of(values)
    single = ~has(values, SPACE) | where(text, has(text, SPACE), lambda some: matches(some, f"(?:{PARTICLE} +)+\\S+"))
    return where(values, single & ~known(text, common_words) & ~known(text, rather_first), match_last_name)


def _is_double_last(text: pa.StringArray) -> Mask:
    bare = pc.replace_substring_regex(text, pattern=f"^(?:{PARTICLE} +)+", replacement="")
    return known(bare, last_names) | known(_head(bare), last_names)


def _head(text: pa.StringArray) -> pa.StringArray:
    return pc.replace_substring_regex(text, pattern="[ -].*$", replacement="")


def match_person(values: pa.StringArray) -> Mask:
    """Two to four words (after titles) of which the first is a first name and the last looks like a last name."""
    return where(values, has(values, SPACE) & _may_be_person(values), _is_person)


def match_person_alone(values: pa.StringArray) -> Mask:
    """As `match_person`, with a last word that is a name too, or a middle initial: `April sale` is nobody."""

    def both(some: pa.StringArray) -> Mask:
        last = _parts(some)[1]
        named = known(last, last_names) & ~known(last, common_words)
        return _is_person(some) & (named | matches(some, ".* \\p{Lu}\\.? .*"))

    return where(values, has(values, SPACE) & _may_be_person(values), both)


def _may_be_person(values: pa.StringArray) -> Mask:
    """The first word is a first name or a title, or a comma tells that the last name comes first."""
    text = plain_of(values)
    head = head_of(text)
    return known(head, first_names) | is_in(head, HEADS) | has(text, 1 << MARKS.index(","))


def _is_person(values: pa.StringArray) -> Mask:
    first, last, shape = _parts(values)
    return shape & known(first, first_names) & matches(last, "[a-z'.-]{2,}|\\P{Latin}{1,}")


def match_name_shape(values: pa.StringArray) -> Mask:
    """One to three words of letters, as any name may be."""
    return matches(values, f"{ONE_NAME}", ignore_case=True)


def match_person_shape(values: pa.StringArray) -> Mask:
    """Two to four words of letters, after titles."""
    return _parts(values)[2]


UNSAID = pa.array(["other", "x", "o", "d", "w", "h", "v", "diverse", "prefer not to say", "not specified"])


def match_gender(values: pa.StringArray) -> Mask:
    """Words and letters for gender in English, German, French, Spanish, Italian and Dutch."""
    return is_in(plain_array(values), GENDERS)


def match_gender_alone(values: pa.StringArray) -> Mask:
    """The words, and the letters M and F; what says that nothing was said does not count."""
    return match_gender(values) & ~is_in(plain_array(values), UNSAID)


def _parts(values: pa.StringArray) -> tuple[pa.StringArray, pa.StringArray, Mask]:
    text = pc.replace_substring_regex(plain_of(values), pattern=TITLE, replacement="")
    text = pc.replace_substring_regex(text, pattern=SUFFIX, replacement="")
    # "Doe, Jane" is Jane Doe
    text = pc.replace_substring_regex(text, pattern="^([^, ]+(?: [^, ]+)?), *([^,]+)$", replacement="\\2 \\1")
    shape = matches(text, f"{WORD}(?: (?:{WORD})){{1,4}}")
    first = pc.replace_substring_regex(text, pattern="[ -].*$", replacement="")
    last = pc.replace_substring_regex(text, pattern="^.* ", replacement="")
    return first, pc.replace_substring_regex(last, pattern="^(?:o'|d')", replacement=""), shape


@cache
def person_words(slug: bool = False) -> tuple[pa.StringArray, pa.StringArray, pa.StringArray]:
    """Female first names, male first names, last names; as letters of an e-mail address if `slug`."""
    lists = (shipped("first_female"), shipped("first_male"), shipped("last"))
    if not slug:
        return lists
    female, male, last = (pc.replace_substring_regex(plain_array(words), "[^a-z]", "") for words in lists)
    return female, male, last


def is_female(keys: Keys) -> Mask:
    """The gender of the person of each key: half and half."""
    female: Mask = draw(keys, "person gender", 2) == 0
    return female


def first_name_of(keys: Keys, female: pa.StringArray, male: pa.StringArray) -> pa.StringArray:
    """The first name of the person of each key, in the spelling of the lists given."""
    both = pa.concat_arrays([female, male])
    woman = draw(keys, "person first female", len(female))
    man = draw(keys, "person first male", len(male)) + len(female)
    return pick(both, np.where(is_female(keys), woman, man))


def last_index(keys: Keys) -> Ints:
    """Which last name the person of each key has."""
    return draw(keys, "person last", len(shipped("last")))


def fake_first_name(keys: Keys) -> pa.StringArray:
    """First name that fits the person's gender."""
    female, male, _ = person_words()
    return first_name_of(keys, female, male)


def fake_last_name(keys: Keys) -> pa.StringArray:
    """Last name."""
    return pick(shipped("last"), last_index(keys))


def fake_person(keys: Keys) -> pa.StringArray:
    """First and last name."""
    return joined(fake_first_name(keys), " ", fake_last_name(keys))


def fake_gender(keys: Keys) -> pa.StringArray:
    """Female or Male, of the same person as the names."""
    return pick(pa.array(["Male", "Female"]), is_female(keys).astype(np.int64))


FIRST_SPACE, LAST_SPACE = 670, 1000

NAMES = (
    Detector(
        "PERSON",
        match_person,
        (
            "name",
            "full name",
            "person",
            "person name",
            "customer name",
            "contact name",
            "patient name",
            "employee name",
            "client name",
            "user full name",
            "cardholder",
            "card holder",
            "account holder",
            "vollstandiger name",
            "kundenname",
            "nom complet",
            "nombre completo",
            "nombre y apellidos",
            "nome completo",
            "nome e cognome",
            "nominativo",
            "volledige naam",
            "naam",
            "imie i nazwisko",
            "nome do cliente",
            "fullstandigt namn",
            "namn",
            "navn",
            "nimi",
            "jmeno a prijmeni",
            "nom et prenom",
            "titular",
            "titulaire",
            "intestatario",
            "vor und nachname",
            "provider name",
            "ship name",
        ),
        "dictionary",
        fake_person,
        FIRST_SPACE * LAST_SPACE // 2,
        alone=match_person_alone,
        gate=WORDS,
        rule="words",
        shape=match_person_shape,
        shape_least=0.15,
        against=(
            "first name",
            "last name",
            "middle name",
            "user name",
            "company name",
            "product name",
            "event name",
            "file name",
            "team name",
            "brand name",
            "table name",
            "column name",
            "host name",
            "domain name",
            "city name",
            "country name",
        ),
    ),
    Detector(
        "FIRST_NAME",
        match_first_name,
        (
            "first name",
            "firstname",
            "fname",
            "given name",
            "name given",
            "forename",
            "christian name",
            "middle name",
            "vorname",
            "rufname",
            "prenom",
            "nombre",
            "primer nombre",
            "primeiro nome",
            "voornaam",
            "fornamn",
            "fornavn",
            "imie",
            "etunimi",
            "jmeno",
            "keresztnev",
            "nome",
            "namefirst",
            "first",
            "given",
        ),
        "dictionary",
        fake_first_name,
        FIRST_SPACE,
        alone=match_first_name_alone,
        gate=WORDS,
        rule="words",
        shape=match_name_shape,
    ),
    Detector(
        "LAST_NAME",
        match_last_name,
        (
            "last name",
            "lastname",
            "lname",
            "surname",
            "family name",
            "name family",
            "maiden name",
            "maiden",
            "nachname",
            "mothers maiden",
            "familienname",
            "zuname",
            "geburtsname",
            "nom",
            "nom de famille",
            "apellido",
            "apellidos",
            "apellido paterno",
            "apellido materno",
            "achternaam",
            "familienaam",
            "nazwisko",
            "sobrenome",
            "efternamn",
            "etternavn",
            "efternavn",
            "sukunimi",
            "prijmeni",
            "vezeteknev",
            "cognome",
            "namelast",
            "last",
        ),
        "dictionary",
        fake_last_name,
        LAST_SPACE,
        alone=match_last_name_alone,
        gate=WORDS,
        rule="words",
        shape=match_name_shape,
    ),
    Detector(
        "GENDER",
        match_gender,
        (
            "gender",
            "sex",
            "geschlecht",
            "sexe",
            "genre",
            "sexo",
            "genero",
            "sesso",
            "geslacht",
            "plec",
            "kon",
            "kjonn",
            "sukupuoli",
            "pohlavi",
            "gender identity",
        ),
        "weak",
        fake_gender,
        2,
        alone=match_gender_alone,
        gate=Gate(1, 40, digits=(0, 0)),
        rule="few",
    ),
)
