"""What a reflector attempts, and what it attempts after a failure. Pure: values in, values out."""

import enum
from typing import Final, assert_never, final

import attrs

from exchanger.kube.list_watch import ApiFailure, FailureKind

MAX_RETRY_AFTER_S: Final = 10.0
"""Seconds that a server may ask for at most: one that sheds load asks for one, and no header may make the program blind for long."""
MAX_SERVER_ERRORS: Final = 3
"""Watches in a row that may fail with server errors before a new list: a server that cannot read an object back from its store answers
every watch from that version in this way, and only a list leads past it (client-go: TestReflectorReplacesStoreOnUnsafeDelete)."""


@enum.unique
class Attempt(enum.Enum):
    """What the reflector is at."""

    LIST = "list"
    """Getting a complete state, because there is none, or none that can be continued from."""
    WATCH = "watch"
    """Following changes from the version that is known."""
    PROBE = "probe"
    """Asking for the newest version, after something that may have been a restart: a store that was restored shows in it."""
    COMPARE = "compare"
    """Listing everything although nothing is wrong, to see whether it is what is known."""


@final
@attrs.frozen
class Setback:
    """An attempt failed.

    ``lenient``: the server did its part, and only the place in its history was lost. These are counted apart from a server's failures, so
    that the first list after an outage does not wait for as long as the outage made requests wait, and the first of them needs no wait.
    """

    failure: ApiFailure
    next: Attempt
    lenient: bool = False

    @property
    def at_least(self) -> float:
        """Seconds that the server asked to wait, within reason."""
        asked = self.failure.retry_after
        return 0.0 if asked is None or not asked > 0.0 else min(asked, MAX_RETRY_AFTER_S)


def after_failure(attempt: Attempt, failure: ApiFailure) -> Setback:
    """Return what to do about ``failure`` of ``attempt``; every failure is retried for ever, with ever longer waits."""
    match attempt:
        case Attempt.LIST:
            return Setback(failure, Attempt.LIST, lenient=failure.kind is FailureKind.GONE)
        case Attempt.WATCH:
            return _after_watch(failure)
        case Attempt.PROBE | Attempt.COMPARE:
            return Setback(failure, _after_look(failure.kind))
        case _:
            assert_never(attempt)


def _after_watch(failure: ApiFailure) -> Setback:
    match failure.kind:
        case FailureKind.GONE | FailureKind.MALFORMED:
            # What was missed, or said, is not known.
            return Setback(failure, Attempt.LIST, lenient=True)
        case FailureKind.UNSUPPORTED:
            # The server does not like the request, and the version is all that a list can change about it.
            return Setback(failure, Attempt.LIST)
        case (
            FailureKind.UNREACHABLE
            | FailureKind.TIMEOUT
            | FailureKind.SERVER_ERROR
            | FailureKind.TOO_MANY_REQUESTS
            | FailureKind.UNAUTHORIZED
            | FailureKind.FORBIDDEN
            | FailureKind.NOT_FOUND
        ):
            return Setback(failure, Attempt.PROBE)
        case _:
            assert_never(failure.kind)


def _after_look(kind: FailureKind) -> Attempt:
    match kind:
        case FailureKind.UNREACHABLE | FailureKind.TIMEOUT | FailureKind.SERVER_ERROR | FailureKind.TOO_MANY_REQUESTS:
            return Attempt.PROBE
        case FailureKind.UNAUTHORIZED | FailureKind.FORBIDDEN | FailureKind.NOT_FOUND:
            return Attempt.WATCH  # the right to list may be gone while the one to watch is there
        case FailureKind.GONE | FailureKind.UNSUPPORTED | FailureKind.MALFORMED:
            return Attempt.WATCH  # the server is there, and following it does not depend on a look
        case _:
            assert_never(kind)
