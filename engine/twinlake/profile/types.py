"""The published profile: what `profile.json` holds. No value held by fewer than `min_people` people is in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["empty", "constant", "key", "category", "number", "datetime", "text", "opaque"]
"""empty: nulls only. constant: one value. key: a unique identifier. category: few values. number and datetime: by type or
by the format of the text. text: many different strings. opaque: binary, nested and other types that are not looked into."""


@dataclass(frozen=True)
class ColumnProfile:
    """Statistics of one column over the rows profiled.

    `distinct` is exact up to 2,048 and an estimate (3% standard error) above. `minimum` and `maximum` are the k-th
    smallest and largest value (k = min_people), dates and times as ISO 8601 text. `quantiles` are those of 1, 5, 25, 50,
    75, 95 and 99%. `formats` are shares of the non-null strings that read as: integer, decimal, date, datetime, time,
    boolean, json. `top` holds [value as text, count] of values held by at least k people, most frequent first; of columns
    of more than 8,192 values those of a sample of rows, with estimated counts.
    """

    name: str
    type: str
    nullable: bool
    kind: Kind
    rows: int
    nulls: int = 0
    distinct: int = 0
    nan: int = 0
    positive_infinity: int = 0
    negative_infinity: int = 0
    minimum: float | str | None = None
    maximum: float | str | None = None
    mean: float | None = None
    std: float | None = None
    quantiles: tuple[float | str, ...] = ()
    decimals: int | None = None
    length_min: int | None = None
    length_max: int | None = None
    length_mean: float | None = None
    formats: dict[str, float] = field(default_factory=dict)
    top: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Profile:
    """The profile of a table. `profile["age"]` is the ColumnProfile of `age`. `repeated`: how many rows of the table, held-out
    ones too, are equal to an earlier one; None where it was not counted. It stays out of profile.json: whether it is counted
    depends on how the rows lie."""

    rows: int
    min_people: int
    columns: tuple[ColumnProfile, ...]
    repeated: int | None = field(default=None, compare=False)

    def __getitem__(self, name: str) -> ColumnProfile:
        return next(c for c in self.columns if c.name == name)

    def to_json(self) -> str:
        """Canonical JSON text: the content of `profile.json`."""
        told = {name: value for name, value in asdict(self).items() if name != "repeated"}
        return json.dumps({"format": 1, **told}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """The profile that `to_json` wrote."""
        raw: dict[str, Any] = json.loads(text)
        columns = [
            ColumnProfile(**{**c, "quantiles": tuple(c["quantiles"]), "top": tuple((str(v), int(n)) for v, n in c["top"])})
            for c in raw["columns"]
        ]
        return cls(raw["rows"], raw["min_people"], tuple(columns))

    def _repr_html_(self) -> str:
        from html import escape

        def row(c: ColumnProfile) -> str:
            cells = (c.name, c.type, c.kind, c.nulls, c.distinct, c.minimum, c.maximum, c.mean)
            return (
                "<tr>"
                + "".join(
                    f"<td>{escape('' if x is None else f'{x:.6g}' if isinstance(x, float) else str(x))}</td>" for x in cells
                )
                + "</tr>"
            )

        head = "".join(f"<th>{h}</th>" for h in ("column", "type", "kind", "nulls", "distinct", "min", "max", "mean"))
        return f"<table><caption>{self.rows:,} rows</caption><tr>{head}</tr>{''.join(map(row, self.columns))}</table>"
