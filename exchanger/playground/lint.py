"""Checks a policy file as the service would if it were saved, with the service's own readers, and says where problems are. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, final

import attrs

from exchanger.directory.manifest import MAX_VALUES, UnreadableFile, objects_of, read_manifests
from exchanger.playground.policy_files import NotSaved, encoded
from exchanger.playground.source_map import NOWHERE, FileMap, Place, document_places, file_map, within
from exchanger.policy import yaml_nodes as nodes
from exchanger.policy.conflicts import conflicts_of
from exchanger.policy.document import Lines, PolicyDocument, entry_lines
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.selection import Change, ConfigMap, Namespace, PolicyObject, advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import printable
from exchanger.values.entry import FailClosedRegion, Source
from exchanger.values.selector import Selector

# Problems reported for a file: more than anybody goes through before the next check.
MAX_PROBLEMS: Final = 200
# Characters of a reason or a name, as in the console.
TEXT_LIMIT: Final = 1024
# As in ``directory.manifest``, for files of the size that is allowed here.
_LIMITS: Final = nodes.Limits(values=MAX_VALUES, depth=64)
_STAYS: Final = "; what the file said before stays in force"

# How ``directory.manifest`` names a document of a file.
_find_document: Final = re.compile(r"document (\d+)").match


@final
@attrs.frozen
class LintRules:
    """The service's configuration: the objects that it selects, the issuers that entries may refer to, the reach of regions, and the grants."""

    namespaces: Selector
    configmaps: Selector
    issuers: frozenset[str]
    reach: UnreadableReach = UnreadableReach.UNMATCHED
    grants: Grants = NO_GRANTS


@final
@attrs.frozen
class Problem:
    """A problem in an edited file: the policy and entry (``None``: the file itself), and the place."""

    reason: str
    place: Place = NOWHERE
    policy: str | None = None
    entry: int | None = None

    def shown(self) -> dict[str, object]:
        """Return it as JSON has it."""
        policy = None if self.policy is None else printable(self.policy, TEXT_LIMIT)
        place, reason = self.place, printable(self.reason, TEXT_LIMIT)
        return {"policy": policy, "entry": self.entry, "line": place.line, "column": place.column, "reason": reason}


@final
@attrs.frozen
class Linted:
    """How many policy documents of the file would be in force, and the problems."""

    documents: int
    problems: tuple[Problem, ...] = ()


def lint(name: str, text: str, others: Mapping[str, str], rules: LintRules) -> Linted:
    """Check the file ``name`` with ``text``, beside the ``others`` of the folder. Never raises."""
    data = encoded(text)
    if isinstance(data, NotSaved):
        return Linted(0, (Problem(data.reason),))
    if not text.strip():
        return Linted(0, (Problem(f"the file is empty{_STAYS}", Place(1, 1)),))
    read = read_manifests(data, is_json=False)
    if isinstance(read, UnreadableFile):
        subject = "" if _find_document(read.reason) else "the file "
        return Linted(0, (Problem(f"{subject}{read.reason}{_STAYS}", _unreadable_place(text, read.reason)),))
    objects = tuple(objects_of(read))
    known = file_map(text, _LIMITS)
    if isinstance(known, nodes.Unreadable):  # never: the limits are the same
        return Linted(0, (Problem(f"the file {known.reason}{_STAYS}", Place(known.line, known.column)),))
    every = (*(item for key, other in others.items() if key != name for item in objects_in(other) or ()), *objects)
    change = policy_of(every, rules)
    here = {found.source for found in known.configmaps}
    documents = [document for document in change.documents if document.source in here]
    problems = [
        *_left_out(known, objects, every, change, rules),
        *(each for document in documents for each in _said(document, change, known)),
    ]
    ordered = sorted(problems, key=lambda problem: (problem.place.line or 0, problem.place.column or 0))
    return Linted(len(documents), tuple(ordered[:MAX_PROBLEMS]))


def objects_in(text: str) -> tuple[PolicyObject, ...] | None:
    """Return the objects of a file with this text, ``None`` if it cannot be read; then the service keeps what it had."""
    data = encoded(text)
    if isinstance(data, NotSaved) or not text.strip():
        return None
    found = read_manifests(data, is_json=False)
    return None if isinstance(found, UnreadableFile) else tuple(objects_of(found))


def policy_of(objects: Iterable[PolicyObject], rules: LintRules) -> Change:
    """Return the policy that consists of ``objects``, with its documents."""
    empty = PolicySnapshot.EMPTY.with_baseline(rules.grants.denials)
    return advance(empty, {}, select(objects, rules.namespaces, rules.configmaps), rules.issuers, grants=rules.grants)


def _left_out(
    known: FileMap, objects: Iterable[PolicyObject], every: Iterable[PolicyObject], change: Change, rules: LintRules
) -> Iterator[Problem]:
    """Yield the ConfigMaps that are not selected because of labels: the one mistake that the service cannot see."""
    if not any(isinstance(item, ConfigMap) for item in objects):
        yield Problem("there is no ConfigMap in the file, so that no policy comes from it", Place(1, 1))
    in_force = {document.source for document in change.documents}
    selected = {item.name for item in every if isinstance(item, Namespace) and rules.namespaces.matches(dict(item.labels))}
    for item in objects:
        if isinstance(item, ConfigMap) and (source := Source(item.namespace, item.name)) not in in_force:
            if item.namespace in selected:
                reason = f"not in force: the ConfigMap's labels are not {rules.configmaps}"
            else:
                reason = f"not in force: there is no Namespace of this name with labels {rules.namespaces}"
            yield Problem(reason, known.place(source, None, None), str(source))


def _said(document: PolicyDocument, change: Change, known: FileMap) -> Iterator[Problem]:
    """Yield the parts of a document that cannot be understood, those that are refused, and its conflicts with others."""
    source = document.source
    for region in document.problems:
        yield _of_region(region, known)
    lines: tuple[Lines, ...] | None = None
    for refusal in document.refused:
        lines = entry_lines(document.text or "") if lines is None else lines
        first = lines[refusal.index][0] if refusal.index is not None and refusal.index < len(lines) else None
        yield Problem(f"not granted: {refusal.reason}", known.place(source, first, None), str(source), refusal.index)
    for tie in conflicts_of(document, change.snapshot):
        if tie is not None:
            lines = entry_lines(document.text or "") if lines is None else lines
            index = tie.entry.index
            place = known.place(source, lines[index][0] if index < len(lines) else None, None)
            yield Problem(str(tie), place, str(source), index)


def _of_region(region: FailClosedRegion, known: FileMap) -> Problem:
    return Problem(region.reason, known.place(region.source, region.line, region.column), str(region.source), region.index)


def _unreadable_place(text: str, reason: str) -> Place:
    places = document_places(text, _LIMITS)
    if isinstance(places, nodes.Unreadable):
        return within(text, Place(places.line, places.column))
    named = _find_document(reason)
    return places[int(named.group(1))] if named is not None and int(named.group(1)) < len(places) else NOWHERE
