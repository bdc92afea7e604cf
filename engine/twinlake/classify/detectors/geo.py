"""Places beyond streets and towns: whole addresses, counties, locations, coordinates, plus codes; dates of events."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from twinlake.classify.build import patterned
from twinlake.classify.detector import Detector, Keys, Mask, Search, is_in, matches
from twinlake.classify.detectors.dates import BIRTH
from twinlake.classify.detectors.places import (
    fake_city,
    fake_postal,
    fake_state,
    fake_street,
    match_city,
    match_country,
    match_state,
    match_street,
)  # fmt: skip
from twinlake.classify.drawn import chosen, shaped
from twinlake.classify.fakes import digits, draw, joined
from twinlake.classify.features import Gate
from twinlake.classify.words import shipped

LAT = "[-+]?(?:[0-8]?[0-9](?:\\.[0-9]+)?|90(?:\\.0+)?)"
LON = "[-+]?(?:1[0-7][0-9](?:\\.[0-9]+)?|[0-9]{1,2}(?:\\.[0-9]+)?|180(?:\\.0+)?)"
DEGREES = "[0-9]{1,3}° ?[0-9]{1,2}['′] ?(?:[0-9]{1,2}(?:\\.[0-9]+)?(?:[\"″]|′′|'') ?)?"
PAIR = f"[(\\[]? ?{LAT} ?[,; ] ?{LON} ?[)\\]]?|{DEGREES}[NS][, ]+{DEGREES}[EWO]|POINT ?\\( ?{LON} {LAT} ?\\)|geo:{LAT},{LON}"
POSTED = (
    "(?:[a-z]{2}[ ,.]+)?[0-9]{5}(?:-[0-9]{4})?|[a-z][0-9][a-z] ?[0-9][a-z][0-9]|[a-z]{1,2}[0-9][a-z0-9]? ?[0-9][a-z"
    "]{2}|[0-9]{4,6}"
)


def match_address(values: pa.StringArray) -> Mask:
    """A street address followed by a postal code, or in several lines: as on an envelope."""
    posted = matches(values, f".{{8,}}[ ,\\n]+(?:{POSTED})(?:[ ,\\n]+[\\pL .]{{2,40}})?", ignore_case=True)
    return match_street(values) & (posted & matches(values, ".*[,\\n].*"))


def match_coordinates(values: pa.StringArray) -> Mask:
    """Latitude and longitude in one value: decimal with a fraction, degrees, or WKT."""
    return matches(values, PAIR, ignore_case=True) & matches(values, "[^.]*\\.[0-9]{2,}[^.]*\\.[0-9]{2,}.*|.*°.*")


def match_location(values: pa.StringArray) -> Mask:
    """A town, region or country, or several of them with commas."""
    head = pa.compute.replace_substring_regex(values, pattern=",.*$", replacement="")
    return match_city(head) | match_country(values) | match_state(values)


def fake_address(keys: Keys) -> pa.StringArray:
    """Street, town, state and postal code of the same place."""
    return joined(fake_street(keys), ", ", fake_city(keys), ", ", fake_state(keys), " ", fake_postal(keys))


def _degrees(keys: Keys, name: str, low: int, high: int) -> pa.StringArray:
    whole = draw(keys, name, high - low) + low
    sign = pa.array(np.where(whole < 0, "-", ""))
    return joined(sign, pa.array(np.abs(whole)).cast(pa.string()), ".", digits(draw(keys, f"{name} parts", 10**6), 6))


def fake_coordinates(keys: Keys) -> pa.StringArray:
    """A place somewhere in the contiguous United States."""
    return joined(_degrees(keys, "lat", 30, 48), ", ", _degrees(keys, "lon", -120, -75))


def fake_county(keys: Keys) -> pa.StringArray:
    """A county of the United States, folded to lower case and capitalized."""
    return pa.compute.utf8_title(chosen(shipped("us_counties"), "county")(keys))


def _fake_date(keys: Keys) -> pa.StringArray:
    start = np.datetime64("2000-01-01")
    return pa.array(start + draw(keys, "event date", 8000).astype("timedelta64[D]")).cast(pa.string())


def _county(values: pa.StringArray) -> Mask:
    from twinlake.classify.text import plain_array

    bare = pa.compute.replace_substring_regex(plain_array(values), pattern=" (?:county|parish|borough)$", replacement="")
    return (
        is_in(bare, shipped("us_counties"))
        | matches(values, "(?:County |Co\\. )?[\\pL .'-]{2,40} ?(?:County|Parish|Kreis|Landkreis|shire)", ignore_case=True)
        | matches(values, "(?:Landkreis|Kreis|County|Co\\.) [\\pL .'-]{2,40}")
    )


OLC = "23456789CFGHJMPQRVWX"
FLOAT = ("text", "number")
GEO: tuple[Detector, ...] = (
    Detector(
        "ADDRESS", match_address, ("full address", "address", "mailing address", "postal address", "billing address",
            "shipping address", "anschrift", "adresse complete", "complete address", "home address", "residential address",
            "location address"), "pattern",
        fake_address, 10**8, alone=match_address, gate=Gate(12, 400, digits=(2, 40), letters=(4, 400), some=",\n"),
            against=("email", "e mail", "mail address", "ip", "mac", "web", "url"),
    ),
    Detector("COUNTY", _county, ("county", "county name", "parish", "landkreis", "kreis", "comte", "condado", "contea"),
        "weak", fake_county, 1800, gate=Gate(2, 60), shape=lambda values: matches(values, "[\\pL .'-]{3,40}"),
        shape_least=0.1),
    Detector("LOCATION", match_location, ("location", "place", "gpe", "locality", "whereabouts", "standort", "lieu", "lugar",
        "ubicacion", "luogo", "hometown", "geo location", "geolocation", "birth place", "birthplace", "place of residence"),
        "weak", fake_city, 140, gate=Gate(2, 120), against=("location id", "location code")),
    patterned("LATITUDE", f"{LAT}|{DEGREES}[NS]?", ("latitude", "lat", "geo lat", "gps lat", "gps latitude", "breitengrad",
        "latitud", "latitudine"), shaped("999999", "lat", "41."), 10**6, weak=True, gate=Gate(1, 24, digits=(1, 20)),
        reads=FLOAT, ignore_case=True),
    patterned("LONGITUDE", f"{LON}|{DEGREES}[EWO]?", ("longitude", "lon", "lng", "long", "geo lon", "geo lng", "geo long",
        "gps lon", "gps longitude", "langengrad", "longitud", "longitudine"), shaped("999999", "lon", "-87."), 10**6,
        weak=True, gate=Gate(1, 24, digits=(1, 20)), reads=FLOAT),
    Detector(
        "COORDINATES", match_coordinates, ("coordinates", "coordinate", "gps", "gps coordinates", "latlon", "lat lon",
            "latlng", "lat long", "lat lng", "geo", "geo point", "geopoint", "koordinaten", "coordonnees", "coordenadas",
            "position", "location", "geolocation"), "pattern",
        fake_coordinates, 10**12, alone=match_coordinates, gate=Gate(6, 80, digits=(3, 40)),
        searches=(Search("-?[0-9]{1,2}\\.[0-9]{3,8}, ?-?[0-9]{1,3}\\.[0-9]{3,8}", "(?:^|[^0-9.])", 0.8, gate=Gate(9,
            digits=(8, 1 << 30), needs=".,")),),
    ),
    patterned("PLUS_CODE",
        "(?:[23456789CFGHJMPQRVWX]{4}|[23456789CFGHJMPQRVWX]{8})\\+[23456789CFGHJMPQRVWX]{2,3}(?: .{2,60})?", ("plus code",
        "google olc", "olc", "open location code"), chosen(pa.array([f"849VCWC8+{a}{b}" for a in OLC for b in OLC]), "olc"),
        400, alone=True, gate=Gate(7, 80, needs="+"),
              searches=(Search("\\b(?:[23456789CFGHJMPQRVWX]{8}|[23456789CFGHJMPQRVWX]{4})\\+[23456789CFGHJMPQRVWX]{2,3}\\b",
                  "", 0.8, gate=Gate(7, needs="+")),)),
    Detector(
        "DATE_TIME", lambda values: matches(values, BIRTH, ignore_case=True), ("hire date", "hired", "date of hire",
            "admission date", "admit date", "discharge date", "date of death", "death date", "date of admission",
            "date of discharge", "visit date", "appointment date", "appointment", "wedding date", "marriage date",
            "termination date", "deceased date", "date of service", "service date", "hiredate", "event date", "surgery date"),
            "weak",
        _fake_date, 8000, reads=("text", "date"), gate=Gate(6, 40, digits=(3, 24)),
        searches=(
            Search("(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9](?:[T ][0-2][0-9]:[0-5][0-9](?::[0-5][0-9](?:\\.[0-9]{1,9"
                "})?)?)?|\\b[0-3]?[0-9][/.][0-3]?[0-9][/.](?:19|20)?[0-9]{2}\\b", "(?:^|[^0-9-])", 0.7, gate=Gate(6,
                digits=(4, 1 << 30))),
            Search("\\b(?:[0-3]?[0-9](?:st|nd|rd|th)?(?: of)? (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct"
                "|nov|dec)[a-z]{0,6}\\.?,? (?:19|20)[0-9]{2}|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov"
                "|dec)[a-z]{0,6}\\.? [0-3]?[0-9](?:st|nd|rd|th)?,? (?:19|20)[0-9]{2})\\b", "", 0.7, ignore_case=True,
                check=False, gate=Gate(8, digits=(5, 1 << 30))),
        ),
    ),
)  # fmt: skip
