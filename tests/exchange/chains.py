"""Two issuers in memory: an identity provider that issues assertions, and a server that takes them for access tokens."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, final

import attrs

from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import (
    ID_JAG,
    ID_TOKEN,
    ActorToken,
    AssertionSource,
    AuthMethod,
    Credentials,
    Grant,
    GrantType,
    Issuer,
    SubjectRules,
    in_chain,
)
from exchanger.model.secret import Secret
from exchanger.model.token import ACCESS_TOKEN_TYPE, ExchangeFailure, TokenOutcome, TokenRequest
from tests.exchange.oauth.fakes import GRANT, World, response, success
from tests.exchange.oauth.published import Site
from tests.formats.jwt.issuer import NOW, P256, raw

IDP: Final = "http://idp.example.com/idp"
CHAT: Final = "http://chat.example.com/chat"
CLIENT: Final = "client-of-chat"
AUDIENCE: Final = "https://acme.chat.example/"
BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

idp: Final = Issuer(
    "idp",
    IDP,
    "idp.example.com",
    AuthMethod.CLIENT_SECRET_POST,
    Credentials("gateway", Secret("secret-of-idp")),
    grant=Grant(actor=ActorToken(Secret("actor"), ACCESS_TOKEN_TYPE, "actor"), parameters=(("tenant", "blue"),)),
    subject=SubjectRules(token_type=ID_TOKEN),
)
chat: Final = Issuer(
    "chat",
    CHAT,
    "chat.example.com",
    AuthMethod.CLIENT_SECRET_POST,
    Credentials(CLIENT, Secret("secret-of-chat")),
    grant=Grant(GrantType.JWT_BEARER, parameters=(("region", "eu"),)),
    assertion=AssertionSource("idp", ID_JAG, AUDIENCE),
)


def chained(first: Issuer = idp, second: Issuer = chat, **more: Any) -> Issuer:
    """``second``, perhaps with other fields, behind ``first``."""
    behind = attrs.evolve(second, **more)
    assert behind.assertion is not None
    return in_chain(behind, behind.assertion, first)


def reusing(first: Issuer = idp, **more: Any) -> Issuer:
    return chained(first, assertion=AssertionSource("idp", ID_JAG, AUDIENCE, reuse=True), **more)


def use(it: World, second: Issuer, first: Issuer = idp) -> None:
    it.client.use_issuers({first.name: first, second.name: second})


def asking(issuer: Issuer | None = None, subject: str = "id-token", **target: Any) -> TokenRequest:
    found = issuer or chained()
    wanted = TokenTarget("chat", **(target or {"scope": "read", "resources": ("https://api.chat.example",)}))
    return TokenRequest(found, Secret(subject), wanted, GRANT, found.subject.token_type or ACCESS_TOKEN_TYPE)


def id_jag(typ: object = "oauth-id-jag+jwt", **claims: object) -> str:
    """An assertion; ``None`` leaves a claim out."""
    every: dict[str, object] = {"iss": "https://acme.idp.example", "sub": "alice", "aud": AUDIENCE, "client_id": CLIENT, "exp": NOW * 2}
    every |= claims
    header = {"alg": "ES256", "kid": "p256"} | ({} if typ is None else {"typ": typ})
    return raw(header, {name: value for name, value in every.items() if value is not None}, P256)


def asserting(assertion: str, **more: object) -> bytes:
    """The identity provider's answer."""
    members = {"access_token": assertion, "token_type": "N_A", "issued_token_type": ID_JAG, "expires_in": 300, **more}
    return response(json.dumps(members).encode())


def refusing(error: str, status: int = 400, **more: object) -> bytes:
    return response(json.dumps({"error": error, **more}).encode(), status)


Answer = Callable[[Mapping[str, str]], bytes]


@final
@attrs.define(eq=False, repr=False)
class Issuers:
    """Both issuers: ``first`` answers by default with another assertion each time, ``second`` with an access token."""

    first: Answer | None = None
    second: Answer = lambda _: response(success())
    assertions: list[str] = attrs.field(factory=list)
    site: Site = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.site = Site(token=self.answer)

    def answer(self, fields: Mapping[str, str]) -> bytes:
        if fields["grant_type"] == BEARER:
            return self.second(fields)
        if self.first is not None:
            return self.first(fields)
        self.assertions.append(id_jag(jti=str(len(self.assertions))))
        return asserting(self.assertions[-1])

    def asked(self, path: str) -> list[dict[str, str]]:
        """The forms that one of the two got."""
        return [fields for at, fields in self.site.posts if at == path]

    @property
    def counts(self) -> tuple[int, int]:
        """How many requests each got."""
        return len(self.asked("/idp")), len(self.asked("/chat"))


def always(answer: bytes) -> Answer:
    return lambda _: answer


def code_of(outcome: TokenOutcome) -> str:
    return outcome.diagnostic.value if isinstance(outcome, ExchangeFailure) else ""
