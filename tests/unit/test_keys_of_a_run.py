"""A run without a configured key: random keys that are written nowhere, and what happens when its transform is redone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twinlake.core.errors import KeyReferenceError
from twinlake.core.progress import Silent
from twinlake.tables.run_folder import RunFolder
from twinlake.transform.columns import ColumnPlan
from twinlake.transform.plan import Plan
from twinlake.transform.protect import _identity, _keys_of_run


class Told(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def plan_of(transform: str, synthesis: Any) -> Plan:
    return Plan((ColumnPlan("a", "string", True, None, transform, {}, "string", synthesis, ""),))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "plan.yaml").write_text("a plan")
    return RunFolder(tmp_path)


def test_random_keys_differ_and_are_told_and_written_nowhere(folder: RunFolder) -> None:
    told = Told()
    one, other = (_keys_of_run(folder, plan_of("hash", "model"), {}, told, True) for _ in range(2))
    assert one.ephemeral and one.keys[0].material != other.keys[0].material
    assert "no key is configured" in told.lines[0]
    assert not [f for f in folder.root.rglob("*") if f.is_file() and one.keys[0].material.hex() in f.read_text()]


def test_redoing_a_transform_whose_pseudonyms_were_learned_is_refused(folder: RunFolder) -> None:
    folder.update(own_key_for=_identity(folder))
    with pytest.raises(KeyReferenceError, match=r"pseudonyms of a .* set keys\.pseudonyms"):
        _keys_of_run(folder, plan_of("hash", "model"), {}, Silent(), True)
    told = Told()
    assert _keys_of_run(folder, plan_of("fake", "surrogate"), {}, told, True).ephemeral  # fakes are not learned
    assert "made anew, with another key" in told.lines[0]
    assert _keys_of_run(folder, plan_of("hash", "model"), {}, Silent(), False).ephemeral  # all is done again
    (folder / "plan.yaml").write_text("another plan")
    assert _keys_of_run(folder, plan_of("hash", "model"), {}, Silent(), True).ephemeral  # and so here


def test_a_configured_key_or_no_keyed_transform_asks_nothing(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.update(own_key_for=_identity(folder))
    monkeypatch.setenv("TWINLAKE_TEST_KEY", "ab" * 16 + "cd" * 16)
    keys = _keys_of_run(folder, plan_of("hash", "model"), {"pseudonyms": "env:TWINLAKE_TEST_KEY"}, Silent(), True)
    assert not keys.ephemeral
    assert _keys_of_run(folder, plan_of("redact", "constant"), {}, Silent(), True).keys == ()
