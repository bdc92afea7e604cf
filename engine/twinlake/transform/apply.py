"""Applies a plan to a DataFrame: lazily, in one pass over Arrow batches, with nothing collected and no setting changed.

Columns are addressed by position, so names may hold dots, backticks or differ by case only. Leading columns whose names
start with `__twinlake_` pass through. Keys travel inside the function that executors get and nowhere else: no plan, no
setting and no literal holds them. A failure names column, row of the batch and type, never a value: Spark carries
Python errors to the driver as text. Knows nothing of how the plan was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from twinlake.core.errors import DataError, KeyReferenceError, PolicyError, TwinlakeError, escaped, nearest
from twinlake.core.keys import DEFAULT_KEY, Keyring
from twinlake.transform.plan import ColumnPlan, Plan
from twinlake.transform.plan_file import check_table
from twinlake.transform.transforms import TRANSFORMS, Context, Transform
from twinlake.transform.transforms.base import Apply, Faker
from twinlake.transform.transforms.encrypt import CIPHERTEXT, restore
from twinlake.transform.transforms.fake import faker_of, fits
from twinlake.transform.transforms.values import arrow_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

INTERNAL = "__twinlake_"

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Step:
    """How one output column is made from the batch's column at `position`. `function` None passes it through."""

    position: int
    name: str
    function: Apply | None
    parameters: Mapping[str, Any]
    context: Context
    verb: str
    becomes_text: bool
    nullable: bool


def apply_plan(
    df: DataFrame,
    plan: Plan,
    keys: Keyring,
    transforms: Mapping[str, Transform] | None = None,
    detectors: Mapping[str, Faker] | None = None,
) -> DataFrame:
    """`df` with each column transformed as planned, dropped columns left out; lazy.

    Errors: PolicyError if `df` is not the plan's table, KeyReferenceError if a key is missing. While it runs, a failing
    cell raises DataError in the task, without the value.
    """
    known = TRANSFORMS if transforms is None else transforms
    schema = df.schema
    extra = _leading_internal(schema.names)
    check_table(plan, [(f.name, f.dataType.simpleString()) for f in schema.fields[extra:]])
    _check_keys(plan, keys, known)
    kept = [
        (position, column) for position, column in enumerate(plan.columns, start=extra) if column.transform != "drop"
    ]
    if all(column.transform == "keep" for _, column in kept):
        return df.select(*[_quoted(schema.names[p]) for p in [*range(extra), *(p for p, _ in kept)]])
    _check_fakes(plan, detectors)
    steps = [_passed(position, schema.names[position], schema.fields[position].nullable) for position in range(extra)]
    steps += [_step(position, column, known, detectors) for position, column in kept]
    return _by_position(df, schema).mapInArrow(batch_function(steps, keys), _output_schema(schema, steps))


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
    if keys.ephemeral or not keys.keys:
        raise KeyReferenceError("restoring needs the key that encrypted; add its reference to the config under keys:")
    at = schema.names.index(column)
    steps = [_passed(position, field.name, field.nullable) for position, field in enumerate(schema.fields)]
    context = Context(column, output_type)
    steps[at] = Step(
        at, column, restore, {"domain": domain, "foreign": foreign}, context, "restore", output_type == "string", True
    )
    return _by_position(df, schema).mapInArrow(
        batch_function(steps, keys), _output_schema(schema, steps, {at: output_type})
    )


def count_foreign(df: DataFrame, column: str) -> int:
    """How many values of `column` are neither null, empty nor a ciphertext. Runs one aggregate."""
    from pyspark.sql import functions as F

    cell = F.col(_quoted(column))
    return int(df.where(cell.isNotNull() & (cell != "") & ~cell.rlike(CIPHERTEXT)).count())


