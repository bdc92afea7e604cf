"""The command `twinlake`: reads arguments into a config, runs the line up to a stage, prints what came of it.

Exit codes: 0 done, 2 the request is wrong, 3 the data is, 4 writing failed (run again to resume), 70 a bug, 130 and 143
interrupted. Errors are one line on stderr and never carry a cell value: of an unexpected exception only its type and
the places in the code are shown. Knows of stages only their names; Spark, Ray and torch load when one runs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from twinlake.core.errors import DataError, TwinlakeError, UserError

SUFFIXES = (".parquet", ".csv", ".json", ".jsonl", ".orc", ".tsv", ".gz")
BUG, INTERRUPTED, TERMINATED = 70, 130, 143

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
  twinlake verify runs/customers-twin                is every artifact what the run wrote?

\b
Stages, in order: profile, classify, plan, transform, (encode), train, generate, evaluate, report. A stage verb runs
the line up to its stage; what is finished already and unchanged isn't done again.

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
    typer.Argument(metavar="SOURCE", help="A path (Parquet, CSV, JSON, ORC) or a catalog table name, 1 to 3 parts."),
]
_Rows = Annotated[int | None, typer.Option("--rows", help="How many synthetic rows; default: as many as SOURCE has.")]
_Target = Annotated[str | None, typer.Option("--target", help="Column that a classifier should predict (report).")]
_Holdout = Annotated[str | None, typer.Option("--holdout", help="Path of your own holdout; default: 10% split off.")]
_Name = Annotated[str | None, typer.Option("--name", help="Name of the run; artifacts go to runs/NAME.")]
_File = Annotated[str | None, typer.Option("--config", metavar="FILE", help="YAML file; see `twinlake schema`.")]
_Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting: train.epochs=20.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what Spark and Ray print, and where a bug is.")]
_RunDir = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder, such as runs/customers-twin.")]


@dataclass
class _Invocation:
    """What the error boundary has to know of the running command."""

    verbose: bool = False
    log: Path | None = None


_now = _Invocation()


def _forget() -> None:
    _now.verbose, _now.log = False, None


class _Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt it passes through `except Exception`."""


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
    def planning(
        source: _Source = None,
        rows: _Rows = None,
        target: _Target = None,
        holdout: _Holdout = None,
        name: _Name = None,
        config: _File = None,
        settings: _Set = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change, and write no plan.")] = False,
        quiet: _Quiet = False,
        verbose: _Verbose = False,
    ) -> None:
        arguments = _arguments(source, rows, target, holdout, name)
        _run_line(stage, arguments, config, settings or [], quiet, verbose, dry_run)

    def command(
        source: _Source = None,
        rows: _Rows = None,
        target: _Target = None,
        holdout: _Holdout = None,
        name: _Name = None,
        config: _File = None,
        settings: _Set = None,
        quiet: _Quiet = False,
        verbose: _Verbose = False,
    ) -> None:
        arguments = _arguments(source, rows, target, holdout, name)
        _run_line(stage, arguments, config, settings or [], quiet, verbose)

    work = planning if stage == "plan" else command
    app.command(stage, help=text + _EXAMPLE.format(stage, example).rstrip(), short_help=text.partition(":")[0])(work)


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
    from twinlake.core.config import load_config

    _now.verbose = verbose
    if not (run_dir / "run.json").is_file():
        raise UserError(f"no run folder at {run_dir}; runs are in runs/<name> unless run.dir says otherwise")
    from twinlake.tables.run_folder import RunFolder

    settled = load_config(config, settings or [], base=RunFolder(run_dir.absolute()).state().get("config", {}))
    _require_java()
    from twinlake.tables.quiet import quiet_jvm

    with quiet_jvm(_engine_log(verbose)):
        from twinlake.transform.restore import restore_run

        rows, names = restore_run(run_dir, out, settled.keys)
    print(f"{out}: {rows:,} rows, restored: {', '.join(names)}")


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
        path = _is_path(source)
        given["source"] = {"path": source if path else None, "table": None if path else source}
    for section, key, value in (
        ("generate", "rows", rows),
        ("evaluate", "target", target),
        ("holdout", "source", holdout),
        ("run", "name", name),
    ):
        if value is not None:
            given[section] = {key: value}
    return given


def _is_path(source: str) -> bool:
    """Whether SOURCE is a path; else it is the name of a catalog table."""
    return "/" in source or source.lower().endswith(SUFFIXES) or Path(source).exists()


