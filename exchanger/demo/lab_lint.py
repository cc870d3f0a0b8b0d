"""What the service would say of a policy file if it were saved, with the places in the file. Made of the service's own readers. Pure.

Must not know: HTTP, or files.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, final

import attrs

from exchanger.demo.lab_places import NOWHERE, FileMap, Place, document_places, file_map, within
from exchanger.demo.lab_policy import NotSaved, encoded
from exchanger.directory.manifest import MAX_VALUES, UnreadableFile, objects_of, read_manifests
from exchanger.policy import yaml_nodes as nodes
from exchanger.policy.conflicts import conflicts_of
from exchanger.policy.document import PolicyDocument, entry_lines
from exchanger.policy.selection import Change, ConfigMap, Namespace, PolicyObject, advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import printable
from exchanger.values.entry import FailClosedRegion, Source
from exchanger.values.selector import Selector

MAX_PROBLEMS: Final = 200
"""Problems that are told of a file: more than anybody goes through before the next look."""
TEXT_LIMIT: Final = 1024
"""Characters of a reason or a name, as in the console."""
_LIMITS: Final = nodes.Limits(values=MAX_VALUES, depth=64)
"""As ``directory.manifest`` reads files, of the size that a file may have here."""
_STAYS: Final = "; what the file said before stays in force"

_find_document: Final = re.compile(r"document (\d+)").match
"""How ``directory.manifest`` names a document of a file."""


@final
@attrs.frozen
class LintRules:
    """What the service is configured with: which objects it selects, and the issuer profiles that entries may refer to."""

    namespaces: Selector
    configmaps: Selector
    issuers: frozenset[str]


@final
@attrs.frozen
class Problem:
    """What is wrong, for whoever edits the file: the policy and its entry that it is about (``None``: the file itself), and the place."""

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
    """How many policy documents of the file are in force if it is saved, and what is wrong with it."""

    documents: int
    problems: tuple[Problem, ...] = ()


def lint(name: str, text: str, others: Mapping[str, str], rules: LintRules) -> Linted:
    """Return what the service would say of the file ``name`` with ``text``, beside the ``others`` of the folder. Never raises."""
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
    if isinstance(known, nodes.Unreadable):  # never: it is read with the limits of before
        return Linted(0, (Problem(f"the file {known.reason}{_STAYS}", Place(known.line, known.column)),))
    every = (*_objects_of(other for key, other in others.items() if key != name), *objects)
    change = advance(PolicySnapshot.EMPTY, {}, select(every, rules.namespaces, rules.configmaps), rules.issuers)
    here = {found.source for found in known.configmaps}
    documents = [document for document in change.documents if document.source in here]
    problems = [
        *_left_out(known, objects, every, change, rules),
        *(each for document in documents for each in _said(document, change, known)),
    ]
    ordered = sorted(problems, key=lambda problem: (problem.place.line or 0, problem.place.column or 0))
    return Linted(len(documents), tuple(ordered[:MAX_PROBLEMS]))


def _objects_of(texts: Iterable[str]) -> Iterator[PolicyObject]:
    for text in texts:
        found = read_manifests(text.encode("utf-8", "replace"), is_json=False)
        if not isinstance(found, UnreadableFile):
            yield from objects_of(found)


def _left_out(
    known: FileMap, objects: Iterable[PolicyObject], every: Iterable[PolicyObject], change: Change, rules: LintRules
) -> Iterator[Problem]:
    """Yield the ConfigMaps that are not in force for their labels: it is the one mistake that the service cannot know of."""
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
    """Yield what cannot be understood of a document, and what of it ties with others."""
    source = document.source
    for region in document.problems:
        yield _of_region(region, known)
    lines: tuple[tuple[int, int], ...] | None = None
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
