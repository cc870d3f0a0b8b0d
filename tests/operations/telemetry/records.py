"""Records for the observers' tests, with a canary wherever something secret could be."""

from exchanger.authz.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny, Outcome
from exchanger.model.entry import Source
from exchanger.model.errors import Diagnostic
from exchanger.model.request import HeaderFields, HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.trace import TraceContext

CANARY = "canary-7f3d"
SOURCE = Source("team-a", "orders")

ALLOWED = Allow(DecisionReason.ALLOW_EXCHANGE, SOURCE, Secret(f"exchanged-{CANARY}"))
UNMATCHED = Allow(DecisionReason.ALLOW_UNMATCHED)
DENIED = Deny(DecisionReason.DENY_EXPLICIT_POLICY, 403, f'{{"error":"{CANARY}"}}', (("WWW-Authenticate", CANARY),), SOURCE)
FAILED = Deny(DecisionReason.DENY_EXCHANGE_ERROR, 500, CANARY, (), SOURCE, Diagnostic.REQUEST_FAILED)


def record(outcome: Outcome, *, method: str = "GET", host: str = "api.example.com", path: str = "/orders/1") -> DecisionRecord:
    request = HttpRequest(
        method=method,
        host=host,
        path=f"{path}?token={CANARY}",
        authorization=Secret(f"Bearer {CANARY}"),
        origin=CANARY,
        access_control_request_method=CANARY,
        trace=TraceContext(CANARY, CANARY, CANARY),
        fields=HeaderFields((("x-forwarded-access-token", CANARY), ("cookie", CANARY))),
    )
    return DecisionRecord(request, outcome, 0.0, 0.0123456)
