"""One API server, asked from Trio: each request runs in a thread of its own that is bounded, and woken when whoever waits for it leaves.

A thread ends soon after its request was cancelled, and a cancelled task does not wait for it. Must not know: what objects are for, or
where credentials come from.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Generic, TypeVar, final

import attrs
import orjson
import trio

from exchanger.kube.credentials import Credentials
from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.round_trip import MAX_BODY_BYTES, Request, Timeouts, TooLarge, ask, follow
from exchanger.kube.sockets import Call

R = TypeVar("R")
B = TypeVar("B")

CONNECT_S: Final = 5.0
"""Seconds to connect to one address, TLS included: three lost packets, within one network."""
CALL_S: Final = 60.0
"""Seconds for a whole request: as long as an API server lets one run (``--request-timeout``)."""
READ_S: Final = CALL_S
"""Seconds until the next byte of an answer. A server without a cache reads its whole store before the first byte of a list, and has as long
for that as for all of it."""
QUIET_S: Final = 30.0
SHARED: Final = 1 / 6
PROBE_S: Final = 15.0
"""Seconds without a sign of life after which a server is asked for one; the part of them, five seconds, for which an answer is also that to
whoever asks next; and seconds for its answer: together less than a minute.

What can be silent is the network, which TCP's keepalive notices (``client.KEEPALIVE``), or a server that is stopped while its kernel goes
on: only an answer shows that it is not. A watch without news is silent too, and healthy: it must not be cut for that.
"""
WATCH_READ_S: Final = 150.0
"""Seconds without a byte after which a watch is cut although the server answers: something in between may have lost it. An API server
that was watched in silence sent bookmarks every 60 seconds, and sometimes left one out; where none come, this is one request more in
that time."""
WATCH_MARGIN_S: Final = 30.0
"""Seconds after the server's time for a watch when this side ends it: the server ends it to the second, give or take a slow connection."""
MAX_CALLS: Final = 8
"""Threads for short requests: a reflector makes one at a time, and there are two of them, or one for each named namespace."""
MAX_PROBES: Final = 2
"""Threads for signs of life: one asks at a time, and the one before it may still be on its way out. Other requests have none of them, since
a server that is slow with eight lists is not silent."""
MAX_WATCHES: Final = 1000
"""Threads for watches, one each, some 100 kB of memory while they wait; whoever needs more should follow the whole cluster by two."""
PROBE_PATH: Final = "/readyz"
"""Every authenticated user may ask for it (https://kubernetes.io/docs/reference/using-api/health-checks/); a refusal is a sign of life."""
_DEAD: Final = frozenset({FailureKind.TIMEOUT, FailureKind.UNREACHABLE, FailureKind.SERVER_ERROR})


@final
@attrs.frozen
class ConnectionBounds:
    """Durations in seconds; the constants of the same names say why."""

    connect: float = CONNECT_S
    read: float = READ_S
    call: float = CALL_S
    quiet: float = QUIET_S
    probe: float = PROBE_S
    watch_read: float = WATCH_READ_S
    watch_margin: float = WATCH_MARGIN_S

    @property
    def shared(self) -> float:
        """Seconds for which an answer to the question for a sign of life is shared."""
        return self.quiet * SHARED


@final
@attrs.frozen
class ConnectionStatistics:
    """Counts since the start, except ``open_watches``. ``renewals``: credentials were refused and others found.

    ``threads`` are those that work or have not noticed yet that they need not.
    """

    requests: int
    failures: int
    watches: int
    open_watches: int
    probes: int
    renewals: int
    threads: int


