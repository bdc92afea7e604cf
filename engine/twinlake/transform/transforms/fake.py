"""`fake` puts a surrogate in place of a value: the same for the same value, in every table and run with the same key.

The surrogate is the entity's fake of a 64-bit key, and that key is a keyed BLAKE2b of the value's canonical text
under a sub-key of its domain; without the key nobody can tell which value a surrogate stands for, or try values out.
The surrogate is written as the value is: separators, length, letter case, `Last, First`, a woman's name
for a woman's (`format: plain` leaves it as drawn).
Spellings that differ in case or spaces are different values unless `fold: true` says otherwise. Two values may share
a surrogate; no value is its own surrogate (within eight draws). Knows no entity by name: the fakes come with the
context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.errors import PolicyError, escaped, nearest
from twinlake.core.keys import DEFAULT_KEY, Keyring
from twinlake.core.seeds import mix
from twinlake.transform.transforms.base import DOMAIN, KEY, Context, Faker, Parameter, Transform, domain_of
from twinlake.transform.transforms.formats import in_format
from twinlake.transform.transforms.locales import gender_of, gendered_first_names, locale_faker
from twinlake.transform.transforms.prf import value_keys
from twinlake.transform.transforms.values import as_type, by_distinct, canonical, folded, is_scalar, is_text, repaired

_DRAWS = 8


def fake(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` with each value replaced by its surrogate, or by null where that is no value of the column's type."""
    draw = _drawer(parameters, context)
    subkey = keys[str(parameters.get("key", DEFAULT_KEY))].subkey("fake", surrogate_domain(parameters, context))
    fold = bool(parameters.get("fold", False))

    def convert(values: pa.Array) -> pa.Array:
        texts = canonical(values)
        counters = value_keys(folded(texts) if fold else texts, subkey)
        return _other_than(values, texts, counters, draw, context.type)

    return by_distinct(array, convert).cast(array.type)


Draw = Callable[[pa.Array, npt.NDArray[np.uint64]], pa.Array]
"""(values as text, 64-bit keys) -> surrogate texts."""


def _drawer(parameters: Mapping[str, Any], context: Context) -> Draw:
    faker, entity = faker_of(parameters, context), str(parameters.get("as") or context.entity)
    locale = parameters.get("locale")
    keeps = parameters.get("format", "kept") == "kept"
    # a caller's own detector draws as it likes; the shipped names know women's from men's
    gendered = keeps and entity in ("PERSON", "FIRST_NAME") and not (context.detectors and entity in context.detectors)

    def draw(texts: pa.Array, counters: npt.NDArray[np.uint64]) -> pa.Array:
        fakes = faker.fake(counters)
        if gendered:
            fakes = _same_gender(entity, texts, fakes, counters, None if locale is None else str(locale))
        return in_format(entity, texts, fakes, counters) if keeps else fakes

    return draw


def _same_gender(
    entity: str, texts: pa.Array, fakes: pa.Array, counters: npt.NDArray[np.uint64], locale: str | None
) -> pa.Array:
    female, male = gender_of(texts)
    names = gendered_first_names(counters, female, locale)
    if locale is not None:
        rest = pc.replace_substring_regex(fakes, r"^\S+", "")
        names = pc.binary_join_element_wise(names, rest, "")
    elif entity == "PERSON":  # the shipped first names are single words: the rest is the last name, which is quicker drawn anew
        names = pc.binary_join_element_wise(names, all_detectors()["LAST_NAME"].fake(counters), " ")
    return pc.if_else(pa.array(female | male), names, fakes)


def surrogate_domain(parameters: Mapping[str, Any], context: Context) -> str:
    """The join domain of a faked column: declared, else the entity whose fakes are drawn."""
    return str(parameters.get("domain") or parameters.get("as") or domain_of(parameters, context))


def faker_of(parameters: Mapping[str, Any], context: Context) -> Faker:
    """The fakes for a column: of `as`, else of its label. Errors: PolicyError if there are none."""
    entity = parameters.get("as") or context.entity
    if entity is None:
        raise PolicyError(
            f"column {escaped(context.column)!r} has no label, so `fake` needs `as: ENTITY`, such as `as: PERSON`"
        )
    if (locale := parameters.get("locale")) is not None:
        return locale_faker(str(entity), str(locale))
    fakers = all_detectors(context.detectors)
    if entity not in fakers:
        raise PolicyError(
            f"no surrogates for entity {escaped(str(entity))!r}{nearest(str(entity), fakers)}; use redact or hash"
        )
    return fakers[entity]


def all_detectors(own: Mapping[str, Faker] | None = None) -> Mapping[str, Faker]:
    """The built-in detectors, with the caller's `own`."""
    from twinlake.classify.detectors import DETECTORS

    return {**DETECTORS, **own} if own else DETECTORS


def fits(faker: Faker, spark_type: str, draws: int = 4096) -> bool:
    """Whether the surrogates are values of `spark_type`: tried on `draws` of them."""
    if not is_scalar(spark_type) or is_text(spark_type):
        return is_text(spark_type)
    texts = faker.fake(_probe(draws))
    return bool(as_type(texts, spark_type).null_count == 0)


def _probe(draws: int) -> npt.NDArray[np.uint64]:
    return mix(np.arange(draws, dtype=np.uint64), 0)


def _other_than(
    values: pa.Array, texts: list[bytes], counters: npt.NDArray[np.uint64], draw: Draw, spark_type: str
) -> pa.Array:
    """Typed surrogates for `counters`, drawn again where one equals the value it stands for."""
    plain = values.cast(pa.string()) if is_text(spark_type) else pa.array([text.decode() for text in texts], pa.string())
    plain = repaired(plain)  # of such a value the format can be told but in part
    out = as_type(draw(plain, counters), spark_type)
    for attempt in range(1, _DRAWS):
        rows = _equal_rows(out, values)
        if not len(rows):
            break
        at = pa.array(rows)
        drawn = as_type(draw(plain.take(at), mix(counters[rows], attempt)), spark_type)
        mask = np.zeros(len(out), dtype=bool)
        mask[rows] = True
        out = pc.replace_with_mask(out, pa.array(mask), drawn)
    return out


def _equal_rows(out: pa.Array, values: pa.Array) -> npt.NDArray[np.int64]:
    if pa.types.is_string(out.type):
        same = pc.equal(out.cast(pa.binary()), values.cast(pa.binary()))
    else:
        same = pc.equal(out, values.cast(out.type))
    return np.flatnonzero(same.fill_null(False).to_numpy(zero_copy_only=False))


FAKE = Transform(
    "fake",
    fake,
    (
        Parameter("as", str, help="entity whose surrogates are drawn; default: the column's label"),
        KEY,
        DOMAIN,
        Parameter("locale", str, minimum=2, maximum=12, help="names and cities of this locale, such as de_DE"),
        Parameter("format", str, "kept", ("kept", "plain"), help="kept: in the value's own spelling and letter case"),
        Parameter("fold", bool, False, help="values that differ in case, spaces or Unicode form only count as one"),
        Parameter(
            "allow_collisions",
            bool,
            False,
            help="accept that a unique column may get equal surrogates for different values",
        ),
    ),
    takes=is_scalar,
    removes=True,
)
