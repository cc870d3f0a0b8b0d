"""The server's certificate for new connections. It follows its files.

Must not know: sockets, or the format of certificate files.
"""

import ssl
from typing import Final, NoReturn, final

import attrs
import structlog
import trio

from exchanger.net.network import SYSTEM, Network
from exchanger.net.tls.certificates import CertificatesError, Known, ServerIdentity, UnusableCertificates, load
from exchanger.net.tls.settings import TlsSettings
from exchanger.net.tls.x509 import CertificateInfo, Validity
from exchanger.util.follow_file import HANGS, FileFollower

# Seconds that a version must persist before it is called unusable: enough to replace certificate and key one after the other.
_SETTLE_TIME: Final = 3.0

_STUCK: Final = UnusableCertificates(b"stuck", f"the files {HANGS}")


@final
@attrs.frozen
class RotationStatistics:
    """Counts looks at the files, versions that came into force (the first one included) or were rejected; and when the certificate ends.

    ``doubted``: the files as they are now are rejected, so the certificate before them stays in use.

    ``expiry`` is ``not_after`` in seconds since 1970; without a certificate it is ``None``, and ``not_after`` empty.
    """

    looks: int
    loaded: int
    rejected: int
    not_after: str
    expiry: int | None
    doubted: bool = False


@final
@attrs.define(eq=False)
class Rotation:
    """Holds the current identity."""

    _settings: TlsSettings
    _network: Network = SYSTEM
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    _current: ServerIdentity | None = attrs.field(default=None, init=False)
    _suspect: bytes = attrs.field(default=b"", init=False, repr=False)
    _suspect_since: float = attrs.field(default=0.0, init=False)
    _rejected: bytes = attrs.field(default=b"", init=False, repr=False)
    _looks: int = attrs.field(default=0, init=False)
    _loaded: int = attrs.field(default=0, init=False)
    _rejections: int = attrs.field(default=0, init=False)
    _files: FileFollower[ServerIdentity | UnusableCertificates | Known] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._files = FileFollower(self._load, _STUCK, self._network.run_sync, self._settings.poll_interval)

    @property
    def context(self) -> ssl.SSLContext:
        """The context for a new connection, once ``start`` has returned."""
        if self._current is None:
            raise CertificatesError("no certificate is loaded yet")
        return self._current.context

    async def start(self) -> None:
        """Load the files for the first time.

        Raises:
            CertificatesError: they cannot be used, and have not changed for a while.
        """
        while self._current is None:
            self.check(await self._files.look(), trio.current_time())
            if self._current is None:
                await trio.sleep(self._settings.poll_interval)

    async def run(self) -> NoReturn:
        """Follow the files until cancelled."""
        await self._files.run(lambda found: self.check(found, trio.current_time()))

    def statistics(self) -> RotationStatistics:
        """Return what was loaded last."""
        info = None if self._current is None else self._current.info
        not_after, expiry = ("", None) if info is None else (info.not_after, info.expiry)
        return RotationStatistics(self._looks, self._loaded, self._rejections, not_after, expiry, bool(self._rejected))

    def check(self, found: ServerIdentity | UnusableCertificates | Known, now: float) -> None:
        """Take the result of reading the files, ``found`` at ``now`` (seconds).

        Raises:
            CertificatesError: there is nothing active, and there will not be
        """
        self._looks += 1
        if isinstance(found, UnusableCertificates):
            self._doubt(found, now)
            return
        self._suspect = b""
        if isinstance(found, ServerIdentity):
            self._current = found
            self._loaded += 1
            self._log_in_use(found.info)
        elif self._rejected and self._current is not None and found.version == self._current.version:
            self._log_in_use(self._current.info)  # a mistake was taken back: nothing changes
        if found.version != self._rejected:
            self._rejected = b""  # the same mistake, made again, is reported again

    def _log_in_use(self, info: CertificateInfo) -> None:
        fields = {**attrs.asdict(info), "validity": info.validity.value}
        match info.validity:
            case Validity.VALID:
                self._log.info("tls.certificates_loaded", **fields)
            case Validity.EXPIRED:
                text = f"the certificate expired at {info.not_after}: clients that verify it refuse to connect"
                self._log.warning("tls.certificates_loaded", **fields, text=text)
            case Validity.NOT_YET_VALID:
                text = f"the certificate is valid from {info.not_before}: until then, clients that verify it refuse to connect"
                self._log.warning("tls.certificates_loaded", **fields, text=text)

    def _doubt(self, found: UnusableCertificates, now: float) -> None:
        if found.version == self._rejected:
            return
        if found.version != self._suspect:
            self._suspect, self._suspect_since = found.version, now
        elif now - self._suspect_since >= _SETTLE_TIME:
            if self._current is None:
                raise CertificatesError(found.reason)
            self._suspect, self._rejected = b"", found.version
            self._rejections += 1
            self._log.error("tls.certificates_rejected", reason=found.reason, text="the previous certificate stays in use")

    def _load(self) -> ServerIdentity | UnusableCertificates | Known:
        known = {self._rejected} if self._current is None else {self._rejected, self._current.version}
        return load(self._settings, known, self._network.wall)
