"""Documents of issuers: what is asked for, what counts as one, what is wrong otherwise, and what is left behind."""

import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import pytest
import trio
import trustme
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.exchange.oauth.documents import DOCUMENT_TIMEOUT, MAX_DOCUMENT_BYTES, Fetched, NotFetched, read_document
from exchanger.exchange.oauth.resolve_endpoint import resolve_endpoint
from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.model.issuer import Assertion, AssertionType, AuthMethod, ClientProof, Credentials, EndpointProtocol, Issuer
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.net.answer import MAX_RESPONSE_BYTES, EndpointResponse, TooLarge
from exchanger.net.endpoint import EndpointProblem
from exchanger.net.proxies import EnvironmentProxies
from tests.exchange.oauth.fakes import (
    CONTRACT,
    HTTP,
    ISSUED,
    RESTED,
    Observer,
    Peer,
    Script,
    answering,
    at_rest,
    client_of,
    closing,
    exchange,
    response,
    running,
    silent,
    success,
    token_request,
    world,
)
from tests.net.certificates import asking, client_certificate, pem
from tests.net.connect_proxy import ConnectProxy, proxying, remembering, token_endpoint
from tests.net.http2_endpoint import Endpoint
from tests.net.http2_endpoint import silent as silent_over_http2
from tests.net.http2_peer import Server

URL: Final = "http://issuer.example.com/.well-known/oauth-authorization-server?a=b"
DOCUMENT: Final = b'{"issuer": "https://issuer.example.com", "n": [1]}'
MEMBERS: Final = {"issuer": "https://issuer.example.com", "n": [1.0]}
FETCHED: Final = Fetched(MEMBERS, None)
NOT_JSON: Final = "the document is not a JSON object with unique names"
SECRET: Final = Secret("canary-secret")
TOO_LARGE: Final = "the document has more than 262144 bytes"


def issuer(protocol: EndpointProtocol = EndpointProtocol.AUTO, proof: ClientProof = SECRET) -> Issuer:
    return attrs.evolve(
        token_request().issuer,
        auth_method=AuthMethod.CLIENT_SECRET_BASIC,
        credentials=Credentials("canary-client", proof),
        previous=Credentials("canary-client", Secret("canary-previous")),
        protocol=protocol,
    )


HTTP2: Final = issuer(EndpointProtocol.HTTP2)


async def fetch(client: ExchangePipeline, url: str = URL, of: Issuer | None = None) -> Fetched | NotFetched:
    return await client.documents.fetch(url, issuer=of or issuer())


def saying(body: bytes, *fields: tuple[bytes, bytes], status: bytes = b"200") -> Callable[[Endpoint, Server, list[int]], Awaitable[None]]:
    """Answer each request over HTTP/2."""

    async def act(_endpoint: Endpoint, server: Server, streams: list[int]) -> None:
        for stream in streams:
            server.answer(stream, body, *fields, status=status)

    return act


# What an answer comes to.

directives = st.sampled_from(["no-store", "public", "max-age", "s-maxage=7", "max-age=", "max-age=-1", "xmax-age=8", "max-age=1x", ""])
bodies = st.sampled_from([DOCUMENT, b"", b"null", b"[]", b'{"canary":1,"canary":2}', b"{canary", None, TooLarge.TOO_LARGE]) | st.binary(
    max_size=8
)


@given(st.integers(100, 599), bodies, st.lists(directives, max_size=3).map(", ".join), st.booleans())
def test_any_response_is_a_document_or_has_an_unquoted_reason(status: int, body: object, directives: str, late: bool) -> None:
    assert body is None or isinstance(body, bytes | TooLarge)
    found = read_document(EndpointResponse(status, (), "", body, directives), late=late)
    if isinstance(found, Fetched):
        assert (status, found.max_age) == (200, None)
        assert isinstance(body, bytes)
        assert json.loads(body) == found.members
    else:
        assert found.status == status
        assert "canary" not in repr(found)


@given(st.integers(0, 2**31), st.lists(directives, max_size=3), st.lists(directives | st.just("max-age=1"), max_size=3))
@example(10**20, [], [])
@example(10**200, [], [])
@pytest.mark.parametrize("form", ["max-age={}", "MAX-AGE={}", 'max-age="{}"', "\tmax-age={} "])
def test_the_first_max_age_counts(form: str, age: int, before: list[str], after: list[str]) -> None:
    text = ",".join([*before, form.format(age), *after])
    assert read_document(EndpointResponse(200, (), "", b"{}", text), late=False) == Fetched({}, min(float(age), 2.0**31))


