"""Writes the protected table as a language model reads it: fits the script, and writes shards of its tokens.

The tokenizer is trained on words that executors count among a bounded sample of rows; only words that enough rows hold come to
the driver. Shards are those of models/encode.py: `shard-00000.npy`, uint16 [rows, places]. Knows nothing of models.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twinlake.core.config import LanguageConfig
from twinlake.core.seeds import derive
from twinlake.models.codec import Codec
from twinlake.models.script import Script, Text, closed_codec
from twinlake.models.tokenizer import Tokenizer, count_units, train_tokenizer
from twinlake.profile.partials import decoded
from twinlake.profile.statistics import frame_of_tasks
from twinlake.tables.parts import file_hash, read_manifest, read_part, run_tasks, write_text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SAMPLE_CELLS = 1_000_000
MOST_WORDS = 100_000
LENGTH_ROWS = 20_000
ENOUGH = 0.995
CUT_SHARE, FEW_LONGER = 0.01, 0.1


def free_texts(codec: Codec) -> tuple[int, ...]:
    """The columns of prose that the plan lets be learned: texts of several words that are nobody's key or name."""
    recipes = [(i, c.recipe or {}) for i, c in enumerate(codec.columns) if c.method == "format" and c.type == "string"]
    return tuple(i for i, recipe in recipes if recipe.get("prose") and recipe["kind"] == "words")


def fit_script(
    spark: SparkSession, table: Path, codec: Codec, people: int, seed: int, wanted: LanguageConfig, given: bool
) -> Script | None:
    """The script of the published parts in `table`; `given`: another model draws the rows, and texts alone are told (None
    where there are none to tell). A word is told if `people` rows of the sample hold it."""
    columns = free_texts(codec)
    if given and not columns:
        return None
    texts: tuple[Text, ...] = ()
    tokenizer = None
    if columns:
        words = common_units(spark, table, codec, columns, people)
        if words:
            size = None if wanted.vocab_size == "auto" else wanted.vocab_size
            tokenizer = Tokenizer(train_tokenizer(words, size), frozenset(words), derive(seed, "digits"))
            texts = texts_of(spark, table, codec, columns, tokenizer, people, wanted.max_pieces)
    if given:
        return Script(codec, texts, tokenizer, True) if texts else None
    return Script(closed_codec(codec, frozenset(t.column for t in texts)), texts, tokenizer)


def write_shards(spark: SparkSession, table: Path, script: Script, out: Path) -> None:
    """The rows of the parts in `table` as tokens of `script`, with the script itself, published by rename in `out`."""
    publish_shards(spark, table, script, out, partial(_write_part, table=str(table)))


def publish_shards(
    spark: SparkSession, table: Path, script: Script, out: Path, write: Callable[..., Iterator[dict[str, Any]]]
) -> None:
    """What `write(number, out=folder)` makes of each part of `table`, with the script and a manifest, as the folder `out`."""
    work = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    script.save(work)
    parts = read_manifest(table)["parts"]
    written = sorted(run_tasks(spark, [p["part"] for p in parts], None, partial(write, out=str(work))), key=lambda w: w["part"])
    rows = sum(w["rows"] for w in written)
    write_text(work / "manifest.json", json.dumps({"format": 1, "rows": rows, "shards": written, "files": written}, indent=1))
    shutil.rmtree(out, ignore_errors=True)
    work.rename(out)


def common_units(spark: SparkSession, table: Path, codec: Codec, columns: tuple[int, ...], people: int) -> dict[str, int]:
    """Units (see models/tokenizer.py) that `people` rows of a sample hold, and how many hold each."""
    from pyspark.sql import functions as F

    manifest = read_manifest(table)
    parts, rows = manifest["parts"], max(1, manifest["rows"])
    share = min(1.0, SAMPLE_CELLS / (rows * len(columns)))
    files = [f"{table}/{p['file']}" for p in parts]
    task = partial(_count_words, files=files, codec=codec, columns=columns, share=share)
    counted = frame_of_tasks(spark, len(parts)).mapInArrow(task, "word string, rows bigint")
    summed = counted.groupBy("word").agg(F.sum("rows").alias("rows"))
    kept = summed.where(F.col("rows") >= people).orderBy(F.desc("rows"), "word").limit(MOST_WORDS).toArrow()
    return dict(zip(kept["word"].to_pylist(), kept["rows"].to_pylist(), strict=True))


