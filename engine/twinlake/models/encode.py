"""Encodes the protected table: fits the codec, writes token shards, counts tokens and pairs of tokens.

Tasks read the published parts directly (a row is known by its part and its position there) and write one shard for each:
`shard-00000.npy`, uint16 [rows, tokens], memory-mapped by training. Knows nothing of models.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from twinlake.core.config import Config, ModelConfig
from twinlake.core.errors import escaped
from twinlake.core.seeds import derive
from twinlake.models.bin_labels import bin_labels
from twinlake.models.codec import Codec, Relation
from twinlake.models.column import Tokens, column_from_json
from twinlake.models.fitting import fit_column, fit_difference
from twinlake.models.nested import Leaf, flat_schema, flatten
from twinlake.models.relations import SAMPLE_ROWS, Check, candidates
from twinlake.models.shapes import leaves_of
from twinlake.models.times import Since, difference, since_of
from twinlake.models.token_tables import FILE as TABLES
from twinlake.models.token_tables import TokenTree, count_tables
from twinlake.models.tree import column_tree
from twinlake.profile.counts import ALL_PAIRS_UP_TO, TokenCounts, column_pairs, measured_columns
from twinlake.profile.statistics import Column, ColumnStatistics, frame_of_tasks, limits_for, summarize
from twinlake.tables.parts import file_hash, read_manifest, read_part, run_tasks, sync, write_text
from twinlake.tables.people import least_rows
from twinlake.tables.run_folder import RunFolder

if TYPE_CHECKING:  # for annotations alone: tasks import this module, and the transforms would bring pandas
    from pyspark.sql import SparkSession

    from twinlake.transform.plan import ColumnPlan, Plan

SAMPLE = 200_000
VALUES = 280_000
PAIR_SAMPLE = 100_000
TEXTS = "texts"


def encode_run(spark: SparkSession, folder: RunFolder, plan: Plan, config: Config) -> str:
    """Writes codec.json, private/encoded/, private/pairs.npz (train) and private/holdout.npz of a run; returns a line."""
    folder.private.mkdir(mode=0o700, exist_ok=True)
    people, seed, start = least_rows(folder, config), config.run.seed, config.model.start_from
    earlier = None
    if start:
        from twinlake.models.store import model_folder  # brings torch, which the tasks of this module do without

        earlier = model_folder(start)
    codec_file = folder / "codec.json"
    codec, counts = encode_table(spark, folder.protected, plan, people, seed, codec_file, folder.encoded, earlier, config.model)
    counts.save(folder.private / "pairs.npz")
    holdout = encode_folder(spark, folder.holdout, folder / "codec.json", folder.private / "holdout-tokens", shards=False)
    holdout.save(folder.private / "holdout.npz")
    kept = len(codec.relations)
    more = f", {kept} relation{'s'[: kept > 1]} between columns" if kept else ""
    if arrays := [f"{leaf.name} up to {leaf.most}" for leaf in codec.leaves if leaf.kind == "length"]:
        more += f", {len(codec.columns)} leaves ({', '.join(map(escaped, arrays))})"
    return f"{len(codec.sizes)} tokens a row, {sum(codec.sizes):,} values{more}{told_texts(folder.encoded)}"


def encode_table(
    spark: SparkSession,
    table: Path,
    plan: Plan,
    people: int,
    seed: int,
    codec_file: Path,
    out: Path,
    earlier: Path | None = None,
    model: ModelConfig | None = None,
) -> tuple[Codec, TokenCounts]:
    """Fits the codec of the published parts in `table`, writes it and the token shards (`out`); returns it and the counts.

    `earlier`: a model whose tokens are kept where the rows fit them. Relations between columns are those of a sample of the
    first part that hold in all parts. For family language the shards are those of its script; for another family they have
    those of the texts, if the table has any, in a folder TEXTS beside them. For family marginal they have TABLES too.
    """
    codec = fit_codec(spark, table, tuple(column_of(c) for c in plan.kept), people, seed)
    if earlier is not None:
        from twinlake.models.continuing import continued  # brings torch too

        codec = continued(codec, load_codec(str(earlier / "codec.json")))
    write_text(codec_file, codec.to_json())
    first = partial(_candidates, folder=str(table), codec_file=str(codec_file))
    wanted = [Relation(r["kind"], tuple(r["columns"])) for r in run_tasks(spark, [0], None, first)]
    check = Check(codec, wanted)
    model = model or ModelConfig()
    writes = model.family == "language"
    tokens = model.family in ("tabular", "marginal")
    counts = encode_folder(spark, table, codec_file, out, shards=tokens, check=check)
    codec = replace(codec, relations=check.result())
    write_text(codec_file, codec.to_json())
    if model.family == "marginal":
        tree = TokenTree.of(codec, column_tree(codec, counts))
        count_tables(spark, out, tree).save(out / TABLES)
    if model.family == "llm":
        from twinlake.models.llm_shards import fit_rows, write_rows

        write_rows(spark, table, fit_rows(spark, table, codec, people, derive(seed, "script"), model.llm), out, seed)
    elif writes or any(c.method == "format" for c in codec.columns):
        from twinlake.models.transcribe import fit_script, write_shards  # the tasks of this module do without them

        script = fit_script(spark, table, codec, people, derive(seed, "script"), model.language, given=not writes)
        if script is not None:
            write_shards(spark, table, script, out if writes else out / TEXTS)
    return codec, counts


def told_texts(encoded: Path) -> str:
    """A few words about the texts that the shards in `encoded` tell, empty where there are none."""
    file = next((f for f in (encoded / TEXTS / "script.json", encoded / "script.json") if f.is_file()), None)
    texts = json.loads(file.read_text("utf-8"))["texts"] if file is not None else []
    return f", {len(texts)} text column{'' if len(texts) == 1 else 's'} in pieces" if texts else ""


def _candidates(number: int, folder: str, codec_file: str) -> Iterator[dict[str, Any]]:
    """The relations of the first rows of a part; rows lie in the order of a hash, so these are a sample."""
    codec = load_codec(codec_file)
    file = f"{folder}/{read_manifest(Path(folder))['parts'][number]['file']}"
    for batch in read_part(file, SAMPLE_ROWS):
        rows = codec.flat(batch)
        yield from ({"kind": r.kind, "columns": list(r.columns)} for r in candidates(codec, codec.encode(rows), rows))
        return


def column_of(column: ColumnPlan) -> Column:
    """A planned column as the codec's fit wants it: how its twin is made, and the entity of a surrogate; of a nested one also
    for its leaves."""
    extra = {"synthesis": column.synthesis, "entity": column.parameters.get("as") or column.entity, "leaves": column.leaves}
    return Column(column.name, column.output_type, column.nullable, extra)


def fit_codec(spark: SparkSession, folder: Path, columns: tuple[Column, ...], people: int, seed: int) -> Codec:
    """The codec of the published parts in `folder`; `columns` carry the plan's synthesis and entity in `extra`, of nested ones
    also those of `leaves` by path.

    Which columns are told by the time since another is tried by the first rows, and holds where all rows bear it out.
    """
    manifest = read_manifest(folder)
    files = [str(folder / part["file"]) for part in manifest["parts"]]
    table = schema = pq.read_schema(files[0])
    leaves, columns = leaves_of(spark, files, table, columns, people)
    if leaves:
        schema = flat_schema(table, leaves, [(c.name, c.nullable) for c in columns])
    modelled = [i for i, c in enumerate(columns) if c.extra.get("synthesis", "model") in ("model", "leaf")]
    told = run_tasks(spark, [0], None, partial(_since, folder=str(folder), modelled=modelled, leaves=leaves))
    since = [Since(**one) for one in told]
    gaps = tuple(Column(columns[s.column].name, "bigint", True, {"since": asdict(s)}) for s in since)
    limits = limits_for(manifest["rows"], len(columns), people, derive(seed, "codec sample"), SAMPLE, VALUES)
    fitted = summarize(
        frame_of_tasks(spark, len(files)),
        partial(_rows_with_keys, files=files, since=since, leaves=leaves),
        (*columns, *gaps),
        1,
        limits,
        partial(_fit_either, people=people),
    )
    codecs = [column_from_json(json.loads(text)) for text in fitted[: len(columns)]]
    for one, text in zip(since, fitted[len(columns) :], strict=True):
        own = codecs[one.column]
        if text and own.method == "number":
            gap, (least, most) = column_from_json(json.loads(text)), own.reach
            codecs[one.column] = replace(gap, type=own.type, entity=own.entity, since=replace(one, least=least, most=most))
    return Codec(tuple(codecs), schema, leaves=leaves, nested=table if leaves else None)


def _fit_either(stats: ColumnStatistics, people: int) -> str:
    return (fit_difference if "since" in stats.extra else fit_column)(stats, people)


def _since(number: int, folder: str, modelled: list[int], leaves: Sequence[Leaf]) -> Iterator[dict[str, Any]]:
    """The dates and times of a part's first rows that are told by others (rows lie in the order of a hash)."""
    file = f"{folder}/{read_manifest(Path(folder))['parts'][number]['file']}"
    for rows in read_part(file, SAMPLE_ROWS):
        yield from map(asdict, since_of(_flat(rows, leaves), modelled))
        return


