"""The limit on open files and sockets, and the share of it that callers' connections may take."""

import resource
from typing import Final

# Many times the sum of our own limits, and a value that every system accepts.
WANTED: Final = 65_536
# Kept free of callers' connections: for token endpoints, the API server, scrapes and the console.
RESERVED: Final = 4096

# The share of these for connections to token endpoints that wait for reuse.
_RESTING_SHARE: Final = 0.5


def raise_limit() -> int:
    """Raise the soft limit to ``WANTED``, or to what the hard limit allows; return the resulting limit.

    The soft limit is often 1,024 for the sake of select(2); other programs are expected to raise it, as Go does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return WANTED
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS enforces a lower limit than the hard one it reports (OPEN_MAX)
            return soft
        return wanted
    return soft


def for_callers(limit: int) -> int:
    """Return how many of ``limit`` descriptors callers' connections may take: at least half of them, and at least one."""
    return max(1, limit - min(RESERVED, limit // 2))


def for_quarantined(limit: int) -> int:
    """Return how many of ``limit`` descriptors connections to token endpoints that wait for reuse may take."""
    return int((limit - for_callers(limit)) * _RESTING_SHARE)
