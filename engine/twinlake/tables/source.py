"""Opens the table: a path or a catalog name becomes a DataFrame whose names and types were checked.

The snapshot says which state of the source the run read (files with size and time, or the catalog name), so that a
source that changes under a run is noticed. Nothing is read here but schemas and the first rows of a CSV file.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinlake.core.config import Config, HoldoutConfig, SourceConfig
from twinlake.core.errors import ConfigError, TableError, escaped, in_quotes, nearest
from twinlake.tables.csv_types import with_texts_kept
from twinlake.tables.names import check_names, parse_table_name, quoted
from twinlake.tables.nanoseconds import check_session, in_microseconds, nanoseconds
from twinlake.tables.parts import as_named
from twinlake.tables.spark_errors import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SUFFIXES = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".orc": "orc",
}
TABBED = (".tsv", ".tab")
UNIT = "\x1f"


@dataclass(frozen=True)
class Source:
    """A checked table: its rows (lazy), its name, and what to warn about."""

    df: DataFrame
    name: str
    warnings: tuple[str, ...]


def open_source(spark: SparkSession, config: SourceConfig) -> Source:
    """The table that `config` names.

    Errors: ConfigError (no source), TableError (missing, denied, refused names or types).
    """
    if config.path is None and config.table is None:
        raise ConfigError("no source: give `twinlake run SOURCE`, or source.path or source.table in the config")
    if config.path is not None:
        df = _open_path(spark, config.path, config)
    else:
        df = _open_table(spark, config.table or "")
    return checked(spark, df, source_name(config), config)


def source_name(config: SourceConfig) -> str:
    """What to call the table: the file's or folder's name without suffixes, or the last part of the catalog name."""
    if config.path is not None:
        return Path(config.path.rstrip("/")).name.split(".")[0] or "table"
    return parse_table_name(config.table)[-1] if config.table else "table"


def snapshot_of(config: SourceConfig) -> str:
    """Which state of the source this is: files with size and time for local paths, else the name. Needs no session."""
    if config.path is None:
        return f"table {config.table}"
    local = local_path(config.path)
    if local is None:
        return f"uri {config.path}"
    if not local.exists():
        raise TableError(f"no file or folder at {escaped(config.path)}{_near_path(local)}")
    return _snapshot(local)


def snapshots(config: Config) -> list[str]:
    """The states of the source and of the caller's own holdout."""
    own = config.holdout.source
    return [snapshot_of(config.source), *([snapshot_of(SourceConfig(path=own))] if own else [])]


def checked(spark: SparkSession, df: DataFrame, name: str, config: SourceConfig | None = None) -> Source:
    """`df` narrowed by `columns` and `where`, its names and types checked. Errors: TableError, ConfigError."""
    config = config or SourceConfig()
    if df.isStreaming:
        raise TableError(f"{escaped(name)} is a streaming frame; a twin is made of a bounded table: read it with spark.read")
    with spark_errors(f"source {escaped(name)}"):
        names = df.columns
        if config.columns is not None:
            for wanted in config.columns:
                if wanted not in names:
                    raise ConfigError(
                        f"source.columns: no column {in_quotes(wanted)}{nearest(wanted, names)}; "
                        f"the table has {len(names)} columns"
                    )
            df = df.select(*[df[quoted(c)] for c in config.columns])
        warnings = check_names(df.columns, spark.conf.get("spark.sql.caseSensitive") == "true")
        df = _with_known_types(df)
        if config.where is not None:
            df = df.where(config.where)
            _ = df.schema
    return Source(df, name, tuple(warnings))


def open_holdout(spark: SparkSession, config: HoldoutConfig, source: Source) -> DataFrame | None:
    """The caller's own holdout rows with the source's columns in order and type; None when there are none.

    Errors: TableError naming what differs from the source.
    """
    if config.source is None:
        return None
    own = open_source(spark, SourceConfig(path=config.source)).df
    missing = [c for c in source.df.columns if c not in own.columns]
    if missing:
        raise TableError(f"holdout.source lacks {len(missing)} columns of the source, such as {in_quotes(missing[0])}")
    picked = []
    for field in source.df.schema.fields:
        theirs = own.schema[field.name].dataType
        column = own[quoted(field.name)]
        if theirs != field.dataType:
            names = theirs.simpleString(), field.dataType.simpleString()
            # integers of a CSV file without leading zeros are text where the source has some; the text is the same
            if not (all(name in NUMERIC for name in names) or (names[0] in WHOLE and names[1] == "string")):
                raise TableError(f"holdout.source: column {in_quotes(field.name)} is {names[0]}, the source has {names[1]}")
            column = column.cast(field.dataType).alias(field.name)
        picked.append(column)
    return own.select(*picked)


