"""The command `twinlake`: reads arguments into a config, runs the line up to a stage, prints what came of it.

Knows of stages only their names; Spark, Ray and torch load when one runs. How it ends is core/boundary.py.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from twinlake.core.boundary import engine_log, guarded
from twinlake.core.errors import DataError, UserError

SUFFIXES = (".parquet", ".csv", ".json", ".jsonl", ".orc", ".tsv", ".gz")

app = typer.Typer(
    name="twinlake",
    help="""Makes a synthetic twin of a table: same columns, same statistics, no real rows.

\b
Examples:
  twinlake run customers.parquet                     a twin with as many rows, in runs/customers-twin
  twinlake run sales.orders --rows 1000000           a catalog table, a million rows
  twinlake run people.csv --target income            also: how well does a classifier learn from the twin?
  twinlake profile people.csv                        one stage alone: statistics of each column
  twinlake plan people.csv --config team.yaml        what would happen to each column, to review and edit
  twinlake sweep team.yaml                           other settings, tried for the best score
  twinlake drift runs/monday runs/tuesday            what has moved between two runs or two tables?
  twinlake verify runs/customers-twin                is every artifact what the run wrote?

\b
Stages, in order: profile, classify, plan, transform, (encode), train, generate, evaluate, report. A stage verb runs
the line up to its stage; what is finished already and unchanged isn't done again. SOURCE can be a run folder: the
run goes on there, with the settings that it was made with and those given now.

\b
Exit codes: 0 done, 2 wrong request, 3 wrong data, 4 writing failed (run again to resume), 70 bug.
""",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_Source = Annotated[
    str | None,
    typer.Argument(metavar="SOURCE", help="A path (Parquet, CSV, JSON, ORC), a catalog table, or a run folder to go on with."),
]
_Rows = Annotated[int | None, typer.Option("--rows", help="How many synthetic rows; default: as many as SOURCE has.")]
_Target = Annotated[str | None, typer.Option("--target", help="Column that a classifier should predict (report).")]
_Holdout = Annotated[str | None, typer.Option("--holdout", help="Path of your own holdout; default: 10% split off.")]
_Name = Annotated[str | None, typer.Option("--name", help="Name of the run; artifacts go to runs/NAME.")]
_File = Annotated[str | None, typer.Option("--config", metavar="FILE", help="YAML file; see `twinlake schema`.")]
_FailUnder = Annotated[
    list[str] | None,
    typer.Option("--fail-under", metavar="METRIC=LIMIT", help="End with exit code 3 if worse: quality_score=80."),
]
_Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting: train.epochs=20.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="plan: print what would change. run: what it will cost. Nothing is transformed.")
]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what Spark and Ray print, and where a bug is.")]
_RunDir = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder, such as runs/customers-twin.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"twinlake {version('twinlake')}")
        raise typer.Exit()


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    pass


_EXAMPLE = """

