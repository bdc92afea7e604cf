"""Whom the attacks are made on: rows trained on, rows never seen as the control, and others never seen that attackers know.

At most 2,000 of each (by hash; fewer of a twin of many cells, and of very wide tables); of a small holdout one half for the
control, one for the others, where an attack needs both. These bounded samples are all that reaches the driver.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinlake.core.seeds import derive, generator
from twinlake.evaluate.counters import Floats
from twinlake.evaluate.evidence import Evidence
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, at_most, row_counts, typed
from twinlake.evaluate.neighbours import Cells, collected, compact
from twinlake.evaluate.passes import facts

TARGETS = 2000
FEWEST_TARGETS = 500
FEWEST = 20  # of a side: below that no attack can tell anything
CELLS = 7_500_000_000  # compared for the targets of a side, at most, above FEWEST_TARGETS: 500 targets of 1,000,000 x 15
TARGET_BYTES = 4_000_000  # of all targets, which travel with every task
NUMBER_NEAR = 0.02  # of the smooth rank: a number that is guessed this well is guessed
NO_HOLDOUT = "there is no holdout to compare with"


@dataclass(frozen=True)
class Targets:
    """`cells`: `trained` rows trained on, then `control` rows of the holdout. `others`: holdout rows that attackers know.

    `apart`: how many of the control rows are not among the others. `names` of the columns: numbers first.
    """

    cells: Cells
    trained: int
    control: int
    others: Cells
    apart: int
    names: tuple[str, ...]
    shift: Floats
    scale: Floats

    @property
    def numbers(self) -> int:
        """How many columns are numbers."""
        return int(self.cells.numbers.shape[1])

    def values(self, column: int) -> npt.NDArray[np.float64]:
        """A column of all targets."""
        at = column - self.numbers
        return (self.cells.numbers[:, column] if at < 0 else self.cells.codes[:, at]).astype(np.float64)

    def same(self, column: int, guess: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Whose value a guess tells: numbers within 0.02 of the smooth rank, gaps by gaps."""
        truth = self.values(column)
        near = np.abs(truth - guess) <= (NUMBER_NEAR if column < self.numbers else 0.0)
        return near | (np.isnan(truth) & np.isnan(guess))


def targets(evidence: Evidence) -> Targets | str:
    """The targets, or why there are none."""
    return evidence.once("targets", _targets)


def _targets(evidence: Evidence) -> Targets | str:
    names = (*evidence.numeric(), *evidence.categorical())
    if not names:
        return "no column is a number or a category"
    rows = row_counts(evidence)
    if not rows[TRAIN] or not rows[TWIN]:
        return "one of the tables has no rows"
    if evidence.holdout is None or not rows.get(HOLDOUT):
        return NO_HOLDOUT
    known = facts(evidence)
    shift, scale, texts = known.shift(), known.scale(), len(evidence.categorical())
    most = min(TARGETS, max(FEWEST_TARGETS, CELLS // (rows[TWIN] * len(names))), max(100, TARGET_BYTES // (12 * len(names))))
    parts = []
    for side, frame, wanted in ((TRAIN, evidence.real, most), (HOLDOUT, evidence.holdout, 2 * most)):
        some = at_most(compact(typed(frame, evidence), evidence), wanted, rows[side], derive(evidence.seed, "attacks") >> 1)
        parts.append(_ordered(collected(some, shift, scale, texts), derive(evidence.seed, "attacks", side)))
    if min(len(p) for p in parts) < FEWEST:
        return f"fewer than {FEWEST} rows on one side"
    real, held = parts
    control, half = held.cut(slice(most)), len(held) // 2
    cells = Cells(np.concatenate([real.numbers, control.numbers]), np.concatenate([real.codes, control.codes]))
    return Targets(cells, len(real), len(control), held.cut(slice(half, None)), min(half, len(control)), names, shift, scale)


def _ordered(cells: Cells, seed: int) -> Cells:
    """The rows in an order that depends on neither their partitions nor their values."""
    known = np.nan_to_num(cells.numbers, nan=-1.0)
    order = np.lexsort([*known.T, *cells.codes.T])
    return cells.cut(order[generator(seed).permutation(len(order))])
