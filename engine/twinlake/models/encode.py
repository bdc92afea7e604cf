"""Encodes the protected table: fits the codec, writes token shards, counts tokens and pairs of tokens.

Tasks read the published parts directly (a row is known by its part and its position there) and write one shard for each:
`shard-00000.npy`, uint16 [rows, tokens], memory-mapped by training. Knows nothing of models.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from twinlake.core.config import Config, ModelConfig
from twinlake.core.seeds import derive
from twinlake.models.bin_labels import bin_labels
from twinlake.models.codec import Codec, Relation
from twinlake.models.column import Tokens, column_from_json
from twinlake.models.fitting import fit_column, fit_difference
from twinlake.models.relations import SAMPLE_ROWS, Check, candidates
from twinlake.models.times import Since, difference, since_of
from twinlake.profile.counts import ALL_PAIRS_UP_TO, TokenCounts, column_pairs
from twinlake.profile.statistics import Column, ColumnStatistics, frame_of_tasks, limits_for, summarize
from twinlake.tables.parts import file_hash, read_manifest, read_part, run_tasks, write_text
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
    people, seed, start = config.privacy.min_people, config.run.seed, config.model.start_from
    earlier = None
    if start:
        from twinlake.models.store import model_folder  # brings torch, which the tasks of this module do without

        earlier = model_folder(start)
    codec_file = folder / "codec.json"
    codec, counts = encode_table(spark, folder.protected, plan, people, seed, codec_file, folder.encoded, earlier, config.model)
    counts.save(folder.private / "pairs.npz")
    holdout = encode_folder(spark, folder.holdout, folder / "codec.json", folder.private / "holdout-tokens", shards=False)
    holdout.save(folder.private / "holdout.npz")
    relations = f", {len(codec.relations)} relations between columns" if codec.relations else ""
    return f"{len(codec.sizes)} tokens a row, {sum(codec.sizes):,} values{relations}{told_texts(folder.encoded)}"


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
    those of the texts, if the table has any, in a folder TEXTS beside them.
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
    counts = encode_folder(spark, table, codec_file, out, shards=model.family == "tabular", check=check)
    codec = replace(codec, relations=check.result())
    write_text(codec_file, codec.to_json())
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
    for rows in read_part(file, SAMPLE_ROWS):
        yield from ({"kind": r.kind, "columns": list(r.columns)} for r in candidates(codec, codec.encode(rows), rows))
        return


def column_of(column: ColumnPlan) -> Column:
    """A planned column as the codec's fit wants it: how its twin is made, and the entity of a surrogate."""
    extra = {"synthesis": column.synthesis, "entity": column.parameters.get("as") or column.entity}
    return Column(column.name, column.output_type, column.nullable, extra)


