"""CSV as other programs write it: quotes doubled (RFC 4180); what can't be read is the table's fault, and says so."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import pytest

from twinlake.core.config import parse_config
from twinlake.core.errors import DataError, TableError
from twinlake.generate.stage import WRITTEN
from twinlake.profile.repeats import find_repeats
from twinlake.tables.source import open_holdout, open_source
from twinlake.tables.spark_errors import spark_errors
from twinlake.tables.split import Split, with_content

TEXTS = ['she said "no", twice', "a \\ b", '""', "plain, with a comma"]


def source_of(spark: Any, path: Path, **options: str) -> Any:
    config = parse_config({"source": {"path": str(path), "options": options}})
    return open_source(spark, config.source).df


def test_doubled_quotes_are_quotes(spark: Any, tmp_path: Path) -> None:
    quoted = ['"' + text.replace('"', '""') + '"' for text in TEXTS]
    (tmp_path / "t.csv").write_text("".join(f"{line}\n" for line in ["text,n", *(f"{q},{i}" for i, q in enumerate(quoted))]))
    rows = source_of(spark, tmp_path / "t.csv").orderBy("n").collect()
    assert [row["text"] for row in rows] == TEXTS


def test_what_is_written_is_read_again(spark: Any, tmp_path: Path) -> None:
    frame = spark.createDataFrame([(t, i) for i, t in enumerate(TEXTS)], "text string, n int")
    frame.coalesce(1).write.format("csv").options(**WRITTEN["csv"]).save(str(tmp_path / "out"))
    [file] = (tmp_path / "out").glob("part-*.csv")
    assert [row["text"] for row in source_of(spark, file).orderBy("n").collect()] == TEXTS


def test_a_record_that_does_not_fit_is_an_error_of_the_data(spark: Any, tmp_path: Path) -> None:
    """Also where the rows are fetched as Arrow; the message names no cell."""
    (tmp_path / "t.csv").write_text('text,n\n"one\nSECRET two",1\nthree,4\n')
    df = source_of(spark, tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"multiLine") as caught, spark_errors("run"):
        find_repeats(with_content(df, Split(0)), Split(0), 3)
    assert "SECRET" not in str(caught.value)
    assert source_of(spark, tmp_path / "t.csv", multiLine="true").count() == 2


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("t.csv", "a;b\n1;x\n", {"delimiter": ";"}),
        ("t.csv", "a;b\n1;x\n", {"SEP": ";"}),
        ("t.csv", "a||b\n1||x\n", {"sep": "||"}),
        ("t.csv", "a\tb\n1\tx\n", {"sep": "\\t"}),
        ("t.csv", "'a','b'\n1,'x'\n", {"quote": "'"}),
        ("t.csv", "# made by hand\n\na,b\n1,x\n", {"comment": "#"}),
        ("t.csv", "a,b\n1,x\n", {"encoding": "UTF-16", "multiLine": "true"}),
        ("T.TSV", "a\tb\n1\tx\n", {}),
        ("t.tsv.gz", "a\tb\n1\tx\n", {}),
        ("t.csv.bz2", "a,b\n1,x\n", {}),
        ("of/t.tsv", "a\tb\n1\tx\n", {}),
        ("some [2024], {1}*.csv", "a,b\n1,x\n", {}),
    ],
)
def test_what_spark_reads_is_read(spark: Any, tmp_path: Path, name: str, text: str, options: dict[str, str]) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(file.suffix, bytes)
    file.write_bytes(pack(text.encode(options.get("encoding", "utf-8"))))
    df = source_of(spark, tmp_path / Path(name).parts[0], **options)
    assert df.dtypes == [("a", "int"), ("b", "string")] and [tuple(row) for row in df.collect()] == [(1, "x")]


def test_files_of_hidden_folders_say_nothing(spark: Any, tmp_path: Path) -> None:
    spark.createDataFrame([(1, "SECRET")], "a int, b string").write.parquet(str(tmp_path / "t" / "k=1"))
    (tmp_path / "t" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "t" / ".ipynb_checkpoints" / "notes.csv").write_text("z\n1\n")
    assert source_of(spark, tmp_path / "t").columns == ["a", "b", "k"]
    (tmp_path / "t" / "_delta_log").mkdir()
    with pytest.raises(TableError, match=r"is a Delta table.*source\.table"):
        source_of(spark, tmp_path / "t")


def test_a_first_line_that_is_no_header(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("SECRET" * 30_000 + "\n1\n")
    with pytest.raises(TableError, match=r"source\.options\.sep") as caught:
        source_of(spark, tmp_path / "t.csv")
    assert "SECRET" not in str(caught.value)


def test_what_only_looks_like_a_number_or_a_time_stays_text(spark: Any, tmp_path: Path) -> None:
    """Spark alone makes 3910, 4930123456, 12.0 and a time of today of these."""
    lines = [
        "zip,phone,code,at,n,x,day,moment,change",
        "53111,+4930123456,12D,23:10:05,7,0.5,2024-01-02,2024-01-02 10:00:00,+1",
    ]
    lines += ["03910,+4930999999,3F,09:00:59,10,-0.25,2024-02-29,2024-01-02 11:30:00,-2"]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    df = source_of(spark, tmp_path / "t.csv")
    assert [kind for _, kind in df.dtypes] == ["string"] * 4 + ["int", "double", "date", "timestamp", "int"]
    assert [tuple(row)[:5] for row in df.orderBy("n").collect()] == [
        ("53111", "+4930123456", "12D", "23:10:05", 7),
        ("03910", "+4930999999", "3F", "09:00:59", 10),
    ]


def test_a_holdout_whose_numbers_begin_with_no_zero_fits_a_source_of_text(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("zip\n03910\n53111\n")
    (tmp_path / "own.csv").write_text("zip\n40210\n")
    config = parse_config({"source": {"path": str(tmp_path / "t.csv")}, "holdout": {"source": str(tmp_path / "own.csv")}})
    held = open_holdout(spark, config.holdout, open_source(spark, config.source))
    assert held is not None and [tuple(row) for row in held.collect()] == [("40210",)]
