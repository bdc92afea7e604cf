"""Credentials: keys of clouds and vendors by their published prefixes, JWTs, private keys, password hashes, passwords.

A generic secret has no prefix: it is a long word without meaning, told by its entropy and, in text, by what stands before it.
"""

from __future__ import annotations

import base64
import math
from collections import Counter

import pyarrow as pa

from twinlake.classify.build import patterned
from twinlake.classify.detector import Detector, Mask, Search, matches, narrowed
from twinlake.classify.drawn import completed, shaped
from twinlake.classify.features import Gate

KEY_HEADERS = ("api key", "apikey", "access key", "secret key", "secret", "token", "access token", "auth token", "api token",
    "client secret", "api secret", "bearer token", "refresh token", "secret token", "credentials", "session token",
    "webhook secret", "private key")  # fmt: skip
LEAST_ENTROPY = 3.2
"""Bits a character over the word itself: 20 random characters of 64 reach about 4, a word of a language about 3 at most."""


def _vendor(
    entity: str, pattern: str, headers: tuple[str, ...], fake_shape: str, literal: str, least: int, **more: object
) -> Detector:
    return patterned(
        entity, pattern, (*headers, *KEY_HEADERS), shaped(fake_shape, entity.lower(), literal), 10**12, ignore_case=False,
            alone=True,
        gate=Gate(least, 4096, ascii=True),
        searches=(Search(pattern, "(?:^|[^A-Za-z0-9_/+-])", 0.97, check=False, gate=Gate(least)),),
    )  # fmt: skip


def entropy(text: str) -> float:
    """Shannon entropy of the characters of `text`, in bits a character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values()) if text else 0.0


def _is_secret(value: str) -> bool:
    kinds = sum(any(test(ch) for ch in value) for test in (str.islower, str.isupper, str.isdigit))
    return len(value) <= 512 and kinds >= 2 and any(ch.isdigit() for ch in value) and entropy(value) >= LEAST_ENTROPY


def match_secret(values: pa.StringArray) -> Mask:
    """16 characters and more of letters, digits and base64's marks, mixed and of high entropy."""
    return narrowed(values, matches(values, "[A-Za-z0-9_+/.=~-]{16,512}"), _is_secret)


def match_secret_alone(values: pa.StringArray) -> Mask:
    """32 characters and more with both cases and digits: shorter ones may be codes."""
    shape = matches(values, "[A-Za-z0-9_+/=-]{32,512}") & matches(values, ".*[A-Z].*") & matches(values, ".*[a-z].*")
    return narrowed(values, shape, _is_secret)


def match_jwt(values: pa.StringArray) -> Mask:
    """Three parts of base64url, the first of which is a JSON object (RFC 7519)."""
    return narrowed(values, matches(values, "eyJ[A-Za-z0-9_-]{5,}\\.eyJ[A-Za-z0-9_-]{2,}\\.[A-Za-z0-9_-]*"), _is_jwt)


def _is_jwt(value: str) -> bool:
    head = value.split(".", 1)[0]
    try:
        return base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).lstrip().startswith(b'{"')
    except ValueError:
        return False


def match_password(values: pa.StringArray) -> Mask:
    """Six to 64 characters without a space: says nothing without a header."""
    return matches(values, "\\S{6,64}")


