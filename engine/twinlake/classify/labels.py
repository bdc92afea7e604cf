"""The labels of a table: what `labels.json` holds. Names, types, counts and shares; never a cell value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from twinlake.core.text_tables import aligned, csv_text


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
    `paths`: the leaves of a nested or JSON column that hold something. `missed_at_most`: with 99.9% confidence no entity
    that was not found is in a larger share of the rows. `named`: entities that stand in the column's name itself.
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
    missed_at_most: float | None = None
    named: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labels:
    """The labels of a table. `labels["email"]` is the ColumnLabel of `email`."""

    columns: tuple[ColumnLabel, ...]
    sample_rows: int
    rows: int | None = None

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
        return cls(tuple(_column(column) for column in raw["columns"]), raw["sample_rows"], raw.get("rows"))

    def to_table(self) -> str:
        """A text table: one line a column (and a nested leaf), with its entity, score and what else speaks."""
        return "\n".join([aligned([HEAD, *self._rows()]), self._bound()])

    def to_csv(self) -> str:
        """The same table for a spreadsheet."""
        return csv_text([HEAD, *self._rows()])

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for column in self.columns:
            yield _cells(column)
            yield from (_leaf_cells(column, leaf) for leaf in column.paths)

    def _bound(self) -> str:
        missed = max((c.missed_at_most for c in self.columns if c.missed_at_most is not None), default=None)
        if missed is None:
            return ""
        if missed == 0.0:
            return "All rows were looked at."
        return (
            f"Looked at a sample: what was not found is, with 99.9% confidence, in at most {missed:.2%} of the rows of a "
            "column; classify.full_scan looks at all."
        )

    def _repr_html_(self) -> str:
        from html import escape

        head = "".join(f"<th>{h}</th>" for h in HEAD)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self._rows())
        caption = f"labels from at most {self.sample_rows:,} rows. {escape(self._bound())}"
        return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>"


HEAD = ("column", "type", "entity", "score", "values", "also")


def _column(raw: dict[str, Any]) -> ColumnLabel:
    paths = tuple(PathLabel(**leaf) for leaf in raw.pop("paths", ()))
    named = tuple(raw.pop("named", ()))
    return ColumnLabel(**raw, paths=paths, named=named)


def _also(contains: dict[str, float]) -> list[str]:
    return [f"contains {entity} in {share:.2%} of rows" for entity, share in contains.items()]


def _leaf_cells(column: ColumnLabel, leaf: PathLabel) -> tuple[str, ...]:
    from twinlake.core.errors import escaped

    score = f"{leaf.score:.2f}" if leaf.entity else ""
    return (escaped(column.name + leaf.path), "", leaf.entity or "", score, "", "; ".join(_also(leaf.contains)))


def _cells(column: ColumnLabel) -> tuple[str, ...]:
    from twinlake.core.errors import escaped

    also = _also(column.contains)
    if "not_looked_into" in column.evidence:
        also.append("not looked into")
    if column.named:
        also.append(f"the name itself holds {', '.join(column.named)}")
    score = f"{column.score:.2f}" if column.entity else ""
    return (
        escaped(column.name),
        escaped(column.type),
        column.entity or "",
        score,
        f"{column.non_null:,}",
        "; ".join(also),
    )
