"""Counts two tables, or the tables of two runs, with one codec, so that their drift can be told.

What both have, name and type, is compared; of every other column is said why not. The codec is that of the first run where
both have the same columns, else it is fitted on the first table. Counts that a run has saved under that codec are taken as
they are; no other row is read than protected ones of a run.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twinlake.core.config import Config, SourceConfig
from twinlake.core.errors import ConfigError, DataError, escaped
from twinlake.core.privacy_config import NOT_FOR_RELEASE
from twinlake.evaluate.drift import Drift, drift_between
from twinlake.evaluate.frame import counted_tables
from twinlake.evaluate.frames import mistyped
from twinlake.models.codec import Codec
from twinlake.models.encode import encode_folder, sum_counts
from twinlake.profile.counts import TokenCounts
from twinlake.tables.names import quoted
from twinlake.tables.parts import part_files, read_manifest, read_parquet
from twinlake.tables.people import least_rows
from twinlake.tables.run_folder import MARKER, RunFolder
from twinlake.tables.session import open_session, stop_session
from twinlake.tables.source import open_source
from twinlake.tables.spark_errors import spark_errors
from twinlake.train.ledger import guarantee_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PEOPLE = 10


@dataclass(frozen=True)
class Side:
    """A run folder, a path or a catalog table as users name it; `source`: how a table is opened."""

    name: str
    source: SourceConfig

    @property
    def run(self) -> RunFolder | None:
        """The run folder of that name, if it is one."""
        folder = RunFolder(Path(self.name).absolute())
        return folder if (folder / MARKER).is_file() else None


def drift_of(first: Side, second: Side, twins: bool = False) -> Drift:
    """The drift of two runs, or of two tables. Errors: ConfigError for one of each; those of opening tables."""
    runs = [side.run for side in (first, second)]
    filtered = any(side.source.where is not None for side in (first, second))
    if any(runs) and not all(runs):
        raise ConfigError("one of these is a run folder and the other is not; give two runs or two tables")
    if any(runs) and filtered:
        raise ConfigError("--where-first and --where-second choose rows of tables; these are run folders: leave them out")
    if twins and not any(runs):
        raise ConfigError("--twins compares the twins of two runs; these are tables: leave it out")
    spark = open_session()
    try:
        with spark_errors("drift"):
            if runs[0] is not None and runs[1] is not None:
                return drift_of_runs(spark, runs[0], runs[1], twins)
            return drift_of_frames(open_source(spark, first.source).df, open_source(spark, second.source).df)
    finally:
        stop_session(spark)


def drift_of_frames(first: DataFrame, second: DataFrame, seed: int = 7, people: int = PEOPLE) -> Drift:
    """The drift of `second` from `first`, by the columns that both have in one type."""
    left_out = _apart(first, second)
    shared = [c for c in first.columns if c not in left_out]
    if not shared:
        return Drift((first.count(), second.count()), (), (), left_out)
    tables = {name: df.select(*[df[quoted(c)] for c in shared]) for name, df in (("real", first), ("second", second))}
    with _scratch() as work:
        codec, counts = counted_tables(tables, work, people, seed)
    return drift_between(counts["real"], counts["second"], left_out | _unmodelled(codec))


def drift_of_runs(spark: SparkSession, first: RunFolder, second: RunFolder, twins: bool = False) -> Drift:
    """The drift of the protected train rows of a run from those of another; of their `twins` instead. Errors: DataError for a
    run without the table."""
    here, there = (_rows_of(spark, run, twins) for run in (first, second))
    if here.columns != there.columns or _apart(here, there):
        people = max(least_rows(run, Config.model_validate(run.state().get("config", {}))) for run in (first, second))
        found = drift_of_frames(here, there, people=people)
    else:
        codec_file = first / "codec.json"
        codec = Codec.from_json(codec_file.read_text(encoding="utf-8"))
        with _scratch() as work:
            counts = [_counts(spark, run, twins, codec_file, codec, work) for run in (first, second)]
        found = drift_between(counts[0], counts[1], _unmodelled(codec))
    bound = any(run.model.is_dir() and guarantee_of(run.model) for run in (first, second))
    notes = {"release": f"This is {NOT_FOR_RELEASE}."} if bound and not twins else {}
    return Drift(found.rows, found.columns, found.pairs, found.left_out, notes)


def _table(run: RunFolder, twins: bool) -> Path:
    return run.synthetic if twins else run.protected


def _rows_of(spark: SparkSession, run: RunFolder, twins: bool) -> DataFrame:
    table = _table(run, twins)
    if not table.is_dir() or not (run / "codec.json").is_file():
        raise DataError(f"{escaped(str(run.root))} has no {table.name}/ to compare yet; finish the run first")
    return read_parquet(spark.read, part_files(table))


def _counts(spark: SparkSession, run: RunFolder, twins: bool, codec_file: Path, codec: Codec, work: Path) -> TokenCounts:
    """The counts of a run's table by this codec: those that the run saved, where it has the same one."""
    table = _table(run, twins)
    if (run / "codec.json").read_bytes() == codec_file.read_bytes():
        if twins:
            names = [f["file"] for f in read_manifest(table)["files"]]
            return sum_counts([table / n for n in names if n.endswith(".npz") and not n.endswith("-first.npz")], codec)
        if (saved := run.private / "pairs.npz").is_file():
            return TokenCounts.load(saved).measured()
    return encode_folder(spark, table, codec_file, work / "tokens", shards=False)


def _apart(first: DataFrame, second: DataFrame) -> dict[str, str]:
    """The columns that can't be compared by name and type, and why."""
    types = [{f.name: f.dataType.simpleString() for f in df.schema.fields} for df in (first, second)]
    out = {}
    for name in mistyped(first.schema, second.schema):
        known = [name in of for of in types]
        out[name] = (
            f"{types[0][name]} in the first, {types[1][name]} in the second"
            if all(known)
            else ("in the first alone" if known[0] else "in the second alone")
        )
    return out


def _unmodelled(codec: Codec) -> dict[str, str]:
    """The columns whose values the codec has no bins for."""
    told = {"constant": "one value in the first: no other is looked for", "null": "no value that can be compared"}
    told |= dict.fromkeys(("category", "number", "digits"), "no bins to compare")
    own = "a key, a surrogate or free text: whether it is missing is compared, its values are not"
    return {c.name: told.get(c.method, own) for c in codec.columns if not c.coarse or c.method not in ("category", "number")}


@contextmanager
def _scratch() -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="twinlake-"))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
