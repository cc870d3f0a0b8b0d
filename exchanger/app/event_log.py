"""Writes what the rooms report to their observers as log lines with dotted names and flat fields; ``policy_log`` has those of policies."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import final

import attrs
import structlog

from exchanger.net.network import SYSTEM
from exchanger.net.tls.x509 import CertificateInfo, Validity
from exchanger.policy.grants.allowance import Grants
from exchanger.util.text import printable
from exchanger.values.issuer import Issuer
from exchanger.values.text import ISSUER_LIMIT


@final
@attrs.frozen
class TlsLog:
    """Logs certificates and handshakes."""

    _log: structlog.stdlib.BoundLogger

    def certificates_loaded(self, info: CertificateInfo) -> None:
        """See ``TlsObserver``."""
        usual = info.validity is Validity.VALID
        (self._log.info if usual else self._log.warning)("tls.certificates_loaded", **_plain(info))

    def certificates_rejected(self, reason: str) -> None:
        """See ``TlsObserver``."""
        self._log.error("tls.certificates_rejected", reason=reason, text="the previous certificate stays in use")

    def handshake_failed(self, peer: str, reason: str) -> None:
        """See ``TlsObserver``."""
        self._log.warning("tls.handshake_failed", peer=peer, reason=reason)


@final
@attrs.frozen
class MetadataLog:
    """Logs what issuers publish. A failure takes nothing away that was known."""

    _log: structlog.stdlib.BoundLogger

    def metadata_known(self, issuer: str) -> None:
        """See ``MetadataObserver``."""
        self._log.info("issuers.metadata_known", issuer=printable(issuer, ISSUER_LIMIT))

    def metadata_failed(self, issuer: str, reason: str) -> None:
        """See ``MetadataObserver``."""
        self._log.error("issuers.metadata_failed", issuer=printable(issuer, ISSUER_LIMIT), reason=reason)

    def keys_known(self, issuer: str, count: int) -> None:
        """See ``MetadataObserver``."""
        self._log.info("issuers.keys_known", issuer=printable(issuer, ISSUER_LIMIT), keys=count)

    def keys_failed(self, issuer: str, reason: str) -> None:
        """See ``MetadataObserver``."""
        self._log.error("issuers.keys_failed", issuer=printable(issuer, ISSUER_LIMIT), reason=reason)


def _plain(info: CertificateInfo) -> dict[str, object]:
    return {**attrs.asdict(info), "validity": info.validity.value}


@final
@attrs.frozen
class TokenCacheLog:
    """Logs how the shared level of the token cache is. Whatever it reports, requests go on: its misses become token endpoint calls."""

    _log: structlog.stdlib.BoundLogger

    def store_ready(self) -> None:
        """See ``SharedObserver``."""
        self._log.info("token_cache.store_ready")

    def store_lost(self, reason: str) -> None:
        """See ``SharedObserver``."""
        self._log.warning("token_cache.store_lost", reason=reason, text="tokens are kept only in memory until the store responds in time")

    def store_refuses(self, reason: str) -> None:
        """See ``SharedObserver``."""
        self._log.warning("token_cache.store_refuses", reason=reason, text="the store accepts no tokens; those it has are still used")

    def files_unusable(self, reason: str) -> None:
        """See ``SharedObserver``."""
        self._log.error("token_cache.files_unusable", reason=reason, text="no token is shared or read until the files are usable")

    def files_changed(self, keys: int) -> None:
        """See ``SharedObserver``."""
        self._log.info("token_cache.files_loaded", keys=keys)


@final
@attrs.frozen
class ConsoleLog:
    """Logs what operators should know about the console."""

    _log: structlog.stdlib.BoundLogger

    def token_file_unusable(self, reason: str) -> None:
        """The token file became unusable."""
        self._log.error("console.token_file_unusable", reason=reason, text="the previous token stays in force")

    def handler_failed(self, fault: BaseException) -> None:
        """A handler raised. Only the type is logged: the message may contain request data."""
        self._log.error("console.handler_failed", error=type(fault).__qualname__)


@final
@attrs.frozen
class RotationLog:
    """Logs what endpoints do with new credentials.

    ``left`` returns for how many seconds those before are still tried, ``None`` if they are not. ``wall`` returns seconds since the epoch.
    """

    _log: structlog.stdlib.BoundLogger
    _left: Callable[[str], float | None]
    _wall: Callable[[], float] = SYSTEM.wall

    def changed(self, issuer: Issuer, refused: bool, /) -> None:  # noqa: FBT001 - an ``OnRotation``
        """See ``oauth.rotation.Rotations``."""
        name, endpoint = printable(issuer.name, ISSUER_LIMIT), issuer.endpoint_host
        if not refused:
            self._log.info("issuers.new_credentials_accepted", issuer=name, endpoint=endpoint)
            return
        left = self._left(issuer.name)
        self._log.warning(
            "issuers.new_credentials_refused",
            issuer=name,
            endpoint=endpoint,
            **({} if left is None else {"previous_until": _utc(self._wall() + left)}),
            text="the token endpoint accepts the previous credentials, which are no longer tried after that time. Correct the new ones, or "
            "register them at the endpoint",
        )


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@final
@attrs.frozen
class GrantsLog:
    """Logs versions of the grants file."""

    _log: structlog.stdlib.BoundLogger

    def grants_loaded(self, grants: Grants, /) -> None:
        """See ``GrantsObserver``."""
        mode = "enforce" if grants.enforced else "report"
        self._log.info("grants.loaded", grants=len(grants.grants), baseline=len(grants.baseline), mode=mode)

    def grants_rejected(self, reason: str, /) -> None:
        """See ``GrantsObserver``."""
        self._log.error("grants.rejected", reason=reason, text="the previous version stays in force")
