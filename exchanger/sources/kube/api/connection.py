"""One API server, used from Trio: each request runs in its own thread, which is bounded, and woken when its task is cancelled.

A cancelled task does not wait for its thread, which ends a moment later (see ``access`` for how).
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Generic, TypeVar, final

import attrs
import orjson
import trio

from exchanger.net.network import SYSTEM, RunSync
from exchanger.sources.kube.api.access import ApiCall, ClusterCredentials
from exchanger.sources.kube.api.transport import MAX_BODY_BYTES, ApiRequest, ApiResponseTooLarge, Timeouts, ask, follow
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind

R = TypeVar("R")
B = TypeVar("B")

# Seconds to connect to one address, including TLS: three lost packets, within one network.
CONNECT_S: Final = 5.0
# Seconds for a whole request: as long as an API server lets one run (``--request-timeout``).
CALL_S: Final = 60.0
# Seconds until the next byte of an answer. A server without a cache reads its whole store before the first byte of a list, and has as long
# for that as for all of it.
READ_S: Final = CALL_S
# Seconds without a sign of life after which a server is probed; the part of them, five seconds, for which an answer also serves later
# callers; and seconds for its answer: together less than a minute. The network may be silent, which TCP's keepalive notices
# (``client.KEEPALIVE``), or the server may be paused while its kernel still runs: only an answer shows that it works. A watch without news
# is silent too, and healthy: it must not be cut for that.
QUIET_S: Final = 30.0
SHARED: Final = 1 / 6
PROBE_S: Final = 15.0
# Seconds without a byte after which a watch is cut although the server answers: something in between may have lost it. An API server sends
# bookmarks every 60 seconds, and sometimes omits one; where there are none, this is one more request in that time.
WATCH_READ_S: Final = 150.0
# Seconds after the server's own timeout of a watch when this side ends it: the server ends it to the second, but a connection may be slow.
WATCH_MARGIN_S: Final = 30.0
# Threads for short requests: a reflector makes one at a time, and there are two of them, or one for each named namespace.
MAX_CALLS: Final = 8
# Threads for signs of life: one asks at a time, and the previous one may not have ended yet. They are separate from other requests,
# since a server that is slow with eight lists is not silent.
MAX_PROBES: Final = 2
# Threads for watches, one each, some 100 kB of memory while they wait; with more Namespaces, follow the whole cluster with two watches.
MAX_WATCHES: Final = 1000
# Every authenticated user may request it (https://kubernetes.io/docs/reference/using-api/health-checks/); a refusal is a sign of life.
PROBE_PATH: Final = "/readyz"
_DEAD: Final = frozenset({FailureKind.TIMEOUT, FailureKind.UNREACHABLE, FailureKind.SERVER_ERROR})


@final
@attrs.frozen
class ConnectionBounds:
    """Durations in seconds; see the constants of the same names."""

    connect: float = CONNECT_S
    read: float = READ_S
    call: float = CALL_S
    quiet: float = QUIET_S
    probe: float = PROBE_S
    watch_read: float = WATCH_READ_S
    watch_margin: float = WATCH_MARGIN_S

    @property
    def shared(self) -> float:
        """Seconds for which a sign of life serves other watches too."""
        return self.quiet * SHARED


@final
@attrs.define(eq=False)
class ApiConnection:
    """Makes requests to one API server; see ``client.connect``.

    ``requests`` counts calls and watches, ``probes`` the requests for a sign of life.
    """

    credentials: ClusterCredentials
    bounds: ConnectionBounds = attrs.field(factory=ConnectionBounds)
    run_sync: RunSync = SYSTEM.run_sync
    _calls: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(MAX_CALLS), init=False)
    _streams: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(MAX_WATCHES), init=False)
    _questions: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(MAX_PROBES), init=False)
    _probing: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    # When the last request for a sign of life was over, and when the last one was answered.
    _answered_at: float = attrs.field(default=float("-inf"), init=False)
    _alive_at: float = attrs.field(default=float("-inf"), init=False)
    requests: int = attrs.field(default=0, init=False)
    probes: int = attrs.field(default=0, init=False)

    @property
    def threads(self) -> int:
        """The number of threads that work on requests, or have not noticed yet that they need not."""
        return sum(limiter.borrowed_tokens for limiter in (self._calls, self._questions, self._streams))

    async def get(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> dict[str, object] | ApiFailure:
        """Return the JSON object at ``path``, which starts with a slash and is percent-encoded (``resource.path_of`` makes such)."""
        return _sized(await self.ask(ApiRequest("GET", path, query), _as_it_is))

    async def send(
        self, method: str, path: str, body: dict[str, object] | None = None, *, content_type: str = "application/json"
    ) -> dict[str, object] | ApiFailure:
        """Make a request that changes something, and return the JSON object of its answer.

        A PATCH needs a ``content_type`` such as ``application/merge-patch+json``. The request is only repeated if the server refused its
        credentials and there are others. After a failure without a status, the server may have made the change.
        """
        request = ApiRequest(method, path, body=None if body is None else orjson.dumps(body), content_type=content_type)
        return _sized(await self.ask(request, _as_it_is))

    async def ask(self, request: ApiRequest, read: Callable[[dict[str, object]], R]) -> R | ApiFailure | ApiResponseTooLarge:
        """Make ``request`` and return what ``read`` makes of its answer; ``read`` runs in the thread and must not raise."""
        self.requests += 1
        return await self._ask(request, read, self.bounds.call, self._calls)

    async def _ask(
        self, request: ApiRequest, read: Callable[[dict[str, object]], R], seconds: float, limiter: trio.CapacityLimiter
    ) -> R | ApiFailure | ApiResponseTooLarge:
        call = ApiCall()
        timeouts = Timeouts(min(self.bounds.connect, seconds), min(self.bounds.read, seconds))
        work = partial(ask, self.credentials, call, request, timeouts, read)
        with trio.move_on_after(seconds):
            try:
                return await self.run_sync(work, abandon_on_cancel=True, limiter=limiter, thread_name="kube request")
            finally:
                call.abort()
        return ApiFailure(FailureKind.TIMEOUT, message=f"no answer within {seconds:g} s")

    async def follow(
        self, request: ApiRequest, seconds: float, read: Callable[[list[bytes]], B], take: Callable[[B], Awaitable[bool]]
    ) -> ApiFailure | None:
        """Make ``request``, a watch that the server ends after ``seconds``, and follow it until ``take`` returns ``False``.

        ``read`` turns some lines into a batch, in the thread, and must not raise; the next lines are read once ``take`` is done with it.
        The first batch has no lines: the server has accepted the request.

        Returns:
            Why there are no more lines; ``None`` if the server ended them normally, or ``take`` wanted no more.
        """
        self.requests += 1
        pump = _WatchPump(read, take)
        found: list[ApiFailure | None] = []
        call = ApiCall()
        timeouts = Timeouts(self.bounds.connect, self.bounds.watch_read)
        work = partial(follow, self.credentials, call, request, timeouts, pump.take_in_thread)

        async def listen() -> None:
            try:
                outcome = await self.run_sync(work, abandon_on_cancel=True, limiter=self._streams, thread_name="kube watch")
            finally:
                call.abort()
            found.append(outcome)
            nursery.cancel_scope.cancel()

        async def guard() -> None:
            found.append(await self._silent(pump, trio.current_time() + seconds + self.bounds.watch_margin))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(guard)
        return found[0]

    async def _silent(self, pump: "_WatchPump[B]", end: float) -> ApiFailure:
        """Return when the watch must be given up, at ``end`` at the latest, with the reason."""
        quiet_since = pump.heard_at
        while True:
            await trio.sleep_until(min(quiet_since + self.bounds.quiet, end))
            now = trio.current_time()
            if now >= end:
                return ApiFailure(FailureKind.TIMEOUT, message="the server did not end the watch when it should have")
            # A sign of life that another watch requested also counts for this one, so that they all send one request together.
            quiet_since = now if pump.busy else max(quiet_since, pump.heard_at, self._alive_at)
            if now < quiet_since + self.bounds.quiet:
                continue
            if await self._is_alive() or pump.busy or pump.heard_at > quiet_since:
                quiet_since = trio.current_time()
            else:
                return ApiFailure(FailureKind.TIMEOUT, message="the server sends nothing any more")

    async def _is_alive(self) -> bool:
        """Ask the server for a sign of life, unless the last outcome is recent enough."""
        async with self._probing:  # at most as long as another probe
            if trio.current_time() - self._answered_at > self.bounds.shared:
                self.probes += 1
                outcome = await self._ask(ApiRequest("GET", PROBE_PATH), _as_it_is, self.bounds.probe, self._questions)
                self._answered_at = trio.current_time()
                # The answer is not JSON, and need not be: anything but silence or a server error will do.
                if not isinstance(outcome, ApiFailure) or outcome.kind not in _DEAD:
                    self._alive_at = self._answered_at
            return self._alive_at == self._answered_at


@final
@attrs.define(eq=False)
class _WatchPump(Generic[B]):
    """Carries the batches of a watch from its thread to its task, one at a time, and knows when the last one was taken."""

    _read: Callable[[list[bytes]], B]
    _take: Callable[[B], Awaitable[bool]]
    heard_at: float = attrs.field(factory=trio.current_time, init=False)
    busy: bool = attrs.field(default=False, init=False)

    def take_in_thread(self, lines: list[bytes]) -> bool:
        """Block the watch's thread until these lines are taken; return whether more are wanted."""
        batch = self._read(lines)
        try:
            return trio.from_thread.run(self._take_in_task, batch)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.RunFinishedError):
            return False  # it is no longer followed

    async def _take_in_task(self, batch: B) -> bool:
        self.busy = True
        try:
            return await self._take(batch)
        finally:
            self.busy = False
            self.heard_at = trio.current_time()


def _as_it_is(found: dict[str, object]) -> dict[str, object]:
    return found


def _sized(outcome: dict[str, object] | ApiFailure | ApiResponseTooLarge) -> dict[str, object] | ApiFailure:
    if isinstance(outcome, ApiResponseTooLarge):
        return ApiFailure(FailureKind.MALFORMED, message=f"an answer of more than {MAX_BODY_BYTES} bytes")
    return outcome
