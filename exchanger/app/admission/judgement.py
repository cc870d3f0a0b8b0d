"""Judges a policy that is not active yet, by the service's reader and grants. Pure, and takes bounded work.

Refused is what is wrong by itself: an unreadable document, an invalid entry, and anything beyond the grants. An unknown issuer and a tie
with an entry of another document may come right with the next change, so they are warnings.

Must not know: who asks, or how the cluster is followed.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, final

import attrs

from exchanger.app.admission.review import RefusedChange, ReviewAnswer
from exchanger.model.codes.manifests import MANY_DOCUMENTS
from exchanger.model.codes.policy import UNKNOWN_ISSUER
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import ExchangeEntry, Source
from exchanger.policy.conflicts import conflicts_of
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.grants.restriction import without_hidden_issuers
from exchanger.policy.mistakes import mistakes_of
from exchanger.policy.namespace import QUOTA_CODES, EffectiveDocument
from exchanger.policy.quota import NamespaceQuota
from exchanger.policy.selection import DOCUMENT_KEY, AnyIssuer, Text, bytes_of, read
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import printable

# Characters of a message, and of one problem in it: it must fit on a screen, and an entry may have a hundred problems.
MESSAGE_CHARS: Final = 16 * 1024
PROBLEM_CHARS: Final = 1024
# Entries with unknown issuers that are named; the rest is most likely the same mistake.
MAX_UNKNOWN: Final = 16
# Probable mistakes that are named: more do not fit into the warnings of a response.
MAX_MISTAKES: Final = 16
_ANY_ISSUER: Final = AnyIssuer()


@final
@attrs.frozen
class KnownPolicy:
    """The known state of the cluster: the active policy, the names of the issuer profiles, and the grants."""

    snapshot: PolicySnapshot = PolicySnapshot.EMPTY
    issuers: frozenset[str] = frozenset()
    grants: Grants = NO_GRANTS


def check(source: Source, text: Text, known: KnownPolicy) -> ReviewAnswer:
    """Return whether a selected ConfigMap may have this document. This takes a second for the worst document, so call it in a thread."""
    written = read(source, text, _ANY_ISSUER)
    before = known.snapshot if known.grants is known.snapshot.grants else known.snapshot.with_grants(known.grants)
    later = before.changed({source: written}, {source.namespace: text.namespace_labels})
    document = later.document(source)
    if document is None:
        raise ValueError("the document is not in the version")
    active = {entry.index for entry in document.entries}
    room = tuple(_without_room(source, bytes_of(text.text or ""), before))
    findings = [problem for problem in document.findings if not room or problem.code is not MANY_DOCUMENTS]
    if document.is_over_quota:
        findings += written.findings
    # For an active entry, what grants would refuse if they were enforced.
    problems = (
        *room,
        *(_placed(problem) for problem in findings if problem.entry not in active),
        *islice(_pushed_out(source, before, later), 1),
    )
    reported = tuple(_placed(problem) for problem in findings if problem.entry in active)
    warnings = (
        *reported,
        *_unknown_issuers(source, text, document, later, known.issuers),
        *(conflict.coded for conflict in conflicts_of(document, later) if conflict is not None),
        *map(_placed, islice(mistakes_of(document, later), MAX_MISTAKES)),
    )
    if not problems:
        return ReviewAnswer(None, warnings)
    code, reason = (422, "Invalid") if document.problems else (403, "Forbidden")
    return ReviewAnswer(RefusedChange(_message(problems), code, reason), warnings)


def _placed(problem: Problem) -> str:
    where = "" if problem.line is None else f"line {problem.line}: "
    if problem.line is not None and problem.column is not None:
        where = f"line {problem.line}, column {problem.column}: "
    return where + printable(str(problem), PROBLEM_CHARS)


def _unknown_issuers(
    source: Source, text: Text, document: EffectiveDocument, later: PolicySnapshot, issuers: frozenset[str]
) -> Iterator[str]:
    """Yield a warning for each issuer that is not known, of entries that would be active otherwise."""
    unknown = {entry.index for entry in document.entries if isinstance(entry, ExchangeEntry) and entry.target.issuer_ref not in issuers}
    if not unknown:
        return
    allowances = later.grants.allowances(source.namespace, text.namespace_labels)
    findings = without_hidden_issuers(read(source, text, issuers), allowances).findings
    found = [problem for problem in findings if problem.code is UNKNOWN_ISSUER and problem.entry in unknown]
    yield from map(_placed, found[:MAX_UNKNOWN])
    if len(found) > MAX_UNKNOWN:
        yield f"and {len(found) - MAX_UNKNOWN} more entries with an issuer that is not known"


def _pushed_out(source: Source, before: PolicySnapshot, later: PolicySnapshot) -> Iterator[str]:
    """Yield what would fail closed in other documents because the one of ``source`` counts towards the limits of its namespace."""
    for document in _documents(source.namespace, later):
        known = before.document(document.source)
        if document.source == source or known is None or document is known:
            continue
        healthy = {entry.index for entry in known.entries}
        told = {problem.code for problem in known.findings}
        for problem in document.findings:
            is_new = problem.code not in told if problem.entry is None else problem.entry in healthy
            if is_new and problem.code in QUOTA_CODES - {MANY_DOCUMENTS}:  # of these, the first is named above
                yield printable(f"{problem.code}: this document would affect {document.source}: {problem.text}", PROBLEM_CHARS)


def _documents(namespace: str, snapshot: PolicySnapshot) -> tuple[EffectiveDocument, ...]:
    """Return the documents of ``namespace`` in the order of their names."""
    known = snapshot.namespace(namespace)
    return () if known is None else tuple(sorted(known.documents.values(), key=lambda document: document.source))


def _without_room(source: Source, size: int, snapshot: PolicySnapshot) -> Iterator[str]:
    """Yield why the ConfigMap would not be read, or which other one would not be, for lack of room in its namespace."""
    quota, left_out = NamespaceQuota(snapshot.limits), set[str]()
    documents = _documents(source.namespace, snapshot)
    for document in documents:
        other = document.source
        if any(problem.code is MANY_DOCUMENTS for problem in document.findings):
            left_out.add(other.name)
        elif other != source:
            quota.put(other.namespace, other.name, bytes_of(document.text or ""))
    read = [document.source.name for document in documents if quota.is_read(source.namespace, document.source.name)]
    quota.put(source.namespace, source.name, size)
    if not quota.is_read(source.namespace, source.name) or any(name < source.name for name in left_out):
        yield f"{MANY_DOCUMENTS}: {quota.reason}"
    elif away := [name for name in read if not quota.is_read(source.namespace, name)]:
        name = min(away)
        yield printable(
            f"{MANY_DOCUMENTS}: with this document, there is no room for {source.namespace}/{name}: {quota.reason}", PROBLEM_CHARS
        )


def _message(problems: tuple[str, ...]) -> str:
    """Return the problems as one text, as many as fit."""
    if len(problems) == 1:
        return f"{DOCUMENT_KEY}: {problems[0]}"
    lines = [f"{DOCUMENT_KEY} has {len(problems)} problems:"]
    room = MESSAGE_CHARS
    for number, problem in enumerate(problems):
        room -= len(problem)
        if room < 0:
            lines.append(f"- and {len(problems) - number} more")
            break
        lines.append(f"- {problem}")
    return "\n".join(lines)
