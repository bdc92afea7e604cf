"""The catalogue of bad inputs: names N01 to N19, types T01 to T16, shapes S01 to S04, configs C01 to C04, one row each.

A row says what is given and what is expected: refused with an error that names the thing and shows no cell, kept to the
last digit, or kept with a warning. Everything goes through `pipeline.run`; the type rows look at one table that was
profiled, encoded, trained on and generated once.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinlake import pipeline
from twinlake.core.config import load_config
from twinlake.core.errors import ConfigError, DataError, PolicyError, TableError, TwinlakeError
from twinlake.core.progress import Silent
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.profile.types import Profile

ROWS = 40
SECRET = "xq7"
"""Every cell of the name rows starts with it; no message may."""


@dataclass
class Outcome:
    """What came of an input: an error, or a run folder and what was said on the way."""

    folder: Path
    error: BaseException | None = None
    said: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    score: float | None = None


class Heard(Silent):
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@dataclass(frozen=True)
class Bench:
    """Where a row is tried."""

    spark: Any
    folder: Path
    request: pytest.FixtureRequest

    def run(self, last: str, names: list[str] | None = None, **sections: Any) -> Outcome:
        heard = Heard()
        out = Outcome(self.folder / "run", said=heard.said, names=names or [])
        try:
            config = load_config(base={"run": {"dir": str(out.folder), "keep_private": True}, **sections})
            out.score = pipeline.run(config, spark=self.spark, progress=heard, last=last).score
        except TwinlakeError as error:
            out.error = error
        return out


Given = Callable[[Bench], Outcome]
Expected = Callable[[Outcome], None]


@dataclass(frozen=True)
class Case:
    """A row of the catalogue."""

    id: str
    what: str
    given: Given
    expected: Expected


# -- given ----------------------------------------------------------------------------------------------------------


def parquet(*names: str, last: str = "encode", columns: list[str] | None = None, **sections: Any) -> Given:
    """A Parquet file with these columns; column i holds the text `xq7-i` in every row."""

    def make(bench: Bench) -> Outcome:
        cells = [pa.array([f"{SECRET}-{i}"] * ROWS) for i in range(len(names))]
        path = bench.folder / "table.parquet"
        pq.write_table(pa.Table.from_arrays(cells, names=list(names)), path)
        return bench.run(last, list(names), source={"path": str(path), "columns": columns}, **sections)

    return make


def csv(header: str) -> Given:
    """A CSV file with this header line."""

    def make(bench: Bench) -> Outcome:
        path = bench.folder / "table.csv"
        cells = ",".join([SECRET] * (header.count(",") + 1))
        path.write_text(f"{header}\n" + f"{cells}\n" * ROWS, encoding="utf-8")
        return bench.run("profile", source={"path": str(path)})

    return make


def view(name: str, table: str | None = None) -> Given:
    """A temporary view, read by its name."""

    def make(bench: Bench) -> Outcome:
        frame = bench.spark.range(ROWS).selectExpr(f"'{SECRET}-0' AS a")
        frame.createOrReplaceTempView(f"`{name}`")
        try:
            return bench.run("encode", ["a"], source={"table": table or name})
        finally:
            bench.spark.catalog.dropTempView(name)

    return make


def stream(bench: Bench) -> Outcome:
    bench.spark.readStream.format("rate").load().createOrReplaceTempView("feed")
    try:
        return bench.run("profile", source={"table": "feed"})
    finally:
        bench.spark.catalog.dropTempView("feed")


def table_name(name: str) -> Given:
    return lambda bench: bench.run("profile", source={"table": name})


def void(bench: Bench) -> Outcome:
    frame = bench.spark.range(ROWS).selectExpr("'xq7-0' AS `a.b`", "NULL AS `void.col`")
    frame.createOrReplaceTempView("with_void")
    try:
        return bench.run("encode", source={"table": "with_void"})
    finally:
        bench.spark.catalog.dropTempView("with_void")


def config(text: str) -> Given:
    """A config file with this text."""

    def make(bench: Bench) -> Outcome:
        path = bench.folder / "team.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            load_config(path)
        except TwinlakeError as error:
            return Outcome(bench.folder, error)
        return Outcome(bench.folder)

    return make


def rows_of(count: int, last: str = "report", output: bool = False) -> Given:
    """A table of three columns with `count` identical rows."""

    def make(bench: Bench) -> Outcome:
        path = bench.folder / "small.parquet"
        table = pa.table(
            {
                "n": pa.array([77_310_001] * count, pa.int32()),
                "s": pa.array(["Zaphod Quince"] * count, pa.string()),
                "t": pa.array([dt.datetime(1961, 7, 7, 7, 7)] * count, pa.timestamp("us", "UTC")),
            }
        )
        pq.write_table(table, path)
        sections = {"output": {"path": str(bench.folder / "sink")}} if output else {}
        out = bench.run(last, ["n", "s", "t"], source={"path": str(path)}, **sections)
        if output and out.error is None:
            sink = bench.spark.read.parquet(str(bench.folder / "sink"))
            assert [f.dataType.simpleString() for f in sink.schema.fields] == ["int", "string", "timestamp"]
            assert sink.count() == count
        return out

    return make


def typed(bench: Bench) -> Outcome:
    """The table of types, made once for the module."""
    outcome: Outcome = bench.request.getfixturevalue("types_run")
    return outcome


# -- expected -------------------------------------------------------------------------------------------------------


def refused(kind: type[TwinlakeError], *parts: str) -> Expected:
    """An error of this class whose one line holds all `parts` and no cell; nothing was published."""

    def check(out: Outcome) -> None:
        assert type(out.error) is kind, out.error
        message = str(out.error)
        for part in parts:
            assert part in message
        assert SECRET not in message and "Zaphod" not in message and "77310001" not in message
        assert message.isprintable()
        assert not (out.folder / "synthetic").exists() and not (out.folder / "protected").exists()

    return check


def kept(*warnings: str) -> Expected:
    """All columns arrive in the codec under their own names, each with its own value; these warnings and no other."""

    def check(out: Outcome) -> None:
        assert out.error is None, out.error
        codec = _codec(out)
        assert [c.name for c in codec.columns] == out.names
        assert [c.values for c in codec.columns] == [(f"{SECRET}-{i}",) for i in range(len(out.names))]
        assert _parts(out, "protected").column_names == out.names
        found = [line for line in out.said if line.startswith("warning")]
        assert len(found) == len(warnings)
        for line, wanted in zip(found, warnings, strict=True):
            assert wanted in line and line.isprintable()

    return check


def void_is_null_text(out: Outcome) -> None:
    assert out.error is None, out.error
    protected = _parts(out, "protected")
    assert protected.column_names == ["a.b", "void.col"]
    assert protected.schema.field("void.col").type == pa.string()
    assert protected.column("void.col").null_count == protected.num_rows > 0
    assert _codec(out).columns[1].method == "null"


def empty_twin(out: Outcome) -> None:
    """The schema, a readable part without rows, no score, and a word about it."""
    assert out.error is None, out.error
    assert out.score is None
    twin = _parts(out, "synthetic")
    assert twin.num_rows == 0
    assert twin.schema.types == [pa.int32(), pa.string(), pa.timestamp("us", "UTC")]
    assert list((out.folder / "synthetic").glob("part-*.parquet"))
    results = json.loads((out.folder / "evaluation.json").read_text())["results"]
    for name in ("quality_score", "univariate_tv"):
        assert results[name]["value"] is None and results[name]["reason"]
    assert any("no rows" in line for line in out.said if line.startswith("warning"))


def too_few(out: Outcome) -> None:
    """Refused with the least number of rows; no cell of the few is in the message or in any published artifact."""
    assert type(out.error) is DataError, out.error
    assert "rows to train on; at least 10 are needed" in str(out.error)
    assert not (out.folder / "synthetic").exists()
    for text in ("Zaphod", "Quince", "77310001", "1961-07-07"):
        assert text not in str(out.error)
        assert _found(out, text) == []


def values(name: str, tolerance: float = 0.06) -> Expected:
    """The column's type and values come back exactly, at their rates; nothing else is drawn."""

    def check(out: Outcome) -> None:
        real, twin = _column(out, name)
        assert twin.type == real.type
        rates, drawn = _rates(real), _rates(twin)
        assert set(drawn) == set(rates)
        for value, share in rates.items():
            assert abs(drawn[value] - share) < tolerance, (value, share, drawn[value])
        assert [repr(v) for v in _round_trip(out, name).to_pylist()] == [repr(v) for v in _train(out, name).to_pylist()]

    return check


