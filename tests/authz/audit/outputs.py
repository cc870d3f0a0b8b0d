"""Outputs of the audit log, and records to write."""

import json
from typing import Any

import attrs
import trio

from exchanger.authz.audit.identities import AuditKey
from exchanger.authz.audit.log import AuditLog
from exchanger.authz.audit.settings import AuditSettings
from exchanger.authz.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny, Exchange, Filter
from exchanger.formats.jwt import base64url
from exchanger.model.entry import Source, TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, VerificationResult
from exchanger.net.network import SYSTEM
from exchanger.net.reactor import Reactor

KEY = AuditKey.of(bytes(range(32)))
TARGET = TokenTarget("primary", "read:orders", ("https://api.example.com/orders",), ("orders-api",))
SOURCE = Source("team-a", "orders")
EXPIRED = VerificationResult(refusal="the token has expired")


@attrs.define(eq=False)
class Disk:
    """Has ``room`` for so many bytes more; ``None``: for all."""

    data: bytes = b""
    room: int | None = None
    problem: str = ""
    writes: int = 0

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        self.writes += 1
        taken = len(data) if self.room is None else data.rfind(b"\n", 0, self.room) + 1
        if self.room is not None:
            self.room -= taken
        self.data += data[:taken]
        self.problem = "No space left on device" if taken < len(data) else ""
        return data.count(b"\n", taken)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.data.splitlines()]


@attrs.define(eq=False)
class SlowThread:
    """Runs work ``seconds`` later, in Trio's time."""

    seconds: float = 0.0

    async def run_sync(self, work: Any, /, *args: Any, **_options: Any) -> Any:
        await trio.sleep(self.seconds)
        return work(*args)


@attrs.define(eq=False)
class HeldThread:
    """Runs work once it may return."""

    returned: trio.Event = attrs.field(factory=trio.Event)

    async def run_sync(self, work: Any, /, *args: Any, **_options: Any) -> Any:
        await self.returned.wait()
        return work(*args)


def jwt(**claims: object) -> Secret:
    """Return a JWT with these claims, whose signature nobody checks."""
    parts = (json.dumps({"alg": "RS256"}), json.dumps(claims, separators=(",", ":")), "signature")
    return Secret(".".join(base64url.encode(part.encode()) for part in parts))


ALICE = jwt(iss="https://login.example.com", sub="alice", client_id="web", jti="subject-1")


def granted(
    subject: Secret = ALICE, issued: Secret | None = None, *, scope: str | None = None, cache: Cache = Cache.MISS
) -> DecisionRecord:
    """Return the record of a request that gets a token."""
    allow = Allow(DecisionReason.ALLOW_EXCHANGE, SOURCE, issued or jwt(jti="issued-1"), 3, "primary", cache, 1_900_000_000)
    return _record(allow, subject, scope)


def refused(
    subject: Secret = ALICE,
    *,
    kind: ErrorKind = ErrorKind.SUBJECT_REJECTED,
    diagnostic: Diagnostic = Diagnostic.SUBJECT_REJECTED,
    decision: VerificationResult | None = EXPIRED,
    namespace: str = "team-a",
) -> DecisionRecord:
    """Return the record of a request whose exchange was refused."""
    source = Source(namespace, "orders")
    deny = Deny(
        DecisionReason.DENY_EXCHANGE_ERROR,
        401,
        "{}",
        source=source,
        diagnostic=diagnostic,
        entry_index=3,
        issuer="primary",
        error_kind=kind,
        subject=decision,
    )
    return _record(deny, subject, None)


def _record(outcome: Allow | Deny, subject: Secret, scope: str | None) -> DecisionRecord:
    request = HttpRequest("GET", "api.example.com", "/orders/1?secret=query", Secret(f"Bearer {subject.reveal()}"), request_id="r-1")
    return DecisionRecord(request, outcome, 0.0, 0.01, Filter.EXT_PROC, None, Exchange(TARGET, "issuer.example.com", None, subject, scope))


def audit_log(disk: Disk, thread: SlowThread | HeldThread | None = None, *, required: bool = False, keyed: bool = True) -> AuditLog:
    """Return a log that writes to ``disk``; its clock is Trio's."""
    run_sync = (thread or SlowThread()).run_sync
    network = attrs.evolve(SYSTEM, run_sync=run_sync, steady=trio.current_time)
    settings = AuditSettings(required=required, keys=(KEY,) if keyed else ())
    return AuditLog(settings, disk, Reactor(SYSTEM), lambda: "2026-01-31T12:00:00.123Z", network)
