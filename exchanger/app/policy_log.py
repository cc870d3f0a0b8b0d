"""Writes what happens to policies as log lines: problems, refusals and conflicts within bounds, versions, and how the sources are."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final, final

import attrs
import structlog

from exchanger.assembly.conflict_watch import Conflicts
from exchanger.kube.list_watch import ApiFailure
from exchanger.policy.conflicts import named
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.selection import Change
from exchanger.policy.withdrawal import Gone, Reasons
from exchanger.util.text import printable
from exchanger.values.entry import Source
from exchanger.values.notice import Notices
from exchanger.values.text import DETAIL_LIMIT, POLICY_LIMIT

# Problems listed in one document's line; once these are fixed, the next ones appear.
MAX_PROBLEMS: Final = 5
# Characters of each problem after the first.
OTHER_LIMIT: Final = 160
# Lines about invalid documents, or conflicts, per version (2 ms), so that thousands of them do not flood the log after a restart.
MAX_LINES: Final = 50
# Withdrawn documents that one version names.
MAX_WITHDRAWN: Final = 20

Explain = Callable[[Change, Callable[[Change, Reasons], None]], None]


def _unexplained(change: Change, then: Callable[[Change, Reasons], None]) -> None:
    then(change, {})


@final
@attrs.frozen
class DirectoryLog:
    """Logs changes of the policy folder, each problem with the place its author must look at, and passes on each published version.

    ``explain`` calls its second argument with a version and the reasons for what is gone.
    """

    _log: structlog.stdlib.BoundLogger
    _on_published: Callable[[Change], None] = lambda _change: None
    _explain: Explain = _unexplained

    def file_unreadable(self, name: str, reason: str) -> None:
        """See ``DirectoryObserver``."""
        self._log.error("policy.file_unreadable", file=name, reason=reason)

    def file_repaired(self, name: str) -> None:
        """See ``DirectoryObserver``."""
        self._log.info("policy.file_repaired", file=name)

    def published(self, change: Change) -> None:
        """See ``DirectoryObserver``."""
        _log_problems(self._log, change)
        self._explain(change, partial(_log_version, self._log))
        self._on_published(change)


@final
@attrs.define(eq=False)
class ConflictLog:
    """Logs each conflict once when it appears, whichever of its documents it was found from, and when a document has no more."""

    _log: structlog.stdlib.BoundLogger
    # Since the last ``looked``: the entries of each conflict that has a line, and the documents with one that has none.
    _seen: set[frozenset[tuple[Source, int]]] = attrs.field(factory=set, init=False)
    _not_shown: int = attrs.field(default=0, init=False)

    def conflicts_changed(self, source: Source, before: Conflicts, after: Conflicts, /) -> None:
        """See ``ConflictObserver``."""
        for conflict in after:
            entries = frozenset((entry.source, entry.index) for entry in (conflict.entry, *conflict.rivals))
            if conflict in before or entries in self._seen:
                continue
            if len(self._seen) == MAX_LINES:
                self._not_shown += 1
                break
            self._seen.add(entries)
            self._log.warning(
                "policy.conflict",
                policy=printable(str(source), POLICY_LIMIT),
                code=conflict.code.name,
                entry=conflict.entry.index,
                rivals=[named(rival) for rival in conflict.rivals],
                text="they tie for some requests, which are refused; give them different prefixes or methods",
            )
        if before and not after:
            self._log.info("policy.conflict_no_longer", policy=printable(str(source), POLICY_LIMIT))

    def looked(self, _changed: Collection[Source], /) -> None:
        """See ``ConflictObserver``."""
        if self._not_shown:
            self._log.warning("policy.conflict_not_shown", documents=self._not_shown, text="exchanger status shows them")
        self._seen.clear()
        self._not_shown = 0


@final
@attrs.frozen
class KubernetesLog:
    """Logs the exchange with the API server, and passes each published version to ``on_published``. ``explain`` is as for folders.

    Without ``_documents`` it is silent about what is wrong in them.
    """

    _log: structlog.stdlib.BoundLogger
    _on_published: Callable[[Change], None] = lambda _change: None
    _explain: Explain = _unexplained
    _documents: bool = attrs.field(default=True, kw_only=True)

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
            self._log.warning("policy.source_disconnected", resource=name, text="the last known policy stays in force")

    def unreadable(self, namespace: str, unreadable: bool, missing_right: str, /) -> None:  # noqa: FBT001 - the observer's signature
        """See ``KubernetesObserver``."""
        if unreadable:
            self._log.error(
                "policy.namespace_unreadable",
                namespace=namespace,
                reason=missing_right,
                text="an unreadable Namespace might contain deny rules, so no policy is in force after a start, or once "
                "POLICY_MAX_STALENESS has passed. Restore the permission, or remove the name from the list of Namespaces",
            )
        else:
            self._log.info("policy.namespace_no_longer_unreadable", namespace=namespace)

    def namespaces_loaded(self, names: tuple[str, ...], /) -> None:
        """See ``NamespacesObserver``."""
        self._log.info("policy.namespaces_loaded", namespaces=list(names))

    def namespaces_rejected(self, reason: str, /) -> None:
        """See ``NamespacesObserver``."""
        self._log.error("policy.namespaces_rejected", reason=reason, text="the previous list of Namespaces stays in use")

    def silent(self, name: str, seconds: float, /) -> None:
        """See ``KubernetesObserver``."""
        self._log.warning(
            "policy.source_silent",
            resource=name,
            silent_s=round(seconds, 1),
            text="watches are accepted but deliver nothing: a proxy in between may be buffering responses. Objects are listed again"
            " every minute until a watch delivers",
        )

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """See ``KubernetesObserver``."""
        self._log.warning("policy.source_went_back", resource=name, known=known, found=found)

    def held_back(self, held_back: bool, /) -> None:  # noqa: FBT001 - the observer's signature
        """See ``KubernetesObserver``."""
        if held_back:
            text = "not all resources are followed: what policies deny or exchange no longer stays in force until all are up to date"
            self._log.warning("policy.withdrawals_held_back", text=text)
        else:
            self._log.info("policy.withdrawals_in_force")

    def published(self, change: Change, /) -> None:
        """See ``KubernetesObserver``."""
        if self._documents:
            _log_problems(self._log, change)
        self._explain(change, partial(_log_version, self._log))
        self._on_published(change)

    def event_right_missing(self, text: str, /) -> None:
        """See ``PolicyEventsObserver``."""
        self._log.warning(
            "policy.event_right_missing", reason=text, text="policy authors get no Events; set POLICY_EVENTS=false to silence this"
        )

    def stale(self, stale: bool, age: float, /) -> None:  # noqa: FBT001 - the observer's signature
        """See ``KubernetesObserver``."""
        if stale:
            self._log.error("policy.stale", age_s=round(age, 1), text="every check is refused until the API server is reachable")
        else:
            self._log.info("policy.current_again")


def log_notices(log: structlog.stdlib.BoundLogger, before: Notices, after: Notices) -> None:
    """Log each notice once when it appears and once when it disappears."""
    told, standing = frozenset(before.listed), frozenset(after.listed)
    for notice in after.listed:
        if notice not in told:
            code = {} if notice.code is None else {"code": notice.code.name}
            log.warning("policy.suspicious", **code, object=notice.subject, text=notice.text, remedy=notice.remedy)
    if after.more and after.more != before.more:
        log.warning(
            "policy.suspicious",
            object=f"{after.more} more",
            text="are not listed",
            remedy="fix the listed ones first; the next ones follow",
        )
    for notice in before.listed:
        if notice not in standing:
            log.info("policy.suspicious_no_longer", object=notice.subject, text=notice.text)


def _log_problems(log: structlog.stdlib.BoundLogger, change: Change) -> None:
    invalid = [document for document in change.documents if document.regions]
    for document in invalid[:MAX_LINES]:
        _log_invalid(log, document)
    if len(invalid) > MAX_LINES:
        log.warning("policy.invalid_not_shown", documents=len(invalid) - MAX_LINES, text="exchanger status shows them")
    _log_refused(log, change)


def _log_version(log: structlog.stdlib.BoundLogger, change: Change, reasons: Reasons) -> None:
    snapshot, gone = change.snapshot, change.withdrawn
    log.info(
        "policy.published",
        documents=len(snapshot.documents),
        entries=snapshot.entry_count,
        invalid_documents=snapshot.invalid_documents,
        changed=len(change.documents),
        withdrawn=len(gone),
        **({"withdrawn_policies": [_named(source, reasons.get(source)) for source in gone[:MAX_WITHDRAWN]]} if gone else {}),
        **({"withdrawn_more": len(gone) - MAX_WITHDRAWN} if len(gone) > MAX_WITHDRAWN else {}),
        **({"refused": snapshot.refused_count} if snapshot.refused_count else {}),
    )


def _named(source: Source, reason: Gone | None) -> str:
    return printable(str(source), POLICY_LIMIT) + ("" if reason is None else f": {reason.value}")


def _log_refused(log: structlog.stdlib.BoundLogger, change: Change) -> None:
    """Write one line per document of which something is, or would be, refused; at most ``MAX_LINES``."""
    refused = [document for document in change.documents if document.refused]
    for document in refused[:MAX_LINES]:
        first, *others = document.refused[:MAX_PROBLEMS]
        more = len(document.refused) - MAX_PROBLEMS
        log.warning(
            "policy.refused",
            policy=printable(str(document.source), POLICY_LIMIT),
            code=first.code.name,
            entry=first.index,
            reason=printable(first.reason, DETAIL_LIMIT),
            **({"others": [printable(refusal.coded, OTHER_LIMIT) for refusal in others]} if others else {}),
            **({"more": more} if more > 0 else {}),
        )
    if len(refused) > MAX_LINES:
        log.warning("policy.refused_not_shown", documents=len(refused) - MAX_LINES, text="exchanger status shows them")


def _log_invalid(log: structlog.stdlib.BoundLogger, document: PolicyDocument) -> None:
    """Write one line per document however many problems it has, so that one author cannot block the event loop."""
    first, *others = document.problems[:MAX_PROBLEMS]
    more = len(document.problems) - MAX_PROBLEMS
    log.warning(
        "policy.invalid",
        policy=printable(str(document.source), POLICY_LIMIT),
        code=first.code,
        entry=first.index,
        line=first.line,
        reason=printable(first.reason, DETAIL_LIMIT),
        **({"others": [f"line {region.line}: {printable(region.coded, OTHER_LIMIT)}" for region in others]} if others else {}),
        **({"more": more} if more > 0 else {}),
    )
