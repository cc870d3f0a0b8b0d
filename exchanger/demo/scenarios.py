"""What the demo shows, as data: each request with what has to come of it, and what to watch.

Paths, scopes, resources and audiences are those of the sample policy (``policy/``) and of the token endpoint's rules.

Must not know: ports, sockets, or how a scenario is run.
"""

import enum
from typing import final

import attrs

from exchanger.demo.answer import Answer, Exchanged, Reached
from exchanger.demo.http import Headers
from exchanger.demo.token_rules import Target

YELLOW = "yellow.example.com"
RED = "red.example.com"
BLUE = "blue.example.com"

EDIT_BOUND = 1.0  # seconds until a changed policy file has to be in force: watching takes about 30 ms, reading and publishing less
REQUESTS_AT_ONCE = 10  # enough that a few would meet by chance, few enough for one glance at the counts


@enum.unique
class Subject(enum.Enum):
    """Which subject token a request carries."""

    NONE = "none"
    VALID = "valid"
    EXPIRED = "expired"


@final
@attrs.frozen
class Call:
    """One request to the gateway."""

    host: str
    path: str
    subject: Subject = Subject.VALID
    method: str = "GET"
    headers: Headers = ()


@final
@attrs.frozen
class OneRequest:
    """A request and its answer."""

    name: str
    watch: str
    call: Call
    expected: Answer


@final
@attrs.frozen
class EqualRequests:
    """The same request ``count`` times at once: each is answered as expected, and the token endpoint is asked once."""

    name: str
    watch: str
    call: Call
    expected: Answer
    count: int


@final
@attrs.frozen
class PolicyEdit:
    """In ``file``, ``old`` is replaced by ``new`` while everything runs: answers change to ``edited`` in time, and back again."""

    name: str
    watch: str
    call: Call
    expected: Answer
    edited: Answer
    file: str
    old: str
    new: str


Scenario = OneRequest | EqualRequests | PolicyEdit


def _exchanged(scope: str = "", resources: tuple[str, ...] = (), audiences: tuple[str, ...] = ()) -> Answer:
    return Answer(200, upstream=Exchanged(Target(scope, resources, audiences)))


def _server_error(code: str) -> str:
    return f'{{"error":"server_error","error_description":"internal server error ({code})"}}'


def _oauth_error(error: str) -> str:
    return f'{{"error":"{error}","error_description":"request failed (TXE-2001)"}}'


def _unusable(code: str) -> str:
    return f'{{"error":"invalid_request","error_description":"internal server error ({code})"}}'


_PREFLIGHT: Headers = (("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "POST"))
_MISSING = Answer(401, '{"error":"bearer_token_required"}', ('Bearer realm="exchanger-demo", scope="read:orders"',))

READINESS = OneRequest(
    "yellow-success",
    "the upstream sees a token for the scope, not the caller's",
    Call(YELLOW, "/orders/1"),
    _exchanged(scope="read:orders"),
)

SCENARIOS: tuple[Scenario, ...] = (
    READINESS,
    OneRequest(
        "red-success",
        "the same by resource; the client's credentials travel in the token request's body",
        Call(RED, "/inventory"),
        _exchanged(resources=("https://inventory.red.example.com/",)),
    ),
    OneRequest(
        "blue-success",
        "the same by audience, of which there are two",
        Call(BLUE, "/reports?year=2024"),
        _exchanged(audiences=("reports-api", "archive-api")),
    ),
    OneRequest(
        "missing-bearer", "a challenge says what to bring: realm and scope", Call(YELLOW, "/orders/1", subject=Subject.NONE), _MISSING
    ),
    OneRequest(
        "cors-preflight",
        "a browser's preflight has no token to bring, and passes",
        Call(YELLOW, "/orders/1", subject=Subject.NONE, method="OPTIONS", headers=_PREFLIGHT),
        Answer(200, upstream=Reached.WITHOUT_TOKEN),
    ),
    OneRequest(
        "options-missing-bearer",
        "OPTIONS that is no preflight needs a token as any method does",
        Call(YELLOW, "/orders/1", subject=Subject.NONE, method="OPTIONS"),
        _MISSING,
    ),
    OneRequest(
        "options-bearer",
        "OPTIONS with a token is exchanged as any method is",
        Call(YELLOW, "/orders/1", method="OPTIONS", headers=_PREFLIGHT),
        _exchanged(scope="read:orders"),
    ),
    OneRequest(
        "unmatched",
        "no policy, no change: the upstream sees the original token",
        Call(YELLOW, "/public"),
        Answer(200, upstream=Reached.WITH_ORIGINAL),
    ),
    OneRequest(
        "explicit-deny",
        "the longer prefix wins: refused below /orders",
        Call(YELLOW, "/orders/internal/1"),
        Answer(403, '{"error":"policy_denied"}'),
    ),
    OneRequest("invalid-target", "the issuer knows no such resource", Call(RED, "/nowhere"), Answer(400, _oauth_error("invalid_target"))),
    OneRequest("invalid-grant", "the issuer revoked the grant", Call(YELLOW, "/archive"), Answer(400, _oauth_error("invalid_grant"))),
    OneRequest(
        "expired-subject-token",
        "the issuer does not take an expired token",
        Call(YELLOW, "/orders/1", subject=Subject.EXPIRED),
        Answer(400, _oauth_error("invalid_request")),
    ),
    OneRequest(
        "unauthorized",
        "the service's own credentials are wrong; the issuer's challenge is relayed",
        Call(RED, "/locked-out"),
        Answer(401, _oauth_error("invalid_client"), ('Basic realm="demo-issuer"',)),
    ),
    OneRequest(
        "forbidden", "the issuer answers 403: our fault, not the caller's", Call(BLUE, "/payroll"), Answer(500, _server_error("TXE-2004"))
    ),
    OneRequest("unavailable", "the issuer answers 503", Call(BLUE, "/closed"), Answer(500, _server_error("TXE-2005"))),
    OneRequest("malformed", "the issuer's JSON is cut off", Call(RED, "/malformed"), Answer(500, _unusable("TXE-3001"))),
    OneRequest("missing-access-token", "the issuer's answer has no token", Call(BLUE, "/forgetful"), Answer(500, _unusable("TXE-3002"))),
    OneRequest(
        "wrong-token-type", "the issuer's token is none for a bearer", Call(BLUE, "/not-bearer"), Answer(500, _unusable("TXE-3003"))
    ),
    OneRequest(
        "wrong-issued-token-type", "the issuer sends a refresh token instead", Call(BLUE, "/refresh"), Answer(500, _unusable("TXE-3004"))
    ),
    OneRequest(
        "timeout",
        "the issuer is slow; the answer is the service's own, within the second that the gateway waits for it",
        Call(RED, "/slow"),
        Answer(500, '{"error":"server_error","message":"token exchange request failed (TXE-1003)"}'),
    ),
    EqualRequests(
        "coalescing",
        "ten equal requests at once make one token request (the counts are at the token endpoint's /stats)",
        Call(YELLOW, "/digest"),
        _exchanged(scope="read:digest"),
        count=REQUESTS_AT_ONCE,
    ),
    PolicyEdit(
        "policy-edit",
        "a policy file is edited while everything runs, and put back",
        Call(YELLOW, "/orders/1"),
        _exchanged(scope="read:orders"),
        _exchanged(scope="read:orders:edited"),
        file="yellow.yaml",
        old='"read:orders"',
        new='"read:orders:edited"',
    ),
)
