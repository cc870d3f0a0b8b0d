"""What a token endpoint gets, field by field: who the client is, which grant, who acts, and what operators add.

Assertions are verified by PyJWT, which shares no code with what signs them here, and forms are read by Python's own parser.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import attrs
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.decision.strict import strict_answer
from exchanger.errors import Diagnostic
from exchanger.values.entry import TokenTarget
from exchanger.values.issuer import (
    ActorCredentials,
    ActorToken,
    Assertion,
    AssertionType,
    ClientProof,
    Credentials,
    Grant,
    GrantType,
    Issuer,
    SigningAlgorithm,
    SigningKey,
)
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from tests.oauth.fakes import ISSUED, Peer, Script, exchange, response, success, token_request, world

ENDPOINT: Final = "http://issuer.example.com/token"
ISSUER: Final = "https://issuer.example.com"
JWT_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"
KEYS: Final[Mapping[SigningAlgorithm, Any]] = {
    SigningAlgorithm.RS256: rsa.generate_private_key(65537, 2048),
    SigningAlgorithm.PS256: rsa.generate_private_key(65537, 2048),
    SigningAlgorithm.ES256: ec.generate_private_key(ec.SECP256R1()),
    SigningAlgorithm.EDDSA: ed25519.Ed25519PrivateKey.generate(),
}
OTHER_KEY: Final = ec.generate_private_key(ec.SECP256R1())
# As Entra ID answers, but for its identifiers.
APP_ONLY: Final = {
    "error": "invalid_grant",
    "error_description": "AADSTS7000114: Application 'canary' is not allowed to make application on-behalf-of calls.",
    "error_codes": [7000114],
    "timestamp": "2026-01-01 00:00:00Z",
    "trace_id": "canary",
    "correlation_id": "canary",
    "error_uri": "https://login.example.com/error?code=7000114",
}


def pem_of(key: PrivateKeyTypes) -> Secret:
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Secret(key.private_bytes(*forms).decode())


def signing(
    algorithm: SigningAlgorithm = SigningAlgorithm.ES256, key: Any = None, key_id: str = "k1", audience: str = ISSUER
) -> SigningKey:
    return SigningKey(pem_of(key or KEYS[algorithm]), algorithm, key_id, audience)


@attrs.frozen
class Got:
    """One request as the endpoint saw it. A field that is sent twice is a mistake, but for those of a target."""

    head: str
    form: dict[str, list[str]]

    def one(self, name: str) -> str:
        (value,) = self.form[name]
        return value

    def headers(self) -> dict[str, str]:
        lines = self.head.split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def witnessing(seen: list[Got], answer: Callable[[Got], bytes]) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            form = parse_qs(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
            seen.append(Got(head.decode("ascii"), form))
            await peer.send(answer(seen[-1]))

    return script


def asked_of(proof: ClientProof, grant: Grant = Grant(), *, client_id: str = "client", target: TokenTarget | None = None) -> TokenRequest:  # noqa: B008 - frozen
    request = token_request(endpoint=ENDPOINT)
    issuer: Issuer = attrs.evolve(request.issuer, credentials=Credentials(client_id, proof, 0), grant=grant)
    return attrs.evolve(request, issuer=issuer, target=target or request.target)


@attrs.frozen
class Ended:
    seen: list[Got]
    outcomes: list[TokenOutcome]


async def asked(*requests: TokenRequest, answer: Callable[[Got], bytes] = lambda _got: response(success())) -> Ended:
    """Exchange one after the other."""
    seen: list[Got] = []
    async with world(witnessing(seen, answer)) as it:
        return Ended(seen, [await exchange(it.client, request) for request in requests])


def proved(got: Got, algorithm: SigningAlgorithm, key: Any, *, key_id: str | None = "k1", audience: str = ISSUER) -> dict[str, Any]:
    """Return the claims of the client's assertion, which fits all that servers look at."""
    assert got.one("client_assertion_type") == JWT_ASSERTION
    assert "authorization" not in got.headers()
    assert "client_secret" not in got.form
    found = jwt.decode_complete(
        got.one("client_assertion"),
        key.public_key(),
        [algorithm.value],
        audience=audience,
        issuer=got.one("client_id"),
        subject=got.one("client_id"),
        options={"require": ["iss", "sub", "aud", "exp", "iat", "jti"], "strict_aud": True},
    )
    expected = {"alg": algorithm.value, "typ": "JWT", **({} if key_id is None else {"kid": key_id})}
    assert found["header"] == expected
    claims: dict[str, Any] = found["payload"]
    assert claims.keys() == {"iss", "sub", "aud", "exp", "iat", "jti"}
    assert 0 < claims["exp"] - claims["iat"] <= 60
    assert abs(claims["iat"] - time.time()) < 60
    return claims


