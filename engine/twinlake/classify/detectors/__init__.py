"""The detectors by entity. A new one is a file (or a place in one) and a line here; the contract suite covers it."""

from __future__ import annotations

from twinlake.classify.detector import Detector
from twinlake.classify.detectors.contact import CONTACT
from twinlake.classify.detectors.dates import DATES
from twinlake.classify.detectors.government import GOVERNMENT
from twinlake.classify.detectors.names import NAMES
from twinlake.classify.detectors.network import NETWORK
from twinlake.classify.detectors.payment import PAYMENT
from twinlake.classify.detectors.places import PLACES

_EMAIL, _PHONE, _URL = CONTACT
_CARD, _IBAN = PAYMENT
_PERSON, _FIRST, _LAST, _GENDER = NAMES
_IP, _MAC, _UUID = NETWORK
_STREET, _CITY, _STATE, _POSTAL, _COUNTRY = PLACES

DETECTORS: dict[str, Detector] = {
    "EMAIL_ADDRESS": _EMAIL,
    "PHONE_NUMBER": _PHONE,
    "CREDIT_CARD": _CARD,
    "IBAN_CODE": _IBAN,
    "US_SSN": GOVERNMENT[0],
    "IP_ADDRESS": _IP,
    "MAC_ADDRESS": _MAC,
    "URL": _URL,
    "UUID": _UUID,
    "PERSON": _PERSON,
    "FIRST_NAME": _FIRST,
    "LAST_NAME": _LAST,
    "GENDER": _GENDER,
    "BIRTH_DATE": DATES[0],
    "STREET_ADDRESS": _STREET,
    "CITY": _CITY,
    "US_STATE": _STATE,
    "POSTAL_CODE": _POSTAL,
    "COUNTRY": _COUNTRY,
}
