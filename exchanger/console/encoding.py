"""JSON of whatever a request, a policy or a token may hold. Total: no text of a stranger makes encoding fail.

Must not know: what is encoded.
"""

from collections.abc import Mapping, Sequence

import orjson

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None


def encode(value: object) -> bytes:
    """Return ``value``, which is made of JSON's parts, as JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, or an integer beyond 64 bits
        return orjson.dumps(_plain(value))


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else float(value) if abs(value) < 2**1023 else None
    return _plain(str(value))
