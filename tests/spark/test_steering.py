"""Steering: conditions, balance, seeds, imputation and rules meet what was asked exactly, and the rest follows the
conditional distribution. The model's joint distribution is written down here, so the expected shares are arithmetic."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exact_model import save_exact_model, save_exact_tree
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.stats import chisquare

from twinlake.core.errors import ConfigError, DataError, UserError
from twinlake.generate.balance import count_groups
from twinlake.generate.complete import with_whole_numbers
from twinlake.generate.model import Model
from twinlake.generate.rules import ROW, RULES, broken, check_rules, read_rules
from twinlake.tables.parts import part_files
from twinlake.tables.spark_errors import spark_errors

A, B = ("x", "y"), ("p", "q", "r")
JOINT = np.array([[0.30, 0.15, 0.05], [0.05, 0.15, 0.30]])
ROWS = 20_000


@pytest.fixture(scope="module", params=[save_exact_model, save_exact_tree])
def model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Of family tabular, and of family marginal."""
    return Model.load(request.param(tmp_path_factory.mktemp("exact") / "model", JOINT, (A, B)))


def table(rows: Any) -> npt.NDArray[np.float64]:
    """Counts of (a, b), float64 [2, 3]."""
    counted = Counter(zip(rows["a"].to_pylist(), rows["b"].to_pylist(), strict=True))
    assert set(counted) <= {(a, b) for a in A for b in B}
    return np.array([[counted[(a, b)] for b in B] for a in A], np.float64)


def fits(counts: npt.NDArray[np.float64], shares: npt.NDArray[np.float64]) -> bool:
    """Whether `counts` may come from `shares` (chi-square; a right answer fails once in 10,000)."""
    kept = shares.ravel() > 0
    assert not counts.ravel()[~kept].any()
    expected = shares.ravel()[kept] / shares.sum() * counts.sum()
    return bool(chisquare(counts.ravel()[kept], expected).pvalue > 1e-4)


def test_a_condition_leaves_the_conditional_distribution(spark: SparkSession, model: Model) -> None:
    assert fits(table(model.generate(spark, ROWS).toArrow()), JOINT)
    given = table(model.generate(spark, ROWS, {"b": "p"}).toArrow())
    assert fits(given, JOINT * np.array([1, 0, 0]))
    several = table(model.generate(spark, ROWS, {"b": ["q", "r"]}).toArrow())
    assert fits(several, JOINT * np.array([0, 1, 1]))


def test_shares_are_met_to_the_row_and_the_rest_follows(spark: SparkSession, model: Model) -> None:
    made = table(model.generate(spark, 10_001, balance={"columns": ["a"], "shares": {"x": 0.9, "y": 0.1}}).toArrow())
    assert made.sum(axis=1).tolist() == [9_001, 1_000]
    for counts, given in zip(made, JOINT, strict=True):
        assert fits(counts, given)
    # groups are scattered: any thousand rows have about these shares
    head = model.generate(spark, 10_001, balance={"columns": ["a"], "shares": {"x": 0.9, "y": 0.1}}).limit(1_000).toArrow()
    assert 860 <= head["a"].to_pylist().count("x") <= 940


