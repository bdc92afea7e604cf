"""Labels on real tables, against labels made by hand. They are not part of the project: absent, they are skipped."""

from __future__ import annotations

import csv
import gzip
import io
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from twinlake.classify.classify import classify_arrow
from twinlake.classify.entities import GENERAL

DATA = Path(__file__).parents[2].parent / "shared" / "data"
TRUTH = DATA / "column_labels.csv"
SAME = {"STATE": "US_STATE", "DATE_OF_BIRTH": "BIRTH_DATE"}
LEAST_PRECISION, LEAST_RECALL = 0.95, 0.97
BARE_PRECISION, BARE_RECALL = 0.92, 0.85

Answer = tuple[str, str, str | None, list[str]]

pytestmark = pytest.mark.skipif(
    not TRUTH.is_file(), reason="the folder shared/data with labelled tables is not beside the checkout"
)


def truth() -> dict[tuple[str, str], dict[str, list[str]]]:
    """(file, table) -> column -> right answers, in the project's words."""
    out: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(dict)
    with TRUTH.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            out[row["file"], row["table"]][row["column"]] = [SAME.get(e, e) for e in row["entity"].split("|")]
    return out


def read_table(file: str, table: str) -> pa.Table:
    path = DATA / file
    if path.suffix == ".sqlite":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            cursor = connection.execute(f'SELECT * FROM "{table}" LIMIT 10000')
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
        texts = [[None if isinstance(v, bytes) or v is None else str(v) for v in column] for column in zip(*rows, strict=True)]
        return pa.table(dict(zip(names, [pa.array(t, pa.string()) for t in texts], strict=True)))
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    parse = pacsv.ParseOptions(newlines_in_values=True)
    return pacsv.read_csv(io.BytesIO(raw.removeprefix(b"\xef\xbb\xbf")), parse_options=parse).slice(0, 10_000)


def judged(headers: bool = True) -> Iterator[Answer]:
    """(table, column, label, right answers) for every labelled column."""
    for (file, table), columns in truth().items():
        read = read_table(file, table)
        names = read.column_names
        if not headers:
            read = read.rename_columns([f"c{i + 1}" for i in range(len(names))])
        for name, label in zip(names, classify_arrow(read).columns, strict=True):
            if name in columns:
                yield f"{file}:{table}", name, label.entity, columns[name]


def shares(answers: list[Answer]) -> tuple[float, float]:
    """(precision, recall)."""
    said = [bool({entity, GENERAL.get(entity, entity)} & set(right)) for _, _, entity, right in answers if entity]
    due = [
        bool(entity and {entity, GENERAL.get(entity, entity)} & set(right))
        for _, _, entity, right in answers
        if "NONE" not in right
    ]
    return sum(said) / len(said), sum(due) / len(due)


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    return list(judged())


def test_columns_are_found_and_labels_are_right(answers: list[Answer]) -> None:
    precision, recall = shares(answers)
    assert precision >= LEAST_PRECISION and recall >= LEAST_RECALL


def test_without_headers_most_are_still_found() -> None:
    precision, recall = shares(list(judged(headers=False)))
    assert precision >= BARE_PRECISION and recall >= BARE_RECALL


def test_columns_without_personal_data_stay_unlabelled(answers: list[Answer]) -> None:
    wrong = [(where, column, entity) for where, column, entity, right in answers if entity and right == ["NONE"]]
    assert not wrong


def test_census_is_described_and_not_identified() -> None:
    table = pq.read_table(DATA / "census_kdd_1994_95" / "train.parquet").slice(0, 10_000)
    about = {
        None,
        "COUNTRY",
        "AGE",
        "GENDER",
        "RACE",
        "MARITAL_STATUS",
        "EDUCATION",
        "EMPLOYMENT_STATUS",
        "NATIONALITY",
        "SALARY",
        "JOB_TITLE",
    }
    assert {c.entity for c in classify_arrow(table).columns} <= about
    unnamed = table.rename_columns([f"c{i:02}" for i in range(table.num_columns)])
    assert {c.entity for c in classify_arrow(unnamed).columns} <= about


@pytest.mark.parametrize("file", ["german_credit/german_credit.csv", "heart_disease_303/heart.csv"])
def test_coded_tables_get_no_label_but_age_and_sex(file: str) -> None:
    assert {c.entity for c in classify_arrow(read_table(file, "")).columns} <= {None, "AGE", "GENDER"}
