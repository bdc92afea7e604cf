"""`fake` puts a surrogate in place of a value: the same for the same value, in every table and run with the same key.

The surrogate is the entity's fake of a 64-bit key, and that key is a keyed BLAKE2b of the value's canonical text
under a sub-key of its domain; without the key nobody can tell which value a surrogate stands for, or try values out.
Spellings that differ in case or spaces are different values unless `fold: true` says otherwise. Two values may share
a surrogate; no value is its own surrogate (within eight draws). Knows no entity by name: the fakes come with the
context.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.errors import PolicyError, escaped, nearest
from twinlake.core.keys import DEFAULT_KEY, Keyring
from twinlake.core.seeds import mix
from twinlake.transform.transforms.base import DOMAIN, KEY, Context, Faker, Parameter, Transform, domain_of
from twinlake.transform.transforms.values import as_type, canonical, folded, is_scalar, is_text, per_distinct

_DRAWS = 8


def fake(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` with each value replaced by its surrogate, or by null where that is no value of the column's type."""
    faker = faker_of(parameters, context)
    subkey = keys[str(parameters.get("key", DEFAULT_KEY))].subkey("fake", surrogate_domain(parameters, context))
    fold = bool(parameters.get("fold", False))

    def convert(texts: list[bytes]) -> pa.Array:
        counters = value_keys(folded(texts) if fold else texts, subkey)
        return _other_than(texts, counters, faker, context.type)

    return per_distinct(array, convert).cast(array.type)


def value_keys(texts: list[bytes], subkey: bytes) -> npt.NDArray[np.uint64]:
    """The 64-bit key of each text: keyed BLAKE2b."""
    digest = hashlib.blake2b
    return np.frombuffer(
        b"".join([digest(text, digest_size=8, key=subkey).digest() for text in texts]), dtype="<u8"
    ).astype(np.uint64)


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
    fakers = all_detectors() if context.detectors is None else context.detectors
    if entity not in fakers:
        raise PolicyError(
            f"no surrogates for entity {escaped(str(entity))!r}{nearest(str(entity), fakers)}; use redact or hash"
        )
    return fakers[entity]


def all_detectors() -> Mapping[str, Faker]:
    """The built-in detectors."""
    from twinlake.classify.detectors import DETECTORS

    return DETECTORS


def fits(faker: Faker, spark_type: str, draws: int = 4096) -> bool:
    """Whether the surrogates are values of `spark_type`: tried on `draws` of them."""
    if not is_scalar(spark_type) or is_text(spark_type):
        return is_text(spark_type)
    texts = faker.fake(_probe(draws))
    return bool(as_type(texts, spark_type).null_count == 0)


def _probe(draws: int) -> npt.NDArray[np.uint64]:
    return mix(np.arange(draws, dtype=np.uint64), 0)


def _other_than(texts: list[bytes], counters: npt.NDArray[np.uint64], faker: Faker, spark_type: str) -> pa.Array:
    """Typed surrogates for `counters`, drawn again where one equals the value it stands for."""
    out = as_type(faker.fake(counters), spark_type)
    for attempt in range(1, _DRAWS):
        same = _equal_rows(out, texts)
        if not len(same):
            break
        again = as_type(faker.fake(mix(counters[same], attempt)), spark_type)
        picks = np.arange(len(texts))
        picks[same] = len(texts) + np.arange(len(same))
        out = pa.concat_arrays([out, again]).take(pa.array(picks))
    return out


def _equal_rows(out: pa.Array, texts: list[bytes]) -> npt.NDArray[np.int64]:
    if pa.types.is_string(out.type):
        pairs = zip(out.cast(pa.binary()).to_pylist(), texts, strict=True)
        return np.array([row for row, (drawn, text) in enumerate(pairs) if drawn == text], dtype=np.int64)
    valid = out.is_valid().to_numpy(zero_copy_only=False).nonzero()[0]
    drawn = canonical(out.drop_null())
    return np.array([row for row, text in zip(valid, drawn, strict=True) if texts[row] == text], dtype=np.int64)


FAKE = Transform(
    "fake",
    fake,
    (
        Parameter("as", str, help="entity whose surrogates are drawn; default: the column's label"),
        KEY,
        DOMAIN,
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