def _count_words(
    batches: Iterable[pa.RecordBatch], files: list[str], codec: Codec, columns: tuple[int, ...], share: float
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for number in batch.column(0).to_pylist():
            counts: dict[str, int] = {}
            for read in read_part(files[number]):  # rows lie in the order of a hash, so the first of a batch are a sample
                some = codec.flat(read.slice(0, max(1, round(share * read.num_rows))))
                texts = [decoded(some.column(c)).to_pylist() for c in columns]
                count_units(zip(*texts, strict=True), counts)
            yield pa.RecordBatch.from_arrays(
                [pa.array(list(counts), pa.string()), pa.array(list(counts.values()), pa.int64())], names=["word", "rows"]
            )


def texts_of(
    spark: SparkSession,
    table: Path,
    codec: Codec,
    columns: tuple[int, ...],
    tokenizer: Tokenizer,
    people: int,
    most: int,
) -> tuple[Text, ...]:
    """How texts are told: how many pieces nearly all of them have, the length that `people` of them reach, whether enough are
    null."""
    task = partial(_lengths, table=str(table), codec=codec, columns=columns, tokenizer=tokenizer, people=people, most=most)
    [found] = run_tasks(spark, [0], None, task)
    return tuple(
        Text(c, one["bound"], one["longest"], one["nulls"] >= people and c not in codec.filled, one["cut"])
        for c, one in zip(columns, found["columns"], strict=True)
        if one["bound"]
    )


def _lengths(
    number: int, table: str, codec: Codec, columns: tuple[int, ...], tokenizer: Tokenizer, people: int, most: int
) -> Iterator[dict[str, Any]]:
    """How long texts are in pieces and characters, among the first rows of a part."""
    file = f"{table}/{read_manifest(Path(table))['parts'][number]['file']}"
    rows = next((codec.flat(read) for read in read_part(file, LENGTH_ROWS)), None)
    found = []
    for column in columns:
        texts = decoded(rows.column(column)).to_pylist() if rows is not None else []
        told = [t for t in texts if t is not None]
        pieces = [len(tokenizer.pieces(t)) for t in told]
        longest, cut = longest_of([len(t) for t in told], people)
        bound = int(np.ceil(np.quantile(pieces, ENOUGH))) + cut if pieces else 0
        found.append({"bound": min(most, bound), "longest": longest, "cut": cut, "nulls": len(texts) - len(told)})
    yield {"columns": found}


def longest_of(lengths: Sequence[int], people: int) -> tuple[int, bool]:
    """The length that texts are cut to, and True: CUT_SHARE of them have it, and hardly any are longer (by a mark in the place
    of what was redacted, say). Else the length that `people` texts reach (all, if there are fewer), and False."""
    if not lengths:
        return 0, False
    values, counts = np.unique(lengths, return_counts=True)
    shared = np.flatnonzero(counts >= max(people, CUT_SHARE * len(lengths)))
    if len(shared) and counts[shared[-1] + 1 :].sum() <= FEW_LONGER * counts[shared[-1]]:
        return int(values[shared[-1]]), True
    return sorted(lengths, reverse=True)[min(people, len(lengths)) - 1], False


def _write_part(number: int, table: str, out: str) -> Iterator[dict[str, Any]]:
    script = _script(out)
    part = read_manifest(Path(table))["parts"][number]
    row: dict[str, Any] = {"part": number, "rows": part["rows"]}
    if part["rows"]:
        name = f"shard-{number:05d}.npy"
        shape = (part["rows"], script.layout.places)
        tokens = np.lib.format.open_memmap(f"{out}/{name}", mode="w+", dtype=np.uint16, shape=shape)
        offset = 0
        for batch in read_part(f"{table}/{part['file']}"):
            tokens[offset : offset + batch.num_rows] = script.encode(script.codec.flat(batch))
            offset += batch.num_rows
        tokens.flush()
        file = Path(out) / name
        row |= {"file": name, "bytes": file.stat().st_size, "sha256": file_hash(file)}
    yield row


@lru_cache(maxsize=1)
def _script(folder: str) -> Script:
    return Script.load(Path(folder))
