"""Writes what happens to policies as log lines: problems, refusals and conflicts within bounds, versions, and how the sources are."""

from typing import Final, final

import attrs
import structlog

from exchanger.model.codes.problem import hinted_reason
from exchanger.model.entry import Source
from exchanger.model.notice import Notices
from exchanger.model.text import DETAIL_LIMIT, POLICY_LIMIT
from exchanger.policy.conflicts import named
from exchanger.policy.selection import Change
from exchanger.sources.publish.conflict_watch import Conflicts
from exchanger.util.text import printable

# Problems listed in one document's line; once these are fixed, the next ones appear.
MAX_PROBLEMS: Final = 5
# Characters of each problem after the first.
OTHER_LIMIT: Final = 160
# Lines about invalid documents, or conflicts, per version (2 ms), so that thousands of them do not flood the log after a restart.
MAX_LINES: Final = 50
# Withdrawn documents that one version names.
MAX_REMOVED: Final = 20


def log_problems(log: structlog.stdlib.BoundLogger, change: Change) -> None:
    """Log the problems of a version's documents, and what is refused of them."""
    _log_invalid(log, change)
    _log_refused(log, change)


def log_version(log: structlog.stdlib.BoundLogger, change: Change) -> None:
    """Log what a version consists of."""
    snapshot, gone = change.snapshot, change.removed
    log.info(
        "policy.published",
        documents=snapshot.document_count,
        entries=snapshot.entry_count,
        invalid_documents=snapshot.invalid_documents,
        changed=len(change.documents),
        removed=len(gone),
        **({"removed_policies": [printable(str(source), POLICY_LIMIT) for source in gone[:MAX_REMOVED]]} if gone else {}),
        **({"removed_more": len(gone) - MAX_REMOVED} if len(gone) > MAX_REMOVED else {}),
        **({"not_granted": snapshot.refused_count} if snapshot.refused_count else {}),
    )


@final
@attrs.define(eq=False)
class ConflictLog:
    """Logs each conflict once when it appears, whichever of its documents it was found from, and when a document has no more."""

    _log: structlog.stdlib.BoundLogger
    # Since the last ``looked``: the entries of each conflict that was logged, and the documents with one that was not.
    _seen: set[frozenset[tuple[Source, int]]] = attrs.field(factory=set, init=False)
    _not_shown: int = attrs.field(default=0, init=False)

    def conflicts_changed(self, source: Source, before: Conflicts, after: Conflicts, /) -> None:
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
            self._log.info("policy.conflict_resolved", policy=printable(str(source), POLICY_LIMIT))

    def looked(self) -> None:
        if self._not_shown:
            self._log.warning("policy.conflict_not_shown", documents=self._not_shown, text="exchanger status shows them")
        self._seen.clear()
        self._not_shown = 0


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
            log.info("policy.suspicious_resolved", object=notice.subject, text=notice.text)


def _log_invalid(log: structlog.stdlib.BoundLogger, change: Change) -> None:
    """Write one line per document with problems; at most ``MAX_LINES``, so that no author can block the event loop."""
    invalid = [document for document in change.documents if document.problems]
    for document in invalid[:MAX_LINES]:
        first, *others = document.problems[:MAX_PROBLEMS]
        more = len(document.problems) - MAX_PROBLEMS
        log.warning(
            "policy.invalid",
            policy=printable(str(document.source), POLICY_LIMIT),
            code=first.code,
            entry=first.index,
            line=first.line,
            reason=printable(hinted_reason(first.problems, first.reason), DETAIL_LIMIT),
            **(
                {"others": [f"line {closed_scope.line}: {printable(closed_scope.coded, OTHER_LIMIT)}" for closed_scope in others]}
                if others
                else {}
            ),
            **({"more": more} if more > 0 else {}),
        )
    if len(invalid) > MAX_LINES:
        log.warning("policy.invalid_not_shown", documents=len(invalid) - MAX_LINES, text="exchanger status shows them")


def _log_refused(log: structlog.stdlib.BoundLogger, change: Change) -> None:
    """Write one line per document of which something is, or would be, refused; at most ``MAX_LINES``."""
    refused = [document for document in change.documents if document.refused]
    for document in refused[:MAX_LINES]:
        first, *others = document.refused[:MAX_PROBLEMS]
        more = len(document.refused) - MAX_PROBLEMS
        log.warning(
            "policy.not_granted",
            policy=printable(str(document.source), POLICY_LIMIT),
            code=first.code.name,
            entry=first.index,
            reason=printable(first.sentence, DETAIL_LIMIT),
            **({"others": [printable(refusal.coded, OTHER_LIMIT) for refusal in others]} if others else {}),
            **({"more": more} if more > 0 else {}),
        )
    if len(refused) > MAX_LINES:
        log.warning("policy.not_granted_not_shown", documents=len(refused) - MAX_LINES, text="exchanger status shows them")
