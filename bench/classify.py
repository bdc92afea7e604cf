"""Precision and recall of the search for personal data on open labelled sets: columns (with and without headers) and spans.

    python bench/classify.py [--data ../shared/data] [--only columns|spans] [--ner] [--wrong]

The truth of columns is `column_labels.csv` (alternatives separated by |, NONE: nothing personal), that of spans the file of
`presidio_synth_text`. A set that is absent is skipped and said. Intervals are Wilson's, 95%.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from twinlake.classify.classify import classify_arrow
from twinlake.classify.decide import wilson
from twinlake.classify.entities import GENERAL
from twinlake.classify.spans import find_spans

SAME = {"US_STATE": "STATE", "BIRTH_DATE": "DATE_OF_BIRTH"}
"""Our name -> the truth's, where they differ."""
SPAN_TYPES = {
    "PERSON": "PERSON", "FIRST_NAME": "PERSON", "LAST_NAME": "PERSON", "STREET_ADDRESS": "STREET_ADDRESS",
        "ADDRESS": "STREET_ADDRESS",
    "ORGANIZATION": "ORGANIZATION", "CITY": "GPE", "COUNTRY": "GPE", "LOCATION": "GPE", "US_STATE": "GPE",
    "POSTAL_CODE": "ZIP_CODE", "URL": "DOMAIN_NAME", "DOMAIN_NAME": "DOMAIN_NAME", "DRIVER_LICENSE": "US_DRIVER_LICENSE",
    "NATIONALITY": "NRP",
}  # fmt: skip
PATTERNED = ("EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS", "DOMAIN_NAME", "PHONE_NUMBER")
WORDED = ("PERSON", "STREET_ADDRESS")