def both(*checks: Expected) -> Expected:
    return lambda out: [check(out) for check in checks] and None


def all_null(name: str) -> Expected:
    def check(out: Outcome) -> None:
        real, twin = _column(out, name)
        assert twin.type == real.type and twin.null_count == len(twin) > 0
        assert _codec(out).columns[_codec(out).index(name)].method == "null"
        assert _profile(out)[name].kind == "empty"

    return check


def constant(name: str) -> Expected:
    def check(out: Outcome) -> None:
        values(name, 1e-9)(out)
        assert _profile(out)[name].kind == "constant"
        assert _column_codec(out, name).coarse == ()  # no pair is counted with it

    return check


def new_key(name: str) -> Expected:
    def check(out: Outcome) -> None:
        real, twin = _column(out, name)
        assert twin.type == real.type
        made = twin.to_pylist()
        assert len(set(made)) == len(made) and not set(made) & set(real.to_pylist())
        assert _profile(out)[name].kind == "key" and _column_codec(out, name).method in ("key", "surrogate")

    return check


def uuid_shape(out: Outcome) -> None:
    made = _column(out, "t04_uuid")[1].to_pylist()
    digits = set("0123456789abcdef")
    for text in made:
        groups = text.split("-")
        assert [len(g) for g in groups] == [8, 4, 4, 4, 12] and set("".join(groups)) <= digits
        assert text[14] == "4" and text[19] in "89ab"


