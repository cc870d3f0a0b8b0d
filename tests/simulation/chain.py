"""Two chained issuers: one asserts who callers are, sometimes wrongly, and some of the others take nothing but its assertions.

Each request that any issuer gets is judged: an assertion is for one of them alone, and the caller's token for those that assert nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, final

import attrs

from exchanger.model.issuer import ID_JAG
from exchanger.model.token import ACCESS_TOKEN_TYPE
from tests.simulation.gateway import Question
from tests.simulation.issuer import Call, Issued, SimulatedIssuer
from tests.simulation.kernel import START
from tests.simulation.part import CANARY, Part
from tests.simulation.proof import Claims, signed, without_gaps

# The issuer that asserts, of which certificates know and policies do not.
FIRST: Final = "issuer-7"
_CLIENT: Final = "client"
_CLIENT_OF_THE_FIRST: Final = "client-of-the-first"
_OTHER: Final = "http://other.example.com"
# What may be wrong with an assertion, the code with which it is not sent on, and the claims in place of right ones.
FALSEHOODS: Final[dict[str, tuple[str, Callable[[Issued], Claims]]]] = {
    "audience": ("TXE-3006", lambda _: {"aud": _OTHER}),
    "one audience more": ("TXE-3006", lambda issued: {"aud": [issued.audience, _OTHER]}),
    "client": ("TXE-3006", lambda _: {"client_id": "client-of-somebody-else"}),
    "client of the first": ("TXE-3006", lambda _: {"client_id": _CLIENT_OF_THE_FIRST}),
    "type": ("TXE-3006", lambda _: {}),
    "over": ("TXE-3008", lambda _: {"exp": 1}),
    "no end": ("TXE-3008", lambda _: {"exp": ...}),
    "opaque": ("TXE-3008", lambda _: {}),
    "kind": ("TXE-3004", lambda _: {}),
}
_CODES: Final = frozenset(code for code, _ in FALSEHOODS.values())
# Seconds for which an assertion says that it is valid, more than the wall clock is set by.
_LONG: Final = 10_000_000
# Seconds before a question in which the assertion for it may have been issued: it shared a call.
_SHARED: Final = 10.0
# Seconds that two calls, one after the other, and their connections may take.
_TWO_CALLS: Final = 0.3


@final
@attrs.define(eq=False)
class Chain(Part):
    """Puts the issuer ``FIRST`` before those that are ``chained``. In a share of assertions it tells a falsehood. ``told`` has their second
    issuers, ``wrong`` what issuers got that is not for them.
    """

    needs = "chained"
    chained: frozenset[str] = attrs.field(init=False)
    _used: dict[str, Call] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.world.add_issuer(FIRST)
        self.chained = frozenset(f"issuer-{number}" for number in range(self.plan.chained))
        for issuer in self.world.issuers.values():
            issuer.takes = self._take
        self.first.writes = self._assert

    @property
    def first(self) -> SimulatedIssuer:
        return self.world.issuers[FIRST]

    def profile(self, issuer: SimulatedIssuer) -> dict[str, Any]:
        if issuer.name == FIRST:
            return {"clientID": _CLIENT_OF_THE_FIRST}
        if issuer.name not in self.chained:
            return {}
        return {"grantType": "jwt-bearer", "assertion": {"from": FIRST, "audience": _audience(issuer), "reuse": self.plan.reuse}}

    # What the first issuer says.

    def _assert(self, issuer: SimulatedIssuer, issued: Issued, number: int) -> tuple[str, dict[str, object], Issued]:
        """Return an assertion, what the response says of it, and what is known of it."""
        chance = self.chance
        falsehood = self.some(self.plan.falsehoods, self.plan.falsely)
        claims: Claims = {
            "iss": _audience(issuer),
            "sub": issued.subject,
            "aud": chance.choice([issued.audience, [issued.audience]]),
            "client_id": _CLIENT,
            "exp": self.kernel.wall() + _LONG,
            "jti": f"{issuer.name}-{number}-{chance.getrandbits(48):012x}",
            "scope": issued.scope,
        }
        if falsehood:
            self.kernel.tell(issuer.name, "tells a falsehood about", falsehood)
            name = next((name for name in self.chained if _audience(self.world.issuers[name]) == issued.audience), "")
            code, wrong = FALSEHOODS[falsehood]
            self.told.append((self.kernel.now, name, issued.subject, code))
            claims = without_gaps(claims | wrong(issued))
        assertion = signed(claims, typ="JWT" if falsehood == "type" else "oauth-id-jag+jwt")
        if falsehood == "opaque":
            assertion = f"{issuer.name}-{number}-opaque"
        said: dict[str, object] = {
            "issued_token_type": ACCESS_TOKEN_TYPE if falsehood == "kind" else ID_JAG,
            "token_type": chance.choice(["N_A", "Bearer"]),
        }
        return assertion, said, attrs.evolve(issued, lie=falsehood)

    # What issuers get.

    def _take(self, issuer: SimulatedIssuer, fields: Mapping[str, str], call: Call) -> Mapping[str, str]:
        """Judge a request, and return it as if the caller's token had come with it."""
        if issuer.name not in self.chained:
            if any(value in self.first.issued for value in fields.values()) or "assertion" in fields:
                self._complain(issuer, "an assertion")
            if issuer.name == FIRST and (fields.get("requested_token_type"), "actor_token" in fields) != (ID_JAG, False):
                self._complain(issuer, "a request for something other than an assertion about the caller")
            return fields
        if any(f"{CANARY}-user-" in value for value in fields.values()):
            self._complain(issuer, "a caller's token")
        assertion = fields.get("assertion", "")
        known = self.first.issued.get(assertion)
        if known is None:
            self._complain(issuer, "something that is no assertion")
            return {**fields, "error": "invalid_grant"}
        if (known.audience, known.scope) != (_audience(issuer), fields.get("scope", "")):
            self._complain(issuer, f"an assertion for {known.audience} and {known.scope}")
        if known.lie:
            self._complain(issuer, f"an assertion that is wrong in its {known.lie}")
        before = self._used.setdefault(assertion, call)
        # A request is sent once more if its connection, which had carried others, ends without an answer.
        if before is not call and not self.plan.reuse:
            if not before.conversation.over:
                self._complain(issuer, "an assertion again")
            return {**fields, "subject_token": known.subject, "error": "invalid_grant"}
        return {**fields, "subject_token": known.subject}

    def _complain(self, issuer: SimulatedIssuer, what: str) -> None:
        self.complain(f"{issuer.name} got {what} at {self.kernel.now - START:.6f}")

    # What the judges ask.

    def excuses(self, issuer: str, question: Question, code: str, /) -> bool:
        if issuer not in self.chained:
            return False
        if self.was_told(issuer, question, code, _SHARED) or (question.patience < _TWO_CALLS and code in {"", "TXE-1003"}):
            return True
        return any(
            # Of the issuer's faults, one alone has a code that falsehoods have, too.
            code not in _CODES or (code, kind) == ("TXE-3004", "no type")
            for kind in self.first.struck(question, question.since(code, self.world.quiet))
        )


def _audience(issuer: SimulatedIssuer) -> str:
    return f"http://{issuer.host}"
