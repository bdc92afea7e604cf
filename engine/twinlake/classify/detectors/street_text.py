"""Where street addresses stand inside text, by their forms in English, German, French and Spanish. No list of streets.

A form needs a number, a word for a kind of street and a name in capitals, so that "3 of a way" is none; flat, town and
postal code that follow belong to it. RE2, all repeats bounded.
"""

from __future__ import annotations

from twinlake.classify.detector import Search
from twinlake.classify.features import Gate

NAME = "\\p{Lu}[\\pL\\pM'.-]{0,30}"
EDGE = "(?:^|[^\\pL\\pN_])"
UNIT = "(?:,?\\s{1,4}(?:Apt\\.?|Apartment|Suite|Unit|Ste\\.?|Flat|#) ?[0-9][0-9A-Za-z-]{0,6}){0,2}"
TOWN = f"(?:,?\\s{{1,4}}(?:{NAME},?[\\s,]{{1,6}}){{1,5}}?[0-9]{{5}}(?:-[0-9]{{4}})?\\b|,?\\s{{1,4}}[0-9]{{5}} {NAME})?"
KIND = (
    "(?:Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln|Court|Ct|Boulevard|Blvd|Way|Place|Square|Circle|Parkway|Pkwy|Highway|Hwy"
    "|Terrace|Crescent|Close|Gardens|Grove|Trail)"
)
ENGLISH = f"[0-9]{{1,6}}[A-Za-z]? (?:(?:{NAME}|[0-9]{{1,3}}(?:st|nd|rd|th)) ){{1,4}}?{KIND}\\b"
GERMAN = (
    f"(?:{NAME} ){{0,2}}\\p{{Lu}}[\\pL-]{{1,40}}(?:straße|strasse|str\\.|weg|gasse|platz|allee|-Straße|-Weg|-Platz|-Allee)"
    " [0-9]{1,4}(?: ?[a-h])?\\b"
)
FRENCH = (
    "[0-9]{1,4}(?: ?(?:bis|ter))?,? (?:rue|avenue|boulevard|place|impasse|chemin|quai|allée) (?:(?:de|du|des|la|le|les) |[ld]')"
    f"{{0,3}}{NAME}(?:[ -]{NAME}){{0,3}}"
)
SPANISH = (
    "(?:Calle|C/|Avenida|Avda\\.|Av\\.|Paseo|Plaza|Camino) ?(?:(?:de|del|la|las|los|el) ){0,3}"
    f"{NAME}(?: (?:(?:de|del|la|las|los|el|y) ){{0,2}}{NAME}){{0,3}},? (?:n[º°.]? ?)?[0-9]{{1,4}}\\b"
)
BOX = "(?:P\\.? ?O\\.? ?Box|Postfach) [0-9]{1,6}\\b"

GATE = Gate(7, digits=(1, 1 << 30), letters=(3, 1 << 30), some=" \n")
STREET_SEARCHES = tuple(
    Search(f"(?:[0-9]{{2,6}} )?(?:{pattern})" + UNIT + TOWN, EDGE, 0.6, check=False, gate=GATE)
    for pattern in (ENGLISH, GERMAN, FRENCH, SPANISH, BOX)
)