WHOLE = ("tinyint", "smallint", "int", "bigint")
NUMERIC = (*WHOLE, "float", "double")


def default_name(config: SourceConfig) -> str:
    """The run's name when none is given: the source's, in a-z, 0-9 and '-', followed by -twin."""
    plain = re.sub(r"[^a-z0-9]+", "-", source_name(config).lower()).strip("-")[:50].strip("-")
    return f"{plain or 'table'}-twin"


def check_request(config: Config, run_dir: Path) -> None:
    """Refuses what can't be done whatever the rows are: an output that overlaps the source, settings not built yet.

    Errors: ConfigError.
    """
    output = local_path(config.output.path) if config.output.path else None
    source = local_path(config.source.path) if config.source.path else None
    holdout = local_path(config.holdout.source) if config.holdout.source else None
    written = (("run.dir", run_dir), ("output.path", output))
    read = (("source.path", source), ("holdout.source", holdout))
    for name, one, other_name, other in (
        *((w, path, r, local) for r, local in read for w, path in written),
        ("output.path", output, "run.dir", run_dir),
    ):
        if one is not None and other is not None and _overlap(one.resolve(), other.resolve()):
            raise ConfigError(
                f"{name} {escaped(str(one))} overlaps {other_name} {escaped(str(other))}; choose a folder apart from it"
            )
    if config.output.table is not None:
        parts = parse_table_name(config.output.table, "output.table")
        if config.source.table is not None and _may_be_one(parts, parse_table_name(config.source.table)):
            raise ConfigError(
                f"output.table {in_quotes(config.output.table)} may be source.table {in_quotes(config.source.table)}, which it "
                "would replace; choose another name, or write both in full"
            )


def _overlap(a: Path, b: Path) -> bool:
    return a == b or a in b.parents or b in a.parents