\b
Example: twinlake {} customers.parquet {}"""


def _stage_command(stage: str, text: str, example: str) -> None:
    def command(
        source: _Source = None,
        rows: _Rows = None,
        target: _Target = None,
        holdout: _Holdout = None,
        name: _Name = None,
        config: _File = None,
        settings: _Set = None,
        fail_under: _FailUnder = None,
        dry_run: _DryRun = False,
        quiet: _Quiet = False,
        verbose: _Verbose = False,
    ) -> None:
        from twinlake.core.config import load_config

        made_with = _made_with(source)
        arguments = _arguments(None if made_with else source, rows, target, holdout, name)
        limits = [f"evaluate.fail_under.{limit}" for limit in fail_under or []]
        _run_line(stage, load_config(config, [*(settings or []), *limits], made_with, arguments), quiet, verbose, dry_run)

    help_ = text + _EXAMPLE.format(stage, example).rstrip()
    app.command(stage, help=help_, short_help=text.partition(":")[0])(command)


for _stage, _text, _more in (
    ("run", "Make a twin of SOURCE: the whole line, from profile to report.", "--rows 100000 --target churn"),
    ("profile", "Statistics of each column: type, nulls, distinct, range, frequent values (never rare ones).", ""),
    ("classify", "Find personal data: an entity and its evidence for each column.", "--set classify.sample_rows=50000"),
    ("plan", "Decide what happens to each column: plan.yaml, to review and edit.", "--set policy=team.yaml"),
    ("transform", "Apply the plan: the protected table, without any modelling.", ""),
    ("train", "Fit the generative model with Ray Train.", "--set train.max_minutes=30"),
    ("generate", "Write the synthetic rows as Parquet.", "--rows 1000000"),
    ("evaluate", "Measure the twin: how like the original, how private.", "--target churn"),
    ("report", "Write report.html: one page that opens offline.", ""),
):
    _stage_command(_stage, _text, _more)


@app.command(
    help="Try other settings of the line for the best score: those that the section sweep of CONFIG names."
    + _EXAMPLE.format("sweep", "--trials 40 evaluate.target=churn").replace("customers.parquet", "team.yaml"),
    short_help="Try other settings of the line for the best score.",
)
def sweep(
    file: Annotated[str, typer.Argument(metavar="CONFIG", help="YAML file with a section sweep; see docs/sweep.md.")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings: train.workers=2.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="How many settings are tried; default: sweep.trials.")] = None,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Runs the trials and prints the table."""
    from twinlake.core.config import load_config
    from twinlake.core.progress import opened

    config = load_config(file, settings or [], arguments={} if trials is None else {"sweep": {"trials": trials}})
    _require_source(config, f"{file}: name a path or a table under `source`")
    with _engines(verbose) as visible, opened(quiet, visible) as progress:
        from twinlake.sweep.sweep import sweep as run_sweep

        text = run_sweep(config, progress=progress).summary()
    print(text)


@app.command(
    help="Check a run's artifacts against its manifests; exit code 3 names what is damaged.",
    short_help="Check a run's artifacts against its manifests.",
)
def verify(run_dir: _RunDir) -> None:
    """Names damaged artifacts."""
    from twinlake import pipeline

    if not run_dir.is_dir():
        raise UserError(f"no run folder at {run_dir}; runs are in runs/<name> unless run.dir says otherwise")
    damaged = pipeline.verify(run_dir)
    if damaged:
        raise DataError(f"{run_dir}: {len(damaged)} damaged: {', '.join(damaged)}")
    print(f"{run_dir}: every artifact is what the run wrote")


@app.command(
    help="Turn what a run encrypted back into values, given its key: real data, in a new folder."
    + _EXAMPLE.format("restore", "--out people.parquet").replace("customers.parquet", "runs/customers-twin"),
    short_help="Turn what a run encrypted back into values, given its key.",
)
def restore(
    run_dir: _RunDir,
    out: Annotated[Path, typer.Option("--out", help="New folder for the restored rows (Parquet, mode 0700).")],
    config: _File = None,
    settings: _Set = None,
    verbose: _Verbose = False,
) -> None:
    """Restores the protected table of a run."""
    settled = _config_of(run_dir, config, settings)
    with _engines(verbose):
        from twinlake.transform.restore import restore_run

        rows, names = restore_run(run_dir, out, settled.keys)
    print(f"{out}: {rows:,} rows, restored: {', '.join(names)}")


