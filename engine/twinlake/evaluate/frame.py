"""Evaluates DataFrames without a run folder: a codec fitted on the real rows counts the tokens of all tables."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from twinlake.core.errors import TableError, in_quotes
from twinlake.core.seeds import derive
from twinlake.evaluate.evaluate import Evaluation, evaluate_tables
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import mistyped, sampled
from twinlake.evaluate.stage import check_columns, kind_of, promised_of
from twinlake.models.codec import Codec
from twinlake.models.encode import encode_folder, fit_codec
from twinlake.models.nested import flat_frame
from twinlake.models.transcribe import free_texts
from twinlake.profile.counts import TokenCounts
from twinlake.profile.profile import profile_table
from twinlake.profile.statistics import Column
from twinlake.tables.names import quoted
from twinlake.tables.parts import publish, read_parquet, write_text
from twinlake.tables.split import Split, part_count
from twinlake.transform.columns import has_leaves
from twinlake.transform.protect import stage_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def evaluate_frames(
    real: DataFrame,
    synthetic: DataFrame,
    holdout: DataFrame | None,
    target: str | None,
    seed: int,
    people: int = 10,
    protected: Sequence[str] = (),
    positive: str | None = None,
    secrets: Sequence[str] = (),
) -> Evaluation:
    """All metrics of `synthetic`. Tables are matched by column name.

    Errors: TableError when a table lacks a column, ConfigError when none is called as the target, a protected or a secret one.
    """
    check_columns(real.schema, target, protected, secrets)
    twin = _like(synthetic, real, "synthetic")
    tables = {"real": real, "synthetic": twin}
    if holdout is not None:
        tables["holdout"] = _like(holdout, real, "holdout")
    work = Path(tempfile.mkdtemp(prefix="twinlake-"))
    try:
        codec, counts = counted_tables(tables, work, people, seed)
        modelled = tuple(c.name for c in codec.columns if c.coarse)
        flat = {name: flat_frame(df, codec.names, codec.leaves) for name, df in tables.items()}
        as_holdout, sizes = None, {name: counted.rows for name, counted in counts.items()}
        if holdout is not None and 0 < sizes["holdout"] < sizes["synthetic"]:
            some = sampled(flat["synthetic"], sizes["holdout"] / sizes["synthetic"], seed, modelled)
            some.write.parquet(str(work / "as-holdout"))  # every pass reads it, and a sample takes a shuffle of all rows
            as_holdout = read_parquet(real.sparkSession.read, [work / "as-holdout"])
        evidence = Evidence(
            flat["real"],
            flat["synthetic"],
            modelled,
            {c.name: kind_of(c) for c in codec.columns},
            counts["real"],
            counts["synthetic"],
            flat.get("holdout"),
            counts.get("holdout"),
            synthetic_at_holdout=as_holdout,
            target=target,
            protected=tuple(dict.fromkeys(protected)),
            positive=positive,
            seed=seed,
            k=people,
            promised=replace(promised_of(codec, real, twin), mistyped=mistyped(real.schema, synthetic.schema)),
            texts=tuple(codec.names[i] for i in free_texts(codec)),
            secrets=tuple(dict.fromkeys(secrets)),
        )
        return evaluate_tables(evidence)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def counted_tables(tables: Mapping[str, DataFrame], work: Path, people: int, seed: int) -> tuple[Codec, dict[str, TokenCounts]]:
    """A codec fitted on the table "real" (staged in the empty folder `work`), and the token counts of each by name. All have
    the columns of "real" in order and type."""
    real = tables["real"]
    profile = profile_table(real, None, people)
    how = {"key": "key", "text": "text", "opaque": "null"}
    columns = tuple(
        Column(c.name, c.type, c.nullable, {"synthesis": "model" if has_leaves(c.type) else how.get(c.kind, "model")})
        for c in profile.columns
    )
    counts: dict[str, TokenCounts] = {}
    codec_file = work / "codec.json"
    for name in ("real", *(name for name in tables if name != "real")):
        for side in ("rows", "unused"):
            shutil.rmtree(work / side, ignore_errors=True)
            (work / side).mkdir()
        parts = part_count(tables[name].count(), len(columns))
        stage_rows(tables[name], Split(derive(seed, "evaluate")), parts, work / "rows", work / "unused")
        publish(work / "rows", work / name, parts, {})
        if name == "real":
            codec = fit_codec(real.sparkSession, work / name, columns, people, seed)
            write_text(codec_file, codec.to_json())
        counts[name] = encode_folder(real.sparkSession, work / name, codec_file, work / f"{name}-tokens", shards=False)
    return codec, counts


def _like(df: DataFrame, real: DataFrame, what: str) -> DataFrame:
    missing = [c for c in real.columns if c not in df.columns]
    if missing:
        raise TableError(f"the {what} table lacks column {in_quotes(missing[0])} of the real one")
    kinds = {f.name: f.dataType.simpleString() for f in df.schema.fields}
    columns = [(f, df[quoted(f.name)], kinds[f.name] == f.dataType.simpleString()) for f in real.schema.fields]
    return df.select(*[column if same else column.cast(f.dataType).alias(f.name) for f, column, same in columns])
