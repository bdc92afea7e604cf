"""Names by gender and by locale, from the word lists of Faker's providers (MIT): for fakes in a language, and for telling
a name's gender. Nothing is loaded before it is asked for. Knows no keys and no policies.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import PolicyError, escaped
from twinlake.core.seeds import derive, mix
from twinlake.transform.transforms.matrices import holds

UInt64 = npt.NDArray[np.uint64]
_TOLD_BY = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "nl_NL", "sv_SE", "pl_PL")
_TITLE_WORDS = pa.array([title + dot for title in "mr mrs ms dr prof miss herr frau".split() for dot in ("", ".")])  # noqa: SIM905
_TITLES = r"(?:mrs?|ms|dr|prof|miss|herr|frau)\.? +"
LOCALIZED = ("PERSON", "FIRST_NAME", "LAST_NAME", "CITY")
"""The entities whose fakes can be asked for in a locale."""


@dataclass(frozen=True)
class LocaleFaker:
    """Surrogates of one entity in one locale."""

    fake: Callable[[UInt64], pa.StringArray]
    space: int


@cache
def locale_faker(entity: str, locale: str) -> LocaleFaker:
    """Names or cities of `locale`, such as de_DE. Errors: PolicyError if there are none."""
    if entity not in LOCALIZED:
        raise PolicyError(f"fakes of {escaped(entity)} have no locale; those of {', '.join(LOCALIZED)} have")
    if entity == "CITY":
        cities = _city_words(locale)
        return LocaleFaker(lambda keys: _pick(cities, keys, "city"), len(cities))
    female, male = (pa.array(words) for words in first_names(locale))
    last = pa.array(_words(_provider("person", locale), ("last_names", "last_names_female", "last_names_male")))
    first = pa.array(sorted({*female.to_pylist(), *male.to_pylist()}))
    _refuse_empty(locale, first, last)
    if entity == "FIRST_NAME":
        return LocaleFaker(lambda keys: _pick(first, keys, "first"), len(first))
    if entity == "LAST_NAME":
        return LocaleFaker(lambda keys: _pick(last, keys, "last"), len(last))
    return LocaleFaker(
        lambda keys: pc.binary_join_element_wise(_pick(first, keys, "first"), _pick(last, keys, "last"), " "),
        len(first) * len(last),
    )


def gendered_first_names(keys: UInt64, female: npt.NDArray[np.bool_], locale: str | None) -> pa.StringArray:
    """A first name of the wanted gender for each key: Faker's of `locale`, or the shipped ones."""
    if locale is None:
        from twinlake.classify.words import shipped

        women, men = shipped("first_female"), shipped("first_male")
    else:
        women, men = (pa.array(words) for words in first_names(locale))
        _refuse_empty(locale, women, men)
    return pc.if_else(pa.array(female), _pick(women, keys, "woman"), _pick(men, keys, "man"))


@cache
def gender_lists() -> tuple[pa.StringArray, pa.StringArray]:
    """First names, in lower case, that are women's only and men's only in ten locales."""
    pairs = [first_names(locale) for locale in _TOLD_BY]
    female = {word.lower() for women, _ in pairs for word in women}
    male = {word.lower() for _, men in pairs for word in men}
    return pa.array(sorted(female - male)), pa.array(sorted(male - female))


def gender_of(names: pa.StringArray) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(female, male) by the first name of each value: `Ann Lee`, `Lee, Ann`, `Dr. Ann Lee`. Neither where unknown."""
    text = pc.utf8_lower(names)
    # each pass over the text costs as much as drawing the surrogates, and most columns have neither commas nor titles
    if holds(text, ","):
        text = pc.replace_substring_regex(text, r"^[^,]+, *", "")
    first = _first_words(text)
    if holds(text, "\n") or pc.any(pc.is_in(first, value_set=_TITLE_WORDS)).as_py():
        first = _first_words(pc.replace_substring_regex(text, rf"^(?:{_TITLES})+", ""))
    women, men = gender_lists()
    female, male = (pc.is_in(first, value_set=words).to_numpy(zero_copy_only=False) for words in (women, men))
    return female, male


def _first_words(text: pa.StringArray) -> pa.StringArray:
    """What stands before the first space or hyphen of each value."""
    text = pc.utf8_trim_whitespace(text)
    if holds(text, "\n"):  # of several lines the last one is cut
        return pc.replace_substring_regex(text, r"[\s-].*$", "")
    return pc.extract_regex(text, r"^(?P<first>[^\s-]*)").field(0)


@cache
def first_names(locale: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Women's and men's first names of a locale, each sorted. Errors: PolicyError for an unknown locale."""
    provider = _provider("person", locale)
    return _words(provider, ("first_names_female",)), _words(provider, ("first_names_male",))


def _city_words(locale: str) -> pa.StringArray:
    words = _words(_provider("address", locale), ("cities", "city_names", "municipalities"))
    if not words:
        raise PolicyError(f"there is no list of cities for locale {escaped(locale)}; leave the locale out")
    return pa.array(words)


def _refuse_empty(locale: str, *lists: pa.StringArray) -> None:
    if not all(len(words) for words in lists):
        raise PolicyError(f"there is no list of names for locale {escaped(locale)}; choose another")


def _provider(kind: str, locale: str) -> Any:
    if not locale.replace("_", "").isalnum():
        raise PolicyError(f"{escaped(locale)!r} is no locale; write it like de_DE")
    try:
        return importlib.import_module(f"faker.providers.{kind}.{locale}").Provider
    except ModuleNotFoundError:
        raise PolicyError(f"no locale {escaped(locale)!r} for names; locales are written like de_DE, fr_FR, ja_JP") from None


def _words(provider: Any, names: Iterable[str]) -> tuple[str, ...]:
    found: set[str] = set()
    for name in names:
        for item in getattr(provider, name, ()) or ():
            word = item if isinstance(item, str) else item[0] if isinstance(item, tuple | list) and item else ""
            found.update([word] if isinstance(word, str) and word else [])
    return tuple(sorted(found))


def _pick(words: pa.StringArray, keys: UInt64, name: str) -> pa.StringArray:
    index = mix(keys, derive(0, "locale fake", name)) % np.uint64(len(words))
    return words.take(pa.array(index.astype(np.int64)))
