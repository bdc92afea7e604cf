"""The audit of a run's guarantee: its private training once more, on rows of its twin and on canaries (train/audit.py).

Rows of the twin stand in for the private ones, which are gone by then and not needed; nothing of the budget is spent.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from twinlake.core.errors import UserError
from twinlake.core.seeds import derive, generator
from twinlake.models.codec import Codec
from twinlake.models.column import Tokens
from twinlake.models.script import Script
from twinlake.tables.parts import part_files, read_part
from twinlake.tables.run_folder import RunFolder
from twinlake.train.audit import Audit, audit
from twinlake.train.dp import TRAINING, PrivateSteps
from twinlake.train.language import LanguagePlan
from twinlake.train.ledger import Budget, Ledger, guarantee_of
from twinlake.train.private_plan import CHECKS
from twinlake.train.tabular import TabularPlan


def audit_run(root: Path, canaries: int) -> Audit:
    """Audits the training of the run in `root` with so many canaries: rows of the codec's values, each drawn evenly.

    Errors: UserError (a run without a private training)."""
    folder = RunFolder(root)
    guarantee, facts = guarantee_of(folder.model), json.loads((folder.model / "model.json").read_text(encoding="utf-8"))
    training = [r for r in guarantee["releases"] if r["name"] == TRAINING] if guarantee else []
    if guarantee is None or not training:
        raise UserError(
            "the model of this run was not trained by private steps; set privacy.epsilon and family tabular or language"
        )
    torch.set_num_threads(1)
    codec = Codec.from_json((folder / "codec.json").read_text(encoding="utf-8"))
    rows = _twin(folder, codec, guarantee["rows"])
    draw = generator(derive(facts["seed"], "canaries"))
    made = [draw.integers(0, size, canaries) for size in codec.sizes]
    (release,) = training
    with tempfile.TemporaryDirectory() as scratch:
        budget = Budget(guarantee["budget"], guarantee["delta"], guarantee["unit"], guarantee["max_rows_per_unit"], len(rows))
        ledger = Ledger.begin(Path(scratch) / "ledger.json", budget, {})
        steps = PrivateSteps(release["clip"], release["sigma"], release["rate"], release["group"], str(ledger.file))
        plan = _plan(facts, steps, rows, codec, Path(scratch))
        return audit(plan, steps, rows, np.stack(made, axis=1).astype(np.uint16), ledger)


def _twin(folder: RunFolder, codec: Codec, most: int) -> Tokens:
    """Tokens of at most `most` rows of the twin."""
    found: list[Tokens] = []
    for file in part_files(folder.synthetic):
        for batch in read_part(file):
            if sum(map(len, found)) < most:
                found.append(codec.encode(codec.flat(batch)))
    return np.concatenate(found)[:most]


def _plan(facts: dict[str, Any], steps: PrivateSteps, rows: Tokens, codec: Codec, work: Path) -> TabularPlan | LanguagePlan:
    """The training that model.json tells of; the heads start at the shares of the twin."""
    shares = [np.bincount(rows[:, t], minlength=size) / len(rows) for t, size in enumerate(codec.sizes)]
    common = {
        "family": facts["family"],
        "shards": "",
        "progress": str(work / "progress.jsonl"),
        "checks": CHECKS,
        "patience": facts["steps"],
        "max_seconds": None,
        "stops_early": False,
        "limits": [],
        "private": asdict(steps),
        "shares": [share.tolist() for share in shares],
        **{name: facts[name] for name in ("settings", "seed", "batch", "steps", "rate")},
    }
    if facts["family"] == "language":
        return LanguagePlan.read({**common, "layout": asdict(Script(codec).layout)})
    return TabularPlan.read(
        {
            **common,
            "links": [[1.0] * len(own) for own in facts["parents"]],
            "orders": [facts["order"]],
            "places": [],
            "trial_steps": 0,
            **{name: facts[name] for name in ("sizes", "slots", "parents")},
        }
    )
