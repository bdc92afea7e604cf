"""Patterns without a check digit: examples from the documentation of those who give the numbers out, and what comes close."""

from __future__ import annotations

import pyarrow as pa
import pytest

from twinlake.classify.detectors import DETECTORS
from twinlake.classify.text import normalize

# entity, examples (makers' documentation, registries, standards), near misses
CASES: list[tuple[str, list[str], list[str]]] = [
    ("AWS_ACCESS_KEY", ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "AROADBQP57FF2AEXAMPLE"[:20]], ["AKIAIOSFODNN7EXAMPL",
        "akiaiosfodnn7example", "AKIBIOSFODNN7EXAMPLE"]),
    ("GITHUB_TOKEN", ["ghp_" + "a1B2" * 9, "gho_" + "Z9" * 18, "github_pat_" + "11AAAAAAA0" * 3], ["ghx_" + "a1B2" * 9,
        "ghp_short", "ghp-" + "a1B2" * 9]),
    ("SLACK_TOKEN", ["xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcBrzbqgy", "xoxp-1234567890-abcdef"],
        ["xoxz-17653672481-19874698323", "xoxb_17653672481"]),
    ("GOOGLE_API_KEY", ["AIza" + "SyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe"[:35]], ["AIza" + "a" * 34, "AIzb" + "a" * 35]),
    ("JWT",
        ["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIy"
        "fQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"], ["eyJhbGciOiJIUzI1NiJ9", "a.b.c", "eyJhbGciOiJIUzI1NiJ9.notjson"]),
    ("PASSWORD_HASH", ["$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "$6$saltsalt$" + "a" * 86,
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub"], ["$2a$10$short", "2a$10$N9qo8uLOickgx2ZMRZoMye",
        "$price$10"]),
    ("US_MBI", ["1EG4-TE5-MK73", "1EG4TE5MK73"], ["0EG4-TE5-MK73", "1SG4-TE5-MK73", "1EG4-TE5-MKA3"]),
    ("UK_NINO", ["AB123456C", "JG 10 37 59 A", "NW 04 83 66 D"], ["BG123456C", "DA123456C", "AB123456E", "AB12345C"]),
    ("ICD10_CODE", ["E11.9", "S72.001A", "I10", "Z99.89", "C50.911", "J45.909"], ["11.9", "E1.9", "E11.98765X", "ICD10"]),
    ("BLOOD_TYPE", ["A+", "O-", "AB positive", "B neg", "0 Rh+"], ["C+", "A++", "positive", "AB"]),
    ("COORDINATES", ["40.7128, -74.0060", "(48.8566,2.3522)", "POINT(13.4050 52.5200)", "40°26′46″N 79°58′56″W"], ["40, 74",
        "400.71, -74.00", "1.2.3", "40.7128"]),
    ("PLUS_CODE", ["849VCWC8+R9", "8FVC9G8F+6W", "CWC8+R9 Mountain View"], ["849VCWC8R9", "AAAA+11", "849VCWC8+"]),
    ("EU_VAT", ["DE136695976", "ATU13585627", "NL004495445B01", "FR40303265045"], ["DE136695978", "ATU13585626",
        "XX136695976"]),
    ("MD5", ["d41d8cd98f00b204e9800998ecf8427e"], ["d41d8cd98f00b204e9800998ecf8427", "g41d8cd98f00b204e9800998ecf8427e"]),
    ("SHA256", ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
        ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85"]),
    ("DOMAIN_NAME", ["example.com", "www.example.co.uk", "xn--bcher-kva.example.org"], ["example", "report.csv", "-bad-.com",
        "a@b.com", "3.14"]),
    ("HOSTNAME", ["db1.internal.corp", "web-01", "host.example.com", "printer.local"], ["hello", "3.14", "a b.local"]),
    ("SOCIAL_HANDLE", ["@jack", "@jane.doe_1", "https://twitter.com/jack", "linkedin.com/in/jane-doe"], ["jack", "@",
        "jane@doe", "@jane doe"]),
    ("LICENSE_PLATE", ["AB12 CDE", "B-MW 1234", "AB-123-CD", "1234 BCD", "7ABC123"], ["ABC", "12", "AB12CDEFGH1"]),
    ("PRIVATE_KEY", ["-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----"], ["-----BEGIN CERTIFICATE-----", "BEGIN PRIVATE KEY"]),
    ("CRYPTO", ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "0x742d35Cc6634C0532925a3b844Bc454e4438f44e"],
        ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "0x742d35Cc6634C0532925a3b844Bc454e4438f44"]),
    ("SWIFT_CODE", ["DEUTDEFF", "DEUTDEFF500", "NEDSZAJJXXX", "CHASUS33"], ["DEUTDEF", "DEUTZZFF", "1EUTDEFF", "DEUTDEFF5000"]),
    ("RACE", ["White", "Black or African American", "Asian-Pac-Islander"], ["Whitish", "12"]),
    ("GENDER", ["Female", "männlich", "F", "hombre"], ["Q", "fem ale", "1"]),
]  # fmt: skip


@pytest.mark.parametrize(("entity", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_examples_and_what_comes_close(entity: str, good: list[str], bad: list[str]) -> None:
    detector = DETECTORS[entity]
    found = detector.match(normalize(pa.array([*good, *bad], pa.string())))
    assert [v for v, hit in zip(good, found[: len(good)], strict=True) if not hit] == []
    assert [v for v, hit in zip(bad, found[len(good) :], strict=True) if hit] == []
