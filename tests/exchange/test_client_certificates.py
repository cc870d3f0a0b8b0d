"""Authorities and certificates of issuers against TLS servers on loopback: who is trusted, who sees which certificate, and who shares."""

import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, final

import attrs
import pytest
import trio
import trustme

from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.model.issuer import ActorCredentials, ClientCertificate, Credentials, Grant
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.net.dial import Origin
from exchanger.net.quarantine import LEAST_QUARANTINE
from exchanger.net.tls.client import client_tls_context
from tests.exchange.oauth.fakes import HTTP, Observer, Peer, answering, client_of, exchange, response, running, success, token_request
from tests.net.certificates import asking, client_certificate, leaf, pem, trusting
from tests.net.connect_proxy import ESTABLISHED, ConnectProxy, proxying, token_endpoint
from tests.net.http2_endpoint import Endpoint, own
from tests.reachable import holders
from tests.waiting import until

HOST: Final = "127.0.0.1"
PROTOCOLS: Final = pytest.mark.parametrize("protocol", ["http/1.1", "h2"])

SERVERS: Final = trustme.CA()
CLIENTS: Final = trustme.CA()
OTHERS: Final = trustme.CA()


@final
@attrs.define(eq=False)
class Site:
    """A token endpoint with TLS; ``shown`` has the certificate of the client on each connection, in DER."""

    port: int = 0
    shown: list[bytes | None] = attrs.field(factory=list)

    async def serve(self, peer: Peer) -> None:
        stream = peer.stream
        assert isinstance(stream, trio.SSLStream)
        await stream.do_handshake()
        self.shown.append(stream.getpeercert(binary_form=True))
        await (Endpoint(own).serve if stream.selected_alpn_protocol() == "h2" else answering(response(success())))(peer)

    def request(self, certificate: ClientCertificate | None, ca_pem: str | None = None, proxy: Proxy | None = None) -> TokenRequest:
        plain = token_request("subject", f"https://{HOST}:{self.port}/token")
        issuer = attrs.evolve(plain.issuer, credentials=Credentials("client", certificate), ca_pem=ca_pem, proxy=proxy)
        return attrs.evolve(plain, issuer=issuer)


@asynccontextmanager
async def site(tls: ssl.SSLContext) -> AsyncGenerator[Site]:
    it = Site()
    async with token_endpoint(it.serve, tls) as it.port:
        yield it


@asynccontextmanager
async def client(system: trustme.CA = SERVERS) -> AsyncGenerator[ExchangePipeline]:
    """Run a client on a system that trusts ``system``, whose connections rest for the shortest time."""
    found = client_of(HTTP, Observer(), tls=lambda: trusting(system))
    found.pool.limits = attrs.evolve(found.pool.limits, longest_call=0.0)
    async with running(found):
        yield found


def assert_unreachable(outcome: TokenOutcome, why: str) -> None:
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.kind is ErrorKind.TRANSPORT_ERROR
    assert outcome.detail.startswith(why)
    assert "canary" not in repr(outcome)
    assert "BEGIN" not in repr(outcome)


@PROTOCOLS
@pytest.mark.parametrize("own_authorities", [True, False])
async def test_an_endpoint_that_demands_a_certificate_sees_it(protocol: str, own_authorities: bool) -> None:
    certificate = client_certificate(CLIENTS)
    async with (
        site(asking(SERVERS, CLIENTS, HOST, demands=True, protocol=protocol)) as it,
        client(OTHERS if own_authorities else SERVERS) as found,
    ):
        ca_pem = pem(SERVERS) if own_authorities else None
        assert isinstance(await exchange(found, it.request(certificate, ca_pem)), ExchangedToken)
        assert it.shown == [leaf(certificate)]
        assert isinstance(await exchange(found, it.request(None, ca_pem)), ExchangeFailure)


@PROTOCOLS
@pytest.mark.parametrize(
    ("certificate", "why"),
    [(None, "TLSV13_ALERT_CERTIFICATE_REQUIRED"), (client_certificate(OTHERS), "TLSV1_ALERT_UNKNOWN_CA")],
    ids=["none", "another authority's"],
)
async def test_an_endpoint_that_refuses_a_certificate_says_so(protocol: str, certificate: ClientCertificate | None, why: str) -> None:
    """With TLS 1.3, after the client's part of the handshake. Trio's own servers send no alerts, so this one is OpenSSL's alone."""
    context = asking(SERVERS, CLIENTS, HOST, demands=True, protocol=protocol)
    it = Site()

    def refuse(listener: socket.socket) -> None:
        connected, _ = listener.accept()
        with connected, contextlib.suppress(ssl.SSLError), context.wrap_socket(connected, True, False) as secured:
            try:
                secured.do_handshake()
            finally:
                while socket.socket.recv(secured, 4096):  # it is the client who ends the connection
                    pass

    with socket.create_server((HOST, 0)) as listener:
        it.port = listener.getsockname()[1]
        async with client() as found, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, refuse, listener)
            assert_unreachable(await exchange(found, it.request(certificate)), f"TLS ended: {why}")


@PROTOCOLS
async def test_nobody_with_another_certificate_or_other_authorities_shares_a_connection(protocol: str) -> None:
    one, two = client_certificate(CLIENTS), client_certificate(CLIENTS)
    ca_pem = pem(SERVERS)
    async with site(asking(SERVERS, CLIENTS, HOST, protocol=protocol)) as it, client() as found:
        for _ in range(2):
            for certificate, authorities in ((one, None), (two, None), (None, None), (one, ca_pem), (None, ca_pem)):
                assert isinstance(await exchange(found, it.request(certificate, authorities)), ExchangedToken)
            await trio.sleep(LEAST_QUARANTINE)
        assert it.shown == [leaf(one), leaf(two), None, leaf(one), None]
        assert isinstance(await exchange(found, it.request(one, pem(OTHERS))), ExchangeFailure)


