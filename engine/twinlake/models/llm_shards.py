"""Writes the protected table as a fine-tuned LLM reads it: fits the row script, and writes shards of its tokens.

Shards are `shard-00000.npy`, uint32 [rows, width]: the tokens of a row, those that are never drawn (keys, and a row that is
too long) marked by FORCED, then PAD. Half of the rows of a JSON table tell their columns in a random order, so that any of
them can be given. Executors write; no row reaches the driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.errors import ConfigError
from twinlake.core.llm_config import LlmConfig
from twinlake.core.seeds import derive, generator
from twinlake.models.base_model import base_hash, context_of, vocabulary_of
from twinlake.models.codec import Codec
from twinlake.models.rows_as_text import ROOM, Prosaic, RowScript
from twinlake.models.script import Text, closed_codec
from twinlake.models.transcribe import common_units, free_texts, publish_shards, texts_of
from twinlake.models.vocabulary import Vocabulary
from twinlake.tables.parts import file_hash, read_manifest, read_part, run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FORCED = np.uint32(1 << 31)
PAD = np.uint32(0xFFFFFFFF)
WIDTH_ROWS = 1_000
SPARE = 1.25
LEAST_TEXT = 16
MOST_TEXT = 2_048


def fit_rows(spark: SparkSession, table: Path, codec: Codec, people: int, seed: int, wanted: LlmConfig) -> RowScript:
    """The row script of the published parts in `table`. A word of a text is told if `people` rows of the sample hold it.
    Errors: ConfigError for a language model that sees too little at once."""
    assert wanted.path is not None
    columns = free_texts(codec)
    words = common_units(spark, table, codec, columns, people) if columns else {}
    texts: tuple[Text, ...] = ()
    tokenizer: Any = None
    if words:
        tokenizer = Prosaic(frozenset(words), derive(seed, "digits"))
        found = texts_of(spark, table, codec, columns, tokenizer, people, MOST_TEXT)
        texts = tuple(replace(t, bound=max(t.bound, LEAST_TEXT) + ROOM) for t in found)
    told = closed_codec(codec, frozenset(t.column for t in texts))
    folder = str(Path(wanted.path).absolute())
    script = RowScript(told, texts, tokenizer, False, wanted.format, "", 0, folder, base_hash(folder))
    names = ", ".join(codec.columns[c].name for c in script.columns)
    prompt = wanted.prompt.replace("{columns}", names).replace("{format}", {"json": "JSON", "csv": "CSV"}[wanted.format])
    script = _fitting(replace(script, prompt=prompt), wanted)
    [seen] = (
        run_tasks(spark, [0], None, partial(_lengths, table=str(table), script=script)) if script.columns else [{"most": 1}]
    )
    most = min(int(SPARE * seen["most"]) + 8, sum(script.longest(c) + len(script.key(c, True)) for c in script.columns) + 8)
    return replace(script, width=most if wanted.max_tokens == "auto" else min(most, wanted.max_tokens))


def _fitting(script: RowScript, wanted: LlmConfig) -> RowScript:
    """`script` with texts short enough that every row that may be drawn fits what the model sees at once."""
    vocabulary, context = vocabulary_of(script.source), context_of(script.source)
    if context is None:
        return script
    prompt = len(vocabulary.prompt(script.prompt))
    keys = sum(len(vocabulary.encode(script.key(c, True))) + 1 for c in script.columns)
    closed = sum(script.longest(c) for c in script.columns if c not in script.text_of)
    left = context - prompt - keys - closed
    least = len(script.texts) * (LEAST_TEXT + ROOM + 4)
    if left < least:
        raise ConfigError(
            f"model.llm.path: the model sees {context:,} tokens at once, and a row of this table may take "
            f"{prompt + keys + closed + least:,}; take a model that sees more, or fewer columns"
        )
    most = left // max(1, len(script.texts)) - 4
    return replace(script, texts=tuple(replace(t, bound=min(t.bound, most)) for t in script.texts))


def write_rows(spark: SparkSession, table: Path, script: RowScript, out: Path, seed: int) -> None:
    """The rows of the parts in `table` as tokens of the language model, with the script, published by rename in `out`."""
    task = partial(_write_part, table=str(table), seed=derive(seed, "order"))
    publish_shards(spark, table, script, out, task)


def row_tokens(
    script: RowScript, vocabulary: Vocabulary, batch: pa.RecordBatch, orders: npt.NDArray[np.int64] | None = None
) -> list[npt.NDArray[np.uint32]]:
    """The tokens of each row; `orders` [rows, columns told]: the order of each row's columns."""
    tokens, out = script.encode(batch), []
    for number, row in enumerate(tokens):
        order = script.columns if orders is None else [script.columns[i] for i in orders[number]]
        told: list[int] = []
        cuts = [0]
        for place, column in enumerate(order):
            told += vocabulary.encode(script.key(column, place == 0))
            cuts.append(len(told))
            told += vocabulary.encode(script.cell(column, row[script.places(column)], place + 1 == len(order)))
            cuts.append(len(told))
        ids = np.array(told, np.uint32)
        for start, stop in list(pairwise(cuts))[::2]:
            ids[start:stop] |= FORCED
        out.append(ids)
    return out


def _lengths(number: int, table: str, script: RowScript) -> Iterator[dict[str, Any]]:
    file = f"{table}/{read_manifest(Path(table))['parts'][number]['file']}"
    rows = next((script.codec.flat(read) for read in read_part(file, WIDTH_ROWS)), None)
    found = row_tokens(script, vocabulary_of(script.source), rows) if rows is not None else []
    yield {"most": max(map(len, found), default=1)}


def _write_part(number: int, table: str, out: str, seed: int) -> Iterator[dict[str, Any]]:
    script = _script(out)
    part = read_manifest(Path(table))["parts"][number]
    row: dict[str, Any] = {"part": number, "rows": part["rows"]}
    if part["rows"]:
        name = f"shard-{number:05d}.npy"
        shape = (part["rows"], max(1, script.width))
        tokens = np.lib.format.open_memmap(f"{out}/{name}", mode="w+", dtype=np.uint32, shape=shape)
        tokens[:] = PAD
        offset = 0
        for read in read_part(f"{table}/{part['file']}", WIDTH_ROWS):
            batch, orders = script.codec.flat(read), None
            if script.format == "json" and script.columns:
                draw = generator(seed, number, offset)
                keys = draw.random((batch.num_rows, len(script.columns)))
                keys[draw.random(batch.num_rows) < 0.5] = np.arange(len(script.columns))
                orders = np.argsort(keys, axis=1, kind="stable")
            for ids in row_tokens(script, vocabulary_of(script.source), batch, orders):
                tokens[offset, : min(len(ids), shape[1])] = ids[: shape[1]]
                offset += 1
        tokens.flush()
        file = Path(out) / name
        row |= {"file": name, "bytes": file.stat().st_size, "sha256": file_hash(file)}
    yield row


@lru_cache(maxsize=1)
def _script(folder: str) -> RowScript:
    return RowScript.load(Path(folder))
