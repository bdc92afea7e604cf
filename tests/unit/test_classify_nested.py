"""Nested leaves and JSON by path, what a sample cannot exclude, own detectors, names that hold data, the script of tags."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from twinlake.classify.catalog import catalog_script, quoted
from twinlake.classify.classify import classify_arrow
from twinlake.classify.custom import custom_detectors, with_custom
from twinlake.classify.detectors import DETECTORS
from twinlake.classify.judge import missed_at_most
from twinlake.classify.labels import ColumnLabel, Labels, PathLabel
from twinlake.core.config import DetectorConfig
from twinlake.core.errors import ConfigError

KEYS = np.arange(200, dtype=np.uint64)
MAILS = DETECTORS["EMAIL_ADDRESS"].fake(KEYS).to_pylist()
CARDS = DETECTORS["CREDIT_CARD"].fake(KEYS).to_pylist()


def paths_of(column: pa.Array, name: str = "contact") -> dict[str, str | None]:
    label = classify_arrow(pa.table({name: column})).columns[0]
    return {leaf.path: leaf.entity for leaf in label.paths}


def test_structs_arrays_and_maps_by_path() -> None:
    rows = [{"email": m, "n": i, "cards": [c]} for i, (m, c) in enumerate(zip(MAILS, CARDS, strict=True))]
    assert paths_of(pa.array(rows)) == {".email": "EMAIL_ADDRESS", ".cards[]": "CREDIT_CARD"}
    listed = pa.array([[{"note": f"write to {m}"}] for m in MAILS])
    label = classify_arrow(pa.table({"orders": listed})).columns[0]
    assert label.paths == (PathLabel("[].note", None, 0.0, {"EMAIL_ADDRESS": 1.0}),)
    keyed = pa.array([[(m, c)] for m, c in zip(MAILS, CARDS, strict=True)], pa.map_(pa.string(), pa.string()))
    assert paths_of(keyed) == {"{keys}": "EMAIL_ADDRESS", "{values}": "CREDIT_CARD"}


def test_json_text_by_path() -> None:
    texts = [
        json.dumps({"user": {"mail": m}, "items": [{"card": c}], "ok": True, "n": None})
        for m, c in zip(MAILS, CARDS, strict=True)
    ]
    assert paths_of(pa.array([*texts, None, "{broken"]), "payload") == {
        ".user.mail": "EMAIL_ADDRESS",
        ".items[].card": "CREDIT_CARD",
    }


def test_nulls_empty_arrays_and_depth() -> None:
    deep = pa.array([None, [], [None], [MAILS[0]]], pa.list_(pa.string()))
    label = classify_arrow(pa.table({"mails": deep})).columns[0]
    assert (label.entity, label.sampled, label.non_null) == (None, 4, 3)


@pytest.mark.parametrize(
    ("sampled", "rows", "bound"), [(2301, 10**6, 0.003), (6905, 10**6, 0.001), (500, 500, 0.0), (0, 10, 1.0)]
)
def test_what_a_sample_cannot_exclude(sampled: int, rows: int, bound: float) -> None:
    # (1 - p)^n = 0.001: worked out with natural logarithms, ln 1000 = 6.907755
    assert missed_at_most(sampled, rows) == pytest.approx(bound, rel=1e-2)


def test_a_rare_entity_is_found_or_the_bound_is_told() -> None:
    # 6,905 rows find a rate of 0.1% with 99.9%: the stated bound of that sample is that rate
    assert pytest.approx(0.001, rel=0.01) == (1 - 0.001) ** 6905
    notes = ["nothing to tell"] * 9_990 + [f"mail {m}" for m in MAILS[:10]]
    label = classify_arrow(pa.table({"note": notes})).columns[0]
    assert label.contains == {"EMAIL_ADDRESS": 0.001} and label.missed_at_most == 0.0


def test_own_detectors() -> None:
    settings = [
        DetectorConfig(entity="BADGE", pattern="B-[0-9]{6}", score=0.9, headers=["badge no"], alone=True),
        DetectorConfig(entity="PROJECT", phrases=["Apollo", "Gemini"], headers=["project"]),
    ]
    detectors = with_custom(settings)
    table = pa.table(
        {"x": [f"B-{i:06}" for i in range(50)], "project": ["apollo", "GEMINI"] * 25, "note": ["see B-123456 of Apollo"] * 50}
    )
    labels = classify_arrow(table, detectors=detectors)
    assert [c.entity for c in labels.columns] == ["BADGE", "PROJECT", None]
    assert set(labels["note"].contains) == {"BADGE", "PROJECT"}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"entity": "badge", "pattern": "x"}, "upper snake case"),
        ({"entity": "BADGE"}, "needs a pattern or phrases"),
        ({"entity": "BADGE", "pattern": "["}, "not an RE2 pattern"),
        ({"entity": "BADGE", "pattern": "x*"}, "matches the empty text"),
        ({"entity": "BADGE", "pattern": "(x)y"}, "(?:...)"),
    ],
)
def test_wrong_detectors_are_refused_with_their_place(setting: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        custom_detectors([DetectorConfig(**setting)])
    assert "classify.detectors[0]" in str(error.value) and says in str(error.value)


def test_a_name_that_holds_data_is_told() -> None:
    labels = classify_arrow(pa.table({"john.smith@x.com": [1, 2], "plain": [1, 2]}))
    assert [c.named for c in labels.columns] == [("EMAIL_ADDRESS",), ()]
    assert "the name itself holds EMAIL_ADDRESS" in labels.to_table()


def test_script_of_tags_quotes_every_name() -> None:
    hostile = "x`; DROP TABLE t; --"
    labels = Labels(
        (
            ColumnLabel(hostile, "string", "EMAIL_ADDRESS", 0.98),
            ColumnLabel("n\n-- evil", "bigint", "US_SSN", 0.9),
            ColumnLabel("doc", "struct<a:string>", paths=(PathLabel(".a", "IBAN_CODE", 0.9),)),
            ColumnLabel("plain", "string"),
        ),
        10,
    )
    script = catalog_script(labels, "main.sales.it's")
    assert (
        "ALTER TABLE `main`.`sales`.`it's` ALTER COLUMN `x``; DROP TABLE t; --` SET TAGS ('pii' = 'EMAIL_ADDRESS', "
        "'pii_score' = '0.98');"
    ) in script
    assert "CREATE OR REPLACE FUNCTION `main`.`sales`.`mask_pii_bigint`(value BIGINT) RETURNS BIGINT" in script
    assert "'pii_contains' = 'IBAN_CODE'" in script and "plain" not in script
    assert script.startswith("-- ")


def test_names_of_tables() -> None:
    assert quoted("a.b.c") == "`a`.`b`.`c`"
    assert quoted("`a.b`.c") == "`a.b`.`c`"


def test_a_spreadsheet_reads_no_formula() -> None:
    labels = Labels((ColumnLabel("=HYPERLINK(1)", "string"),), 1)
    assert "\n'=HYPERLINK(1)," in labels.to_csv()


BAD_INPUTS = [
    (
        "T34",
        "mail",
        ["jane+tag@example.org", "bücher@exämple.org", "x" * 64 + "@" + "y" * 60 + ".example.org"],
        "EMAIL_ADDRESS",
    ),
    (
        "T35",
        "card",
        ["4111\u00a01111\u00a01111\u00a01111", "4111-1111-1111-1111", "４１１１１１１１１１１１１１１１"],
        "CREDIT_CARD",
    ),
    ("T35", "iban", ["DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "GB29-NWBK-6016-1331-9268-19"], "IBAN_CODE"),
    ("T36", "order_no", [str(10**15 + 7919 * i) for i in range(300)], None),
    ("T37", "ssn", ["078-05-1120"], "US_SSN"),
]


@pytest.mark.parametrize(("row", "name", "values", "entity"), BAD_INPUTS, ids=[f"{r}-{n}" for r, n, _, _ in BAD_INPUTS])
def test_bad_input_catalogue(row: str, name: str, values: list[str], entity: str | None) -> None:
    table = pa.table({name: pa.array(values * (30 if len(values) < 30 else 1))})
    assert classify_arrow(table).columns[0].entity == entity
