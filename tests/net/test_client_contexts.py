"""Contexts with authorities and certificates of issuers: what is loaded, how, and how many are kept."""

import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from exchanger.model.issuer import ClientCertificate
from exchanger.model.secret import Secret
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.client_contexts import (
    MAX_OWN_CONTEXTS,
    Holder,
    NoTlsContext,
    TlsContexts,
    load_certificate,
    memory_file,
    private_file,
)
from tests.net.certificates import client_certificate, pem

NOTHING_READABLE = "the client certificate cannot be read by OpenSSL"


NOT_THE_KEY = "the client's key does not belong to the client certificate; of several certificates the first counts"


def plain() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> ClientCertificate:
    return client_certificate(authority)


def failing(data: bytes) -> AbstractContextManager[str]:
    raise OSError(24, "canary")


@contextmanager
def missing(data: bytes) -> Iterator[str]:
    yield "/proc/self/fd/nowhere"


@given(chain=st.text(), key=st.text(), ca_pem=st.text())
def test_any_pem_text_gives_a_tls_context_or_an_unquoted_reason(chain: str, key: str, ca_pem: str) -> None:
    contexts = TlsContexts(plain)
    assert contexts.own(None, ClientCertificate(f"canary{chain}", Secret(f"canary{key}")), "h2") == NoTlsContext(NOTHING_READABLE)
    assert contexts.own(ca_pem, None, "h2") == NoTlsContext("the issuer's authorities have no certificate that OpenSSL can read")


@pytest.mark.parametrize(
    "holders", [(memory_file,), (private_file,), (failing, private_file), (missing, private_file)], ids=lambda them: them[0].__name__
)
def test_a_certificate_is_loaded(certificate: ClientCertificate, holders: tuple[Holder, ...]) -> None:
    context, shown = plain(), client_certificate(trustme.CA())
    assert load_certificate(context, certificate, holders) == ""
    mixed = attrs.evolve(certificate, key=shown.key)
    assert load_certificate(context, mixed, holders) == NOT_THE_KEY


def test_a_private_file_is_its_users_alone_and_gone_at_once() -> None:
    with private_file(b"canary") as name:
        file = Path(name)
        assert file.read_bytes() == b"canary"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.exists()
    assert not file.parent.exists()


def test_a_file_in_memory_is_in_no_folder() -> None:
    with memory_file(b"canary") as name:
        file = Path(name)
        assert file.read_bytes() == b"canary"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.stat().st_nlink == 0
    assert not file.exists()


def test_only_the_first_certificate_of_the_chain_and_the_first_key_count(authority: trustme.CA, certificate: ClientCertificate) -> None:
    """A key that stands in the chain's file, and a certificate in the key's, are not looked at."""
    other = client_certificate(authority)
    mixed = ClientCertificate(other.key.reveal() + certificate.chain, Secret(other.chain + certificate.key.reveal()))
    assert load_certificate(plain(), mixed) == ""


def test_a_certificate_that_fits_no_file_fails_without_quoting_the_key(certificate: ClientCertificate) -> None:
    with pytest.raises(OSError, match="Too many open files") as raised:
        load_certificate(plain(), certificate, (failing,))
    assert "canary" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_a_context_is_made_once_for_each_combination(authority: trustme.CA, certificate: ClientCertificate) -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(plain())
        return made[-1]

    contexts = TlsContexts(make)
    ca_pem = pem(authority)
    kinds = [
        (ca, shown, offer)
        for ca in (None, ca_pem, ca_pem + "\n")
        for shown in (None, certificate, client_certificate(authority))
        for offer in (("h2",), ("http/1.1",))
    ]
    found = [contexts.own(ca, shown, *offer) for ca, shown, offer in kinds]
    assert len({id(context) for context in found}) == len(kinds)
    assert [contexts.own(ca, shown, *offer) for ca, shown, offer in kinds] == found
    assert contexts.offering("h2") is found[0]
    assert len(made) == 6  # those that trust the system's authorities


def test_few_contexts_are_kept_and_of_them_those_used_last(certificate: ClientCertificate) -> None:
    contexts = TlsContexts(plain)
    ours = contexts.own(None, certificate, "h2")
    for number in range(3 * MAX_OWN_CONTEXTS):
        contexts.own("none" * number, None, "h2")
        assert contexts.own(None, certificate, "h2") is ours
        assert len(contexts.own_contexts) <= MAX_OWN_CONTEXTS  # memory, which nothing else shows
    for number in range(MAX_OWN_CONTEXTS):
        contexts.own("none" * number, None, "h2")
    assert contexts.own(None, certificate, "h2") is not ours


def test_what_cannot_be_used_is_not_tried_again(certificate: ClientCertificate) -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(plain())
        return made[-1]

    contexts = TlsContexts(make)
    broken = attrs.evolve(certificate, key=Secret("canary"))
    for _ in range(3):
        assert contexts.own(None, broken, "h2") == NoTlsContext("the client's key cannot be read by OpenSSL")
    assert len(made) == 1


def test_a_context_with_a_certificate_is_never_shared(certificate: ClientCertificate) -> None:
    one = plain()
    contexts = TlsContexts(lambda: one)
    contexts.offering("h2")
    with pytest.raises(RuntimeError, match="must not get"):
        contexts.own(None, certificate, "h2")
    other = plain()
    contexts = TlsContexts(lambda: other)
    contexts.own(None, certificate, "h2")
    uses: list[Callable[[], object]] = [lambda: contexts.offering("h2"), lambda: contexts.own(None, certificate, "http/1.1")]
    for use in uses:
        with pytest.raises(RuntimeError, match="must not serve"):
            use()


def test_no_text_is_shown(authority: trustme.CA, certificate: ClientCertificate) -> None:
    contexts = TlsContexts(plain)
    contexts.own(pem(authority), certificate, "h2")
    assert "BEGIN" not in repr(contexts)


def test_authorities_alone_are_trusted_and_comments_may_be_in_any_language(authority: trustme.CA) -> None:
    ca_pem = pem(authority)
    for text in (ca_pem, f"# Autorité de certification\n{ca_pem}"):
        assert client_tls_context(text).get_ca_certs(binary_form=True) == [ssl.PEM_cert_to_DER_cert(ca_pem)]


@pytest.mark.parametrize(("offer", "forbidden"), [(("h2",), True), (("h2", "http/1.1"), True), (("http/1.1",), False)])
def test_http2_forbids_renegotiation(certificate: ClientCertificate, offer: tuple[str, ...], *, forbidden: bool) -> None:
    for shown in (None, certificate):
        context = TlsContexts(plain).own(None, shown, *offer)
        assert isinstance(context, ssl.SSLContext)
        assert bool(context.options & ssl.OP_NO_RENEGOTIATION) is forbidden
