"""Laws of one TLS session, of either side: how its bytes are cut into reads makes no difference to what comes out of it."""

import ssl
from contextlib import suppress
from itertools import accumulate

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.net.tls.layer import TlsLayer
from tests.examples import examples
from tests.net.certificates import serving, trusting
from tests.property.strategies_grpc import chunks, cuts

NAME = "issuer.example.com"
versions = st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture(scope="module")
def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return trusting(authority), serving(authority, NAME)


def connected(contexts: tuple[ssl.SSLContext, ssl.SSLContext], version: ssl.TLSVersion, places: list[int]) -> tuple[TlsLayer, TlsLayer]:
    """Return a client and a server after their handshake, whose flights were cut at ``places``."""
    for context in contexts:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, version
    client, server = TlsLayer.client(contexts[0], NAME), TlsLayer.server(contexts[1])
    done = {client: client.handshake(b""), server: False}
    while not all(done.values()):
        for ours, theirs in ((client, server), (server, client)):
            for chunk in chunks(ours.to_send(), places):
                if done[theirs]:
                    theirs.decrypt(chunk)  # tickets
                else:
                    done[theirs] = theirs.handshake(chunk)
    for chunk in chunks(server.to_send(), places):
        client.decrypt(chunk)
    return client, server


@settings(max_examples=examples(60))
@given(version=versions, to_client=st.booleans(), texts=st.lists(st.binary(min_size=1, max_size=40_000), max_size=4), places=cuts)
def test_the_clear_text_and_its_end_do_not_depend_on_cuts(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], version: ssl.TLSVersion, to_client: bool, texts: list[bytes], places: list[int]
) -> None:
    client, server = connected(contexts, version, places)
    ours, theirs = (server, client) if to_client else (client, server)
    data = b"".join(ours.encrypt(text) for text in texts)
    heard = [theirs.decrypt(chunk) for chunk in chunks(data, places)]
    assert (b"".join(clear for clear, _ in heard), any(ended for _, ended in heard)) == (b"".join(texts), False)
    with suppress(ssl.SSLWantReadError):
        ours.tls.unwrap()
    heard = [theirs.decrypt(chunk) for chunk in chunks(ours.to_send(), places)]
    assert [ended for _, ended in heard] == [False] * (len(heard) - 1) + [True]


@given(version=versions, to_client=st.booleans(), text=st.binary(min_size=1, max_size=40_000))
def test_data_before_a_goodbye_counts(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], version: ssl.TLSVersion, to_client: bool, text: bytes
) -> None:
    client, server = connected(contexts, version, [])
    ours, theirs = (server, client) if to_client else (client, server)
    data = ours.encrypt(text)
    with suppress(ssl.SSLWantReadError):
        ours.tls.unwrap()
    assert theirs.decrypt(data + ours.to_send()) == (text, True)


@settings(max_examples=examples(60))
@given(version=versions, sizes=st.lists(st.integers(1, 500), min_size=1, max_size=5), places=cuts)
def test_a_client_knows_where_a_record_ends(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], version: ssl.TLSVersion, sizes: list[int], places: list[int]
) -> None:
    client, server = connected(contexts, version, places)
    records = [server.encrypt(bytes(size)) for size in sizes]
    ends, at = set(accumulate(map(len, records))), 0
    for chunk in chunks(b"".join(records), places):
        client.decrypt(chunk)
        at += len(chunk)
        assert client.is_whole is (at in ends)
