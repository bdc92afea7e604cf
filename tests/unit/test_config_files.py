"""conf/: warehouse.yaml lists every key with its default and one comment, and every file there is one that loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from twinlake.core.config import Config, load_config
from twinlake.core.strict_yaml import read_yaml

CONF = Path(__file__).resolve().parents[2] / "conf"


def _keys(model: type[BaseModel], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        found.append((*path, name))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _keys(field.annotation, (*path, name))
    return found


def test_warehouse_lists_every_key_with_its_default_and_one_comment() -> None:
    text = (CONF / "warehouse.yaml").read_text(encoding="utf-8")
    data, lines = read_yaml(text, "conf/warehouse.yaml")
    assert data == Config().model_dump()
    assert sorted(lines) == sorted(_keys(Config))
    for key, line in lines.items():
        assert re.search(r"\S\s+# \S", text.splitlines()[line - 1]), f"{'.'.join(key)} has no comment"


def test_quickstart_loads_and_names_the_bundled_table() -> None:
    config = load_config(CONF / "quickstart.yaml")
    assert config.source.path is not None
    assert (CONF.parent / config.source.path).is_file()


def test_every_key_has_a_description_in_the_schema() -> None:
    schema = Config.model_json_schema()
    for name, section in schema["$defs"].items():
        for key, value in section["properties"].items():
            assert value.get("description"), f"{name}.{key}"
        assert section["additionalProperties"] is False


def test_spark_settings_carry_no_secret_and_redact_names_that_spark_leaves_readable() -> None:
    lines = (CONF / "spark-defaults.conf").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))
    pattern = re.compile(settings["spark.redaction.regex"])
    for name in (
        "spark.x.password",
        "spark.apikey",
        "spark.api.key",
        "spark.passphrase",
        "spark.master.key",
        "a.token",
    ):
        assert pattern.search(name), name


@pytest.fixture(scope="module")
def bundle() -> dict[str, object]:
    """The Databricks bundle."""
    loaded: dict[str, object] = yaml.safe_load((CONF / "databricks" / "databricks.yml").read_text(encoding="utf-8"))
    return loaded


def test_databricks_tasks_name_entry_points_that_exist(bundle: dict[str, object]) -> None:
    import tomllib

    project = tomllib.loads((CONF.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tasks = bundle["resources"]["jobs"]["twin"]["tasks"]  # type: ignore[index]
    for task in tasks:
        wheel = task["python_wheel_task"]
        assert wheel["package_name"] == project["name"]
        assert wheel["entry_point"] in project["scripts"]
    artifact = bundle["artifacts"]["default"]  # type: ignore[index]
    assert (CONF / "databricks" / artifact["path"] / "pyproject.toml").resolve().is_file()
