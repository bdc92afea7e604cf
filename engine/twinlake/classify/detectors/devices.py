"""Devices and network: IMEI, IMSI, host and domain names, cookies, digests, device and biometric ids."""

from __future__ import annotations

import pyarrow as pa
from stdnum import luhn

from twinlake.classify.build import checked, patterned
from twinlake.classify.detector import Detector, Mask, Search, matches
from twinlake.classify.detectors.national import valid_by
from twinlake.classify.drawn import completed, shaped
from twinlake.classify.features import Gate

LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
TLDS = (
    "com|org|net|edu|gov|mil|int|info|biz|name|pro|io|ai|app|dev|co|me|tv|cc|xyz|online|site|shop|store"
    "|tech|cloud|eu|us|uk|de|fr|es"
    "|it|nl|be|at|ch|se|no|dk|fi|is|ie|pt|pl|cz|sk|hu|ro|bg|gr|tr|ru|ua|ca|mx|br|ar|cl|pe|ve|au|nz|jp|cn"
    "|kr|tw|hk|sg|my|th|vn|id"
    "|ph|in|pk|lk|il|ae|sa|za|ke|ng|eg|ma|lt|lv|ee|si|hr|rs|lu|li|mt|cy|asia|mobi|travel|museum|aero|coop"
    "|jobs|cat|tel|la|ly|gl|to"
    "|fm|am|im|gg|je|ws|nu|st|uy|py|bo|ec|cr|pa|do|gt|sv|hn|ni|cu|jm|tt"
)
DOMAIN = f"(?:{LABEL}\\.){{1,8}}(?:{TLDS}|xn--[a-z0-9-]{{2,40}})"
HOST = (
    f"(?:{LABEL}\\.){{1,8}}(?:local|lan|internal|corp|intra|home|localdomain|intranet|test|example)|{DOMAIN}"
    f"|[a-z]+[a-z0-9]*-[a-z0-9-]*[0-9]+"
)
NOT_DOMAIN = ".*\\.(?:py|js|md|pl|rs|sh|cc|so|ps|jpg|png|gif|csv|txt|pdf|zip|html?|json|xml|exe)"


def match_domain(values: pa.StringArray) -> Mask:
    """Names under a top-level domain that exists, without a scheme, path or mailbox."""
    return matches(values, DOMAIN, ignore_case=True) & ~matches(values, NOT_DOMAIN, ignore_case=True)


def match_hostname(values: pa.StringArray) -> Mask:
    """Domain names of three labels and more, names in a private zone, and machine names such as web-01."""
    return matches(values, HOST, ignore_case=True)


def match_hostname_alone(values: pa.StringArray) -> Mask:
    """Three labels and more, or a private zone."""
    deep = f"(?:{LABEL}\\.){{2,8}}(?:{TLDS})"
    return matches(values, f"(?:{LABEL}\\.){{1,8}}(?:local|lan|internal|corp|intra|intranet)|{deep}", ignore_case=True)


def valid_imei(value: str) -> bool:
    """15 digits that pass Luhn (3GPP TS 23.003), with a reporting body that exists."""
    number = "".join(ch for ch in value if ch.isdigit())
    return len(number) == 15 and number[:2] in REPORTING and bool(luhn.is_valid(number))


REPORTING = frozenset(["01", "10", "30", "33", "35", "44", "45", "49", "50", "51", "52", "53", "54", "86", "91", "98", "99"])
"""First digits of a type allocation code (GSMA TS.06, annex A)."""


def _digest(entity: str, width: int, headers: tuple[str, ...]) -> Detector:
    return patterned(
        entity, f"[0-9a-f]{{{width}}}", headers, shaped("h" * width, entity.lower()), 10**15, alone=True,
        gate=Gate(width, width, spaces=(0, 0), ascii=True, digits=(1, width)),
        searches=(Search(f"\\b[0-9a-fA-F]{{{width}}}\\b", "", 0.6, gate=Gate(width, digits=(1, 1 << 30))),),
    )  # fmt: skip


