"""`spans` changes what detectors find inside text and leaves the rest: each entity by its own transform.

    transform: spans
    entities: {PERSON: fake, EMAIL_ADDRESS: {transform: encrypt}, DATE_TIME: {transform: date_shift, per: id, within: 30}}
    default: redact              # every other entity

`"demographic/*"` stands for its group, as in rules; an entity's own name goes before it.
A surrogate inside text is the one that the value has in a column of its own (the join domain is the entity). A
ciphertext is written `<EMAIL_ADDRESS:key id.ciphertext>`, so that restoring finds it. A span that its transform can't
work on is redacted. What no detector finds stays: where that is too much, redact the column. `ner: true` finds names and
places too, by the model of the extra twinlake[ner].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from twinlake.classify.entities import means
from twinlake.core.keys import Keyring
from twinlake.transform.transforms.base import Context, Inner, Parameter, Transform, applied, spec_of
from twinlake.transform.transforms.conditional import no_key
from twinlake.transform.transforms.fake import all_detectors
from twinlake.transform.transforms.prf import by_distinct
from twinlake.transform.transforms.values import is_text, repaired

_HIDDEN = re.compile(r"<([A-Z][A-Z0-9_]*):([0-9a-f]{8}\.[A-Za-z0-9_-]{22,})>")


def spans(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` of text with the spans found inside replaced."""
    array = repaired(array)
    if context.others:  # a shift by another column: equal texts may differ then
        return _changed(array, parameters, keys, context)
    return by_distinct(array, lambda texts: _changed(texts, parameters, keys, context)).cast(array.type)


def _changed(texts: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    from twinlake.classify.ner import finder

    known: Any = all_detectors(context.detectors) if context.detectors else None
    found = finder(bool(parameters.get("ner", False)))(texts.cast(pa.string()), known)
    if (least := float(parameters.get("least", 0))) > 0:
        found = found.filter(pc.greater_equal(found["score"], least))
    if not found.num_rows:
        return texts
    plain = texts.to_pylist()
    rows, starts, ends = (found[name].to_pylist() for name in ("row", "start", "end"))
    entities = found["entity"].to_pylist()
    written: list[str] = [f"<{entity}>" for entity in entities]
    for entity in sorted(set(entities)):
        at = [place for place, name in enumerate(entities) if name == entity]
        values = pa.array([plain[rows[place]][starts[place] : ends[place]] for place in at], pa.string())
        others = {name: column.take(pa.array([rows[place] for place in at])) for name, column in context.others.items()}
        for place, text in zip(at, _replaced(values, entity, parameters, keys, context, others), strict=True):
            written[place] = text
    pieces: dict[int, list[str]] = {}
    last: dict[int, int] = {}
    for row, start, end, text in zip(rows, starts, ends, written, strict=True):
        pieces.setdefault(row, []).extend((plain[row][last.get(row, 0) : start], text))
        last[row] = end
    for row, parts in pieces.items():
        plain[row] = "".join(parts) + plain[row][last[row] :]
    return pa.array(plain, texts.type)


def _replaced(
    values: pa.Array,
    entity: str,
    parameters: Mapping[str, Any],
    keys: Keyring,
    context: Context,
    others: Mapping[str, pa.Array],
) -> list[str]:
    inner = _for_entity(entity, parameters)
    known = context.known
    label = f"<{entity}>"
    if inner.transform == "keep":
        return values.to_pylist()  # type: ignore[no-any-return,unused-ignore]
    if inner.transform == "drop":
        return [""] * len(values)
    own = replace(context, type="string", nullable=True, entity=entity, others=others)
    out = applied(values, inner, keys, own).cast(pa.string()).to_pylist()
    if known[inner.transform].restore is not None and inner.parameters.get("cipher") != "ff1":
        return [f"<{entity}:{text}>" if text else label for text in out]
    return [label if text is None else text for text in out]


def restore_spans(array: pa.Array, parameters: Mapping[str, Any], keys: Keyring, context: Context) -> pa.Array:
    """`array` with the ciphertexts inside text opened. Errors: DataError for a changed one or an unknown key."""
    texts = array.to_pylist()
    hidden = [[(match[1], match[2]) for match in _HIDDEN.finditer(text or "")] for text in texts]
    opened: dict[tuple[str, str], str] = {}
    for entity in sorted({entity for found in hidden for entity, _ in found}):
        tokens = sorted({token for found in hidden for name, token in found if name == entity})
        inner = _for_entity(entity, parameters)
        back = context.known["encrypt"].restore
        assert back is not None
        own = replace(context, type="string", nullable=True, entity=entity)
        plain = back(pa.array(tokens), {**inner.parameters, "foreign": "error"}, keys, own).to_pylist()
        opened.update({(entity, token): text for token, text in zip(tokens, plain, strict=True)})
    out = [
        text if not found else _HIDDEN.sub(lambda match: opened[match[1], match[2]], text)
        for text, found in zip(texts, hidden, strict=True)
    ]
    return pa.array(out, array.type)


def _for_entity(entity: str, parameters: Mapping[str, Any]) -> Inner:
    entities = parameters.get("entities", {})
    selector = entity if entity in entities else next((s for s in entities if means(s, entity)), None)
    return spec_of(entity, parameters.get("default", "redact") if selector is None else entities[selector])


def _inner(parameters: Mapping[str, Any]) -> tuple[Inner, ...]:
    listed = tuple(spec_of(str(entity), raw) for entity, raw in parameters.get("entities", {}).items())
    return (*listed, spec_of("default", parameters.get("default", "redact")))


def inner_reads(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that the transforms inside look at."""
    known = Context("", "").known
    names = [n for i in _inner(parameters) if i.transform in known for n in known[i.transform].reads(i.parameters)]
    return tuple(dict.fromkeys(names))


def _valid(parameters: Mapping[str, Any]) -> str | None:
    if parameters.get("ner"):
        from twinlake.classify.ner import missing_ner

        if (missing := missing_ner()) is not None:
            return missing
    for inner in _inner(parameters):
        if inner.transform in ("drop_row", "when", "combine", "spans", "paths", "sql"):
            return f"{inner.transform} can't stand inside text"
    return None


SPANS = Transform(
    "spans",
    spans,
    (
        Parameter("entities", dict, help="entity, or group/*: transform"),
        Parameter("default", object, help="transform of all other entities; default: redact"),
        Parameter("least", float, minimum=0, maximum=1, help="score from which on a span counts"),
        Parameter("ner", bool, help="names, places and addresses by a model too: needs twinlake[ner]"),
    ),
    takes=is_text,
    restore=restore_spans,
    needs_key=no_key,
    reads=inner_reads,
    inner=_inner,
    valid=_valid,
)
