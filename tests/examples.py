"""How many examples a law is tried with."""

from hypothesis import settings


def examples(count: int) -> int:
    """Return ``count``, or the part of it that the quick tier has time for."""
    return max(5, count * settings().max_examples // 100)
