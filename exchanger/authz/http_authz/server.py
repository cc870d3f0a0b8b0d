"""The authorization port: answers gateways over HTTP/1.1, after it has checked that they may ask.

It hands tokens to everyone who asks. So gateways show a client certificate or the secret, or are on this machine; see ``app.settings``.
A check request without the secret is refused without a look at it.
"""

import hmac
import math
from collections.abc import Callable
from functools import partial
from typing import Final, final

import attrs
import structlog
import trio

from exchanger.authz.decision.check import DENY_UNHEALTHY, MISSING_HTTP
from exchanger.authz.decision.outcome import ExchangePending, Filter
from exchanger.authz.evaluation.evaluator import Evaluator, WaitingRequest
from exchanger.authz.evaluation.fields import EMPTY_REQUEST
from exchanger.authz.http_authz.dialects import DIALECTS, SECRET, STATUS, GatewayDialect, answer, read
from exchanger.authz.http_authz.settings import ANY, HttpAuthzSettings
from exchanger.net.deferred import Deferred
from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Request, Response
from exchanger.net.http.reactor_server import ImmediateHandler, ReactorHttpServer
from exchanger.net.http.token_file import TokenFile
from exchanger.net.reactor import Reactor
from exchanger.net.tls.listener import TlsListener
from exchanger.net.tls.rotation import RotationStatistics

HEALTHY: Final = "/healthz"

# A gateway may send the request's body along. It is read, and ignored.
BODY_BYTES: Final = 64 * 1024

# Without the right secret, nothing more is read from the connection.
_FORBIDDEN: Final = Response(403, closes=True)
_NOT_FOUND: Final = Response(404)
_NOT_ALLOWED: Final = Response(405, (("Allow", "GET, HEAD"),))
_TEXT: Final = (("Content-Type", "text/plain; charset=utf-8"),)
_SERVING: Final = Response(200, _TEXT, b"ok\n")
_NOT_SERVING: Final = Response(503, (*_TEXT, ("Retry-After", "1")), b"no policy is active, or the process is stopping\n")
# A gateway may let requests pass on a 5xx.
_FAILURES: Final = {status: Response(403, ((STATUS, str(status)),)) for status in (501, 504)}


def limits(settings: HttpAuthzSettings) -> HttpLimits:
    """Return the limits of the port."""
    return HttpLimits(
        connections=settings.max_connections,
        # As for gRPC: gateways accept about as much from their own clients.
        head_bytes=64 * 1024,
        head_lines=256,
        # Gateways close idle connections themselves, Envoy after an hour. If the server were first, a check request on its way would be
        # lost. Idle connections make room for new ones.
        idle_s=3660.0,
        # A gateway sends a check request in one piece.
        arrival_s=10.0,
        answer_s=10.0,
        body_bytes=BODY_BYTES,
        # Exchanges have shorter limits of their own.
        handler_s=60.0,
    )


# No check request, for answers that have nothing of theirs.
_ANY_CHECK_REQUEST: Final = Request("GET", "/")