def test_groups_are_counted_in_one_pass(spark: SparkSession, tmp_path: Path) -> None:
    """13 x, 3 null, and one each of y and z: the first two groups have 3 rows or more, the others are two rare ones."""

    def scanned(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            (tmp_path / uuid.uuid4().hex).touch()
            yield batch

    rows = pa.table({"a b": ["x"] * 13 + [None] * 3 + ["y", "z"]})
    real = spark.createDataFrame(rows).coalesce(1).mapInArrow(scanned, "`a b` string")
    assert count_groups(real, ["a b"], 3) == ([({"a b": None}, 3), ({"a b": "x"}, 13)], 2)
    assert len(list(tmp_path.iterdir())) == 1


def test_groups_of_times_are_in_utc_wherever_the_driver_is(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        real = spark.range(5).select(F.timestamp_seconds(F.lit(1_577_880_000)).alias("at"))
        assert count_groups(real, ["at"], 3) == ([({"at": "2020-01-01 12:00:00"}, 5)], 0)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_balance_counts_the_real_rows(spark: SparkSession, model: Model) -> None:
    data = [("x", "p")] * 60 + [("x", "r")] * 15 + [("y", "r")] * 25 + [("y", "q")] * 9
    real = spark.createDataFrame(data, "a string, b string")  # nine rows are too few to be a group
    parity = table(model.generate(spark, 300, balance=["a", "b"], real=real).toArrow())
    assert parity.tolist() == [[100, 0, 100], [0, 0, 100]]
    topped = table(model.generate(spark, balance={"columns": ["a"], "mode": "additive"}, real=real).toArrow())
    assert topped.sum(axis=1).tolist() == [0, 41]
    assert fits(topped[1], JOINT[1])
    with pytest.raises(ConfigError, match="needs real="):
        model.generate(spark, balance={"columns": ["a"], "mode": "additive"})
    with pytest.raises(ConfigError, match="nothing to add"):
        model.generate(spark, balance={"columns": ["a"], "mode": "additive"}, real=real.where("a = 'x'"))


def test_shares_that_say_everything_count_nothing(spark: SparkSession, model: Model) -> None:
    """A column of more than 1,000 values can't be counted by value, and need not be."""
    real = spark.range(5_000).select(F.lit("x").alias("a"), F.col("id").cast("string").alias("b"))
    balance = {"columns": ["b"], "shares": [{"b": ["p", "q"], "share": 0.25}, {"b": ["r"], "share": 0.75}]}
    made = table(model.generate(spark, 1_000, balance=balance, real=real).toArrow())
    assert made[:, 2].sum() == 750
    with pytest.raises(ConfigError, match="more than 1,000 groups"):
        model.generate(spark, 1_000, balance=["b"], real=real, min_people=1)


def test_seed_rows_are_completed_and_their_keys_carried_through(spark: SparkSession, model: Model) -> None:
    seeds = spark.range(ROWS).select(
        F.concat(F.lit("k"), "id").alias("key"), F.when(F.col("id") % 4 == 0, "p").otherwise("r").alias("b")
    )
    made = model.generate(spark, conditions=seeds, partitions=2)
    assert made.columns == ["key", "b", "a"] and made.count() == ROWS
    rows = made.toArrow()
    assert len(set(rows["key"].to_pylist())) == ROWS
    wanted = {f"k{i}": "p" if i % 4 == 0 else "r" for i in range(ROWS)}
    assert dict(zip(rows["key"].to_pylist(), rows["b"].to_pylist(), strict=True)) == wanted
    counts = table(rows)
    assert fits(counts[:, 0], JOINT[:, 0]) and fits(counts[:, 2], JOINT[:, 2])


def incomplete(spark: SparkSession) -> DataFrame:
    third = F.col("id") % 3
    return spark.range(ROWS).select(
        "id",
        F.when(third != 0, F.lit("y")).alias("a"),
        F.when(third == 1, F.lit("p")).alias("b"),
    )


def test_imputation_fills_each_row_given_what_it_has(spark: SparkSession, model: Model) -> None:
    made = model.impute(incomplete(spark), partitions=2)
    assert made.columns == ["id", "a", "b"]
    assert [f.nullable for f in made.schema.fields[1:]] == [False, False]
    rows = made.toArrow().sort_by("id")
    third = np.arange(ROWS) % 3
    empty, whole, half = (rows.filter(pa.array(third == n)) for n in range(3))
    assert set(whole["a"].to_pylist()) == {"y"} and set(whole["b"].to_pylist()) == {"p"}
    assert set(half["a"].to_pylist()) == {"y"} and fits(table(half)[1], JOINT[1])
    assert fits(table(empty), JOINT)


def test_what_is_drawn_for_a_row_does_not_depend_on_the_others_order(spark: SparkSession, model: Model) -> None:
    df = incomplete(spark)
    once = model.impute(df, partitions=2).orderBy("id").toArrow()
    again = model.impute(df.orderBy(F.col("id").desc()).repartition(5), partitions=2).orderBy("id").toArrow()
    assert once.equals(again)
    fewer = model.impute(df.where("id < 5000"), partitions=2).orderBy("id").toArrow()
    assert fewer.equals(once.slice(0, 5_000))
    assert not model.impute(df, seed=8, partitions=2).orderBy("id").toArrow().equals(once)


def test_values_that_the_model_never_saw_are_carried_through(spark: SparkSession, model: Model) -> None:
    rows = spark.createDataFrame([("new", None), (None, "p")] * 50, "a string, b string")
    made = model.impute(rows, partitions=2).toArrow()
    assert sorted(made["a"].to_pylist())[:50] == ["new"] * 50
    assert None not in made["b"].to_pylist() and "new" not in made["b"].to_pylist()


def test_whole_numbers_in_a_column_of_text_are_text(spark: SparkSession, model: Model) -> None:
    """A CSV file of codes alone is read as one of numbers."""
    made = model.impute(spark.createDataFrame([(7, None), (10**12, "p")], "a bigint, b string"), partitions=2)
    assert made.dtypes == [("a", "string"), ("b", "string")]
    assert sorted(row["a"] for row in made.collect()) == ["1000000000000", "7"]


def test_whole_numbers_with_gaps_are_whole_numbers(spark: SparkSession) -> None:
    """pandas writes 39.0, NaN for 39 and a gap; a fraction is the table's fault, and stays unsaid."""
    df = spark.createDataFrame([(39.0, 0.5, 1.0), (float("nan"), 1.5, 2.0), (None, None, 3.0)], "age double, x double, n float")
    types = {"age": "bigint", "x": "double", "n": "tinyint"}
    made = with_whole_numbers(df, types)
    assert made.dtypes == [("age", "bigint"), ("x", "double"), ("n", "tinyint")]
    assert [tuple(row) for row in made.collect()] == [(39, 0.5, 1), (None, 1.5, 2), (None, None, 3)]
    for value in (2.5, 300.0, float("inf")):
        broken = spark.createDataFrame([(value,), (1.0,)], "n double")
        with pytest.raises(DataError, match="column 'n' holds numbers that are no tinyint") as caught:
            with_whole_numbers(broken, types)
        assert str(value) not in str(caught.value)


@pytest.mark.parametrize(
    ("ddl", "named"), [("a date", "type date; the model has it as string"), ("z string", "none of the table's columns")]
)
def test_a_table_that_the_model_does_not_fit_is_refused(spark: SparkSession, model: Model, ddl: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        model.impute(spark.createDataFrame([], ddl))


class TestRules:
    def test_rows_are_drawn_again_until_all_keep_the_rule(
        self, spark: SparkSession, model: Model, publish_twin: Any, tmp_path: Path
    ) -> None:
        """Drawing again is rejection sampling: the twin follows the joint distribution cut to what is allowed."""
        rule = "NOT (a = 'x' AND b = 'p') AND NOT (a = 'y' AND b = 'r')"  # six rows in ten break it
        facts = publish_twin(spark, model.path, tmp_path, ROWS, rules=[rule])
        made = pa.concat_tables([pq.read_table(f) for f in part_files(tmp_path / "synthetic")])
        assert made.num_rows == ROWS
        assert fits(table(made), JOINT * np.array([[0, 1, 1], [1, 1, 0]]))
        assert facts["redrawn"][rule] > 0.55 * ROWS
        other = publish_twin(spark, model.path, tmp_path / "other", ROWS, partitions=1, rules=[rule])
        again = pa.concat_tables([pq.read_table(f) for f in part_files(tmp_path / "other" / "synthetic")])
        assert other == facts and again.equals(made)
        assert [f.name for f in tmp_path.iterdir() if "staging" in f.name] == []

    def test_a_table_may_have_columns_of_any_name(self, spark: SparkSession, publish_twin: Any, tmp_path: Path) -> None:
        names = ("attempt", "_metadata")
        path = save_exact_model(tmp_path / "model", JOINT, (A, B), names)
        publish_twin(spark, path, tmp_path, 2_000, rules=["NOT (attempt = 'x' AND _metadata = 'p')"])
        made = pa.concat_tables([pq.read_table(f) for f in part_files(tmp_path / "synthetic")]).rename_columns(["a", "b"])
        assert fits(table(made), JOINT * np.array([[0, 1, 1], [1, 1, 1]]))

    def test_a_rule_that_no_row_can_keep_is_told(
        self, spark: SparkSession, model: Model, publish_twin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("twinlake.generate.generate.MAX_ROUNDS", 3)
        with pytest.raises(DataError, match="rows still break 'a = b' after 7 redraws"):
            publish_twin(spark, model.path, tmp_path, 50, rules=["a = b"])
        assert not (tmp_path / "synthetic").exists()

    def test_unique_columns_and_known_combinations(
        self, spark: SparkSession, model: Model, publish_twin: Any, tmp_path: Path
    ) -> None:
        publish_twin(spark, model.path, tmp_path / "unique", 5, rules=[{"unique": ["a", "b"]}])
        made = pq.read_table(tmp_path / "unique" / "synthetic")
        assert table(made).max() == 1 and made.num_rows == 5

    def test_what_breaks_each_kind_of_rule(self, spark: SparkSession, tmp_path: Path) -> None:
        """By hand: null breaks no condition, equals nothing, and is no set column."""
        data = [
            (0, 1, 5, "u", 1, 0),
            (1, 7, 5, "u", 0, 0),
            (2, None, 5, "v", 1, 1),
            (3, 2, 9, None, None, 1),
            (4, 3, 9, None, 1, 0),
        ]
        rows = spark.createDataFrame(data, f"{ROW} bigint, low int, high int, name string, one int, two int")
        train = spark.createDataFrame([(1, 5, "u", 1, 0)] * 3 + [(2, 9, None, None, 1)] * 2, rows.drop(ROW).schema)
        rules = read_rules(
            ["low <= high", {"unique": ["high", "name"]}, {"one_hot": ["one", "two"]}, {"combination": ["high", "name"]}],
            no_copies=["low", "high", "name", "one", "two"],
        )
        found = {(r[ROW], rules[number].kind) for r in broken(rows, rules, train, 2).collect() for number in r[RULES]}
        assert found == {
            (1, "sql"), (1, "unique"), (1, "one_hot"), (2, "one_hot"), (2, "combination"), (0, "copy"), (3, "copy"),
        }  # fmt: skip
        singly = broken(rows, rules, train, 3, sets=False).collect()
        rare = {(r[ROW], rules[number].kind) for r in singly for number in r[RULES]}
        assert rare - found == {(3, "combination"), (4, "combination")} and (1, "unique") not in rare

    def test_functions_of_a_file_are_asked_of_whole_rows(self, spark: SparkSession, tmp_path: Path) -> None:
        file = tmp_path / "checks.py"
        file.write_text(
            "LIMIT = 5\n"
            "def _sum(row):\n    return row['low'] + row['a.pair']['x']\n"
            "def small(row):\n    return None if row['low'] is None else _sum(row) <= LIMIT\n"
            "def fails(row):\n    raise KeyError(f'cell {row[\"low\"]}')\n"
        )
        data = [(0, 1, (4,)), (1, 2, (4,)), (2, None, (4,)), (3, 5, (0,))]
        rows = spark.createDataFrame(data, f"{ROW} bigint, low int, `a.pair` struct<x: int>")
        (rule,) = read_rules([{"function": f"{file}:small"}])
        check_rules([rule], rows.drop(ROW))
        assert {r[ROW] for r in broken(rows, [rule], None, 2).collect() if r[RULES]} == {1}
        fails = read_rules([{"function": f"{file}:fails"}])
        with pytest.raises(UserError, match=r"checks\.py:fails failed with KeyError on a row") as caught, spark_errors("run"):
            broken(rows, fails, None, 2).collect()
        assert "cell" not in str(caught.value)
        file.write_text("def small(row):\n    return True\n")
        (changed,) = read_rules([{"function": f"{file}:small"}])
        assert changed.source != rule.source and changed.text == rule.text

    def test_longer_texts_of_few_people_are_found(self, spark: SparkSession) -> None:
        """Case and marks aside; what two or more people wrote is nobody's own, short texts are everyone's."""
        own, common = "I lost my card in Rome, please help me", "this call may be recorded for training purposes only"
        train = spark.createDataFrame([(own,), (common,), (common,), ("thank you",), (None,)], "`a.note` string")
        texts = [own, own.upper().replace(",", " --"), common, "thank you", None, own + " today", ""]
        rows = spark.createDataFrame(list(enumerate(texts)), f"{ROW} bigint, `a.note` string")
        rules = read_rules([], own_texts=["a.note"])
        assert {r[ROW] for r in broken(rows, rules, train, 2).collect() if r[RULES]} == {0, 1}
        assert {r[ROW] for r in broken(rows, rules, train, 3).collect() if r[RULES]} == {0, 1, 2}

    @pytest.mark.parametrize(
        ("rule", "named"),
        [
            ("lowest <= high", "UNRESOLVED_COLUMN"),
            ("low <=", "PARSE_SYNTAX_ERROR"),
            ("sum(low) > 3", "can't be asked of this table"),
            ({"unique": ["lwo"]}, "low"),
            ({"unique": []}, "rule 1 must be"),
            ({"ordered": ["low"]}, "rule 1 must be"),
            ({"one_hot": ["low", "name"]}, "column 'name' is string; one_hot takes columns of 0 and 1 or of booleans"),
            ({"function": ["low"]}, "rule 1 must be"),
            ({"function": "plausible"}, "must be written as checks.py:plausible"),
            ({"function": "none/checks.py:plausible"}, "there is no file"),
            ({"function": "no_such_module:plausible"}, "can't be loaded: ModuleNotFoundError"),
            ({"function": "math:plausible"}, "'math' has no function 'plausible'"),
        ],
    )
    def test_rules_that_cannot_be_asked_are_refused(self, spark: SparkSession, rule: Any, named: str) -> None:
        with pytest.raises(ConfigError, match=named):
            check_rules(read_rules([rule]), spark.createDataFrame([], "low int, high int, name string"))
