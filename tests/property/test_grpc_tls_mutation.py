"""Law: whatever happens to the bytes of a TLS stream only ever costs that connection: no exception, no task that stays, no other's calls.

Authenticated encryption finds every change (RFC 8446 section 5.2, https://www.rfc-editor.org/rfc/rfc8446#section-5.2), and changes in the
handshake are found at its end at the latest (section 4.4.4).
"""

import ssl
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.grpc.routes import Immediate
from tests.examples import examples
from tests.grpc.authority import Site
from tests.grpc.peer import ECHO, echo
from tests.grpc.serving import TlsClient, serving
from tests.property.strategies_grpc import Damage, chunks, cuts, damages


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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.at(Path(tmp_path_factory.mktemp("tls")))


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


def test_the_witness_of_this_law(site: Site) -> None:
    """Without damage the same machinery does bring an answer."""

    async def check() -> None:
        async with serving({ECHO: Immediate(echo)}, tls=site.files.settings()) as served:
            client = Damaged(served.open(served.tls_port), context=site.client())
            client.spoiled = 100
            served.clients.append(client)
            client.begin()
            assert (await client.ask(b"x")).messages == [b"echo x"]

    trio.run(check, clock=MockClock())