@final
@attrs.define(eq=False)
class HttpAuthz:
    """Answers gateways by ``evaluator``, in the turns of ``reactor``.

    ``is_serving``: whether this process wants traffic; ``on_checked`` is told each answer to that. ``unauthorized`` counts the check
    requests without the right secret since the start.
    """

    _settings: HttpAuthzSettings
    evaluator: Evaluator
    reactor: Reactor
    _is_serving: Callable[[], bool]
    _on_checked: Callable[[bool], None]
    unauthorized: int = attrs.field(default=0, init=False)
    http: ReactorHttpServer = attrs.field(init=False)
    _forms: tuple[tuple[Callable[[str], bool], ImmediateHandler], ...] = attrs.field(init=False)
    _tls: TlsListener | None = attrs.field(default=None, init=False)
    secret: TokenFile | None = attrs.field(default=None, init=False)
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger, init=False)

    def __attrs_post_init__(self) -> None:
        settings, reactor = self._settings, self.reactor
        # A fault of ours is a denial, as over gRPC.
        self._forms = tuple(
            (dialect.matches, ImmediateHandler(partial(self._decide, dialect), answer(dialect, _ANY_CHECK_REQUEST, DENY_UNHEALTHY)))
            for dialect in DIALECTS
        )
        if settings.tls is not None:
            self._tls = TlsListener(settings.tls, reactor)
        if settings.secret_file is not None:
            run_sync = reactor.network.run_sync
            self.secret = TokenFile(settings.secret_file, "HTTP_AUTHZ_SECRET_FILE", "http_authz.secret_file_unusable", run_sync)
        self.http = ReactorHttpServer(self._route, limits(settings), reactor, self._failed, _FAILURES, self._tls)

    @property
    def certificate(self) -> RotationStatistics | None:
        """What is known of the TLS certificate and its files; ``None`` without TLS."""
        return None if self._tls is None else self._tls.certificate

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The variable that names the file of the secret, if the file cannot be used as it is now."""
        return () if self.secret is None else self.secret.unreadable

    @property
    def connections(self) -> int:
        """Open connections."""
        return self.http.slots.taken

    @property
    def connections_ended(self) -> int:
        """Connections that found no room, or made it for others, since the start."""
        return self.http.slots.refused + self.http.slots.displaced

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until drained or cancelled; ``started(port)`` reports the port that is bound.

        Raises:
            OSError: the address cannot be bound.
            CertificatesError: the certificate files cannot be used.
            TokenFileError: the file of the secret cannot be used.
        """
        if self._tls is not None:
            await self._tls.start()
        if self.secret is not None:
            await self.secret.start()
        host = self._settings.host
        listeners = await self.reactor.network.listen(None if host == ANY else host, self._settings.port)
        async with trio.open_nursery() as followers:  # they outlive the connections
            if self._tls is not None:
                followers.start_soon(self._tls.run)
            if self.secret is not None:
                followers.start_soon(self.secret.run)
            await self.http.run(listeners, task_status=task_status)
            followers.cancel_scope.cancel()

    def _route(self, check_request: Request) -> Response | ImmediateHandler:
        if self.secret is not None and not _shows(check_request, self.secret.token.reveal()):
            self.unauthorized += 1
            return _FORBIDDEN
        for matches, handler in self._forms:
            if matches(check_request.target):
                return handler
        if check_request.path != HEALTHY:
            return _NOT_FOUND
        if check_request.method not in {"GET", "HEAD"}:
            return _NOT_ALLOWED
        serving = self._is_serving()
        self._on_checked(serving)
        return _SERVING if serving else _NOT_SERVING

    def _decide(self, dialect: GatewayDialect, check_request: Request) -> Response | Deferred:
        evaluator = self.evaluator
        started = evaluator.clock()
        request = read(dialect, check_request, with_headers=evaluator.needs_headers())
        if request is None:
            evaluator.decided(EMPTY_REQUEST, MISSING_HTTP, started, Filter.HTTP)
            return answer(dialect, check_request, MISSING_HTTP)
        outcome = evaluator.begin(request, started, Filter.HTTP)
        if type(outcome) is not ExchangePending:
            return answer(dialect, check_request, outcome)
        # Gateways do not say over HTTP how long they wait, so the exchange has only its own limits.
        return WaitingRequest(evaluator, request, outcome, started, Filter.HTTP, partial(answer, dialect, check_request)).begin(math.inf)

    def _failed(self, fault: BaseException) -> None:
        # Only the type: the message may contain request data.
        self._log.error("http_authz.handler_failed", error=type(fault).__qualname__)


def _shows(check_request: Request, secret: str) -> bool:
    """Return whether ``check_request`` has the secret, exactly once."""
    shown = [value for name, value in check_request.headers if name.replace("_", "-") == SECRET]
    return len(shown) == 1 and hmac.compare_digest(check_request.value(SECRET).encode("latin-1"), secret.encode())
