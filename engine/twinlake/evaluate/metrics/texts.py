"""Do texts that a model writes read like the real ones: their structure, their words, and whether they are somebody's own.

Structure and copies are counted over all rows. What texts are about is compared by their words alone, for no embedding model is
shipped: the words and pairs of words of a sample, weighed by TF-IDF and folded by a singular value decomposition of train texts
(latent semantic analysis; Deerwester et al., JASIS 41, 1990). It sees that words belong together where train texts use them
together, and knows nothing else of their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.counters import Floats, Ints, summed
from twinlake.evaluate.downstream import answered, in_tasks
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_asked, not_computed, wilson
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, TWIN_AT, all_sides, at_most, row_counts
from twinlake.evaluate.histograms import jensen_shannon
from twinlake.evaluate.learners import alone
from twinlake.evaluate.rows import gather
from twinlake.generate.rules import LONG_TEXT, long_text
from twinlake.tables.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NONE = "no column is free text that a model writes"
MOST = 255  # sentences of a text, words of a sentence, letters of a word: longer ones count as this long
PARTS = ("sentences", "words", "letters")
TEXTS = 2_000  # of the twin, of the holdout, and twice as many of train: what a column's words are compared on
LEAST_TEXTS = 30
COMPARED = 20  # columns of text whose words are compared, the first in table order
FEATURES, COMPONENTS = 1 << 16, 64


def structure_score(d: float) -> float:
    """1.5..10 of a mean Jensen-Shannon distance."""
    return 1.5 if d > 0.8 else 10.0 if d < 0.12 else 11.5 - 12.5 * d


def text_structure(evidence: Evidence) -> Result:
    """The mean distance of sentences in a text, words in a sentence and letters in a word, as a score of 1.5 to 10."""
    names, rows = evidence.texts, row_counts(evidence)
    if not names:
        return not_asked(NONE)
    if not rows[TRAIN] or not rows[TWIN]:
        return not_computed("one of the tables has no rows")
    shapes = {f"{part}{i}": (MOST + 1,) for i in range(len(names)) for part in PARTS}
    sums = summed(all_sides(evidence, _texts), partial(structure_step, len(names)), shapes)

    def distances(side: int) -> dict[str, float]:
        """Of columns that have texts on both sides."""
        out: dict[str, float] = {}
        for i, name in enumerate(names):
            found = [jensen_shannon(sums[TRAIN][f"{part}{i}"], sums[side][f"{part}{i}"]) for part in PARTS]
            known = [d for d in found if d is not None]
            out |= {name: float(np.mean(known))} if len(known) == len(PARTS) else {}
        return out

    each = distances(TWIN)
    if not each:
        return not_computed("no column has texts on both sides")
    held, at = _scored(distances(HOLDOUT)), _scored(distances(TWIN_AT))
    detail = {"n": rows[TWIN], "n_reference": rows.get(HOLDOUT), "at_reference_n": at, "each": each}
    return Result(_scored(each), None, held, None, detail)


def _scored(each: Mapping[str, float]) -> float | None:
    return structure_score(float(np.mean(list(each.values())))) if each else None


def _texts(frame: DataFrame, evidence: Evidence) -> DataFrame:
    return frame.select(*[F.col(quoted(name)).cast("string").alias(f"t{i}") for i, name in enumerate(evidence.texts)])


def structure_step(width: int, batch: pa.RecordBatch, side: int) -> Mapping[str, Floats]:
    """Counts of the texts of a batch by sentences, of sentences by words, of words by letters. A sentence ends with `.`, `!` or
    `?` before a space or the end, or with its line; a word is letters and digits; a sentence has at least one."""
    out: dict[str, Floats] = {}
    for i in range(width):
        texts = batch.column(f"t{i}").drop_null().cast(pa.large_string())
        parts = pc.split_pattern_regex(texts, r"[.!?]+(?:\s+|$)|\n+")
        sentences, text = pc.list_flatten(parts), pc.list_parent_indices(parts).to_numpy()
        words = pc.split_pattern_regex(sentences, r"[^\p{L}\p{N}]+")
        letters, sentence = pc.utf8_length(pc.list_flatten(words)).to_numpy(), pc.list_parent_indices(words).to_numpy()
        counts = np.bincount(sentence[letters > 0], minlength=len(sentences))
        out[f"sentences{i}"] = _counted(np.bincount(text[counts > 0], minlength=len(texts)))
        out[f"words{i}"] = _counted(counts[counts > 0])
        out[f"letters{i}"] = _counted(letters[letters > 0])
    return out


def _counted(values: Ints) -> Floats:
    return np.bincount(np.minimum(values, MOST), minlength=MOST + 1).astype(np.float64)


def text_semantics(evidence: Evidence) -> Result:
    """10 * exp(-under) * exp(-over): how far texts of the twin are less, and how far they are more, like their nearest train
    text than other train texts are (one-sided Kolmogorov-Smirnov distances of the cosines)."""
    names, rows = evidence.texts[:COMPARED], row_counts(evidence)
    if not names:
        return not_asked(NONE)
    if not rows[TRAIN] or not rows[TWIN]:
        return not_computed("one of the tables has no rows")
    sides = [(TRAIN, evidence.real, 2 * TEXTS), (TWIN, evidence.synthetic, TEXTS)]
    sides += [(HOLDOUT, evidence.holdout, TEXTS)] if evidence.holdout is not None else []
    each: dict[str, dict[str, Any]] = {}
    for name in names:
        parts = [_sample(frame, name, most, evidence.seed).select(F.lit(s).alias("side"), "*") for s, frame, most in sides]
        whole = parts[0]
        for more in parts[1:]:
            whole = whole.unionAll(more)
        each |= in_tasks(whole, partial(_compare, evidence.seed), [name])
    known = {name: answer for name, answer in each.items() if "twin" in answer}
    if not known:
        return not_computed(f"fewer than {LEAST_TEXTS} texts on one side")
    held = [answer["holdout"] for answer in known.values() if "holdout" in answer]
    value = float(np.mean([answer["twin"] for answer in known.values()]))
    detail = {"each": known, "by": "words and pairs of words", "left_out": len(evidence.texts) - len(known)}
    return Result(value, None, float(np.mean(held)) if held else None, None, detail)


def _sample(frame: DataFrame, name: str, most: int, seed: int) -> DataFrame:
    """About `most` of the texts of a column, as s0."""
    texts = frame.select(F.col(quoted(name)).cast("string").alias("s0")).where(F.col("s0").isNotNull())
    return at_most(texts, most, texts.count(), seed)


def _compare(seed: int, name: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows = gather(batches, 0, 1)
    if rows is None:
        return
    texts = {s: [rows.names[0][code] or "" for code in rows.codes[rows.side == s, 0]] for s in (TRAIN, TWIN, HOLDOUT)}
    yield answered(name, compare_words(texts[TRAIN], texts[TWIN], texts[HOLDOUT], derive(seed, "texts", name)))


def compare_words(train: list[str], twin: list[str], holdout: list[str], seed: int) -> dict[str, Any]:
    """The score of the twin's and of the holdout's texts, and how many of each were compared; empty where they are too few.

    Half of the train texts are looked up, the other half say how near real texts come to those.
    """
    mixed = [train[i] for i in generator(seed).permutation(len(train))]
    base, others = mixed[: len(train) // 2], mixed[len(train) // 2 :]
    asked = {"real": others, "twin": twin, "holdout": holdout}
    if min(len(base), len(others), len(twin)) < LEAST_TEXTS:
        return {}
    with alone():
        vectors = _fitted(mixed, seed)
        known = vectors(base)
        near = {side: (vectors(texts) @ known.T).max(axis=1) for side, texts in asked.items() if len(texts) >= LEAST_TEXTS}
    out: dict[str, Any] = {f"n_{side}": len(values) for side, values in near.items()}
    return out | {side: nearness_score(near["real"], values) for side, values in near.items() if side != "real"}


def nearness_score(real: Floats, other: Floats) -> float:
    """10 * exp(-under) * exp(-over) of the cosines of real texts and of others with their nearest train text."""
    at = np.sort(np.concatenate([real, other]))
    below = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (real, other)]
    under, over = float((below[1] - below[0]).max()), float((below[0] - below[1]).max())
    return 10.0 * float(np.exp(-max(under, 0.0) - max(over, 0.0)))


def _fitted(train: list[str], seed: int) -> Callable[[list[str]], Floats]:
    """Texts -> unit vectors of COMPONENTS places or fewer; a text without a known word is zero."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.preprocessing import normalize

    read: dict[str, Any] = {"ngram_range": (1, 2), "token_pattern": r"(?u)\w+", "alternate_sign": False, "norm": None}
    words = HashingVectorizer(n_features=FEATURES, **read)
    weights = TfidfTransformer(sublinear_tf=True)
    weighed = weights.fit_transform(words.transform(train))
    places = min(COMPONENTS, weighed.shape[0] - 1)
    fold = TruncatedSVD(places, random_state=seed % (1 << 31)).fit(weighed)

    def vectors(texts: list[str]) -> Floats:
        # rounded, so that libraries that add up in another order give the same ranks
        return np.asarray(normalize(fold.transform(weights.transform(words.transform(texts)))).round(6))

    return vectors


