"""What a run has to show: its result, its artifacts as readable text, and whether they are still what it wrote."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from twinlake.classify.labels import Labels
from twinlake.core.errors import DataError, escaped
from twinlake.core.text_tables import aligned
from twinlake.evaluate.evaluate import Evaluation
from twinlake.profile.types import Profile
from twinlake.tables.parts import file_hash, read_manifest, verify_folder
from twinlake.tables.run_folder import MARKER, RunFolder

TEXTS = ("profile.json", "labels.json", "labels.sql", "plan.yaml", "codec.json", "evaluation.json", "report.html", "report.md")
FOLDERS = ("protected", "model", "synthetic")


@dataclass(frozen=True)
class RunResult:
    """What `run` gives back. Values of stages that did not run yet are None."""

    run_dir: Path
    status: dict[str, str]
    score: float | None
    grade: str | None
    ceiling: float | None
    rows: int | None
    synthetic: str | None
    report: Path | None
    protection: str | None = None
    model_exposure: str | None = None

    def summary(self) -> str:
        """Plain text for the end of a run: the score, where things are, what to try next."""
        lines = []
        if self.score is not None:
            beside = f"; real holdout rows reach {self.ceiling:.1f}" if self.ceiling is not None else ""
            lines.append(f"score     {self.score:.1f} of 100, {self.grade}{beside}")
        if self.protection is not None:
            lines.append(f"privacy   {self.protection}")
        if self.model_exposure is not None:
            lines.append(f"          {self.model_exposure}")
        if self.synthetic is not None:
            lines.append(f"twin      {self.rows:,} rows in {_near(Path(self.synthetic))}")
        if self.report is not None:
            lines.append(f"report    {_near(self.report)}")
        changed = [s for s, what in self.status.items() if what == "done"]
        if not changed:
            lines.append("nothing to do: every stage was finished for these settings")
        elif self.report is not None:
            lines += [
                "next      open the report in a browser; review the decisions in " + str(_near(self.run_dir / "plan.yaml")),
                "          more rows: add --rows 1000000; other choices: twinlake run --help",
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.summary())}</pre>"


def result_of(folder: RunFolder, status: dict[str, str]) -> RunResult:
    """The result of the run in `folder`."""
    evaluation = folder / "evaluation.json"
    found = (
        Evaluation.from_json(evaluation.read_text(encoding="utf-8")) if evaluation.is_file() and "evaluate" in status else None
    )
    published = "generate" in status and folder.synthetic.is_dir()
    return RunResult(
        folder.root,
        status,
        found.score if found else None,
        found.grade if found else None,
        found.results["quality_score"].reference if found else None,
        read_manifest(folder.synthetic)["rows"] if published else None,
        str(folder.synthetic) if published else None,
        folder / "report.html" if "report" in status else None,
        found.protection if found else None,
        found.model_exposure if found else None,
    )


def describe(run_dir: str | Path, stage: str) -> str:
    """A stage's artifact as text that a person can read."""
    folder = RunFolder(Path(run_dir))
    if stage == "profile":
        return _profile_text(Profile.from_json((folder / "profile.json").read_text(encoding="utf-8")))
    if stage == "classify":
        return Labels.from_json((folder / "labels.json").read_text(encoding="utf-8")).to_table()
    if stage == "plan":
        return (folder / "plan.yaml").read_text(
            encoding="utf-8"
        ) + f"\n# edit {_near(folder / 'plan.yaml')} and go on: later stages follow it"
    if stage == "transform":
        return f"{read_manifest(folder.protected)['rows']:,} protected rows in {_near(folder.protected)}"
    if stage == "train":
        facts = json.loads((folder.model / "model.json").read_text())
        lines = [f"model in {_near(folder.model)}, trained on {facts['rows']:,} rows"]
        lines += [
            f"  step {h['step']:>6,}  train loss {h['train_loss']:8.3f}  validation loss {h['validation_loss']:8.3f}"
            for h in facts["history"]
        ]
        return "\n".join(lines)
    if stage == "generate":
        return f"{read_manifest(folder.synthetic)['rows']:,} synthetic rows in {_near(folder.synthetic)}"
    if stage == "evaluate":
        return Evaluation.from_json((folder / "evaluation.json").read_text(encoding="utf-8")).to_text()
    return f"report in {_near(folder / 'report.html')}"


def _profile_text(profile: Profile) -> str:
    head = ("column", "type", "kind", "nulls", "distinct", "min", "max", "mean", "most frequent")
    rows: list[tuple[str, ...]] = [head]
    for c in profile.columns:
        frequent = ", ".join(escaped(v) for v, _ in c.top[:3])
        cells = (
            escaped(c.name),
            c.type,
            c.kind,
            f"{c.nulls:,}",
            f"{c.distinct:,}",
            c.minimum,
            c.maximum,
            c.mean,
            frequent[:40],
        )
        rows.append(tuple("" if x is None else f"{x:.6g}" if isinstance(x, float) else str(x) for x in cells))
    return f"{profile.rows:,} rows\n{aligned(rows)}"


def _near(path: Path) -> Path:
    """The path as seen from here, where that is shorter."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def record_texts(folder: RunFolder) -> None:
    """Notes the hashes of the single-file artifacts in run.json, for `verify`."""
    folder.update(artifacts={name: file_hash(folder / name) for name in TEXTS if (folder / name).is_file()})


def verify(run_dir: str | Path) -> list[str]:
    """Names of artifacts that are missing or not what the run wrote. Errors: DataError when this is no run folder."""
    folder = RunFolder(Path(run_dir))
    if not (folder / MARKER).is_file():
        raise DataError(f"{escaped(str(run_dir))} is no run folder: it has no {MARKER}")
    state = folder.state()
    bad = [
        name
        for name, digest in state.get("artifacts", {}).items()
        if not (folder / name).is_file() or file_hash(folder / name) != digest
    ]
    done = Counter(stage for stage, entry in state.get("stages", {}).items() if entry.get("status") == "done")
    for name, stage in zip(FOLDERS, ("transform", "train", "generate"), strict=True):
        if done[stage]:
            try:
                bad += [str(Path(f).relative_to(folder.root)) for f in verify_folder(folder / name)]
            except DataError:
                bad.append(f"{name}: its manifest")
    if (folder / "augmented").is_dir():
        bad += [str(Path(f).relative_to(folder.root)) for f in verify_folder(folder / "augmented")]
    return bad


def versions() -> dict[str, str]:
    """Versions of what decides the result, without importing any of it."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("twinlake", "pyspark", "ray", "torch", "numpy", "pyarrow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
