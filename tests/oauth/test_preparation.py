"""Requests that are ready to be sent: their forms by grant and client, and what is missing for one."""

from typing import Final

import attrs
import pytest

from exchanger.decision.token_request import EncodedRequest
from exchanger.errors import Diagnostic
from exchanger.oauth import preparation
from exchanger.oauth.preparation import Preparation, Prepared
from exchanger.oauth.settings import TokenClientSettings
from exchanger.oauth.transport.endpoint import Endpoint
from exchanger.values.entry import TokenTarget
from exchanger.values.issuer import (
    ActorCredentials,
    ActorToken,
    Assertion,
    AssertionType,
    AuthMethod,
    ClientCertificate,
    ClientProof,
    Credentials,
    Grant,
    GrantType,
    Issuer,
    SigningAlgorithm,
    SigningKey,
)
from exchanger.values.secret import Secret
from exchanger.values.token import ExchangeFailure, TokenRequest
from tests.oauth.fakes import CONTRACT, token_request
from tests.oauth.jose.issuer import NOW, P256, pem
from tests.oauth.published import discovered

CERTIFICATE: Final = ClientCertificate("chain", Secret("key"))
SIGNING: Final = SigningKey(Secret(pem(P256)), SigningAlgorithm.ES256)
JWT_BEARER: Final = b"urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
SPIFFE: Final = b"urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-spiffe"
TOKEN: Final = b"urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
EXCHANGE: Final = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=s&subject_token_type=" + TOKEN
BEARER: Final = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=s"


def prepared_by(discovered_at: str = "", settings: TokenClientSettings = CONTRACT) -> Preparation:
    return Preparation(settings, lambda: NOW, lambda _: discovered_at)


def issuer(proof: ClientProof = None, grant: Grant = Grant(), method: AuthMethod = AuthMethod.CLIENT_SECRET_POST) -> Issuer:  # noqa: B008
    return attrs.evolve(token_request().issuer, credentials=Credentials("c", proof), grant=grant, auth_method=method)


def exchanging(of: Issuer, target: TokenTarget = TokenTarget("primary", "r")) -> TokenRequest:  # noqa: B008
    return attrs.evolve(token_request("s"), issuer=of, target=target)


def prepared(request: TokenRequest, actor: Secret | None = None) -> EncodedRequest | ExchangeFailure:
    by = prepared_by()
    endpoint = by.endpoint(request.issuer)
    assert isinstance(endpoint, Endpoint)
    found = by.exchange(request, endpoint, actor)
    if isinstance(found, Prepared):
        assert found.endpoint is endpoint
        return found.encoded
    return found


@pytest.mark.parametrize(
    ("grant", "form"),
    [
        (Grant(), EXCHANGE + b"&scope=r&client_id=c"),
        (Grant(requested_token_type="urn:x:y"), EXCHANGE + b"&requested_token_type=urn%3Ax%3Ay&scope=r&client_id=c"),
        (Grant(parameters=(("tenant", "a b"), ("x&y", "="))), EXCHANGE + b"&scope=r&client_id=c&tenant=a+b&x%26y=%3D"),
        (
            Grant(actor=ActorToken(Secret("a"), "urn:x:z", "me")),
            EXCHANGE + b"&scope=r&client_id=c&actor_token=a&actor_token_type=urn%3Ax%3Az",
        ),
        (Grant(actor=ActorCredentials("act")), EXCHANGE + b"&scope=r&client_id=c&actor_token_type=" + TOKEN + b"&actor_token=mine"),
        (Grant(GrantType.JWT_BEARER), BEARER + b"&scope=r&client_id=c"),
        (Grant(GrantType.ENTRA_OBO), BEARER + b"&requested_token_use=on_behalf_of&scope=r&client_id=c"),
    ],
)
def test_the_form_of_each_grant(grant: Grant, form: bytes) -> None:
    actor = Secret("mine") if isinstance(grant.actor, ActorCredentials) else None
    found = prepared(exchanging(issuer(grant=grant)), actor)
    assert isinstance(found, EncodedRequest)
    assert found.body == form


@pytest.mark.parametrize(
    ("of", "client", "basic"),
    [
        (issuer(), b"&client_id=c", False),
        (issuer(Secret("p")), b"&client_id=c&client_secret=p", False),
        (issuer(Secret("p"), method=AuthMethod.CLIENT_SECRET_BASIC), b"", True),
        (issuer(CERTIFICATE), b"&client_id=c", False),
        (
            issuer(Assertion(Secret("t"), AssertionType.JWT_SPIFFE, "me")),
            b"&client_id=c&client_assertion_type=" + SPIFFE + b"&client_assertion=t",
            False,
        ),
        (
            attrs.evolve(issuer(), credentials=Credentials("", Assertion(Secret("t"), AssertionType.JWT_BEARER, "me"))),
            b"&client_assertion_type=" + JWT_BEARER + b"&client_assertion=t",
            False,
        ),
        (issuer(SIGNING), b"&client_id=c&client_assertion_type=" + JWT_BEARER + b"&client_assertion=", False),
    ],
)
def test_the_form_of_each_client(of: Issuer, client: bytes, basic: bool) -> None:
    signed = of.credentials.proof is SIGNING
    found = prepared(exchanging(of))
    own = prepared_by().client_credentials(of, ActorCredentials("act"))
    assert isinstance(found, EncodedRequest)
    assert isinstance(own, Prepared)
    for body, before in ((found.body, EXCHANGE + b"&scope=r"), (own.encoded.body, b"grant_type=client_credentials&scope=act")):
        assert body.startswith(before + client) if signed else body == before + client
    assert ("Authorization" in dict(found.headers)) == ("Authorization" in dict(own.encoded.headers)) == basic


