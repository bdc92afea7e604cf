"""Applies a plan to a DataFrame: lazily, in one pass, with nothing collected and no setting changed.

What Spark can express without a key is a column expression; all the rest runs in one `mapInArrow` over the table, and
where nothing is left for it no Python runs. Columns are addressed by position, so names may hold dots, backticks or
differ by case only. Leading columns whose names start with `__twinlake_` pass through. Keys travel inside the function
that executors get and nowhere else: no plan, no setting and no literal holds them. A failure names column, row of the
batch and type, never a value: Spark carries Python errors to the driver as text. Knows nothing of how the plan was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from twinlake.core.errors import DataError, KeyReferenceError, PolicyError, TwinlakeError, escaped
from twinlake.core.keys import DEFAULT_KEY, Keyring
from twinlake.transform.columns import ColumnPlan
from twinlake.transform.plan import Plan
from twinlake.transform.plan_file import check_reads, check_table
from twinlake.transform.positions import Positions, quoted, spark_type
from twinlake.transform.transforms import TRANSFORMS, Context, Transform
from twinlake.transform.transforms.base import Apply, Faker
from twinlake.transform.transforms.conditional import SQL
from twinlake.transform.transforms.fake import faker_of, fits
from twinlake.transform.transforms.values import arrow_type, is_scalar

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

INTERNAL = "__twinlake_"

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Step:
    """How one output column is made from the batch's column at `position`. `function` None passes it through.

    `output`: its Spark type. `others`: of other columns that it looks at, the position in the batch.
    """

    position: int
    name: str
    function: Apply | None
    parameters: Mapping[str, Any]
    context: Context
    verb: str
    output: str
    nullable: bool
    others: Mapping[str, int] = field(default_factory=dict)


def apply_plan(
    df: DataFrame,
    plan: Plan,
    keys: Keyring,
    transforms: Mapping[str, Transform] | None = None,
    detectors: Mapping[str, Faker] | None = None,
) -> DataFrame:
    """`df` with each column transformed as planned, dropped columns and rows left out; lazy.

    Errors: PolicyError if `df` is not the plan's table or can't evaluate a condition, KeyReferenceError if a key is
    missing. While it runs, a failing cell raises DataError in the task, without the value.
    """
    known = TRANSFORMS if transforms is None else transforms
    schema = df.schema
    extra = _leading_internal(schema.names)
    check_table(plan.columns, [(f.name, f.dataType.simpleString()) for f in schema.fields[extra:]])
    _check_keys(plan, keys, known)
    check_reads(plan.columns, known, "plan")
    kept = [(at, column) for at, column in enumerate(plan.columns, start=extra) if column.transform != "drop"]
    if all(column.transform == "keep" for _, column in kept):
        return df.select(*[quoted(schema.names[p]) for p in [*range(extra), *(p for p, _ in kept)]])
    _check_fakes(plan, detectors)
    table = Positions(df, [e for _, c in kept for e in known[c.transform].reads(c.parameters)])
    for at, column in kept:
        if column.transform == "drop_row":
            table = table.without(at, column.parameters.get("where"))
    made = _natives(table, kept, known)
    if all(expression is not None for expression in made.values()):
        passed = [table.cell(at).alias(schema.names[at], metadata=schema.fields[at].metadata) for at in range(extra)]
        return table.df.select(*passed, *[expression for expression in made.values() if expression is not None])
    return _in_arrow(table, extra, kept, made, keys, known, detectors)


def _natives(
    table: Positions, kept: Sequence[tuple[int, ColumnPlan]], known: Mapping[str, Transform]
) -> dict[int, Column | None]:
    """Each column as an expression of Spark with the plan's type and nullability; None where there is none."""
    made: dict[int, Column | None] = {}
    for at, column in kept:
        native = known[column.transform].native
        context = column.context(transforms=known)
        cell = native(table.cell(at), column.parameters, context, table.expression) if native else None
        # a column that was declared to have no nulls is checked, batch by batch
        unchecked = column.transform == "keep" and table.schema.fields[at].nullable and not column.nullable
        metadata = table.schema.fields[at].metadata
        made[at] = None if cell is None or unchecked else cell.alias(column.name, metadata=metadata)
    # one look at the types of all: on a Connect session each look is a call
    shown = [(at, column, cell) for at, column in kept if (cell := made[at]) is not None and column.transform != "keep"]
    found = table.df.select(*[cell.alias(f"n{at}") for at, _, cell in shown]).schema.fields if shown else []
    for (at, column, _), field_ in zip(shown, found, strict=True):
        same = field_.nullable == column.nullable and field_.dataType.simpleString() == column.output_type
        if not same and column.transform != "sql":
            made[at] = None
    return made


