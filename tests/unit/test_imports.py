"""`import twinlake` is light, rooms import one way, and the engine's code keeps its promises."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[2] / "engine"
PACKAGE = ENGINE / "twinlake"
MODULES = sorted(PACKAGE.rglob("*.py"))
# a room may import the rooms before it
ROOMS = ["core", "tables", "profile", "classify", "transform", "models", "train", "generate", "evaluate", "pipeline", "sweep"]
HEAVY = ("pyspark", "ray", "torch", "pandas", "sklearn", "matplotlib")
IN_TASKS = ("twinlake.profile.profile", "twinlake.models.encode")  # every Python worker of Spark imports these
BANNED_ATTRIBUTES = {
    "sparkContext": "absent on Connect",
    "_jvm": "absent on Connect",
    "_jsc": "absent on Connect",
    "rdd": "absent on Connect",
    "toPandas": "collects and changes types",
    "mapInPandas": "changes a BIGINT beside a null, fails on years 0001 and 9999",
    "applyInPandas": "holds a whole group in memory",
}
BANNED_CALLS = {"eval": "runs text", "exec": "runs text", "__import__": "runs text"}
BANNED_IMPORTS = {"pickle", "cloudpickle", "joblib", "marshal", "dill", "shelve"}


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("module", ["twinlake", "twinlake.cli", "twinlake.core.config", *IN_TASKS])
def test_importing_is_light(module: str) -> None:
    code = f"import json, sys, {module};print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ENGINE)
    assert json.loads(done.stdout) == []


def test_a_verb_stays_one_when_the_room_of_its_name_is_imported() -> None:
    code = """
import twinlake.classify.spans, twinlake.evaluate.results, twinlake.sweep.space, twinlake
print([callable(getattr(twinlake, name)) for name in twinlake.__all__] * 2)
import cloudpickle
assert cloudpickle.loads(cloudpickle.dumps(twinlake)) is twinlake
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ENGINE)
    assert "False" not in done.stdout and "True" in done.stdout


def _imported(tree: ast.Module, package: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{package}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_rooms_import_one_way(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room not in ROOMS:  # __init__ and cli are the outside
        return
    for name in _imported(ast.parse(path.read_text(encoding="utf-8")), _name(path)):
        parts = name.split(".")
        if parts[0] != "twinlake" or len(parts) < 2 or parts[1].startswith("__"):
            continue
        assert parts[1] in ROOMS, f"{_name(path)} imports {name}, which is outside the rooms"
        assert ROOMS.index(parts[1]) <= ROOMS.index(room), f"{_name(path)} imports {name}: against the direction"


def _offences(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Attribute) and node.attr in BANNED_ATTRIBUTES:
            found.append(f"line {line}: .{node.attr} ({BANNED_ATTRIBUTES[node.attr]})")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
            found.append(f"line {line}: {node.func.id}() ({BANNED_CALLS[node.func.id]})")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "sql" and node.args and isinstance(node.args[0], ast.JoinedStr | ast.BinOp):
                found.append(f"line {line}: .sql() of a text put together")
            pickled = [k for k in node.keywords if k.arg == "allow_pickle" and getattr(k.value, "value", True)]
            if pickled or ast.unparse(node.func) in ("torch.load", "yaml.load", "torch.save"):
                found.append(f"line {line}: {ast.unparse(node.func)} can run code")
    roots = {name.split(".")[0] for name in _imported(tree, "")}
    return found + [f"imports {name}" for name in sorted(roots & BANNED_IMPORTS)]


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_engine_code_keeps_its_promises(path: Path) -> None:
    assert _offences(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "spark.sparkContext",
        "df.rdd.map(f)",
        "df.toPandas()",
        "eval(x)",
        "import pickle",
        "from joblib import load",
        "spark.sql(f'select {x}')",
        "spark.sql('select ' + x)",
        "np.load(p, allow_pickle=True)",
        "torch.load(p)",
    ],
)
def test_the_check_sees_an_offence(code: str) -> None:
    assert _offences(ast.parse(code))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_files_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text)) or not text.strip()
