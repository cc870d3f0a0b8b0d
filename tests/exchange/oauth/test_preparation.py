"""Requests that are ready to be sent: what is missing for one, and which endpoints and keys are kept for the next."""

import re
from typing import Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.exchange.oauth import client_assertion, preparation
from exchanger.exchange.oauth.client_assertion import ClientAssertions
from exchanger.exchange.oauth.preparation import Preparation, Prepared
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.formats.jwt.signing import load_key
from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import (
    ActorCredentials,
    AuthMethod,
    ClientCertificate,
    ClientProof,
    Credentials,
    Grant,
    Issuer,
    SigningAlgorithm,
    SigningKey,
)
from exchanger.model.secret import Secret
from exchanger.model.token import ExchangeFailure, IntrospectionRequest, TokenRequest
from exchanger.model.trace import NO_TRACE, TraceContext
from exchanger.net.endpoint import Endpoint
from tests.exchange.oauth.fakes import CONTRACT, token_request
from tests.exchange.oauth.published import discovered
from tests.formats.jwt.issuer import ED25519, NOW, P256, pem
from tests.reachable import holders, text_held

KEY: Final = SigningKey(Secret(pem(P256)), SigningAlgorithm.ES256, "k1")
OTHER: Final = SigningKey(Secret(pem(ED25519)), SigningAlgorithm.EDDSA)
BROKEN: Final = SigningKey(Secret("canary"), SigningAlgorithm.ES256)


def prepared_by(discovered_at: str = "", settings: TokenClientSettings = CONTRACT) -> Preparation:
    return Preparation(settings, lambda: NOW, lambda _: discovered_at)


def issuer(proof: ClientProof = None, grant: Grant = Grant(), method: AuthMethod = AuthMethod.CLIENT_SECRET_POST) -> Issuer:  # noqa: B008
    return attrs.evolve(token_request().issuer, credentials=Credentials("c", proof), grant=grant, auth_method=method)


def exchanging(of: Issuer, target: TokenTarget = TokenTarget("primary", "r")) -> TokenRequest:  # noqa: B008
    return attrs.evolve(token_request("s"), issuer=of, target=target)


@pytest.mark.parametrize(
    ("of", "discovered_at", "diagnostic"),
    [
        (attrs.evolve(issuer(), token_endpoint="canary"), "", Diagnostic.INVALID_TOKEN_ENDPOINT),
        (discovered(), "", Diagnostic.METADATA_UNKNOWN),
        (discovered(), "canary", Diagnostic.INVALID_TOKEN_ENDPOINT),
        (issuer(BROKEN), "", Diagnostic.CREATE_REQUEST),
        (issuer(Secret("\ud800canary")), "", Diagnostic.CREATE_REQUEST),
        (issuer(grant=Grant(parameters=(("a", "\ud800canary"),))), "", None),
    ],
)
def test_what_is_missing_is_a_failure(of: Issuer, discovered_at: str, diagnostic: Diagnostic | None) -> None:
    by = prepared_by(discovered_at)
    found = by.client_credentials(of, ActorCredentials())
    if diagnostic is None:  # parameters are for exchanges
        assert isinstance(found, Prepared)
        failed = by.exchange(exchanging(of))
        assert isinstance(failed, ExchangeFailure)
        assert failed.diagnostic is Diagnostic.CREATE_REQUEST
        return
    assert isinstance(found, ExchangeFailure)
    assert found.diagnostic is diagnostic
    assert (found.detail == "the client assertion key cannot sign") == (of.credentials.proof == BROKEN)
    assert "canary" not in repr(found) + found.body


def test_a_header_that_is_no_http_is_a_failure() -> None:
    """The form has no bytes that a header could not carry, so only the address can be wrong."""
    by, of = prepared_by(), issuer()
    endpoint = by.endpoint(of)
    assert isinstance(endpoint, Endpoint)
    endpoint.authority = "a\r\nb"
    found = by.exchange(exchanging(of))
    assert isinstance(found, ExchangeFailure)
    assert found.diagnostic is Diagnostic.CREATE_REQUEST


def test_endpoints_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "_MAX_ENDPOINTS", 3)
    by = prepared_by()
    held: list[int] = []
    for number in range(10):
        by.endpoint(issuer(Secret(str(number) * 1000)))
        held.append(text_held(by))
    assert max(held) < held[0] + 3 * 1500


