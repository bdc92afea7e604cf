"""Whether dates and times keep their daily and weekly shape: a timestamp that is one number to other metrics hides it.

Total variation between the shares of the 168 hours of a week (the 7 days for dates) in the train rows and in the twin. Hours
are those of UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from twinlake.evaluate.counters import Floats, doubles, summed
from twinlake.evaluate.evidence import Evidence, Metric, Result, not_asked, not_computed
from twinlake.evaluate.frames import HOLDOUT, TRAIN, TWIN, TWIN_AT, all_sides, row_counts
from twinlake.evaluate.metrics.fidelity import total_variation

HOURS = 168
HOUR = 3_600


def time_shape(evidence: Evidence) -> Result:
    """The mean over dates and times of the total variation of their place in the week."""
    from pyspark.sql.types import DateType

    kinds = {f.name: f.dataType for f in evidence.real.schema.fields}
    times = {i: isinstance(kinds[c], DateType) for i, c in enumerate(evidence.numeric()) if evidence.kinds[c] == "datetime"}
    if not times:
        return not_asked("no column is a date or a time")
    sums = summed(all_sides(evidence), partial(week_step, times), {f"week{i}": (HOURS,) for i in times})
    named = {evidence.numeric()[i]: f"week{i}" for i in times}

    def distances(side: int) -> dict[str, float]:
        whole = [{key: held[key].astype(np.int64) for key in named.values()} for held in (sums[TRAIN], sums[side])]
        found = {c: total_variation(whole[0][key], whole[1][key]) for c, key in named.items()}
        return {c: v for c, v in found.items() if v is not None}

    each = distances(TWIN)
    if not each:
        return not_computed("no date or time has a value on both sides")
    rows = row_counts(evidence)
    detail: dict[str, Any] = {
        "n": rows[TWIN],
        "n_reference": rows.get(HOLDOUT),
        "at_reference_n": _mean(distances(TWIN_AT)),
        "each": each,
    }
    return Result(_mean(each), None, _mean(distances(HOLDOUT)), None, detail)


def week_step(times: Mapping[int, bool], batch: pa.RecordBatch, side: int) -> Mapping[str, Floats]:
    """How many rows of a batch fall into each hour of the week; of dates (True) into each day."""
    out = {}
    for i, is_date in times.items():
        values = doubles(batch, [f"n{i}"])[:, 0]
        whole = values[~np.isnan(values)].astype(np.int64)
        place = whole % 7 if is_date else whole // HOUR % HOURS
        out[f"week{i}"] = np.bincount(place, minlength=HOURS).astype(np.float64)
    return out


def _mean(values: Mapping[str, float]) -> float | None:
    return float(np.mean(list(values.values()))) if values else None


TIMES = {"time_shape": Metric("time_shape", "Hours and weekdays of times", "fidelity", "lower", time_shape)}