@app.command(
    help="Complete the rows of SOURCE by a run's model: nulls are filled in and missing columns added, each row given all "
    "that it has." + _EXAMPLE.format("impute", "gaps.parquet --out full").replace("customers.parquet", "runs/customers-twin"),
    short_help="Fill in the nulls and missing columns of a table by a run's model.",
)
def impute(
    run_dir: _RunDir,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A path or a catalog table; its other columns are kept.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the completed rows (Parquet, mode 0700).")],
    keep_nulls: Annotated[bool, typer.Option("--keep-nulls", help="A null is a value: only add missing columns.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another number gives other draws.")] = 7,
    config: _File = None,
    settings: _Set = None,
    verbose: _Verbose = False,
) -> None:
    """Completes rows by the model of a run."""
    settled = _config_of(run_dir, config, settings, source=_source(source))
    with _engines(verbose):
        from twinlake.generate.complete import complete_run

        rows, names = complete_run(run_dir, settled.source, out, seed, not keep_nulls)
    print(f"{out}: {rows:,} rows, completed: {', '.join(names) or 'nothing was missing'}")


@app.command(
    help="How far SECOND has moved from FIRST, two run folders or two tables: column by column and pair by pair, beside what "
    "chance does; exit code 3 if --fail-over is passed."
    + _EXAMPLE.format("drift", "--fail-over worst_column=0.1").replace("customers.parquet", "runs/monday runs/tuesday"),
    short_help="How far a table has moved from another: two runs or two days.",
)
def drift(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="A run folder, a path, or a catalog table.")],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="What is compared with it, of the same sort.")],
    where_first: Annotated[str | None, typer.Option("--where-first", metavar="SQL", help="Rows of the first table.")] = None,
    where_second: Annotated[str | None, typer.Option("--where-second", metavar="SQL", help="Rows of the second one.")] = None,
    twins: Annotated[
        bool, typer.Option("--twins", help="Compare the twins of the runs, not what they were made from.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for drift.json and drift.md; made if missing.")] = None,
    fail_over: Annotated[
        list[str] | None,
        typer.Option("--fail-over", metavar="NUMBER=LIMIT", help="worst_column, worst_pair, mean_column or mean_pair."),
    ] = None,
    verbose: _Verbose = False,
) -> None:
    """Prints what moved."""
    from twinlake.evaluate.drift import limits_of

    limits = limits_of(fail_over or [])
    with _engines(verbose):
        from twinlake.core.config import load_config
        from twinlake.evaluate.drift_tables import Side, drift_of

        def side(name: str, where: str | None) -> Side:
            return Side(name, load_config(base={"source": {**_source(name), "where": where}}).source)

        found = drift_of(side(first, where_first), side(second, where_second), twins)
    if out is not None:
        found.save(out)
    print(found.to_text())
    if missed := found.failed(limits):
        raise DataError("--fail-over: " + "; ".join(missed))


@app.command(
    help="Attack the guarantee of a run with privacy.epsilon: train its model again, on rows of the twin and canaries, and "
    "tell from the model which of them were there; exit code 3 if its claim is false."
    + _EXAMPLE.format("audit", "--canaries 2000").replace("customers.parquet", "runs/customers-twin"),
    short_help="Attack the guarantee of a run with privacy.epsilon.",
)
def audit(
    run_dir: _RunDir,
    canaries: Annotated[
        int, typer.Option("--canaries", min=20, help="How many made-up rows; half of them are trained on.")
    ] = 1000,
) -> None:
    """Prints what the attack found."""
    if not (run_dir / "model" / "model.json").is_file():
        raise UserError(f"no model in {run_dir}; make one with `twinlake run`, with privacy.epsilon and privacy.unit set")
    from twinlake.train.audit_run import audit_run

    found = audit_run(run_dir.absolute(), canaries)
    print(found.to_text())
    if not found.holds:
        raise DataError(f"{run_dir}: the guarantee does not hold; report this with the run's model.json")


def _config_of(run_dir: Path, file: str | None, settings: list[str] | None, **arguments: Any) -> Any:
    """The config that a run was made with, and what is asked for now on top of it."""
    from twinlake.core.config import load_config
    from twinlake.tables.run_folder import RunFolder

    if not (run_dir / "run.json").is_file():
        raise UserError(f"no run folder at {run_dir}; runs are in runs/<name> unless run.dir says otherwise")
    made_with = RunFolder(run_dir.absolute()).state().get("config", {})
    return load_config(file, settings or [], base={**made_with, **arguments})