@given(
    st.text(max_size=9) | st.text("abc%+ ~", max_size=9),
    st.sampled_from([NO_TRACE, TraceContext("00-a-b-01"), TraceContext("a\n", "b", "c" * 9000)]),
    st.sampled_from(["r", "r w", "\ud800"]),
    st.sampled_from([None, KEY, Secret("s")]),
    st.sampled_from([AuthMethod.CLIENT_SECRET_POST, AuthMethod.CLIENT_SECRET_BASIC]),
)
def test_the_next_request_of_a_kind_is_prepared_as_the_first_one(
    token: str, trace: TraceContext, scope: str, proof: ClientProof, method: AuthMethod
) -> None:
    def prepared(request: TokenRequest, by: Preparation) -> object:
        found = by.exchange(request)
        without_assertion = re.sub(rb"&client_assertion=[^&]*", b"", found.body) if isinstance(found, Prepared) else b""
        return (found.head, without_assertion, found.trace) if isinstance(found, Prepared) else found

    by, of, target = prepared_by(), issuer(proof, method=method), TokenTarget("primary", scope)
    prepared(exchanging(of, target), by)
    request = attrs.evolve(exchanging(of, target), subject_token=Secret(token), trace=trace)
    assert prepared(request, by) == prepared(request, prepared_by())


def test_what_requests_have_in_common_goes_with_their_issuers_and_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "_MAX_PARTS", 3)
    addresses = ["http://one.example.com/"]
    by = Preparation(CONTRACT, lambda: NOW, lambda _: addresses[0], introspected=lambda _: f"{addresses[0]}introspect")
    of = discovered()
    held: list[int] = []
    for number in range(10):
        assert isinstance(by.exchange(exchanging(of, TokenTarget("primary", str(number) * 1000))), Prepared)
        held.append(text_held(by))
    assert max(held) < 4 * held[0]
    request, asked = exchanging(of), IntrospectionRequest(of, Secret("s"))
    for one in (by.exchange(request), by.introspection(asked)):
        assert isinstance(one, Prepared)
        assert one.endpoint.host == "one.example.com"
    addresses[0] = "http://two.example.com/"
    by.forget()
    for one in (by.exchange(request), by.introspection(asked)):
        assert isinstance(one, Prepared)
        assert one.endpoint.host == "two.example.com"
    by.use_issuers({})
    assert holders("two.example.com\r\n", by) == []
    by.exchange(request)  # one in progress
    assert holders("two.example.com\r\n", by) == []


def test_it_is_reached_as_its_profile_says() -> None:
    certificate = ClientCertificate("chain", Secret("key"))
    of = attrs.evolve(issuer(certificate), token_endpoint="https://issuer.example.com/token", ca_pem="authorities")
    found = prepared_by().endpoint(of)
    assert isinstance(found, Endpoint)
    assert (found.origin.certificate, found.origin.ca_pem) == (certificate, "authorities")
    without = prepared_by().endpoint(attrs.evolve(of, credentials=Credentials("c", None)))
    assert isinstance(without, Endpoint)
    assert without.origin.certificate is None


def test_a_key_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not again for each request."""
    loads: list[str] = []

    def load(text: str, algorithm: SigningAlgorithm) -> object:
        loads.append(text)
        return load_key(text, algorithm)

    monkeypatch.setattr(client_assertion, "load_key", load)
    assertions = ClientAssertions(lambda: NOW)
    for _ in range(3):
        assert assertions.sign(issuer(), KEY) is not None
        assert assertions.sign(issuer(), BROKEN) is None
    assert len(loads) == 2


def test_keys_go_with_their_issuers() -> None:
    assertions = ClientAssertions(lambda: NOW)
    rotated = attrs.evolve(issuer(OTHER), previous=Credentials("client", KEY))
    withdrawn = attrs.evolve(BROKEN, pem=Secret("the key of an issuer that is gone"))
    keys = (KEY, OTHER, withdrawn)
    for key in keys:
        assertions.sign(rotated, key)
    assertions.use_issuers([rotated, issuer()])
    assert [bool(holders(key.pem.reveal(), assertions)) for key in keys] == [True, True, False]
    assertions.use_issuers([])
    assert [holders(key.pem.reveal(), assertions) for key in (KEY, OTHER)] == [[], []]


def test_keys_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_assertion, "_MAX_KEYS", 3)
    assertions = ClientAssertions(lambda: NOW)
    held: list[int] = []
    for number in range(10):
        assertions.sign(issuer(), attrs.evolve(BROKEN, key_id=str(number) * 1000))
        held.append(text_held(assertions))
    assert max(held) < held[0] + 3 * 1000
