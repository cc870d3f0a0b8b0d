"""JSON of whatever a request, a policy or a token may hold. Total: no text of a stranger makes encoding fail.

Must not know: what is encoded.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

MAX_DEPTH: Final = 64
"""Levels of objects and lists, beyond which there is an ellipsis: the encoder has a limit (254), and so has Python's stack."""
_ELLIPSIS: Final = "…"

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None


def encode(value: object) -> bytes:
    """Return ``value``, which is made of JSON's parts, as JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, an integer beyond 64 bits, or too many levels
        return orjson.dumps(_plain(value, MAX_DEPTH))


def _plain(value: object, levels: int) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping | list | tuple) and not levels:
        return _ELLIPSIS
    if isinstance(value, Mapping):
        return {str(_plain(key, 0)): _plain(part, levels - 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, levels - 1) for part in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else float(value) if abs(value) < 2**1023 else None
    return _plain(str(value), 0)
