"""Which examples the laws are tried with, and how many.

Every run of a commit tries the same ones, on every machine: a change is judged by what it changes. EXCHANGER_TESTS_EXPLORE=TIMES asks for
others, and for TIMES as many; ``python -m tests.explore`` does so with one seed after another.
"""

import os
from typing import Final

from hypothesis import HealthCheck, settings

from tests.explore import EXPLORE

# Of a law that names no number, where examples are explored. Other runs take three quarters of that: no mutant of those that a law was
# asked about alone needed more (NOTES.md).
USUAL: Final = 100
FULL: Final = 75
QUICK: Final = 20


def register_profiles() -> None:
    """Make and load ``default``, and make ``quick`` for the quick tier.

    Shared machines stall at times: the cost of a law is a matter for benchmarks, not for a deadline here. Without a database of failures, a
    replay depends on the seed alone.
    """
    explore = os.environ.get(EXPLORE, "")
    times = max(1, int(explore)) if explore.isdecimal() else 1
    full = USUAL if explore else FULL
    settings.register_profile(
        "default",
        deadline=None,
        database=None,
        derandomize=not explore,
        max_examples=full * times,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.register_profile("quick", settings.get_profile("default"), max_examples=QUICK * times)
    settings.load_profile("default")


def examples(count: int) -> int:
    """Return ``count``, or the part or multiple of it that this run has time for."""
    return max(5, count * settings().max_examples // USUAL)