@PROTOCOLS
@pytest.mark.parametrize("grant", [Grant(), Grant(actor=ActorCredentials("act"))], ids=["exchange", "actor"])
async def test_the_certificate_of_before_is_tried_where_tls_refuses_the_new_one(protocol: str, grant: Grant) -> None:
    before, now = client_certificate(CLIENTS), client_certificate(OTHERS)
    async with site(asking(SERVERS, CLIENTS, HOST, demands=True, protocol=protocol)) as it, client() as found:
        request = it.request(now)
        rotated = attrs.evolve(request, issuer=attrs.evolve(request.issuer, previous=Credentials("client", before), grant=grant))
        assert isinstance(await exchange(found, rotated), ExchangedToken)
        assert set(it.shown) == {leaf(before)}
        assert isinstance(await exchange(found, request), ExchangeFailure)


async def test_the_issuers_own_authorities_are_the_only_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts the authority of the endpoint, by the very file that the default context reads."""
    SERVERS.cert_pem.write_to_path(tmp_path / "system.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    async with site(asking(SERVERS, CLIENTS, HOST)) as it, running(client_of(HTTP, Observer(), tls=client_tls_context)) as found:
        assert isinstance(await exchange(found, it.request(None)), ExchangedToken)
        refused = await exchange(found, it.request(None, pem(OTHERS)))
        assert_unreachable(refused, "the certificate of the token endpoint is refused: ")
        OTHERS.cert_pem.write_to_path(tmp_path / "system.pem")
        assert isinstance(await exchange(found, it.request(None, pem(SERVERS))), ExchangedToken)
        assert isinstance(await exchange(found, it.request(None, pem(OTHERS) + pem(SERVERS))), ExchangedToken)


async def test_no_authorities_are_not_those_of_the_system() -> None:
    async with site(asking(SERVERS, CLIENTS, HOST)) as it, client() as found:
        for ca_pem in ("", "\n", "canary"):
            outcome = await exchange(found, it.request(None, ca_pem))
            assert_unreachable(outcome, "the issuer's authorities have no certificate that OpenSSL can read")
        assert it.shown == []


async def test_an_unusable_client_certificate_makes_the_token_endpoint_unreachable() -> None:
    """What else makes one unusable is in tests/net/test_client_contexts.py."""
    async with site(asking(SERVERS, CLIENTS, HOST)) as it, client() as found:
        unusable = attrs.evolve(client_certificate(CLIENTS), key=Secret("canary"))
        for _ in range(2):
            assert_unreachable(await exchange(found, it.request(unusable)), "the client's key cannot be read by OpenSSL")
        assert it.shown == []
        assert found.connections.open == 0


@pytest.mark.parametrize("own_authorities", [True, False])
async def test_a_proxy_never_sees_the_certificate(own_authorities: bool) -> None:
    certificate, seen = client_certificate(CLIENTS), list[bytes | None]()

    async def answer(stream: trio.abc.Stream) -> bool:
        assert isinstance(stream, trio.SSLStream)
        seen.append(stream.getpeercert(binary_form=True))
        await stream.send_all(ESTABLISHED)
        return True

    endpoint = asking(OTHERS if own_authorities else SERVERS, CLIENTS, HOST, demands=True)
    async with site(endpoint) as it, proxying(ConnectProxy(answer, tls=asking(SERVERS, CLIENTS, HOST))) as proxy, client() as found:
        way = Proxy(True, HOST, proxy.port)
        ca_pem = pem(OTHERS) if own_authorities else None
        assert isinstance(await exchange(found, it.request(certificate, ca_pem, way)), ExchangedToken)
        # On a slow machine, a second connection is dialled beside the first.
        assert (set(seen), set(it.shown)) == ({None}, {leaf(certificate)})


async def test_the_issuers_authorities_do_not_vouch_for_a_proxy() -> None:
    async with (
        site(asking(OTHERS, CLIENTS, HOST)) as it,
        proxying(ConnectProxy(tls=asking(OTHERS, CLIENTS, HOST))) as proxy,
        client() as found,
    ):
        outcome = await exchange(found, it.request(None, pem(OTHERS), Proxy(True, HOST, proxy.port)))
        assert_unreachable(outcome, "the certificate of the proxy is refused: ")
        assert (bytes(proxy.received), it.shown) == (b"", [])


def test_an_origin_hides_what_it_is_proved_with() -> None:
    origin = Origin(True, HOST, 443, ca_pem=pem(SERVERS), certificate=client_certificate(CLIENTS))
    assert "BEGIN" not in repr(origin)
    assert origin != attrs.evolve(origin, ca_pem=None)
    assert origin != attrs.evolve(origin, certificate=None)


@PROTOCOLS
async def test_a_certificate_that_is_withdrawn_leaves_memory_and_its_connections_end(protocol: str) -> None:
    async with site(asking(SERVERS, CLIENTS, HOST, protocol=protocol)) as it, client() as found:
        found.settings = attrs.evolve(found.settings, request_timeout=5.0)

        async def once(certificate: ClientCertificate) -> None:
            request = it.request(certificate)
            found.use_issuers({"primary": request.issuer})
            assert isinstance(await exchange(found, request), ExchangedToken)

        certificate = client_certificate(CLIENTS)
        backwards = certificate.key.reveal().splitlines()[1][::-1]
        await once(certificate)
        del certificate
        assert holders(backwards[::-1], found)
        assert found.connections.open == 1
        found.use_issuers({"primary": it.request(None).issuer})
        await until(lambda: not holders(backwards[::-1], found))
        assert found.connections.open == 0
        assert isinstance(await exchange(found, it.request(None)), ExchangedToken)
