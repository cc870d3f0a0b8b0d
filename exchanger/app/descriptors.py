"""How many files and sockets this process may have open, and how many of them callers may take.

Must not know: who opens them.
"""

import resource
from typing import Final

WANTED: Final = 65_536
"""Descriptors that are asked for: many times what all our limits add up to, and no number that anything chokes on."""
RESERVED: Final = 1024
"""Descriptors that callers' connections leave for everything else: token endpoints, the API server, scrapes, the console."""


def raise_limit() -> int:
    """Raise the soft limit as far as the hard one and ``WANTED`` allow; return what it is then.

    Soft limits are often 1,024, for programs that use select(2), and are meant to be raised by others; Go does so for every program.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return WANTED
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS has a lower limit than the hard one that it tells (OPEN_MAX)
            return soft
        return wanted
    return soft


def for_callers(limit: int) -> int:
    """Return how many of ``limit`` descriptors callers' connections may take: at least half, and one."""
    return max(1, limit - min(RESERVED, limit // 2))
