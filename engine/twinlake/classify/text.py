"""Normal form of text before matching: one spelling for digits, spaces and dashes. Knows nothing of entities."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

INVISIBLE = "[\\x{00AD}\\x{200B}-\\x{200F}\\x{202A}-\\x{202E}\\x{2060}-\\x{2064}\\x{2066}-\\x{2069}\\x{FEFF}]"
DASHES = "[\\x{2010}-\\x{2015}\\x{2212}\\x{FE58}\\x{FE63}]"
MISSING = pa.array(
    ["", "?", "-", "--", ".", "\\n", "null", "none", "nan", "nat", "na", "n/a", "#n/a", "nil", "missing", "unknown"]
)


def listed(words: str) -> list[str]:
    """Words written in a row, as a list: long word lists stay readable."""
    return words.split()


def normalize(values: pa.Array) -> pa.StringArray:
    """NFKC, ASCII digits and dashes, no invisible characters, no space at either end. Null stays null.

    NFKC already turns full-width digits and NBSP into ASCII; digits of other scripts (Arabic-Indic, Devanagari...)
    it leaves, and Python's `int` would read them where RE2's [0-9] does not, so they are mapped here.
    """
    text = values.cast(pa.string())
    if not is_ascii(text):
        text = pc.utf8_normalize(text, form="NFKC")
        text = pc.replace_substring_regex(text, pattern=INVISIBLE, replacement="")
        text = pc.replace_substring_regex(text, pattern=DASHES, replacement="-")
        text = _ascii_digits(text)
    return pc.utf8_trim_whitespace(text)


def is_ascii(values: pa.StringArray) -> bool:
    """Whether no byte of the array lies beyond ASCII: one look at the buffer."""
    data = values.buffers()[2]
    offsets = np.frombuffer(values.buffers()[1], dtype=np.int32)[values.offset : values.offset + len(values) + 1]
    if data is None or not len(offsets):
        return True
    used = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]]
    return not len(used) or int(used.max()) < 128


def is_missing(values: pa.StringArray) -> pa.BooleanArray:
    """True for null and for the words people write in place of a value."""
    known = pc.is_in(pc.utf8_lower(values), value_set=MISSING)
    return pc.or_(pc.is_null(values), known)


def plain(text: str) -> str:
    """Lower case without accents: how dictionaries and headers are compared."""
    folded = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("ø", "o").replace("ł", "l"))
    return "".join(ch for ch in folded if not unicodedata.combining(ch)).lower()


def plain_array(values: pa.StringArray) -> pa.StringArray:
    """`plain` for a whole array: NFKD, combining marks removed, lower case."""
    if is_ascii(values):
        return pc.ascii_lower(values)
    text = pc.utf8_lower(values)
    for letter, spelled in (("ß", "ss"), ("ø", "o"), ("ł", "l")):
        text = pc.replace_substring(text, pattern=letter, replacement=spelled)
    return pc.replace_substring_regex(pc.utf8_normalize(text, form="NFKD"), pattern="\\p{M}", replacement="")


def _ascii_digits(text: pa.StringArray) -> pa.StringArray:
    odd = pc.match_substring_regex(pc.replace_substring_regex(text, pattern="[0-9]", replacement=""), pattern="\\p{Nd}")
    at = np.flatnonzero(odd.fill_null(False).to_numpy(zero_copy_only=False))
    if not len(at):
        return text
    out = text.to_pylist()
    for i in at:
        out[i] = "".join(str(unicodedata.decimal(ch)) if ch.isdecimal() else ch for ch in out[i])
    return pa.array(out, pa.string())
