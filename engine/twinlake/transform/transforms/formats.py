"""Surrogates in the spelling of the values that they stand for: separators, length, letter case, order of names and dates.

Each entity that has formats has one function here, from (values, plain surrogates, 64-bit keys) to surrogates. A value in
no known format gets the plain surrogate. Work is done by shape (`000-00-0000`), for all values of one shape at once.
The country code of a phone number, the country of an IBAN and the lengths of cards and postal codes stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twinlake.core.seeds import mix
from twinlake.transform.transforms.masks import mapped
from twinlake.transform.transforms.matrices import Bytes, holds, matrix_of, strings

UInt64 = npt.NDArray[np.uint64]
Fit = Callable[[pa.Array, pa.Array, UInt64], pa.Array]
Write = Callable[[Bytes, Bytes, UInt64], "Bytes | None"]
"""(values [n, width], plain surrogates' digits or letters [n, length], keys [n]) -> characters for the open places."""


def in_format(entity: str, values: pa.Array, fakes: pa.Array, keys: UInt64) -> pa.Array:
    """`fakes` in the formats of `values`; all three of one length."""
    fit = FORMATS.get(entity)
    fitted = fit(values, fakes, keys) if fit else fakes
    # the functions for Unicode take ten times as long, with the same result on ASCII
    ascii_ = pc.all(pc.string_is_ascii(values)).as_py()
    upper = pc.ascii_is_upper(values) if ascii_ else pc.utf8_is_upper(values)
    lower = pc.ascii_is_lower(values) if ascii_ else pc.utf8_is_lower(values)
    if pc.any(upper).as_py():
        fitted = pc.if_else(upper, pc.utf8_upper(fitted), fitted)
    if pc.any(lower).as_py():
        fitted = pc.if_else(lower, pc.utf8_lower(fitted), fitted)
    return fitted


def poured(values: pa.Array, fakes: pa.Array, keys: UInt64, allowed: str, open_: str, write: Write) -> pa.Array:
    """For values that match `allowed` whole: the characters of class `open_` replaced by what `write` gives."""
    good = pc.match_substring_regex(values, f"^(?:{allowed})$").to_numpy(zero_copy_only=False)
    at = np.flatnonzero(good)
    if not len(at):
        return fakes
    source = values.take(pa.array(at))
    marked = mapped(source, _TABLES[open_])
    if marked is None:
        return fakes
    shapes, plain = marked.dictionary_encode(), fakes.take(pa.array(at))
    drawn_all = _only_open(plain, open_)
    codes = shapes.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(shapes.dictionary) + 1))
    pieces, rows = [fakes], np.arange(len(values), dtype=np.int64)
    made = len(values)
    for number in range(len(shapes.dictionary)):
        mine = order[bounds[number] : bounds[number + 1]]
        shape = matrix_of(shapes.dictionary.slice(number, 1))
        letters = matrix_of(source.take(pa.array(mine)))
        drawn = _only_open(plain.take(pa.array(mine)), open_) if drawn_all is None else drawn_all[mine]
        if shape is None or letters is None or drawn is None:
            continue
        holes = np.flatnonzero(shape[0] == 1)
        filled = write(letters[:, holes], drawn, keys[at[mine]])
        if filled is None:
            continue
        letters = letters.copy()
        letters[:, holes] = filled
        pieces.append(strings(letters))
        rows[at[mine]] = made + np.arange(len(mine))
        made += len(mine)
    return pa.concat_arrays(pieces).take(pa.array(rows))


def _only_open(fakes: pa.Array, open_: str) -> Bytes | None:
    """The characters of class `open_` in each text: uint8 [n, count]; None if counts differ."""
    matrix = matrix_of(fakes)
    if matrix is not None:
        holes = _TABLES[open_][matrix] == 1
        if (holes == holes[0]).all():  # one layout, as most fakes have
            return np.ascontiguousarray(matrix[:, holes[0]])
    return matrix_of(pc.replace_substring_regex(fakes, f"[^{open_}]", ""))


def _marks(open_: str) -> Bytes:
    table = np.arange(256, dtype=np.uint8)
    table[[code for code in range(128) if re.match(f"[{open_}]", chr(code))]] = 1
    return table


_TABLES = {open_: _marks(open_) for open_ in ("0-9", "A-Za-z0-9", "0-9A-Fa-f")}


def _phone(values: Bytes, drawn: Bytes, keys: UInt64) -> Bytes | None:
    wanted, have = values.shape[1], drawn.shape[1]
    if wanted <= have:
        return drawn[:, have - wanted :]
    return np.hstack([values[:, : wanted - have], drawn])  # the country's or trunk's prefix says nothing of a person


def _same_count(values: Bytes, drawn: Bytes, keys: UInt64) -> Bytes | None:
    return drawn if drawn.shape[1] == values.shape[1] else None


def _card(values: Bytes, drawn: Bytes, keys: UInt64) -> Bytes | None:
    length = values.shape[1]
    if length == drawn.shape[1]:
        return drawn
    body = np.hstack([drawn[:, : length - 1], _digits(keys, max(0, length - 1 - drawn.shape[1]), 1)])
    return np.hstack([body, luhn_digit(body)])


