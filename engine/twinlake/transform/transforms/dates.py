"""Dates inside text: read with a format, changed, and written back in the same format.

The first format that reads the whole value is the value's own; a time of day after the date stays as it is. Text that
no format reads has no date, and becomes null when it is written back.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.transform.transforms.values import repaired

# year first, then the day first unless the separator is a slash, as most of the world writes
FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d %b %Y", "%d %B %Y",
           "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%B-%Y", "%Y.%m.%d")  # fmt: skip
_TIME = re.compile(r"[T ]\d{1,2}:\d{2}.*$", re.DOTALL)
_EPOCH = dt.date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class ReadDates:
    """Days since 1970 (0 where there is no date), and per distinct text how to write it: (format, bare digits, rest)."""

    days: npt.NDArray[np.int64]
    styles: list[tuple[str, bool, str] | None]
    rows: npt.NDArray[np.int64]


def as_days(array: pa.Array, formats: tuple[str, ...] = ()) -> ReadDates:
    """The dates in an array of text, by `formats` or else by FORMATS."""
    encoded = repaired(array.cast(pa.string())).dictionary_encode()
    read = [_read(text, formats or FORMATS) for text in encoded.dictionary.to_pylist()]
    days = np.array([*(0 if found is None else found[0] for found in read), 0], np.int64)
    rows = encoded.indices.fill_null(len(read)).to_numpy(zero_copy_only=False).astype(np.int64)
    return ReadDates(days[rows], [*(None if found is None else found[1] for found in read), None], rows)


def restored_text(read: ReadDates, days: npt.NDArray[np.int64]) -> pa.Array:
    """`days` written as the texts were; null where there was no date."""
    written: dict[tuple[int, int], str | None] = {}
    out = []
    for pair in zip(read.rows.tolist(), days.tolist(), strict=True):
        if pair not in written:
            style = read.styles[pair[0]]
            written[pair] = None if style is None else _write(pair[1], *style)
        out.append(written[pair])
    return pa.array(out, pa.string())


def _read(text: str, formats: tuple[str, ...]) -> tuple[int, tuple[str, bool, str]] | None:
    rest = match[0] if (match := _TIME.search(text)) else ""
    bare = text[: len(text) - len(rest)]
    for form in formats:
        try:
            date = dt.datetime.strptime(bare, form).date()
        except ValueError:
            continue
        # `3/8/1971` is written without zeros again
        unpadded = re.search(r"(?<!\d)\d(?!\d)", bare) is not None
        return date.toordinal() - _EPOCH, (form, unpadded, rest)
    return None


def _write(days: int, form: str, unpadded: bool, rest: str) -> str:
    date = dt.date.fromordinal(days + _EPOCH)
    # strftime leaves the zeros of years before 1000 to the platform
    text = date.strftime(form.replace("%Y", f"{date.year:04d}"))
    return (re.sub(r"(?<!\d)0(\d)(?!\d)", r"\1", text) if unpadded else text) + rest
