"""When a reflector tries again: after a failure, and after watches that say too little.

A watch may be accepted and deliver nothing although the server answers everything else: a proxy buffers answers until they are complete, or
a stream stalls. Events and bookmarks show that it works, and so does a clean end of a watch, which delivers everything that was held back.
"""

import enum
import math
from random import Random
from typing import Final, assert_never, final

import attrs
import trio

from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from exchanger.sources.kube.settings import ReflectorSettings
from exchanger.util.backoff import BackOff

# Seconds that a server may ask for at most: one that sheds load asks for one, and no header may blind the program for long.
MAX_RETRY_AFTER_S: Final = 10.0
# Watches in a row that may fail with server errors before a new list: a server that cannot read an object from its store answers every
# watch from that version so, and only a list leads past it (client-go: TestReflectorReplacesStoreOnUnsafeDelete).
MAX_SERVER_ERRORS: Final = 3
# Seconds before a watch's end: an event that came earlier was not held back until the end. API servers send a bookmark two seconds before
# they end a watch.
LIVE_S: Final = 1.0


@enum.unique
class ReflectorStep(enum.Enum):
    """What the reflector is doing."""

    # Getting a complete state: there is none, or none that a watch can continue from.
    LIST = "list"
    # Following changes from the known version.
    WATCH = "watch"
    # Requesting the newest version after a break: it shows whether the server responds, and whether its version went back.
    PROBE = "probe"
    # Listing everything to compare it with the known state: after an outage, in which the store may have been restored, and now and then.
    COMPARE = "compare"


@final
@attrs.frozen
class Retry:
    """A failed attempt, and the next step.

    ``resync``: the server worked, and only the position in its history was lost. These have a separate back-off, whose first wait is zero,
    so that the first list after an outage does not wait as long as requests had to.
    """

    failure: ApiFailure
    next: ReflectorStep
    resync: bool = False

    @property
    def at_least(self) -> float:
        """Seconds that the server asked to wait, within reason."""
        asked = self.failure.retry_after
        return 0.0 if asked is None or not asked > 0.0 else min(asked, MAX_RETRY_AFTER_S)


def after_failure(attempt: ReflectorStep, failure: ApiFailure) -> Retry:
    """Return what follows ``failure`` of ``attempt``; every failure is retried for ever, with ever longer waits."""
    match attempt:
        case ReflectorStep.LIST:
            return Retry(failure, ReflectorStep.LIST, resync=failure.kind is FailureKind.GONE)
        case ReflectorStep.WATCH:
            return _after_watch(failure)
        case ReflectorStep.PROBE | ReflectorStep.COMPARE:
            return Retry(failure, _after_look(failure.kind))
        case _:
            assert_never(attempt)


def _after_watch(failure: ApiFailure) -> Retry:
    match failure.kind:
        case FailureKind.GONE | FailureKind.MALFORMED:
            return Retry(failure, ReflectorStep.LIST, resync=True)  # what was missed, or sent, is unknown
        case FailureKind.UNSUPPORTED:
            return Retry(failure, ReflectorStep.LIST)  # the version is all that a list can change about the request
        case (
            FailureKind.UNREACHABLE
            | FailureKind.TIMEOUT
            | FailureKind.SERVER_ERROR
            | FailureKind.TOO_MANY_REQUESTS
            | FailureKind.UNAUTHORIZED
            | FailureKind.FORBIDDEN
            | FailureKind.NOT_FOUND
        ):
            return Retry(failure, ReflectorStep.PROBE)
        case _:
            assert_never(failure.kind)


def _after_look(kind: FailureKind) -> ReflectorStep:
    match kind:
        case FailureKind.UNREACHABLE | FailureKind.TIMEOUT | FailureKind.SERVER_ERROR | FailureKind.TOO_MANY_REQUESTS:
            return ReflectorStep.PROBE
        case FailureKind.UNAUTHORIZED | FailureKind.FORBIDDEN | FailureKind.NOT_FOUND:
            return ReflectorStep.WATCH  # the right to list may be gone while the one to watch remains
        case FailureKind.GONE | FailureKind.UNSUPPORTED | FailureKind.MALFORMED:
            return ReflectorStep.WATCH  # the server responds, and a watch does not depend on a probe
        case _:
            assert_never(kind)


