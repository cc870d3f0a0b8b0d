"""A fake second issuer, a chat application's own: takes assertions of the first one (RFC 7523), and issues tokens for its API.

It protects nothing, but it is as strict about assertions as a real one: whose, for whom, until when, and each only once.

Sources: RFC 7523 section 3 (https://www.rfc-editor.org/rfc/rfc7523#section-3), draft-ietf-oauth-identity-assertion-authz-grant section 4.4.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, final

import attrs

from exchanger.commands.demo.token_endpoint.fake import (
    CLIENT_SECRET,
    ID_JAG_TYP,
    ISSUER,
    KEY,
    TOKEN_LIFETIME,
    ClientCredentials,
    form_of,
    json_answer,
    refusal,
    respond,
)
from exchanger.commands.demo.token_endpoint.rules import TOKEN_PATH, UNKNOWN_USER_SCOPE, Issue, Refuse
from exchanger.commands.scenarios.tokens import CHAT_CLIENT_ID, encode, is_signed
from exchanger.formats.jwt.unverified import claims_of, object_of
from exchanger.net.http.message import Request, Response
from exchanger.net.network import SYSTEM

CHAT_ISSUER: Final = "https://chat.example.com"
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 section 2.1
# Assertions that are remembered; the oldest one is forgotten first.
MAX_SEEN: Final = 1_000

_CLIENT: Final = ClientCredentials(CHAT_CLIENT_ID, CLIENT_SECRET)


@final
@attrs.define(eq=False)
class ChatTokenEndpoint:
    """The second issuer's token endpoint; ``clock`` returns seconds since 1970."""

    _clock: Callable[[], float] = SYSTEM.wall
    _seen: OrderedDict[str, None] = attrs.field(factory=OrderedDict, init=False)

    async def answer(self, request: Request) -> Response:
        """Answer one request; see ``http.message.Handler``."""
        if request.path != TOKEN_PATH:
            return json_answer(404, {"error": "not_found"})
        form = form_of(request, _CLIENT)
        if isinstance(form, Response):
            return form
        if form.get("grant_type") != [GRANT_TYPE]:
            return refusal(Refuse("unsupported_grant_type", "this issuer supports only assertions"))
        assertion = form.get("assertion", [""])[0]
        claims = claims_of(assertion) or {}
        problem = self._problem(assertion, claims)
        if problem:
            return refusal(Refuse("invalid_grant", problem))
        return await respond(Issue(), lambda: encode(self._issued_claims(claims)))

    def _problem(self, assertion: str, claims: Mapping[str, object]) -> str:
        """Return what is wrong with an assertion, "" if nothing is."""
        header, expiry, identifier = object_of(assertion.partition(".")[0]) or {}, claims.get("exp"), claims.get("jti")
        if not is_signed(assertion, KEY) or header.get("typ") != ID_JAG_TYP or claims.get("iss") != ISSUER:
            return "the assertion is not an ID-JAG of a trusted issuer"
        if claims.get("aud") not in (CHAT_ISSUER, [CHAT_ISSUER]) or claims.get("client_id") != CHAT_CLIENT_ID:
            return "the assertion is for another server or client"
        if not isinstance(expiry, (int, float)) or expiry <= self._clock():
            return "the assertion has expired"
        if not isinstance(identifier, str) or identifier in self._seen:
            return "the assertion was used before"
        self._seen[identifier] = None
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return "this issuer does not know the user" if claims.get("scope") == UNKNOWN_USER_SCOPE else ""

    def _issued_claims(self, claims: Mapping[str, object]) -> dict[str, object]:
        now = int(self._clock())
        # The resource of the assertion is the audience of the token. The digest of the caller's token comes from the first issuer.
        carried = {name: claims[name] for name in ("sub", "scope", "act", "subject_token_sha256") if name in claims}
        audiences = {"aud": claims["resource"]} if "resource" in claims else {}
        times = {"iat": now, "exp": now + TOKEN_LIFETIME, "jti": SYSTEM.entropy(9).hex()}
        return {"iss": CHAT_ISSUER, **carried, **audiences, "azp": CHAT_CLIENT_ID, **times}
