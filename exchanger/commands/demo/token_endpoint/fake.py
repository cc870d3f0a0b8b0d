"""A fake issuer: exchanges tokens (RFC 8693) for unsigned ones that show what was exchanged, or fails as its rules say.

It checks the client's credentials and the subject token's expiry, and counts requests by subject and target at ``GET /stats``. It also
issues assertions for the demo's second issuer, and tells which of its opaque tokens are active (RFC 7662). It is meant to be inspected, and
protects nothing.
"""

import base64
import binascii
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import assert_never, final
from urllib.parse import parse_qs, unquote_plus

import attrs
import trio

from exchanger.commands.demo.token_endpoint.rules import (
    ID_JAG_TYPE,
    INTROSPECTION_PATH,
    NOT_A_BEARER,
    TOKEN_PATHS,
    Behaviour,
    Fail,
    Issue,
    Refuse,
    behaviour_for,
)
from exchanger.commands.scenarios.answer import RequestedTarget
from exchanger.commands.scenarios.tokens import CHAT_CLIENT_ID, CLIENT_ID, OPAQUE_TOKEN, USER, encode, sign
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.http.message import Request, Response
from exchanger.net.network import SYSTEM

CLIENT_SECRET = "not-a-secret: the demo's/own+words"  # with characters that show whether it was form-urlencoded (RFC 6749 section 2.3.1)
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"  # RFC 8693 section 2.1
ISSUER = "https://issuer.example.com"
ID_JAG_TYP = "oauth-id-jag+jwt"  # draft-ietf-oauth-identity-assertion-authz-grant section 3.1
KEY = b"the demo's issuers share this key"  # by which the second one knows an assertion of the first
TOKEN_LIFETIME = 300  # seconds, as issuers like for access tokens
MAX_COUNTED = 1_000  # pairs of subject and target that are counted; the oldest one is dropped first
MAX_FIELDS = 64  # form fields of a token request; the service sends fewer than ten


@final
@attrs.frozen
class ClientCredentials:
    """Those of a client."""

    client_id: str
    client_secret: str = attrs.field(repr=False)


OWN_CREDENTIALS = ClientCredentials(CLIENT_ID, CLIENT_SECRET)

BAD_CREDENTIALS = Refuse("invalid_client", "unknown client, or wrong secret", status=401, challenge='Basic realm="demo-issuer"')


@final
@attrs.frozen
class RequestCount:
    """How many token requests were made for one subject and target."""

    subject: str
    target: RequestedTarget
    requests: int


@attrs.define(eq=False)
class TokenEndpoint:
    """The endpoint and its counts; ``clock`` returns seconds since 1970."""

    _clock: Callable[[], float] = SYSTEM.wall
    _counts: OrderedDict[tuple[str, RequestedTarget], int] = attrs.Factory(OrderedDict)

    def counts(self) -> tuple[RequestCount, ...]:
        """Return the counts, in the order of the first requests."""
        return tuple(RequestCount(subject, target, requests) for (subject, target), requests in self._counts.items())

    async def answer(self, request: Request) -> Response:
        """Answer one request: by POST on the token paths and for introspection, the counts by GET on ``/stats``."""
        path = request.path
        if (request.method, path) == ("GET", "/stats"):
            return json_answer(200, [attrs.asdict(count) for count in self.counts()])
        if path not in (*TOKEN_PATHS, INTROSPECTION_PATH):
            return json_answer(404, {"error": "not_found"})
        form = form_of(request, OWN_CREDENTIALS)
        if isinstance(form, Response):
            return form
        return self._introspection(form) if path == INTROSPECTION_PATH else await self._token_request(path, form)

    def _introspection(self, form: Mapping[str, list[str]]) -> Response:
        claims = self._claims_of_opaque(form.get("token", [""])[0])
        # No reason is given, RFC 7662 section 2.2: https://www.rfc-editor.org/rfc/rfc7662#section-2.2
        return json_answer(200, {"active": False} if claims is None else {"active": True, "token_type": "Bearer", **claims})

    def _claims_of_opaque(self, token: str) -> dict[str, object] | None:
        return {"iss": ISSUER, "sub": USER, "exp": int(self._clock()) + TOKEN_LIFETIME} if token == OPAQUE_TOKEN else None

    async def _token_request(self, path: str, form: Mapping[str, list[str]]) -> Response:
        if form.get("grant_type") != [GRANT_TYPE]:
            return refusal(Refuse("unsupported_grant_type", "this issuer supports only token exchange"))
        subject_token = form.get("subject_token", [""])[0]
        claims = self._claims_of_opaque(subject_token) or claims_of(subject_token)
        if claims is None or not isinstance(claims.get("sub"), str):
            return refusal(Refuse("invalid_request", "the subject token is not from this issuer"))
        target = RequestedTarget(form.get("scope", [""])[0], tuple(form.get("resource", ())), tuple(form.get("audience", ())))
        self._count(str(claims["sub"]), target)
        expiry = claims.get("exp")
        if not isinstance(expiry, (int, float)) or expiry <= self._clock():
            # An unacceptable subject token is invalid_request: RFC 8693 section 2.2.2, https://www.rfc-editor.org/rfc/rfc8693#section-2.2.2
            return refusal(Refuse("invalid_request", "the subject token has expired"))
        behaviour = behaviour_for(path, target)
        if form.get("requested_token_type") == [ID_JAG_TYPE] and isinstance(behaviour, Issue):
            assertion = attrs.evolve(behaviour, token_type=NOT_A_BEARER, issued_token_type=ID_JAG_TYPE)
            # Its ``client_id`` is that of the client's own client at the second issuer, which this one has on its list.
            named: dict[str, object] = {"client_id": CHAT_CLIENT_ID}
            return await respond(assertion, lambda: sign(self._issued_claims(claims, subject_token, target) | named, ID_JAG_TYP, KEY))
        return await respond(behaviour, lambda: encode(self._issued_claims(claims, subject_token, target)))

    def _issued_claims(self, claims: dict[str, object], subject_token: str, target: RequestedTarget) -> dict[str, object]:
        now = int(self._clock())
        issued: dict[str, object] = {"iss": ISSUER, "sub": claims["sub"]}
        if target.audiences:
            issued["aud"] = list(target.audiences)
        if target.scope:
            issued["scope"] = target.scope
        if target.resources:
            issued["resource"] = list(target.resources)
        issued |= {
            "azp": CLIENT_ID,
            "act": {"sub": CLIENT_ID},  # RFC 8693 section 4.1: who acts with this token
            "iat": now,
            "exp": now + TOKEN_LIFETIME,
            "jti": SYSTEM.entropy(9).hex(),
            "subject_token_sha256": hashlib.sha256(subject_token.encode()).hexdigest()[:16],
        }
        return issued

    def _count(self, subject: str, target: RequestedTarget) -> None:
        key = (subject, target)
        self._counts[key] = self._counts.get(key, 0) + 1
        if len(self._counts) > MAX_COUNTED:
            self._counts.popitem(last=False)


