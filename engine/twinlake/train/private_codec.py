"""The encode stage of a run with a privacy budget: a codec from noisy counts alone, and the token shards.

Three questions are asked of the protected rows, by Spark, and answered with noise: which values are frequent, in which public
cells the numbers lie, and how many lie in finer ones. All else is public and stands in the ledger by name: the schema, kinds
and decimals of the profile, labels, the plan, the number of rows, and what the config declares. Relations between columns,
times since others, periods and patterns of keys are not looked for.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from twinlake.core.config import Config
from twinlake.core.errors import ConfigError, in_quotes, nearest
from twinlake.core.privacy_config import PrivacyConfig
from twinlake.models.codec import Codec
from twinlake.models.column import ColumnCodec
from twinlake.models.encode import column_of, encode_folder
from twinlake.models.fitting import parsed
from twinlake.profile.partials import as_text
from twinlake.profile.statistics import Column, frame_of_tasks
from twinlake.tables.parts import read_manifest, read_part, write_text
from twinlake.tables.run_folder import RunFolder
from twinlake.train.accounting import Release, smallest_sigma
from twinlake.train.ledger import LEDGER, Budget, Ledger, delta_of
from twinlake.train.noise import noisy_counts
from twinlake.train.private_cells import (
    Floats,
    category,
    finished,
    number_domain,
    public_cells,
    refined,
    threshold,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from twinlake.transform.plan import Plan

PREPARATION = 0.1  # of the budget, in precision (1 / sigma^2); training has the rest
OF_DELTA = 0.1  # of delta, for values that pass their threshold by chance
QUESTIONS = {"frequent values": 0.4, "ranges of numbers": 0.2, "histograms of numbers": 0.4}
MAX_ATOMS = 128
KEPT_SHARE = 0.5
SHARES = "shares.npz"
COUNTED = "column int, value string, rows bigint"
KEYS = [{"weight": 1, "positions": ["0123456789abcdef"] * 16}]
PUBLIC = {
    "rows": "how many rows the table and its train part have",
    "schema": "names, types and order of columns, and which allow null",
    "kinds": "which columns hold keys, categories, numbers, times or text",
    "decimals": "how many decimal places numbers have",
    "labels": "which personal data each column holds",
    "plan": "what happens to each column, and its parameters",
}


def encode_privately(
    spark: SparkSession, folder: RunFolder, plan: Plan, decimals: Mapping[str, int | None], config: Config
) -> str:
    """What `encode_run` writes, within the budget of `config.privacy`, whose ledger it begins; returns a line.

    Errors: ConfigError (a nested column, `privacy.public` of no column)."""
    privacy, columns = config.privacy, tuple(column_of(c) for c in plan.kept)
    rows = read_manifest(folder.protected)["rows"]
    assert privacy.epsilon is not None and privacy.unit is not None
    budget = Budget(privacy.epsilon, delta_of(privacy.delta, rows), privacy.unit, privacy.rows_per_unit, rows)
    public = PUBLIC | {f"privacy.public.{name}": "its values, as declared" for name in privacy.public}
    folder.private.mkdir(mode=0o700, exist_ok=True)
    ledger = Ledger.begin(folder / LEDGER, budget, public)
    scratch = folder.private / "measured"
    codec, shares = private_codec(spark, folder.protected, columns, decimals, privacy, ledger, scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    write_text(folder / "codec.json", codec.to_json())
    with (folder.private / SHARES).open("wb") as file:
        np.savez(file, *shares)
    ledger.show()
    # exact counts, for an evaluation that is not for release: nothing of them is trained on
    encode_folder(spark, folder.protected, folder / "codec.json", folder.encoded).save(folder.private / "pairs.npz")
    holdout = encode_folder(spark, folder.holdout, folder / "codec.json", folder.private / "holdout-tokens", shards=False)
    holdout.save(folder.private / "holdout.npz")
    return f"{len(codec.sizes)} tokens a row, {sum(codec.sizes):,} values, from noisy counts (epsilon {ledger.spent():.2g})"


@dataclass(frozen=True)
class Prepared:
    """What a family trains from besides the shards: the ledger, and the noisy share of each value of each token."""

    ledger: Ledger
    shares: list[Floats]


def prepared_of(folder: RunFolder) -> Prepared:
    """What `encode_privately` left."""
    with np.load(folder.private / SHARES, allow_pickle=False) as held:
        return Prepared(Ledger.open(folder / LEDGER), [held[f"arr_{token}"] for token in range(len(held.files))])


def private_codec(
    spark: SparkSession,
    table: Path,
    columns: tuple[Column, ...],
    decimals: Mapping[str, int | None],
    privacy: PrivacyConfig,
    ledger: Ledger,
    scratch: Path,
) -> tuple[Codec, list[Floats]]:
    """The codec of the published parts in `table`, and the share of each value of each token; all of it paid from `ledger`."""
    manifest, budget = read_manifest(table), ledger.budget
    files = [str(table / part["file"]) for part in manifest["parts"]]
    schema = pq.read_schema(files[0])
    own = _Columns(columns, decimals, privacy)
    numbers, asked = own.numbers, list(QUESTIONS) if own.numbers else list(QUESTIONS)[:1]
    sigma = preparation_sigma(budget) * math.sqrt(sum(QUESTIONS[q] for q in asked))
    most, left = budget.max_rows_per_unit, OF_DELTA * budget.delta

    def ask(question: str, over: int, delta: float = 0.0) -> float:
        """Notes a question of `over` columns; the deviation of the noise of its counts, in rows."""
        own_sigma = sigma / math.sqrt(QUESTIONS[question])
        deviation = own_sigma * most * math.sqrt(max(1, over))
        ledger.spend(Release(question, own_sigma, delta=delta), columns=over, deviation=round(deviation, 1))
        return deviation

    deviation = ask(asked[0], len(own.counted), left)
    least = max(threshold(deviation, most, most * len(own.counted), left), float(privacy.min_people))
    frequent = _frequent(spark, files, own, deviation, least)
    atoms = {i: _atoms(own.codecs[i], columns[i], frequent[i]) for i in numbers}
    codecs = dict(own.codecs)
    shares: dict[int, Floats] = {}
    if numbers:
        measure = partial(_measured, spark, table, schema, scratch, codecs)
        first = {i: public_cells(codecs[i], own.limits.get(columns[i].name)) for i in numbers}
        before = ask(asked[1], len(numbers))
        ranges = measure(first, before)
        after = ask(asked[2], len(numbers))
        second = {i: refined(first[i], ranges[i], before, after, atoms[i]) for i in numbers}
        histograms = measure(second, after)
        for i in numbers:
            codecs[i], shares[i] = finished(second[i], histograms[i], after, privacy.min_people)
    for i in own.categories:
        values, nulls = frequent[i]
        told = sum(values.values()) + nulls >= KEPT_SHARE * budget.rows
        if values and told:
            codecs[i], shares[i] = category(codecs[i], values, nulls, budget.rows, least)
        else:  # nearly all values are rare: none is told, and made-up ones take their place
            codecs[i] = unlearned(columns[i])
    ordered = tuple(replace(codecs[i], entity=column.extra.get("entity") or "") for i, column in enumerate(columns))
    return Codec(ordered, schema), [shares[i] for i in range(len(columns)) if i in shares]


def preparation_sigma(budget: Budget) -> float:
    """The noise multiplier that all of the preparation has together, of `budget`."""
    whole = smallest_sigma(lambda sigma: [Release("whole", sigma, delta=OF_DELTA * budget.delta)], budget.epsilon, budget.delta)
    return whole / math.sqrt(PREPARATION)


class _Columns:
    """What is public of each column: the codecs of those that nothing is learned of, and how the others are counted."""

    def __init__(self, columns: tuple[Column, ...], decimals: Mapping[str, int | None], privacy: PrivacyConfig) -> None:
        names = [c.name for c in columns]
        for name in privacy.public:
            if name not in names:
                raise ConfigError(f"privacy.public: no column {in_quotes(name)}{nearest(name, names)}")
        self.codecs: dict[int, ColumnCodec] = {}
        self.numbers: list[int] = []
        self.categories: list[int] = []
        self.known: dict[int, list[str]] = {}
        self.limits: dict[str, tuple[float, float]] = {}
        for i, column in enumerate(columns):
            declared = privacy.public.get(column.name)
            number = number_domain(column, decimals.get(column.name))
            if column.type.startswith(("struct", "array", "map", "variant", "binary")):
                raise ConfigError(
                    f"privacy.epsilon: column {in_quotes(column.name)} of type {column.type.split('<')[0]} can't be learned "
                    "within a budget; leave it out by source.columns"
                )
            if column.extra.get("synthesis", "model") not in ("model", "count"):
                self.codecs[i] = unlearned(column)
            elif isinstance(declared, list) or column.type in ("string", "boolean") or number is None:
                self.codecs[i] = ColumnCodec(column.name, column.type, "category", states=_null(column))
                self.categories.append(i)
                values = declared if isinstance(declared, list) else ["false", "true"] if column.type == "boolean" else []
                self.known[i] = list(dict.fromkeys(map(str, values)))
            else:
                self.codecs[i] = number
                self.numbers.append(i)
                if isinstance(declared, dict):
                    self.limits[column.name] = (declared["min"], declared["max"])
        self.counted = sorted([*self.numbers, *self.categories])


def unlearned(column: Column) -> ColumnCodec:
    """The codec of a column of which nothing is learned: what stands in its rows is made up."""
    synthesis, entity = column.extra.get("synthesis", "model"), column.extra.get("entity") or ""
    if synthesis == "null" and column.nullable:
        return ColumnCodec(column.name, column.type, "null")
    if synthesis == "surrogate" or (entity and column.type == "string" and synthesis != "key"):
        return ColumnCodec(column.name, column.type, "surrogate", entity=entity)
    room = {"tinyint": 2**7 - 2, "smallint": 2**15 - 2}.get(column.type, 10**9)
    recipe: dict[str, Any] = {"kind": "integers", "start": 1, "sign": 1, "room": room}
    if column.type == "string":
        recipe = {"kind": "patterns", "patterns": KEYS} if synthesis == "key" else {"kind": "words", "words": [1, 12]}
    return ColumnCodec(column.name, column.type, "key" if synthesis == "key" else "format", entity=entity, recipe=recipe)


def _null(column: Column) -> tuple[str, ...]:
    return ("null",) if column.nullable else ()


# -- counting ----------------------------------------------------------------------------------------------------------


def _frequent(
    spark: SparkSession, files: list[str], own: _Columns, deviation: float, least: float
) -> dict[int, tuple[dict[str, float], float]]:
    """For each counted column the noisy counts of its values that reach `least` (of known values: of all), and of its nulls.

    Noise is added where the counts of a value were summed up, so that rare values stay there."""
    from pyspark.sql import functions as F

    known = {i: frozenset(values) for i, values in own.known.items() if values}
    counted = frame_of_tasks(spark, len(files)).mapInArrow(partial(_values, files=files, columns=own.counted), COUNTED)
    summed = counted.groupBy("column", "value").agg(F.sum("rows").alias("rows"))
    told = summed.mapInArrow(partial(_noisy, deviation=deviation, least=least, known=known), COUNTED).toArrow().to_pylist()
    found: dict[int, dict[str | None, float]] = {i: {} for i in own.counted}
    for row in told:
        found[row["column"]][row["value"]] = float(row["rows"])
    for i in own.counted:  # what nobody holds is noisy too
        missing: list[str | None] = [v for v in (None, *own.known.get(i, ())) if v not in found[i]]
        drawn = noisy_counts(np.zeros(len(missing), np.int64), deviation)
        found[i] |= {value: float(n) for value, n in zip(missing, drawn, strict=True)}
    out = {}
    for i, values in found.items():
        nulls = values.pop(None)
        out[i] = {str(v): n for v, n in values.items()}, nulls
    return out


def _values(batches: Iterable[pa.RecordBatch], files: list[str], columns: list[int]) -> Iterator[pa.RecordBatch]:
    """Task numbers -> for each batch of rows how many hold each value of each column, as text."""
    for batch in batches:
        for number in batch.column(0).to_pylist():
            for rows in read_part(files[number]):
                for column in columns:
                    counts = as_text(rows.column(column)).value_counts()
                    cells = [
                        pa.repeat(pa.scalar(column, pa.int32()), len(counts)),
                        counts.field("values"),
                        counts.field("counts"),
                    ]
                    yield pa.RecordBatch.from_arrays(cells, names=["column", "value", "rows"])


def _noisy(
    batches: Iterable[pa.RecordBatch], deviation: float, least: float, known: dict[int, frozenset[str]]
) -> Iterator[pa.RecordBatch]:
    """Counts with noise; only those of nulls, of known values, and those that reach `least`."""
    for batch in batches:
        columns, values = batch.column(0).to_pylist(), batch.column(1).to_pylist()
        noisy = noisy_counts(batch.column(2).to_numpy(), deviation)
        keep = [
            value is None or (value in known[column] if column in known else count >= least)
            for column, value, count in zip(columns, values, noisy, strict=True)
        ]
        cells = [batch.column(0), batch.column(1), pa.array(noisy)]
        told = pa.RecordBatch.from_arrays(cells, names=["column", "value", "rows"])
        yield told.filter(pa.array(keep, pa.bool_()))


def _atoms(codec: ColumnCodec, column: Column, frequent: tuple[dict[str, float], float]) -> list[float]:
    """The frequent single values of a number, in domain units and in order."""
    ranked = sorted(frequent[0], key=lambda v: (-frequent[0][v], v))[:MAX_ATOMS]
    found: npt.NDArray[Any] = parsed(ranked, column.type, codec.domain, codec.scale, codec.step)
    return sorted({v.item() for v in found[np.isfinite(found.astype(np.float64))]})


def _measured(
    spark: SparkSession,
    table: Path,
    schema: pa.Schema,
    scratch: Path,
    codecs: dict[int, ColumnCodec],
    asked: dict[int, ColumnCodec],
    deviation: float,
) -> dict[int, Floats]:
    """Noisy counts of the tokens of the columns `asked`; of the others nothing is counted."""
    silent = {i: ColumnCodec(c.name, c.type, "constant", values=("",)) for i, c in codecs.items() if i not in asked}
    codec = Codec(tuple((asked | silent)[i] for i in range(len(codecs))), schema)
    scratch.mkdir(parents=True, exist_ok=True)
    write_text(scratch / "codec.json", codec.to_json())
    counts = encode_folder(spark, table, scratch / "codec.json", scratch / "tokens", shards=False)
    noisy = [noisy_counts(single, deviation).astype(np.float64) for single in counts.single]
    return dict(zip(sorted(asked), noisy, strict=True))