def encode_folder(
    spark: SparkSession, folder: Path, codec_file: Path, out: Path, shards: bool = True, check: Check | None = None
) -> TokenCounts:
    """Token counts of the parts in `folder`; with `shards` also writes their tokens to `out`, published by rename, and counts
    every pair of columns, as training wants it. `check` sees all rows on the way.
    """
    manifest = read_manifest(folder)
    work = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    parts = manifest["parts"]
    rows = sum(p["rows"] for p in parts)
    share = 1.0 if len(load_codec(str(codec_file)).columns) <= ALL_PAIRS_UP_TO else min(1.0, PAIR_SAMPLE / max(1, rows))
    task = partial(
        _encode_part,
        folder=str(folder),
        codec_file=str(codec_file),
        out=str(work),
        shards=shards,
        pair_share=share,
        relations=check.relations if check is not None else (),
    )
    written = sorted(run_tasks(spark, [p["part"] for p in parts], None, task), key=lambda w: w["part"])
    counts = sum_counts([work / w["counts"] for w in written], load_codec(str(codec_file)), every_pair=shards)
    for w in written:
        (work / w.pop("counts")).unlink()
        found = work / w.pop("relations")
        if check is not None:
            check.take(found)
        found.unlink()
    write_text(
        work / "manifest.json",
        json.dumps({"format": 1, "rows": rows, "shards": written, "files": written if shards else []}, indent=1),
    )
    shutil.rmtree(out, ignore_errors=True)
    work.rename(out) if shards else shutil.rmtree(work)
    return counts