# Who the client is.


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
async def test_each_request_has_an_assertion_of_its_own(algorithm: SigningAlgorithm) -> None:
    request = asked_of(signing(algorithm))
    ended = await asked(*[request] * 5)
    assert ended.outcomes == [ISSUED] * 5
    claims = [proved(got, algorithm, KEYS[algorithm]) for got in ended.seen]
    assert len({each["jti"] for each in claims}) == 5
    assert all(len(each["jti"]) >= 16 for each in claims)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(ended.seen[0].one("client_assertion"), _another(algorithm).public_key(), [algorithm.value], audience=ISSUER)


def _another(algorithm: SigningAlgorithm) -> Any:
    match algorithm:
        case SigningAlgorithm.RS256 | SigningAlgorithm.PS256:
            return rsa.generate_private_key(65537, 2048)
        case SigningAlgorithm.ES256:
            return OTHER_KEY
        case _:
            return ed25519.Ed25519PrivateKey.generate()


async def test_without_an_audience_it_is_the_token_endpoint_and_without_an_id_the_key_is_not_named() -> None:
    ended = await asked(asked_of(signing(key_id="", audience="")))
    proved(ended.seen[0], SigningAlgorithm.ES256, KEYS[SigningAlgorithm.ES256], key_id=None, audience=ENDPOINT)


async def test_a_refused_key_is_followed_by_the_one_before() -> None:
    """With its own algorithm and id, and in an assertion of its own."""
    request = asked_of(signing(SigningAlgorithm.ES256, OTHER_KEY, "k2"))
    before = Credentials("client", signing(SigningAlgorithm.RS256), 0)
    rotated = attrs.evolve(request, issuer=attrs.evolve(request.issuer, previous=before))
    refused = response(b'{"error":"invalid_client"}', 400)
    ended = await asked(rotated, answer=lambda got: refused if _key_id(got) == "k2" else response(success()))
    assert ended.outcomes == [ISSUED]
    new, old = ended.seen
    first = proved(new, SigningAlgorithm.ES256, OTHER_KEY, key_id="k2")
    assert first["jti"] != proved(old, SigningAlgorithm.RS256, KEYS[SigningAlgorithm.RS256])["jti"]


def _key_id(got: Got) -> str:
    found: str = jwt.get_unverified_header(got.one("client_assertion"))["kid"]
    return found


@pytest.mark.parametrize("kind", AssertionType)
@pytest.mark.parametrize("client_id", ["client", ""])
async def test_somebody_elses_assertion_is_sent_as_it_is(kind: AssertionType, client_id: str) -> None:
    """It need not be a JWT, and may name the client by itself."""
    text = "eyJh.bc+d/e=&f%20"
    ended = await asked(*[asked_of(Assertion(Secret(text), kind, "workload"), client_id=client_id)] * 2)
    for got in ended.seen:
        assert (got.one("client_assertion"), got.one("client_assertion_type")) == (text, kind.value)
        assert got.form.get("client_id") == ([client_id] if client_id else None)
        assert "authorization" not in got.headers()


async def test_a_public_client_says_who_it_is_and_proves_nothing() -> None:
    (got,) = (await asked(asked_of(None))).seen
    assert got.one("client_id") == "client"
    assert not {"client_secret", "client_assertion", "client_assertion_type"} & got.form.keys()
    assert "authorization" not in got.headers()


# The grant.

PROOFS: Final = (Secret("canary-secret"), signing(), Assertion(Secret("of.a.workload"), AssertionType.JWT_BEARER, "workload"), None)
NAMES: Final = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12).map(lambda name: f"x-{name}")
PARAMETERS: Final = st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=5)


