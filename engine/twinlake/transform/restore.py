"""Restores what a plan hid reversibly: ciphertexts of columns, inside text and in nested leaves, given the key.

Fails closed: without every key that the plan names nothing is read, and a changed ciphertext, another domain or an
unknown key stops the job. Nothing is ever restored to a wrong value, except after FF1, which can't tell. What was faked,
hashed, redacted or shifted stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twinlake.core.errors import ConfigError, DataError, KeyReferenceError, PolicyError, escaped, nearest
from twinlake.core.keys import Keyring, resolve_keys
from twinlake.tables.new_folder import check_new_folder, write_new_folder
from twinlake.transform.apply import Step, batch_function
from twinlake.transform.columns import ColumnPlan
from twinlake.transform.plan import Plan
from twinlake.transform.positions import quoted, spark_type
from twinlake.transform.transforms import TRANSFORMS, Context, Inner
from twinlake.transform.transforms.encrypt import CIPHERTEXT, restore

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def restore_plan(df: DataFrame, plan: Plan, keys: Keyring) -> DataFrame:
    """`df`, a table protected by `plan`, with every reversible column restored to its type; lazy.

    Columns that `df` lacks are left out, others pass. Errors: KeyReferenceError, PolicyError if nothing is reversible.
    """
    planned = {column.name: column for column in plan.kept}
    found = {name: step for name, column in planned.items() if (step := reversible(column)) and name in df.columns}
    if not found:
        raise PolicyError(
            "the plan encrypts no column of this table, so nothing can be restored; fakes and hashes have no way back"
        )
    needed = {name: planned[name].keys(TRANSFORMS) for name in found}
    _check_keys(needed, keys)
    schema = df.schema
    steps = []
    for at, field in enumerate(schema.fields):
        if field.name not in found:
            steps.append(_passed(at, field.name, field.nullable))
            continue
        column, inner = planned[field.name], found[field.name]
        parameters = dict(inner.parameters)
        if inner.transform == "encrypt" and column.transform == "encrypt":
            parameters["foreign"] = "error"
        back = TRANSFORMS[inner.transform].restore
        steps.append(Step(at, field.name, back, parameters, column.context(), "restore", column.type, column.nullable))
    return _mapped(df, steps, keys)


def reversible(column: ColumnPlan) -> Inner | None:
    """The transform of a column that can be undone, or None: its own, or that of the rows which it changed."""
    steps = list(column.steps(TRANSFORMS))
    if not any(step.transform == "encrypt" for step in steps):
        return None
    outer = steps[0]
    if TRANSFORMS[outer.transform].restore is not None:
        return outer
    if outer.transform not in ("when", "drop_row"):
        return None
    return next(step for step in steps if step.transform == "encrypt")


def restore_column(
    df: DataFrame,
    column: str,
    keys: Keyring,
    *,
    domain: str,
    output_type: str = "string",
    foreign: Literal["keep", "null", "error"] = "keep",
) -> DataFrame:
    """`df` with the ciphertexts of `column` turned back into values of `output_type`; lazy.

    `domain` is the one in the plan. `foreign` says what becomes of text that is no ciphertext (`count_foreign` counts
    it). A changed ciphertext, another domain or an unknown key fails the task; nothing is ever restored to a wrong
    value.
    """
    schema = df.schema
    if column not in schema.names:
        raise PolicyError(f"the table has no column {escaped(column)!r}{nearest(column, schema.names)}")
    _check_keys({}, keys)
    at = schema.names.index(column)
    steps = [_passed(position, field.name, field.nullable) for position, field in enumerate(schema.fields)]
    parameters = {"domain": domain, "foreign": foreign}
    steps[at] = Step(at, column, restore, parameters, Context(column, output_type), "restore", output_type, True)
    return _mapped(df, steps, keys)


def count_foreign(df: DataFrame, column: str) -> int:
    """How many values of `column` are neither null, empty nor a ciphertext. Runs one aggregate."""
    from pyspark.sql import functions as F

    cell = F.col(quoted(column))
    return int(df.where(cell.isNotNull() & (cell != "") & ~cell.rlike(CIPHERTEXT)).count())


def restore_run(
    run_dir: Path, out: Path, references: Mapping[str, str], spark: SparkSession | None = None
) -> tuple[int, list[str]]:
    """Restores the protected rows of a run into a new Parquet folder `out`, mode 0700. Returns the number of rows and the
    restored columns. `spark`: the session to use, else the active one or one for this call.

    Errors: the tree of core/errors.py. Nothing is written unless every key is at hand, and nothing stays after a failure.
    """
    plan_path = run_dir / "plan.yaml"
    if not plan_path.is_file() or not (run_dir / "protected").is_dir():
        raise ConfigError(
            f"{escaped(str(run_dir))} has no protected table; run `twinlake transform` first, or name another run"
        )
    plan = Plan.from_yaml(plan_path.read_text(encoding="utf-8"), str(plan_path))
    if not references:
        raise KeyReferenceError("restoring needs the key that encrypted; add its reference, such as keys.pseudonyms: env:NAME")
    keys = resolve_keys(references)
    check_new_folder(out, apart_from=run_dir)
    from twinlake.tables.parts import part_files, read_parquet, verify_folder
    from twinlake.tables.session import open_session, stop_session
    from twinlake.tables.spark_errors import spark_errors

    if damaged := verify_folder(run_dir / "protected"):
        raise DataError(f"{len(damaged)} parts of the protected table are damaged or missing; run `twinlake transform` again")
    for column in plan.kept:
        for name in column.keys(TRANSFORMS) if reversible(column) else ():
            keys[name]  # before a session starts
    own = spark or open_session()
    try:
        with spark_errors("restore"):
            restored = restore_plan(read_parquet(own.read, part_files(run_dir / "protected")), plan, keys)
            write_new_folder(restored, out)
            rows = int(read_parquet(own.read, [out]).count())
    finally:
        stop_session(own)
    return rows, [column.name for column in plan.kept if reversible(column)]


def _check_keys(needed: Mapping[str, set[str]], keys: Keyring) -> None:
    if keys.ephemeral or not keys.keys:
        raise KeyReferenceError("restoring needs the key that encrypted; add its reference to the config under keys:")
    for names in needed.values():
        for name in sorted(names):
            keys[name]  # raises with the fix where the key is missing


def _passed(position: int, name: str, nullable: bool) -> Step:
    return Step(position, name, None, {}, Context(name, ""), "keep", "", nullable)


def _mapped(df: DataFrame, steps: list[Step], keys: Keyring) -> DataFrame:
    from pyspark.sql.types import StructField, StructType

    fields = []
    for step, source in zip(steps, df.schema.fields, strict=True):
        same = step.function is None or step.output == source.dataType.simpleString()
        kind: Any = source.dataType if same else spark_type(step.output)
        fields.append(StructField(step.name, kind, step.nullable, source.metadata))
    frame = df.toDF(*[f"c{position}" for position in range(len(steps))])
    return frame.mapInArrow(batch_function(steps, keys), StructType(fields))
