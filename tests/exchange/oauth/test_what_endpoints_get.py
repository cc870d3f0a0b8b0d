"""Who the client is and which grant it asks for, as a token endpoint sees it; the law of whole forms is in tests/property/test_oauth.py.

Assertions are verified by PyJWT, which shares no code with what signs them here, and forms are read by Python's own parser.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import jwt
import pytest

from exchanger.authz.decision.strict import strict_answer
from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import Credentials, Grant, GrantType, SigningAlgorithm, SigningKey
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from tests.exchange.oauth.fakes import ISSUED, exchange, response, success, token_request, world
from tests.exchange.oauth.published import Site
from tests.formats.jwt.issuer import KEY_OF, pem

ENDPOINT: Final = "http://issuer.example.com/token"
ISSUER: Final = "https://issuer.example.com"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"
ES256: Final = SigningAlgorithm.ES256
RS256: Final = SigningAlgorithm.RS256
# As Entra ID answers, but for its identifiers.
APP_ONLY: Final = {
    "error": "invalid_grant",
    "error_description": "AADSTS7000114: Application 'canary' is not allowed to make application on-behalf-of calls.",
    "timestamp": "2026-01-01 00:00:00Z",
    "trace_id": "canary",
    "correlation_id": "canary",
    "error_uri": "https://login.example.com/error?code=7000114",
}

Answer = Callable[[Mapping[str, str]], bytes]


def signing(algorithm: SigningAlgorithm = ES256, key_id: str = "k1", audience: str = ISSUER) -> SigningKey:
    return SigningKey(Secret(pem(KEY_OF[algorithm])), algorithm, key_id, audience)


async def asked(
    key: SigningKey,
    grant: Grant = Grant(),  # noqa: B008 - frozen
    answer: Answer = lambda _fields: response(success()),
    **more: Any,
) -> tuple[TokenOutcome, list[dict[str, str]]]:
    """Exchange as a client with this key; return what came of it, and the forms that the endpoint got."""
    site = Site(token=answer)
    async with world(site.serve) as it:
        outcome = await exchange(it.client, request_of(key, grant, **more))
    assert not any("authorization" in head.lower() for head in site.heads)
    return outcome, [fields for _, fields in site.posts]


def request_of(key: SigningKey, grant: Grant, *, target: TokenTarget | None = None, previous: Credentials | None = None) -> TokenRequest:
    request = token_request(endpoint=ENDPOINT)
    issuer = attrs.evolve(request.issuer, credentials=Credentials("client", key, 0), previous=previous, grant=grant)
    return attrs.evolve(request, issuer=issuer, target=target or request.target)


async def failed(kind: GrantType, body: dict[str, object], status: int = 400) -> ExchangeFailure:
    outcome, _ = await asked(signing(), Grant(kind), lambda _fields: response(json.dumps(body).encode(), status))
    assert isinstance(outcome, ExchangeFailure)
    return outcome


def proved(form: Mapping[str, str], algorithm: SigningAlgorithm, *, key_id: str | None = "k1", audience: str = ISSUER) -> str:
    """Return the ``jti`` of the client's assertion, which fits all that servers look at."""
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert "client_secret" not in form
    found = jwt.decode_complete(
        form["client_assertion"],
        KEY_OF[algorithm].public_key(),
        [algorithm.value],
        audience=audience,
        issuer=form["client_id"],
        subject=form["client_id"],
        options={"require": ["iss", "sub", "aud", "exp", "iat", "jti"], "strict_aud": True},
    )
    assert found["header"] == {"alg": algorithm.value, "typ": "JWT", **({} if key_id is None else {"kid": key_id})}
    claims: dict[str, Any] = found["payload"]
    assert claims.keys() == {"iss", "sub", "aud", "exp", "iat", "jti"}
    assert 0 < claims["exp"] - claims["iat"] <= 60
    assert abs(claims["iat"] - time.time()) < 60
    assert len(claims["jti"]) >= 16
    return str(claims["jti"])


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
async def test_each_request_has_an_assertion_of_its_own(algorithm: SigningAlgorithm) -> None:
    site = Site()
    async with world(site.serve) as it:
        for _ in range(5):
            assert await exchange(it.client, request_of(signing(algorithm), Grant())) == ISSUED
    assert len({proved(fields, algorithm) for _, fields in site.posts}) == 5


async def test_a_client_assertion_defaults_to_the_token_endpoint_and_no_key_id() -> None:
    _, (form,) = await asked(signing(key_id="", audience=""))
    proved(form, ES256, key_id=None, audience=ENDPOINT)


@pytest.mark.parametrize(("kind", "diagnostic"), [(JWT_TYPE, None), (ACCESS_TOKEN, Diagnostic.WRONG_ISSUED_TOKEN_TYPE)])
async def test_a_type_that_is_asked_for_has_to_come(kind: str, diagnostic: Diagnostic | None) -> None:
    typed = response(json.dumps({"access_token": "issued-token", "token_type": "Bearer", "issued_token_type": kind}).encode())
    outcome, _ = await asked(signing(), Grant(requested_token_type=JWT_TYPE), lambda _fields: typed)
    assert (outcome.diagnostic if isinstance(outcome, ExchangeFailure) else None) is diagnostic


@pytest.mark.parametrize("kind", GrantType)
async def test_grants_that_are_no_exchange_need_no_type(kind: GrantType) -> None:
    outcome, _ = await asked(signing(), Grant(kind), lambda _fields: response(b'{"access_token":"issued-token","token_type":"Bearer"}'))
    assert isinstance(outcome, ExchangedToken) == (kind is not GrantType.TOKEN_EXCHANGE)


@pytest.mark.parametrize(
    "target", [TokenTarget("primary", audiences=("orders",)), TokenTarget("primary", "a", ("https://a.example.com/",))]
)
async def test_on_behalf_of_asks_for_a_scope_alone(target: TokenTarget) -> None:
    outcome, forms = await asked(signing(), Grant(GrantType.ENTRA_OBO), target=target)
    assert forms == []
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.diagnostic is Diagnostic.CREATE_REQUEST


@pytest.mark.parametrize("codes", [[7000114], [50000, 7000114]])
async def test_a_caller_without_a_user_has_a_code_of_its_own(codes: list[int]) -> None:
    outcome = await failed(GrantType.ENTRA_OBO, {**APP_ONLY, "error_codes": codes})
    assert (outcome.diagnostic.value, outcome.kind, outcome.http_status) == ("TXE-2006", ErrorKind.HTTP_STATUS, 400)
    assert "canary" not in repr(outcome) + outcome.body
    strict = strict_answer(outcome, "orders", "read", "")
    assert (strict.status, json.loads(strict.body)["error"]) == (401, "invalid_token")


@pytest.mark.parametrize("codes", [[50013], [], ["7000114"], None, 7000114, {"7000114": True}])
async def test_other_codes_are_an_error_like_any(codes: object) -> None:
    assert (await failed(GrantType.ENTRA_OBO, {**APP_ONLY, "error_codes": codes})).diagnostic is Diagnostic.OAUTH_ERROR
