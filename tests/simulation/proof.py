"""Issuers that issue JWTs, and sometimes not those that were asked for: for another audience or user, with more rights, or unreadable."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final, final

import attrs

from tests.simulation.gateway import Question
from tests.simulation.issuer import Issued, SimulatedIssuer
from tests.simulation.part import CANARY, Part

Claims = dict[str, object]
# Seconds for which the longest honest token is valid, and more than the wall clock is set back by.
_LONGEST: Final = "600s"
_TOO_LONG: Final = 10_000
# What may be wrong with a token, the code with which it is refused, and the claims in place of right ones; ``...`` leaves one out.
LIES: Final[dict[str, tuple[str, Callable[[Issued], Claims]]]] = {
    "issuer": ("TXE-3006", lambda _: {"iss": "http://other.example.com"}),
    "audience": ("TXE-3006", lambda _: {"aud": "z"}),
    "another audience": ("TXE-3006", lambda issued: {"aud": [issued.audience, "z"]}),
    "no audience": ("TXE-3006", lambda _: {"aud": ...}),
    "subject": ("TXE-3006", lambda _: {"sub": f"{CANARY}-somebody-else"}),
    "no subject": ("TXE-3006", lambda _: {"sub": ...}),
    "scope": ("TXE-3007", lambda issued: {"scope": f"{issued.scope} admin"}),
    "scp": ("TXE-3007", lambda issued: {"scp": [issued.scope, "admin"]}),
    "scope of the response": ("TXE-3007", lambda _: {}),
    "lifetime": ("TXE-3007", lambda issued: {"exp": issued.until + _TOO_LONG}),
    "no end": ("TXE-3007", lambda _: {"exp": ...}),
    "opaque": ("TXE-3008", lambda _: {}),
    "two audiences": ("TXE-3008", lambda _: {}),
    "number": ("TXE-3008", lambda issued: {"aud": [issued.audience, 1]}),
}
_ENDED: Final = "TXE-3008"
CODES: Final = frozenset(code for code, _ in LIES.values())
# Seconds before a question in which the token that it gets may have been issued: it shared a call.
_SHARED: Final = 10.0


@final
@attrs.define(eq=False)
class Proof(Part):
    """Has the service compare tokens with requests, and lies in a share of them. Some tokens end before the response says.

    ``ends``: when each token left (seconds), whose issuer's, for whom, and its ``exp``.
    """

    needs = "proven"
    ends: list[tuple[float, str, str, float]] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for issuer in self.world.issuers.values():
            issuer.writes = self._write

    def profile(self, issuer: SimulatedIssuer) -> dict[str, Any]:
        rules = {
            "issuer": f"http://{issuer.host}",
            "subject": "same",
            "scope": "requested",
            "scopeAlso": ["openid"],
            "maxLifetime": _LONGEST,
        }
        return {"issuedToken": rules}

    def _write(self, issuer: SimulatedIssuer, issued: Issued, number: int) -> tuple[str, dict[str, object], Issued]:
        """Return a token, what the response says of it, and what is known of it."""
        chance = self.chance
        lie = self.some(self.plan.lies, self.plan.lying)
        if not self.plan.jumps and chance.random() < 0.2:
            issued = attrs.evolve(issued, lifetime=issued.lifetime / 2, until=issued.until - issued.lifetime / 2)
        claims: Claims = {
            "iss": f"http://{issuer.host}",
            "sub": claims_of(issued.subject)["sub"],
            "aud": chance.choice([issued.audience, [issued.audience]]),
            "exp": issued.until,
            "jti": f"{issuer.name}-{number}-{chance.getrandbits(48):012x}",
        }
        if chance.random() < 0.7:
            claims |= chance.choice([{"scope": issued.scope}, {"scp": [issued.scope, "openid"]}, {"scope": "openid", "scp": issued.scope}])
        said: dict[str, object] = chance.choice([{}, {"scope": issued.scope}])
        if lie:
            self.kernel.tell(issuer.name, "lies about", lie)
            code, wrong = LIES[lie]
            self.told.append((self.kernel.now, issuer.name, issued.subject, code))
            claims = without_gaps(claims | wrong(issued))
        if lie == "scope of the response":
            said = {"scope": f"{issued.scope} admin"}
        token = f"{issuer.name}-{number}-opaque" if lie == "opaque" else signed(claims, '"aud":"z"' if lie == "two audiences" else "")
        self.ends.append((self.kernel.now, issuer.name, issued.subject, issued.until))
        return token, said, attrs.evolve(issued, lie=lie or issued.lie)

    def excuses(self, issuer: str, question: Question, code: str) -> bool:
        since, who = question.asked - _SHARED, (issuer, question.token)
        # The wall clock may be set, or the answer take so long that the token has ended when it arrives.
        ended = code == _ENDED and any(
            since <= at <= question.answered and who == (name, subject) and until <= self.kernel.wall()
            for at, name, subject, until in self.ends
        )
        return ended or (code in CODES and self.was_told(issuer, question, code, _SHARED))


def without_gaps(claims: Claims) -> Claims:
    """Return the claims but for those that are ``...``."""
    return {name: value for name, value in claims.items() if value is not ...}


def signed(claims: Mapping[str, object], more: str = "", typ: str = "JWT") -> str:
    """Return a JWT with these claims, and ``more`` JSON behind them. Nobody here verifies its signature."""
    payload = json.dumps(claims)
    parts = f'{{"alg":"EdDSA","typ":"{typ}"}}', f"{payload[:-1]},{more}}}" if more else payload, "signature"
    return ".".join(urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)


def claims_of(token: str) -> dict[str, object]:
    """Return the claims of a caller's token."""
    payload = token.split(".")[1]
    found: dict[str, object] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found
