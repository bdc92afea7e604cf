"""Places: street addresses, cities, states, postal codes, countries. The fakes of one key are one US place.

Knows the names of states and countries, larger cities, and the shapes of postal codes of some 15 countries. It does not
know which street lies in which city: the street of a fake address is invented.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Detector, Keys, Mask, as_mask, is_in, matches, phrases
from twinlake.classify.detectors.names import WORDS
from twinlake.classify.fakes import Ints, digits, draw, joined, pick
from twinlake.classify.features import DIGIT, MARKS, Gate
from twinlake.classify.lexicon import features_of, has, known, plain_of, where
from twinlake.classify.text import listed
from twinlake.classify.words import (
    cities,
    common_words,
    countries,
    country_codes,
    first_names,
    last_names,
    shipped,
    state_codes,
    states,
)

STREET_WORD = (
    "street|st|avenue|ave?|road|rd|drive|dr|lane|ln|court|ct|circle|cir|boulevard|blvd|way|place|pl|terrace|ter|trail|trl"
    "|parkway|pkwy|square|sq|highway|hwy|alley|loop|plaza|point|ridge|row|run|crescent|close|gardens|grove|mews|hill"
    "|heights|crossing|pass|path|pike|park|walk|green|junction|center|suite|apt|unit|floor"
    "|[a-z]*stra(?:ss|ß)e|[a-z]*str\\.?|[a-z]*weg|[a-z]*platz|[a-z]*allee|[a-z]*gasse|[a-z]*ring|[a-z]*ufer|[a-z]*damm"
    "|rue|chemin|impasse|quai|allee|place|route|cours|calle|c/|avenida|av|avda|paseo|plaza|camino|carrera"
    "|via|viale|piazza|corso"
    "|rua|travessa|largo|[a-z]*straat|[a-z]*laan|[a-z]*gatan|[a-z]*vagen|[a-z]*gade|[a-z]*vej|[a-z]*gata"
    "|[a-z]*veien|ulica|ul\\.?"
    "|view|rise|vale|mount|manor|quay|wharf|cottages|estate|vicolo|contrada|borgo|strada|rotonda|viela|praca|alameda|rodovia"
    "|estrada|ladeira|quadra|condominio|loteamento|conjunto|glorieta|ronda|callejon|cuesta|pasaje|rambla|urbanizacion|acceso"
    "|costanilla|[a-z]*steeg|[a-z]*hof|[a-z]*singel|[a-z]*baan|[a-z]*dreef|[a-z]*gracht|[a-z]*kade|[a-z]*plein|[a-z]*dijk|aleja"
    "|plac|al\\.|pl\\.|os\\.|vial|pasadizo|via|c\\.|travesia|callejuela|ctra|carretera|urb"
    "|[a-z]*(?:stigen|grand|torget|torg|backen|vagen|plan|katu|tie|kuja|polku|utca|vegen|stien|vaenget|pad|markt|kai|steig|pfad)"
    "|patio|vereda|morro|recanto|distrito|esplanada|lagoa|lago|campo|fazenda|favela|trecho|passarela|parque|residencial"
    "|colonia|chacara|sitio|setor|trevo|viaduto|vila|nucleo|jardim|aeroporto|estacao|feira|avenue|lgo|trav"
    "|annex|arcade|bayou|bluffs?|bottom|branch|bridge|brooks?|burgs?|bypass|camp|canyon|cape|causeway|centers?|centre|circles"
    "|cliffs?|common|corners?|course|courts|coves?|creek|crest|crossroad|curve|dale|dam|divide|drives|estates|expressway"
    "|extensions?|falls?|ferry|fields?|flats?|fords?|forest|forges?|forks?|freeway|garden|gateway|glens?|greens|groves|harbors?"
    "|haven|hills|hollow|inlet|islands?|isle|junctions|keys?|knolls?|lakes?|landing|light|loaf|locks?|lodge|mall|manors"
    "|meadows?|mills?|mission|motorway|mountains?|neck|orchard|oval|overpass|parks|parkways|passage|pines?|plains?|plazas|points"
    "|ports?|prairie|radial|ramp|ranch|rapids?|rest|ridges|river|roads|route|rue|shoals?|shores?|skyway|springs?|spurs?|squares"
    "|station|stravenue|stream|streets|summit|throughway|trace|track|trafficway|tunnel|turnpike|underpass|unions?|valleys?"
    "|viaduct|views|villages?|ville|vista|walks|wall|ways|wells?"
)
NUMBERED = (
    "#?[0-9]+[a-z]?(?:[-/][0-9]+[a-z]?)?,? +\\S*\\pL{2,}.*"
    "|.*\\pL{2,}\\S*,? +(?:no\\.? ?|nr\\.? ?|n° ?|#)?[0-9]+ ?[a-z]?(?:[-/,. \\n].*)?"
)
BOX = ".*\\b(?:p\\.? ?o\\.? ?box|postfach|apartado|boite postale)\\b.*[0-9].*"
POSTAL = (
    "[0-9]{5}(?:-?[0-9]{3,4})?|[0-9]{4}|[0-9]{6}|[0-9]{3}"  # US, DE, FR, ES, IT, AT, CH, AU, IN; US without zeros
    "|[a-z][0-9][a-z][ -]?[0-9][a-z][0-9]|[a-z]{1,2}[0-9][a-z0-9]? ?[0-9][a-z]{2}|[0-9]{4} ?[a-z]{2}"  # CA, GB, NL
    "|[0-9]{2}-[0-9]{3}|[0-9]{4}-[0-9]{3}|[0-9]{5}-[0-9]{3}|[0-9]{3}-[0-9]{4}"
    "|[0-9]{3} [0-9]{2}"  # PL, PT, BR, JP, SE and CZ
    "|[a-z]{1,3}-? ?[0-9]{3,6}|[0-9]{2} ?[0-9]{3}"  # LV-1010, D-80331, S-958 22
    "|[a-z]-[0-9]{3} [0-9]{2}"
)
TOWN_LIKE = (
    "(?:north|south|east|west|new|port|lake|fort|mount|saint|sainte|st\\.?|ste\\.?|bad|upper|lower|great|little|nova|novo|porto"
    "|villa|vila|santo|sankt)[ -]\\pL[\\pL' -]{2,30}"
    "|\\pL{3,}(?:[ -]\\pL+)?[ -](?:sur|les|lez|sous|en|upon|on|am|an der|under|ob der|aan|la|le)[ -]\\pL{3,}(?:[ -]\\pL+)?"
    "|\\pL{3,} (?:do|da|de|das|dos) (?:norte|sul|oeste|serra|mata|praia|flores|prata|amparo|minas|goias|pedra|campo|galho|ouro"
    "|sul de minas)|\\pL{3,} (?:paulista|alegre|grande|verde|mineiro|velho|novo)"
)
"""How towns are called in many countries: Port X, Saint-X, X-sur-Mer, X upon Y, X do Sul."""
TOWN_HINT = (
    "^(?:north|south|east|west|new|port|lake|fort|mount|saint|sainte|st\\.?|ste\\.?|bad|upper|lower|great|little|nova|novo|porto"
    "|villa|vila|santo|sankt)[ -]|[ -](?:sur|les|lez|sous|en|upon|on|am|an der|under|ob der|aan|la|le)[ -]"
    "| (?:do|da|de|das|dos) | (?:paulista|alegre|grande|verde|mineiro|velho|novo)$"
)
"""What every match of TOWN_LIKE holds."""
TOWN_END = (
    "\\pL{3,}(?:ville|burgh?|bury|borough|mouth|shire|chester|haven|furt|stad|town|bourg|port|fort|berg|land|side|view|ton|ham"
    "|worth|wick|boeuf|dorf|hausen|heim)"
)
GAP = 1 << MARKS.index(" ") | 1 << MARKS.index("\n")
POSTAL_ALONE = (
    "(?i:[a-z][0-9][a-z] ?[0-9][a-z][0-9]|[a-z]{1,2}[0-9][a-z0-9]? [0-9][a-z]{2}|[0-9]{4} [a-z]{2}|[0-9]{5}-[0-9]{4"
    "}|[0-9]{5}-[0-9]{3}"
    "|[0-9]{4}-[0-9]{3}|[0-9]{2}-[0-9]{3}|(?:lv|lt|d|a|ch|f|s|fi|l|b|md|az)-? ?[0-9]{4,5})|[0-9]{3} [0-9]{2}"
)
STREETS = pa.array(
    [
        *listed(
            """
            Oak Maple Cedar Pine Elm Walnut Chestnut Willow Birch Spruce Magnolia Juniper Aspen Laurel Poplar
            Hickory Sycamore Dogwood Main Church High Park Washington Lake Hill Spring River Mill Bridge Meadow
            Forest Sunset Highland Valley Prospect Franklin Jefferson Madison Jackson Lincoln Monroe Adams
            Harrison Liberty Union Center Summit Ridge Garden Orchard Prairie Canyon Harbor Bay Ocean Beach
            Mountain Eagle Fox Deer Robin Heron Falcon Copper Silver Golden Granite Amber
            """
        ),
    ]
)
KINDS = pa.array(
    ["Street", "Avenue", "Road", "Drive", "Lane", "Court", "Circle", "Boulevard", "Way", "Place", "Terrace", "Trail"]
)


def match_street(values: pa.StringArray) -> Mask:
    """A number and a word with a street word between, before or after them, or a post office box."""
    may = has(values, DIGIT) & has(values, GAP)
    return where(values, may, _is_street)


def _is_street(values: pa.StringArray) -> Mask:
    text = plain_of(values)
    numbered = matches(text, NUMBERED) & matches(text, f"(?:.*[- ,.0-9\\n])?(?:{STREET_WORD})(?:[ ,.0-9\\n].*)?")
    return (numbered | matches(text, BOX)) & matches(text, ".{6,200}")


def match_street_shape(values: pa.StringArray) -> Mask:
    """Words with a number first or last."""
    text = plain_of(values)
    return (matches(text, NUMBERED) | matches(text, BOX) | matches(text, f"(?:.* )?(?:{STREET_WORD})(?: .*)?")) & matches(
        text, ".{5,200}"
    )


def match_city(values: pa.StringArray) -> Mask:
    """Towns by their names, in local and English spelling, or by the way that names of towns are made."""
    return _named(values, cities) | _town_like(values)


def _town_like(values: pa.StringArray) -> Mask:
    text = plain_of(values)
    # most texts of several words hold none of those that make a town's name: a pattern without classes of letters sees that
    hinted = as_mask(pc.match_substring_regex(text, TOWN_HINT))
    made = where(text, hinted, lambda some: matches(some, TOWN_LIKE))
    return made | where(text, matches(text, TOWN_END), lambda some: ~known(some, last_names) & ~known(some, first_names))


def match_city_alone(values: pa.StringArray) -> Mask:
    """As `match_city`, but for words of the language that are towns too."""
    return where(values, ~known(plain_of(values), common_words), match_city)


def match_place_shape(values: pa.StringArray) -> Mask:
    """One to five words of letters."""
    return matches(values, "\\pL[\\pL\\pM'’.()/-]+(?:[ ,]+[\\pL\\pM'’.()/-]+){0,4}") & matches(values, ".{3,60}")


def match_state(values: pa.StringArray) -> Mask:
    """US states and territories by name, code or ISO 3166-2 (US-CA); regions of other countries by name."""
    return known(plain_of(values), states) | _state_code(values)


def _state_code(values: pa.StringArray) -> Mask:
    short = features_of(values).length <= 6
    return where(values, short, lambda some: is_in(pc.replace_substring_regex(plain_of(some), "^us-", ""), state_codes())
                 & matches(some, "(?:US-)?[A-Z]{2,3}|(?:us-)?[a-z]{2}"))  # fmt: skip


def match_state_alone(values: pa.StringArray) -> Mask:
    """By name, as US-CA, or by two capital letters: many different ones of them are no accident."""
    short = where(values, features_of(values).length == 2, lambda some: _state_code(some) & matches(some, "[A-Z]{2}"))
    return known(plain_of(values), states) | short | (match_state(values) & matches(values, "US-[A-Z]{2}"))


def match_postal(values: pa.StringArray) -> Mask:
    """Shapes of postal codes; a number of five digits says nothing without a header."""
    return matches(values, POSTAL, ignore_case=True)


def match_postal_alone(values: pa.StringArray) -> Mask:
    """Spellings that hardly anything else has: Canada, Britain, the Netherlands, ZIP+4, Brazil, Portugal, LV-1010."""
    return matches(values, POSTAL_ALONE)


def match_country(values: pa.StringArray) -> Mask:
    """Countries by name in many languages, or by ISO 3166 code in capitals."""
    return _named(values, countries) | _country_code(values)


def _country_code(values: pa.StringArray) -> Mask:
    short = features_of(values).length <= 3
    return where(values, short, lambda some: is_in(plain_of(some), country_codes()) & matches(some, "[A-Z]{2,3}"))


def match_country_alone(values: pa.StringArray) -> Mask:
    """Countries by name."""
    return _named(values, countries)


def _named(values: pa.StringArray, words: Callable[[], pa.StringArray]) -> Mask:
    text = plain_of(values)
    hit = known(text, words)
    odd = ~hit & has(text, 1 << MARKS.index(".") | 1 << MARKS.index("-") | 1 << MARKS.index("_"))
    if odd.any():  # United-States and St. Louis, but Baden-Baden as it is

        def respelled(some: pa.StringArray) -> Mask:
            bare = pc.replace_substring(some, pattern=".", replacement="")
            return known(bare, words) | known(pc.replace_substring_regex(bare, pattern="[-_]", replacement=" "), words)

        hit = hit | where(text, odd, respelled)
    return hit


@cache
def _us_places() -> tuple[pa.StringArray, ...]:
    rows = [line.split(";") for line in shipped("us_cities").to_pylist()]
    return tuple(pa.array(column) for column in zip(*rows, strict=True))


def _place_index(keys: Keys) -> Ints:
    return draw(keys, "place", len(_us_places()[0]))


def fake_street(keys: Keys) -> pa.StringArray:
    """House number, street name, kind of street."""
    number = pa.array(draw(keys, "street number", 9899) + 100).cast(pa.string())
    street = pick(STREETS, draw(keys, "street name", len(STREETS)))
    return joined(number, " ", street, " ", pick(KINDS, draw(keys, "street kind", len(KINDS))))


def fake_city(keys: Keys) -> pa.StringArray:
    """One of some 150 US cities."""
    return pick(_us_places()[0], _place_index(keys))


def fake_state(keys: Keys) -> pa.StringArray:
    """Code of the state of the same place."""
    return pick(_us_places()[1], _place_index(keys))


def fake_postal(keys: Keys) -> pa.StringArray:
    """Five digits that begin as those of the same place do."""
    return joined(pick(_us_places()[2], _place_index(keys)), digits(draw(keys, "postal", 99) + 1, 2))


def fake_country(keys: Keys) -> pa.StringArray:
    """United States, where all the fake places are."""
    return pick(pa.array(["United States"]), np.zeros(len(keys), dtype=np.int64))


PLACES = (
    Detector(
        "STREET_ADDRESS",
        match_street,
        phrases(
            "address, street, street address, address line, addr, street name, home address, adresse, strasse, "
            "anschrift, hausnummer, rue, direccion, calle, domicilio, indirizzo, endereco, adres, straat, straatnaam, "
            "ulica, adress, gatuadress, gata, adresa, osoite, rua, logradouro, morada, domicile, adressezeile"
        ),
        "pattern",
        fake_street,
        9899 * len(STREETS) * len(KINDS),
        alone=match_street,
        gate=Gate(5, 300, letters=(1, 300)),
        bare_gate=Gate(6, 300, digits=(1, 300), letters=(1, 300), some=" \n"),
        shape=match_street_shape,
        against=("email", "e mail", "mail", "ip", "mac", "web", "url"),
    ),
    Detector(
        "CITY",
        match_city,
        phrases(
            "city, town, village, city name, birth city, place of birth, municipality, stadt, ort, wohnort, "
            "geburtsort, gemeinde, ville, commune, localite, ciudad, localidad, municipio, poblacion, citta, cidade, "
            "comune, woonplaats, plaats, gemeente, stad, miasto, miejscowosc, postort, kaupunki, mesto, municipio, "
            "localidade, varos"
        ),
        "dictionary",
        fake_city,
        140,
        alone=match_city_alone,
        gate=WORDS,
        rule="words",
        shape=match_place_shape,
    ),
    Detector(
        "US_STATE",
        match_state,
        phrases(
            "state, us state, state code, state name, state full, state prov, state province, province, region, "
            "subdivision, bundesland, etat, provincia, estado, comunidad autonoma"
        ),
        "dictionary",
        fake_state,
        50,
        alone=match_state_alone,
        gate=WORDS,
        rule="words",
        against=("status", "account state", "order state"),
    ),
    Detector(
        "POSTAL_CODE",
        match_postal,
        phrases(
            "zip, zip code, zipcode, postal, postal code, post code, postcode, postalcode, plz, postleitzahl, "
            "code postal, cp, codigo postal, cap, cep, kod pocztowy, postnummer, postnr, postinumero, psc, "
            "postcodigo, codice postale, codigo postale, iranyitoszam"
        ),
        "weak",
        fake_postal,
        10_000,
        alone=match_postal_alone,
        reads=("text", "number"),
        gate=Gate(3, 12, digits=(2, 9), letters=(0, 5)),
        rule="codes",
    ),
    Detector(
        "COUNTRY",
        match_country,
        phrases(
            "country, country name, country full, country code, native country, nation, land, staat, pays, pais, "
            "country of birth, birth country, geburtsland, paese, nationality"
        ),
        "dictionary",
        fake_country,
        1,
        alone=match_country_alone,
        gate=WORDS,
        rule="words",
    ),
)
