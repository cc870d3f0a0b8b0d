"""Law: how a TLS byte stream is cut into reads makes no difference to what comes out of it, from the first byte of the handshake on.

Records have lengths of their own (RFC 8446 section 5.1, https://www.rfc-editor.org/rfc/rfc8446#section-5.1).
"""

import ssl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.net.tls.certificates import Identity, load
from exchanger.net.tls.server import Phase
from tests.examples import examples
from tests.grpc.authority import Site
from tests.grpc.tls_streams import ends
from tests.property.strategies_grpc import chunks, cuts

versions = st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.at(Path(tmp_path_factory.mktemp("tls")))


@settings(max_examples=examples(60))
@given(version=versions, texts=st.lists(st.binary(max_size=40_000), max_size=4), places=st.lists(cuts, min_size=3, max_size=3))
def test_clear_text_does_not_depend_on_cuts(site: Site, version: ssl.TLSVersion, texts: list[bytes], places: list[list[int]]) -> None:
    found = load(site.files.settings())
    assert isinstance(found, Identity)
    with ends(found.context, site.client(version=version)) as pair:
        for cut in places[:2]:  # two flights of the client, in either version
            for chunk in chunks(pair.flight(), cut):
                pair.deliver(chunk)
            pair.take()
        pair.flight()
        assert pair.transport.phase is Phase.SECURED
        assert not pair.broken
        for chunk in chunks(b"".join(pair.encrypted(text) for text in texts), places[2]):
            pair.deliver(chunk)
        assert not pair.broken
        assert pair.received == b"".join(texts)
