"""Parts come back as they were written, whatever the batches; texts that repeat as dictionaries, when asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinlake.models.codec import Codec, Relation
from twinlake.models.column import ColumnCodec
from twinlake.models.relations import Check
from twinlake.profile.partials import Limits, collect
from twinlake.tables import parts
from twinlake.tables.parts import read_part, write_part

ROWS = 30_000
LANDS = [None, "DE", "FR", "", "São Tomé"]
TABLE = pa.table(
    {
        "land": [LANDS[n % 5] for n in range(ROWS)],
        "copy": [LANDS[n % 5] for n in range(ROWS)],
        "note": [f"note {n:06d} of many" for n in range(ROWS)],
        "n": pa.array(np.arange(ROWS)),
    }
)


@pytest.fixture
def file(tmp_path: Path) -> str:
    part = write_part(tmp_path, 0, TABLE.schema, TABLE.to_batches(max_chunksize=7_000))
    assert part.rows == ROWS
    return str(tmp_path / part.file)


def test_small_batches_become_one_row_group(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pq.read_metadata(file).num_row_groups == 1
    assert pq.read_table(file).equals(TABLE)
    monkeypatch.setattr(parts, "GROUP_BYTES", 8 * 14_000)  # n alone reaches it with the second batch, the texts before
    part = write_part(tmp_path, 1, TABLE.schema, TABLE.to_batches(max_chunksize=7_000))
    assert pq.read_metadata(tmp_path / part.file).num_row_groups == 5
    assert pq.read_table(tmp_path / part.file).equals(TABLE)
    empty = write_part(tmp_path, 2, TABLE.schema, [])
    assert pq.read_table(tmp_path / empty.file).equals(TABLE.slice(0, 0))


def test_texts_that_repeat_come_as_dictionaries(file: str) -> None:
    plain, stored = (pa.Table.from_batches(read_part(file, 4_000, dictionaries=d)) for d in (False, True))
    assert plain.equals(TABLE)
    assert [pa.types.is_dictionary(t) for t in stored.schema.types] == [True, True, False, False]
    assert stored.cast(TABLE.schema).equals(TABLE)


def test_dictionaries_change_no_token_no_statistic_and_no_relation(file: str) -> None:
    columns = (
        ColumnCodec("land", "string", "category", states=("null",), values=("DE", "FR", ""), coarse=(0, 1, 2, 3, 4)),
        ColumnCodec("copy", "string", "null", coarse=(0, 1)),
        ColumnCodec("note", "string", "category", values=("note 000003 of many",), coarse=(0, 1)),
    )
    codec = Codec(columns, TABLE.select(["land", "copy", "note"]).schema)
    limits, found = Limits(100, 100, 3, 0.5, 7), []
    for dictionaries in (False, True):
        batches = list(read_part(file, 4_000, dictionaries))
        check = Check(codec, [Relation("copy", (0, 1))])
        tokens = [codec.encode(batch.select([0, 1, 2])) for batch in batches]
        for batch, some in zip(batches, tokens, strict=True):
            check.add(some, batch)
        keyed = [pa.RecordBatch.from_arrays([b["n"], b["land"], b["note"]], names=["k", "a", "b"]) for b in batches]
        statistics = [
            {k: v.tolist() if hasattr(v, "tolist") else v for k, v in row.items()} for row in collect(keyed, 1, limits)
        ]
        found.append((np.concatenate(tokens).tolist(), statistics, check.result()))
    assert found[0] == found[1]
    assert found[1][2] == (Relation("copy", (0, 1)),)
    assert found[1][0][:4] == [[3, 1], [0, 1], [1, 1], [2, 0]]  # null, DE, FR and the empty text
