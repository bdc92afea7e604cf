"""Rows of blocks: what one task draws, decodes and writes. Runs on executors.

A row is a pure function of (model, seed, steering, row id, attempt). Row ids are cut into blocks of 4,096, blocks into
parts by the row count alone, so which task makes a part, and how often it is tried, can't be seen in the rows. First
attempts are drawn block by block; later ones, and rows that are completed, row by row from numbers hashed from the row id.
"""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from twinlake.core.seeds import derive, generator, mix, uniform
from twinlake.generate.filters import OUTLIERS, SIMILARITY, Filters, Screen
from twinlake.generate.steering import Group, Steering, read_steering, words_of
from twinlake.models.codec import Codec, encode_column
from twinlake.models.column import Tokens
from twinlake.models.encode import TokenCounter
from twinlake.models.folded import FULL, ONEDNN
from twinlake.models.nested import shut
from twinlake.models.relations import Free, restore, with_determined
from twinlake.models.sampler import BLOCK_ROWS, PLAIN, Given, Known, Style
from twinlake.models.store import LoadedModel, load_model
from twinlake.models.writing import Allowed
from twinlake.tables.parts import attempt_name, write_part

UInt64 = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
MAX_BLOCKS = 64
BLOCKS_AT_ONCE = 8
ATTEMPTS = 30
"""How often a row that filters refuse is drawn again; the first STEPS keep most columns of one that was near to a train row."""
STEPS = 20
STAY = 0.75
"""The chance of each column to be kept."""
APART = 16  # bits: the n-th redraw of attempt a is attempt a + n 2^16, which no rule asks for


@dataclass(frozen=True)
class Job:
    """What tasks need to know: small, plain data. `redraw`: a folder of Parquet files with rows and their attempts above 0;
    `counted` is a row count: the rows with lower ids are counted apart (to compare with as many holdout rows). `filters`: what
    every row must keep to. `precision`: see models/store.py."""

    model: str
    digest: str
    rows: int
    seed: int
    conditions: dict[str, Any]
    groups: tuple[Group, ...] = ()
    style: Style = PLAIN
    counted: int = 0
    redraw: str | None = None
    filters: Filters | None = None
    precision: str = FULL
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
    """What decides the last bits of a float: library versions, the processor's vector instructions, whose products."""
    import torch

    libraries = f"torch {torch.__version__}, numpy {np.__version__}, pyarrow {pa.__version__}"
    products = f"float32 {'oneDNN' if ONEDNN else 'BLAS'}"
    return f"{libraries}, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {products}"


def make_part(number: int, job: Job, staging: str) -> Iterator[dict[str, Any]]:
    """Draws, writes and counts one part; yields its manifest row."""
    model = load_model(job.model, job.digest)
    codec, script, invalid = model.codec, model.script if model.writes_rows else None, 0
    size = blocks_per_part(job.rows)
    blocks = range(number * size, min((number + 1) * size, block_count(job.rows)))
    everything, first = TokenCounter(codec), TokenCounter(codec)
    content, refused = hashlib.sha256(), Counter[str]()

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal invalid
        for start, tokens, batch in decoded(blocks, job, refused):
            everything.add(tokens)
            if start < job.counted:
                first.add(tokens[: job.counted - start])
            content.update(batch.serialize())
            invalid += script.invalid(batch) if script is not None else 0
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
            **({"invalid": invalid} if script is not None else {}),
            **({"filters": dict(refused)} if job.filters is not None else {}),
        }

    schema = codec.table.with_metadata({**(codec.table.metadata or {}), **job.metadata})
    part = write_part(folder, number, schema, (b.cast(schema) if b.schema != schema else b for b in counted()), facts)
    yield {"part": part.part, "rows": part.rows}


