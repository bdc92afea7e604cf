"""A driver of its own for tests that kill it: trains on FOLDER/shards with 2 workers and writes FOLDER/model."""

from __future__ import annotations

import sys
from pathlib import Path

from twinlake.core.config import ModelConfig, TrainConfig
from twinlake.models.codec import Codec
from twinlake.profile.counts import TokenCounts
from twinlake.train.fit_tabular import fit_tabular


def main(folder: Path, epochs: str) -> None:
    codec = Codec.from_json((folder / "codec.json").read_text())
    counts = TokenCounts.load(folder / "counts.npz")
    train = TrainConfig(workers=2, epochs=float(epochs))
    fit_tabular(codec, counts, folder / "shards", folder / "work", folder / "model", ModelConfig(size="m"), train, 3)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