@pytest.mark.parametrize("target", [TokenTarget("primary", "r", resources=("a",)), TokenTarget("primary", "r", audiences=("a",))])
def test_on_behalf_of_asks_for_a_scope_alone(target: TokenTarget) -> None:
    found = prepared(exchanging(issuer(grant=Grant(GrantType.ENTRA_OBO)), target))
    assert isinstance(found, ExchangeFailure)
    assert found.diagnostic is Diagnostic.CREATE_REQUEST
    assert "scope alone" in found.detail


@pytest.mark.parametrize(
    ("of", "discovered_at", "diagnostic"),
    [
        (attrs.evolve(issuer(), token_endpoint="canary"), "", Diagnostic.INVALID_TOKEN_ENDPOINT),
        (discovered(), "", Diagnostic.METADATA_UNKNOWN),
        (discovered(), "canary", Diagnostic.INVALID_TOKEN_ENDPOINT),
        (issuer(SigningKey(Secret("canary"), SigningAlgorithm.ES256)), "", Diagnostic.CREATE_REQUEST),
        (issuer(Secret("\ud800canary")), "", Diagnostic.CREATE_REQUEST),
        (issuer(grant=Grant(parameters=(("a", "\ud800canary"),))), "", None),
    ],
)
def test_what_is_missing_is_a_failure(of: Issuer, discovered_at: str, diagnostic: Diagnostic | None) -> None:
    by = prepared_by(discovered_at)
    found = by.client_credentials(of, ActorCredentials())
    if diagnostic is None:  # parameters are for exchanges
        assert isinstance(found, Prepared)
        endpoint = by.endpoint(of)
        assert isinstance(endpoint, Endpoint)
        failed = by.exchange(exchanging(of), endpoint, None)
        assert isinstance(failed, ExchangeFailure)
        assert failed.diagnostic is Diagnostic.CREATE_REQUEST
        return
    assert isinstance(found, ExchangeFailure)
    assert found.diagnostic is diagnostic
    assert "canary" not in repr(found) + found.body


def test_a_header_that_is_no_http_is_a_failure() -> None:
    """The form has no bytes that a header could not carry, so only the address can be wrong."""
    endpoint = prepared_by().endpoint(issuer())
    assert isinstance(endpoint, Endpoint)
    endpoint.authority = "a\r\nb"
    found = prepared_by().exchange(exchanging(issuer()), endpoint, None)
    assert isinstance(found, ExchangeFailure)
    assert found.diagnostic is Diagnostic.CREATE_REQUEST


def test_endpoints_are_kept_until_they_are_to_be_forgotten() -> None:
    addresses = ["http://one.example.com/"]
    by = Preparation(CONTRACT, lambda: NOW, lambda _: addresses[0])
    first = by.endpoint(discovered())
    addresses[0] = "http://two.example.com/"
    assert by.endpoint(discovered()) is first
    by.forget()
    found = by.endpoint(discovered())
    assert isinstance(found, Endpoint)
    assert found.host == "two.example.com"


def test_endpoints_go_with_their_issuers() -> None:
    by = prepared_by()
    kept = by.endpoint(issuer())
    by.endpoint(issuer(Secret("withdrawn")))
    by.use_issuers({"primary": issuer()})
    assert by._endpoints == {issuer(): kept}
    assert by.endpoint(issuer()) is kept


def test_endpoints_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "_MAX_ENDPOINTS", 3)
    by = prepared_by()
    for number in range(10):
        by.endpoint(issuer(Secret(str(number))))
        assert len(by._endpoints) <= 3


def test_it_is_reached_as_its_profile_says() -> None:
    of = attrs.evolve(issuer(CERTIFICATE), token_endpoint="https://issuer.example.com/token", ca_pem="authorities")
    found = prepared_by().endpoint(of)
    assert isinstance(found, Endpoint)
    assert (found.origin.certificate, found.origin.ca_pem) == (CERTIFICATE, "authorities")
    without = prepared_by().endpoint(attrs.evolve(of, credentials=Credentials("c", None)))
    assert isinstance(without, Endpoint)
    assert without.origin.certificate is None
