"""Word lists: for detection from Faker's locale providers (MIT) at run time, for fakes from small files shipped here.

Detection wants breadth and may change with Faker's version; fakes want stability, hence the files. Words for detection
are compared in the form of `text.plain` (lower case, no accents). Nothing is loaded before it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from twinlake.classify.text import listed, plain

PERSON_LOCALES = [
    *listed(
        """
        en_US en_GB en_IE en_NZ en_IN en_KE en_NG en_PK de_DE de_AT de_CH fr_FR fr_CA fr_CH es_ES es_MX es_AR
        es_CO it_IT pt_PT pt_BR nl_NL nl_BE sv_SE no_NO da_DK fi_FI is_IS pl_PL cs_CZ sk_SK hu_HU hr_HR sl_SI
        ro_RO lt_LT lv_LV et_EE tr_TR id_ID vi_VN yo_NG ru_RU uk_UA el_GR bg_BG ja_JP zh_CN ko_KR ar_SA he_IL
        hi_IN
        """
    ),
]
PLACE_LOCALES = [
    *listed(
        """
        en de_DE de_AT de_CH fr_FR fr_CA es_ES es_MX es_AR es_CO es_CL it_IT pt_PT pt_BR nl_NL nl_BE sv_SE no_NO
        da_DK fi_FI pl_PL cs_CZ sk_SK hu_HU hr_HR sl_SI ro_RO en_IN en_PH en_US en_AU en_CA id_ID ru_RU uk_UA
        ja_JP zh_CN
        """
    ),
]
# names of places and of peoples' countries that Faker's lists write differently
COUNTRY_EXTRA = (
    "usa",
    "america",
    "united states",
    "united states of america",
    "great britain",
    "england",
    "scotland",
    "wales",
    "northern ireland",
    "south korea",
    "north korea",
    "korea",
    "russia",
    "vietnam",
    "iran",
    "syria",
    "taiwan",
    "laos",
    "bolivia",
    "venezuela",
    "tanzania",
    "moldova",
    "czechia",
    "czech republic",
    "hong kong",
    "macau",
    "ivory coast",
    "cape verde",
    "palestine",
    "holland",
    "holand netherlands",
    "yugoslavia",
    "kosovo",
    "macedonia",
    "burma",
    "swaziland",
    "trinidad and tobago",
    "columbia",
    "trinadad&tobago",
    "outlying us(guam usvi etc)",
    "el salvador",
    "dominican republic",
)


@cache
def shipped(name: str) -> pa.StringArray:
    """The lines of a file in `data/`, in order, without comments."""
    text = (Path(__file__).parent / "data" / f"{name}.txt").read_text(encoding="utf-8")
    return pa.array([line for line in text.splitlines() if line and not line.startswith("#")], pa.string())


@cache
def first_names() -> pa.StringArray:
    """First names of many languages, with their romanized spellings where Faker has them."""
    words = [word for provider in _providers("person", PERSON_LOCALES) for word in _listed(provider, "first_name")]
    return _array([*words, *shipped("first_census").to_pylist()])


@cache
def last_names() -> pa.StringArray:
    """Last names of many languages."""
    words = [word for provider in _providers("person", PERSON_LOCALES) for word in _listed(provider, "last_name")]
    return _array([*words, *shipped("last_census").to_pylist()])


@cache
def cities() -> pa.StringArray:
    """Towns of the world and of the locales that list theirs. Small towns of most countries are not in it."""
    from faker.providers.geo import Provider as Geo

    words: list[str] = [*shipped("towns").to_pylist(), *(place[2] for place in Geo.land_coords)]
    words += [line.split(";")[0] for line in shipped("us_cities").to_pylist()]
    for provider in _providers("address", PLACE_LOCALES):
        words += list(getattr(provider, "cities", ())) + list(getattr(provider, "city_names", ()))
    words += shipped("cities_world").to_pylist()
    # the shortest Italian and Dutch villages are also ordinary words and codes
    return _array(word.replace(".", "") for word in words if len(word) > 3)


@cache
def countries() -> pa.StringArray:
    """Country names in many languages."""
    words = [*COUNTRY_EXTRA]
    for provider in _providers("address", PLACE_LOCALES):
        words += [word for word in getattr(provider, "countries", ()) if isinstance(word, str)]
    return _array(word.replace(".", "") for word in words if len(word) > 2)


@cache
def country_codes() -> pa.StringArray:
    """ISO 3166 codes of two and three letters."""
    from faker.providers.address import Provider as Address

    return _array([*Address.alpha_2_country_codes, *Address.alpha_3_country_codes, "UK"])


@cache
def states() -> pa.StringArray:
    """Full names of states, provinces and regions: all of the US and of the locales that list theirs."""
    words = ["District of Columbia", "Puerto Rico", "Guam", "Virgin Islands", "American Samoa"]
    for provider in _providers("address", PLACE_LOCALES):
        for group in ("states", "provinces", "regions"):
            listed = getattr(provider, group, ())
            words += [word for item in listed for word in (item if isinstance(item, tuple) else (item,))]
    return _array(word for word in words if len(word) > 3)


@cache
def state_codes() -> pa.StringArray:
    """Two- and three-letter codes of US states and territories, Canadian provinces and Australian states."""
    from faker.providers.address.en_US import Provider as Address

    more = "PR GU VI AS MP AE AP AA AB BC MB NB NL NS NT NU ON PE QC SK YT NSW QLD TAS VIC ACT"
    return _array([*Address.states_abbr, *more.split()])


@cache
def rather_first() -> pa.StringArray:
    """Names that are more often a first than a last name."""
    return shipped("rather_first")


@cache
def rather_last() -> pa.StringArray:
    """Names that are more often a last than a first name."""
    return shipped("rather_last")


@cache
def common_words() -> pa.StringArray:
    """Frequent English words, and months and colours: they are names too, but say nothing of people."""
    from faker.providers.lorem.en_US import Provider as Lorem

    own = listed(
        """january february march april may june july august monday tuesday wednesday thursday friday saturday sunday red
        green blue black white brown gray grey gold silver pink purple orange yellow north south east west large small medium
        low high yes no true false none other new old open closed active spring summer autumn winter dog cat rock"""
    )
    return _array([*Lorem.word_list, *own])


def _array(words: Iterable[str]) -> pa.StringArray:
    return pa.array(sorted({plain(word).strip() for word in words if word}), pa.string())


def _providers(group: str, locales: Iterable[str]) -> Iterator[Any]:
    for locale in locales:
        try:
            yield importlib.import_module(f"faker.providers.{group}.{locale}").Provider
        except ModuleNotFoundError:  # a locale may come or go with Faker's version
            continue


def _listed(provider: Any, part: str) -> Iterator[str]:
    for attribute in dir(provider):
        if part not in attribute:
            continue
        value = getattr(provider, attribute)
        for item in value if isinstance(value, (tuple, list, dict, set)) else ():
            words = item if isinstance(item, (tuple, list)) else (item,)  # ja_JP: (kanji, kana, romanized)
            yield from (word for word in words if isinstance(word, str) and len(word) > 1)
