"""Identifiers of machines: IP and MAC addresses, UUIDs. Whose machine it is they do not say."""

from __future__ import annotations

import ipaddress

import numpy as np
import pyarrow as pa

from twinlake.classify.detector import Detector, Keys, Mask, Search, matches, narrowed
from twinlake.classify.fakes import Bytes, draw, from_bytes, hex_letters, hexadecimal, joined
from twinlake.classify.features import Gate

OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
MAC = "[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}\\.[0-9a-f]{4}\\.[0-9a-f]{4}"
UUID = "[{]?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}[}]?"


def match_ip(values: pa.StringArray) -> Mask:
    """IPv4 with four octets, and IPv6 in any of its spellings."""
    v6 = matches(values, "[0-9a-f:]*:[0-9a-f:]*:[0-9a-f:.]*(?:%[0-9a-z]+)?", ignore_case=True) & matches(values, ".{2,60}")
    return matches(values, f"{OCTET}(?:\\.{OCTET}){{3}}") | narrowed(values, v6, _is_v6)


def match_mac(values: pa.StringArray) -> Mask:
    """Six bytes as 00:1b:.., 00-1b-.. or 001b.44f0.aa10."""
    return matches(values, MAC, ignore_case=True)


def match_uuid(values: pa.StringArray) -> Mask:
    """8-4-4-4-12 hexadecimal digits of any version."""
    return matches(values, UUID, ignore_case=True)


def _is_v6(value: str) -> bool:
    try:
        return ipaddress.ip_address(value).version == 6
    except ValueError:
        return False


def fake_ip(keys: Keys) -> pa.StringArray:
    """10.x.y.z (RFC 1918): private, nobody's on the internet. The documentation ranges hold only 768."""
    octets = [pa.array(draw(keys, f"ip {i}", 256)).cast(pa.string()) for i in range(3)]
    return joined("10.", octets[0], ".", octets[1], ".", octets[2])


def fake_mac(keys: Keys) -> pa.StringArray:
    """Locally administered addresses (02:...), which no maker has."""
    letters = hex_letters(hexadecimal(keys, "mac", 10))
    out = np.full((len(letters), 17), ord(":"), dtype=np.uint8)
    out[:, 0], out[:, 1] = ord("0"), ord("2")
    for byte in range(5):
        out[:, 3 * byte + 3 : 3 * byte + 5] = letters[:, 2 * byte : 2 * byte + 2]
    return from_bytes(out)


def fake_uuid(keys: Keys) -> pa.StringArray:
    """UUIDs of version 4 (RFC 9562), 122 bits drawn from the key."""
    digit: Bytes = np.hstack([hexadecimal(keys, "uuid high", 16), hexadecimal(keys, "uuid low", 16)])
    digit[:, 12] = 4
    digit[:, 16] = 8 + digit[:, 16] % 4
    letters = hex_letters(digit)
    dash = np.full((len(letters), 1), ord("-"), dtype=np.uint8)
    return from_bytes(
        np.hstack(
            [
                letters[:, :8],
                dash,
                letters[:, 8:12],
                dash,
                letters[:, 12:16],
                dash,
                letters[:, 16:20],
                dash,
                letters[:, 20:],
            ]
        )
    )


NETWORK = (
    Detector(
        "IP_ADDRESS",
        match_ip,
        (
            "ip",
            "ip address",
            "ip addr",
            "ipv4",
            "ipv6",
            "client ip",
            "remote addr",
            "ip adresse",
            "adresse ip",
            "direccion ip",
        ),
        "pattern",
        fake_ip,
        2**24,
        alone=match_ip,
        gate=Gate(2, 60, some=".:", spaces=(0, 0), ascii=True),
        searches=(
            Search(f"\\b{OCTET}(?:\\.{OCTET}){{3}}\\b", "(?:^|[^0-9.])", 0.9, gate=Gate(7, digits=(4, 1 << 30), needs=".")),
            Search("[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}", "(?:^|[^0-9A-Za-z:.])", 0.85, gate=Gate(3, needs=":")),
        ),
        against=("version",),
    ),
    Detector(
        "MAC_ADDRESS",
        match_mac,
        ("mac", "mac address", "mac addr", "hardware address", "mac adresse", "adresse mac", "direccion mac"),
        "pattern",
        fake_mac,
        2**40,
        alone=match_mac,
        gate=Gate(14, 17, some=":-.", spaces=(0, 0), ascii=True),
        searches=(
            Search(
                "\\b(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5})\\b",
                "",
                0.95,
                ignore_case=True,
                gate=Gate(17, some=":-"),
            ),
        ),
    ),
    Detector(
        "UUID",
        match_uuid,
        ("uuid", "guid"),
        "pattern",
        fake_uuid,
        2**60,
        alone=match_uuid,
        gate=Gate(36, 38, needs="-", spaces=(0, 0), ascii=True),
        searches=(
            Search(
                "\\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\b",
                "",
                0.95,
                ignore_case=True,
                gate=Gate(36, needs="-"),
            ),
        ),
    ),
)