@given(
    st.sampled_from(PROOFS),
    st.sampled_from(GrantType),
    st.sampled_from(["", "read:orders write:orders", "api://a/.default"]),
    st.lists(st.sampled_from(["orders", "https://a.example.com/?b=c&d"]), max_size=2, unique=True),
    PARAMETERS,
)
async def test_every_field_is_sent_once_and_as_it_was_written(
    proof: ClientProof, kind: GrantType, scope: str, audiences: list[str], parameters: dict[str, str]
) -> None:
    if kind is GrantType.ENTRA_OBO:  # which asks for a scope alone
        target = TokenTarget("primary", scope or ".default")
    else:
        target = TokenTarget("primary", scope, ("https://orders.example.com/",), tuple(audiences))
    request = asked_of(proof, Grant(kind, parameters=tuple(parameters.items())), target=target)
    ended = await asked(request)
    assert ended.outcomes == [ISSUED]
    (got,) = ended.seen
    expected = {
        GrantType.TOKEN_EXCHANGE: {
            "grant_type": ["urn:ietf:params:oauth:grant-type:token-exchange"],
            "subject_token": ["subject-token"],
            "subject_token_type": [ACCESS_TOKEN],
        },
        GrantType.JWT_BEARER: {"grant_type": ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "assertion": ["subject-token"]},
        GrantType.ENTRA_OBO: {
            "grant_type": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
            "assertion": ["subject-token"],
            "requested_token_use": ["on_behalf_of"],
        },
    }[kind]
    named = {"scope": [target.scope] if target.scope else [], "resource": list(target.resources), "audience": list(target.audiences)}
    expected |= {name: values for name, values in named.items() if values}
    expected |= {name: [value] for name, value in parameters.items()}
    # These are the test's own; others look at them.
    clients = {"client_id", "client_secret", "client_assertion", "client_assertion_type"}
    assert {name: values for name, values in got.form.items() if name not in clients} == expected
    assert all(len(got.form[name]) == 1 for name in clients & got.form.keys())


async def test_a_type_that_is_asked_for_has_to_come() -> None:
    grant = Grant(requested_token_type=JWT_TYPE)

    def typed(kind: str) -> bytes:
        return response(json.dumps({"access_token": "issued-token", "token_type": "Bearer", "issued_token_type": kind}).encode())

    good = await asked(asked_of(signing(), grant), answer=lambda _got: typed(JWT_TYPE))
    assert (good.seen[0].one("requested_token_type"), good.outcomes) == (JWT_TYPE, [ISSUED])
    (bad,) = (await asked(asked_of(signing(), grant), answer=lambda _got: typed(ACCESS_TOKEN))).outcomes
    assert isinstance(bad, ExchangeFailure)
    assert bad.diagnostic is Diagnostic.WRONG_ISSUED_TOKEN_TYPE
    (got,) = (await asked(asked_of(signing()))).seen
    assert "requested_token_type" not in got.form


@pytest.mark.parametrize("kind", GrantType)
async def test_grants_that_are_no_exchange_need_no_type(kind: GrantType) -> None:
    untyped = response(b'{"access_token":"issued-token","token_type":"Bearer"}')
    (outcome,) = (await asked(asked_of(signing(), Grant(kind)), answer=lambda _got: untyped)).outcomes
    assert isinstance(outcome, ExchangedToken) == (kind is not GrantType.TOKEN_EXCHANGE)


# On behalf of.


@pytest.mark.parametrize(
    "target", [TokenTarget("primary", audiences=("orders",)), TokenTarget("primary", "a", ("https://a.example.com/",))]
)
async def test_on_behalf_of_asks_for_a_scope_alone(target: TokenTarget) -> None:
    ended = await asked(asked_of(signing(), Grant(GrantType.ENTRA_OBO), target=target))
    assert ended.seen == []
    (outcome,) = ended.outcomes
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.diagnostic is Diagnostic.CREATE_REQUEST