def load_codec(path: str) -> Codec:
    """The codec in a file, read once for each process and state of the file."""
    return _load_codec(path, os.stat(path).st_mtime_ns)


@lru_cache(maxsize=2)
def _load_codec(path: str, _changed: int) -> Codec:
    return Codec.from_json(Path(path).read_text(encoding="utf-8"))


def _flat(rows: pa.RecordBatch, leaves: Sequence[Leaf]) -> pa.RecordBatch:
    if not leaves:
        return rows
    return pa.RecordBatch.from_arrays(flatten(rows, leaves), names=[str(i) for i in range(len(leaves))])


def _rows_with_keys(
    batches: Iterable[pa.RecordBatch], files: list[str], since: Sequence[Since] = (), leaves: Sequence[Leaf] = ()
) -> Iterator[pa.RecordBatch]:
    """Task numbers -> rows of those parts, each with a key made of its part and position, and the differences `since`."""
    for batch in batches:
        for number in batch.column(0).to_pylist():
            offset = 0
            for read in read_part(files[number], dictionaries=True):
                rows = _flat(read, leaves)
                keys = pa.array((number << 40) + offset + np.arange(rows.num_rows), pa.int64())
                gaps = [difference(rows.column(s.column), rows.column(s.base), s) for s in since]
                cells = [keys, *rows.columns, *gaps]
                yield pa.RecordBatch.from_arrays(cells, names=[str(i) for i in range(len(cells))])
                offset += rows.num_rows


