"""The target of scenarios: a gateway, tokens for it, and what else can be seen or changed there.

Each request has its own trace context (https://www.w3.org/TR/trace-context/), by which logs, traces and the console identify it.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

import attrs
import trio

from exchanger.commands.scenarios.answer import Recognise, ScenarioAnswer, answer_of, differs, exchanged_by_demo
from exchanger.commands.scenarios.client import NoAnswerError, fetch_from
from exchanger.commands.scenarios.scenario import GatewayCall
from exchanger.commands.scenarios.tokens import Subject, Subjects
from exchanger.model.trace import SAMPLED, parse_traceparent
from exchanger.net.http.message import Headers, Request, Response
from exchanger.net.network import SYSTEM
from exchanger.util.address import format_address

# Seconds for one request: more than a gateway's second for the service and its five for the upstream.
REQUEST_TIMEOUT: Final = 8.0

# The possible kinds of the demo's own tokens: without signatures none can be wrong.
UNSIGNED_SUBJECTS: Final = frozenset({Subject.NONE, Subject.VALID, Subject.EXPIRED, Subject.OPAQUE, Subject.REVOKED})

_TRACEPARENT: Final = "traceparent"


@final
@attrs.frozen
class Gateway:
    """Where requests go: to ``host`` and ``port``, by TLS if there is a context. ``server_name`` "" is ``host``."""

    host: str
    port: int
    tls: ssl.SSLContext | None = attrs.field(default=None, eq=False)
    server_name: str = ""

    @property
    def base_url(self) -> str:
        """The gateway's URL, for people."""
        return f"{'https' if self.tls else 'http'}://{format_address(self.server_name or self.host, self.port)}"


@final
@attrs.frozen
class AnsweredCall:
    """One request and what came back: a ``response``, or a ``problem`` in words. ``elapsed`` is in seconds.

    ``sent`` is the token that was sent, "" for none. Fields that may hold tokens are hidden from repr.
    """

    call: GatewayCall = attrs.field(repr=False)
    trace_id: str
    sent: str = attrs.field(repr=False)
    response: Response | None = attrs.field(repr=False)
    problem: str = ""
    elapsed: float = 0.0


@final
@attrs.frozen
class ScenarioTarget:
    """The target of scenarios. A scenario that needs something that is ``None`` here is skipped.

    Attributes:
        gateway: Where requests are sent.
        subjects: Returns the token for a subject, "" for ``NONE``. A user's own token is the same for every other subject.
        made: The subjects whose tokens are what their names say; a scenario for another one is skipped.
        fresh: Makes tokens for a user with this name, for whom none was requested yet, to count token requests.
        stats: Host and port of the token endpoint, whose ``/stats`` has the number of token requests of each user.
        policy: The folder with the policy files to edit.
        lenient: The token is the user's own, and its issuer is unknown: an exchanged token is one that differs from the one sent.
        timeout: Seconds for one request.
        recognise: Verifies a token that the upstream saw instead of the one that was sent.
        signed: Whether the tokens are those of a real issuer.
        grants: Whether the teams and grants of the local demo are active.
        recorded: Whether requests ask for their trace to be recorded; otherwise the gateway decides.
    """

    gateway: Gateway
    subjects: Callable[[Subject], str] = attrs.field(repr=False)
    made: frozenset[Subject] = frozenset(Subject)
    fresh: Callable[[str], Subjects] | None = None
    stats: tuple[str, int] | None = None
    policy: Path | None = None
    lenient: bool = False
    timeout: float = REQUEST_TIMEOUT
    recognise: Recognise = attrs.field(default=exchanged_by_demo, repr=False)
    signed: bool = False
    recorded: bool = False
    grants: bool = False

    def token(self, call: GatewayCall) -> str:
        """Return the token to send with ``call``, "" for none. A user's own replaces the one in the scenario, too."""
        return call.literal if call.literal and not self.lenient else self.subjects(call.subject)

    def why_not(self, call: GatewayCall) -> str:
        """Return why ``call`` cannot be sent here, or its token cannot be obtained; "" if it can be sent."""
        if call.grants and not self.grants:
            return "only exchanger demo has the teams and grants for it"
        if call.signed and not self.signed:
            return "it needs a token that Keycloak has issued, or one made from it"
        if call.subject in self.made or (call.literal and not self.lenient):
            return ""
        return f"it needs a token that is {call.subject.value}, which cannot be made here"

    def with_own_token(self, token: str) -> "ScenarioTarget":
        """Return this target for a user's own ``token``: checked leniently, and without what only the demo's users can show."""

        def own(subject: Subject) -> str:
            return "" if subject is Subject.NONE else token

        made = frozenset({Subject.NONE, Subject.VALID})
        return attrs.evolve(self, subjects=own, made=made, fresh=None, lenient=True, recognise=differs, signed=True)

    async def send(self, call: GatewayCall, token: str) -> AnsweredCall:
        """Send ``call`` with ``token`` ("" for none). No answer is a result, too."""
        trace_id, traced = _traced(call.headers, recorded=self.recorded)
        request, gateway = request_of(attrs.evolve(call, headers=traced), token), self.gateway
        started = trio.current_time()
        response, problem = None, ""
        try:
            response = await fetch_from(
                gateway.host, gateway.port, request, timeout=self.timeout, tls=gateway.tls, server_name=gateway.server_name
            )
        except NoAnswerError as error:
            problem = str(error)
        return AnsweredCall(call, trace_id, token, response, problem, trio.current_time() - started)

    def check(self, asked: AnsweredCall) -> ScenarioAnswer | str:
        """Return the content of the answer, or why there is none."""
        return asked.problem if asked.response is None else answer_of(asked.response, asked.sent, self.recognise)


def request_of(call: GatewayCall, token: str) -> Request:
    """Return ``call`` as an HTTP request with ``token`` ("" for none)."""
    authorization = (("Authorization", f"Bearer {token}"),) if token else ()
    return Request(call.method, call.path, (("Host", call.host), *authorization, *call.headers))


def _traced(headers: Headers, *, recorded: bool) -> tuple[str, Headers]:
    """Return the trace id, "" if the call's own trace context has none, and the headers with a trace context."""
    own = [value for name, value in headers if name.lower() == _TRACEPARENT]
    if own:
        known = parse_traceparent(",".join(own))  # joined as a gateway joins them: two are invalid
        return known[0] if known else "", headers
    trace_id = SYSTEM.entropy(16).hex()
    return trace_id, (*headers, (_TRACEPARENT, f"00-{trace_id}-{SYSTEM.entropy(8).hex()}-{SAMPLED if recorded else 0:02x}"))
