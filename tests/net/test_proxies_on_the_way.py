"""Exchanges by way of a real CONNECT proxy on loopback: what it learns, and what its faults come to."""

import logging
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
import trio
import trustme

from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.model.errors import Diagnostic
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangeFailure, TokenRequest
from exchanger.net.dial import MAX_PROXY_ANSWER_BYTES
from exchanger.net.proxies import EnvironmentProxies, NoProxy
from exchanger.net.quarantine import LEAST_QUARANTINE
from tests.exchange.oauth.fakes import HTTP, ISSUED, Observer, client_of, exchange, kept, response, running, success, token_request
from tests.net.certificates import serving, trusting
from tests.net.connect_proxy import ESTABLISHED, Answer, ConnectProxy, proxying, remembering, saying, token_endpoint

HOST: Final = "issuer.example.com"
CREDENTIALS: Final = "canary-user:canary-pass:word"
NOWHERE: Final = Proxy(False, "127.0.0.1", 1)


@attrs.define(eq=False)
class Place:
    """A client, a token endpoint with TLS, and a proxy that knows the way to it."""

    client: ExchangePipeline
    observer: Observer
    proxy: ConnectProxy
    port: int
    seen: list[bytes]

    def request(self, subject: str = "canary-subject", *, proxy: Proxy | None = None, scheme: str = "https") -> TokenRequest:
        request = token_request(subject, f"{scheme}://{HOST}:{self.port}/token", client_secret="canary-secret")
        return attrs.evolve(request, issuer=attrs.evolve(request.issuer, proxy=proxy))

    def by_profile(self, credentials: str = "") -> Proxy:
        return Proxy(self.proxy.tls is not None, "127.0.0.1", self.proxy.port, Secret(credentials))


@asynccontextmanager
async def place(
    authority: trustme.CA, proxy: ConnectProxy, settings: TokenClientSettings = HTTP, *, secure: bool = True, name: str = HOST
) -> AsyncGenerator[Place]:
    seen: list[bytes] = []
    tls = serving(authority, name) if secure else None
    async with token_endpoint(remembering(seen, response(success())), tls) as port, proxying(proxy):
        proxy.ways[HOST] = port
        observer = Observer()
        async with running(client_of(settings, observer, tls=trusting(authority))) as client:
            yield Place(client, observer, proxy, port, seen)


@pytest.mark.parametrize("credentials", ["", CREDENTIALS], ids=["without credentials", "with credentials"])
async def test_a_profiles_proxy_receives_only_host_port_and_its_own_credentials(authority: trustme.CA, credentials: str) -> None:
    async with place(authority, ConnectProxy(credentials=credentials)) as it:
        assert await exchange(it.client, it.request(proxy=it.by_profile(credentials))) == ISSUED
        target = f"{HOST}:{it.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", "User-Agent: exchanger"]
        if credentials:
            lines.append(f"Proxy-Authorization: Basic {b64encode(credentials.encode()).decode()}")
        assert bytes(it.proxy.received).decode().split("\r\n") == [*lines, "", ""]
        assert b"canary-subject" in it.seen[0]
        assert b"canary-secret" in it.seen[0]
        assert b"proxy-authorization" not in it.seen[0].lower()
        assert len(it.proxy.carried) > 1000
        assert b"canary" not in it.proxy.carried
        (record,) = it.observer.records
        assert (record.endpoint_host, record.port) == (HOST, it.port)


@pytest.mark.parametrize("secure", [False, True], ids=["http endpoint", "https endpoint"])
async def test_the_proxy_of_the_environment(authority: trustme.CA, secure: bool) -> None:
    async with place(authority, ConnectProxy(), secure=secure) as it:
        proxies = EnvironmentProxies(https=it.by_profile()) if secure else EnvironmentProxies(http=it.by_profile())
        it.client.preparation.settings = attrs.evolve(it.client.settings, proxies=proxies)
        scheme = "https" if secure else "http"
        assert await exchange(it.client, it.request(scheme=scheme)) == ISSUED
        assert it.proxy.asked == [f"{HOST}:{it.port}"]
        assert b"Proxy-Authorization" not in it.seen[0]


async def test_a_profile_comes_before_the_environment_and_no_proxy(authority: trustme.CA) -> None:
    nowhere = EnvironmentProxies(https=NOWHERE, no_proxy=NoProxy.of("*"))
    async with place(authority, ConnectProxy(), attrs.evolve(HTTP, proxies=nowhere)) as it:
        assert await exchange(it.client, it.request(proxy=it.by_profile())) == ISSUED
        assert it.proxy.asked == [f"{HOST}:{it.port}"]


