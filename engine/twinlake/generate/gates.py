"""What a condition on a leaf of a nested column asks of the gates before it: a city needs an address that is there, the third
element an array of three. Works on conditions as users write them. Knows nothing of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinlake.core.errors import ConfigError, escaped
from twinlake.models.codec import Codec
from twinlake.models.nested import Gate
from twinlake.models.written import from_text


def with_gates(conditions: Mapping[str, Any], codec: Codec) -> dict[str, Any]:
    """`conditions` and what follows for the gates, which come first; the range of a length as a list of values.

    Errors: ConfigError where two contradict.
    """
    asked = {name: _listed(name, wanted, codec) for name, wanted in conditions.items()}
    for column in sorted(codec.gates, reverse=True):  # the innermost first: a gate may have one of its own
        gate, name = codec.gates[column], codec.names[column]
        by = codec.names[gate.column]
        if name not in asked or not codec.columns[gate.column].sizes:
            continue
        fitting = [
            value
            for value, opened in _values(gate, codec)
            if _possible(asked[name], opened, codec, column) and (by not in asked or _among(asked[by], value))
        ]
        if not fitting:
            raise ConfigError(
                f"generate.conditions.{escaped(name)}: no row has it together with what is asked of {escaped(by)}"
            )
        asked = {by: fitting, **{other: wanted for other, wanted in asked.items() if other != by}}
    return asked


def gate_columns(codec: Codec) -> set[int]:
    """The columns that open others."""
    return {gate.column for gate in codec.gates.values()}


def _possible(wanted: Any, opened: bool, codec: Codec, column: int) -> bool:
    """Whether what is asked of a leaf may be met where its gate is open, or closed: there it is null."""
    values = wanted if isinstance(wanted, list) else [wanted]
    if not opened:
        return None in values
    return not codec.leaves[column].filled or any(value is not None for value in values)


def _values(gate: Gate, codec: Codec) -> list[tuple[Any, bool]]:
    """All values that a gate may take, null too, and whether each opens it."""
    column = codec.columns[gate.column]
    cells = from_text(column.value_set, codec.schema.field(gate.column).type)
    told = list(zip(cells.to_pylist(), gate.opened(cells).tolist(), strict=True))
    return [*told, (None, False)] if column.null is not None else told


def _listed(name: str, wanted: Any, codec: Codec) -> Any:
    """The values of a range of lengths, which have a token each; all else as it is."""
    at = codec.names.index(name) if name in codec.names else -1
    counted = at >= 0 and codec.leaves and codec.leaves[at].kind == "length"
    if not counted or not isinstance(wanted, dict) or not all(isinstance(end, int) for end in wanted.values()):
        return wanted
    if not wanted or set(wanted) - {"min", "max"}:
        return wanted
    lengths = [int(value) for value in codec.columns[at].values]
    inside = [n for n in lengths if wanted.get("min", n) <= n <= wanted.get("max", n)]
    if not inside:
        raise ConfigError(f"generate.conditions.{escaped(name)}: the model has learned no value in this range")
    return inside


def _among(wanted: Any, value: Any) -> bool:
    return any(str(value).lower() == str(one).lower() for one in (wanted if isinstance(wanted, list) else [wanted]))
