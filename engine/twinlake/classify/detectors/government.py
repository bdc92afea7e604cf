"""Numbers that a government gives to people: the US social security number so far."""

from __future__ import annotations

import pyarrow as pa
from stdnum.us import ssn

from twinlake.classify.detector import Detector, Keys, Mask, Search, matches, narrowed
from twinlake.classify.fakes import digits, draw, joined
from twinlake.classify.features import Gate

# numbers printed in advertisements and on sample cards: python-stdnum calls them invalid, yet they are labelled, so
# that a column of SSNs with them is not left unprotected
KNOWN_SAMPLES = frozenset({"078-05-1120", "457-55-5462", "219-09-9999"})


def match_ssn(values: pa.StringArray) -> Mask:
    """AAA-GG-SSSS, also with spaces or bare; area not 000, 666 or 9xx, group not 00, serial not 0000."""
    return narrowed(values, matches(values, "[0-9]{3}([- ]?)[0-9]{2}([- ]?)[0-9]{4}"), _valid_ssn)


def match_ssn_alone(values: pa.StringArray) -> Mask:
    """As `match_ssn`, with dashes: nine bare digits may be anything."""
    return match_ssn(values) & matches(values, "[0-9]{3}-[0-9]{2}-[0-9]{4}")


def _valid_ssn(value: str) -> bool:
    bare = value.replace("-", "").replace(" ", "")
    grouped = f"{bare[:3]}-{bare[3:5]}-{bare[5:]}"
    return grouped in KNOWN_SAMPLES or bool(ssn.is_valid(grouped))


def fake_ssn(keys: Keys) -> pa.StringArray:
    """SSNs of valid format (area 001 to 899 without 666): drawn by chance, so one may happen to be someone's."""
    area = draw(keys, "ssn area", 898) + 1
    area = area + (area >= 666)
    group = draw(keys, "ssn group", 99) + 1
    return joined(digits(area, 3), "-", digits(group, 2), "-", digits(draw(keys, "ssn serial", 9999) + 1, 4))


GOVERNMENT = (
    Detector(
        "US_SSN",
        match_ssn,
        (
            "ssn",
            "social security",
            "social security number",
            "social security no",
            "soc sec",
            "us ssn",
            "ss number",
            "ssnum",
        ),
        "pattern",
        fake_ssn,
        898 * 99 * 9999,
        alone=match_ssn_alone,
        gate=Gate(9, 11, digits=(9, 9), letters=(0, 0), ascii=True),
        reads=("text", "number"),
        searches=(Search("\\b[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\\b", score=0.9, gate=Gate(digits=(9, 1 << 30), needs="-")),),
    ),
)