@final
@attrs.define(eq=False)
class ApiConnection:
    """Makes requests to one API server; see ``client.connect``."""

    credentials: Credentials
    bounds: ConnectionBounds = attrs.field(factory=ConnectionBounds)
    _calls: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(MAX_CALLS), init=False)
    _streams: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(MAX_WATCHES), init=False)
    _questions: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(MAX_PROBES), init=False)
    _probing: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _answered_at: float = attrs.field(default=float("-inf"), init=False)
    """When the server was last asked for a sign of life and gave one, or was found to give none."""
    _alive_at: float = attrs.field(default=float("-inf"), init=False)
    """When it last gave one."""
    _requests: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _watches: int = attrs.field(default=0, init=False)
    _open: int = attrs.field(default=0, init=False)
    _probes: int = attrs.field(default=0, init=False)

    async def get(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> dict[str, object] | ApiFailure:
        """Return the JSON object at ``path``, which starts with a slash and is percent-encoded (``resource.path_of`` makes such)."""
        return _sized(await self.ask(Request("GET", path, query), _as_it_is))

    async def send(
        self, method: str, path: str, body: dict[str, object] | None = None, *, content_type: str = "application/json"
    ) -> dict[str, object] | ApiFailure:
        """Make a request that changes something, and return the JSON object of its answer.

        A PATCH needs a ``content_type`` such as ``application/merge-patch+json``. The request is not repeated, unless the server refused
        its credentials and there are others; a failure without a status may have happened after the server had done what was asked.
        """
        request = Request(method, path, body=None if body is None else orjson.dumps(body), content_type=content_type)
        return _sized(await self.ask(request, _as_it_is))

    async def ask(self, request: Request, read: Callable[[dict[str, object]], R]) -> R | ApiFailure | TooLarge:
        """Make ``request`` and return what ``read`` makes of its answer; ``read`` runs in the thread and must not raise."""
        self._requests += 1
        outcome = await self._ask(request, read, self.bounds.call, self._calls)
        if isinstance(outcome, ApiFailure):
            self._failures += 1
        return outcome

    async def _ask(
        self, request: Request, read: Callable[[dict[str, object]], R], seconds: float, limiter: trio.CapacityLimiter
    ) -> R | ApiFailure | TooLarge:
        call = Call()
        timeouts = Timeouts(min(self.bounds.connect, seconds), min(self.bounds.read, seconds))
        work = partial(ask, self.credentials, call, request, timeouts, read)
        with trio.move_on_after(seconds):
            try:
                return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter, thread_name="kube request")
            finally:
                call.abort()
        return ApiFailure(FailureKind.TIMEOUT, message=f"no answer within {seconds:g} s")

    async def follow(
        self, request: Request, seconds: float, read: Callable[[list[bytes]], B], take: Callable[[B], Awaitable[bool]]
    ) -> ApiFailure | None:
        """Make ``request``, a watch that the server ends after ``seconds``, and follow it until ``take`` returns ``False``.

        ``read`` makes a batch of some lines, in the thread, and must not raise; the next lines are read when ``take`` is done with it. The
        first batch is of no lines: the server has taken the request.
        Returns why there are no more lines; ``None`` when the server ended them in good order, or ``take`` wanted no more.
        """
        self._watches += 1
        self._open += 1
        try:
            failure = await self._follow(request, seconds, _Ear(read, take))
        finally:
            self._open -= 1
        if failure is not None:
            self._failures += 1
        return failure

    async def _follow(self, request: Request, seconds: float, ear: "_Ear[B]") -> ApiFailure | None:
        found: list[ApiFailure | None] = []
        call = Call()
        timeouts = Timeouts(self.bounds.connect, self.bounds.watch_read)
        work = partial(follow, self.credentials, call, request, timeouts, ear.take_in_thread)

        async def listen() -> None:
            try:
                outcome = await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._streams, thread_name="kube watch")
            finally:
                call.abort()
            found.append(outcome)
            nursery.cancel_scope.cancel()

        async def guard() -> None:
            found.append(await self._silent(ear, trio.current_time() + seconds + self.bounds.watch_margin))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(guard)
        return found[0]

    async def _silent(self, ear: "_Ear[B]", end: float) -> ApiFailure:
        """Return when the watch must be given up, at ``end`` at the latest, and why."""
        quiet_since = ear.heard_at
        while True:
            await trio.sleep_until(min(quiet_since + self.bounds.quiet, end))
            now = trio.current_time()
            if now >= end:
                return ApiFailure(FailureKind.TIMEOUT, message="the server did not end the watch when it should have")
            # What the server answered to another watch counts for this one too: so all of them ask once in the time for one.
            quiet_since = now if ear.busy else max(quiet_since, ear.heard_at, self._alive_at)
            if now < quiet_since + self.bounds.quiet:
                continue
            if await self._is_alive() or ear.busy or ear.heard_at > quiet_since:
                quiet_since = trio.current_time()
            else:
                return ApiFailure(FailureKind.TIMEOUT, message="the server gives no sign of life")

    async def _is_alive(self) -> bool:
        """Ask the server for a sign of life, unless the last answer, or that there was none, is recent enough."""
        async with self._probing:  # no longer than the probe of whoever holds it takes
            if trio.current_time() - self._answered_at > self.bounds.shared:
                self._probes += 1
                outcome = await self._ask(Request("GET", PROBE_PATH), _as_it_is, self.bounds.probe, self._questions)
                self._answered_at = trio.current_time()
                # What it says is no JSON, and need not be: anything but silence or an error of its own will do.
                if not isinstance(outcome, ApiFailure) or outcome.kind not in _DEAD:
                    self._alive_at = self._answered_at
            return self._alive_at == self._answered_at

    def statistics(self) -> ConnectionStatistics:
        """Return what is known of the connection at this moment."""
        return ConnectionStatistics(
            requests=self._requests,
            failures=self._failures,
            watches=self._watches,
            open_watches=self._open,
            probes=self._probes,
            renewals=self.credentials.renewals,
            threads=sum(limiter.borrowed_tokens for limiter in (self._calls, self._questions, self._streams)),
        )


@final
@attrs.define(eq=False)
class _Ear(Generic[B]):
    """Hands what a watch says over from its thread, one batch at a time, and knows when something was last heard."""

    _read: Callable[[list[bytes]], B]
    _take: Callable[[B], Awaitable[bool]]
    heard_at: float = attrs.field(factory=trio.current_time, init=False)
    busy: bool = attrs.field(default=False, init=False)

    def take_in_thread(self, lines: list[bytes]) -> bool:
        """Return whether more lines are wanted, when these have been taken; blocks until then, in the watch's thread."""
        batch = self._read(lines)
        try:
            return trio.from_thread.run(self._take_in_task, batch)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.RunFinishedError):
            return False  # nobody listens any more

    async def _take_in_task(self, batch: B) -> bool:
        self.busy = True
        try:
            return await self._take(batch)
        finally:
            self.busy = False
            self.heard_at = trio.current_time()


def _as_it_is(found: dict[str, object]) -> dict[str, object]:
    return found


def _sized(outcome: dict[str, object] | ApiFailure | TooLarge) -> dict[str, object] | ApiFailure:
    if isinstance(outcome, TooLarge):
        return ApiFailure(FailureKind.MALFORMED, message=f"an answer of more than {MAX_BODY_BYTES} bytes")
    return outcome