def nowhere(*texts: str) -> Expected:
    """These texts are in no published artifact."""
    return lambda out: _assert_nowhere(out, texts)


def _assert_nowhere(out: Outcome, texts: tuple[str, ...]) -> None:
    for text in texts:
        assert _found(out, text) == []


def mostly_null(name: str) -> Expected:
    def check(out: Outcome) -> None:
        real, twin = _column(out, name)
        assert real.null_count == len(real) - 1
        assert twin.null_count >= 0.99 * len(twin)
        assert not set(twin.drop_null().to_pylist()) & set(real.drop_null().to_pylist())
        assert _profile(out)[name].mean is None and _profile(out)[name].top == ()

    return check


def within(name: str, low: Any, high: Any) -> Expected:
    def check(out: Outcome) -> None:
        real, twin = _column(out, name)
        assert twin.type == real.type and twin.null_count == 0
        made = twin.to_pylist()
        assert all(low <= value <= high for value in made)
        assert len(set(made)) > len(made) / 10

    return check


def one_zero(out: Outcome) -> None:
    """-0.0 and 0.0 are one value with the share of both; 1.0 is the other."""
    _, twin = _column(out, "t10_zero")
    shares = Counter(repr(v) for v in twin.to_pylist())
    assert set(shares) == {"0.0", "1.0"}
    assert abs(shares["0.0"] / len(twin) - 0.7) < 0.06
    column = _column_codec(out, "t10_zero")
    assert sorted(column.atoms) == [0, 1]
    assert [v for v, _ in _profile(out)["t10_zero"].top] == ["0", "1"] or _profile(out)["t10_zero"].distinct == 2


