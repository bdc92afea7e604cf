"""The two transforms that look at no value: `keep` passes a column on, `drop` removes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Context, Transform


def keep(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """The column as it is."""
    return array


def drop(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """Nulls: `apply_plan` leaves a dropped column out; used alone this lets no value through."""
    return pa.nulls(len(array), array.type)


KEEP = Transform("keep", keep, native=lambda cell, parameters, context, sql: cell)
DROP = Transform("drop", drop, removes=True)
