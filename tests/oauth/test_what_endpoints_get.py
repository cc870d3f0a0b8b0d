"""Who the client is and which grant it asks for, as a token endpoint sees it; the law of whole forms is test_token_request_is_its_form.

Assertions are verified by PyJWT, which shares no code with what signs them here, and forms are read by Python's own parser.
"""

import json
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs

import attrs
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from exchanger.decision.strict import strict_answer
from exchanger.errors import Diagnostic
from exchanger.values.entry import TokenTarget
from exchanger.values.issuer import (
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
from tests.oauth.jose.issuer import KEY_OF, pem

ENDPOINT: Final = "http://issuer.example.com/token"
ISSUER: Final = "https://issuer.example.com"
JWT_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"
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


def signing(
    algorithm: SigningAlgorithm = SigningAlgorithm.ES256, key: Any = None, key_id: str = "k1", audience: str = ISSUER
) -> SigningKey:
    return SigningKey(Secret(pem(key or KEY_OF[algorithm])), algorithm, key_id, audience)


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
    claims = [proved(got, algorithm, KEY_OF[algorithm]) for got in ended.seen]
    assert len({each["jti"] for each in claims}) == 5
    assert all(len(each["jti"]) >= 16 for each in claims)


async def test_without_an_audience_it_is_the_token_endpoint_and_without_an_id_the_key_is_not_named() -> None:
    ended = await asked(asked_of(signing(key_id="", audience="")))
    proved(ended.seen[0], SigningAlgorithm.ES256, KEY_OF[SigningAlgorithm.ES256], key_id=None, audience=ENDPOINT)


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
    assert first["jti"] != proved(old, SigningAlgorithm.RS256, KEY_OF[SigningAlgorithm.RS256])["jti"]


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
