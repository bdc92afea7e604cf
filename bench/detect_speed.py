"""How many cells one task looks at in a CPU second, beside Presidio's pattern recognizers on the same cells in the same run.

    python bench/detect_speed.py [--rows 20000] [--presidio 300] [--profile]

Cells: 12 characters, all distinct, one column in ten personal; every detector is on, validators run on pattern hits only.
Texts: 80 characters, one in ten with an e-mail address, a phone number or a card inside. Presidio is of the bench alone
(`pip install presidio-analyzer`, not part of any extra); where it is absent its rows are left out.
"""

from __future__ import annotations

import argparse
import cProfile
import logging
import pstats
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from twinlake.classify.decide import relevant
from twinlake.classify.detectors import DETECTORS
from twinlake.classify.evidence import count
from twinlake.classify.spans import find_spans

BATCH = 10_000
LETTERS, DIGITS, HEX = "abcdefghijklmnopqrstuvwxyz", "0123456789", "0123456789abcdef"
UPPER = LETTERS.upper()
SHAPES = {
    "letters": [LETTERS] * 12,
    "code": [UPPER, UPPER, "-", *[DIGITS] * 6, "-", UPPER, UPPER],
    "number": ["123456789", *[DIGITS] * 11],
    "hex": [HEX] * 12,
    "mixed": [LETTERS + UPPER + DIGITS] * 12,
    "decimal": ["123456789", *[DIGITS] * 6, ".", *[DIGITS] * 4],
    "words": [*[LETTERS] * 5, " ", *[LETTERS] * 6],
    "dotted": [*[UPPER] * 3, ".", *[DIGITS] * 4, ".", *[LETTERS] * 3],
    "order": ["O", "R", "D", *[DIGITS] * 9],
    "phone": ["2", DIGITS[1:], DIGITS, "-", DIGITS[2:], DIGITS, DIGITS, "-", *[DIGITS] * 4],
}
"""Nine columns of nothing personal and one of US phone numbers."""
SENTENCE = "the order was late again and we could not reach anybody at the desk so please look into it for us soon"
WORDS = SENTENCE.split()


def cells(rows: int, random: np.random.Generator) -> dict[str, pa.StringArray]:
    """A column of `rows` different cells for each shape."""
    out = {}
    for name, shape in SHAPES.items():
        chars = [np.frombuffer(part.encode(), dtype=np.uint8) for part in shape]
        codes = np.stack([c[random.integers(0, len(c), 2 * rows)] for c in chars], axis=1)
        texts = pa.array([bytes(row).decode() for row in codes]).unique()
        out[name] = texts.slice(0, rows)
    return out


def texts_of_80(rows: int, random: np.random.Generator) -> pa.StringArray:
    """Sentences of 80 characters, one in ten with something personal."""
    found = ["jane.doe{}@example.org", "(212) 555-{:04}", "4111 1111 1111 1111 {}"]
    out = []
    for i in range(rows):
        text = " ".join(WORDS[j] for j in random.integers(0, len(WORDS), 24))
        if i % 10 == 0:
            text = found[(i // 10) % 3].format(i % 10_000) + " " + text
        out.append(text[:80].ljust(80, "."))
    return pa.array(out)


def spent(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def presidio(every: bool) -> Callable[[str], object] | None:
    """Pattern recognizers of Presidio, one text at a time; None where it is not installed.

    every: also those of single countries, which it leaves off by default and which our detectors cover.
    """
    try:
        from presidio_analyzer import PatternRecognizer, RecognizerRegistry, predefined_recognizers
    except ImportError:
        return None
    if every:
        kinds = [getattr(predefined_recognizers, name) for name in predefined_recognizers.__all__]
        kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, PatternRecognizer)]
        patterned = [kind() for kind in kinds]
    else:
        registry = RecognizerRegistry()
        registry.load_predefined_recognizers()
        patterned = [r for r in registry.recognizers if isinstance(r, PatternRecognizer)]
    print(f"presidio, {'every' if every else 'its default set of'} pattern recognizer{'' if every else 's'}: {len(patterned)}")

    logging.disable(logging.CRITICAL)  # its e-mail recognizer asks the network for a list of suffixes, once, and logs
    for recognizer in patterned:
        recognizer.analyze("jane.doe@example.org (212) 555-0123", recognizer.supported_entities, None)

    def analyze(text: str) -> object:
        return [r.analyze(text, r.supported_entities, None) for r in patterned]

    return analyze


def _all(analyze: Callable[[str], object], texts: list[str]) -> None:
    for text in texts:
        analyze(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the table of cells, and texts")
    parser.add_argument("--presidio", type=int, default=300, help="cells and texts that Presidio is timed on")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    random = np.random.Generator(np.random.Philox(5))
    table, texts = cells(args.rows, random), texts_of_80(args.rows, random)
    print(f"{len(DETECTORS)} detectors")

    def look(column: pa.StringArray, asked: dict[str, object]) -> None:
        for start in range(0, len(column), BATCH):
            count(column.slice(start, BATCH), "text", DETECTORS, asked)  # type: ignore[arg-type]

    asked = {name: relevant(f"c{i}", DETECTORS) for i, name in enumerate(table)}
    for name, column in table.items():  # word lists are loaded once in the life of a worker
        look(column.slice(0, 100), asked[name])
    find_spans(texts.slice(0, 100))
    if args.profile:
        with cProfile.Profile() as profiler:
            for name, column in table.items():
                look(column, asked[name])
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    total = 0.0
    for name, column in table.items():
        seconds = spent(lambda column=column, name=name: look(column, asked[name]))  # type: ignore[misc]
        total += seconds
        print(f"  {name:8s} {len(column) / seconds:12,.0f} cells per CPU second")
    ours = sum(map(len, table.values())) / total
    print(f"all ten columns: {ours:,.0f} cells per CPU second")
    seconds = spent(lambda: [find_spans(texts.slice(i, BATCH)) for i in range(0, len(texts), BATCH)])
    ours_texts = len(texts) / seconds
    print(f"80-character texts, spans: {ours_texts:,.0f} texts per CPU second")
    for every in (True, False):
        analyze = presidio(every)
        if analyze is None:
            continue
        some = [cell for column in table.values() for cell in column.slice(0, args.presidio // 10).to_pylist()]
        theirs = len(some) / spent(partial(_all, analyze, some))
        some = texts.slice(0, args.presidio).to_pylist()
        theirs_texts = len(some) / spent(partial(_all, analyze, some))
        print(f"presidio, the same cells: {theirs:,.0f} per CPU second; ours is {ours / theirs:,.0f} times that")
        print(
            f"presidio, the same texts: {theirs_texts:,.0f} per CPU second; ours is {ours_texts / theirs_texts:,.0f} times that"
        )


if __name__ == "__main__":
    main()
