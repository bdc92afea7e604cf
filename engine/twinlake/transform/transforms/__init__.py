"""The transforms, one line each. A new one is a file beside these and a line here; the contract suite runs on it."""

from __future__ import annotations

from twinlake.transform.transforms.base import Context, Parameter, Transform, register
from twinlake.transform.transforms.encrypt import ENCRYPT
from twinlake.transform.transforms.fake import FAKE
from twinlake.transform.transforms.hashing import HASH
from twinlake.transform.transforms.keep import DROP, KEEP
from twinlake.transform.transforms.redact import REDACT

TRANSFORMS: dict[str, Transform] = register(
    [
        KEEP,
        DROP,
        REDACT,
        FAKE,
        HASH,
        ENCRYPT,
    ]
)

__all__ = ["TRANSFORMS", "Context", "Parameter", "Transform"]
