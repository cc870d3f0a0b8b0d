"""The ``grpc-timeout`` header (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests).

Must not know: clocks, or what a deadline is used for.
"""

import functools
from typing import Final

_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

_MAX_LENGTH: Final = 9
"""TimeoutValue is a positive integer of at most 8 digits; then comes one letter for the unit."""

_MEMORY: Final = 256
"""Callers use a handful of timeouts over and over; keys are short because longer ones never get here."""


def parse_timeout(value: bytes) -> float | None:
    """Return the timeout in seconds, or ``None`` when ``value`` is not a well-formed one."""
    return _parse(value) if len(value) <= _MAX_LENGTH else None


@functools.lru_cache(maxsize=_MEMORY)
def _parse(value: bytes) -> float | None:
    digits, unit = value[:-1], _SECONDS.get(value[-1:])
    return int(digits) * unit if unit is not None and digits.isdigit() else None
