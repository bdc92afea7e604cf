"""The labels of a table: what `labels.json` holds. Names, types, counts and shares; never a cell value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class PathLabel:
    """What one leaf of a nested or JSON column was found to hold.

    `path` is relative to the column: `.name` a member of a struct or JSON object, `[]` the elements of an array, `{keys}`
    and `{values}` those of a map; `orders[].note` is column `orders`, path `[].note`.
    """

    path: str
    entity: str | None = None
    score: float = 0.0
    contains: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnLabel:
    """What one column was found to hold.

    `entity` is None where no entity decided. `sampled` counts the rows looked at, `non_null` those of them with a value
    (null and words such as "N/A" are none). `evidence` has, for each entity with a match or a fitting header: matches,
    share with its 95% interval (low, high), matches that may decide alone, distinct matches (estimated), header
    support, and whether it was enough. `contains` is the share of values with an entity somewhere inside.
    `paths`: the leaves of a nested or JSON column that hold something.
    """

    name: str
    type: str
    entity: str | None = None
    score: float = 0.0
    sampled: int = 0
    non_null: int = 0
    evidence: dict[str, dict[str, float | int | bool]] = field(default_factory=dict)
    contains: dict[str, float] = field(default_factory=dict)
    paths: tuple[PathLabel, ...] = ()


@dataclass(frozen=True)
class Labels:
    """The labels of a table. `labels["email"]` is the ColumnLabel of `email`."""

    columns: tuple[ColumnLabel, ...]
    sample_rows: int

    def __getitem__(self, name: str) -> ColumnLabel:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def to_json(self) -> str:
        """Canonical JSON text: the content of `labels.json`."""
        return json.dumps({"format": 1, **asdict(self)}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Labels:
        """The labels that `to_json` wrote."""
        raw: dict[str, Any] = json.loads(text)
        return cls(tuple(_column(column) for column in raw["columns"]), raw["sample_rows"])

    def to_table(self) -> str:
        """A text table: one line a column, with its entity, score and what else speaks."""
        head = ("column", "type", "entity", "score", "values", "also")
        rows = [head, *(_cells(column) for column in self.columns)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def _repr_html_(self) -> str:
        from html import escape

        head = "".join(f"<th>{h}</th>" for h in ("column", "type", "entity", "score", "values", "also"))
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(column)) + "</tr>" for column in self.columns
        )
        return f"<table><caption>labels from at most {self.sample_rows:,} rows</caption><tr>{head}</tr>{body}</table>"


def _column(raw: dict[str, Any]) -> ColumnLabel:
    paths = tuple(PathLabel(**leaf) for leaf in raw.pop("paths", ()))
    return ColumnLabel(**raw, paths=paths)


def _cells(column: ColumnLabel) -> tuple[str, ...]:
    from twinlake.core.errors import escaped

    also = [f"contains {entity} in {share:.2%}" for entity, share in column.contains.items()]
    if "not_looked_into" in column.evidence:
        also.append("not looked into")
    score = f"{column.score:.2f}" if column.entity else ""
    return (
        escaped(column.name),
        escaped(column.type),
        column.entity or "",
        score,
        f"{column.non_null:,}",
        "; ".join(also),
    )
