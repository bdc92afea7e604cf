"""Differentially private twins of one table at the same epsilon: ours (family marginal), and smartnoise-synth's (MST, AIM).

All get the same pre-discretized columns of at most 15 values, taken as public, so that nothing is spent on preparing them:

    .venv/bin/python bench/dp_peers.py adult_train.csv adult_holdout.csv --target income --peers /path/to/venv/bin/python

Prints for each the mean total variation of pairs of columns from the train rows, the accuracy on holdout rows of two
classifiers trained on the twin (gradient boosting, logistic regression), and CPU seconds. `--runs 5` makes as many twins of
ours: pairs are then their mean, with its standard error, and accuracy is that of the first. Without `--peers` ours alone.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MOST = 15
DELTA = 1e-6
OURS = ("tree", "adaptive")


def discrete(train: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """`other` with a code below MOST for each cell: quantile bins of numbers, of others the frequent values and the rest."""
    out = {}
    for name in train:
        own = train[name]
        if pd.api.types.is_numeric_dtype(own) and own.nunique() > MOST:
            cuts = np.unique(own.quantile(np.linspace(0, 1, MOST + 1)[1:-1]))
            out[name] = np.searchsorted(cuts, other[name], side="right")
        else:
            kept = {value: code for code, value in enumerate(own.astype(str).value_counts().index[: MOST - 1])}
            out[name] = other[name].astype(str).map(kept).fillna(len(kept)).astype(int)
    return pd.DataFrame(out)


def ours(rows: pd.DataFrame, epsilon: float, selection: str) -> pd.DataFrame:
    """A twin by the marginal family."""
    import pyarrow as pa

    from twinlake.models.codec import Codec
    from twinlake.models.column import ColumnCodec
    from twinlake.models.encode import TokenCounter
    from twinlake.models.marginal import TreeSampler
    from twinlake.train.ledger import Budget, Ledger
    from twinlake.train.private_marginal import measured_tables
    from twinlake.train.spender import spender_of

    columns = []
    for name in rows:
        values = tuple(str(code) for code in range(int(rows[name].max()) + 1))
        columns.append(ColumnCodec(name, "string", "category", values=values, coarse=tuple(range(len(values) + 1))))
    codec = Codec(tuple(columns), pa.schema([(name, pa.string()) for name in rows]))
    counter = TokenCounter(codec, every_pair=True)
    counter.add(rows.to_numpy().astype(np.uint16))
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.begin(Path(folder) / "ledger.json", Budget(epsilon, DELTA, "row", 1, len(rows)), {})
        even = [np.append(np.full(size - 1, 1 / (size - 1)), 0.0) for size in codec.sizes]
        tree, tables = measured_tables(codec, counter.counts(), even, spender_of(ledger, False, selection))
    drawable = {token: column.drawable for token, column in enumerate(columns)}
    sampler = TreeSampler(tree, codec.slots, tables, drawable)
    drawn = np.concatenate([sampler.draw(block, 7) for block in range(-(-len(rows) // 4_096))])
    return pd.DataFrame(drawn[: len(rows)].astype(int), columns=rows.columns)


def peer(name: str, rows: pd.DataFrame, epsilon: float) -> pd.DataFrame:
    """A twin by a synthesizer of smartnoise-synth."""
    from snsynth import Synthesizer

    made = Synthesizer.create(name, epsilon=epsilon, delta=DELTA)
    made.fit(rows, categorical_columns=list(rows.columns), preprocessor_eps=0.0)
    return made.sample(len(rows))


def pair_distance(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Mean total variation of all pairs of columns."""

    def shares(rows: pd.DataFrame, i: str, j: str) -> Any:
        return np.bincount(rows[i] * (MOST + 1) + rows[j], minlength=(MOST + 1) ** 2) / len(rows)

    pairs = itertools.combinations(a.columns, 2)
    return float(np.mean([np.abs(shares(a, i, j) - shares(b, i, j)).sum() / 2 for i, j in pairs]))


def accuracies(twin: pd.DataFrame, holdout: pd.DataFrame, target: str) -> list[float]:
    """Of two classifiers trained on the twin."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    models = [
        HistGradientBoostingClassifier(max_iter=60, random_state=0),
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=300)),
    ]
    x, y = twin.drop(columns=target), twin[target]
    if y.nunique() < 2:
        return [float((holdout[target] == y.iloc[0]).mean())] * 2
    return [float(model.fit(x, y).score(holdout.drop(columns=target), holdout[target])) for model in models]


def seconds(who: int) -> float:
    """CPU seconds of this process, or of the ended ones that it started."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("holdout", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--peers", type=Path, help="Python of an environment with smartnoise-synth")
    parser.add_argument("--names", default="mst", help="its synthesizers, by comma: mst,aim")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 3.0, 8.0])
    parser.add_argument("--runs", type=int, default=1, help="twins of ours; a peer's is made once")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # in the peers' environment: make one twin, from `train` to `holdout`
    asked = parser.parse_args()
    if asked.only:
        peer(asked.only, pd.read_csv(asked.train), asked.epsilon[0]).to_csv(asked.holdout, index=False)
        return
    train, holdout = pd.read_csv(asked.train), pd.read_csv(asked.holdout)
    rows, unseen = discrete(train, train), discrete(train, holdout)
    told = accuracies(rows, unseen, asked.target)
    print(f"{'real':22} pairs {pair_distance(unseen, rows):.4f}  accuracy {told[0]:.4f} {told[1]:.4f}", flush=True)
    for epsilon in asked.epsilon:
        for name in (*OURS, *(asked.names.split(",") if asked.peers else ())):
            who = resource.RUSAGE_SELF if name in OURS else resource.RUSAGE_CHILDREN
            before = seconds(who)
            if name in OURS:
                twins = [ours(rows, epsilon, name) for _ in range(asked.runs)]
            else:
                with tempfile.TemporaryDirectory() as folder:
                    given, made = Path(folder) / "rows.csv", Path(folder) / "twin.csv"
                    rows.to_csv(given, index=False)
                    command = [asked.peers, __file__, given, made, "--target", asked.target, "--only", name]
                    whole = [*map(str, command), "--epsilon", str(epsilon)]
                    done = subprocess.run(whole, check=False, capture_output=True, text=True)
                    if done.returncode:
                        print(f"{name} at epsilon {epsilon:g} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                        continue
                    twins = [pd.read_csv(made).astype(int)]
            took = (seconds(who) - before) / len(twins)
            pairs, told = pd.Series([pair_distance(one, rows) for one in twins]), accuracies(twins[0], unseen, asked.target)
            spread = f" ({pairs.sem():.4f})" if len(pairs) > 1 else ""
            line = f"pairs {pairs.mean():.4f}{spread}  accuracy {told[0]:.4f} {told[1]:.4f}  {took:.1f} CPU s"
            print(f"{name:10} epsilon {epsilon:<4g} {line}", flush=True)


if __name__ == "__main__":
    main()