def _run_line(
    stage: str,
    arguments: dict[str, Any],
    file: str | None,
    settings: list[str],
    quiet: bool,
    verbose: bool,
    dry_run: bool = False,
) -> None:
    from twinlake.core.config import load_config

    _now.verbose = verbose
    config = load_config(file, settings, arguments=arguments)
    if config.source.path is None and config.source.table is None:
        raise UserError(f"no source: name a path or a table, such as `twinlake {stage} customers.parquet`")
    _require_java()
    from twinlake.core.progress import opened
    from twinlake.tables.quiet import quiet_jvm

    with quiet_jvm(_engine_log(verbose)) as visible, opened(quiet, visible) as progress:
        from twinlake import pipeline

        if dry_run:
            text = pipeline.dry_run(config, progress=progress)
        else:
            result = pipeline.run(config, progress=progress, last="report" if stage == "run" else stage)
            text = result.summary() if stage == "run" else pipeline.describe(result.run_dir, stage)
    print(text)


def _engine_log(verbose: bool) -> Path | None:
    """A new file for what Spark and Ray print; None where it should be seen."""
    if not verbose:
        descriptor, path = tempfile.mkstemp(prefix="twinlake-", suffix=".log")
        os.close(descriptor)
        _now.log = Path(path)
    return _now.log


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
    _quiet_environment()
    _forget()
    before = _on_sigterm(_raise_terminated)
    code = BUG
    try:
        code = _guarded(arguments)
    finally:
        _on_sigterm(before)
        if _now.log is not None and code != BUG:
            _now.log.unlink(missing_ok=True)
    return code


def _guarded(arguments: list[str]) -> int:
    """The error boundary: every way out becomes an exit code, and at most one kind of line on stderr."""
    try:
        returned = app(args=arguments, prog_name="twinlake", standalone_mode=False)
        if returned == INTERRUPTED:  # how typer answers Ctrl-C
            raise KeyboardInterrupt
        return returned if isinstance(returned, int) else 0
    except TwinlakeError as error:
        _say_error(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _say_error("interrupted; run again to go on from the last finished part")
        return INTERRUPTED
    except _Terminated:
        _say_error("terminated; run again to go on from the last finished part")
        return TERMINATED
    except SystemExit as end:  # Ray answers SIGTERM with sys.exit(15)
        return TERMINATED if end.code == signal.SIGTERM else end.code if isinstance(end.code, int) else BUG
    except BrokenPipeError:
        _close_stdout()
        return 0
    except Exception as error:
        return _refuse_usage(error) if hasattr(error, "format_message") else _say_bug(error)


def _refuse_usage(error: Any) -> int:
    """Of the argument parser's errors (typer brings its own copy of click, so they're told by shape)."""
    message = str(error.format_message())
    if "\n" in message.strip():  # no verb: the help itself
        print(message)
    else:
        path = error.ctx.command_path if getattr(error, "ctx", None) else "twinlake"
        _say_error(f"{message.rstrip('.')}; see {path} --help")
    return UserError.exit_code


def _say_error(message: str) -> None:
    for line in message.splitlines() or [""]:
        shown = "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode("ascii") for ch in line)
        print(f"error: {shown}", file=sys.stderr)


def _say_bug(error: BaseException) -> int:
    """Type and places, never the message: it may hold a cell value."""
    frames = traceback.extract_tb(error.__traceback__)
    log = f"; engine log: {_now.log}" if _now.log is not None else ""
    more = "" if _now.verbose else "; --verbose shows where"
    _say_error(f"this is a bug in twinlake, an unexpected {type(error).__name__}{more}{log}")
    if _now.verbose:
        for frame in frames:
            print(f"  {frame.filename}:{frame.lineno} in {frame.name}", file=sys.stderr)
    return BUG


def _raise_terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _on_sigterm(handler: Any) -> Any:
    """Sets the handler of SIGTERM and returns the one before; outside the main thread nothing changes."""
    with suppress(ValueError):
        return signal.signal(signal.SIGTERM, handler)
    return signal.SIG_DFL


def _close_stdout() -> None:
    """Keeps the interpreter from complaining at exit that nobody reads stdout any more."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _quiet_environment() -> None:
    """Settings that Ray, torch and Spark read when they load; what the user has set stays."""
    for name, value in (
        ("PYSPARK_PYTHON", sys.executable),
        ("PYSPARK_DRIVER_PYTHON", sys.executable),
        ("RAY_USAGE_STATS_ENABLED", "0"),
        ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"),
        ("GLOG_minloglevel", "2"),
        ("TORCH_CPP_LOG_LEVEL", "ERROR"),
        ("MPLBACKEND", "Agg"),
    ):
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    main()
