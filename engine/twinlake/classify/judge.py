"""Turns the counters of a table into labels: columns, their nested leaves, what their names hold, and what was not excluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from twinlake.classify.decide import contained, decide, decide_table
from twinlake.classify.detector import Detector
from twinlake.classify.evidence import Counters, Counts, read, split_paths
from twinlake.classify.labels import ColumnLabel, PathLabel
from twinlake.classify.nested import last_name
from twinlake.classify.spans import find_spans

CONFIDENCE = 0.999
"""How sure `missed_at_most` is: promise D8."""
IN_NAMES = frozenset(["EMAIL_ADDRESS", "US_SSN", "CREDIT_CARD", "IBAN_CODE", "PHONE_NUMBER", "IP_ADDRESS"])
"""What a column name is searched for: someone pivoted a table by it."""

Column = tuple[str, str, str | None, bool]


def judged(
    columns: Sequence[Column], counters: Mapping[int, Counters], detectors: Mapping[str, Detector], rows: int
) -> tuple[ColumnLabel, ...]:
    """The labels of columns (name, type, profile kind, whether it was looked into) from their counters."""
    parts = [split_paths(counters.get(i, {})) for i in range(len(columns))]
    own = [read(part.get("", {})) for part in parts]
    decisions = decide_table([(name, kind, counts) for (name, _, kind, _), counts in zip(columns, own, strict=True)], detectors)
    names = named([name for name, _, _, _ in columns], detectors)
    out = []
    for i, (name, type_, _, looked) in enumerate(columns):
        if not looked:
            out.append(ColumnLabel(name, type_, evidence={"not_looked_into": {"binary_or_other": True}}, named=names[i]))
            continue
        entity, score, evidence = decisions[i]
        paths = tuple(leaf for path, part in parts[i].items() if path and (leaf := _leaf(name, path, read(part), detectors)))
        missed = missed_at_most(own[i].rows, rows)
        out.append(
            ColumnLabel(
                name,
                type_,
                entity,
                score,
                own[i].rows,
                own[i].filled,
                evidence,
                contained(entity, own[i]),
                paths,
                missed,
                names[i],
            )
        )
    return tuple(out)


def missed_at_most(sampled: int, rows: int, confidence: float = CONFIDENCE) -> float | None:
    """Largest share of rows that may hold an entity of which the sample held none; 0 where all rows were looked at.

    Exact (Clopper-Pearson with no success): 1 - (1 - confidence)^(1/n); three times this is the rule of three's bound at
    95%. The sample is drawn by a hash of the row without replacement, so the binomial bound is on the safe side.
    """
    if sampled <= 0:
        return 1.0 if rows else None
    if sampled >= rows:
        return 0.0
    return float(round(1.0 - (1.0 - confidence) ** (1.0 / sampled), 9))


def named(names: Sequence[str], detectors: Mapping[str, Detector]) -> list[tuple[str, ...]]:
    """Entities that stand in the column names themselves."""
    asked = {entity: detector for entity, detector in detectors.items() if entity in IN_NAMES}
    found: list[set[str]] = [set() for _ in names]
    for span in find_spans(pa.array(list(names), pa.string()), asked).to_pylist():
        found[span["row"]].add(span["entity"])
    return [tuple(sorted(entities)) for entities in found]


def _leaf(column: str, path: str, counts: Counts, detectors: Mapping[str, Detector]) -> PathLabel | None:
    entity, score, _ = decide(last_name(column, path), None, counts, detectors)
    inside = contained(entity, counts)
    return PathLabel(path, entity, score, inside) if entity or inside else None