def _may_be_one(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether two names can mean one table, as far as both are written out."""
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(x.casefold() == y.casefold() for x, y in pairs)


def _with_known_types(df: DataFrame) -> DataFrame:
    """Void columns become strings that hold nulls only; every other type is kept."""
    from pyspark.sql import types as T

    fields = df.schema.fields
    if not any(isinstance(f.dataType, T.NullType) for f in fields):
        return df
    columns = [df[quoted(f.name)] for f in fields]
    void = [isinstance(f.dataType, T.NullType) for f in fields]
    return df.select(*[c.cast("string").alias(f.name) if v else c for c, f, v in zip(columns, fields, void, strict=True)])


def _open_path(spark: SparkSession, path: str, config: SourceConfig) -> DataFrame:
    local = local_path(path)
    snapshot_of(config)
    if config.format is None and local is not None and (local / "_delta_log").is_dir():
        raise TableError(
            f"{escaped(path)} is a Delta table, whose files hold rows that it has no more; name it by source.table, "
            "such as delta.`/its/path`, on a session that has Delta"
        )
    suffix = _suffix_of(path, local)
    if config.format is None and suffix is None:
        raise TableError(
            f"can't tell the format of {escaped(path)} from its name; set source.format to parquet, csv, json or orc"
        )
    format_ = config.format or SUFFIXES[suffix or ""]
    given = {name.lower(): value for name, value in config.options.items()}  # as Spark reads their names
    options = {"mode": "FAILFAST", "timeZone": "UTC"} if format_ in ("csv", "json") else {}
    if format_ == "csv":
        separator = given.get("sep", given.get("delimiter", "\t" if suffix in TABBED else ","))
        options |= {"header": "true", "inferSchema": "true", "sep": separator, "escape": '"'}  # quotes are doubled (RFC 4180)
        if local is not None and given.get("header", "true").lower() == "true":
            _check_header(spark, _csv_header(local, separator, given))
    fine: dict[str, bool] = {}
    if format_ == "parquet" and local is not None:
        _check_header(spark, _parquet_header(local))
        fine = nanoseconds(next(iter(_data_files(local)), local))
        check_session(spark, fine)
    ours = {name: value for name, value in options.items() if name.lower() not in given}
    reader = spark.read.format(format_).options(**config.options, **ours)
    with spark_errors(f"source {escaped(path)}"):
        place = as_named(local.resolve()) if local is not None else path
        df = reader.load(place)
        if format_ == "csv":
            df = with_texts_kept(df, reader, place)
        _ = df.schema
    return in_microseconds(df, fine) if fine else df


def _open_table(spark: SparkSession, table: str) -> DataFrame:
    parts = parse_table_name(table)
    with spark_errors(f"source.table {escaped(table)}"):
        df = spark.table(quoted(*parts))
        _ = df.schema
    return df


def local_path(path: str) -> Path | None:
    """`path` as a local path, or None when it is a URI of another store."""
    if path.startswith("file:"):
        return Path("/" + path.removeprefix("file:").lstrip("/"))
    return None if "://" in path or path.startswith("dbfs:") else Path(path)


def _suffix_of(path: str, local: Path | None) -> str | None:
    """The suffix that tells the format, of the path or else of the first file in it."""
    names = [path.rstrip("/")]
    if local is not None and local.is_dir():
        names += [str(file) for file in _data_files(local)[:1]]
    suffixes = [suffix.lower() for name in names for suffix in reversed(Path(name).suffixes)]
    return next((suffix for suffix in suffixes if suffix in SUFFIXES), None)


def _near_path(local: Path) -> str:
    try:
        return nearest(local.name, [p.name for p in local.parent.iterdir()]) + f" in {escaped(str(local.parent))}"
    except OSError:
        return "; the folder does not exist either"


def _check_header(spark: SparkSession, names: list[str]) -> None:
    """Spark silently renames columns of a CSV file that clash or have no name, and doesn't say which in Parquet."""
    check_names(names, spark.conf.get("spark.sql.caseSensitive") == "true")


def _data_files(local: Path) -> list[Path]:
    """The files that Spark reads: none of hidden folders either."""
    if local.is_file():
        return [local]
    files = (p for p in local.rglob("*") if p.is_file())
    return sorted(p for p in files if not any(map(_is_hidden, p.relative_to(local).parts)))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _parquet_header(local: Path) -> list[str]:
    """The column names of the first file; a file that can't be read is left to Spark."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(_data_files(local)[0]).names)
    except (pa.ArrowException, OSError, IndexError):
        return ["?"]


def _csv_header(local: Path, separator: str, options: Mapping[str, str]) -> list[str]:
    """The column names of the first file; a file that can't be read here is left to Spark."""
    import bz2
    import gzip

    files = _data_files(local)
    if not files:
        raise TableError(f"{escaped(str(local))} holds no data file")
    packed: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
    quote, comment = options.get("quote", '"'), options.get("comment")
    encoding = options.get("encoding", options.get("charset", "utf-8")).lower()
    encoding = "utf-8-sig" if encoding in ("utf-8", "utf8") else encoding  # Excel writes a mark before the first name
    try:
        unpack = packed.get(files[0].suffix.lower(), open)
        with unpack(files[0], "rt", encoding=encoding, errors="replace", newline="") as handle:
            lines = iter(lambda: handle.readline(1_000_000), "")
            line = next((x for x in lines if x.strip() and not (comment and x.startswith(comment))), "")
    except (OSError, EOFError, LookupError):
        return ["?"]
    separator = "\t" if separator == "\\t" else separator
    if len(separator) != 1:  # Python's reader takes one character
        line, separator = line.replace(separator, UNIT), UNIT
    quoting: Any = csv.QUOTE_MINIMAL if quote.strip("\0") else csv.QUOTE_NONE
    try:
        header = next(csv.reader([line], delimiter=separator, quotechar=quote[:1] or '"', quoting=quoting), [])
    except csv.Error:
        raise TableError(
            f"{escaped(str(files[0]))}: its first line can't be read as a header; check source.options.sep"
        ) from None
    if not header:
        raise TableError(f"{escaped(str(files[0]))} is empty; a CSV file needs a header line")
    return header


def _snapshot(local: Path) -> str:
    files = [local] if local.is_file() else sorted(p for p in local.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        stat = os.stat(file)
        digest.update(f"{file.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
