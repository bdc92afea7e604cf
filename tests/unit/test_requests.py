"""What a run refuses before any work, and what it leaves behind when there is nothing to do. No Spark is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twinlake import pipeline
from twinlake.core.config import Config, parse_config
from twinlake.core.errors import ConfigError, TableError
from twinlake.tables.source import check_request


def config_of(folder: Path, **sections: Any) -> Config:
    (folder / "t.csv").write_text("a\n1\n")
    return parse_config({"run": {"dir": str(folder / "runs" / "t")}, "source": {"path": str(folder / "t.csv")}, **sections})


@pytest.mark.parametrize(
    ("keep", "last", "stays"), [(False, "report", False), (True, "report", True), (False, "generate", True)]
)
def test_what_is_private_goes_also_where_nothing_is_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool, last: str, stays: bool
) -> None:
    config = config_of(tmp_path)
    config = config.model_copy(update={"run": config.run.model_copy(update={"keep_private": keep})})
    private = tmp_path / "runs" / "t" / "private"
    private.mkdir(parents=True)
    (private.parent / "run.json").write_text("{}")
    monkeypatch.setattr(pipeline, "stages_to_run", lambda *_: [])
    monkeypatch.setattr(pipeline, "result_of", lambda folder, status: status)
    assert set(pipeline.run(config, last=last).values()) == {"unchanged"}
    assert private.exists() == stays


@pytest.mark.parametrize("output", ["runs/t/synthetic", "runs/t", "runs", "."])
def test_an_output_in_or_around_the_run_folder_is_refused(tmp_path: Path, output: str) -> None:
    config = parse_config({"source": {"table": "sales.orders"}})
    wanted = config.model_copy(update={"output": config.output.model_copy(update={"path": str(tmp_path / output)})})
    with pytest.raises(ConfigError, match=r"output\.path .* overlaps run\.dir"):
        check_request(wanted, tmp_path / "runs" / "t")
    check_request(config, tmp_path / "runs" / "t")


@pytest.mark.parametrize(
    ("source", "output", "refused"),
    [
        ("main.sales.orders", "main.sales.orders", True),
        ("sales.orders", "main.sales.ORDERS", True),
        ("orders", "`sales`.`orders`", True),  # whose schema is the current one can't be known yet
        ("sales.orders", "sales.orders_twin", False),
        ("sales.orders", "twins.orders", False),
    ],
)
def test_an_output_table_that_may_be_the_source_is_refused(tmp_path: Path, source: str, output: str, refused: bool) -> None:
    config = parse_config({"source": {"table": source}, "output": {"table": output, "mode": "overwrite"}})
    if not refused:
        check_request(config, tmp_path / "run")
        return
    with pytest.raises(ConfigError, match=r"output\.table .* source\.table"):
        check_request(config, tmp_path / "run")


def test_a_name_of_an_output_table_that_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"output\.table 'my-twin'"):
        check_request(config_of(tmp_path, output={"table": "my-twin"}), tmp_path / "run")