def _in_arrow(
    table: Positions,
    extra: int,
    kept: Sequence[tuple[int, ColumnPlan]],
    made: Mapping[int, Column | None],
    keys: Keyring,
    known: Mapping[str, Transform],
    detectors: Mapping[str, Faker] | None,
) -> DataFrame:
    """One pass: columns that pass, and native ones unless Arrow is quicker, are computed before it, the others inside it."""
    columns: list[Column] = [table.cell(at) for at in range(extra)]
    steps = [_passed(at, table.schema.names[at], table.schema.fields[at].nullable) for at in range(extra)]
    sent: dict[str, int] = {}  # what steps may read, once for all of them
    for at, column in kept:
        expression = None if known[column.transform].quicker_in_arrow(column.parameters) else made[at]
        place = len(columns)
        columns.append(table.cell(at) if expression is None else expression)
        if expression is not None:
            steps.append(_passed(place, column.name, column.nullable or column.transform == "sql"))
        else:
            steps.append(_step(place, column, known, detectors))
            if not column.name.startswith(SQL):
                sent[column.name] = place
    for number, (step, read) in enumerate(_reading(steps, kept, known, extra)):
        places = {}
        for name in read:
            if name not in sent:
                sent[name] = len(columns)
                columns.append(table.named(name))
            places[name] = sent[name]
        steps[number] = replace(step, others=places)
    frame = table.df.select(*columns).toDF(*[f"c{place}" for place in range(len(columns))])
    types = [field.dataType for field in frame.schema.fields]
    metadata = [table.schema.fields[at].metadata for at in [*range(extra), *(at for at, _ in kept)]]
    return frame.mapInArrow(batch_function(steps, keys), _output_schema(types, steps, metadata))


def _reading(
    steps: Sequence[Step], kept: Sequence[tuple[int, ColumnPlan]], known: Mapping[str, Transform], extra: int
) -> list[tuple[Step, tuple[str, ...]]]:
    reads: list[tuple[str, ...]] = [()] * extra
    for step, (_, column) in zip(steps[extra:], kept, strict=True):
        wanted = known[column.transform].reads(column.parameters) if step.function is not None else ()
        reads.append(() if column.transform == "drop_row" else wanted)
    return list(zip(steps, reads, strict=True))