@final
@attrs.define(eq=False)
class RetryTimer:
    """Waits after failures: one back-off for the server's, one for lost places in its history; ``hurried`` shortens both."""

    settings: ReflectorSettings
    random: Random
    hurried: bool = attrs.field(default=False, init=False)
    _back_off: BackOff = attrs.field(init=False)
    _resync_back_off: BackOff = attrs.field(init=False)
    _woken: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._back_off = BackOff(self.settings.back_off, self.random)
        self._resync_back_off = BackOff(self.settings.back_off, self.random)

    def hurry(self, hurried: bool) -> None:  # noqa: FBT001 - a setter
        """Wait only a few seconds from now on, and end the current wait; or return to the back-offs."""
        self.hurried = hurried
        if hurried:
            self.wake()

    def wake(self) -> None:
        """End the current wait: there is reason to believe that the next attempt succeeds."""
        self._woken.set()
        self._woken = trio.Event()

    def succeeded(self) -> None:
        """A watch was followed for a while: failures before it no longer count."""
        self._back_off.succeeded()
        self._resync_back_off.succeeded()

    def failed(self, retry: Retry, now: float) -> float:
        """Return the seconds to wait before ``retry``."""
        back_off = self._resync_back_off if retry.resync else self._back_off
        wait = back_off.failed(now, at_least=retry.at_least, lenient=retry.resync)
        if retry.resync:
            wait = max(min(wait, self.settings.max_resync), retry.at_least)
        if not self.hurried:
            return wait
        return max(min(wait, self.random.uniform(*self.settings.hurry)), retry.at_least)

    async def sleep(self, seconds: float, at_least: float = 0.0) -> None:
        """Wait for ``seconds``, or until woken; then for ``at_least`` seconds in all, and no less than after a first failure."""
        woken, began = self._woken, trio.current_time()
        with trio.move_on_after(seconds):
            await woken.wait()
            await trio.sleep_until(began + max(at_least, self.settings.back_off.first))


@final
@attrs.define(eq=False)
class WatchDeadline:
    """Limits a watch on this side, since a silent server would let it last for ever: by a time, and by the silence before it."""

    silence: float
    until: float
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        self.extend()

    @property
    def is_silence(self) -> bool:
        """Whether silence ends the watch next, not the time."""
        return self.scope.deadline < self.until

    def extend(self) -> None:
        """Restart the silence."""
        self.scope.deadline = min(self.until, trio.current_time() + self.silence)

    def begin(self, silence: float, until: float) -> None:
        """Restart it with other bounds."""
        self.silence, self.until = silence, until
        self.extend()


@final
@attrs.define(eq=False)
class WatchHealth:
    """The signs of life of one resource's successive watches; times are seconds of the caller's clock.

    ``doubted``: watches were silent for too long, and none has sent anything in time since. ``last``: when the known state was last known
    to be right, ``None`` before the first time. ``quiet``: seconds of following watches without a sign of life.
    """

    settings: ReflectorSettings
    doubted: bool = attrs.field(default=False, init=False)
    last: float | None = attrs.field(default=None, init=False)
    quiet: float = attrs.field(default=0.0, init=False)
    _quiet_from: float = attrs.field(default=math.inf, init=False)
    _first_event: float = attrs.field(default=math.inf, init=False)
    _ended_well: bool = attrs.field(default=False, init=False)

    def listed(self, now: float) -> None:
        """Everything was listed."""
        self.last, self.quiet = now, 0.0

    def accepted(self, now: float) -> bool:
        """The server accepted a watch; return whether changes are followed now.

        They are, unless earlier watches were accepted and silent: then one must end cleanly first.
        """
        self._quiet_from, self._first_event = now, math.inf
        if not self.doubted:
            self.last = now
        return not self.doubted or self._ended_well

    def spoken(self, now: float) -> None:
        """The watch brought an event or a bookmark."""
        self._first_event = min(self._first_event, now)
        self._seen(now)

    def ended(self, now: float) -> None:
        """The server ended the watch in good order."""
        self._seen(now)
        self._ended_well = True
        # What came with the end may have been held back until then. Where watches are short anyway, that is good enough.
        if self.settings.is_short or now - self._first_event >= LIVE_S:
            self.doubted = False

    def left(self, now: float) -> None:
        """The watch has ended, for whatever reason."""
        self.quiet += max(0.0, now - self._quiet_from)
        self._quiet_from = math.inf

    def fell_silent(self) -> bool:
        """The last watch was silent for too long; return whether that is new."""
        new, self.doubted = not self.doubted, True
        self.quiet, self._ended_well = 0.0, False
        return new

    @property
    def silence(self) -> float:
        """Seconds that the next watch, or the current one since its last sign of life, may be silent."""
        settings = self.settings
        if self.doubted:
            return max(0.0, settings.short_silence - self.quiet)
        return max(0.0, min(settings.silence, settings.patience - self.quiet))

    @property
    def lengths(self) -> tuple[float, float]:
        """The bounds, in seconds, of the next watch's length."""
        return self.settings.short_watch if self.doubted else (self.settings.min_watch, self.settings.max_watch)

    @property
    def by_ends(self) -> bool:
        """Whether the ends of watches, not bookmarks, show that changes are followed."""
        return self.doubted or self.settings.is_short

    def _seen(self, now: float) -> None:
        self.last = self._quiet_from = now
        self.quiet = 0.0