REDIRECT: Final = "the answer is a redirect, which is not followed"
WRONG: Final = [
    *((b"", "301", REDIRECT), (DOCUMENT, "308", REDIRECT)),
    *((DOCUMENT, status, f"the answer has status {status}") for status in ("404", "201")),
    (b"canary", "500", "the answer has status 500"),
    *((b"{}".ljust(most + 1), "200", TOO_LARGE) for most in (MAX_DOCUMENT_BYTES, MAX_RESPONSE_BYTES)),
    *((body, "200", NOT_JSON) for body in (b"<html>canary", b"[]", b"null", b"", b'{"canary": "\xff"}', b"{} canary")),
    *((body, "200", NOT_JSON) for body in (b'{"canary": 1, "canary": 1}', b'{"keys": [{"canary": 1, "canary": 2}]}')),
]


@pytest.mark.parametrize(("body", "status", "why"), WRONG, ids=range(len(WRONG)))
@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
async def test_what_is_no_document(body: bytes, status: str, why: str, http2: bool) -> None:
    location = "Location: http://canary.example/"
    over_http2 = Endpoint(saying(body, (b"location", b"http://canary.example/"), status=status.encode())).serve
    async with world(over_http2 if http2 else answering(response(body, int(status), location))) as it:
        found = await fetch(it.client, of=HTTP2 if http2 else issuer())
        assert found == NotFetched(why, int(status))
        assert "canary" not in repr(found)
    assert len(it.endpoint.dialled) == 1


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
async def test_the_largest_document_and_its_age(http2: bool) -> None:
    body = DOCUMENT.ljust(MAX_DOCUMENT_BYTES)
    fields = [(b"cache-control", b"public"), (b"cache-control", b"x" * 300), (b"cache-control", b"max-age=3600, must-revalidate")]
    lines = [f"{name.decode()}: {value.decode()}" for name, value in fields]
    async with world(Endpoint(saying(body, *fields)).serve if http2 else answering(response(body, 200, *lines))) as it:
        assert await fetch(it.client, of=HTTP2 if http2 else issuer()) == Fetched(MEMBERS, 3600.0)


def test_a_document_is_not_shown() -> None:
    assert "canary" not in repr(Fetched({"canary": "canary"}, 1.0))


# What is asked for.

PROOFS: Final[list[ClientProof]] = [SECRET, Assertion(Secret("canary"), AssertionType.JWT_BEARER, "canary"), None]


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: type(proof).__name__)
async def test_a_request_is_a_get_without_credentials(proof: ClientProof, http2: bool) -> None:
    seen: list[bytes] = []
    endpoint = Endpoint(saying(DOCUMENT))
    of = issuer(EndpointProtocol.HTTP2 if http2 else EndpointProtocol.AUTO, proof)
    async with world(endpoint.serve if http2 else remembering(seen, response(DOCUMENT))) as it:
        assert await fetch(it.client, of=of) == FETCHED
    path, host = "/.well-known/oauth-authorization-server?a=b", "issuer.example.com"
    fields = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "exchanger"}
    if http2:
        (request,) = endpoint.servers[0].requests.values()
        head = {":method": "GET", ":scheme": "http", ":authority": host, ":path": path}
        assert request.headers == {name.lower().encode(): value.encode() for name, value in (head | fields).items()}
        assert (request.body, request.ended) == (b"", True)
    else:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        assert seen[0].decode().split("\r\n") == lines


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
async def test_it_is_reached_as_the_token_endpoint_is(http2: bool) -> None:
    """By the same proxy, under the same authorities, over TLS on loopback; and without the client's certificate."""
    servers, clients = trustme.CA(), trustme.CA()
    certificate, shown = client_certificate(clients), list[bytes | None]()

    async def serve(peer: Peer) -> None:
        assert isinstance(peer.stream, trio.SSLStream)
        await peer.stream.do_handshake()
        shown.append(peer.stream.getpeercert(binary_form=True))
        await (Endpoint(saying(DOCUMENT)).serve if http2 else answering(response(DOCUMENT)))(peer)

    tls = asking(servers, clients, "issuer.example.com", demands=False, protocol="h2" if http2 else "http/1.1")
    async with token_endpoint(serve, tls) as port, proxying(ConnectProxy(ways={"issuer.example.com": port})) as proxy:
        of = attrs.evolve(issuer(proof=certificate), ca_pem=pem(servers))
        way = Proxy(False, "127.0.0.1", proxy.port)
        settings = attrs.evolve(HTTP, proxies=EnvironmentProxies(https=way))
        async with running(client_of(settings, Observer(), tls=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))) as client:
            assert await fetch(client, "https://issuer.example.com/jwks", of) == FETCHED
            refused = await fetch(client, "https://issuer.example.com/jwks", attrs.evolve(of, ca_pem=None))
            assert isinstance(refused, NotFetched)
            assert refused.why.startswith("the certificate of the token endpoint is refused: ")
    assert (shown, proxy.asked) == ([None], ["issuer.example.com:443"] * 2)