@dataclass(frozen=True)
class Maker:
    """A job with its model: draws and decodes rows. `codec`: that by which the model draws, conditions included.
    `null_texts`: whether texts may be null where real ones are."""

    job: Job
    model: LoadedModel
    codec: Codec
    steering: Steering
    null_texts: bool = True

    @classmethod
    def of(cls, job: Job) -> Maker:
        """The model is read once for each process. Errors: ModelError, ConfigError."""
        import torch

        torch.set_num_threads(1)
        model = load_model(job.model, job.digest, job.precision)
        return cls(job, model, model.told, read_steering(job.conditions, job.groups, job.seed, model.told))

    @cached_property
    def screen(self) -> Screen | None:
        """The filters of the job, None where there are none."""
        return Screen.of(self.job.filters, self.model.sampler) if self.job.filters is not None else None

    @cached_property
    def givens(self) -> list[Given]:
        """What the sampler has to know of the conditions."""
        return self.steering.givens

    @property
    def numbers(self) -> int:
        """Uniform numbers of a row's tokens."""
        writer = self.model.writer
        return writer.numbers if writer is not None and self.model.writes_rows else len(self.codec.sizes)

    def block(self, number: int, rows: int = BLOCK_ROWS) -> tuple[Tokens, Floats]:
        """First attempts of a block's rows: tokens [4096, S], and numbers that place values in cells [4096, columns]. A model
        that writes rows is slow, and so gives the first `rows` alone."""
        cells = generator(derive(self.job.seed, "decode"), number, 0).random((BLOCK_ROWS, len(self.codec.columns)))
        drawn = generator(derive(self.job.seed, "tokens"), number, 0).random((self.numbers, BLOCK_ROWS), dtype=np.float32)
        drawn = drawn[:, :rows] if self.model.writes_rows else drawn
        return self._tokens(drawn, _ids(number * BLOCK_ROWS, drawn.shape[1])), cells

    def rows(
        self, row_ids: UInt64, attempts: npt.NDArray[np.int64], known: Known | None = None, given: tuple[Given, ...] = ()
    ) -> tuple[Tokens, Floats]:
        """The same of any rows: the given attempt of each."""
        numbers = mix(mix(row_ids, derive(self.job.seed, "row")) + attempts.astype(np.uint64), derive(self.job.seed, "attempt"))
        columns = len(self.codec.columns)
        drawn = np.empty((self.numbers, len(row_ids)), np.float32)
        for token in range(self.numbers):
            drawn[token] = uniform(numbers, derive(self.job.seed, "tokens", token))
        cells = np.empty((len(row_ids), columns))
        for column in range(columns):
            cells[:, column] = uniform(numbers, derive(self.job.seed, "decode", column))
        return self._tokens(drawn, row_ids, known, given), cells

    def decode(self, tokens: Tokens, cells: Floats, row_ids: UInt64) -> tuple[Tokens, pa.RecordBatch]:
        """The (flat) rows, with the very values that conditions ask for and the relations that the train rows keep; and the
        tokens by which they are counted, which are others where a relation changed a cell or nothing can be."""
        drawn = self._decoded(tokens, cells, row_ids)
        batch = self.steering.apply(drawn, tokens, cells, row_ids, self.codec)
        fixed = dict.fromkeys(self.steering.columns, np.zeros(len(tokens), np.bool_))
        tokens, batch = self.related(tokens, drawn, batch, fixed)
        batch, emptied = shut(batch, self.codec.gates)
        if self.model.writes_rows:
            return self.model.codec.encode(batch), batch
        tokens = tokens.copy() if emptied else tokens
        for column, rows in emptied.items():
            if slots := self.codec.slots[column]:
                none = pa.nulls(1, self.codec.schema.field(column).type)
                tokens[rows, slots[0] : slots[-1] + 1] = encode_column(self.codec.columns[column], none)
        return tokens, self._with_texts(tokens, cells, batch)

    def made(
        self,
        tokens: Tokens,
        cells: Floats,
        row_ids: UInt64,
        attempts: npt.NDArray[np.int64],
        refused: Counter[str] | None = None,
    ) -> tuple[Tokens, pa.RecordBatch]:
        """`decode`, with rows that the filters refuse drawn again, and counted in `refused`. `attempts`: which these are."""
        tokens, rows = self.decode(tokens, cells, row_ids)
        if self.screen is None:
            return tokens, rows
        tokens, rows, counts = settled(self, self.screen, tokens, rows, row_ids, attempts)
        if refused is not None:
            refused.update(counts)
        return tokens, rows

    def _decoded(self, tokens: Tokens, cells: Floats, row_ids: UInt64) -> pa.RecordBatch:
        if self.model.script is not None and self.model.writes_rows:
            return self.model.script.decode(tokens, cells, row_ids, self.job.seed)
        return self.codec.decode(tokens, cells, row_ids, self.job.seed)

    def _with_texts(self, tokens: Tokens, cells: Floats, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`batch` with texts written given the rest of each row. A text follows from the number of its cell."""
        script, writer = self.model.script, self.model.writer
        if script is None or writer is None:
            return batch
        bits = np.ascontiguousarray(cells[:, script.texts[0].column]).view(np.uint64)
        drawn = np.zeros((writer.numbers, len(tokens)), np.float32)
        for place in range(script.layout.closed, writer.numbers):
            drawn[place] = uniform(bits, derive(self.job.seed, "texts", place))
        written = writer.draw_rows(drawn, None, Known(tokens, np.ones(tokens.shape, np.bool_)), self.job.style, self.null_texts)
        fixed = set(self.steering.columns)
        texts = script.with_texts(batch, written)
        kept = [batch.column(c) if c in fixed else texts.column(c) for c in range(batch.num_columns)]
        return shut(pa.RecordBatch.from_arrays(kept, schema=batch.schema), self.codec.gates)[0]

    def related(
        self, tokens: Tokens, drawn: pa.RecordBatch, batch: pa.RecordBatch, free: Free
    ) -> tuple[Tokens, pa.RecordBatch]:
        """Rows with the relations between columns kept, and their tokens. `drawn`, `free`: see models/relations.py."""
        followed = any(column.since is not None for column in self.codec.columns)
        if all(relation.kind == "determines" for relation in self.codec.relations) and not (followed and free):
            return tokens, batch
        batch, changed = restore(self.codec, drawn, batch, free)
        tokens = tokens.copy() if changed else tokens
        for column in changed:
            if slots := list(self.codec.slots[column]):
                tokens[:, slots] = encode_column(self.codec.columns[column], self.codec.measured(batch, column))
        return tokens, batch

    def _tokens(
        self, drawn: npt.NDArray[np.float32], row_ids: UInt64, known: Known | None = None, given: tuple[Given, ...] = ()
    ) -> Tokens:
        groups, style = self.steering.groups_of(row_ids), self.job.style
        if self.model.writer is not None and self.model.writes_rows:
            allowed = {at: Allowed(words, groups) for at, words in self.steering.allowed(self.codec).items()}
            allowed |= {g.column: Allowed([words_of(g, self.codec)]) for g in given}
            written = self.model.writer.draw_rows(drawn, allowed, known, style, self.null_texts)
            return with_determined(self.codec, written, {*allowed, *_columns_of(self.codec, known)})
        if self.model.sampler is None:
            return np.zeros((len(row_ids), 0), np.uint16)
        return self.model.sampler.draw_rows(drawn, [*self.givens, *given], groups, known, style)


def settled(
    maker: Maker, screen: Screen, tokens: Tokens, rows: pa.RecordBatch, ids: UInt64, attempts: npt.NDArray[np.int64]
) -> tuple[Tokens, pa.RecordBatch, Mapping[str, int]]:
    """Decoded `rows` with those that do not pass drawn again, at most ATTEMPTS times, and their tokens; how many rows each
    filter refused, and how many are `left` as the last attempt made them. `attempts`: which of each row these are.

    An outlier gives way to a fresh row. A row that is near to a train row most often lies where people are many; fresh rows in
    its place would thin them out. So most of its columns stay and the others are drawn given those (a step of a Gibbs sampler,
    Geman and Geman, IEEE PAMI 6, 1984, which leaves the model's distribution as it is); the last attempts are fresh ones.
    """
    counts: Counter[str] = Counter()
    kept, taken, made = [rows], np.arange(len(tokens)), len(tokens)
    tokens = tokens.copy()
    todo, near = np.arange(len(tokens)), np.zeros(len(tokens), np.bool_)
    given = maker.model.sampler is not None and not maker.model.writes_rows  # others draw given columns slowly, or not at all
    for again in range(ATTEMPTS + 1):
        steps = near & given & (again <= STEPS)
        for some, stays in ((todo[steps], True), (todo[~steps], False)) if again else ():
            if not len(some):
                continue
            attempt = attempts[some] + (again << APART)
            known = _staying(maker, tokens[some], ids[some], attempt) if stays else None
            tokens[some], fresh = maker.decode(*maker.rows(ids[some], attempt, known), ids[some])
            kept.append(fresh)
            taken[some] = made + np.arange(len(some))
            made += len(some)
        refused = screen.refused(tokens[todo])
        counts.update({name: int(hits.sum()) for name, hits in refused.items()})
        failing = refused[SIMILARITY] | refused[OUTLIERS]
        todo, near = todo[failing], (refused[SIMILARITY] & ~refused[OUTLIERS])[failing]
        if not len(todo):
            break
    counts["left"] += len(todo)
    whole = rows if len(kept) == 1 else pa.Table.from_batches(kept).take(pa.array(taken)).combine_chunks().to_batches()[0]
    return tokens, whole, counts


def _staying(maker: Maker, tokens: Tokens, ids: UInt64, attempts: npt.NDArray[np.int64]) -> Known:
    """`tokens` [rows, S], of which those of most columns are known: which ones, the row's id and attempt decide."""
    codec, mask = maker.codec, np.zeros(tokens.shape, np.bool_)
    numbers = mix(mix(ids, derive(maker.job.seed, "filters")) + attempts.astype(np.uint64), derive(maker.job.seed, "stay"))
    for column, slots in enumerate(codec.slots):
        mask[:, list(slots)] = (uniform(numbers, derive(maker.job.seed, "stay", column)) < STAY)[:, None]
    return Known(tokens, mask)


def _columns_of(codec: Codec, known: Known | None) -> list[int]:
    return [] if known is None else [c for c, slots in enumerate(codec.slots) if slots and known.mask[:, slots[0]].any()]


def decoded(blocks: range, job: Job, refused: Counter[str] | None = None) -> Iterator[tuple[int, Tokens, pa.RecordBatch]]:
    """(first row id, tokens, rows) of runs of blocks, in order. `refused` counts what filters refuse."""
    maker = Maker.of(job)
    again, attempts = read_attempts(job.redraw, blocks) if job.redraw else (_ids(0, 0), np.empty(0, np.int64))
    for start in range(blocks.start, blocks.stop, BLOCKS_AT_ONCE):
        numbers = range(start, min(start + BLOCKS_AT_ONCE, blocks.stop))
        drawn = [maker.block(b, min(BLOCK_ROWS, job.rows - b * BLOCK_ROWS)) for b in numbers]
        tokens, cells = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
        first = start * BLOCK_ROWS
        rows = min(len(tokens), job.rows - first)
        attempt = np.zeros(rows, np.int64)
        here = slice(*np.searchsorted(again, np.array([first, first + rows], np.uint64)))
        if here.stop > here.start:
            places = (again[here] - np.uint64(first)).astype(np.int64)
            tokens[places], cells[places] = maker.rows(again[here], attempts[here])
            attempt[places] = attempts[here]
        drawn_tokens, flat = maker.made(tokens[:rows], cells[:rows], _ids(first, rows), attempt, refused)
        yield first, drawn_tokens, maker.codec.whole(flat)


def read_attempts(folder: str, blocks: range) -> tuple[UInt64, npt.NDArray[np.int64]]:
    """The rows of `blocks` that are not of the first attempt, in order, and the last attempt asked for of each."""
    import pyarrow.dataset as ds

    row = ds.field("row")
    inside = (row >= blocks.start * BLOCK_ROWS) & (row < blocks.stop * BLOCK_ROWS)
    found = ds.dataset(folder, format="parquet").to_table(["row", "attempt"], filter=inside)
    latest = found.group_by("row").aggregate([("attempt", "max")]).sort_by("row")
    return latest["row"].to_numpy().astype(np.uint64), latest["attempt_max"].to_numpy().astype(np.int64)


def _ids(first: int, rows: int) -> UInt64:
    return np.arange(first, first + rows, dtype=np.uint64)


def lazy_rows(job: Job) -> Any:
    """A function for mapInArrow: block numbers -> rows."""
    return partial(_lazy_rows, job=job)


def _lazy_rows(batches: Iterable[pa.RecordBatch], job: Job) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for block in batch.column(0).to_pylist():
            for _, _, rows in decoded(range(block, block + 1), job):
                yield rows.rename_columns([f"c{i}" for i in range(rows.num_columns)])