def _encode_part(
    number: int, folder: str, codec_file: str, out: str, shards: bool, pair_share: float, relations: Sequence[Relation]
) -> Iterator[dict[str, Any]]:
    codec = load_codec(codec_file)
    part = read_manifest(Path(folder))["parts"][number]
    counter, check = TokenCounter(codec, pair_share, every_pair=shards), Check(codec, relations)
    name = f"shard-{number:05d}.npy"
    shape = (part["rows"], len(codec.sizes))
    with open(f"{out}/{name}", "wb") if shards and part["rows"] else nullcontext() as shard:
        if shard is not None:
            np.lib.format.write_array_header_1_0(shard, {"descr": "<u2", "fortran_order": False, "shape": shape})
        for read in read_part(f"{folder}/{part['file']}", dictionaries=True):
            batch = codec.flat(read)
            tokens = codec.encode(batch)
            counter.add(tokens)
            check.add(tokens, batch)
            if shard is not None:
                shard.write(tokens.tobytes())
    row: dict[str, Any] = {"part": number, "rows": part["rows"]}
    row |= {what: f"{what}-{number:05d}.npz" for what in ("counts", "relations")}
    counter.counts().save(f"{out}/{row['counts']}")
    check.save(f"{out}/{row['relations']}")
    if shard is not None:
        file = Path(out) / name
        sync(file)
        row |= {"file": name, "bytes": file.stat().st_size, "sha256": file_hash(file)}
    yield row


class TokenCounter:
    """Counts the first token of every modelled column, and pairs of coarse bins, of the tokens it is given: pairs of all
    columns with `every_pair`, else of `measured_columns`."""

    def __init__(self, codec: Codec, pair_share: float = 1.0, every_pair: bool = False) -> None:
        self._codec, self._share, self.rows = codec, pair_share, 0
        self._modelled = [i for i, c in enumerate(codec.columns) if c.coarse]
        self._single = [np.zeros(codec.columns[i].sizes[0], np.int64) for i in self._modelled]
        self._coarse = [np.array(codec.columns[i].coarse, np.uint16) for i in self._modelled]
        columns = len(self._modelled)
        self._paired = list(range(columns)) if every_pair else measured_columns(columns)
        count, wide = len(column_pairs(len(self._paired))), len(self._paired) > ALL_PAIRS_UP_TO
        # a thousand columns have half a million pairs: a gigabyte of wide integers for a part's few rows would be a waste
        self._pairs: npt.NDArray[Any] = np.zeros((count, 16, 16), np.int32 if wide else np.int64)

    def add(self, tokens: Tokens) -> None:
        """Counts the rows of `tokens`."""
        self.rows += len(tokens)
        first = [tokens[:, self._codec.slots[i][0]] for i in self._modelled]
        for single, values in zip(self._single, first, strict=True):
            single += np.bincount(values, minlength=len(single))
        some = slice(None) if self._share >= 1.0 else slice(0, max(1, round(len(tokens) * self._share)))
        coarse = [self._coarse[c][first[c][some]] for c in self._paired]
        neighbours = [(a << 4) | b for a, b in itertools.pairwise(coarse)]
        number = 0
        for i, left in enumerate(coarse):
            high = left << 8
            for j in range(i + 1, len(coarse) - 1, 2):  # two pairs, (i, j) and (i, j + 1), by one look at the rows
                both = np.bincount(high | neighbours[j], minlength=4096).reshape(16, 16, 16)
                self._pairs[number] += both.sum(2)
                self._pairs[number + 1] += both.sum(1)
                number += 2
            if (len(coarse) - i) % 2 == 0:  # the last column is left over
                self._pairs[number] += np.bincount((left << 4) | coarse[-1], minlength=256).reshape(16, 16)
                number += 1

    def counts(self) -> TokenCounts:
        """What was counted."""
        columns = [self._codec.columns[i] for i in self._modelled]
        labels = tuple(tuple(bin_labels(c)) for c in columns)
        names, coarse = tuple(c.name for c in columns), tuple(c.astype(np.uint8) for c in self._coarse)
        listed = None if len(self._paired) == len(columns) else tuple(itertools.combinations(self._paired, 2))
        return TokenCounts(self.rows, names, tuple(self._single), coarse, self._pairs, labels, listed)


def sum_counts(files: list[Path], codec: Codec, every_pair: bool = False) -> TokenCounts:
    """The sum of saved counts, one file at a time."""
    total = TokenCounter(codec, every_pair=every_pair).counts()
    for file in files:
        total = total.with_rows_of(TokenCounts.load(file))
    return total
