"""What the rooms' observers are told, as log lines with dotted names and flat fields.

Must not know: what is done about it.
"""

from typing import final

import attrs
import structlog

from exchanger.grpc.x509 import CertificateInfo, Validity
from exchanger.policy.selection import Change


@final
@attrs.frozen
class TlsLog:
    """What happens to certificates and handshakes, as log lines."""

    _log: structlog.stdlib.BoundLogger

    def certificates_loaded(self, info: CertificateInfo) -> None:
        """See ``TlsObserver``."""
        usual = info.validity is Validity.VALID
        (self._log.info if usual else self._log.warning)("tls.certificates_loaded", **_plain(info))

    def certificates_rejected(self, reason: str) -> None:
        """See ``TlsObserver``."""
        self._log.error("tls.certificates_rejected", reason=reason, text="the certificate before stays in use")

    def handshake_failed(self, peer: str, reason: str) -> None:
        """See ``TlsObserver``."""
        self._log.warning("tls.handshake_failed", peer=peer, reason=reason)


def _plain(info: CertificateInfo) -> dict[str, object]:
    return {**attrs.asdict(info), "validity": info.validity.value}


@final
@attrs.frozen
class DirectoryLog:
    """What happens in the policy folder, as log lines: each problem with the place that its author must look at."""

    _log: structlog.stdlib.BoundLogger

    def file_unreadable(self, name: str, reason: str) -> None:
        """See ``DirectoryObserver``."""
        self._log.error("policy.file_unreadable", file=name, reason=reason)

    def file_repaired(self, name: str) -> None:
        """See ``DirectoryObserver``."""
        self._log.info("policy.file_repaired", file=name)

    def published(self, change: Change) -> None:
        """See ``DirectoryObserver``."""
        for document in change.documents:
            for region in document.regions:
                self._log.warning("policy.invalid", policy=str(region.source), entry=region.index, line=region.line, reason=region.reason)
        snapshot = change.snapshot
        self._log.info(
            "policy.published",
            documents=len(snapshot.documents),
            entries=snapshot.entry_count,
            invalid_documents=snapshot.invalid_documents,
            changed=len(change.documents),
            withdrawn=len(change.withdrawn),
        )
