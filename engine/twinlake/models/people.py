"""Who a synthetic row is about: keys from which all surrogates of a row are drawn, so that they agree with each other.

One key stands for a person (names, e-mail, phone), one for a place (city, state, postal code). Where a column that tells
gender or state is modelled, the key is chosen so that the surrogates agree with what the model drew. Pure functions of
(row id, seed, drawn value). Knows nothing of real people.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.seeds import derive, mix

UInt64 = npt.NDArray[np.uint64]
PLACES = ("CITY", "US_STATE", "POSTAL_CODE", "COUNTRY")
TRIES = 16
POOL = 20_000


def keys_for(entity: str, row_ids: UInt64, seed: int, drawn: dict[str, pa.Array]) -> UInt64:
    """The keys for the surrogates of `entity`. `drawn` holds modelled columns by entity, of which GENDER and US_STATE count."""
    if entity in PLACES:
        return _place_keys(row_ids, seed, drawn.get("US_STATE"))
    return _person_keys(row_ids, seed, drawn.get("GENDER"))


def _person_keys(row_ids: UInt64, seed: int, genders: pa.Array | None) -> UInt64:
    from twinlake.classify.detectors import DETECTORS

    keys = mix(row_ids, derive(seed, "person"))
    if genders is None:
        return keys
    wanted = _initials(genders)
    open_ = np.flatnonzero((wanted == "m") | (wanted == "f"))
    for attempt in range(1, TRIES):  # half of the rest agrees each time
        open_ = open_[_initials(DETECTORS["GENDER"].fake(keys[open_])) != wanted[open_]]
        if not len(open_):
            break
        keys[open_] = mix(row_ids[open_], derive(seed, "person", attempt))
    return keys


def _initials(texts: pa.Array) -> npt.NDArray[np.str_]:
    """m, f, or whatever else the text starts with; nothing for null."""
    lowered = pc.utf8_slice_codeunits(pc.utf8_lower(texts.cast(pa.string())), 0, 1).fill_null("")
    return np.asarray(lowered.to_numpy(zero_copy_only=False), dtype=str)


def _place_keys(row_ids: UInt64, seed: int, states: pa.Array | None) -> UInt64:
    keys = mix(row_ids, derive(seed, "place"))
    if states is None:
        return keys
    texts = pc.utf8_upper(states.cast(pa.string())).fill_null("")
    encoded = texts.dictionary_encode()
    codes = encoded.indices.to_numpy()
    for code, state in enumerate(encoded.dictionary.to_pylist()):
        pool = _keys_by_state().get(state)
        if pool is not None:
            rows = np.flatnonzero(codes == code)
            keys[rows] = pool[(keys[rows] % np.uint64(len(pool))).astype(np.int64)]
    return keys


@lru_cache(maxsize=1)
def _keys_by_state() -> dict[str, UInt64]:
    """Place keys grouped by the state that their surrogate names."""
    from twinlake.classify.detectors import DETECTORS

    keys = mix(np.arange(POOL, dtype=np.uint64), derive(0, "places"))
    states = np.asarray(pc.utf8_upper(DETECTORS["US_STATE"].fake(keys)).to_numpy(zero_copy_only=False), dtype=str)
    return {state: keys[states == state] for state in np.unique(states).tolist()}
