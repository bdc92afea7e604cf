"""Restoring: what was encrypted comes back with the key, after a rotation too, and nothing without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plans import plan_for
from pyspark.sql import DataFrame, SparkSession

from twinlake.core.errors import ConfigError, DataError, KeyReferenceError, PolicyError
from twinlake.core.keys import Keyring, make_key
from twinlake.transform.apply import apply_plan
from twinlake.transform.restore import restore_plan, restore_run

OLD, NEW = make_key("pseudonyms", bytes(range(32))), make_key("pseudonyms", bytes(range(7, 39)))
DDL = "id bigint, email string, note string, s struct<mail:string,n:int>, j string, phone string, name string"
ROWS = [
    (1, "ann@corp.com", "Mail ann@corp.com or bob@corp.com.", ("ann@corp.com", 1), '{"m": "ann@corp.com", "n": 1.10}',
     "555-123-4567", "Ann"),
    (2, None, None, None, None, None, None),
    (3, "", "nothing", (None, 3), "{}", "", "Bob"),
]  # fmt: skip
CHOSEN: dict[str, tuple[str, dict[str, Any]]] = {
    "id": ("encrypt", {}),
    "email": ("encrypt", {"domain": "EMAIL_ADDRESS"}),
    "note": ("spans", {"entities": {"EMAIL_ADDRESS": "encrypt"}}),
    "s": ("paths", {"paths": {".mail": {"transform": "encrypt", "domain": "EMAIL_ADDRESS"}}}),
    "j": ("paths", {"paths": {".m": {"transform": "encrypt", "domain": "EMAIL_ADDRESS"}}}),
    "phone": ("encrypt", {"cipher": "ff1"}),
    "name": ("hash", {}),
}


@pytest.fixture(scope="module")
def df(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(ROWS, DDL).coalesce(1)


def test_every_reversible_column_comes_back_and_a_hash_does_not(df: DataFrame) -> None:
    plan = plan_for(df, CHOSEN)
    hidden = apply_plan(df, plan, Keyring((OLD,)))
    shown = "".join(map(str, hidden.collect()))
    assert "corp.com" not in shown and "4567" not in shown
    back = restore_plan(hidden, plan, Keyring((OLD,)))
    assert back.schema == df.schema
    assert [row[:-1] for row in map(tuple, back.collect())] == [row[:-1] for row in map(tuple, df.collect())]
    assert back.collect()[0]["name"] not in ("Ann", None)


def test_after_a_rotation_the_new_key_is_used_and_the_old_one_still_opens(df: DataFrame) -> None:
    chosen = {name: CHOSEN[name] for name in ("id", "email", "note")}
    plan = plan_for(df, chosen)
    before, after = apply_plan(df, plan, Keyring((OLD,))), apply_plan(df, plan, Keyring((NEW,)))
    [old], [new] = ([row["email"].split(".")[0] for row in t.where("email <> ''").collect()] for t in (before, after))
    assert (old, new) == (OLD.key_id, NEW.key_id) and old != new
    both = Keyring((NEW, make_key("retired", OLD.material)))
    restored = restore_plan(before.union(after), plan, both).select("id", "email", "note").collect()
    assert [tuple(row) for row in restored] == [(row[0], row[1], row[2]) for row in ROWS] * 2


def test_without_the_key_nothing_is_restored(df: DataFrame) -> None:
    plan = plan_for(df, CHOSEN)
    hidden = apply_plan(df, plan, Keyring((OLD,)))
    with pytest.raises(KeyReferenceError, match="needs the key that encrypted"):
        restore_plan(hidden, plan, Keyring())
    with pytest.raises(KeyReferenceError, match="no key named 'pseudonyms'"):
        restore_plan(hidden, plan, Keyring((make_key("other", OLD.material),)))
    with pytest.raises(Exception, match=f"made with key {OLD.key_id}, which is not among the keys given"):
        restore_plan(hidden.select("email"), plan, Keyring((NEW,))).collect()
    with pytest.raises(PolicyError, match="nothing can be restored"):
        restore_plan(hidden.select("name"), plan, Keyring((OLD,)))


def test_text_that_is_no_ciphertext_stops_the_restoring_of_a_column(df: DataFrame) -> None:
    plan = plan_for(df, {"email": CHOSEN["email"]})
    with pytest.raises(Exception, match="holds text that is no ciphertext") as caught:
        restore_plan(df, plan, Keyring((OLD,))).collect()
    assert "ann@" not in str(caught.value)


def test_a_run_is_restored_into_a_new_private_folder(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from twinlake import pipeline
    from twinlake.core.config import parse_config

    emails = [f"person{n}@corp.com" for n in range(300)]
    pq.write_table(pa.table({"email": emails, "n": list(range(300))}), tmp_path / "people.parquet")
    monkeypatch.setenv("TWINLAKE_TEST_KEY", OLD.material.hex())
    run = tmp_path / "run"
    references = {"pseudonyms": "env:TWINLAKE_TEST_KEY"}
    policy = {"rules": [{"column": "email", "transform": "encrypt"}]}
    source, holdout = {"path": str(tmp_path / "people.parquet")}, {"fraction": 0}
    config = {"run": {"dir": str(run)}, "source": source, "holdout": holdout, "policy": policy, "keys": references}
    pipeline.run(parse_config(config), spark, last="transform")
    out = tmp_path / "restored"
    with pytest.raises(KeyReferenceError):
        restore_run(run, out, {}, spark)
    with pytest.raises(ConfigError, match="inside the run folder"):
        restore_run(run, run / "restored", references, spark)
    monkeypatch.setenv("TWINLAKE_WRONG_KEY", NEW.material.hex())
    with pytest.raises(DataError, match="not among the keys given"):
        restore_run(run, out, {"pseudonyms": "env:TWINLAKE_WRONG_KEY"}, spark)
    assert not out.exists() and not list(tmp_path.glob(".restored*"))
    assert restore_run(run, out, references, spark) == (300, ["email"])
    assert (out.stat().st_mode & 0o777) == 0o700
    assert sorted(pq.read_table(out)["email"].to_pylist()) == sorted(emails)
    with pytest.raises(ConfigError, match="exists already"):
        restore_run(run, out, references, spark)


def test_a_dry_run_prints_what_would_change_and_writes_no_plan(spark: SparkSession, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from twinlake import pipeline
    from twinlake.core.config import parse_config

    pq.write_table(pa.table({"email": [f"p{n}@corp.com" for n in range(300)], "n": list(range(300))}), tmp_path / "t.parquet")
    run = tmp_path / "run"

    def config(transform: str) -> Any:
        policy = {"rules": [{"column": "email", "transform": transform}]}
        return parse_config({"run": {"dir": str(run)}, "source": {"path": str(tmp_path / "t.parquet")}, "policy": policy})

    first = pipeline.dry_run(config("redact"), spark).splitlines()
    assert first[:4] == ["--- the table as it is", "+++ policy", "- email: string, keep", "+ email: string, redact"]
    assert not (run / "plan.yaml").exists()
    pipeline.run(config("redact"), spark, last="plan")
    before = (run / "plan.yaml").read_text()
    second = pipeline.dry_run(config("hash"), spark).splitlines()
    hashed = '+ email: string, hash {"domain": "EMAIL_ADDRESS"}'
    assert second[:4] == ["--- plan.yaml", "+++ policy", "- email: string, redact", hashed]
    assert "  n: bigint, keep" in second
    assert (run / "plan.yaml").read_text() == before
