"""What the rooms' observers are told, as log lines with dotted names and flat fields.

Must not know: what is done about it.
"""

from collections.abc import Callable
from typing import Final, final

import attrs
import structlog

from exchanger.grpc.x509 import CertificateInfo, Validity
from exchanger.kube.list_watch import ApiFailure
from exchanger.policy.document import PolicyDocument
from exchanger.policy.selection import Change
from exchanger.util.text import printable
from exchanger.values.notice import Notices
from exchanger.values.text import DETAIL_LIMIT, POLICY_LIMIT

MAX_PROBLEMS: Final = 5
"""Problems of one document in its line: whoever mends these looks again."""
OTHER_LIMIT: Final = 160
"""Characters of each of them but the first."""
MAX_LINES: Final = 50
"""Documents of one version that have a line: 2 ms. After a restart with thousands of broken documents the log still shows other things."""


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
class ConsoleLog:
    """What operators should know of the console, as log lines."""

    _log: structlog.stdlib.BoundLogger

    def token_file_unusable(self, reason: str) -> None:
        """The token file was in order and is no longer."""
        self._log.error("console.token_file_unusable", reason=reason, text="the token before stays in force")

    def handler_failed(self, fault: BaseException) -> None:
        """A fault of ours; the type only, since a message may hold anything."""
        self._log.error("console.handler_failed", error=type(fault).__qualname__)


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
        _log_version(self._log, change)


@final
@attrs.frozen
class KubernetesLog:
    """What happens between the service and the API server, as log lines; ``on_published`` learns of versions, too."""

    _log: structlog.stdlib.BoundLogger
    _on_published: Callable[[Change], None] = lambda _change: None

    def listed(self, name: str, count: int, /) -> None:
        """See ``KubernetesObserver``."""
        self._log.info("policy.source_listed", resource=name, objects=count)

    def failed(self, name: str, failure: ApiFailure, missing_right: str, retry_in: float, /) -> None:
        """See ``KubernetesObserver``."""
        self._log.warning(
            "policy.source_failed",
            resource=name,
            kind=failure.kind.value,
            status=failure.status,
            reason=missing_right or failure.message,
            retry_in_s=round(retry_in, 1),
        )

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the observer's signature
        """See ``KubernetesObserver``."""
        if connected:
            self._log.info("policy.source_connected", resource=name)
        else:
            self._log.warning("policy.source_disconnected", resource=name, text="the policy that is known stays in force")

    def unreadable(self, namespace: str, unreadable: bool, missing_right: str, /) -> None:  # noqa: FBT001 - the observer's signature
        """See ``KubernetesObserver``."""
        if unreadable:
            self._log.error(
                "policy.namespace_unreadable",
                namespace=namespace,
                reason=missing_right,
                text="a Namespace that may not be read may have policies that deny, so nothing is in force after a start, or once "
                "POLICY_MAX_STALENESS has passed. Give the right back, or take the name out of the list of Namespaces",
            )
        else:
            self._log.info("policy.namespace_no_longer_unreadable", namespace=namespace)

    def namespaces_loaded(self, names: tuple[str, ...], /) -> None:
        """See ``NamespacesObserver``."""
        self._log.info("policy.namespaces_loaded", namespaces=list(names))

    def namespaces_rejected(self, reason: str, /) -> None:
        """See ``NamespacesObserver``."""
        self._log.error("policy.namespaces_rejected", reason=reason, text="the Namespaces before are still followed")

    def silent(self, name: str, seconds: float, /) -> None:
        """See ``KubernetesObserver``."""
        self._log.warning(
            "policy.source_silent",
            resource=name,
            silent_s=round(seconds, 1),
            text="the server takes watches, and nothing comes of them: something in between may hold answers back. Everything is listed"
            " again every minute until a watch speaks",
        )

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """See ``KubernetesObserver``."""
        self._log.warning("policy.source_went_back", resource=name, known=known, found=found)

    def published(self, change: Change, /) -> None:
        """See ``KubernetesObserver``."""
        _log_version(self._log, change)
        self._on_published(change)

    def event_right_missing(self, text: str, /) -> None:
        """See ``PolicyEventsObserver``."""
        self._log.warning(
            "policy.event_right_missing", reason=text, text="authors of policies learn nothing; POLICY_EVENTS=false ends this"
        )

    def stale(self, stale: bool, age: float, /) -> None:  # noqa: FBT001 - the observer's signature
        """See ``KubernetesObserver``."""
        if stale:
            self._log.error("policy.stale", age_s=round(age, 1), text="every check is refused until the API server is reached again")
        else:
            self._log.info("policy.current_again")


@final
@attrs.frozen
class IssuerLog:
    """What happens to issuer profiles and their Secrets, as log lines."""

    _log: structlog.stdlib.BoundLogger

    def loaded(self, names: tuple[str, ...], /) -> None:
        """See ``IssuerObserver``."""
        self._log.info("issuers.loaded", names=list(names))

    def file_rejected(self, reason: str, /) -> None:
        """See ``IssuerObserver``."""
        self._log.error("issuers.file_rejected", reason=reason, text="the version before stays in force")

    def secret_problem(self, text: str, /) -> None:
        """See ``IssuerObserver``."""
        self._log.error("issuers.secret_problem", reason=text)

    def secret_recovered(self, text: str, /) -> None:
        """See ``IssuerObserver``."""
        self._log.info("issuers.secret_recovered", place=text)

    def rotated(self, name: str, /) -> None:
        """See ``IssuerObserver``."""
        self._log.info("issuers.rotated", name=name)


def log_notices(log: structlog.stdlib.BoundLogger, before: Notices, after: Notices) -> None:
    """Tell what has become suspicious, and what no longer is; each once, whatever versions come in between."""
    told, standing = frozenset(before.listed), frozenset(after.listed)
    for notice in after.listed:
        if notice not in told:
            log.warning("policy.suspicious", object=notice.subject, text=notice.text, remedy=notice.remedy)
    if after.more and after.more != before.more:
        log.warning(
            "policy.suspicious",
            object=f"{after.more} more",
            text="are not listed",
            remedy="mend those that are listed, and the next ones follow",
        )
    for notice in before.listed:
        if notice not in standing:
            log.info("policy.suspicious_no_longer", object=notice.subject, text=notice.text)


def _log_version(log: structlog.stdlib.BoundLogger, change: Change) -> None:
    invalid = [document for document in change.documents if document.regions]
    for document in invalid[:MAX_LINES]:
        _log_invalid(log, document)
    if len(invalid) > MAX_LINES:
        log.warning("policy.invalid_not_shown", documents=len(invalid) - MAX_LINES, text="exchanger status shows them")
    snapshot = change.snapshot
    log.info(
        "policy.published",
        documents=len(snapshot.documents),
        entries=snapshot.entry_count,
        invalid_documents=snapshot.invalid_documents,
        changed=len(change.documents),
        withdrawn=len(change.withdrawn),
    )


def _log_invalid(log: structlog.stdlib.BoundLogger, document: PolicyDocument) -> None:
    """Write one line about a document, however much is wrong with it: its authors cost nobody else a second in the event loop."""
    first, *others = document.problems[:MAX_PROBLEMS]
    more = len(document.problems) - MAX_PROBLEMS
    log.warning(
        "policy.invalid",
        policy=printable(str(document.source), POLICY_LIMIT),
        entry=first.index,
        line=first.line,
        reason=printable(first.reason, DETAIL_LIMIT),
        **({"others": [f"line {region.line}: {printable(region.reason, OTHER_LIMIT)}" for region in others]} if others else {}),
        **({"more": more} if more > 0 else {}),
    )