def column_truth(data: Path) -> dict[tuple[str, str], dict[str, list[str]]]:
    """(file, table) -> column -> right answers."""
    out: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(dict)
    with (data / "column_labels.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            out[row["file"], row["table"]][row["column"]] = row["entity"].split("|")
    return out


def read_table(path: Path, table: str) -> pa.Table:
    """The first 10,000 rows."""
    if path.suffix == ".sqlite":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            cursor = connection.execute(f'SELECT * FROM "{table}" LIMIT 10000')
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
        texts = [[None if isinstance(v, bytes) or v is None else str(v) for v in c] for c in zip(*rows, strict=True)]
        return pa.table(dict(zip(names, [pa.array(t, pa.string()) for t in texts], strict=True)))
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    parse = pacsv.ParseOptions(newlines_in_values=True)
    return pacsv.read_csv(io.BytesIO(raw.removeprefix(b"\xef\xbb\xbf")), parse_options=parse).slice(0, 10_000)


def names_of(entity: str) -> set[str]:
    """What the truth may call our entity."""
    return {entity, GENERAL.get(entity, entity), SAME.get(entity, entity)}


def answers(data: Path, headers: bool) -> Iterator[tuple[str, str, str | None, list[str]]]:
    """(table, column, our entity, right answers) of every labelled column."""
    for (file, name), columns in column_truth(data).items():
        if not (data / file).is_file():
            print(f"skipped: {file} is not there")
            continue
        table = read_table(data / file, name)
        given = table.column_names
        if not headers:
            table = table.rename_columns([f"c{i + 1}" for i in range(table.num_columns)])
        for column, label in zip(given, classify_arrow(table).columns, strict=True):
            if column in columns:
                yield f"{Path(file).parent}:{name or Path(file).name}", column, label.entity, columns[column]


def share(hits: int, trials: int) -> str:
    low, high = wilson(hits, trials)
    return f"{hits / trials:.3f} ({low:.3f}-{high:.3f}, {hits}/{trials})" if trials else "none"


def columns(data: Path, headers: bool, wrong: bool) -> None:
    due, found, said, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for where, column, entity, truth in answers(data, headers):
        hit = entity is not None and bool(names_of(entity) & set(truth))
        if "NONE" not in truth:
            due[truth[0]] += 1
            found[truth[0]] += hit
        if entity is not None:
            said[entity] += 1
            right[entity] += hit
        if wrong and ((entity is not None and not hit) or (entity is None and "NONE" not in truth)):
            print(f"    {where:45s} {column:24s} {entity or '-':22s} should be {'|'.join(truth)}")
    print(f"columns, headers {'as given' if headers else 'replaced by c1..cn'}")
    print(f"  recall    {share(found.total(), due.total())}")
    print(f"  precision {share(right.total(), said.total())}")
    for entity in due:
        print(f"    recall    {entity:24s} {share(found[entity], due[entity])}")
    for entity in said:
        print(f"    precision {entity:24s} {share(right[entity], said[entity])}")


def spans(data: Path, ner: bool, wrong: bool) -> None:
    path = data / "presidio_synth_text" / "synth_dataset_v2.json"
    if not path.is_file():
        print(f"skipped: {path} is not there")
        return
    records = json.loads(path.read_text(encoding="utf-8"))
    texts = pa.array([record["full_text"] for record in records])
    if ner:
        from twinlake.classify.ner import find_spans_ner

        table = find_spans_ner(texts)
    else:
        table = find_spans(texts)
    ours: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for row in table.to_pylist():
        kind = SPAN_TYPES.get(row["entity"], row["entity"])
        ours[kind].append((row["row"], row["start"], row["end"]))
    truth: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for i, record in enumerate(records):
        for span in record["spans"]:
            truth[span["entity_type"]].append((i, span["start_position"], span["end_position"]))
    print(
        f"spans, {'with' if ner else 'without'} the NER extra; neighbours of one type are one, a find counts from "
        f"half of the union"
    )
    whole = [record["full_text"] for record in records]
    ours, truth = ({kind: merged(found, whole) for kind, found in some.items()} for some in (ours, truth))
    totals: dict[str, list[int]] = {}
    for kind in sorted(truth):
        ours.setdefault(kind, [])
        hits = _matched(ours[kind], truth[kind])
        precision = _matched(truth[kind], ours[kind])
        totals[kind] = [hits, len(truth[kind]), precision, len(ours[kind])]
        print(
            f"  {kind:18s} F1 {_f1(totals[kind]):.3f}  recall {share(hits, len(truth[kind]))}  precision "
            f"{share(precision, len(ours[kind]))}"
        )
        if wrong:
            _print_wrong(records, kind, ours[kind], truth[kind])
    for name, kinds in (("patterned", PATTERNED), ("names and addresses", WORDED)):
        total = [sum(totals[k][i] for k in kinds if k in totals) for i in range(4)]
        print(f"  {name:20s} F1 {_f1(total):.3f}  recall {share(total[0], total[1])}  precision {share(total[2], total[3])}")


def merged(found: list[tuple[int, int, int]], texts: list[str]) -> list[tuple[int, int, int]]:
    """Finds of one type with nothing but spaces and commas between them, as one: an address is often labelled in pieces."""
    out: list[tuple[int, int, int]] = []
    for row, start, end in sorted(found):
        if out and out[-1][0] == row and not texts[row][out[-1][2] : start].strip(" ,\n"):
            out[-1] = (row, out[-1][1], max(end, out[-1][2]))
        else:
            out.append((row, start, end))
    return out


def _print_wrong(
    records: list[dict[str, str]], kind: str, ours: list[tuple[int, int, int]], truth: list[tuple[int, int, int]]
) -> None:
    for name, some, others in (("missed", truth, ours), ("extra", ours, truth)):
        by_row = defaultdict(list)
        for row, start, end in others:
            by_row[row].append((start, end))
        shown = [s for s in some if not any(_overlap(s[1], s[2], a, b) >= 0.5 for a, b in by_row[s[0]])]
        for row, start, end in shown[:25]:
            print(
                f"      {name}: {records[row]['full_text'][max(0, start - 30) : start]!r} ["
                f"{records[row]['full_text'][start:end]!r}]"
            )


def _matched(some: list[tuple[int, int, int]], others: list[tuple[int, int, int]]) -> int:
    by_row: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row, start, end in some:
        by_row[row].append((start, end))
    return sum(any(_overlap(start, end, a, b) >= 0.5 for a, b in by_row[row]) for row, start, end in others)


def _overlap(start: int, end: int, a: int, b: int) -> float:
    inner = max(0, min(end, b) - max(start, a))
    return inner / (max(end, b) - min(start, a))


def _f1(total: list[int]) -> float:
    recall, precision = total[0] / max(total[1], 1), total[2] / max(total[3], 1)
    return 2 * recall * precision / max(recall + precision, 1e-12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--only", choices=["columns", "spans"])
    parser.add_argument("--ner", action="store_true", help="also the spans with the NER extra")
    parser.add_argument("--wrong", action="store_true", help="print what was missed and what was wrong")
    args = parser.parse_args()
    if args.only != "spans":
        if not (args.data / "column_labels.csv").is_file():
            print(f"skipped: {args.data / 'column_labels.csv'} is not there")
        else:
            for headers in (True, False):
                columns(args.data, headers, args.wrong)
    if args.only != "columns":
        for ner in (False, True) if args.ner else (False,):
            spans(args.data, ner, args.wrong)


if __name__ == "__main__":
    main()
