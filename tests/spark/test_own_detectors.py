"""A detector of the user's own reaches every stage: the label, the fakes of its column, its finds inside text, the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from twinlake import pipeline
from twinlake.core.config import load_config
from twinlake.tables.parts import part_files

ROWS = 200


def test_an_own_entity_is_faked_in_its_column_and_inside_text(spark: Any, tmp_path: Path) -> None:
    badges = [f"B-{700_000 + 37 * i}" for i in range(ROWS)]
    notes = [f"lost the card {badge} at the gate" if i % 2 else "nothing to report" for i, badge in enumerate(badges)]
    pq.write_table(pa.table({"badge": badges, "note": notes}), tmp_path / "people.parquet")
    config = load_config(
        base={
            "run": {"dir": str(tmp_path / "run")},
            "source": {"path": str(tmp_path / "people.parquet")},
            "holdout": {"fraction": 0.0},
            "classify": {"detectors": [{"entity": "BADGE", "pattern": "B-[0-9]{6}", "headers": ["badge"], "alone": True}]},
            "policy": {
                "rules": [
                    {"entity": "BADGE", "transform": "fake"},
                    {"column": "note", "transform": "spans", "entities": {"BADGE": "fake"}},
                ]
            },
        }
    )
    pipeline.run(config, spark, last="transform")
    files = part_files(tmp_path / "run" / "protected")
    made = pa.concat_tables([pq.read_table(f) for f in files])
    fakes, told = made["badge"].to_pylist(), made["note"].to_pylist()
    assert len(set(fakes)) == ROWS and not set(fakes) & set(badges)
    assert not any(badge in note for badge in badges for note in told)
    # one domain: the surrogate inside the text is the one in the column of the same row
    assert sum(fake in note for fake, note in zip(fakes, told, strict=True)) == ROWS // 2
    assert "synthesis: format" in (tmp_path / "run" / "plan.yaml").read_text()
