"""The config refuses what it doesn't know and says what, where and what would do (C01 to C04, C13, C16)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twinlake.core.config import Config, config_hash, dump_config, load_config, parse_config
from twinlake.core.errors import ConfigError

REFUSED = {
    "C01 unknown key": ("train:\n  epochz: 3\n", ["line 2", "train.epochz", "did you mean 'epochs'"]),
    "C01 unknown head": ("run: {seed: 1}\nsorce: {path: a}\n", ["line 2", "sorce", "did you mean 'source'"]),
    "C02 negative": ("train:\n  epochs: -1\n", ["line 2", "train.epochs", "greater than 0", "-1 (int)"]),
    "C02 zero rows": ("generate: {rows: 0}\n", ["line 1", "generate.rows", "greater than or equal to 1", "0 (int)"]),
    "C02 not a number": ("train: {max_minutes: .nan}\n", ["line 1", "finite", "nan (float)"]),
    "C02 endless": ("train: {max_minutes: 1e999}\n", ["line 1", "finite", "inf (float)"]),
    "C02 text for a number": ("run:\n  seed: seven\n", ["line 2", "run.seed", "integer", "'seven' (str)"]),
    "C02 number for text": ("holdout: {by: 3}\n", ["holdout.by", "string", "3 (int)"]),
    "C02 number for a switch": ("run: {resume: 1}\n", ["run.resume", "boolean", "1 (int)"]),
    "C02 value for a section": ("train: 5\n", ["line 1", "train", "5 (int)"]),
    "C02 not in the list": ("model: {size: xl}\n", ["'auto', 's', 'm' or 'l'", "'xl'"]),
    "C02 item of a list": ("source:\n  columns:\n    - a\n    - 3\n", ["line 4", "source.columns.1", "3 (int)"]),
    "C02 out of range": ("holdout: {fraction: 0.9}\n", ["holdout.fraction", "less than or equal to 0.5", "0.9"]),
    "C03 duplicate": ("run: {seed: 1}\nrun: {seed: 2}\n", ["line 2", "duplicate key run"]),
    "C04 underscore": ("generate: {rows: 1_000}\n", ["generate.rows", "integer or 'source'", "'1_000' (str)"]),
    "C04 leading zero": ("generate: {rows: 010}\n", ["generate.rows", "'010' (str)"]),
    "C04 exponent": ("generate: {rows: 1e6}\n", ["generate.rows", "1000000.0 (float)"]),
    "C04 NO": ("generate: {rows: NO}\n", ["generate.rows", "YAML read the boolean false"]),
    "C04 yes as a share": ("evaluate: {fail_under: {auc: yes}}\n", ["evaluate.fail_under.auc", "boolean true"]),
    "C16 negative seed": ("run: {seed: -1}\n", ["run.seed", "greater than or equal to 0"]),
    "C16 large seed": ("run: {seed: 9223372036854775808}\n", ["run.seed", "less than 9223372036854775808"]),
    "N12 run name as a path": ("run:\n  name: ../../etc\n", ["line 2", "run.name", "a-z, 0-9 and '-'"]),
    "N12 run name with a newline": ('run: {name: "a\\n"}\n', ["run.name", "a-z, 0-9 and '-'"]),
    "bfloat16 of texts": ("{model: {family: language}, generate: {precision: bfloat16}}\n", ["generate.precision", "tabular"]),
    "a budget for an llm": (
        "{model: {family: llm}, privacy: {epsilon: 1, unit: row}}\n",
        ["model.family: llm", "can't be used with privacy.epsilon", "tabular, marginal or language"],
    ),
    "two sources": ("source: {path: a.csv, table: a.b}\n", ["either path or table"]),
}


def _refused(text: str, tmp_path: Path) -> str:
    file = tmp_path / "team.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    return str(caught.value)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    text, parts = REFUSED[case]
    message = _refused(text, tmp_path)
    for part in [*parts, "team.yaml"]:
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("reference", ["c2VjcmV0", "secret", "env:", "env:1A", "file:", "secret://scope", "vault:x", ""])
def test_c13_a_key_in_the_config_is_refused_and_not_shown(reference: str, tmp_path: Path) -> None:
    message = _refused(f"keys:\n  pseudonyms: '{reference}'\n", tmp_path)
    assert "pseudonyms: must be a reference (env:NAME, file:path or secret://scope/key), never a key" in message
    assert "c2VjcmV0" not in message


def test_c13_a_key_of_another_type_is_not_shown(tmp_path: Path) -> None:
    message = _refused("keys: {pseudonyms: 31415926535}\n", tmp_path)
    assert "keys.pseudonyms" in message
    assert "31415926535" not in message


def test_every_problem_is_named(tmp_path: Path) -> None:
    message = _refused("run: {seed: x}\ntrain: {epochz: 1, workers: 0}\n", tmp_path)
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "run.seed",
        "train.workers",
        "unknown key train.epochz (did you mean 'epochs'?); allowed here",
    ]


def test_hostile_names_stay_on_their_line(tmp_path: Path) -> None:
    message = _refused('"a\\n2026-01-01 ERROR fake": 1\n', tmp_path)
    assert "\n" not in message
    assert "a\\n2026-01-01 ERROR fake" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"\xff\xfe", "not UTF-8"), (b"a: 1\n" * 250_000, "at most 1000000"), (None, "no config file at")],
)
def test_unreadable_files(content: bytes | None, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "team.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        load_config(file)


def test_precedence(tmp_path: Path) -> None:
    file = tmp_path / "team.yaml"
    file.write_text("run: {seed: 2, name: from-file}\ntrain: {epochs: 2, workers: 2}\n", encoding="utf-8")
    config = load_config(
        file,
        ["train.epochs=4"],
        base={"run": {"seed": 1, "keep_private": True}},
        arguments={"run": {"name": "from-arguments"}, "train": {"epochs": 3}},
    )
    assert (config.run.keep_private, config.run.seed, config.run.name) == (True, 2, "from-arguments")
    assert (config.train.workers, config.train.epochs) == (2, 4)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epochz=3", "--set train.epochz: unknown key train.epochz (did you mean 'epochs'?)"),
        ("train.epochs=x", "--set train.epochs: train.epochs: must be a valid number or 'auto'; got 'x' (str)"),
        ("seed", "must be dotted.key=value"),
        ("=5", "must be dotted.key=value"),
        ("run.seed=[1", "not valid YAML"),
        ("run.seed=!!python/name:os.system", "YAML tags"),
    ],
)
def test_overrides_name_themselves(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    assert expected in str(caught.value)


def test_override_values_are_yaml() -> None:
    config = load_config(None, ["source.where=country = 'FR'", "holdout.by=[a, b]", "train.max_minutes=", "run.seed=11"])
    assert config.source.where == "country = 'FR'"
    assert config.holdout.by == ["a", "b"]
    assert config.train.max_minutes is None
    assert config.run.seed == 11


def test_one_protected_column_is_a_list_of_one() -> None:
    settings = load_config(None, ["evaluate.protected=sex", "evaluate.positive=1"]).evaluate
    assert (settings.protected, settings.positive) == (["sex"], "1")
    assert load_config(None, ["evaluate.protected=[sex, age]"]).evaluate.protected == ["sex", "age"]
    with pytest.raises(ConfigError, match=r"evaluate\.protected"):
        load_config(None, ["evaluate.protected=3"])


@pytest.mark.parametrize("values", [{}, {"source": {"path": "a.csv"}}, {"generate": {"conditions": {"é": [None, 1, "x"]}}}])
def test_round_trip(values: dict[str, Any], tmp_path: Path) -> None:
    config = parse_config(values)
    file = tmp_path / "resolved.yaml"
    file.write_text(dump_config(config), encoding="utf-8")
    assert load_config(file) == config
    assert config_hash(load_config(file)) == config_hash(config)


def test_a_notebook_value_that_is_not_plain_is_refused() -> None:
    with pytest.raises(ConfigError, match="text, numbers, booleans"):
        load_config(base={"run": {"seed": object()}})


def test_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().run.seed = 3


def test_pieces_of_texts_must_fit_sixteen_bits() -> None:
    assert load_config(overrides=["model.language.vocab_size=65000"]).model.language.vocab_size == 65_000
    with pytest.raises(ConfigError, match=r"model\.language\.vocab_size: must be less than or equal to 65000"):
        load_config(overrides=["model.language.vocab_size=70000"])