def luhn_digit(body: Bytes) -> Bytes:
    """The check digit (ISO/IEC 7812-1) of each row of ASCII digits: uint8 [n, 1], ASCII."""
    numbers = body[:, ::-1].astype(np.int64) - 48
    numbers[:, 0::2] *= 2
    total = (numbers // 10 + numbers % 10).sum(axis=1)
    check: Bytes = ((10 - total % 10) % 10 + 48).astype(np.uint8)[:, None]
    return check


def _postal(values: Bytes, drawn: Bytes, keys: UInt64) -> Bytes | None:
    if values.shape[1] == 5 and drawn.shape[1] == 5 and _is_digit(values).all():
        return drawn
    return random_like(values, keys)


def random_like(values: Bytes, keys: UInt64) -> Bytes:
    """Digits for digits, letters for letters of the same case, drawn from the keys."""
    out = values.copy()
    for column in range(values.shape[1]):
        word = mix(keys, 1000 + column)
        for mask, first, size in (
            (_is_digit(values[:, column]), 0x30, 10),
            ((values[:, column] >= 0x41) & (values[:, column] <= 0x5A), 0x41, 26),
            ((values[:, column] >= 0x61) & (values[:, column] <= 0x7A), 0x61, 26),
        ):
            out[mask, column] = (word[mask] % np.uint64(size)).astype(np.uint8) + first
    return out


def _is_digit(codes: Bytes) -> npt.NDArray[np.bool_]:
    return np.asarray((codes >= 0x30) & (codes <= 0x39))


def _iban(values: Bytes, drawn: Bytes, keys: UInt64) -> Bytes | None:
    """Country and structure kept, check digits by ISO 13616 (mod 97-10)."""
    upper = values & np.uint8(0xDF)
    letters = np.where(_is_digit(values), values, upper)
    out = random_like(letters, keys)
    out[:, :2] = letters[:, :2]
    rest = np.zeros(len(out), np.int64)
    for column in [*range(4, out.shape[1]), 0, 1]:
        code = out[:, column].astype(np.int64)
        rest = np.where(code <= 0x39, rest * 10 + code - 48, rest * 100 + code - 55) % 97
    check = 98 - (rest * 100) % 97
    out[:, 2], out[:, 3] = check // 10 + 48, check % 10 + 48
    return out


def _digits(keys: UInt64, width: int, salt: int) -> Bytes:
    columns = [(mix(keys, salt * 100 + column) % np.uint64(10)).astype(np.uint8) + 48 for column in range(width)]
    return np.stack(columns, axis=1).astype(np.uint8) if columns else np.empty((len(keys), 0), np.uint8)


# ---- formats that are told value by value


_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(\D.*)?", re.DOTALL)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/. ])(\d{1,2})\2(\d{4})(\D.*)?", re.DOTALL)


def _date(values: pa.Array, fakes: pa.Array, keys: UInt64) -> pa.Array:
    return pa.array([_date_like(v, f) for v, f in zip(values.to_pylist(), fakes.to_pylist(), strict=True)], pa.string())


def _date_like(value: str, iso: str) -> str:
    """The ISO date `iso` in the order, separators and padding of `value`; a time of day becomes zeros."""
    year, month, day = iso.split("-")
    if re.fullmatch(r"\d{8}", value):
        return year + month + day
    if match := _YEAR_FIRST.fullmatch(value):
        _, sign, a, b, rest = match.groups()
        parts = [year, _padded(month, a, b), _padded(day, a, b)]
    elif match := _YEAR_LAST.fullmatch(value):
        a, sign, b, _, rest = match.groups()
        month, day = _padded(month, a, b), _padded(day, a, b)
        parts = [month, day, year] if sign == "/" and int(a) <= 12 else [day, month, year]
    else:
        return iso
    return sign.join(parts) + re.sub(r"\d", "0", rest or "")


def _padded(part: str, a: str, b: str) -> str:
    return part.lstrip("0") if len(a) == 1 or len(b) == 1 else part


def _person(values: pa.Array, fakes: pa.Array, keys: UInt64) -> pa.Array:
    if not holds(values, ","):
        return fakes
    turned = pc.replace_substring_regex(fakes, r"^(.*) (\S+)$", r"\2, \1")
    return pc.if_else(pc.match_substring_regex(values, r"^[^,]+, *[^,]+$"), turned, fakes)


def _gender(values: pa.Array, fakes: pa.Array, keys: UInt64) -> pa.Array:
    return pc.if_else(pc.equal(pc.utf8_length(values), 1), pc.utf8_slice_codeunits(fakes, 0, 1), fakes)


def _poured(allowed: str, open_: str, write: Write) -> Fit:
    return lambda values, fakes, keys: poured(values, fakes, keys, allowed, open_, write)


_NUMBERS = r"[0-9][0-9 .-]{10,24}[0-9]"
FORMATS: dict[str, Fit] = {
    "PHONE_NUMBER": _poured(r"[+(]{0,2}[0-9][0-9()./ -]{5,22}[0-9]", "0-9", _phone),
    "FAX_NUMBER": _poured(r"[+(]{0,2}[0-9][0-9()./ -]{5,22}[0-9]", "0-9", _phone),
    "CREDIT_CARD": _poured(_NUMBERS, "0-9", _card),
    "US_SSN": _poured(r"[0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4}", "0-9", _same_count),
    "POSTAL_CODE": _poured(r"[A-Za-z0-9][A-Za-z0-9 -]{1,8}[A-Za-z0-9]", "A-Za-z0-9", _postal),
    "IBAN_CODE": _poured(r"[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}", "A-Za-z0-9", _iban),
    "MAC_ADDRESS": _poured(r"[0-9A-Fa-f]{2}(?:[:. -]?[0-9A-Fa-f]{2}){5}", "0-9A-Fa-f", _same_count),
    "UUID": _poured(r"\{?[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}\}?", "0-9A-Fa-f", _same_count),
    "BIRTH_DATE": _date,
    "PERSON": _person,
    "GENDER": _gender,
}