def batch_function(steps: Sequence[Step], keys: Keyring) -> BatchFunction:
    """The function for `mapInArrow`: each batch's columns by position, each through its step."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield transform_batch(batch, steps, keys)

    return run


def transform_batch(batch: pa.RecordBatch, steps: Sequence[Step], keys: Keyring) -> pa.RecordBatch:
    """One batch through `steps`. Errors: DataError naming column, row and type."""
    arrays = [_through(batch.column(step.position), step, keys) for step in steps]
    # an explicit schema: Spark 4 takes what it gets by position and does not cast it
    fields = [pa.field(step.name, array.type, step.nullable) for step, array in zip(steps, arrays, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _through(array: pa.Array, step: Step, keys: Keyring) -> pa.Array:
    failure: Exception | None = None
    try:
        out = _converted(array, step, keys)
    except Exception as error:  # any text of it may hold a value, so none of it leaves this function
        failure = error
    if failure is not None:
        raise DataError(_explain(failure, array, step, keys)) from None
    if not step.nullable and out.null_count:
        raise DataError(
            f"column {escaped(step.name)!r} allows no nulls, and {step.verb} made {out.null_count} in a batch"
        )
    return out


def _converted(array: pa.Array, step: Step, keys: Keyring) -> pa.Array:
    if step.function is None:
        return array
    out = step.function(array, step.parameters, keys, step.context)
    wanted = pa.string() if step.becomes_text else _result_type(array, step)
    return out if out.type == wanted else out.cast(wanted)


def _result_type(array: pa.Array, step: Step) -> pa.DataType:
    if step.verb != "restore":
        return array.type
    return arrow_type(step.context.type)


def _explain(failure: Exception, array: pa.Array, step: Step, keys: Keyring) -> str:
    # our own errors are built without values; of any other only the class is told
    why = f": {failure}" if isinstance(failure, TwinlakeError) else f" ({type(failure).__name__})"
    row = next((row for row in range(len(array)) if _fails(array.slice(row, 1), step, keys)), None)
    place = f"row {row} of a batch of {len(array)}" if row is not None else f"a batch of {len(array)} rows"
    return f"column {escaped(step.name)!r} of type {escaped(step.context.type)}: {step.verb} failed at {place}{why}"


def _fails(array: pa.Array, step: Step, keys: Keyring) -> bool:
    try:
        _converted(array, step, keys)
    except Exception:  # which row fails is all that is asked
        return True
    return False


def _passed(position: int, name: str, nullable: bool) -> Step:
    return Step(position, name, None, {}, Context(name, ""), "keep", False, nullable)


def _step(
    position: int, column: ColumnPlan, transforms: Mapping[str, Transform], detectors: Mapping[str, Faker] | None
) -> Step:
    if column.transform == "keep":
        return _passed(position, column.name, column.nullable)
    transform = transforms[column.transform]
    entity = str(column.parameters.get("as") or column.entity)
    # of a caller's own detectors, only the one that the column needs travels with it
    own = None if detectors is None else {entity: detectors[entity]} if entity in detectors else {}
    text = transform.output == "string"
    context = column.context(own)
    return Step(
        position, column.name, transform.apply, column.parameters, context, transform.name, text, column.nullable
    )


def _check_fakes(plan: Plan, detectors: Mapping[str, Faker] | None) -> None:
    for column in plan.columns:
        if column.transform != "fake":
            continue
        faker = faker_of(column.parameters, column.context(detectors))
        if not fits(faker, column.type):
            raise PolicyError(
                f"plan, column {escaped(column.name)!r}: its surrogates are no values of type {escaped(column.type)}; "
                "use redact, hash or encrypt"
            )


def _check_keys(plan: Plan, keys: Keyring, transforms: Mapping[str, Transform]) -> None:
    for column in plan.columns:
        transform = transforms.get(column.transform)
        if transform is None:
            raise PolicyError(
                f"plan, column {escaped(column.name)!r}: unknown transform {escaped(column.transform)!r}; "
                f"known: {', '.join(transforms)}"
            )
        if not transform.keyed:
            continue
        name = str(column.parameters.get("key", DEFAULT_KEY))
        if transform.restore is not None and keys.ephemeral:
            raise KeyReferenceError(
                f"column {escaped(column.name)!r} is to be encrypted, and no key is configured: nothing could "
                "restore it; "
                f"add keys.{escaped(name)}: env:NAME to the config"
            )
        keys[name]  # raises with the fix where the key is missing


def _by_position(df: DataFrame, schema: StructType) -> DataFrame:
    # pyspark's mapInArrow resolves every column by name and fails on a backtick; the output schema has the real names
    return df.toDF(*[f"c{position}" for position in range(len(schema.names))])


def _leading_internal(names: Sequence[str]) -> int:
    return next((index for index, name in enumerate(names) if not name.startswith(INTERNAL)), len(names))


def _output_schema(schema: StructType, steps: Sequence[Step], types: Mapping[int, str] | None = None) -> StructType:
    """The Spark schema of the result: the source's types and comments, text where a step makes text."""
    from pyspark.sql.types import StringType, StructField, StructType

    fields = []
    for step in steps:
        source = schema.fields[step.position]
        kind = (
            StringType()
            if step.becomes_text
            else _spark_type(types[step.position])
            if types and step.position in types
            else source.dataType
        )
        fields.append(StructField(step.name, kind, step.nullable, source.metadata))
    return StructType(fields)


def _spark_type(name: str) -> Any:
    """The Spark type of a scalar simple string. Errors: PolicyError."""
    import re

    from pyspark.sql import types as T

    if match := re.fullmatch(r"decimal\((\d+),\s*(\d+)\)", name):
        return T.DecimalType(int(match[1]), int(match[2]))
    plain = (
        T.StringType, T.BooleanType, T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.FloatType, T.DoubleType,
        T.DateType, T.TimestampType, T.TimestampNTZType,
    )  # fmt: skip
    for kind in plain:
        if kind().simpleString() == name:
            return kind()
    raise PolicyError(
        f"a ciphertext can't become {escaped(name)!r}; output_type is one of "
        f"{', '.join(k().simpleString() for k in plain)}, decimal(p,s)"
    )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
