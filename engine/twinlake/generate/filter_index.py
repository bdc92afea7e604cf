"""The index of the train rows that filters search, and the limits that holdout rows give. Made by Spark tasks.

A limit is an order statistic of holdout rows, which the model has never seen: of n of them the k-th, k = q (n + 1), so that
an honest row is refused with a probability of at most q, whatever the table (Vovk, Gammerman and Shafer, "Algorithmic learning
in a random world", 2005). Holdout rows are searched for by the very search that generated rows are, and ties pass: where many
holdout rows are equal to train rows, that is no sign of a copy. Rows that min_people train rows share are nobody's own.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from twinlake.core.privacy_config import FiltersConfig
from twinlake.core.seeds import derive, mix
from twinlake.generate.blocks import Job, decoded
from twinlake.generate.filters import INDEX, Filters, Screen, load_index, measured
from twinlake.generate.nearest import TREES, grow
from twinlake.generate.points import Places, compared
from twinlake.models.encode import load_codec
from twinlake.models.store import LoadedModel, load_model
from twinlake.tables.parts import MANIFEST, file_hash, read_manifest, read_part, run_tasks, write_text
from twinlake.tables.run_folder import RunFolder, fingerprint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FORMAT = 2
NEAR = {"medium": 0.01, "high": 0.05}
"""Share of holdout rows that the similarity filter refuses at most, by level."""
SPARSE = {"medium": 0.001, "high": 0.01}
"""The same of each test of the outlier filter."""
LIMITS = "filter_limits"
FEWEST = 99
MOST = 10_000
TRIAL = 256
MOST_REFUSED = 0.5
"""Share of TRIAL drawn rows; where the outlier filter refuses more, it is not on by itself."""
EQUAL = 1e-9  # a squared distance below this is none
CHUNK = 1 << 18
TASKS = 4
TOKENS = "tokens-{:05d}.npy"


def filters_of(
    spark: SparkSession,
    folder: RunFolder,
    model: LoadedModel,
    digest: str,
    wanted: FiltersConfig,
    people: int,
    steered: Sequence[str],
) -> tuple[Filters | None, list[str]]:
    """The filters of a run's twin, None where there are none, and what is to be said of them.

    `digest`: of the model; `people`: rows that as many train rows share are nobody's own; `steered`: columns that conditions or
    a balance ask for: what they ask may be rare, so outliers are then looked for only where the config asks for it by name.
    """
    outliers, similarity = ("medium" if level == "auto" else level for level in (wanted.outliers, wanted.similarity))
    notes: list[str] = []
    if steered and wanted.outliers == "auto":
        outliers = None
        notes.append("no outlier filter: conditions and balance may ask for rare rows (privacy.filters.outliers turns it on)")
    if not (outliers or similarity) or not compared(model.codec) or not read_manifest(folder.protected)["rows"]:
        return None, notes
    root = folder.private / "filter"
    same, key = build_index(spark, folder, root, digest, people)
    limits = folder.state().get(LIMITS, {})
    if limits.get("key") != key:
        limits = {"key": key, **_limits(spark, folder, Filters(str(root), key, 0.0, 0.0, 0.0), model, digest)}
        folder.update(**{LIMITS: limits})
    near = far = unlikely = None
    if similarity:
        near = limits["near"][similarity]
        if near is None and same < NEAR[similarity]:
            near = EQUAL
            notes.append(f"{_few(limits)} near from far: the similarity filter refuses exact copies alone")
        elif near is None:
            notes.append(
                f"no similarity filter: {same:.1%} of the train rows have an equal by chance, "
                f"and {_few(limits)} copies from those"
            )
    if outliers:
        far, unlikely = limits["far"][outliers], limits["unlikely"][outliers]
        if far is None:
            notes.append(f"no outlier filter: {_few(limits)} what is rare")
        elif wanted.outliers == "auto" and (refused := limits["refused"][outliers]) > MOST_REFUSED:
            far = unlikely = None
            notes.append(
                f"no outlier filter: it would refuse {refused:.0%} of the rows that this model draws, so it has learned "
                "too little of the table: train it for longer (train.epochs, train.max_minutes)"
            )
        elif unlikely is None:
            notes.append("the outlier filter goes by distance alone: this family gives no probability of a row")
    if near is None and far is None and unlikely is None:
        return None, notes
    strict = {wanted.outliers, wanted.similarity} & {"medium", "high"}
    return Filters(str(root), key, near, far, unlikely, bool(strict)), notes


def _few(limits: dict[str, Any]) -> str:
    return f"a holdout of {limits['rows']:,} rows can't tell"


def _limits(spark: SparkSession, folder: RunFolder, asked: Filters, model: LoadedModel, digest: str) -> dict[str, Any]:
    """The limits of all levels, which stay in run.json: the holdout goes with the end of a run, and more rows may be wanted."""
    own, nearest, told = _holdout(spark, folder, asked, digest)
    told = told[np.isfinite(told)] if model.sampler is not None else told[:0]
    least = {level: _limit(-nearest, share) for level, share in SPARSE.items()}
    far = {level: None if value is None else -value for level, value in least.items()}
    unlikely = {level: _limit(told, share) for level, share in SPARSE.items()}
    drawn = _drawn(spark, folder, asked, digest) if any(value is not None for value in far.values()) else np.zeros((3, 0))
    return {
        "rows": len(own),
        "near": {level: _limit(own, share) for level, share in NEAR.items()},
        "far": far,
        "unlikely": unlikely,
        "refused": {level: _refused(drawn, value, unlikely[level]) for level, value in far.items() if value is not None},
    }


def _refused(drawn: npt.NDArray[np.float64], far: float, unlikely: float | None) -> float:
    """The share of `drawn` rows, as `measured`, that are farther or less likely than that."""
    _, nearest, told = drawn
    return float(((nearest > far) | (told < (-np.inf if unlikely is None else unlikely))).mean())


def _limit(values: npt.NDArray[np.float64], share: float) -> float | None:
    """The value that at most `share` of rows like these lie below; None where they are too few to tell."""
    rank = math.floor(share * (len(values) + 1))
    return float(np.sort(values)[rank - 1]) if len(values) >= FEWEST and rank >= 1 else None


def build_index(spark: SparkSession, folder: RunFolder, root: Path, digest: str, people: int) -> tuple[float, str]:
    """Writes the index of the train rows to `root`, unless it is there; returns the share of rows that equal another one (of
    fewer than `people`), and the identity of the index."""
    codec = folder.model / "codec.json"
    key = fingerprint(FORMAT, file_hash(folder.protected / MANIFEST), file_hash(codec), digest, people)
    if not (root / INDEX).is_file() or json.loads((root / INDEX).read_text())["key"] != key:
        shutil.rmtree(root, ignore_errors=True)
        folder.private.mkdir(mode=0o700, exist_ok=True)
        root.mkdir(mode=0o700)
        target = str(root)
        parts = [p["part"] for p in read_manifest(folder.protected)["parts"]]
        run_tasks(spark, parts, None, partial(_encode_part, folder=str(folder.protected), codec_file=str(codec), out=target))
        run_tasks(spark, [0], None, partial(_collect, parts=parts, people=people, out=target, codec_file=str(codec), key=key))
        run_tasks(spark, range(TREES), TASKS, partial(_grow, out=target, codec_file=str(codec)))
        shutil.copyfile(codec, root / codec.name)
        for part in parts:
            (root / TOKENS.format(part)).unlink()
        (root / f".{INDEX}").rename(root / INDEX)
    return float(json.loads((root / INDEX).read_text())["same"]), key


def _encode_part(number: int, folder: str, codec_file: str, out: str) -> Iterator[dict[str, Any]]:
    """The tokens of a part, uint16 [rows, S]."""
    codec = load_codec(codec_file)
    part = read_manifest(Path(folder))["parts"][number]
    whole = np.lib.format.open_memmap(f"{out}/{TOKENS.format(number)}", "w+", np.uint16, (part["rows"], len(codec.sizes)))
    start = 0
    for batch in read_part(f"{folder}/{part['file']}", dictionaries=True):
        whole[start : start + batch.num_rows] = codec.encode(codec.flat(batch))
        start += batch.num_rows
    whole.flush()
    yield {"part": number}


def _collect(number: int, parts: list[int], people: int, out: str, codec_file: str, key: str) -> Iterator[dict[str, Any]]:
    """The distinct rows of all parts as points, in the order of a hash; 16 bytes of memory for each row."""
    codec = load_codec(codec_file)
    shards = [np.load(f"{out}/{TOKENS.format(part)}", mmap_mode="r") for part in parts]
    counts = [np.zeros(codec.columns[c].sizes[0], np.int64) for c in compared(codec)]
    hashes = []
    for shard in shards:
        for start in range(0, len(shard), CHUNK):
            tokens = np.asarray(shard[start : start + CHUNK])
            hashed = np.zeros(len(tokens), np.uint64)
            for at, column in enumerate(compared(codec)):
                counts[at] += np.bincount(tokens[:, codec.slots[column][0]], minlength=len(counts[at]))
                for slot in codec.slots[column]:
                    hashed = mix(hashed ^ tokens[:, slot], slot)
            hashes.append(hashed)
    hashed = np.concatenate(hashes)
    order = np.argsort(hashed, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(hashed[order]) != 0])
    times = np.diff(np.r_[first, len(order)])
    own, rows = times < people, order[first]
    places = Places.of(codec, counts)
    points = np.lib.format.open_memmap(f"{out}/points.npy", "w+", np.float32, (len(rows), len(places.numbers)))
    starts = np.cumsum([0, *map(len, shards)])
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        tokens = np.empty((len(some), len(codec.sizes)), np.uint16)
        for shard, begin, end in zip(shards, starts[:-1], starts[1:], strict=True):
            here = (some >= begin) & (some < end)
            tokens[here] = shard[some[here] - begin]
        points[start : start + len(some)] = places.points(tokens)
    points.flush()
    np.save(f"{out}/own.npy", own)
    again = own & (times > 1)
    facts = {"key": key, "trees": TREES, "same": float(times[again].sum() / len(order)), "counts": [c.tolist() for c in counts]}
    write_text(Path(out) / f".{INDEX}", json.dumps(facts))
    yield {"rows": len(rows)}


def _grow(number: int, out: str, codec_file: str) -> Iterator[dict[str, Any]]:
    """One tree: its questions, and the order in which it puts the rows."""
    points = np.load(f"{out}/points.npy", mmap_mode="r")
    facts = json.loads((Path(out) / f".{INDEX}").read_text())
    numbers = Places.of(load_codec(codec_file), [np.array(c, np.int64) for c in facts["counts"]]).numbers
    tree = grow(points, numbers, derive(0, "filters", number))
    np.savez(f"{out}/tree-{number:02d}.npz", column=tree.column, cut=tree.cut, child=tree.child)
    np.save(f"{out}/order-{number:02d}.npy", tree.order)
    yield {"tree": number}


def _holdout(spark: SparkSession, folder: RunFolder, filters: Filters, digest: str) -> npt.NDArray[np.float64]:
    """`measured` of at most MOST holdout rows, float64 [3, rows]; they lie in the order of a hash: the first are a sample."""
    parts = read_manifest(folder.holdout)["parts"] if folder.holdout.is_dir() else []
    share = min(1.0, MOST / max(1, sum(p["rows"] for p in parts)))
    task = partial(_measure, folder=str(folder.holdout), model=str(folder.model), digest=digest, filters=filters, share=share)
    found = run_tasks(spark, [p["part"] for p in parts if p["rows"]], None, task)
    return np.concatenate([np.zeros((3, 0)), *(np.array(one["measured"]).reshape(3, -1) for one in found)], axis=1)


def _drawn(spark: SparkSession, folder: RunFolder, filters: Filters, digest: str) -> npt.NDArray[np.float64]:
    """`measured` of TRIAL rows that the model draws, float64 [3, TRIAL]."""
    found = run_tasks(spark, [0], None, partial(_measure_drawn, model=str(folder.model), digest=digest, filters=filters))
    return np.array(found[0]["measured"])


def _measure_drawn(number: int, model: str, digest: str, filters: Filters) -> Iterator[dict[str, Any]]:
    screen = Screen.of(filters, load_model(model, digest).sampler)
    _, tokens, _ = next(decoded(range(1), Job(model, digest, TRIAL, derive(number, "trial"), {})))
    found = measured(tokens, screen.places, screen.forest, screen.sampler, filters)
    yield {"measured": np.stack(found).astype(float).tolist()}


def _measure(number: int, folder: str, model: str, digest: str, filters: Filters, share: float) -> Iterator[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    loaded = load_model(model, digest)
    places, forest = load_index(filters.folder, filters.digest)
    part = read_manifest(Path(folder))["parts"][number]
    left, found = math.ceil(share * part["rows"]), []
    for batch in read_part(f"{folder}/{part['file']}"):
        tokens = loaded.codec.encode(loaded.codec.flat(batch.slice(0, left)))
        left -= len(tokens)
        if len(tokens):
            found.append(measured(tokens, places, forest, loaded.sampler, filters))
    yield {"measured": np.concatenate([np.stack(one) for one in found], axis=1).astype(float).tolist()}