@contextmanager
def _engines(verbose: bool) -> Iterator[Any]:
    """Around work on Spark: Java is there, and what the engines print goes to a file unless it should be seen."""
    _require_java()
    from twinlake.tables.quiet import quiet_jvm

    with quiet_jvm(engine_log(verbose)) as visible:
        yield visible


@app.command(help="Print the JSON Schema of the config, for editors.")
def schema() -> None:
    """Prints the schema."""
    from twinlake.core.config import Config

    print(json.dumps(Config.model_json_schema(), indent=2))


def _arguments(
    source: str | None, rows: int | None, target: str | None, holdout: str | None, name: str | None
) -> dict[str, Any]:
    """The part of a config that the short options stand for."""
    given: dict[str, Any] = {}
    if source is not None:
        given["source"] = _source(source)
    for section, key, value in (
        ("generate", "rows", rows),
        ("evaluate", "target", target),
        ("holdout", "source", holdout),
        ("run", "name", name),
    ):
        if value is not None:
            given[section] = {key: value}
    return given


def _source(source: str) -> dict[str, str | None]:
    """SOURCE is a path, or else the name of a catalog table."""
    path = "/" in source or source.lower().endswith(SUFFIXES) or Path(source).exists()
    return {"path": source if path else None, "table": None if path else source}


def _made_with(source: str | None) -> dict[str, Any] | None:
    """The config of the run whose folder SOURCE is, to go on with in that folder; None where SOURCE is a table."""
    if source is None or not Path(source, "run.json").is_file():
        return None
    try:
        made_with = json.loads(Path(source, "run.json").read_text(encoding="utf-8"))["config"]
    except (ValueError, KeyError, TypeError):
        return None  # rows in a file of that name
    return {**made_with, "run": {**made_with["run"], "dir": source}}


def _run_line(stage: str, config: Any, quiet: bool, verbose: bool, dry_run: bool) -> None:
    _require_source(config, f"name a path or a table, such as `twinlake {stage} customers.parquet`")
    if dry_run and stage not in ("run", "plan"):
        raise UserError(f"--dry-run is for run (what it will cost) and plan (what would change); leave it out of {stage}")
    from twinlake.core.progress import opened

    with _engines(verbose) as visible, opened(quiet, visible) as progress:
        from twinlake import pipeline

        if dry_run:
            text = pipeline.dry_run(config, progress=progress, cost=stage == "run")
        else:
            result = pipeline.run(config, progress=progress, last="report" if stage == "run" else stage)
            text = result.summary() if stage == "run" else pipeline.describe(result.run_dir, stage)
    print(text)


def _require_source(config: Any, remedy: str) -> None:
    if config.source.path is None and config.source.table is None:
        raise UserError(f"no source: {remedy}")


def _require_java() -> None:
    """A local session needs Java; where Spark is somewhere else (submitted, Connect, Databricks) nothing is asked."""
    if any(name in os.environ for name in ("PYSPARK_GATEWAY_PORT", "SPARK_REMOTE", "DATABRICKS_RUNTIME_VERSION")):
        return
    home = os.environ.get("JAVA_HOME")
    if shutil.which(os.path.join(home, "bin", "java") if home else "java") is None:
        where = "JAVA_HOME has no bin/java" if home else "no java on the PATH"
        raise UserError(f"Spark needs Java 17 or newer and there is none ({where}); install a JRE or set JAVA_HOME")


def main(arguments: list[str] | None = None) -> None:
    """The entry point of command, jobs and wheel tasks: returns when all is well, else exits with the code."""
    code = execute(sys.argv[1:] if arguments is None else arguments)
    if code:
        sys.exit(code)


def execute(arguments: list[str]) -> int:
    """Runs the command with `arguments` and returns its exit code."""
    return guarded(lambda: app(args=arguments, prog_name="twinlake", standalone_mode=False))


if __name__ == "__main__":
    main()
