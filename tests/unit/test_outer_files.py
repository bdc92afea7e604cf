"""Around the engine: the Dockerfile holds its promises, jobs are short and well named, no file names a registry."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "jobs" / "notebooks").glob("*.py"))
VERBS = ["classify", "evaluate", "generate", "plan", "profile", "report", "restore", "run", "sweep", "train", "transform"]


def _instructions() -> list[tuple[str, str]]:
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def test_dockerfile_parses_and_keeps_its_promises() -> None:
    instructions = _instructions()
    words = [word for word, _ in instructions]
    known = {"ARG", "FROM", "ENV", "SHELL", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT", "CMD"}
    assert set(words) <= known
    stages = [rest for word, rest in instructions if word == "FROM"]
    assert len(stages) == 2
    assert all(":" in stage and ":latest" not in stage for stage in stages)
    users = [rest for word, rest in instructions if word == "USER"]
    assert users and users[-1] not in ("root", "0")
    assert ("ARG", "TORCH=cpu") in instructions
    runs = " ".join(rest for word, rest in instructions if word == "RUN")
    assert "openjdk-17-jre-headless" in runs
    assert runs.count("pip install") == runs.count("-c constraints.txt") == 2
    assert words[-2:] == ["ENTRYPOINT", "CMD"]


def test_dockerfile_copies_only_what_the_build_context_has() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignore[0] == "*"
    sent = {line[1:] for line in ignore if line.startswith("!")}
    for word, rest in _instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert source in sent
                assert (ROOT / source).exists()


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_dockerfile_lints() -> None:
    done = subprocess.run(["hadolint", str(ROOT / "docker" / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["Makefile", ".ci/run", "docker/Dockerfile", "pyproject.toml", "constraints.txt"])
def test_no_file_names_a_package_registry(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"index[-_]url|find[-_]links|trusted[-_]host|https?://(pypi|download\.pytorch)", text)


def test_every_verb_has_a_job() -> None:
    verbs = [re.search(r'main\(\["(\w+)"', job.read_text(encoding="utf-8")) for job in JOBS]
    assert sorted(verb[1] for verb in verbs if verb) == VERBS
    assert len(verbs) == len(VERBS)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_jobs_are_short_and_shadow_no_module(job: Path) -> None:
    text = job.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 15
    assert ast.get_docstring(ast.parse(text))
    assert job.stem not in sys.stdlib_module_names
    assert "_" in job.stem
    if job.stem != "run_pipeline":
        return
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "engine")}
    done = subprocess.run([sys.executable, str(job), "--help"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0
    assert "Usage: twinlake run" in done.stdout


def _defined(file: Path) -> set[str]:
    """The functions and constants of a module."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    constants = [t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
    return {n.name for n in body if isinstance(n, ast.FunctionDef)} | set(constants)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebooks_are_python_in_source_format_and_find_what_they_import_from_bench(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    assert text.startswith("# Databricks notebook source\n")
    for node in ast.walk(ast.parse(text)):
        file = ROOT / "bench" / f"{node.module}.py" if isinstance(node, ast.ImportFrom) else None
        if file is not None and file.is_file():
            assert {alias.name for alias in node.names} <= _defined(file)  # type: ignore[attr-defined]


def test_bundled_adult_is_what_its_readme_says(adult_path: str) -> None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(adult_path)
    assert (table.num_rows, table.num_columns) == (48_842, 15)
    counts = {str(row["values"]): row["counts"] for row in pc.value_counts(table["income"]).to_pylist()}
    assert counts == {"<=50K": 37_155, ">50K": 11_687}
    assert sum(column.null_count for column in table.columns) == 0
    readme = (Path(adult_path).parent / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in readme
    assert "Becker" in readme