CREDENTIAL: tuple[Detector, ...] = (
    _vendor("AWS_ACCESS_KEY", "(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|ABIA|ACCA)[A-Z2-7]{16}", ("aws access key", "aws key",
        "aws access key id", "access key id"), "A" * 16, "AKIA", 20),
    _vendor("GCP_CREDENTIALS",
        "ya29\\.[0-9A-Za-z_-]{20,400}|[a-z][a-z0-9-]{4,28}[a-z0-9]@[a-z][a-z0-9-]{4,28}[a-z0-9]\\.iam\\.gserviceaccount"
        "\\.com|GOCSPX-[0-9A-Za-z_-]{28}", ("gcp credentials", "gcp key", "google service account", "service account"),
        "m" * 28, "GOCSPX-", 20),
    _vendor("GOOGLE_API_KEY", "AIza[0-9A-Za-z_-]{35}", ("google api key", "google key", "google data"), "m" * 35, "AIza", 39),
    _vendor("AZURE_STORAGE_KEY", "[A-Za-z0-9+/]{86}==", ("azure storage key", "storage account key", "azure key"),
        "m" * 86 + "==", "", 88),
    _vendor("GITHUB_TOKEN", "gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{22,255}", ("github token", "github pat",
        "gh token"), "m" * 36, "ghp_", 26),
    _vendor("SLACK_TOKEN",
        "xox[abeoprs]-[0-9A-Za-z-]{10,250}|https://hooks\\.slack\\.com/services/T[0-9A-Z]{6,12}/B[0-9A-Z]{6,12}/[0-9A-Z"
        "a-z]{20,28}", ("slack token", "slack webhook", "slack secret", "slack secrets"), "999999999999-" + "m" * 24, "xoxb-",
        15),
    _vendor("STRIPE_API_KEY", "(?:sk|pk|rk)_(?:live|test)_[0-9A-Za-z]{16,247}|whsec_[0-9A-Za-z]{24,64}", ("stripe key",
        "stripe api key", "stripe secret"), "m" * 24, "sk_test_", 24),
    _vendor("SQUARE_API_KEY", "sq0(?:atp|csp|idp)-[0-9A-Za-z_-]{22,43}|EAAA[0-9A-Za-z_-]{60}", ("square key",
        "square api key", "square token"), "m" * 22, "sq0atp-", 29),
    _vendor("SENDGRID_API_KEY", "SG\\.[0-9A-Za-z_-]{22}\\.[0-9A-Za-z_-]{43}", ("sendgrid key", "sendgrid api key",
        "sendgrid credentials"), "m" * 22 + "." + "m" * 43, "SG.", 69),
    _vendor("TWILIO_API_KEY", "(?:AC|SK)[0-9a-f]{32}", ("twilio key", "twilio sid", "twilio api key", "twilio data",
        "account sid"), "h" * 32, "SK", 34),
    _vendor("FACEBOOK_TOKEN", "EAACEdEose0cBA[0-9A-Za-z]{10,400}|EAA[A-Za-z][0-9A-Za-z]{80,400}", ("facebook token",
        "facebook access token", "fb token", "facebook data"), "m" * 30, "EAACEdEose0cBA", 24),
    Detector(
        "JWT", match_jwt, ("jwt", "json web token", "id token", *KEY_HEADERS), "pattern", completed(shaped("m" * 24, "jwt"),
            lambda t: f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.{t}"), 10**12,
        alone=match_jwt, gate=Gate(12, 65536, needs="."),
            searches=(Search("eyJ[A-Za-z0-9_-]{5,}\\.eyJ[A-Za-z0-9_-]{2,}\\.[A-Za-z0-9_-]*", "(?:^|[^A-Za-z0-9_-])", 0.97,
            gate=Gate(12, needs=".")),),
    ),
    patterned(
        "PRIVATE_KEY", "-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*", ("private key", "rsa key", "ssh key", "pem",
            "pgp key"), completed(shaped("m" * 40, "private key"),
            lambda t: f"-----BEGIN PRIVATE KEY-----\n{t}\n-----END PRIVATE KEY-----"), 10**15,
        ignore_case=False, alone=True, gate=Gate(27, needs="-"),
            searches=(Search("-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\\s:,-]{0,1000}", "",
            0.99, check=False, gate=Gate(27, needs="-")),),
    ),
    patterned(
        "PASSWORD_HASH",
            "\\$(?:2[abxy]?\\$[0-9]{2}\\$[./A-Za-z0-9]{53}|argon2(?:id|i|d)\\$[^\\s]{20,300}|[156]\\$(?:rounds=[0-9]+"
            "\\$)?[^\\s$]{1,16}\\$[./A-Za-z0-9]{22,86}|y\\$[^\\s]{20,200}|scrypt\\$[^\\s]{20,300}|pbkdf2[a-z0-9-]*\\$[^"
            "\\s]{20,300})|pbkdf2[_:a-z0-9]{0,12}\\$[0-9]+\\$[^\\s]{20,200}|\\{S?SHA(?:256|512)?\\}[A-Za-z0-9+/=]{20,15"
            "0}|\\*[0-9A-F]{40}",
        ("password hash", "passwd hash", "pwd hash", "hashed password", "password", "passwd", "pwhash", "bcrypt", "shadow"),
            shaped("m" * 53, "bcrypt", "$2b$12$"), 10**15, ignore_case=False, alone=True,
        gate=Gate(20, 512, some="${"),
            searches=(Search("\\$2[abxy]\\$[0-9]{2}\\$[./A-Za-z0-9]{53}|\\$argon2(?:id|i|d)\\$[^\\s\"']{20,300}"
            "|\\$[156]\\$[^\\s$\"']{1,16}\\$[./A-Za-z0-9]{22,86}", "", 0.97, check=False, gate=Gate(30, needs="$")),),
    ),
    Detector(
        "API_KEY", match_secret, KEY_HEADERS, "pattern", shaped("m" * 40 + "9aA", "api key"), 10**15,
            alone=match_secret_alone, gate=Gate(16, 512, spaces=(0, 0), digits=(1, 512), ascii=True),
        against=("token count", "tokens", "id"), searches=(Search("[A-Za-z0-9_+/.=~-]{16,200}",
            "(?:api[ _-]?key|secret(?:[ _-]?key)?|access[ _-]?key|auth[ _-]?token|access[ _-]?token|bearer)[\"']?(?: is"
            ")?[ :=]{1,3}[\"']?", 0.85, ignore_case=True, gate=Gate(20)),),
    ),
    Detector(
        "PASSWORD", match_password, ("password", "passwd", "pwd", "passphrase", "pass word", "passwort", "kennwort",
            "mot de passe", "motdepasse", "contrasena", "clave", "senha", "wachtwoord", "user password", "login password"),
            "weak",
        shaped("mmmmm9mmmmmm", "password"), 10**12, gate=Gate(6, 64, spaces=(0, 0)), against=("reset", "changed", "expired",
            "last", "policy", "hint", "date"),
        searches=(Search("[^\\s\"',;]{6,64}",
            "\\b(?:password|passwd|pwd|passphrase|passwort|contrase\u00f1a)[\"']?(?: is)? ?[:=] ?[\"']?", 0.8,
            ignore_case=True, gate=Gate(10)),),
    ),
)  # fmt: skip