@pytest.mark.parametrize("protocol", EndpointProtocol)
def test_http2_is_expected_of_the_issuer_s_own_server_alone(protocol: EndpointProtocol) -> None:
    def protocol_at(url: str) -> EndpointProtocol:
        found = resolve_endpoint(url, issuer(protocol), HTTP, as_client=False)
        assert not isinstance(found, EndpointProblem)
        return found.origin.protocol

    assert protocol_at(f"{issuer().address}/keys") is protocol
    elsewhere = EndpointProtocol.AUTO if protocol is EndpointProtocol.HTTP2 else protocol
    assert {protocol_at(url) for url in ("http://login.example.com/keys", f"http://{issuer().endpoint_host}:81/keys")} == {elsewhere}


async def test_an_address_that_is_not_usable() -> None:
    async with world(settings=attrs.evolve(HTTP, allow_http=False)) as it:
        found = await fetch(it.client, "https://canary:canary@issuer.example.com/")
        assert found == NotFetched("its address must not have user information")
    assert it.endpoint.dialled == []


# Connections.


async def test_a_token_call_uses_the_connection_of_a_document(autojump_clock: MockClock) -> None:
    async with world(answering(response(DOCUMENT), response(success()))) as it:
        assert await fetch(it.client) == FETCHED
        assert at_rest(it.client, connections=1)
        await trio.sleep(RESTED)
        assert await exchange(it.client, token_request()) == ISSUED
    assert len(it.endpoint.dialled) == 1


def after(seconds: float, *pieces: bytes) -> Script:
    """Say each piece of an answer after some time."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await trio.sleep(seconds)
            await peer.send(piece)
        await silent(peer)

    return script


WAITED: Final = NotFetched("timed out while waiting for the response")
BROKEN_OFF: Final[dict[str, tuple[Script, Issuer, NotFetched, float]]] = {
    "silent": (silent, issuer(), WAITED, DOCUMENT_TIMEOUT),
    "silent over HTTP/2": (Endpoint(silent_over_http2).serve, HTTP2, WAITED, DOCUMENT_TIMEOUT),
    "slow": (after(1.0, response(DOCUMENT)[:-1]), issuer(), NotFetched("timed out while reading the response", 200), DOCUMENT_TIMEOUT),
    "half": (closing(response(DOCUMENT)[:-1]), issuer(), NotFetched("the response was cut off", 200), 0.0),
    "closing": (closing(b""), issuer(), NotFetched("the connection closed without a response"), 0.0),
}


@pytest.mark.parametrize(("script", "of", "found", "seconds"), BROKEN_OFF.values(), ids=BROKEN_OFF)
async def test_an_answer_that_does_not_come_or_breaks_off(
    autojump_clock: MockClock, script: Script, of: Issuer, found: NotFetched, seconds: float
) -> None:
    async with world(script, settings=CONTRACT) as it:
        started = trio.current_time()
        assert await fetch(it.client, of=of) == found
        assert trio.current_time() - started == pytest.approx(seconds)
        await wait_all_tasks_blocked()
        assert at_rest(it.client, connections=it.client.connections.multiplexed)


async def test_a_slow_document_counts_but_its_connection_carries_no_token(autojump_clock: MockClock) -> None:
    """A second copy of the request would be answered as slowly, which is later than the end of a rest."""
    async with world(after(1.5, *[bytes([byte]) for byte in response(b"{}")[:2]], response(b"{}")[2:]), settings=CONTRACT) as it:
        assert await fetch(it.client) == Fetched({}, None)
        assert at_rest(it.client)
