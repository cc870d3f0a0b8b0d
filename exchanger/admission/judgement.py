"""What is wrong with a policy that is not in force yet, by the reader and the grants that the service has. Pure, and takes bounded work.

Refused is what is wrong by itself: a document that cannot be read, an invalid entry, and what the namespace is not granted. An issuer that
nobody knows and an entry of another document that ties may come right with the next change, so they are warnings.

Must not know: who asks, or how the cluster is followed.
"""

from collections.abc import Iterator
from typing import Final, final

import attrs

from exchanger.admission.review import Answer, Refused
from exchanger.policy.conflicts import conflicts_of
from exchanger.policy.document import PolicyDocument, entry_lines
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.selection import DOCUMENT_KEY, Text, read
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import printable
from exchanger.values.entry import ExchangeEntry, Source
from exchanger.values.issuer import AnyIssuer

# Characters of a message, and of one problem in it: it has to fit on somebody's screen, and an entry may have a hundred things wrong.
MESSAGE_CHARS: Final = 16 * 1024
PROBLEM_CHARS: Final = 1024
# Entries with unknown issuers that are named; the rest is most likely the same mistake.
MAX_UNKNOWN: Final = 16
_ANY_ISSUER: Final = AnyIssuer()
# Entry, line and column; the last two from 1, and 0 where there is none. The document as a whole comes first.
_Place = tuple[int, int, int]


@final
@attrs.frozen
class Known:
    """What is known of the cluster: the policy in force, the names of the issuer profiles, and the grants."""

    snapshot: PolicySnapshot = PolicySnapshot.EMPTY
    issuers: frozenset[str] = frozenset()
    grants: Grants = NO_GRANTS


def judge(source: Source, text: Text, known: Known) -> Answer:
    """Return whether a selected ConfigMap may have this document. May take a second for the worst document, so it belongs in a thread."""
    document = read(source, text, _ANY_ISSUER, known.grants)
    problems = _problems(document)
    warnings = (*_reported(document), *_unknown_issuers(source, text, document, known), *_conflicts(document, known.snapshot))
    if not problems:
        return Answer(None, warnings)
    invalid = bool(document.regions)
    return Answer(Refused(_message(problems), 422, "Invalid") if invalid else Refused(_message(problems), 403, "Forbidden"), warnings)


def _problems(document: PolicyDocument) -> tuple[str, ...]:
    """Return everything that the service would not put in force, in the order of the document."""
    found: list[tuple[_Place, str]] = []
    for region in document.problems:
        place = (-1 if region.index is None else region.index, region.line or 0, region.column or 0)
        found.append((place, region.reason))
    in_force = {entry.index for entry in document.entries}
    refused = [refusal for refusal in document.refused if refusal.index not in in_force]
    lines = entry_lines(document.text) if refused and document.text is not None else ()
    for refusal in refused:
        index = -1 if refusal.index is None else refusal.index
        found.append(((index, lines[index][0] if 0 <= index < len(lines) else 0, 0), refusal.reason))
    return tuple(_placed(line, column, reason) for (_, line, column), reason in sorted(found))


def _placed(line: int, column: int, reason: str) -> str:
    where = f"line {line}, column {column}: " if column else f"line {line}: " if line else ""
    return where + printable(reason, PROBLEM_CHARS)


def _reported(document: PolicyDocument) -> Iterator[str]:
    """Yield what the grants would refuse if they were enforced."""
    in_force = {entry.index for entry in document.entries}
    yield from (refusal.reason for refusal in document.refused if refusal.index in in_force)


def _unknown_issuers(source: Source, text: Text, document: PolicyDocument, known: Known) -> Iterator[str]:
    unknown = {
        entry.index for entry in document.entries if isinstance(entry, ExchangeEntry) and entry.target.issuer_ref not in known.issuers
    }
    if not unknown:
        return
    regions = read(source, text, known.issuers, known.grants).problems
    found = [_placed(region.line or 0, region.column or 0, region.reason) for region in regions if region.index in unknown]
    yield from found[:MAX_UNKNOWN]
    if len(found) > MAX_UNKNOWN:
        yield f"and {len(found) - MAX_UNKNOWN} more entries with an issuer that is not known"


def _conflicts(document: PolicyDocument, snapshot: PolicySnapshot) -> Iterator[str]:
    later = snapshot.apply(document)
    yield from (str(conflict) for conflict in conflicts_of(document, later) if conflict is not None)


def _message(problems: tuple[str, ...]) -> str:
    """Return all problems as one text, as far as it has room for them."""
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
