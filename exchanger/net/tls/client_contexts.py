"""TLS contexts for connections to token endpoints: the trusted CAs, and the client's certificate.

A certificate's key passes through a file, because OpenSSL's interface in Python reads nothing else. The file is accessible only to this
process and is removed at once. Unusable input is reported as a value, which says nothing about its content.

Source: RFC 8705 section 2 (https://www.rfc-editor.org/rfc/rfc8705#section-2).
"""

import errno
import os
import ssl
import sys
import tempfile
import weakref
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.model.issuer import ClientCertificate
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.key_pair import load_key_pair

# Cached contexts for issuers with their own CAs or certificate: more than a service has such issuers. Each rotation makes new ones, and one
# that trusts the system's CAs takes 1 MB. Connections keep theirs.
MAX_OWN_CONTEXTS: Final = 32

# Puts bytes into a file that has the given name for a moment.
Holder = Callable[[bytes], AbstractContextManager[str]]


@final
@attrs.frozen
class NoTlsContext:
    """There is no context; ``why`` is in words for operators, and written by us or OpenSSL."""

    why: str


@final
@attrs.define(eq=False)
class TlsContexts:
    """The contexts that are in use. ``make`` makes a new one each time, which trusts the system's authorities."""

    _make: Callable[[], ssl.SSLContext]
    _made: dict[tuple[str, ...], ssl.SSLContext] = attrs.field(factory=dict, init=False)
    own_contexts: dict[tuple[str | None, ClientCertificate | None, tuple[str, ...]], ssl.SSLContext | NoTlsContext] = attrs.field(
        factory=dict, init=False, repr=False
    )
    _with_certificate: weakref.WeakSet[ssl.SSLContext] = attrs.field(factory=weakref.WeakSet, init=False, repr=False)

    def offering(self, *protocols: str) -> ssl.SSLContext:
        """Return the context that offers ``protocols`` by ALPN, trusts the system's authorities and shows no certificate."""
        context = self._made.get(protocols)
        if context is None:
            context = self._made[protocols] = _offer(self._new(), protocols)
        return context

    def own(self, ca_pem: str | None, certificate: ClientCertificate | None, *protocols: str) -> ssl.SSLContext | NoTlsContext:
        """Return the context that trusts ``ca_pem`` alone (``None``: the system's authorities) and shows ``certificate`` if asked."""
        if ca_pem is None and certificate is None:
            return self.offering(*protocols)
        key = (ca_pem, certificate, protocols)
        found = self.own_contexts.pop(key, None)
        if found is None:
            try:
                found = self._make_own(ca_pem, certificate, protocols)
            except OSError as error:  # this may be temporary, so the next attempt tries again
                return NoTlsContext(f"the client certificate cannot be loaded: {os.strerror(error.errno or errno.EIO)}")
        self.own_contexts[key] = found  # the one used last is last
        if len(self.own_contexts) > MAX_OWN_CONTEXTS:
            del self.own_contexts[next(iter(self.own_contexts))]
        return found

    def use(self, active: Container[object]) -> None:
        """Forget the contexts with certificates that are no longer ``active``."""
        self.own_contexts = {key: found for key, found in self.own_contexts.items() if key[1] is None or key[1] in active}

    def _make_own(
        self, ca_pem: str | None, certificate: ClientCertificate | None, protocols: tuple[str, ...]
    ) -> ssl.SSLContext | NoTlsContext:
        try:
            context = self._new() if ca_pem is None else client_tls_context(ca_pem)
        except ssl.SSLError:
            return NoTlsContext("the issuer's authorities have no certificate that OpenSSL can read")
        if certificate is not None:
            if context in self._made.values():
                raise RuntimeError("a context that others use must not get a client certificate")
            self._with_certificate.add(context)
            if problem := load_certificate(context, certificate):
                return NoTlsContext(problem)
        return _offer(context, protocols)

    def _new(self) -> ssl.SSLContext:
        context = self._make()
        if context in self._with_certificate:
            raise RuntimeError("a context with a client certificate must not serve others")
        return context


def _offer(context: ssl.SSLContext, protocols: tuple[str, ...]) -> ssl.SSLContext:
    context.set_alpn_protocols(protocols)
    if "h2" in protocols:  # RFC 9113 section 9.2.1, https://www.rfc-editor.org/rfc/rfc9113#section-9.2.1
        context.options |= ssl.OP_NO_RENEGOTIATION
    return context


@contextmanager
def memory_file(data: bytes) -> Iterator[str]:
    """Put ``data`` into a file in memory that has no name but that of its descriptor. Linux has such files.

    Raises:
        OSError: the system has none
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    with os.fdopen(os.memfd_create("pem"), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


@contextmanager
def private_file(data: bytes) -> Iterator[str]:
    """Put ``data`` into a file that only this user can read, in a separate folder.

    Raises:
        OSError: there is no room for it, or no folder for temporary files
    """
    with tempfile.TemporaryDirectory(prefix="exchanger-") as folder:
        path = Path(folder, "pem")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        yield str(path)


def load_certificate(
    context: ssl.SSLContext, certificate: ClientCertificate, holders: tuple[Holder, ...] = (memory_file, private_file)
) -> str:
    """Load ``certificate`` into ``context`` through the first of ``holders`` that works; return the problem with it, if any.

    Raises:
        OSError: none of them works
    """
    # PEM is ASCII, and an encoding error would contain the text.
    chain, key = certificate.chain.encode("ascii", "replace"), certificate.key.reveal().encode("ascii", "replace")
    problem = OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    for hold in holders:
        try:
            with hold(chain) as cert_file, hold(key) as key_file:
                names = {"certificate": "the client certificate", "key": "the client's key"}
                return load_key_pair(context, Path(cert_file), Path(key_file), **names)
        except OSError as error:
            problem = error
    raise OSError(problem.errno, os.strerror(problem.errno or errno.EIO)) from None
