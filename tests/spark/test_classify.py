"""Labels of Spark tables: same answer however partitioned, hostile names, no value in the artifact."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from twinlake.classify.classify import classify_arrow, classify_table
from twinlake.classify.detector import Detector, Keys, Mask
from twinlake.classify.detectors import DETECTORS
from twinlake.classify.labels import Labels
from twinlake.core.errors import DataError

ROWS = 3000
CANARY = "zz-canary-7f3a"
KEYS = np.arange(ROWS, dtype=np.uint64)


def failing(values: pa.StringArray) -> Mask:
    raise ValueError(values[0].as_py())


def people() -> pa.Table:
    def fake(entity: str) -> pa.StringArray:
        return DETECTORS[entity].fake(KEYS)

    card = [int(v) if i % 3 else None for i, v in enumerate(fake("CREDIT_CARD").to_pylist())]
    note = [f"call back, write to x{i}@mail.test" if i % 50 == 0 else "no answer yet" for i in range(ROWS)]
    return pa.table(
        {
            "e.mail`s": fake("EMAIL_ADDRESS"),
            "c17": fake("US_SSN"),
            "FirstName": fake("FIRST_NAME"),
            "card": pa.array(card, pa.int64()),
            "card as double": pa.array(card, pa.float64()),
            "dob": fake("BIRTH_DATE").cast(pa.date32()),
            "created": pa.array([dt.datetime(2020, 1, 1, 12)] * ROWS, pa.timestamp("us", tz="UTC")),
            "order_no": pa.array(np.random.Generator(np.random.Philox(5)).integers(10**15, 10**16, ROWS)),
            "note": note,
            "remark": [f"{CANARY}-{i}" for i in range(ROWS)],
            "tags": pa.array([["a"]] * ROWS),
        }
    )


EXPECTED = [
    "EMAIL_ADDRESS",
    "US_SSN",
    "FIRST_NAME",
    "CREDIT_CARD",
    "CREDIT_CARD",
    "BIRTH_DATE",
    None,
    None,
    None,
    None,
    None,
]


@pytest.fixture(scope="module")
def labels(spark: SparkSession) -> Labels:
    return classify_table(spark.createDataFrame(people()))


def test_columns_are_labelled(labels: Labels) -> None:
    assert [c.entity for c in labels.columns] == EXPECTED
    assert [c.name for c in labels.columns] == people().column_names


def test_free_text_is_said_to_contain(labels: Labels) -> None:
    assert labels["note"].contains == {"EMAIL_ADDRESS": pytest.approx(0.02)}


def test_what_cannot_be_looked_into_is_said(spark: SparkSession) -> None:
    df = spark.range(50).select(F.col("id").cast("string").cast("binary").alias("b"))
    assert "not_looked_into" in classify_table(df)["b"].evidence


def test_nested_leaves_and_json_by_path(spark: SparkSession) -> None:
    df = spark.range(300).select(
        F.struct(F.concat(F.lit("a"), "id", F.lit("@example.org")).alias("email")).alias("contact"),
        F.array(F.struct(F.lit("write to b@example.org").alias("note"))).alias("orders"),
        F.create_map(F.concat(F.lit("k"), "id", F.lit("@example.org")), F.lit("4111111111111111")).alias("attrs"),
        F.to_json(F.struct(F.concat(F.lit("c"), "id", F.lit("@example.org")).alias("mail"))).alias("doc"),
    )
    labels = classify_table(df)
    found = {c.name + leaf.path: leaf.entity or list(leaf.contains) for c in labels.columns for leaf in c.paths}
    assert found == {
        "contact.email": "EMAIL_ADDRESS",
        "orders[].note": ["EMAIL_ADDRESS"],
        "attrs{keys}": "EMAIL_ADDRESS",
        "attrs{values}": "CREDIT_CARD",
        "doc.mail": "EMAIL_ADDRESS",
    }


def test_a_full_scan_finds_one_row_in_thousands_and_a_sample_says_its_bound(spark: SparkSession) -> None:
    other = F.concat(F.lit("note "), "id", F.lit(" said"))
    note = F.when(F.col("id") == 1234, F.lit("mail x@example.org now")).otherwise(other)
    df = spark.range(5000).select(note.alias("note"))
    whole = classify_table(df, sample_rows=100, full_scan=True)["note"]
    assert (whole.contains, whole.missed_at_most) == ({"EMAIL_ADDRESS": 0.0002}, 0.0)
    part = classify_table(df, sample_rows=100)["note"]
    assert part.missed_at_most is not None and 0.02 < part.missed_at_most < 0.15


def test_no_value_is_in_the_labels(labels: Labels) -> None:
    assert CANARY not in labels.to_json() + labels.to_table() + labels._repr_html_()


def test_spark_and_arrow_agree(labels: Labels) -> None:
    assert [c.evidence for c in classify_arrow(people()).columns[:4]] == [c.evidence for c in labels.columns[:4]]


def test_partitions_do_not_matter(spark: SparkSession) -> None:
    df = spark.createDataFrame(people())
    one, seven = (classify_table(df.repartition(n), sample_rows=500) for n in (1, 7))
    assert one == seven
    assert 300 < one["c17"].sampled < 700


def test_few_distinct_rows_are_still_sampled(spark: SparkSession) -> None:
    df = spark.range(20_000).select(F.when(F.col("id") % 2 == 0, "Male").otherwise("Female").alias("sex"))
    label = classify_table(df, sample_rows=100)["sex"]
    assert (label.entity, label.sampled >= 50) == ("GENDER", True)


@pytest.mark.parametrize("seed", [0, 2**63 - 1, 2**63, 2**64 - 1])
def test_any_seed_samples(spark: SparkSession, seed: int) -> None:
    """Derived seeds have 64 bits, of which the JVM knows signed ones alone."""
    df = spark.range(1_000).selectExpr("id", "concat('someone', id, '@example.org') AS mail")
    assert classify_table(df, sample_rows=100, seed=seed)["mail"].entity == "EMAIL_ADDRESS"


def test_empty_table(spark: SparkSession) -> None:
    labels = classify_table(spark.createDataFrame([], "email string, n int"))
    assert [(c.entity, c.sampled) for c in labels.columns] == [(None, 0), (None, 0)]


def test_names_that_differ_by_case(spark: SparkSession) -> None:
    df = spark.range(50).toDF("a").select(F.lit("x@example.org").alias("Mail"), F.lit("x").alias("mail"))
    assert [c.entity for c in classify_table(df).columns] == ["EMAIL_ADDRESS", None]


def test_a_failing_detector_does_not_tell_the_value(spark: SparkSession) -> None:
    def fake(keys: Keys) -> pa.StringArray:
        return pa.array([""] * len(keys))

    broken = {"BROKEN": Detector("BROKEN", failing, (), "pattern", fake, 1, alone=failing)}
    with pytest.raises(DataError) as error:
        classify_table(spark.createDataFrame([(CANARY,)], "a string"), detectors=broken)
    assert CANARY not in str(error.value) and "BROKEN" in str(error.value)


def test_what_one_row_in_a_thousand_holds_is_found_and_the_bound_covers_what_is_not(spark: SparkSession) -> None:
    rows, every = 40_000, 1000
    other = F.concat(F.lit("note "), "id", F.lit(" said"))
    written = F.concat(F.lit("mail x"), "id", F.lit("@example.org now"))
    df = spark.range(rows).select(F.when(F.col("id") % every == 7, written).otherwise(other).alias("note"))
    # at 0.1% a sample of 10,000 misses with probability 0.999^10,000 = 0.00005; promised is 0.001
    assert (1 - 1 / every) ** 10_000 < 0.001
    found = classify_table(df)["note"]
    assert "EMAIL_ADDRESS" in found.contains and found.missed_at_most is not None and found.missed_at_most < 1 / every
    for seed in (1, 2):
        small = classify_table(df, sample_rows=200, seed=seed)["note"]
        assert "EMAIL_ADDRESS" in small.contains or (small.missed_at_most or 0.0) >= 1 / every
    whole = classify_table(df, full_scan=True)["note"]
    assert (whole.contains, whole.missed_at_most, whole.sampled) == ({"EMAIL_ADDRESS": 1 / every}, 0.0, rows)
