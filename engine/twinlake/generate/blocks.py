"""Rows of blocks: what one task draws, decodes and writes. Runs on executors.

A row is a pure function of (model, seed, conditions, row id, attempt). Row ids are cut into blocks of 4,096, blocks
into parts by the row count alone, so which task makes a part, and how often it is tried, can't be seen in the rows.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.seeds import derive, generator
from twinlake.generate.conditions import Condition, givens, read_conditions
from twinlake.models.codec import Codec, Tokens
from twinlake.models.encode import TokenCounter
from twinlake.models.sampler import BLOCK_ROWS, TabularSampler
from twinlake.models.store import load_model
from twinlake.tables.parts import attempt_name, write_part

MAX_BLOCKS = 64
BLOCKS_AT_ONCE = 8


@dataclass(frozen=True)
class Job:
    """What tasks need to know: small, plain data. `redraw` maps row ids to attempts above 0; `counted` is a row count:
    the rows with lower ids are counted apart (to compare with as many holdout rows)."""

    model: str
    digest: str
    rows: int
    seed: int
    conditions: dict[str, Any]
    counted: int = 0
    redraw: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def blocks_per_part(rows: int) -> int:
    """About eight parts for small outputs, parts of 64 blocks (262,144 rows) for large ones."""
    return max(1, min(MAX_BLOCKS, -(-block_count(rows) // 8)))


def block_count(rows: int) -> int:
    """Blocks that hold `rows` rows."""
    return -(-rows // BLOCK_ROWS)


def part_count(rows: int) -> int:
    """Parts of an output of `rows` rows; at least one."""
    return max(1, -(-block_count(rows) // blocks_per_part(rows)))


def kernel_id() -> str:
    """What decides the last bits of a float: library versions and the processor's vector instructions."""
    import torch

    libraries = f"torch {torch.__version__}, numpy {np.__version__}, pyarrow {pa.__version__}"
    return f"{libraries}, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}, float32"


def make_part(number: int, job: Job, staging: str) -> Iterator[dict[str, Any]]:
    """Draws, writes and counts one part; yields its manifest row."""
    codec, _, _ = load_model(job.model, job.digest)
    size = blocks_per_part(job.rows)
    blocks = range(number * size, min((number + 1) * size, block_count(job.rows)))
    everything, first = TokenCounter(codec), TokenCounter(codec)
    content = hashlib.sha256()

    def counted() -> Iterator[pa.RecordBatch]:
        for start, tokens, batch in decoded(blocks, job):
            everything.add(tokens)
            if start < job.counted:
                first.add(tokens[: job.counted - start])
            content.update(batch.serialize())
            yield batch

    folder = Path(staging)
    names = [f"_summary-{number:05d}.npz", f"_summary-{number:05d}-first.npz"]

    def facts() -> dict[str, Any]:
        files = names if first.rows else names[:1]
        for name, counter in zip(files, (everything, first), strict=False):
            temporary = folder / f".{name}-{attempt_name()}.tmp"  # another attempt may be writing the same counts
            counter.counts().save(temporary)
            temporary.replace(folder / name)
        return {
            "files": files,
            "content": content.hexdigest(),
            "kernel": kernel_id(),
            "first_row": blocks.start * BLOCK_ROWS,
        }

    schema = codec.schema.with_metadata({**(codec.schema.metadata or {}), **job.metadata})
    part = write_part(folder, number, schema, (b.cast(schema) if b.schema != schema else b for b in counted()), facts)
    yield {"part": part.part, "rows": part.rows}


def decoded(blocks: range, job: Job) -> Iterator[tuple[int, Tokens, pa.RecordBatch]]:
    """(first row id, tokens, rows) of runs of blocks, in order."""
    import torch

    torch.set_num_threads(1)
    codec, _, sampler = load_model(job.model, job.digest)
    conditions = read_conditions(job.conditions, codec)
    attempts = dict(np.load(job.redraw, allow_pickle=False)) if job.redraw else {}
    for start in range(blocks.start, blocks.stop, BLOCKS_AT_ONCE):
        some = range(start, min(start + BLOCKS_AT_ONCE, blocks.stop))
        drawn = [_draw_block(b, job, codec, sampler, conditions, attempts) for b in some]
        tokens = np.concatenate([t for t, _ in drawn])
        uniforms = np.concatenate([u for _, u in drawn])
        first = some.start * BLOCK_ROWS
        rows = min(len(tokens), job.rows - first)
        row_ids = np.arange(first, first + rows, dtype=np.uint64)
        batch = codec.decode(tokens[:rows], uniforms[:rows], row_ids, job.seed)
        for condition in conditions:
            at = condition.column
            fixed = condition.apply(batch.column(at), tokens[:rows][:, list(codec.slots[at])], uniforms[:rows, at])
            batch = batch.set_column(at, codec.schema.field(at), fixed)
        yield first, tokens[:rows], batch


def _draw_block(
    block: int,
    job: Job,
    codec: Codec,
    sampler: TabularSampler | None,
    conditions: list[Condition],
    attempts: Mapping[str, npt.NDArray[Any]],
) -> tuple[Tokens, npt.NDArray[np.float64]]:
    tokens, uniforms = _attempt(block, 0, job, codec, sampler, conditions)
    if attempts:
        start = block * BLOCK_ROWS
        mine = (attempts["rows"] >= start) & (attempts["rows"] < start + BLOCK_ROWS)
        for attempt in np.unique(attempts["attempts"][mine]):
            rows = attempts["rows"][mine & (attempts["attempts"] == attempt)] - start
            again = _attempt(block, int(attempt), job, codec, sampler, conditions)
            tokens[rows], uniforms[rows] = again[0][rows], again[1][rows]
    return tokens, uniforms


def _attempt(
    block: int, attempt: int, job: Job, codec: Codec, sampler: TabularSampler | None, conditions: list[Condition]
) -> tuple[Tokens, npt.NDArray[np.float64]]:
    uniforms = generator(derive(job.seed, "decode"), block, attempt).random((BLOCK_ROWS, len(codec.columns)))
    if sampler is None:
        return np.zeros((BLOCK_ROWS, 0), np.uint16), uniforms
    return sampler.draw(block, derive(job.seed, "tokens"), attempt, givens(conditions)), uniforms


def lazy_rows(job: Job) -> Any:
    """A function for mapInArrow: block numbers -> rows."""
    return partial(_lazy_rows, job=job)


def _lazy_rows(batches: Iterable[pa.RecordBatch], job: Job) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for block in batch.column(0).to_pylist():
            for _, _, rows in decoded(range(block, block + 1), job):
                yield rows.rename_columns([f"c{i}" for i in range(rows.num_columns)])