def fit_codec(spark: SparkSession, folder: Path, columns: tuple[Column, ...], people: int, seed: int) -> Codec:
    """The codec of the published parts in `folder`; `columns` carry the plan's synthesis and entity in `extra`.

    Which columns are told by the time since another is tried by the first rows, and holds where all rows bear it out.
    """
    manifest = read_manifest(folder)
    files = [str(folder / part["file"]) for part in manifest["parts"]]
    modelled = [i for i, c in enumerate(columns) if c.extra.get("synthesis", "model") == "model"]
    told = run_tasks(spark, [0], None, partial(_since, folder=str(folder), modelled=modelled))
    since = [Since(**one) for one in told]
    gaps = tuple(Column(columns[s.column].name, "bigint", True, {"since": asdict(s)}) for s in since)
    limits = limits_for(manifest["rows"], len(columns), people, derive(seed, "codec sample"), SAMPLE, VALUES)
    fitted = summarize(
        frame_of_tasks(spark, len(files)),
        partial(_rows_with_keys, files=files, since=since),
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
    return Codec(tuple(codecs), pq.read_schema(files[0]))


def _fit_either(stats: ColumnStatistics, people: int) -> str:
    return (fit_difference if "since" in stats.extra else fit_column)(stats, people)


def _since(number: int, folder: str, modelled: list[int]) -> Iterator[dict[str, Any]]:
    """The dates and times of a part's first rows that are told by others (rows lie in the order of a hash)."""
    file = f"{folder}/{read_manifest(Path(folder))['parts'][number]['file']}"
    for rows in read_part(file, SAMPLE_ROWS):
        yield from map(asdict, since_of(rows, modelled))
        return


def encode_folder(
    spark: SparkSession, folder: Path, codec_file: Path, out: Path, shards: bool = True, check: Check | None = None
) -> TokenCounts:
    """Token counts of the parts in `folder`; with `shards` also writes their tokens to `out`, published by rename.

    `check` sees all rows on the way.
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
    counts = sum_counts([work / w["counts"] for w in written], load_codec(str(codec_file)))
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


def _rows_with_keys(
    batches: Iterable[pa.RecordBatch], files: list[str], since: Sequence[Since] = ()
) -> Iterator[pa.RecordBatch]:
    """Task numbers -> rows of those parts, each with a key made of its part and position, and the differences `since`."""
    for batch in batches:
        for number in batch.column(0).to_pylist():
            offset = 0
            for rows in read_part(files[number], dictionaries=True):
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
    counter, check = TokenCounter(codec, pair_share), Check(codec, relations)
    name = f"shard-{number:05d}.npy"
    shape = (part["rows"], len(codec.sizes))
    tokens: npt.NDArray[np.uint16] | None = None
    if shards and part["rows"]:
        tokens = np.lib.format.open_memmap(f"{out}/{name}", mode="w+", dtype=np.uint16, shape=shape)
    offset = 0
    for batch in read_part(f"{folder}/{part['file']}", dictionaries=True):
        encoded = codec.encode(batch)
        counter.add(encoded)
        check.add(encoded, batch)
        if tokens is not None:
            tokens[offset : offset + len(encoded)] = encoded
        offset += len(encoded)
    row: dict[str, Any] = {"part": number, "rows": part["rows"]}
    row |= {what: f"{what}-{number:05d}.npz" for what in ("counts", "relations")}
    counter.counts().save(f"{out}/{row['counts']}")
    check.save(f"{out}/{row['relations']}")
    if tokens is not None:
        tokens.flush()  # type: ignore[attr-defined]
        file = Path(out) / name
        row |= {"file": name, "bytes": file.stat().st_size, "sha256": file_hash(file)}
    yield row


class TokenCounter:
    """Counts the first token of every modelled column, and pairs of coarse bins, of the tokens it is given."""

    def __init__(self, codec: Codec, pair_share: float = 1.0) -> None:
        self._codec, self._share, self.rows = codec, pair_share, 0
        self._modelled = [i for i, c in enumerate(codec.columns) if c.coarse]
        self._single = [np.zeros(codec.columns[i].sizes[0], np.int64) for i in self._modelled]
        self._coarse = [np.array(codec.columns[i].coarse, np.uint8) for i in self._modelled]
        self._list = column_pairs(len(self._modelled))
        # a thousand columns have half a million pairs: a gigabyte of wide integers for a part's few rows would be a waste
        wide = len(self._modelled) > ALL_PAIRS_UP_TO
        self._pairs: npt.NDArray[Any] = np.zeros((len(self._list), 256), np.int32 if wide else np.int64)

    def add(self, tokens: Tokens) -> None:
        """Counts the rows of `tokens`."""
        self.rows += len(tokens)
        first = [tokens[:, self._codec.slots[i][0]] for i in self._modelled]
        for single, values in zip(self._single, first, strict=True):
            single += np.bincount(values, minlength=len(single))
        some = slice(None) if self._share >= 1.0 else slice(0, max(1, round(len(tokens) * self._share)))
        coarse = [c[v[some]] for c, v in zip(self._coarse, first, strict=True)]
        shifted = [c.astype(np.uint8) << np.uint8(4) for c in coarse]
        for number, (i, j) in enumerate(self._list):
            self._pairs[number] += np.bincount(shifted[i] | coarse[j], minlength=256)

    def counts(self) -> TokenCounts:
        """What was counted."""
        columns = [self._codec.columns[i] for i in self._modelled]
        labels = tuple(tuple(bin_labels(c)) for c in columns)
        names = tuple(c.name for c in columns)
        return TokenCounts(self.rows, names, tuple(self._single), tuple(self._coarse), self._pairs.reshape(-1, 16, 16), labels)


def sum_counts(files: list[Path], codec: Codec) -> TokenCounts:
    """The sum of saved counts, one file at a time."""
    total = TokenCounter(codec).counts()
    for file in files:
        total = total.with_rows_of(TokenCounts.load(file))
    return total