async def test_an_endpoint_that_no_proxy_covers_is_reached_directly(authority: trustme.CA) -> None:
    nowhere = EnvironmentProxies(https=NOWHERE)
    async with place(authority, ConnectProxy(), attrs.evolve(HTTP, proxies=nowhere), name="127.0.0.1") as it:
        assert await exchange(it.client, token_request("subject", f"https://127.0.0.1:{it.port}/token")) == ISSUED
        assert it.proxy.asked == []


async def test_an_https_proxy_receives_connect_inside_tls_and_its_tunnel_is_reused(authority: trustme.CA) -> None:
    proxy = ConnectProxy(credentials=CREDENTIALS, tls=serving(authority, "127.0.0.1"))
    async with place(authority, proxy) as it:
        it.client.pool.limits = attrs.evolve(it.client.pool.limits, longest_call=0.0)  # the shortest rest
        for number in range(2):
            assert await exchange(it.client, it.request(f"subject-{number}", proxy=it.by_profile(CREDENTIALS))) == ISSUED
            await trio.sleep(LEAST_QUARANTINE)
        assert len(it.proxy.asked) == 1


@pytest.mark.parametrize("impostor", ["proxy", "endpoint", "nobody"])
async def test_proxy_and_endpoint_have_to_be_there_and_prove_who_they_are(authority: trustme.CA, impostor: str) -> None:
    tls = serving(trustme.CA(), "127.0.0.1") if impostor == "proxy" else None
    async with place(authority, ConnectProxy(tls=tls), name="other.example.com" if impostor == "endpoint" else HOST) as it:
        way = NOWHERE if impostor == "nobody" else it.by_profile(CREDENTIALS)
        assert_unreachable(await exchange(it.client, it.request(proxy=way)))
        assert it.seen == []
        assert bool(it.proxy.received) == (impostor == "endpoint")


async def test_a_tunnel_is_used_again_and_by_nobody_with_another_way(authority: trustme.CA) -> None:
    async with place(authority, ConnectProxy()) as it, proxying(ConnectProxy()) as other:
        it.client.pool.limits = attrs.evolve(it.client.pool.limits, longest_call=0.0)  # the shortest rest
        other.ways[HOST] = it.port
        one, two = it.by_profile(), Proxy(False, "127.0.0.1", other.port)
        for number, proxy in enumerate([one, two, attrs.evolve(one, credentials=Secret("a:b"))]):
            assert await exchange(it.client, it.request(f"first-{number}", proxy=proxy)) == ISSUED
        assert kept(it.client) == 3
        await trio.sleep(LEAST_QUARANTINE)
        assert await exchange(it.client, it.request("second", proxy=one)) == ISSUED
        assert (len(it.proxy.asked), len(other.asked)) == (2, 1)
        assert b"Basic" in it.proxy.received


async def closing(stream: trio.abc.Stream) -> bool:
    await stream.aclose()
    return False


FAULTS: Final[dict[str, Answer]] = {
    "407": saying(b"HTTP/1.1 407 canary Authentication Required\r\nContent-Length: 0\r\n\r\n"),
    "502": saying(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno"),
    "a redirect": saying(b"HTTP/1.1 307 T\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n"),
    "101": saying(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "the endpoint's answer instead of its own": saying(response(success("forged"))),
    "more than its head": saying(ESTABLISHED + response(success("forged"))),
    "one byte more than its head": saying(ESTABLISHED + b"\n"),
    "garbage": saying(b"\x16\x03\x01\x00\x00 canary\r\n\r\n"),
    "a head too long": saying(b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_PROXY_ANSWER_BYTES + b"\r\n\r\n"),
    "a head without end": saying(b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"a" * 1000 + b"\r\n"] * 20),
    "interim responses without end": saying(*[b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40] * 20),
    "nothing": closing,
    "a bad header": saying(b"HTTP/1.1 200 OK\r\ncanary\x00: x\r\n\r\n"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_any_answer_of_the_proxy_but_yes_is_a_failed_request(
    authority: trustme.CA, caplog: pytest.LogCaptureFixture, fault: str, scheme: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with place(authority, ConnectProxy(FAULTS[fault]), secure=scheme == "https") as it:
        outcome = await exchange(it.client, it.request(proxy=it.by_profile(CREDENTIALS), scheme=scheme))
        assert_unreachable(outcome)
        assert it.seen == []
        assert "canary" not in repr((it.observer.records, it.by_profile(CREDENTIALS)))
        assert caplog.records == []
        assert it.client.connections.open == 0


def assert_unreachable(outcome: object) -> None:
    assert isinstance(outcome, ExchangeFailure)
    assert (outcome.kind, outcome.diagnostic) == (ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)
    assert "canary" not in repr(outcome)
    assert "forged" not in repr(outcome)