def sentinels(out: Outcome) -> None:
    """Heavy sentinel dates are values of their own; the range of the rest does not stretch to them."""
    column = _column_codec(out, "t14_day")
    days = [(dt.date(1900, 1, 1) - dt.date(1970, 1, 1)).days, (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days]
    assert set(days) <= set(column.atoms)
    first, last = ((dt.date(y, m, d) - dt.date(1970, 1, 1)).days for y, m, d in ((2019, 1, 1), (2024, 12, 31)))
    assert first <= min(column.low) and max(column.high) <= last
    made = Counter(_column(out, "t14_day")[1].to_pylist())
    total = sum(made.values())
    assert abs(made[dt.date(1900, 1, 1)] / total - 0.2) < 0.06 and abs(made[dt.date(9999, 12, 31)] / total - 0.2) < 0.06
    others = [d for d in made if d.year not in (1900, 9999)]
    assert others and min(others) >= dt.date(2019, 1, 1) and max(others) <= dt.date(2024, 12, 31)


# -- looking at a run -------------------------------------------------------------------------------------------------


def _codec(out: Outcome) -> Codec:
    return Codec.from_json((out.folder / "codec.json").read_text(encoding="utf-8"))


def _column_codec(out: Outcome, name: str) -> ColumnCodec:
    return _codec(out).columns[_codec(out).index(name)]


def _profile(out: Outcome) -> Profile:
    return Profile.from_json((out.folder / "profile.json").read_text(encoding="utf-8"))


def _parts(out: Outcome, folder: str) -> pa.Table:
    files = sorted((out.folder / folder).glob("part-*.parquet"))
    return pa.concat_tables([pq.ParquetFile(f).read() for f in files])


def _column(out: Outcome, name: str) -> tuple[pa.Array, pa.Array]:
    """The real column as it was written, and the twin's."""
    twin = _parts(out, "synthetic").column(name).combine_chunks()
    return pq.read_table(out.folder.parent / "types.parquet", columns=[name]).column(0).combine_chunks(), twin


def _train(out: Outcome, name: str) -> pa.Array:
    return _parts(out, "protected").column(name).combine_chunks()


def _round_trip(out: Outcome, name: str) -> pa.Array:
    """The train rows, encoded and decoded again."""
    codec, rows = _codec(out), _parts(out, "protected").combine_chunks().to_batches()[0]
    tokens = codec.encode(rows)
    uniforms = np.full((len(tokens), len(codec.columns)), 0.5)
    back = codec.decode(tokens, uniforms, np.arange(len(tokens), dtype=np.uint64), 7)
    assert np.array_equal(
        codec.encode(back)[:, list(codec.slots[codec.index(name)])], tokens[:, list(codec.slots[codec.index(name)])]
    )
    return back.column(codec.index(name))


def _rates(array: pa.Array) -> dict[str, float]:
    counted = Counter(repr(value) for value in array.to_pylist())
    return {value: count / len(array) for value, count in counted.items()}


def _found(out: Outcome, text: str) -> list[str]:
    """Published artifacts that hold `text`: files as bytes, and the cells of the twin."""
    hits = []
    for file in out.folder.rglob("*"):
        place = file.relative_to(out.folder).parts
        if file.is_file() and place[0] not in ("private", "protected") and text.encode() in file.read_bytes():
            hits.append("/".join(place))
    if not (out.folder / "synthetic").exists():
        return hits
    twin = _parts(out, "synthetic")
    hits += [name for name in twin.column_names if any(text in str(v) for v in set(twin.column(name).to_pylist()))]
    return hits


# -- the table of types -----------------------------------------------------------------------------------------------

TYPE_ROWS = 1_500
NINES, EIGHT = Decimal("9" * 38), Decimal("9" * 37 + "8")


def _mixed(kind: pa.DataType, *shares: tuple[Any, float]) -> pa.Array:
    """Each value with its share of the rows, in a fixed order that is not sorted."""
    place = (np.arange(TYPE_ROWS) * 769 % TYPE_ROWS + 0.5) / TYPE_ROWS
    ends = np.cumsum([share for _, share in shares])
    assert math.isclose(ends[-1], 1.0)
    return pa.array([shares[int(np.searchsorted(ends, p))][0] for p in place], kind)


def _uuid(n: int) -> str:
    """A version 4 UUID that differs for each n below 4,096."""
    last = n * 11400714819323198485 % 2**48
    return f"{n * 2654435761 % 2**32:08x}-{n * 40503 % 65536:04x}-4{n * 769 % 4096:03x}-{'89ab'[n % 4]}{n:03x}-{last:012x}"


def _types_table() -> pa.Table:
    utc, ntz = pa.timestamp("us", "UTC"), pa.timestamp("us")
    i = np.arange(TYPE_ROWS)
    at = dt.datetime
    days = [dt.date(2019, 1, 1) + dt.timedelta(days=int(d)) for d in i * 31 % 2_190]
    heavy = _mixed(pa.string(), ("low", 0.2), ("high", 0.2), ("", 0.6)).to_pylist()
    sentinel = {"low": dt.date(1900, 1, 1), "high": dt.date(9999, 12, 31)}
    uuids = [_uuid(n) for n in range(1, TYPE_ROWS + 1)]
    once = [None] * TYPE_ROWS
    once[700] = "Trillian Marvinsdottir"
    amount: list[float | None] = [None] * TYPE_ROWS
    amount[701] = 7731.421903
    visit: list[dt.date | None] = [None] * TYPE_ROWS
    visit[702] = dt.date(1887, 11, 13)
    return pa.table(
        {
            "t01_null": pa.nulls(TYPE_ROWS, pa.int64()),
            "t03_text": _mixed(pa.string(), ("always the same", 1.0)),
            "t03_time": _mixed(utc, (at(2024, 2, 29, 12, 0, 0, 1, tzinfo=dt.UTC), 1.0)),
            "t03_decimal": _mixed(pa.decimal128(20, 4), (Decimal("-12345678901234.5678"), 1.0)),
            "t04_id": pa.array(i * 7 % TYPE_ROWS + 5_001, pa.int64()),
            "t04_uuid": pa.array(uuids),
            "t04_hash_id": pa.array((i.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)),
            "t05_text": pa.array(once, pa.string()),
            "t05_amount": pa.array(amount, pa.float64()),
            "t05_day": pa.array(visit, pa.date32()),
            "t06_big": _mixed(pa.int64(), (9007199254740993, 0.5), (9007199254740995, 0.3), (None, 0.2)),
            "t07_big": _mixed(pa.int64(), (-(2**63), 0.4), (2**63 - 1, 0.4), (0, 0.2)),
            "t07_tiny": _mixed(pa.int8(), (-128, 0.5), (127, 0.4), (None, 0.1)),
            "t08_nines": _mixed(pa.decimal128(38, 0), (NINES, 0.5), (EIGHT, 0.3), (Decimal(0), 0.2)),
            "t08_places": _mixed(pa.decimal128(38, 38), (Decimal("0." + "9" * 38), 0.6), (Decimal("1E-38"), 0.4)),
            "t08_money": _mixed(pa.decimal128(10, 2), (Decimal("19.99"), 0.6), (Decimal("-0.01"), 0.3), (None, 0.1)),
            "t08_wide": pa.array([Decimal(int(n) * 10**30 + 7) for n in i * 13 % 1_499 + 1], pa.decimal128(38, 0)),
            "t09_states": _mixed(pa.float64(), (math.nan, 0.2), (math.inf, 0.15), (-math.inf, 0.1), (1.5, 0.4), (None, 0.15)),
            "t09_only": _mixed(pa.float64(), (math.nan, 0.7), (math.inf, 0.3)),
            "t10_zero": _mixed(pa.float64(), (-0.0, 0.3), (0.0, 0.4), (1.0, 0.3)),
            "t11_edges": _mixed(pa.float64(), (5e-324, 0.2), (1e308, 0.2), (-1e308, 0.2), (0.1 + 0.2, 0.2), (0.3, 0.2)),
            "t11_spread": pa.array((i * 601 % TYPE_ROWS / (TYPE_ROWS - 1) - 0.5) * 1e308, pa.float64()),
            "t11_single": _mixed(pa.float32(), (np.float32(0.1), 0.5), (np.float32(16777217.0), 0.5)),
            "t12_time": _mixed(
                utc, (at(1, 1, 1, tzinfo=dt.UTC), 0.5), (at(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC), 0.5)
            ),
            "t12_day": _mixed(pa.date32(), (dt.date(1, 1, 1), 0.5), (dt.date(9999, 12, 31), 0.5)),
            "t13_day": _mixed(pa.date32(), (dt.date(1582, 10, 10), 0.5), (dt.date(1899, 12, 31), 0.5)),
            "t14_day": pa.array([sentinel.get(h, d) for h, d in zip(heavy, days, strict=True)], pa.date32()),
            "t15_instant": _mixed(  # New York: around the gap of spring and both 01:30 of autumn
                utc,
                (at(2024, 3, 10, 6, 59, 59, tzinfo=dt.UTC), 0.25),
                (at(2024, 3, 10, 7, 30, tzinfo=dt.UTC), 0.25),
                (at(2024, 11, 3, 5, 30, tzinfo=dt.UTC), 0.25),
                (at(2024, 11, 3, 6, 30, tzinfo=dt.UTC), 0.25),
            ),
            "t16_local": _mixed(ntz, (at(2024, 3, 10, 2, 30), 0.6), (at(2024, 3, 10, 2, 30, 0, 1), 0.4)),
        }
    )


@pytest.fixture(scope="module")
def types_run(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """One run over the table of types, in a session of another time zone than UTC."""
    folder = tmp_path_factory.mktemp("types")
    pq.write_table(_types_table(), folder / "types.parquet")
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    heard = Heard()
    settings = {
        "run": {"dir": str(folder / "run"), "keep_private": True},
        "source": {"path": str(folder / "types.parquet")},
        "train": {"epochs": 10, "workers": 1},
        "generate": {"rows": 5_000},
    }
    try:
        pipeline.run(load_config(base=settings), spark=spark, progress=heard, last="generate")
        assert spark.conf.get("spark.sql.session.timeZone") == "America/New_York"
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)
    yield Outcome(folder / "run", said=heard.said)


# -- the catalogue ----------------------------------------------------------------------------------------------------

CATALOGUE = (
    Case("N01", "a, a in Parquet", parquet("a", "b", "a"), refused(TableError, "'a' (position 1), 'a' (position 3)")),
    Case("N01", "a, a in CSV", csv("a,b,a"), refused(TableError, "'a' (position 1), 'a' (position 3)")),
    Case("N02", "a and A in Parquet", parquet("a", "A"), refused(TableError, "case alone", "'A' (position 2)")),
    Case("N02", "a and A in CSV", csv("a,A"), refused(TableError, "case alone", "'A' (position 2)")),
    Case("N03", "two spellings of é", parquet("é", "e\u0301"), kept(r"look the same: '\\xe9', 'e\\u0301'")),
    Case("N04", "a dot", parquet("a.b", "a"), kept()),
    Case("N05", "a backtick", parquet("a`b", "`", "``.`"), kept()),
    Case("N06", "an empty name", parquet("a", ""), refused(TableError, "position 2", "empty name")),
    Case("N06", "spaces alone", csv("a,  ,c"), refused(TableError, "position 2", "empty name")),
    Case("N07", "a newline", parquet("a", "b\nc"), refused(TableError, r"b\nc' (position 2)", "control character")),
    Case("N07", "a NUL", parquet("\0"), refused(TableError, r"\x00' (position 1)", "control character")),
    Case("N07", "a tab", parquet("\t x"), refused(TableError, r"\t x' (position 1)", "control character")),
    Case(
        "N08",
        "bidi override and joiner",
        parquet("a\u202eb", "c\u200dd"),
        kept(r"a\u202eb' holds an invisible", r"c\u200dd' holds an invisible"),
    ),
    Case("N09", "5,000 characters", parquet("a" * 5_000), refused(TableError, "longer than 255 bytes", "position 1")),
    Case("N09", "128 letters of two bytes", parquet("é" * 128), refused(TableError, "longer than 255 bytes")),
    Case("N10", "punctuation", parquet("a,b;c{d}(e)=f", " a b "), kept()),
    Case("N11", "injections", parquet("'; DROP TABLE t; --", "${jndi:x}", "{{x}}", "%s", "<script>"), kept()),
    Case("N12", "a path as column", parquet("../../etc"), kept()),
    Case("N12", "a path as run name", config("run: {name: ../../etc}\n"), refused(ConfigError, "run.name", "line 1")),
    Case("N13", "our row id", parquet("a", "__row_id"), refused(TableError, "__row_id", "position 2", "kept for")),
    Case("N13", "our prefix", parquet("__twinlake_key"), refused(TableError, "__twinlake_key", "kept for")),
    Case("N13", "names of other systems", parquet("_metadata", "_rescued_data", "c0", "c1"), kept()),
    Case("N14", "SQL keywords", parquet("select", "order", "null", "true", "from"), kept()),
    Case("N15", "digits, emoji, CJK, RTL", parquet("1abc", "-1", "🦊", "名前", "اسم"), kept()),
    Case("N16", "four parts", table_name("a.b.c.d"), refused(TableError, "4 parts (a, b, c, d)", "1 to 3")),
    Case("N16", "a space", table_name("my table"), refused(TableError, "'my table'", "' ' at character 3")),
    Case("N16", "a hyphen", table_name("my-table"), refused(TableError, "'-' at character 3")),
    Case("N16", "a hyphen in backticks", view("my-table", "`my-table`"), kept()),
    Case("N17", "a view", view("people_view"), kept()),
    Case("N17", "a stream", stream, refused(TableError, "feed", "streaming", "spark.read")),
    Case("N17", "no such table", table_name("nowhere.no_table"), refused(TableError, "TABLE_OR_VIEW_NOT_FOUND")),
    Case(
        "N18",
        "a policy for a misspelled column",
        parquet("email", "name", last="plan", policy={"rules": [{"column": "emial", "transform": "redact"}]}),
        refused(PolicyError, "rule 1", "no column 'emial' (did you mean 'email'?)", "optional: true"),
    ),
    Case(
        "N19",
        "a pattern without a column",
        parquet("email", last="plan", policy={"rules": [{"pattern": "x_.*", "transform": "redact"}]}),
        refused(PolicyError, "rule 1", "'x_.*' matches no column", "optional: true"),
    ),
    Case(
        "N19",
        "an optional pattern without a column",
        parquet("a", policy={"rules": [{"pattern": "x_.*", "transform": "redact", "optional": True}]}),
        kept(),
    ),
    Case("T01", "nulls only", typed, all_null("t01_null")),
    Case("T02", "a void column", void, void_is_null_text),
    Case("T03", "a constant text", typed, constant("t03_text")),
    Case("T03", "a constant time", typed, constant("t03_time")),
    Case("T03", "a constant decimal", typed, constant("t03_decimal")),
    Case("T04", "a unique integer", typed, new_key("t04_id")),
    Case("T04", "unique UUIDs", typed, both(new_key("t04_uuid"), uuid_shape)),
    Case("T04", "unique integers all over 64 bits", typed, new_key("t04_hash_id")),
    Case("T05", "one text", typed, both(mostly_null("t05_text"), nowhere("Trillian", "Marvinsdottir"))),
    Case("T05", "one number", typed, both(mostly_null("t05_amount"), nowhere("7731.4"))),
    Case("T05", "one date", typed, both(mostly_null("t05_day"), nowhere("1887-11-13"))),
    Case("T06", "2^53 + 1 beside nulls", typed, values("t06_big")),
    Case("T07", "the ends of bigint", typed, values("t07_big")),
    Case("T07", "the ends of tinyint", typed, values("t07_tiny")),
    Case("T08", "38 nines", typed, values("t08_nines")),
    Case("T08", "38 places", typed, values("t08_places")),
    Case("T08", "money", typed, values("t08_money")),
    Case("T08", "many wide decimals", typed, within("t08_wide", Decimal(10**30), Decimal(1_500 * 10**30))),
    Case("T09", "NaN, infinities and null", typed, values("t09_states")),
    Case("T09", "no finite number", typed, values("t09_only")),
    Case("T10", "two zeros", typed, one_zero),
    Case("T11", "denormal, largest, 17 digits", typed, values("t11_edges")),
    Case("T11", "the whole range", typed, within("t11_spread", -5e307, 5e307)),
    Case("T11", "single precision", typed, values("t11_single")),
    Case("T12", "first and last timestamp", typed, values("t12_time")),
    Case("T12", "first and last date", typed, values("t12_day")),
    Case("T13", "a date that Gregory skipped", typed, values("t13_day")),
    Case("T14", "sentinel dates", typed, sentinels),
    Case("T15", "instants in gap and overlap", typed, values("t15_instant")),
    Case("T16", "a local time in a gap", typed, values("t16_local")),
    Case("S01", "zero rows", rows_of(0), empty_twin),
    Case("S02", "zero rows to a second sink", rows_of(0, last="generate", output=True), lambda out: None),
    Case("S03", "zero columns", parquet(), refused(TableError, "no columns")),
    Case(
        "S03",
        "no column selected",
        parquet("a", columns=[]),
        refused(TableError, "no columns"),
    ),
    Case(
        "S03",
        "all columns dropped",
        parquet("a", "b", last="plan", policy={"rules": [{"pattern": ".*", "transform": "drop"}]}),
        refused(PolicyError, "drops every column"),
    ),
    Case("S04", "one row", rows_of(1), too_few),
    Case("S04", "two identical rows", rows_of(2), too_few),
    Case("S04", "one column", parquet("only"), kept()),
    Case(
        "C01",
        "an unknown key",
        config("train:\n  epochz: 3\n"),
        refused(ConfigError, "line 2", "did you mean 'epochs'"),
    ),
    Case(
        "C02",
        "a negative number",
        config("train: {epochs: -1}\n"),
        refused(ConfigError, "train.epochs", "greater than 0"),
    ),
    Case("C02", "NaN", config("train: {max_minutes: .nan}\n"), refused(ConfigError, "train.max_minutes", "finite")),
    Case("C02", "1e999", config("train: {max_minutes: 1e999}\n"), refused(ConfigError, "finite", "inf")),
    Case("C02", "text for a number", config("run: {seed: seven}\n"), refused(ConfigError, "run.seed", "'seven' (str)")),
    Case(
        "C03",
        "a duplicate key",
        config("run: {seed: 1}\nrun: {seed: 2}\n"),
        refused(ConfigError, "line 2", "duplicate key run"),
    ),
    Case("C03", "an alias", config("run: &a {seed: 1}\ntrain: *a\n"), refused(ConfigError, "line 1", "anchors")),
    Case("C03", "a tag", config("run: !!python/object/apply:os.system ['x']\n"), refused(ConfigError, "line 1", "tags")),
    Case("C03", "a tab", config("run:\n\tseed: 1\n"), refused(ConfigError, "line 2", "tab")),
    Case("C03", "an empty file", config(""), refused(ConfigError, "line 1", "empty")),
    Case("C03", "a list", config("- a\n"), refused(ConfigError, "line 1", "must be a mapping")),
    Case("C04", "1_000", config("generate: {rows: 1_000}\n"), refused(ConfigError, "generate.rows", "'1_000' (str)")),
    Case("C04", "010", config("generate: {rows: 010}\n"), refused(ConfigError, "generate.rows", "'010' (str)")),
    Case("C04", "1e6", config("generate: {rows: 1e6}\n"), refused(ConfigError, "generate.rows", "1000000.0 (float)")),
    Case("C04", "NO", config("generate: {rows: NO}\n"), refused(ConfigError, "generate.rows", "boolean false")),
)


def _row(case: Case) -> Any:
    marks = [pytest.mark.ray] if case.given is typed else []
    return pytest.param(case, id=f"{case.id} {case.what}", marks=marks)


@pytest.mark.parametrize("case", [_row(case) for case in CATALOGUE])
def test_bad_input(case: Case, spark: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    case.expected(case.given(Bench(spark, tmp_path, request)))


def test_every_row_of_the_catalogue_is_here() -> None:
    wanted = [f"N{n:02}" for n in range(1, 20)] + [f"T{n:02}" for n in range(1, 17)]
    wanted += [f"S{n:02}" for n in range(1, 5)] + [f"C{n:02}" for n in range(1, 5)]
    assert sorted({case.id for case in CATALOGUE}) == sorted(wanted)


def test_executors_without_the_package_are_named(spark: Any) -> None:
    """As with a session whose workers run another Python."""
    from twinlake.core.errors import UserError
    from twinlake.tables.spark_errors import spark_errors

    def fails(batches: Any) -> Any:
        raise ModuleNotFoundError("No module named 'twinlake.models'")

    with pytest.raises(UserError, match=r"has no module twinlake.models; .*PYSPARK_PYTHON"), spark_errors("run"):
        spark.range(1).mapInArrow(fails, "id long").collect()


def test_a_bug_in_a_task_says_where_it_is_and_no_cell(spark: Any) -> None:
    import numpy as np

    from twinlake.core.seeds import permute
    from twinlake.tables.spark_errors import spark_errors

    def foreign(batches: Any) -> Any:
        raise ValueError("cell-4711")

    def ours(batches: Any) -> Any:
        permute(np.array([4711]), 7, 0)
        yield from batches

    for body, told in ((foreign, r"failed with ValueError$"), (ours, r"failed with ValueError at twinlake/core/seeds.py:\d+$")):
        with pytest.raises(TwinlakeError, match=told) as caught, spark_errors("run"):
            spark.range(1).mapInArrow(body, "id long").collect()
        assert "4711" not in str(caught.value) and caught.value.exit_code == 70


def test_a_cancelled_job_is_an_interruption(spark: Any) -> None:
    from twinlake.tables.spark_errors import spark_errors

    def waits(batches: Any) -> Any:
        time.sleep(60)
        yield from batches

    spark.sparkContext.setJobGroup("cancelled", "by a test", interruptOnCancel=True)
    threading.Timer(5.0, lambda: spark.sparkContext.cancelJobGroup("cancelled")).start()
    try:
        with pytest.raises(KeyboardInterrupt), spark_errors("run"):
            spark.range(1).mapInArrow(waits, "id long").collect()
    finally:
        spark.sparkContext.setJobGroup("", "")
