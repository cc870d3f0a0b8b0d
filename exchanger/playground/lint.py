"""Checks a policy file as the service would if it were saved, with the service's own readers, and says where problems are. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, final

import attrs

from exchanger.codes import manifests as codes
from exchanger.codes.code import Severity
from exchanger.codes.manifests import EMPTY_FILE
from exchanger.directory.manifest import UnreadableFile, objects_of, read_manifests
from exchanger.playground.policy_files import NotSaved, encoded
from exchanger.policy.conflicts import conflicts_of
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.selection import Change, ConfigMap, Namespace, PolicyObject, advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.tools.check.documents import Document
from exchanger.tools.check.files import ManifestFile, read_file
from exchanger.tools.check.source_map import NOWHERE, Place
from exchanger.util.text import printable
from exchanger.values.entry import Source
from exchanger.values.selector import Selector

# Problems reported for a file: more than anybody goes through before the next check.
MAX_PROBLEMS: Final = 200
# Characters of a reason or a name, as in the console.
TEXT_LIMIT: Final = 1024
_STAYS: Final = "; what the file said before stays in force"

# How ``directory.manifest`` names a document of a file.
_names_document: Final = re.compile(r"document \d+").match


@final
@attrs.frozen
class LintRules:
    """The service's configuration: what it selects, the issuers that entries may refer to, the reach of regions, and the grants."""

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
    code: str = ""

    def shown(self) -> dict[str, object]:
        """Return it as JSON has it."""
        policy = None if self.policy is None else printable(self.policy, TEXT_LIMIT)
        place, reason = self.place, printable(self.reason, TEXT_LIMIT)
        where = {"policy": policy, "entry": self.entry, "line": place.line, "column": place.column}
        return {**where, "code": self.code, "reason": reason}


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
        return Linted(0, (Problem(f"the file is empty{_STAYS}", Place(1, 1), code=EMPTY_FILE.name),))
    file = read_file(name, data)
    read = read_manifests(data, is_json=False)
    if isinstance(read, UnreadableFile):
        return Linted(0, tuple(_unreadable(read, file))[:MAX_PROBLEMS])
    objects = tuple(objects_of(read))
    every = (*(item for key, other in others.items() if key != name for item in objects_in(other) or ()), *objects)
    change = policy_of(every, rules)
    here = {Source(item.value.namespace, item.value.name): item for item in reversed(file.objects) if isinstance(item.value, ConfigMap)}
    documents = [Document(file, here[found.source], found) for found in change.documents if found.source in here]
    problems = [*_left_out(file, every, change, rules), *(each for document in documents for each in _said(document, change))]
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
    documents = select(objects, rules.namespaces, rules.configmaps, rules.grants.limits)
    return advance(empty, {}, documents, rules.issuers, grants=rules.grants)


def _unreadable(read: UnreadableFile, file: ManifestFile) -> Iterator[Problem]:
    """Yield what the service says of the file, and what it would say next."""
    subject = "" if _names_document(read.reason) else "the file "
    found = [placed for placed in file.problems if placed.problem.code.severity is Severity.ERROR]
    place = found[0].place if found else NOWHERE
    yield Problem(f"{subject}{read.reason}{_STAYS}", place, code=read.code.name)
    for placed in found[1:]:
        policy = None if placed.policy is None else str(placed.policy)
        yield Problem(placed.problem.sentence, placed.place, policy, code=placed.problem.code.name)


def _left_out(file: ManifestFile, every: Iterable[PolicyObject], change: Change, rules: LintRules) -> Iterator[Problem]:
    """Yield the ConfigMaps that are not selected because of labels: the one mistake that the service cannot see."""
    if not any(isinstance(item.value, ConfigMap) for item in file.objects):
        reason = "there is no ConfigMap in the file, so that no policy comes from it"
        yield Problem(reason, Place(1, 1), code=codes.NOTHING_IN_FORCE.name)
    in_force = {document.source for document in change.documents}
    selected = {item.name for item in every if isinstance(item, Namespace) and rules.namespaces.matches(dict(item.labels))}
    for item in file.objects:
        if isinstance(item.value, ConfigMap) and (source := Source(item.value.namespace, item.value.name)) not in in_force:
            if item.value.namespace in selected:
                code, reason = codes.CONFIG_MAP_NOT_SELECTED, f"not in force: the ConfigMap's labels are not {rules.configmaps}"
            else:
                code = codes.NAMESPACE_NOT_ENABLED
                reason = f"not in force: there is no Namespace of this name with labels {rules.namespaces}"
            yield Problem(reason, item.place, str(source), code=code.name)


def _said(document: Document, change: Change) -> Iterator[Problem]:
    """Yield the parts of a document that cannot be understood, those that are refused, and its conflicts with others."""
    policy = document.policy
    refused = {(refusal.index, refusal.reason) for refusal in policy.refused}
    for problem in policy.findings:
        reason = f"not granted: {problem.text}" if (problem.entry, problem.text) in refused else problem.sentence
        place = document.place(problem.line, problem.column)
        yield Problem(reason, place, str(policy.source), problem.entry, problem.code.name)
    for conflict in conflicts_of(policy, change.snapshot):
        if conflict is not None:
            entry = conflict.entry
            yield Problem(str(conflict), document.place(entry.line, None), str(policy.source), entry.index, conflict.code.name)
