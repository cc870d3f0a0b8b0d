"""Assertions that this client signs: each is another one, is for whom it should be, and comes from the key in force."""

from typing import Final

import attrs
import jwt
import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.errors import Diagnostic
from exchanger.oauth import client_assertion
from exchanger.oauth.client_assertion import ClientAssertions
from exchanger.oauth.jose.signing import load_key
from exchanger.values.issuer import Credentials, Issuer, SigningAlgorithm, SigningKey
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, ExchangeFailure, TokenRequest
from tests.oauth.fakes import ISSUED, exchange, token_request, world
from tests.oauth.jose.issuer import ED25519, NOW, P256, pem
from tests.oauth.published import OPENID, Site, discovered, metadata

KEY: Final = SigningKey(Secret(pem(P256)), SigningAlgorithm.ES256, "k1")
OTHER: Final = SigningKey(Secret(pem(ED25519)), SigningAlgorithm.EDDSA)
BROKEN: Final = SigningKey(Secret("canary"), SigningAlgorithm.ES256)


def signing(key: SigningKey = KEY, issuer: Issuer | None = None, subject: str = "subject") -> TokenRequest:
    plain = token_request(subject)
    return attrs.evolve(plain, issuer=attrs.evolve(issuer or plain.issuer, credentials=Credentials("client", key)))


def said(assertion: Secret | str | None) -> dict[str, object]:
    """What an assertion says, if it is signed by the key."""
    text = assertion.reveal() if isinstance(assertion, Secret) else assertion or ""
    options: dict[str, bool] = dict.fromkeys(("verify_exp", "verify_iat", "verify_aud"), False)
    claims: dict[str, object] = jwt.decode(text, P256.public_key(), ["ES256"], options=options)  # type: ignore[arg-type]
    return claims


def test_each_assertion_is_another_one() -> None:
    assertions = ClientAssertions(lambda: NOW)
    issuer = signing().issuer
    claims = [said(assertions.sign(issuer, KEY)) for _ in range(50)]
    assert len({claim["jti"] for claim in claims}) == 50
    assert {(claim["iss"], claim["sub"], claim["iat"], claim["exp"]) for claim in claims} == {("client", "client", NOW, NOW + 60)}


@pytest.mark.parametrize(
    ("key", "audience"),
    [(KEY, "http://issuer.example.com/token"), (attrs.evolve(KEY, audience="https://a.example.com"), "https://a.example.com")],
)
def test_its_audience_is_the_token_endpoint_unless_another_is_given(key: SigningKey, audience: str) -> None:
    assert said(ClientAssertions(lambda: NOW).sign(signing().issuer, key))["aud"] == audience


def test_a_key_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not again for each request."""
    loads: list[str] = []

    def load(text: str, algorithm: SigningAlgorithm) -> object:
        loads.append(text)
        return load_key(text, algorithm)

    monkeypatch.setattr(client_assertion, "load_key", load)
    assertions = ClientAssertions(lambda: NOW)
    for _ in range(3):
        assert assertions.sign(signing().issuer, KEY) is not None
        assert assertions.sign(signing().issuer, BROKEN) is None
    assert len(loads) == 2


def test_keys_go_with_their_issuers() -> None:
    assertions = ClientAssertions(lambda: NOW)
    rotated = attrs.evolve(signing(OTHER).issuer, previous=Credentials("client", KEY))
    for key in (KEY, OTHER, BROKEN):
        assertions.sign(rotated, key)
    assertions.use_issuers([rotated, token_request().issuer])
    assert assertions._loaded.keys() == {KEY, OTHER}
    assertions.use_issuers([])
    assert assertions._loaded == {}


def test_keys_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_assertion, "_MAX_KEYS", 3)
    assertions = ClientAssertions(lambda: NOW)
    for number in range(10):
        assertions.sign(signing().issuer, attrs.evolve(BROKEN, key_id=str(number)))
        assert len(assertions._loaded) <= 3


async def test_an_exchange_has_an_assertion_of_its_own(autojump_clock: MockClock) -> None:
    site = Site()
    async with world(site.serve) as it:
        assert await it.exchange_all(signing(subject="one"), signing(subject="two")) == [ISSUED] * 2
    forms = [fields for _, fields in site.posts]
    assert {form["client_assertion_type"] for form in forms} == {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    assert len({said(form["client_assertion"])["jti"] for form in forms}) == 2
    assert all("client_secret" not in form for form in forms)


async def test_a_key_that_cannot_sign_is_a_failure(autojump_clock: MockClock) -> None:
    site = Site()
    async with world(site.serve) as it:
        outcome = await exchange(it.client, signing(BROKEN))
        assert isinstance(outcome, ExchangeFailure)
        assert (outcome.diagnostic, outcome.kind) == (Diagnostic.CREATE_REQUEST, ErrorKind.CREATE_REQUEST)
        assert outcome.detail == "the key of the client's assertions cannot sign"
        assert "canary" not in repr(outcome) + outcome.body
        assert [record.kind for record in it.observer.records] == [ErrorKind.CREATE_REQUEST]
    assert site.posts == []


async def test_the_endpoint_may_be_discovered(autojump_clock: MockClock) -> None:
    site = Site({OPENID: metadata()})
    request = signing(attrs.evolve(KEY, audience="http://issuer.example.com"), discovered())
    async with world(site.serve) as it:
        it.client.use_issuers({"primary": request.issuer})
        await wait_all_tasks_blocked()
        assert await exchange(it.client, request) == ISSUED
    ((path, form),) = site.posts
    assert (path, said(form["client_assertion"])["aud"]) == ("/token", "http://issuer.example.com")