def text_copies(evidence: Evidence) -> Result:
    """The share of the twin's texts of eight words or more that are a train row's own, beside the share of holdout texts.

    Letters and digits are compared, case and marks aside. A text that as many train rows have as a value needs to be shown is
    nobody's own.
    """
    names, rows = evidence.texts, row_counts(evidence)
    if not names:
        return not_asked(NONE)
    if not rows[TRAIN] or not rows[TWIN]:
        return not_computed("one of the tables has no rows")
    sides = [(TRAIN, evidence.real), (TWIN, evidence.synthetic)]
    sides += [(HOLDOUT, evidence.holdout)] if evidence.holdout is not None else []
    frames = [frame.select(F.lit(side).alias("side"), _long(names)) for side, frame in sides]
    whole = frames[0]
    for more in frames[1:]:
        whole = whole.unionAll(more)
    long = whole.select("side", F.inline("texts")).where(F.col("text").isNotNull())
    kinds = [F.count(F.when(F.col("side") == side, 1)).alias(f"k{side}") for side, _ in sides]
    own = (F.col(f"k{TRAIN}") > 0) & (F.col(f"k{TRAIN}") < evidence.k)
    texts = [F.sum(f"k{side}").alias(f"n{side}") for side, _ in sides]
    copied = [F.sum(F.when(own, F.col(f"k{side}")).otherwise(0)).alias(f"copies{side}") for side, _ in sides]
    table = long.groupBy("i", "text").agg(*kinds).groupBy("i").agg(*texts, *copied).toArrow().to_pylist()
    n, held = (sum(row.get(f"n{side}", 0) for row in table) for side in (TWIN, HOLDOUT))
    hits, same = (sum(row.get(f"copies{side}", 0) for row in table) for side in (TWIN, HOLDOUT))
    if not n:
        return not_computed(f"no text of the twin has {LONG_TEXT} words")
    each = {names[row["i"]]: row[f"copies{TWIN}"] for row in sorted(table, key=lambda row: row["i"])}
    detail: dict[str, Any] = {"copies": hits, "texts": n, "holdout_texts": held, "each": each}
    if held:
        detail["reference_interval"] = list(wilson(same, held))
    return Result(hits / n, wilson(hits, n), same / held if held else None, None, detail)


def _long(names: tuple[str, ...]) -> Any:
    """Of each column i its long text as a hash, null where it has none."""
    long = [F.when(long_text(name).isNotNull(), F.xxhash64(long_text(name))) for name in names]
    return F.array(*[F.struct(F.lit(i).alias("i"), text.alias("text")) for i, text in enumerate(long)]).alias("texts")


TEXT = {
    "text_structure": Metric("text_structure", "Structure of texts", "fidelity", "higher", text_structure),
    "text_semantics": Metric("text_semantics", "Words of texts", "fidelity", "higher", text_semantics),
    "text_copies": Metric("text_copies", "Texts that are a train row's own", "privacy", "lower", text_copies),
}
