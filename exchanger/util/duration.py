"""Durations as people write them: Go's ``time.ParseDuration`` (https://pkg.go.dev/time#ParseDuration), which settings and files share."""

import re
from typing import Final

_UNIT_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
# Schemas contain it too, so it must mean the same in JavaScript.
PATTERN: Final = r"\+?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+"
_is_duration: Final = re.compile(PATTERN).fullmatch
_MAX_TEXT: Final = 32
# Seconds; nanoseconds have 64 bits in Go.
_END: Final = 2.0**63 / 1e9


def parse_duration(text: str) -> float:
    """Return the seconds of a non-negative Go duration string such as ``750ms`` or ``1m30s``.

    Raises:
        ValueError: if the text is not a duration, or longer than Go can represent (292 years).
    """
    if text == "0":
        return 0.0
    if len(text) > _MAX_TEXT or not _is_duration(text):
        raise ValueError("must be a duration such as 750ms or 1m30s")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds >= _END:
        raise ValueError("must be a duration of less than 292 years")
    return seconds
