"""The NER extra: names and places in text where it is installed, a clear error where it is not."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pyarrow as pa
import pytest

from twinlake import pipeline
from twinlake.classify import ner
from twinlake.classify.classify import classify_arrow, classify_table
from twinlake.core.config import Config, load_config
from twinlake.core.errors import ConfigError, DataError, PolicyError, UserError
from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Context
from twinlake.transform.transforms.spans import SPANS

NOTES = ["I met John Smith in Chicago and he paid with 4111 1111 1111 1111", "the parcel is late", None]
INSTALL = r'pip install "twinlake\[ner\]"'


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def none(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name.split(".", maxsplit=1)[0] in ("spacy", ner.MODEL) else found(name, package)

    ner._model.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", none)


@pytest.fixture
def extra() -> None:
    for name in ("spacy", ner.MODEL):
        pytest.importorskip(name, reason="the extra twinlake[ner] is not installed")


def test_the_switch_is_a_boolean_and_off() -> None:
    assert Config().classify.ner is False
    for wrong in ("1", "'true'"):
        with pytest.raises(ConfigError, match=r"classify\.ner"):
            load_config(overrides=[f"classify.ner={wrong}"])


@pytest.mark.usefixtures("absent")
def test_without_the_extra_the_driver_says_what_to_install(tmp_path: Path) -> None:
    class NoSpark:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"Spark was asked for {name}")

    with pytest.raises(UserError, match=INSTALL):
        classify_table(NoSpark(), ner=True)  # type: ignore[arg-type]
    config = load_config(
        arguments={
            "classify": {"ner": True},
            "source": {"path": str(tmp_path / "absent.csv")},
            "run": {"dir": str(tmp_path / "run")},
        }
    )
    with pytest.raises(UserError, match=INSTALL):
        pipeline.run(config, NoSpark())  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=INSTALL):
        SPANS.check({"ner": True}, "rule")
    with pytest.raises(UserError, match=INSTALL):
        ner.find_spans_ner(pa.array(NOTES))


@pytest.mark.usefixtures("absent")
def test_without_the_extra_all_else_works() -> None:
    assert classify_arrow(pa.table({"note": NOTES})).columns[0].contains == {"CREDIT_CARD": 0.5}
    assert SPANS.check({"ner": False}, "rule") is not None


@pytest.mark.usefixtures("extra")
def test_text_is_said_to_contain_names_and_places() -> None:
    contains = classify_arrow(pa.table({"note": NOTES}), ner=True).columns[0].contains
    assert contains == {"CREDIT_CARD": 0.5, "LOCATION": 0.5, "PERSON": 0.5}


@pytest.mark.usefixtures("extra")
def test_the_transform_changes_names_and_places() -> None:
    parameters = SPANS.check({"ner": True}, "rule")
    out = SPANS.apply(pa.array(NOTES), parameters, Keyring({}), Context("note", "string")).to_pylist()
    assert out == ["I met <PERSON> in <LOCATION> and he paid with <CREDIT_CARD>", *NOTES[1:]]


@pytest.mark.usefixtures("extra")
def test_long_texts_are_searched_to_the_end() -> None:
    text = "it was late again " * 3000 + "and then John Smith came"
    spans = ner.find_spans_ner(pa.array([text])).to_pylist()
    assert [text[s["start"] : s["end"]] for s in spans if s["entity"] == "PERSON"] == ["John Smith"]


@pytest.mark.usefixtures("extra")
def test_an_error_of_the_model_holds_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str, document: object) -> object:
        raise ValueError(text)

    monkeypatch.setattr(ner, "_candidates", broken)
    with pytest.raises(DataError, match="detector NER failed on a text: ValueError") as error:
        ner.find_spans_ner(pa.array(["CANARY-7f3a"]))
    assert "CANARY" not in str(error.value)
