"""Discovery: where metadata are looked for, what is believed, and what stays active while they cannot be had."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.exchange.oauth.documents import Fetched
from exchanger.exchange.oauth.metadata import REFRESH_S, IssuerMetadata, NoMetadata, _places, demanded_of, read_metadata
from exchanger.exchange.oauth.preparation import Preparation
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ClientCertificate, Credentials, Issuer
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangeFailure, TokenRequest
from exchanger.net.endpoint import Endpoint, read_endpoint
from tests.exchange.oauth.fakes import HTTP, ISSUED, World, exchange, kept, response, token_request, world
from tests.exchange.oauth.published import ISSUER, OAUTH, OPENID, TOKEN, Site, Steady, discovered, document, metadata
from tests.lines import Lines
from tests.property.strategies_oauth import json_values

NOT_FOUND: Final = "the answer has status 404"
OTHER_ISSUER: Final = "the metadata names another issuer"
CERTIFICATE: Final = ClientCertificate("chain", Secret("key"))


def asking(issuer: Issuer, subject: str = "subject") -> TokenRequest:
    return attrs.evolve(token_request(subject), issuer=issuer)


@asynccontextmanager
async def following(site: Site, *issuers: Issuer, settings: TokenClientSettings = HTTP) -> AsyncGenerator[tuple[World, Lines]]:
    """Run a client that follows ``issuers``; by the time of the block each was asked once."""
    with capture_logs() as entries:
        learned = Lines(entries)
        async with world(site.serve, settings=settings, random=Steady(), issuers=issuers) as it:
            await wait_all_tasks_blocked()
            yield it, learned
            it.client.use_issuers({})
            await wait_all_tasks_blocked()
            assert all(it.client.metadata.token_endpoint(issuer) == "" for issuer in issuers)
            assert it.client.connections.open == kept(it.client)
            await trio.sleep(HTTP.idle_connection_timeout + 1)  # connections at rest go with it


def test_metadata_of_an_issuer_only_one_url_parser_accepts_has_no_places() -> None:
    assert list(_places("https://a\u2100.example")) == []


@pytest.mark.parametrize(
    ("issuer", "places"),
    [
        (ISSUER, [OPENID, OAUTH]),
        (f"{ISSUER}/", [OPENID, OAUTH]),
        (f"{ISSUER}/realms/a", [f"/realms/a{OPENID}", f"{OAUTH}/realms/a"]),
        (f"{ISSUER}/realms/a/", [f"/realms/a{OPENID}", f"{OAUTH}/realms/a"]),
    ],
)
async def test_exchanges_fail_until_metadata_are_found_where_they_may_be(issuer: str, places: list[str], autojump_clock: MockClock) -> None:
    site = Site()
    async with following(site, discovered(issuer)) as (it, learned):
        assert site.gets == places
        assert learned.taken() == [("metadata_failed", "primary", NOT_FOUND)]
        assert all("secret" not in head and "Authorization" not in head for head in site.heads)
        outcome = await exchange(it.client, asking(discovered(issuer)))
        assert isinstance(outcome, ExchangeFailure)
        assert (outcome.diagnostic, outcome.kind) == (Diagnostic.METADATA_UNKNOWN, ErrorKind.METADATA_UNKNOWN)
        assert outcome.detail == "the issuer's metadata is not known yet"
        assert [record.kind for record in it.observer.records] == [ErrorKind.METADATA_UNKNOWN]
        assert site.posts == []
        # The second place counts as the first.
        site.documents[places[1]] = metadata(issuer)
        await trio.sleep(0.5)
        assert site.gets == places * 2
        assert learned.taken() == [("metadata_known", "primary")]
        assert await exchange(it.client, asking(discovered(issuer))) == ISSUED
        assert [path for path, _ in site.posts] == [TOKEN]


@given(st.text())
def test_any_issuer_has_two_places_or_none(text: str) -> None:
    if isinstance(read_endpoint(f"https://{text}", allow_http=False), Endpoint):
        assert len(list(_places(f"https://{text}"))) in (0, 2)


LIKE_IT: Final = [
    *(
        f"{ISSUER}/",
        f" {ISSUER}",
        ISSUER.upper(),
        "http://ISSUER.example.com",
        "https://issuer.example.com",
        "http://issuer.example.com:80",
    ),
    *("http://other.example.com", None, [ISSUER], 1),
]


@pytest.mark.parametrize("named", LIKE_IT)
async def test_only_an_exact_name_is_believed(named: object, autojump_clock: MockClock) -> None:
    site = Site({OPENID: document({"issuer": named, "token_endpoint": f"{ISSUER}{TOKEN}"})})
    async with following(site, discovered()) as (it, learned):
        assert learned.taken() == [("metadata_failed", "primary", OTHER_ISSUER)]
        assert it.client.metadata.token_endpoint(discovered()) == ""
        assert site.posts == []


@given(st.dictionaries(st.sampled_from(["issuer", "token_endpoint", "jwks_uri", "mtls_endpoint_aliases"]), json_values), st.booleans())
def test_any_metadata_of_somebody_else_are_unknown(members: dict[str, object], certificate: bool) -> None:
    assert read_metadata(Fetched(members, None), ISSUER, certificate=certificate) == NoMetadata(OTHER_ISSUER)


@given(json_values, json_values, json_values, st.booleans())
def test_any_metadata_of_the_issuer_are_texts(endpoint: object, keys: object, aliases: object, certificate: bool) -> None:
    members = {"issuer": ISSUER, "token_endpoint": endpoint, "jwks_uri": keys, "mtls_endpoint_aliases": aliases}
    found = read_metadata(Fetched(members, None), ISSUER, certificate=certificate)
    assert isinstance(found, IssuerMetadata)
    assert found.token_endpoint in (endpoint, "") or (isinstance(aliases, dict) and found.token_endpoint == aliases.get("token_endpoint"))
    assert found.jwks_uri in (keys, "")


@pytest.mark.parametrize("certificate", [True, False])
@pytest.mark.parametrize(
    ("aliases", "for_certificates"),
    [
        ({"token_endpoint": "https://mtls.example.com/token"}, "https://mtls.example.com/token"),
        ({"token_endpoint": 1}, "https://issuer.example.com/token"),
        ({"token_endpoint": "https://mtls.example.com/" + "a" * 2048}, "https://issuer.example.com/token"),
        ({}, "https://issuer.example.com/token"),
        ("https://mtls.example.com", "https://issuer.example.com/token"),
    ],
)
def test_clients_with_a_certificate_have_an_endpoint_of_their_own(aliases: object, for_certificates: str, certificate: bool) -> None:
    plain = "https://issuer.example.com/token"
    members = {"issuer": ISSUER, "token_endpoint": plain, "mtls_endpoint_aliases": aliases}
    found = read_metadata(Fetched(members, None), ISSUER, certificate=certificate)
    assert found == IssuerMetadata(for_certificates if certificate else plain, "")
    # The same for the other endpoint that sees the certificate.
    renamed = {name.replace("token", "introspection"): value for name, value in aliases.items()} if isinstance(aliases, dict) else aliases
    members = {"issuer": ISSUER, "introspection_endpoint": plain, "mtls_endpoint_aliases": renamed}
    found = read_metadata(Fetched(members, None), ISSUER, certificate=certificate)
    assert found == IssuerMetadata("", "", for_certificates if certificate else plain)


async def test_what_is_known_outlives_failures(autojump_clock: MockClock) -> None:
    site = Site({OPENID: metadata()})
    async with following(site, discovered()) as (it, learned):
        assert learned.taken() == [("metadata_known", "primary")]
        site.documents[OPENID] = response(b"", 500)
        await trio.sleep(REFRESH_S + 120)
        assert learned.taken() == [("metadata_failed", "primary", NOT_FOUND)]  # once, whatever the number of failures
        assert len(site.gets) > 5
        assert await exchange(it.client, asking(discovered())) == ISSUED
        site.documents[OPENID] = document({"issuer": ISSUER})
        await trio.sleep(60)
        assert learned.taken() == [("metadata_failed", "primary", "the metadata names no token endpoint")]
        assert await exchange(it.client, asking(discovered(), "another")) == ISSUED
        site.documents[OPENID] = metadata()
        await trio.sleep(60)
        assert learned.taken() == [("metadata_known", "primary")]


@given(
    st.sampled_from(["https://issuer.example.com", "HTTPS://issuer.example.com", ISSUER]),
    st.sampled_from(["http://issuer.example.com/t", "HTTP://issuer.example.com/t", "https://issuer.example.com/t", "HTTPS://a/t", "//a/t"]),
    st.sampled_from(["token_endpoint", "jwks_uri", "mtls_endpoint_aliases"]),
)
def test_no_secret_leaves_tls_because_metadata_say_so(issuer: str, address: str, name: str) -> None:
    named = {"token_endpoint": address} if name == "mtls_endpoint_aliases" else address
    found = read_metadata(Fetched({"issuer": issuer, name: named}, None), issuer, certificate=True)
    assert isinstance(found, IssuerMetadata)
    safe = address.lower().startswith("https:") or issuer == ISSUER
    assert (found.jwks_uri if name == "jwks_uri" else found.token_endpoint) == (address if safe else "")
    assert demanded_of(issuer) == ("" if issuer == ISSUER else " with https")


async def test_another_token_endpoint_takes_effect(autojump_clock: MockClock) -> None:
    site = Site({OPENID: metadata()})
    async with following(site, discovered()) as (it, _):
        assert await exchange(it.client, asking(discovered())) == ISSUED
        site.documents[OPENID] = metadata(token_endpoint=f"{ISSUER}/moved")
        await trio.sleep(REFRESH_S + 1)
        assert await exchange(it.client, asking(discovered())) == ISSUED
        assert [path for path, _ in site.posts] == [TOKEN, "/moved"]


@pytest.mark.parametrize(
    "changed",
    [
        attrs.evolve(discovered(), ca_pem="another"),
        attrs.evolve(discovered(), proxy=Proxy(False, "proxy.example.com", 3128)),
        attrs.evolve(discovered(), credentials=Credentials("client", CERTIFICATE)),
    ],
    ids=["authorities", "proxy", "certificate"],
)
async def test_another_way_is_tried_at_once_and_what_is_known_stays(changed: Issuer, autojump_clock: MockClock) -> None:
    site = Site({OPENID: metadata()})
    async with following(site, discovered()) as (it, _):
        dialled = len(it.endpoint.dialled)
        it.client.use_issuers({"primary": changed})
        assert it.client.metadata.token_endpoint(changed) == f"{ISSUER}{TOKEN}"
        await wait_all_tasks_blocked()
        assert len(it.endpoint.dialled) + len(site.gets) > dialled + 1


async def test_other_credentials_are_no_reason_to_ask_again(autojump_clock: MockClock) -> None:
    site = Site({OPENID: metadata()})
    async with following(site, discovered()) as (it, learned):
        it.client.use_issuers({"primary": attrs.evolve(discovered(), credentials=Credentials("client", Secret("another"), 1))})
        await wait_all_tasks_blocked()
        assert site.gets == [OPENID]
        assert learned.taken() == [("metadata_known", "primary")]


@pytest.mark.parametrize("waits", ["for an answer", "for the next look", "after a failure"])
async def test_the_end_leaves_nothing_running(waits: str, autojump_clock: MockClock) -> None:
    site = Site({} if waits == "after a failure" else {OPENID: b"" if waits == "for an answer" else metadata()})
    async with world(site.serve) as it:
        it.client.use_issuers({"primary": discovered()})
        await wait_all_tasks_blocked()
    it.client.use_issuers({})  # as the service may do while it ends


async def test_an_answer_that_comes_when_its_issuer_goes_does_not_count(autojump_clock: MockClock) -> None:
    site = Site({OPENID: metadata()})
    async with following(site) as (it, learned):
        for _ in range(20):  # at each step on the way of the answer
            it.client.use_issuers({"primary": discovered()})
            steps = len(site.heads)
            while len(site.heads) == steps:
                await trio.lowlevel.checkpoint()
            it.client.use_issuers({"primary": discovered(f"{ISSUER}/other")})
            await wait_all_tasks_blocked()
            assert it.client.metadata.token_endpoint(discovered(f"{ISSUER}/other")) == ""
            assert ("metadata_known", "primary") not in learned.taken()
            it.client.use_issuers({})


ABSURD: Final = [
    "",
    "token",
    "http://issuer.example.com/token",
    "file:///etc/passwd",
    "https://",
    "https://[::1",
    "https://issuer.example.com:99999/token",
    "https://user:canary@issuer.example.com/token",
    "https://issuer.example.com/token#canary",
    "https://a b.example.com/",
    "https://issuer.example.com\r\nX: canary/token",
    "https://\ud800.example.com/token",
    "https://xn--a.example.com/\x00",
    "\x00",
    "javascript:canary",
]
absurd = st.sampled_from(ABSURD) | st.text() | st.text(max_size=30).map("https://".__add__) | st.text(max_size=10).map("http://".__add__)


@given(absurd)
def test_any_token_endpoint_is_a_safe_one_or_a_failure(address: str) -> None:
    """Whoever controls the metadata cannot have credentials sent without TLS, nor end the process."""
    issuer = discovered("https://issuer.example.com")
    found = Preparation(TokenClientSettings(), lambda: 0.0, lambda _: address).endpoint(issuer)
    if isinstance(found, Endpoint):
        assert found.origin.secure
    else:
        assert found.diagnostic is (Diagnostic.INVALID_TOKEN_ENDPOINT if address else Diagnostic.METADATA_UNKNOWN)
        assert "canary" not in repr(found) + found.body
