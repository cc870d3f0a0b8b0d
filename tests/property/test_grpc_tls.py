"""Laws of the server's certificates and TLS streams: any bytes, in any pieces."""

import contextlib
import ssl
from pathlib import Path

import pytest
import trio
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.net.grpc.routes import Immediate
from exchanger.net.tls.certificates import ServerIdentity, load
from exchanger.net.tls.server import TlsPhase
from exchanger.net.tls.x509 import read_certificate
from tests.examples import examples
from tests.net.grpc.authority import Site
from tests.net.grpc.peer import ECHO, echo
from tests.net.grpc.serving import TlsClient, serving
from tests.net.grpc.tls_streams import ends
from tests.property.strategies_grpc import Damage, chunks, cuts, damages

# Law: whatever stands where a certificate should be is read, or refused as no certificate; it is never a fault.
#
# RFC 5280 section 4.1 (https://www.rfc-editor.org/rfc/rfc5280#section-4.1).


odd_certificates = pytest.mark.filterwarnings("ignore::UserWarning")  # what is odd and can be read anyway

CERTIFICATE = ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert("a.example", "192.0.2.1").cert_chain_pems[0].bytes().decode())


@odd_certificates
@given(damages, st.floats(0, 1e11))
def test_damaged_certificates(harm: list[Damage], now: float) -> None:
    data = CERTIFICATE
    for damage in harm:
        data = damage.apply(data)
    with contextlib.suppress(ValueError):
        info = read_certificate(data, now)
        assert info.subject.isprintable()
        assert all(name.isprintable() for name in info.names)


@odd_certificates
@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_certificate(data, 0.0)


def test_the_witness_of_the_laws_of_certificates() -> None:
    assert read_certificate(CERTIFICATE, 0.0).names == ("DNS:a.example", "IP:192.0.2.1")


# Law: how a TLS byte stream is cut into reads makes no difference to what comes out of it, from the first byte of the handshake on.
#
# Records have lengths of their own (RFC 8446 section 5.1, https://www.rfc-editor.org/rfc/rfc8446#section-5.1).


versions = st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.at(Path(tmp_path_factory.mktemp("tls")))


@settings(max_examples=examples(60))
@given(version=versions, texts=st.lists(st.binary(max_size=40_000), max_size=4), places=st.lists(cuts, min_size=3, max_size=3))
def test_clear_text_does_not_depend_on_cuts(site: Site, version: ssl.TLSVersion, texts: list[bytes], places: list[list[int]]) -> None:
    found = load(site.files.settings())
    assert isinstance(found, ServerIdentity)
    with ends(found.context, site.client(version=version)) as pair:
        for cut in places[:2]:  # two flights of the client, in either version
            for chunk in chunks(pair.flight(), cut):
                pair.deliver(chunk)
            pair.take()
        pair.flight()
        assert pair.transport.phase is TlsPhase.SECURED
        assert not pair.broken
        for chunk in chunks(b"".join(pair.encrypted(text) for text in texts), places[2]):
            pair.deliver(chunk)
        assert not pair.broken
        assert pair.received == b"".join(texts)


# Law: whatever happens to the bytes of a TLS stream only ever costs that connection: no exception, no task that stays, no other's calls.
#
# Authenticated encryption finds every change (RFC 8446 section 5.2, https://www.rfc-editor.org/rfc/rfc8446#section-5.2), and changes in the
# handshake are found at its end at the latest (section 4.4.4).


class Damaged(TlsClient):
    """A client whose flight number ``spoiled`` meets with ``harm``; nothing follows it, for what follows would only be out of place."""

    spoiled: int = 0
    harm: tuple[Damage, ...] = ()
    places: tuple[int, ...] = ()
    sent: int = 0

    def flight(self) -> bytes:
        data = super().flight()
        if not data or self.sent > self.spoiled:
            return b""
        self.sent += 1
        if self.sent <= self.spoiled:
            return data
        for damage in self.harm:
            data = damage.apply(data)
        for chunk in chunks(data, list(self.places)):
            self.pieces.append(chunk)
        return b""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.pieces: list[bytes] = []


async def survive(site: Site, version: ssl.TLSVersion, mutual: bool, spoiled: int, harm: list[Damage], places: list[int]) -> None:
    context = site.client_with(site.authority.issue_cert("gateway.example"), version=version)
    async with serving({ECHO: Immediate(echo)}, tls=site.files.settings(mutual=mutual)) as served:
        witness = await served.connect_tls(context)
        client = Damaged(served.open(served.tls_port), context=context)
        client.spoiled, client.harm, client.places = spoiled, tuple(harm), tuple(places)
        served.clients.append(client)
        client.begin()
        stream = client.peer.call(b"x")
        for _ in range(6):
            await client.settle()
            while client.pieces and not client.eof:
                try:
                    client.socket.send(client.pieces.pop(0))
                except OSError:
                    client.eof = True
                await wait_all_tasks_blocked()
        assert client.peer.answers[stream].messages in ([], [b"echo x"])
        assert (await witness.ask(b"still here")).messages == [b"echo still here"]
        client.socket.close()
        assert (await witness.ask(b"and now")).messages == [b"echo and now"]
        assert (served.server.connections, served.server.usage().tasks) == (1, 0)
        assert sum(served.server.handshakes) in {1, 2}
        assert served.at_rest()
        assert served.faults == []


@settings(max_examples=examples(60))
@given(
    version=st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]),
    mutual=st.booleans(),
    spoiled=st.integers(0, 2),
    harm=damages,
    places=cuts,
)
def test_only_the_connection_is_lost(
    site: Site, version: ssl.TLSVersion, mutual: bool, spoiled: int, harm: list[Damage], places: list[int]
) -> None:
    trio.run(survive, site, version, mutual, spoiled, harm, places, clock=MockClock())


def test_the_witness_of_the_law_of_tls_streams(site: Site) -> None:
    """Without damage the same machinery does bring an answer."""

    async def check() -> None:
        async with serving({ECHO: Immediate(echo)}, tls=site.files.settings()) as served:
            client = Damaged(served.open(served.tls_port), context=site.client())
            client.spoiled = 100
            served.clients.append(client)
            client.begin()
            assert (await client.ask(b"x")).messages == [b"echo x"]

    trio.run(check, clock=MockClock())