def form_of(request: Request, client: ClientCredentials) -> dict[str, list[str]] | Response:
    """Return the form that ``client`` has posted, or the refusal of a request that is none."""
    if request.method != "POST":
        return json_answer(405, {"error": "method_not_allowed"}, ("Allow", "POST"))
    try:
        form = parse_qs(request.body.decode("ascii"), strict_parsing=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return refusal(Refuse("invalid_request", "the body is not a form"))
    return form if client_of(request, form) == client else refusal(BAD_CREDENTIALS)


def client_of(request: Request, form: Mapping[str, list[str]]) -> ClientCredentials | None:
    """Return the credentials in HTTP Basic, else the form's (RFC 6749 section 2.3.1); ``None`` if they are malformed or in both places."""
    scheme, _, encoded = next(iter(request.values("authorization")), "").partition(" ")
    if not scheme:
        return ClientCredentials(form.get("client_id", [""])[0], form.get("client_secret", [""])[0])
    if scheme.lower() != "basic" or "client_secret" in form:
        return None
    try:
        client_id, _, client_secret = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except (ValueError, binascii.Error):
        return None
    return ClientCredentials(unquote_plus(client_id), unquote_plus(client_secret))


async def respond(behaviour: Behaviour, token: Callable[[], str], lifetime: int | None = TOKEN_LIFETIME) -> Response:
    """Answer a token request as ``behaviour`` says; ``token`` makes the token, ``lifetime`` is in seconds."""
    match behaviour:
        case Issue():
            await trio.sleep(behaviour.delay)
            issued: dict[str, object] = {"issued_token_type": behaviour.issued_token_type, "token_type": behaviour.token_type}
            if lifetime is not None:
                issued["expires_in"] = lifetime
            if behaviour.with_access_token:
                issued["access_token"] = token()
            return json_answer(200, issued)
        case Refuse():
            return refusal(behaviour)
        case Fail():
            return _answer(behaviour.status, behaviour.body)
        case _:
            assert_never(behaviour)


def refusal(refused: Refuse) -> Response:
    """Return an OAuth error."""
    challenge = (("WWW-Authenticate", refused.challenge),) if refused.challenge else ()
    return json_answer(refused.status, {"error": refused.error, "error_description": refused.description}, *challenge)


def json_answer(status: int, value: object, *headers: tuple[str, str]) -> Response:
    """Return ``value`` as JSON."""
    return _answer(status, json.dumps(value), *headers)


def _answer(status: int, body: str, *headers: tuple[str, str]) -> Response:
    # RFC 6749 section 5.1: token responses must not be cached.
    return Response(status, (("Content-Type", "application/json"), ("Cache-Control", "no-store"), *headers), body.encode())
