"""Nothing personal leaks: 1,000 canaries in each personal column, in a run of the command with Spark's event log on.

Looked into afterwards: everything in the run folder, temporary folders and Spark's own folders, the event log, and what the
command printed with all of the engines' output (promises E4, E9, I3, I4).
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1_000
KEY = bytes(range(90, 122))
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def word(row: int) -> str:
    """Four letters that no other row has."""
    return "".join(LETTERS[(row // 26**place) % 26] for place in range(4))


COLUMNS: dict[str, list[str]] = {
    "email": [f"zqx{word(row)}@corp.com" for row in range(ROWS)],
    "name": [f"Vjk{word(row)} Wq{word(row)}zz" for row in range(ROWS)],
    "phone": [f"(415) 8{row:03d}-{9_999 - row:04d}" for row in range(ROWS)],
    "ssn": [f"{500 + row % 160:03d}-{row % 89 + 10:02d}-{7_000 + row:04d}" for row in range(ROWS)],
    "card": [f"4929{row:04d}{8_713_000 + row * 3:08d}" for row in range(ROWS)],
    "born": [
        f"19{row % 60 + 20:02d}-{row % 12 + 1:02d}-{row % 28 + 1:02d}T{row // 60:02d}:{row % 60:02d}" for row in range(ROWS)
    ],
    "note": [f"please write to hqk{word(row)}@corp.com soon" for row in range(ROWS)],
    "extra": [f"pzw{word(row)}pzw" for row in range(ROWS)],
    "json": [json.dumps({"mail": f"jkq{word(row)}@corp.com", "n": row}) for row in range(ROWS)],
}
CANARIES = [value for name, cells in COLUMNS.items() if name not in ("note", "json", "born") for value in cells]
CANARIES += [f"hqk{word(row)}" for row in range(ROWS)] + [f"jkq{word(row)}" for row in range(ROWS)] + COLUMNS["born"]
POLICY = {
    "rules": [
        {"column": "email", "transform": "fake", "as": "EMAIL_ADDRESS"},
        {"column": "name", "transform": "fake", "as": "PERSON", "allow_collisions": True},
        {"column": "phone", "transform": "redact"},
        {"column": "ssn", "transform": "hash"},
        {"column": "card", "transform": "encrypt"},
        {"column": "born", "transform": "generalize", "to": "year"},
        {"column": "note", "transform": "spans"},
        {"column": "extra", "transform": "drop"},
        {"column": "json", "transform": "paths", "paths": {".mail": "redact"}},
    ]
}


def command(tmp: Path, config: dict[str, Any], *more: str) -> subprocess.CompletedProcess[bytes]:
    """`twinlake transform` in a process of its own, with an event log and every temporary folder inside `tmp`."""
    (tmp / "events").mkdir(exist_ok=True)
    (tmp / "temp").mkdir(exist_ok=True)
    (tmp / "config.json").write_text(json.dumps(config))  # JSON is YAML
    settings = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (tmp / "events").as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.local.dir": str(tmp / "temp"),
        "spark.sql.warehouse.dir": str(tmp / "warehouse"),
    }
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "engine"),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": " ".join(f"--conf {name}={value}" for name, value in settings.items()) + " pyspark-shell",
        "TMPDIR": str(tmp / "temp"),
        "LEAK_TEST_KEY": KEY.hex(),
    }
    line = [sys.executable, "-m", "twinlake.cli", "transform", "--config", str(tmp / "config.json"), "--verbose", *more]
    return subprocess.run(line, cwd=tmp, env=environment, capture_output=True, check=False, timeout=400)


def seen(tmp: Path, done: subprocess.CompletedProcess[bytes]) -> dict[str, bytes]:
    """Everything that was written or printed, Parquet decoded, by file."""
    found = {"stdout": done.stdout, "stderr": done.stderr}
    for file in tmp.rglob("*"):
        if not file.is_file() or file.name in ("source.parquet", "config.json"):
            continue
        raw = file.read_bytes()
        if file.suffix == ".parquet":
            table = pq.read_table(pa.BufferReader(raw))
            raw += "\n".join(str(cell) for column in table.columns for cell in column.to_pylist()).encode()
        found[str(file.relative_to(tmp))] = raw
    return found


@pytest.mark.spark
def test_no_canary_and_no_key_is_left_anywhere(tmp_path: Path) -> None:
    pq.write_table(pa.table(COLUMNS), tmp_path / "source.parquet")
    config = {
        "run": {"dir": str(tmp_path / "run"), "keep_private": True},
        "source": {"path": str(tmp_path / "source.parquet")},
        "policy": POLICY,
        "keys": {"pseudonyms": "env:LEAK_TEST_KEY"},
    }
    done = command(tmp_path, config)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = seen(tmp_path, done)
    assert any(name.startswith("events/") and len(raw) > 10_000 for name, raw in found.items())
    assert sum(name.startswith("run/protected/part-") and name.endswith(".parquet") for name in found) >= 1
    secrets = [KEY, KEY.hex().encode(), KEY.hex().upper().encode(), base64.b64encode(KEY), base64.urlsafe_b64encode(KEY)]
    for name, raw in found.items():
        assert not [secret for secret in secrets if secret in raw], name
        leaked = [canary for canary in CANARIES if canary.encode() in raw]
        assert not leaked, f"{name} holds {len(leaked)} canaries"


@pytest.mark.spark
def test_a_cell_that_fails_is_shown_nowhere(tmp_path: Path) -> None:
    pq.write_table(pa.table({"code": [f"{1_000_000 + n}" for n in range(400)] + ["CANARY-7393"]}), tmp_path / "source.parquet")
    config = {
        "run": {"dir": str(tmp_path / "run")},
        "source": {"path": str(tmp_path / "source.parquet")},
        "policy": {"rules": [{"column": "code", "transform": "encrypt", "cipher": "ff1"}]},
        "keys": {"pseudonyms": "env:LEAK_TEST_KEY"},
    }
    done = command(tmp_path, config)
    assert done.returncode == 3
    last = done.stderr.decode().strip().splitlines()[-1]
    assert "column 'code' of type string: encrypt failed at row" in last and "fewer than 1,000,000" in last
    for name, raw in seen(tmp_path, done).items():
        assert b"CANARY" not in raw, name
        assert KEY.hex().encode() not in raw, name
