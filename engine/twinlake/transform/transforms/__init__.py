"""The transforms, one line each. A new one is a file beside these and a line here; the contract suite runs on it."""

from __future__ import annotations

from twinlake.transform.transforms.base import Context, Inner, Parameter, Transform, register, walk
from twinlake.transform.transforms.conditional import COMBINE, DROP_ROW, WHEN
from twinlake.transform.transforms.encrypt import ENCRYPT
from twinlake.transform.transforms.fake import FAKE
from twinlake.transform.transforms.generalize import GENERALIZE
from twinlake.transform.transforms.hashing import HASH
from twinlake.transform.transforms.keep import DROP, KEEP
from twinlake.transform.transforms.numbers import BUCKET, CLIP, ROUND
from twinlake.transform.transforms.paths import PATHS
from twinlake.transform.transforms.redact import REDACT
from twinlake.transform.transforms.shifts import DATE_SHIFT, NOISE, NUMBER_SHIFT
from twinlake.transform.transforms.spans import SPANS
from twinlake.transform.transforms.sql import SQL_EXPRESSION

TRANSFORMS: dict[str, Transform] = register(
    [
        KEEP,
        DROP,
        DROP_ROW,
        REDACT,
        FAKE,
        HASH,
        ENCRYPT,
        DATE_SHIFT,
        NUMBER_SHIFT,
        NOISE,
        BUCKET,
        ROUND,
        CLIP,
        GENERALIZE,
        COMBINE,
        WHEN,
        SQL_EXPRESSION,
        SPANS,
        PATHS,
    ]
)

__all__ = ["TRANSFORMS", "Context", "Inner", "Parameter", "Transform", "walk"]
