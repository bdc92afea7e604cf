"""Pairs of columns measured in rounds: each time the one of which the model is farthest off, as long as the budget lasts.

As in "AIM: an adaptive and iterative mechanism for differentially private synthetic data" (McKenna, Mullins, Sheldon and
Miklau, VLDB 2022): the exponential mechanism takes the pair whose counts are farthest from what the model so far says of them,
less what noise would be; its counts are measured; and when a round brought no more than noise does, the next ones get four
times the budget, so that their noise is half. Candidates are the pairs of which a tree beside a hub (models/tree.py) can make
use: edges that close no cycle, and all that was measured before. Answers about one pair are averaged by their precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from twinlake.models.tree import Edge, implied
from twinlake.train.accounting import Release
from twinlake.train.noise import noisy_counts
from twinlake.train.noisy_shares import Floats, fitted, shrunk
from twinlake.train.spender import Spender, Table, exponential

OF_A_COLUMN = 4  # how many of the first, smallest rounds the budget would pay for, for each column
CHOOSING = 0.1  # of a round's budget
FASTER = 4.0  # the budget of rounds after one that brought nothing, by that one's
L1 = math.sqrt(2.0 / math.pi)  # the mean absolute value of noise of deviation 1


def in_rounds(
    tables: Mapping[Edge, Table],
    singles: Sequence[Floats],
    rows: float,
    hub: int,
    first: Mapping[Edge, Floats],
    deviation: float,
    spender: Spender,
) -> dict[Edge, Floats]:
    """Shares of the pairs that were measured, each of sum 1, for the share "rounds" of what `spender` has.

    `tables`: exact counts of pairs, (hub, c) and a < b of others; `singles`: noisy shares of columns; `rows`: a noisy number;
    `first`: noisy counts of every pair with the hub (-1: none), of noise of `deviation`. The whole share stands in the ledger
    before the first round. Rounds cost what earlier, noisy answers led to, and are stopped at the share: of zCDP a sum that
    is kept below a limit is as good as one fixed beforehand (Feldman and Zrnic, "Individual privacy accounting via a Renyi
    filter", 2021)."""
    pairs, most, left = list(tables), spender.most, spender.share("rounds")
    spender.ledger.spend(Release("rounds", rho=left))
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    hubbed, cells = (ends == hub).any(axis=1), np.array([tables[pair].size for pair in pairs])
    found = dict(first)
    precision = np.array([deviation**-2 if pair in found else 0.0 for pair in pairs])  # 1 / variance of what was found
    part = np.arange(len(singles))  # which columns edges join
    known: dict[Edge, Floats] = {}  # shares of the hub's pairs, as `implied` asks for them

    def said(i: int) -> Floats:
        a, b = pairs[i]
        base = np.outer(singles[a], singles[b]) if hub < 0 or hubbed[i] else implied(known, (a, b), hub)
        if pairs[i] in found:
            base = fitted(shrunk(found[pairs[i]], rows * base, 1.0 / precision[i]), singles[a], singles[b])
        if hubbed[i]:
            known[min(a, b), max(a, b)] = base if a < b else base.T
        return base

    order = np.argsort(~hubbed, kind="stable")  # others lean on the hub's
    model = dict(zip(order.tolist(), map(said, order.tolist()), strict=True))
    errors = np.array([np.abs(tables[pair] - rows * model[i]).sum() for i, pair in enumerate(pairs)])
    step, taken = left / (OF_A_COLUMN * len(singles)), 0
    while left > 0:
        last = left < 2.0 * step
        step, taken = left if last else step, taken + 1
        deviation = most / math.sqrt(2.0 * (1.0 - CHOOSING) * step)
        scores = errors - L1 * cells / np.sqrt(precision + deviation**-2)
        scores[(precision == 0) & (part[ends[:, 0]] == part[ends[:, 1]])] = -np.inf
        if not last:
            scores = np.append(scores, 0.0)  # at this noise nothing is worth while: only the choice is paid for
        chosen = exponential(scores, math.sqrt(8.0 * CHOOSING * step), most)
        if chosen == len(pairs):
            left, step = left - CHOOSING * step, FASTER * step
            continue
        left -= step
        pair, before = pairs[chosen], model[chosen]
        noisy, earlier = noisy_counts(tables[pair], deviation), found.get(pair, np.zeros(tables[pair].shape))
        precise = precision[chosen] + deviation**-2
        found[pair] = (precision[chosen] * earlier + deviation**-2 * noisy) / precise
        precision[chosen] = precise
        stale = np.array([chosen])
        if hubbed[chosen]:  # pairs of that column lean on it
            stale = np.append(stale, np.flatnonzero((ends == pair[1]).any(axis=1) & ~hubbed))
        else:
            part[part == part[pair[1]]] = part[pair[0]]
        for i in stale.tolist():
            model[i] = said(i)
            errors[i] = np.abs(tables[pairs[i]] - rows * model[i]).sum()
        if rows * np.abs(model[chosen] - before).sum() <= L1 * deviation * cells[chosen]:
            step *= FASTER
    spender.ledger.spend(spender.ledger.releases["rounds"], rounds=taken)
    return {pair: model[i] for i, pair in enumerate(pairs) if pair in found}