def batch_function(steps: Sequence[Step], keys: Keyring) -> BatchFunction:
    """The function for `mapInArrow`: each batch's columns by position, each through its step."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield transform_batch(batch, steps, keys)

    return run


def transform_batch(batch: pa.RecordBatch, steps: Sequence[Step], keys: Keyring) -> pa.RecordBatch:
    """One batch through `steps`. Errors: DataError naming column, row and type."""
    arrays = []
    for step in steps:
        others = {name: batch.column(place) for name, place in step.others.items()}
        arrays.append(_through(batch.column(step.position), step, keys, others))
    # an explicit schema: Spark 4 takes what it gets by position and does not cast it
    fields = [pa.field(step.name, array.type, step.nullable) for step, array in zip(steps, arrays, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _through(array: pa.Array, step: Step, keys: Keyring, others: Mapping[str, pa.Array]) -> pa.Array:
    failure: Exception | None = None
    try:
        out = _converted(array, step, keys, others)
    except Exception as error:  # any text of it may hold a value, so none of it leaves this function
        failure = error
    if failure is not None:
        raise DataError(_explain(failure, array, step, keys, others)) from None
    if not step.nullable and out.null_count:
        raise DataError(f"column {escaped(step.name)!r} allows no nulls, and {step.verb} made {out.null_count} in a batch")
    return out


def _converted(array: pa.Array, step: Step, keys: Keyring, others: Mapping[str, pa.Array]) -> pa.Array:
    if step.function is None:
        return array
    context = replace(step.context, others=others) if others else step.context
    out = step.function(array, step.parameters, keys, context)
    same = step.output == step.context.type and (step.verb != "restore" or not is_scalar(step.output))
    wanted = array.type if same else arrow_type(step.output)
    return out if out.type == wanted else out.cast(wanted)


def _explain(failure: Exception, array: pa.Array, step: Step, keys: Keyring, others: Mapping[str, pa.Array]) -> str:
    # our own errors are built without values; of any other only the class is told
    why = f": {failure}" if isinstance(failure, TwinlakeError) else f" ({type(failure).__name__})"

    def fails(row: int) -> bool:
        try:
            _converted(array.slice(row, 1), step, keys, {name: values.slice(row, 1) for name, values in others.items()})
        except Exception:  # which row fails is all that is asked
            return True
        return False

    row = next((row for row in range(len(array)) if fails(row)), None)
    place = f"row {row} of a batch of {len(array)}" if row is not None else f"a batch of {len(array)} rows"
    return f"column {escaped(step.name)!r} of type {escaped(step.context.type)}: {step.verb} failed at {place}{why}"


def _passed(position: int, name: str, nullable: bool) -> Step:
    return Step(position, name, None, {}, Context(name, ""), "keep", "", nullable)


def _step(
    position: int, column: ColumnPlan, transforms: Mapping[str, Transform], detectors: Mapping[str, Faker] | None
) -> Step:
    if column.transform == "keep":
        return _passed(position, column.name, column.nullable)
    transform = transforms[column.transform]
    context = column.context(detectors, None if transforms is TRANSFORMS else transforms)
    return Step(
        position,
        column.name,
        transform.apply,
        column.parameters,
        context,
        transform.name,
        column.output_type,
        column.nullable,
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
        if column.transform not in transforms:
            raise PolicyError(
                f"plan, column {escaped(column.name)!r}: unknown transform {escaped(column.transform)!r}; "
                f"known: {', '.join(transforms)}"
            )
        for step in column.steps(transforms):
            transform = transforms[step.transform]
            if not transform.keyed(step.parameters):
                continue
            name = str(step.parameters.get("key", DEFAULT_KEY))
            if transform.restore is not None and keys.ephemeral:
                raise KeyReferenceError(
                    f"column {escaped(column.name)!r} is to be encrypted, and no key is configured: nothing could "
                    f"restore it; add keys.{escaped(name)}: env:NAME to the config"
                )
            keys[name]  # raises with the fix where the key is missing


def _leading_internal(names: Sequence[str]) -> int:
    return next((index for index, name in enumerate(names) if not name.startswith(INTERNAL)), len(names))


def _output_schema(types: Sequence[Any], steps: Sequence[Step], metadata: Sequence[Mapping[str, Any]]) -> StructType:
    """The Spark schema of the result: the batch's types and comments, another type where a step says so."""
    from pyspark.sql.types import StructField, StructType

    fields = []
    for step, more in zip(steps, metadata, strict=True):
        source = types[step.position]
        changed = step.function is not None and (step.verb == "restore" or step.output != step.context.type)
        kind = spark_type(step.output) if changed and step.output != source.simpleString() else source
        fields.append(StructField(step.name, kind, step.nullable, dict(more)))
    return StructType(fields)
