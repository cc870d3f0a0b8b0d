"""Tokens that only their issuer can judge: users get new ones, old ones are revoked, and issuers say it in strange ways now and then."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any, Final, final

import attrs

from tests.simulation.gateway import Question
from tests.simulation.issuer import Issued, SimulatedIssuer
from tests.simulation.kernel import START
from tests.simulation.part import CANARY, Every, Part

INACTIVE: Final = "TXE-4003"
UNAVAILABLE: Final = "TXE-4004"
# What else an issuer may say of an active token, the code that the service then gives, and the odd members, or all of the response.
ODDITIES: Final[dict[str, tuple[str, dict[str, object] | bytes]]] = {
    "text": (INACTIVE, {"active": "true"}),
    "number": (INACTIVE, {"active": 1}),
    "null": (INACTIVE, {"active": None}),
    "another type": (INACTIVE, {"token_type": "mac"}),
    "another audience": (INACTIVE, {"aud": "z"}),
    "over": (INACTIVE, {"exp": 1}),
    "two words": (UNAVAILABLE, b'{"active": true, "aud": "gateway", "active": true}'),
    "list": (UNAVAILABLE, b"[true]"),
    "HTML": (UNAVAILABLE, b"<html>sign in</html>"),
}
AUDIENCE: Final = "gateway"
# Seconds for which a decision counts, and for which an inactive token is not asked about again.
_KEPT: Final = 4.0
_ASK_AGAIN: Final = 1.0
# Seconds before a question in which what it hears may have been said: it shared a call.
_SHARED: Final = 3.0
# Seconds for which tokens are valid that end soon; how precisely their end is known; and the share of users who notice it.
_LASTS: Final = (1.0, 8.0)
_A_SECOND: Final = 1.0
_RENEWED: Final = 0.7
# Seconds that two calls, one after the other, and their connections may take.
_TWO_CALLS: Final = 0.3


@final
@attrs.define(eq=False)
class Introspection(Part):
    """Gives each user a new token after the old one is ``revoked`` (token: seconds). Issuers say odd things in a share of the responses."""

    needs = "introspected"
    revoked: dict[str, float] = attrs.field(factory=dict, init=False)
    _sessions: dict[int, int] = attrs.field(factory=dict, init=False)
    # Until when each token lasts (seconds).
    _ends: dict[str, float] = attrs.field(factory=dict, init=False)
    _lives: Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._lives = self.kernel.random("ends of callers' tokens")
        for issuer in self.world.issuers.values():
            issuer.introspects = self._answer

    def profile(self, issuer: SimulatedIssuer) -> dict[str, Any]:
        scheme = "http" if issuer.context is None else "https"
        asks = {"endpoint": f"{scheme}://{issuer.host}/introspect", "when": "always", "cacheTTL": f"{_KEPT:g}s"}
        return {"subjectToken": {"introspection": asks, "audiences": [AUDIENCE]}}

    def storm(self, every: Every) -> None:
        every(self.plan.revocations, self._revoke, "revocations")

    def token(self, user: int) -> tuple[str, str]:
        session = self._sessions.get(user, 0)
        if self._end(_named(user, session)) < self.kernel.now and (self.quiet or self._lives.random() < _RENEWED):
            self._sessions[user] = session = session + 1
        if session and not self.quiet and self.chance.random() < 0.2:
            session -= 1
        return _named(user, session), ""

    def _end(self, token: str) -> float:
        """Return when a token ends, which begins at its first use."""
        if token not in self._ends:
            lasts = self._lives.uniform(*_LASTS) if self.plan.short_lived and not self.quiet else float("inf")
            self._ends[token] = self.kernel.now + lasts
        return self._ends[token]

    def _revoke(self) -> None:
        user = self.chance.randrange(self.plan.users)
        session = self._sessions.get(user, 0)
        self.revoked[_named(user, session)] = self.kernel.now
        self._sessions[user] = session + 1
        self.kernel.tell(f"user-{user}", "gets a new token, and the old one is revoked")

    def _answer(self, issuer: SimulatedIssuer, token: str) -> bytes:
        if token in self.revoked:
            return json.dumps({"active": self.chance.choice([False, False, "false"]), "aud": AUDIENCE}).encode()
        odd = self.some(self.plan.odd, self.plan.oddly)
        code, said = ODDITIES[odd] if odd else ("", {})
        if odd:
            self.kernel.tell(issuer.name, "says something odd:", odd)
            self.told.append((self.kernel.now, issuer.name, token, code))
        honest: dict[str, object] = {"active": True, "aud": self.chance.choice([AUDIENCE, [AUDIENCE, "z"]])}
        if (end := self._end(token)) < float("inf"):
            honest["exp"] = self.kernel.wall() + end - self.kernel.now
        return said if isinstance(said, bytes) else json.dumps(honest | said).encode()

    def excuses(self, issuer: str, question: Question, code: str, /) -> bool:
        if question.patience < _TWO_CALLS and code in {"", "TXE-1003", UNAVAILABLE}:
            return True
        if code == INACTIVE and self.revoked.get(question.token, float("inf")) <= question.answered:
            return True
        if code == INACTIVE and self._end(question.token) <= question.answered + _A_SECOND:
            return True
        return self.was_told(issuer, question, code, _SHARED + (_ASK_AGAIN if code == INACTIVE else 0.0))

    def accuses(self, _issuer: str, question: Question, _issued: Issued, /) -> Iterator[str]:
        revoked = self.revoked.get(question.token)
        if revoked is not None and question.asked > revoked + _KEPT:
            yield f"a token for one that was revoked at {revoked - START:.6f}"
        if question.asked > self._end(question.token) + _A_SECOND:
            yield f"a token for one that ended at {self._end(question.token) - START:.6f}"


def _named(user: int, session: int) -> str:
    return f"{CANARY}-user-{user}-{session}"
