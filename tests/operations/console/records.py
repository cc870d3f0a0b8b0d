"""Decisions of every kind, with a canary wherever something secret could be."""

import base64
import json
from collections.abc import Mapping
from typing import Final

from exchanger.authz.decision.check import DENY_AMBIGUOUS, DENY_NO_POLICY, DENY_UNMATCHED, MISSING_HTTP
from exchanger.authz.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny, Exchange, Filter, Outcome
from exchanger.model.entry import Source, TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.policy_decision import AmbiguousPart
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import TokenCall
from exchanger.model.trace import TraceContext

CANARY: Final = "canary-7f3d"
SOURCE: Final = Source("team-a", "orders")
TARGET: Final = TokenTarget("primary", "read:orders", ("https://api.example.com/orders",), ("orders-api",))
TRACE_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def jwt(claims: Mapping[str, object], signature: str = CANARY) -> str:
    return f"{segment({'alg': 'RS256'})}.{segment(dict(claims))}.{signature}"


SUBJECT: Final = jwt({"sub": "alice"})
EXCHANGED: Final = jwt({"sub": "alice", "aud": "orders-api"}, f"exchanged-{CANARY}")

UNMATCHED: Final = Allow(DecisionReason.ALLOW_UNMATCHED)
ALLOWED: Final = Allow(DecisionReason.ALLOW_EXCHANGE, SOURCE, Secret(EXCHANGED), 0)
DENIED: Final = Deny(DecisionReason.DENY_EXPLICIT_POLICY, 403, '{"error":"policy_denied"}', (), SOURCE, entry_index=1)
CHALLENGED: Final = Deny(
    DecisionReason.DENY_MISSING_BEARER,
    401,
    '{"error":"bearer_token_required"}',
    (("WWW-Authenticate", 'Bearer realm="r"'),),
    SOURCE,
    entry_index=0,
)
FAILED: Final = Deny(
    DecisionReason.DENY_EXCHANGE_ERROR,
    400,
    f'{{"error":"invalid_grant","error_description":"{CANARY} {SUBJECT}"}}',
    (("WWW-Authenticate", f'Bearer realm="{CANARY}"'),),
    SOURCE,
    Diagnostic.OAUTH_ERROR,
    entry_index=0,
)
ALL: Final[tuple[Outcome, ...]] = (
    UNMATCHED,
    ALLOWED,
    Allow(DecisionReason.ALLOW_EXCHANGE, SOURCE, Secret(CANARY), 0),
    Allow(DecisionReason.ALLOW_OPTIONS_BYPASS, SOURCE, entry_index=0),
    DENIED,
    CHALLENGED,
    FAILED,
    DENY_UNMATCHED,
    DENY_NO_POLICY,
    DENY_AMBIGUOUS[AmbiguousPart.PATH],
    MISSING_HTTP,
)


def record(
    outcome: Outcome = UNMATCHED,
    *,
    path: str = "/orders/1",
    authorization: str | None = f"Bearer {SUBJECT}",
    exchange: bool = False,
    host: str = "api.example.com",
) -> DecisionRecord:
    request = HttpRequest(
        method="GET",
        host=host,
        path=f"{path}?token={CANARY}",
        authorization=None if authorization is None else Secret(authorization),
        origin=CANARY,
        access_control_request_method=CANARY,
        trace=TraceContext(f"00-{TRACE_ID}-00f067aa0ba902b7-01", CANARY, CANARY),
    )
    call = Exchange(TARGET, "issuer.example.com", TokenCall(0.0123456, 200)) if exchange else None
    return DecisionRecord(request, outcome, 0.0, 0.0123456, Filter.EXT_AUTHZ, exchange=call)
