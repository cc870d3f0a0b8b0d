"""The words for connections that failed: the most telling cause, however deep it lies, and nothing else of it."""

import errno
import os
import socket
import ssl

import httpx
import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.error_text import describe_error, describe_handshake_error, describe_unusable

numbers = st.sampled_from([errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EPIPE])


def under(error: BaseException, *, depth: int, by_cause: bool) -> BaseException:
    for _ in range(depth):
        above = trio.BrokenResourceError("canary")
        above.__cause__, above.__context__ = (error, None) if by_cause else (None, error)
        error = above
    return error


@given(found=st.lists(numbers, min_size=1, max_size=4), depth=st.integers(0, 3), by_cause=st.booleans())
def test_each_reason_of_the_system_counts_once_in_its_own_words(found: list[int], depth: int, by_cause: bool) -> None:
    group = ExceptionGroup("canary", [OSError(number, "canary") for number in found])
    words = ", ".join(os.strerror(number) for number in dict.fromkeys(found))
    assert describe_error(under(group, depth=depth, by_cause=by_cause)) == words


def refused(authority: trustme.CA, name: str, peer: bytes | None = None) -> ssl.SSLError:
    """Return what OpenSSL says of a server with ``name``, or of one that says ``peer`` alone, as a client for another name."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname="a.example")
    asked = server.wrap_bio(to_server, to_client, server_side=True)
    for tls in (asking, asked, asking):
        try:
            if tls is asked and peer is not None:
                to_client.write(peer)
            else:
                tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return error
    raise AssertionError


@given(depth=st.integers(0, 3), by_cause=st.booleans())
def test_openssl_is_more_telling_than_the_system(authority: trustme.CA, depth: int, by_cause: bool) -> None:
    def told(error: ssl.SSLError) -> str:
        deep = BaseExceptionGroup("", [OSError(errno.EPIPE, ""), under(error, depth=depth, by_cause=by_cause)])
        return describe_error(deep, "the peer")

    hostname = "Hostname mismatch, certificate is not valid for 'a.example'."
    assert told(refused(authority, "b.example")) == f"the certificate of the peer is refused: {hostname}"
    assert told(refused(authority, "a.example", b"SSH-2.0")) == "no TLS with the peer: WRONG_VERSION_NUMBER"


def test_an_error_without_words_is_named_by_its_class() -> None:
    assert describe_error(OSError("canary")) == "no address answers"
    assert describe_error(trio.BrokenResourceError("canary")) == describe_error(httpx.ReadError("canary")) == "the connection ended"
    assert describe_error(socket.gaierror(-2, "Name or service not known")) == "the name cannot be resolved (Name or service not known)"


@pytest.mark.parametrize(
    ("error", "words"), [(FileNotFoundError(2, "No such file or directory", "canary"), "No such file or directory"), (OSError(), "OSError")]
)
def test_a_file_that_cannot_be_read(error: OSError, words: str) -> None:
    assert describe_unusable(error) == words


def test_a_handshake_that_a_server_refuses(authority: trustme.CA) -> None:
    assert describe_handshake_error(refused(authority, "a.example", b"SSH-2.0")) == "WRONG_VERSION_NUMBER"
    assert describe_handshake_error(refused(authority, "b.example")).startswith("CERTIFICATE_VERIFY_FAILED: Hostname mismatch")
