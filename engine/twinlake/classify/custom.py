"""Detectors that a user writes in YAML: a regular expression with a score, a list of phrases, header words.

    classify:
      detectors:
        - {entity: BADGE, pattern: "B-[0-9]{6}", score: 0.9, headers: [badge, badge no]}
        - {entity: PROJECT, phrases: [Apollo, Gemini], alone: true}

Patterns are RE2, so a custom one can't take more than linear time either. Knows nothing of built-in entities.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.detector import Detector, Mask, Search, Strength, is_in, matches
from twinlake.classify.drawn import shaped
from twinlake.classify.text import plain, plain_array
from twinlake.core.errors import ConfigError

if TYPE_CHECKING:
    from twinlake.core.config import Config, DetectorConfig

ENTITY = re.compile(r"[A-Z][A-Z0-9_]{1,63}\Z")
WEAK_BELOW = 0.5
"""A score below it says: the pattern alone says little, a header must speak too."""


def custom_detectors(settings: Sequence[DetectorConfig]) -> dict[str, Detector]:
    """Detectors by entity. Errors: ConfigError with the place in the YAML."""
    out: dict[str, Detector] = {}
    for i, one in enumerate(settings):
        place = f"classify.detectors[{i}]"
        if one.entity in out:
            raise ConfigError(f"{place}.entity: {one.entity} is there twice")
        out[one.entity] = _detector(one, place)
    return out


def with_custom(settings: Sequence[DetectorConfig], given: Mapping[str, Detector] | None = None) -> dict[str, Detector]:
    """The built-in detectors with those of the config and those given in Python; a later one of the same name wins."""
    from twinlake.classify.detectors import DETECTORS

    return {**DETECTORS, **custom_detectors(settings), **(given or {})}


def with_names(config: Config, detectors: Mapping[str, Detector]) -> Config:
    """The config with the names of detectors given in Python: a run with others of them is another run."""
    chosen = config.classify.model_copy(update={"python_detectors": sorted(detectors)})
    return config.model_copy(update={"classify": chosen})


def _detector(one: DetectorConfig, place: str) -> Detector:
    if not ENTITY.match(one.entity):
        raise ConfigError(f"{place}.entity: must be upper snake case such as BADGE_ID, got {one.entity!r}")
    if not one.pattern and not one.phrases:
        raise ConfigError(f"{place}: {one.entity} needs a pattern or phrases")
    pattern = one.pattern
    if pattern is not None:
        _compiled(pattern, place)
    words = pa.array(sorted({plain(phrase).strip() for phrase in one.phrases}), pa.string())

    def match(values: pa.StringArray) -> Mask:
        found = is_in(plain_array(values), words)
        return found | matches(values, pattern, one.ignore_case) if pattern is not None else found

    strength: Strength = "weak" if one.score < WEAK_BELOW else "pattern"
    return Detector(
        one.entity,
        match,
        tuple(" ".join(re.split(r"[\W_]+", plain(header))).strip() for header in one.headers),
        strength,
        shaped("hhhhhhhhhhhh", f"custom {one.entity}", f"{one.entity.lower()}-"),
        16**12,
        alone=match if one.alone else None,
        reads=("text", "number"),
        searches=_searches(one, pattern),
    )


def _searches(one: DetectorConfig, pattern: str | None) -> tuple[Search, ...]:
    out = []
    if pattern is not None:
        out.append(Search(f"(?:{pattern})", r"(?:^|[^\pL\pN_])", one.score, ignore_case=one.ignore_case))
    if one.phrases:
        listed = "|".join(re.escape(phrase) for phrase in sorted(one.phrases, key=len, reverse=True))
        out.append(Search(rf"(?:{listed})\b", r"(?:^|[^\pL\pN_])", one.score, check=False, ignore_case=True))
    return tuple(out)


def _compiled(pattern: str, place: str) -> None:
    try:
        pc.match_substring_regex(pa.array(["x"]), pattern=f"^(?:{pattern})$")
        empty = pc.match_substring_regex(pa.array([""]), pattern=f"^(?:{pattern})$")[0].as_py()
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{place}.pattern: not an RE2 pattern ({str(error).splitlines()[0][:200]})") from None
    if empty:
        raise ConfigError(f"{place}.pattern: matches the empty text, so it would match everywhere")
    if re.search(r"(?<!\\)\((?!\?)", pattern) or re.search(r"(?<!\\)\(\?P?<[^=!]", pattern):
        raise ConfigError(f"{place}.pattern: write groups as (?:...), capturing ones are not allowed")