@pytest.mark.parametrize("codes", [[7000114], [50000, 7000114]])
async def test_a_caller_without_a_user_has_a_code_of_its_own(codes: list[int]) -> None:
    answer = response(json.dumps({**APP_ONLY, "error_codes": codes}).encode(), 400)
    (outcome,) = (await asked(asked_of(signing(), Grant(GrantType.ENTRA_OBO)), answer=lambda _got: answer)).outcomes
    assert isinstance(outcome, ExchangeFailure)
    assert (outcome.diagnostic.value, outcome.kind, outcome.http_status) == ("TXE-2006", ErrorKind.HTTP_STATUS, 400)
    assert "canary" not in repr(outcome) + outcome.body
    strict = strict_answer(outcome, "orders", "read", "")
    assert (strict.status, json.loads(strict.body)["error"]) == (401, "invalid_token")


@pytest.mark.parametrize("codes", [[50013], [], ["7000114"], None, 7000114, {"7000114": True}])
async def test_other_codes_are_an_error_like_any(codes: object) -> None:
    answer = response(json.dumps({**APP_ONLY, "error_codes": codes}).encode(), 400)
    (outcome,) = (await asked(asked_of(signing(), Grant(GrantType.ENTRA_OBO)), answer=lambda _got: answer)).outcomes
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.diagnostic is Diagnostic.OAUTH_ERROR


# Who acts.


async def test_an_actor_whose_token_is_in_a_file() -> None:
    grant = Grant(actor=ActorToken(Secret("of+the/actor=="), JWT_TYPE, "actor"))
    for got in (await asked(*[asked_of(signing(), grant)] * 2)).seen:
        assert (got.one("actor_token"), got.one("actor_token_type")) == ("of+the/actor==", JWT_TYPE)


async def test_an_actor_who_is_the_client_gets_a_token_of_its_own_which_is_kept(autojump_clock: MockClock) -> None:
    def answer(got: Got) -> bytes:
        if got.one("grant_type") != "client_credentials":
            return response(success())
        return response(b'{"access_token":"of-the-actor","token_type":"Bearer","expires_in":300}')

    request = asked_of(signing(), Grant(actor=ActorCredentials("act on")))
    ended = await asked(*[request] * 3, answer=answer)
    assert ended.outcomes == [ISSUED] * 3
    first, *exchanges = ended.seen
    assert (first.one("grant_type"), first.one("scope")) == ("client_credentials", "act on")
    assert not {"subject_token", "actor_token", "audience", "resource"} & first.form.keys()
    assert len(exchanges) == 3
    for got in exchanges:
        assert (got.one("actor_token"), got.one("actor_token_type")) == ("of-the-actor", ACCESS_TOKEN)
    claims = [proved(got, SigningAlgorithm.ES256, KEYS[SigningAlgorithm.ES256]) for got in ended.seen]
    assert len({each["jti"] for each in claims}) == 4


async def test_without_a_token_for_the_actor_nothing_is_exchanged(autojump_clock: MockClock) -> None:
    ended = await asked(
        asked_of(signing(), Grant(actor=ActorCredentials())), answer=lambda _got: response(b'{"error":"unauthorized_client"}', 400)
    )
    (outcome,) = ended.outcomes
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.diagnostic is Diagnostic.NO_ACTOR_TOKEN
    assert [got.one("grant_type") for got in ended.seen] == ["client_credentials"]
    assert "scope" not in ended.seen[0].form


async def test_a_secret_is_sent_by_the_header_or_in_the_form() -> None:
    request = asked_of(Secret("canary:+ &"), client_id="cli:ent")
    posted = (await asked(request)).seen[0]
    assert (posted.one("client_id"), posted.one("client_secret")) == ("cli:ent", "canary:+ &")
    method = type(request.issuer.auth_method).CLIENT_SECRET_BASIC
    basic = (await asked(attrs.evolve(request, issuer=attrs.evolve(request.issuer, auth_method=method)))).seen[0]
    assert not {"client_id", "client_secret"} & basic.form.keys()
    scheme, _, encoded = basic.headers()["authorization"].partition(" ")
    assert (scheme, base64.b64decode(encoded)) == ("Basic", b"cli%3Aent:canary%3A%2B+%26")