DEVICES: tuple[Detector, ...] = (
    checked(
        "IMEI", "[0-9]{15}|[0-9]{2}[- ][0-9]{6}[- ][0-9]{6}[- ][0-9]", valid_imei, ("imei", "imei number", "imei no",
            "imei hardware id", "device imei"),
        completed(shaped("3520999999q999", "imei"), lambda b: b + luhn.calc_check_digit(b)), 10**9, gate=Gate(15, 18,
            digits=(15, 15), letters=(0, 0), ascii=True),
        reads=("text", "number"),
        searches=(Search("\\b[0-9]{2}[- ]?[0-9]{6}[- ]?[0-9]{6}[- ]?[0-9]\\b",
            "\\bimei(?: ?(?:no\\.?|number|#))?(?: is)?[ :#=]{1,3}", 0.95, ignore_case=True, gate=Gate(15, digits=(15,
            1 << 30))),),
    ),
    checked(
        "IMSI", "[0-9]{14,15}", valid_by("imsi"), ("imsi", "imsi number", "imsi subscriber id", "subscriber identity"),
            shaped("31026099999999q", "imsi"), 10**8,
        alone=False, gate=Gate(14, 15, digits=(14, 15), ascii=True), reads=("text", "number"),
        searches=(Search("\\b[0-9]{14,15}\\b", "\\bimsi(?: ?(?:no\\.?|number|#))?(?: is)?[ :#=]{1,3}", 0.95, ignore_case=True,
            gate=Gate(14, digits=(14, 1 << 30))),),
    ),
    Detector(
        "DOMAIN_NAME", match_domain, ("domain", "domain name", "web domain", "email domain", "internet domain", "domaine",
            "dominio", "site", "website", "web site", "homepage"), "pattern",
        shaped("aaaaaaaa", "domain", tail=".example.org"), 10**9, alone=match_domain, gate=Gate(4, 253, needs=".", spaces=(0,
            0), letters=(2, 1 << 30)),
        searches=(Search(f"\\b(?:{LABEL}\\.){{1,4}}(?:com|org|net|edu|gov|info|biz|io|co\\.uk|de|fr|es|it"
            f"|nl|eu|ch|at|se|ca|au|br|mx|jp|in)\\b", "(?:^|[\\s(,;:\"'])", 0.55, ignore_case=True, gate=Gate(4,
            needs=".")),),
    ),
    Detector(
        "HOSTNAME", match_hostname, ("hostname", "host name", "host", "server", "server name", "fqdn", "machine name",
            "computer name", "node name", "rechnername"), "pattern",
        shaped("99aaa99", "hostname", "host-", ".example.org"), 10**7, alone=match_hostname_alone, gate=Gate(3, 253,
            some=".-", spaces=(0, 0)),
    ),
    patterned(
        "HTTP_COOKIE", "(?:[!#$%&'*+.^_`|~0-9a-z-]+=[^;,\\s\"]*)(?:; ?[!#$%&'*+.^_`|~0-9a-z-]+(?:=[^;,\\s\"]*)?)*", ("cookie",
            "http cookie", "cookies", "session cookie", "set cookie"),
        shaped("hhhhhhhhhhhhhhhh", "cookie", "session_id="), 10**15,
            alone="[^=;\\s]+=[^;\\s]*; .*=.*|(?:session|sess|sid|jsessionid|phpsessid|csrf|_ga)[a-z_]*=[^;\\s]+.*",
            gate=Gate(3, 4096, needs="="),
    ),
    _digest("MD5", 32, ("md5", "md5 hash", "md5sum")),
    _digest("SHA1", 40, ("sha1", "sha 1", "sha1 hash", "commit", "commit sha")),
    _digest("SHA256", 64, ("sha256", "sha 256", "sha256 hash", "sha2")),
    _digest("SHA512", 128, ("sha512", "sha 512", "sha512 hash")),
    patterned(
        "DEVICE_ID", "[0-9a-z](?:[-_:.]?[0-9a-z]){5,63}", ("device id", "device identifier", "device serial", "serial number",
            "serial no", "android id", "idfa", "idfv", "gaid", "advertising id", "udid", "deviceid", "hardware id",
            "machine id", "meid", "esn", "iccid", "sim number"),
        shaped("hhhhhhhhhhhhhhhh", "device id"), 2**60, weak=True, gate=Gate(6, 130), reads=("text", "number"),
            against=("device type",),
    ),
    patterned(
        "BIOMETRIC_ID", "[0-9a-z](?:[-_:.+/=]?[0-9a-z]){3,512}", ("biometric", "biometric id", "biometric identifier",
            "fingerprint", "fingerprint id", "face id", "voice print", "voiceprint", "retina", "iris", "iris code",
            "finger print", "face template"),
        shaped("hhhhhhhhhhhh", "biometric", "BIO-"), 2**48, weak=True, gate=Gate(4, 600), against=("species", "width",
            "length"),
    ),
)  # fmt: skip
