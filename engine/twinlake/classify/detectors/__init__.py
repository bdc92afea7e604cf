"""The detectors by entity. A new one is a file (or a place in one) and a line here; the contract suite covers it."""

from __future__ import annotations

from twinlake.classify.detector import Detector
from twinlake.classify.detectors.contact import CONTACT
from twinlake.classify.detectors.credentials import CREDENTIAL
from twinlake.classify.detectors.dates import DATES
from twinlake.classify.detectors.devices import DEVICES
from twinlake.classify.detectors.finance import FINANCE
from twinlake.classify.detectors.geo import GEO
from twinlake.classify.detectors.government import GOVERNMENT
from twinlake.classify.detectors.health import HEALTH
from twinlake.classify.detectors.identity import IDENTITY
from twinlake.classify.detectors.names import NAMES
from twinlake.classify.detectors.national import BY_SCHEME
from twinlake.classify.detectors.network import NETWORK
from twinlake.classify.detectors.payment import PAYMENT
from twinlake.classify.detectors.people import PEOPLE
from twinlake.classify.detectors.places import PLACES
from twinlake.classify.detectors.tax import OWN, TAX
from twinlake.classify.detectors.work import WORK

DETECTORS: dict[str, Detector] = {
    detector.entity: detector
    for group in (
        CONTACT, PAYMENT, GOVERNMENT, NETWORK, NAMES, DATES, PLACES,  # what most tables hold, first
        BY_SCHEME, TAX, OWN, IDENTITY, FINANCE, HEALTH, DEVICES, CREDENTIAL, PEOPLE, WORK, GEO,
    )
    for detector in group
}  # fmt: skip
