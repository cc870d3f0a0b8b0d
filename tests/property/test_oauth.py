"""Laws of what is said to a token endpoint, and of its response."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote_plus, urlencode

import attrs
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from exchanger.authz.decision.check import begin
from exchanger.authz.decision.outcome import ExchangePending
from exchanger.exchange.oauth.issued_token import judge_issued
from exchanger.exchange.oauth.token_request import EncodedRequest, encode_client_credentials, encode_request
from exchanger.exchange.oauth.token_response import TokenResponseRules, decode_response
from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import (
    ActorCredentials,
    ActorRule,
    ActorToken,
    Assertion,
    AuthMethod,
    ClientCertificate,
    Credentials,
    Grant,
    GrantType,
    IssuedTokenRules,
    Issuer,
    SigningKey,
    SubjectRules,
)
from exchanger.model.request import HeaderFields, HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import ExchangedToken, ExchangeFailure, TokenRequest
from exchanger.net.answer import TooLarge
from exchanger.net.endpoint import Endpoint, read_endpoint
from tests.authz.decision.examples import RULES, snapshot
from tests.examples import examples
from tests.exchange.oauth.fakes import token_request
from tests.formats.jwt.issuer import NOW, raw
from tests.property.strategies_oauth import bodies, challenges, issuers, members, rules, statuses, token_requests, words
from tests.property.strategies_policy import rarely

# Law: every text is either a usable token endpoint or has a reason why it is not.
#
# RFC 6749 section 3.2: "The endpoint URI MAY include an "application/x-www-form-urlencoded" formatted query component [...]. The endpoint
# URI MUST NOT include a fragment component." What is usable is absolute, https unless http is allowed, and names nobody.


schemes = st.sampled_from(["http", "https", "HTTPS", "ftp"])
marks = st.sampled_from([":", "//", "/", "\\", "@", "#", "?", "[", "]", "%", "%00", ".", "..", "\r\n", " ", "\x00"])
names = st.sampled_from(
    ["a", "a" * 64, "xn--", "issuer.example.com", "127.0.0.1", "::1", "user:password", "\u00fc", "\u2603", "\u3002", "\u200d"]
)
ports = st.sampled_from([":443", ":0", ":99999"])
pieces = schemes | marks | names | ports | st.just("\ud800")
endpoint_texts = (
    st.lists(pieces, max_size=8).map("".join)
    | st.tuples(st.sampled_from(["http://", "https://"]), st.lists(pieces, max_size=6).map("".join)).map("".join)
    | st.text(max_size=30)
)


@given(endpoint_texts, st.booleans())
def test_any_text_is_a_token_endpoint_or_refused(text: str, allow_http: bool) -> None:
    found = read_endpoint(text, allow_http=allow_http)
    if not isinstance(found, Endpoint):
        assert found.reason
        return
    assert found.origin.secure or allow_http
    assert found.target.startswith(("/", "?"))
    assert found.target.isascii()
    assert not set(found.target) & set("#\r\n ")
    assert found.authority.strip("[]").startswith(found.origin.host)
    assert not set(found.authority) & set("@/?#\r\n ")
    assert "#" not in text


# Law: a token request reads back from its form, and its headers are header values, whatever the grant, the client and the actor are.
#
# RFC 8693 section 2.1: "The client makes a token exchange request to the token endpoint with an extension grant type using the HTTP POST
# method. The [...] parameters are included in the HTTP request entity-body using the "application/x-www-form-urlencoded" format with a
# character encoding of UTF-8". RFC 7523 sections 2.1 and 2.2 have the parameters of the other grants, and of client assertions.


FIELD_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
SIGNED: Final = Secret("signed")
ACCESS: Final = Secret("access")
ASSERTION_TYPE: Final = "client_assertion_type"
JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def encoded(request: TokenRequest) -> EncodedRequest | None:
    """Encode as the pipeline does; ``None`` where the grant cannot ask for the target."""
    signs = isinstance(request.issuer.credentials.proof, SigningKey)
    acts = isinstance(request.issuer.grant.actor, ActorCredentials)
    found = encode_request(request, SIGNED if signs else None, ACCESS if acts else None)
    if isinstance(found, ExchangeFailure):
        assert found.diagnostic is Diagnostic.CREATE_REQUEST
        assert request.issuer.grant.type is GrantType.ENTRA_OBO
        assert request.target.resources or request.target.audiences
        return None
    return found


def client_of(issuer: Issuer) -> list[tuple[str, str]]:
    """What says who the client is, but for an assertion that is made for each request."""
    client_id = issuer.credentials.client_id
    named = [("client_id", client_id)] if client_id else []
    match issuer.credentials.proof:
        case Secret() as secret:
            post = issuer.auth_method is AuthMethod.CLIENT_SECRET_POST
            return [("client_id", client_id), ("client_secret", secret.reveal())] if post else []
        case SigningKey():
            return [*named, (ASSERTION_TYPE, JWT_BEARER)]
        case Assertion(text, kind):
            return [*named, (ASSERTION_TYPE, kind.value), ("client_assertion", text.reveal())]
        case ClientCertificate() | None:
            return named


def fields_of(request: TokenRequest) -> list[tuple[str, str]]:
    issuer, subject = request.issuer, request.subject_token.reveal()
    grant = issuer.grant
    fields = {
        GrantType.TOKEN_EXCHANGE: [
            *(("grant_type", request.grant_type), ("subject_token", subject), ("subject_token_type", request.subject_token_type)),
            *([("requested_token_type", grant.requested_token_type)] if grant.requested_token_type else []),
        ],
        GrantType.JWT_BEARER: [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", subject)],
        GrantType.ENTRA_OBO: [
            *(("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", subject)),
            ("requested_token_use", "on_behalf_of"),
        ],
    }[grant.type]
    fields.append(("scope", request.target.scope))
    fields += [("resource", resource) for resource in request.target.resources]
    fields += [("audience", audience) for audience in request.target.audiences]
    fields += client_of(issuer)
    match grant.actor:
        case ActorToken(token, kind):
            fields += [("actor_token", token.reveal()), ("actor_token_type", kind)]
        case ActorCredentials():
            fields.append(("actor_token_type", "urn:ietf:params:oauth:token-type:access_token"))
        case None:
            pass
    fields += grant.parameters
    if isinstance(issuer.credentials.proof, SigningKey):
        fields.append(("client_assertion", "signed"))
    if isinstance(grant.actor, ActorCredentials):
        fields.append(("actor_token", "access"))
    return fields


def read(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)


@given(token_requests)
def test_the_form_reads_back(request: TokenRequest) -> None:
    found = encoded(request)
    if found is not None:
        assert read(found.body) == fields_of(request)
        assert found.body.decode("ascii") == urlencode(fields_of(request))


@given(issuers, words)
def test_the_form_for_a_token_of_the_client_itself_reads_back(issuer: Issuer, scope: str) -> None:
    signs = isinstance(issuer.credentials.proof, SigningKey)
    for asked in (scope, ""):
        found = encode_client_credentials(issuer, asked, SIGNED if signs else None)
        assert isinstance(found, EncodedRequest)
        assert read(found.body) == [
            ("grant_type", "client_credentials"),
            *([("scope", asked)] if asked else []),
            *client_of(issuer),
            *([("client_assertion", "signed")] if signs else []),
        ]
        assert found.trace == ()
        assert ("Authorization" in dict(found.headers)) == is_basic(issuer)


@given(token_requests)
def test_every_header_is_a_field_value(request: TokenRequest) -> None:
    found = encoded(request)
    if found is not None:
        assert all(FIELD_VALUE.fullmatch(value) for _, value in found.headers)
        assert len({name for name, _ in found.headers}) == len(found.headers)


def is_basic(issuer: Issuer) -> bool:
    return isinstance(issuer.credentials.proof, Secret) and issuer.auth_method is AuthMethod.CLIENT_SECRET_BASIC


@given(token_requests)
def test_basic_credentials_read_back(request: TokenRequest) -> None:
    found = encoded(request)
    if found is None:
        return
    authorization = dict(found.headers).get("Authorization")
    if not is_basic(request.issuer):
        assert authorization is None
        return
    assert authorization is not None
    pair = base64.b64decode(authorization.removeprefix("Basic ")).decode("ascii").split(":")
    assert [unquote_plus(part) for part in pair] == basic_pair(request.issuer.credentials)


def basic_pair(credentials: Credentials) -> list[str]:
    assert isinstance(credentials.proof, Secret)
    return [credentials.client_id, credentials.proof.reveal()]


@given(token_requests, token_requests)
def test_nothing_of_a_caller_but_its_token_reaches_the_form(request: TokenRequest, other: TokenRequest) -> None:
    """Where a subject token stands, another one would, and all the rest is the operator's and the policy's."""
    first, second = encoded(request), encoded(attrs.evolve(request, subject_token=other.subject_token, trace=other.trace))
    if first is None or second is None:
        assert first is second
        return
    changed = [(one, two) for one, two in zip(read(first.body), read(second.body), strict=True) if one != two]
    assert all(one[0] == two[0] in ("subject_token", "assertion") for one, two in changed)
    assert len(changed) == (request.subject_token != other.subject_token)
    assert first.headers == second.headers


EXCHANGES: Final = snapshot()


texts: Final = st.text(max_size=10)


# Headers that may hold the token, of which the profile lists some; and names that a careless client of RFC 8693 would take for its own.
HEADERS: Final = ("authorization", "x-forwarded-access-token", "x-other")
NAMES: Final = st.sampled_from(["scope", "audience", "resource", "actor_token", "act", "client_id", "x-scope", "cookie", *HEADERS[1:]])


@given(
    *(texts, texts, texts, st.text("abc./~+=", min_size=1, max_size=20), st.sampled_from(["GET", "PUT"])),
    st.lists(st.sampled_from(HEADERS), min_size=1, unique=True),
    st.lists(st.tuples(NAMES, texts), max_size=3),
    st.sampled_from(HEADERS),
)
def test_nothing_of_a_caller_s_request_but_its_token_reaches_it(
    path: str, origin: str, name: str, token: str, method: str, listed: list[str], more: list[tuple[str, str]], holder: str
) -> None:
    bearer = Secret(f"Bearer {token}")
    fields = (*((one, value) for one, value in more if one not in listed), *(() if holder == "authorization" else ((holder, token),)))
    asked = HttpRequest(method, "api.example.com", f"/orders/{path}", bearer, origin, request_id=name, fields=HeaderFields(fields))
    issuer = attrs.evolve(RULES.issuers["primary"], subject=SubjectRules(tuple(listed)))
    pending = begin(asked, EXCHANGES, attrs.evolve(RULES, issuers=RULES.issuers.insert("primary", issuer)))
    event(type(pending).__name__)
    if isinstance(pending, ExchangePending):
        found, usual = encoded(pending.token_request), encoded(attrs.evolve(pending.token_request, subject_token=Secret("usual")))
        assert found is not None
        assert usual is not None
        assert dict(read(found.body)) == {**dict(read(usual.body)), "subject_token": token}
        assert dict(read(usual.body)).keys() == {"grant_type", "subject_token", "subject_token_type", "scope"}
        assert (found.headers, found.trace) == (usual.headers, ())


# Law: every response of a token endpoint has an outcome, and no outcome shows the client more than the contract allows.
#
# Whatever the status, the challenges and the bytes: decoding returns a value; a failure is 400, 401 or 500 with a JSON object in canonical
# form, unless passthrough is on and the error is a recognised one; what is relayed is safe to be a header.


CANONICAL = re.compile(r'\{"error":"[a-z_]+","(?:error_description|message)":"[a-z ]+ \(TXE-[0-9]{4}\)"\}')


@given(statuses, challenges, bodies | st.just(TooLarge.TOO_LARGE), rules)
def test_any_response_has_an_outcome_within_the_contract(
    status: int, www_authenticate: list[str], body: bytes | TooLarge, rules: TokenResponseRules
) -> None:
    outcome = decode_response(status, www_authenticate, body, rules)
    if isinstance(outcome, ExchangedToken):
        assert status == 200
        return
    assert outcome.http_status == status
    assert outcome.status == (status if status in {400, 401} else 500)
    if rules.error_passthrough and outcome.diagnostic is Diagnostic.OAUTH_ERROR:
        assert isinstance(body, bytes)
        assert outcome.body == body.decode()
    else:
        assert CANONICAL.fullmatch(outcome.body)
        assert outcome.body.endswith(f'({outcome.diagnostic.value})"}}')
        assert list(json.loads(outcome.body)) == sorted(json.loads(outcome.body))
    assert len(outcome.www_authenticate) <= 8
    assert all(value in www_authenticate and len(value) <= 4096 for value in outcome.www_authenticate)
    assert not any(
        ord(character) in {*range(9), *range(10, 32), *range(127, 160)} for value in outcome.www_authenticate for character in value
    )


# Law: a token comes out of a response if, and only if, everything that the contract asks of it is there.
#
# RFC 8693 section 2.2.1: status 200, a JSON object, an ``access_token`` that a header can carry, Bearer as ``token_type`` in any case, and
# the expected ``issued_token_type`` unless that is switched off. The other members do not matter.


VISIBLE = {chr(code) for code in range(0x21, 0x7F)}


def is_bearer_token(text: str) -> bool:
    return bool(text) and set(text) <= VISIBLE - set(',"\\')


def is_success(value: dict[str, object], rules: TokenResponseRules) -> bool:
    token, token_type, issued = (value.get(name) for name in ("access_token", "token_type", "issued_token_type"))
    return (
        isinstance(token, str)
        and is_bearer_token(token)
        and len(token) <= 64 * 1024
        and isinstance(token_type, str)
        and token_type.upper() == "BEARER"
        and (issued is None or isinstance(issued, str))
        and (not rules.require_issued_token_type or issued == rules.expected_issued_token_type)
    )


@given(members, rules)
def test_a_success_needs_everything_and_nothing_else(value: dict[str, object], rules: TokenResponseRules) -> None:
    outcome = decode_response(200, (), json.dumps(value).encode(), rules)
    if is_success(value, rules):
        assert outcome == ExchangedToken(Secret(str(value["access_token"])))
    else:
        assert not isinstance(outcome, ExchangedToken)


# Law: what passes the proof was requested; and what was requested passes.
#
# Claims of every type are tried beside right ones, in the token, in the caller's, and in the response. The model reads them as a lenient
# upstream would, and counts what they give it.


PROVEN: Final = "https://issuer.example.com"
AUDIENCES: Final = ("orders", "billing", "payments")
SCOPES: Final = ("read", "write", "admin", "openid")
ACTORS: Final = ("shop", "app", "client", "gateway", "mallory")
# The caller's token has the first two as its actors.
CHAIN: Final = {"sub": "shop", "act": {"sub": "app"}}
odd = st.sampled_from([None, True, 0, 1.5, "", " ", "orders read", [], {}, ["orders", None], [["orders"]], {"orders": 1}])
scope_texts = st.lists(st.sampled_from(SCOPES), max_size=3).map(" ".join)
scope_lists = st.lists(st.sampled_from([*SCOPES, "read admin"]), max_size=3)
changes = {
    "iss": st.just("https://other.example.com"),
    "aud": st.lists(st.sampled_from(AUDIENCES), max_size=3) | st.sampled_from(AUDIENCES),
    "sub": st.just("mallory"),
    "oid": st.just("2"),
    "scope": scope_texts | scope_lists,
    "scp": scope_texts | scope_lists,
    "exp": st.integers(NOW - 10, NOW + 600) | st.floats(NOW, NOW + 600),
    "nbf": st.integers(NOW - 60, NOW + 60) | st.floats(NOW, NOW + 60),
    "cnf": st.sampled_from([{"jkt": "a"}, {"x5t#S256": "a"}, {"kid": "a"}, {"jwk": {}}]),
    "act": st.recursive(
        st.fixed_dictionaries({"sub": st.sampled_from(ACTORS)}, optional={"iss": st.just(PROVEN)}),
        lambda inner: st.fixed_dictionaries({"sub": st.sampled_from(ACTORS), "act": inner}),
        max_leaves=3,
    ),
}
# One claim is changed, mostly, and mostly to another value of its type.
changed_claims = st.sampled_from(sorted(changes)).flatmap(
    lambda name: st.fixed_dictionaries({name: rarely(odd | st.just(10**400), changes[name], one_in=5)})
) | st.fixed_dictionaries({}, optional=changes)
forms = rarely(st.sampled_from(["opaque", "a.b.c", "a.b", ""]), st.none())
issued_rules = st.builds(
    IssuedTokenRules,
    st.just(PROVEN),
    audiences=st.lists(st.sampled_from(AUDIENCES), max_size=2, unique=True).map(tuple),
    subject=st.sampled_from(["", "sub", "oid"]),
    scope=st.booleans(),
    scope_also=st.sampled_from([(), ("openid",)]),
    max_lifetime=st.none() | st.just(300.0),
    opaque=st.booleans(),
    actor=st.none() | st.sampled_from(ActorRule),
)
actors = st.none() | st.just(ActorToken(Secret(raw({"alg": "ES256"}, {"sub": "gateway", "iss": PROVEN})), "urn:x:y", "gateway"))
algorithms = rarely(st.sampled_from(["none", "NONE", "", None]), st.sampled_from(["ES256", "HS256"]))
proven_targets = st.builds(
    TokenTarget,
    st.just("primary"),
    scope=scope_texts.map(lambda text: text or "read"),
    resources=st.lists(st.sampled_from(AUDIENCES), max_size=1).map(tuple),
    audiences=rarely(st.just(()), st.lists(st.sampled_from(AUDIENCES), min_size=1, max_size=2).map(tuple), one_in=5),
)


def as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def upstream_reads(token: str) -> dict[str, object]:
    """The claims as an upstream may read them, which takes care of nothing."""
    payload = token.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(found, dict)
    return found


def right_claims(rules: IssuedTokenRules, target: TokenTarget) -> dict[str, object]:
    audiences = rules.audiences or target.audiences or target.resources
    return {"iss": PROVEN, "aud": list(audiences), "sub": "alice", "oid": "1", "exp": NOW + 300}


@settings(max_examples=examples(400))
@given(issued_rules, proven_targets, changed_claims, forms, forms, st.none() | scope_texts, actors, algorithms)
def test_what_passes_the_proof_was_requested(
    rules: IssuedTokenRules,
    target: TokenTarget,
    changed: dict[str, object],
    other: str | None,
    opaque: str | None,
    granted: str | None,
    actor: ActorToken | None,
    algorithm: str | None,
) -> None:
    right = right_claims(rules, target)
    subject = raw({"alg": "ES256"}, right | {"act": CHAIN}) if other is None else other
    issued = raw({"alg": algorithm}, right | changed) if opaque is None else opaque
    issuer = attrs.evolve(token_request().issuer, grant=Grant(actor=actor), credentials=Credentials("client", Secret("s")))
    request = TokenRequest(issuer, Secret(subject), target, "grant", "type")
    found = judge_issued(rules, request, ExchangedToken(Secret(issued), scope=granted), NOW)
    event("passed" if found is None else found.diagnostic.value)
    allowed = {*target.scope.split(), *rules.scope_also}
    if found is not None:
        assert found.mismatch is not None
        assert "alice" not in repr(found) + repr(found.mismatch)
        return
    assert not rules.scope or granted is None or set(granted.split()) <= allowed
    if issued.count(".") != 2:
        assert rules.opaque
        return
    claims = upstream_reads(issued)
    assert claims["iss"] == PROVEN
    assert claims["aud"]
    assert set(as_list(claims["aud"])) <= set(rules.audiences or target.audiences or target.resources)
    if rules.subject:
        assert claims[rules.subject] == upstream_reads(subject)[rules.subject]
        assert claims[rules.subject]
    if rules.scope:
        given_scopes = [text for name in ("scope", "scp") if name in claims for text in as_list(claims[name])]
        assert {item for text in given_scopes for item in str(text).split()} <= allowed
    if rules.max_lifetime is not None:
        assert float(str(claims["exp"])) <= NOW + rules.max_lifetime
    # Whatever the rules say: valid now, signed, bound to nobody's key, and with no actor that they rule out.
    assert float(str(claims.get("exp", NOW + 1))) > NOW
    assert float(str(claims.get("nbf", NOW))) <= NOW + 30
    assert algorithm not in ("none", "NONE", "", None)
    assert "cnf" not in claims
    named = tuple(named_actors(claims.get("act")))
    if rules.actor is ActorRule.NONE:
        assert named == ()
    elif rules.actor is ActorRule.SAME and actor is not None:
        assert named[0] == "gateway"
        assert named[1:] in {(), ("shop",), ("shop", "app")}
    elif rules.actor is ActorRule.SAME or (rules.actor is None and actor is None):
        assert "mallory" not in named
        assert "gateway" not in named


def named_actors(act: object) -> Iterator[str]:
    """Yield the actors of a chain, as an upstream may read it."""
    while isinstance(act, dict):
        yield str(act.get("sub"))
        act = act.get("act")


@given(issued_rules, proven_targets, st.data())
def test_what_was_requested_passes_the_proof(rules: IssuedTokenRules, target: TokenTarget, data: st.DataObject) -> None:
    audiences = rules.audiences or target.audiences or target.resources
    assume(audiences)
    claims = right_claims(rules, target)
    claims["aud"] = data.draw(st.sampled_from(audiences) | st.lists(st.sampled_from(audiences), min_size=1, max_size=3))
    scopes = st.lists(st.sampled_from([*target.scope.split(), *rules.scope_also]), max_size=3)
    for name in data.draw(st.sets(st.sampled_from(["scope", "scp"]))):
        claims[name] = data.draw(scopes | scopes.map(" ".join))
    request = TokenRequest(token_request().issuer, Secret(raw({}, {"sub": "alice", "oid": "1"})), target, "grant", "type")
    issued = ExchangedToken(Secret(raw({"alg": "RS256"}, claims)), scope=data.draw(st.none() | scopes.map(" ".join)))
    assert judge_issued(rules, request, issued, NOW) is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")), issued_rules)
def test_any_payload_has_a_decision(payload: bytes, rules: IssuedTokenRules) -> None:
    request = TokenRequest(token_request().issuer, Secret("subject"), TokenTarget("primary", audiences=("orders",)), "grant", "type")
    for text in (raw({}, payload), raw(payload), payload.decode("latin-1")):
        found = judge_issued(rules, request, ExchangedToken(Secret(text)), NOW)
        assert found is not None or rules.opaque
