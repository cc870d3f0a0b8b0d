"""Checks a policy file as the service would if it were saved, with the service's own readers, and says where problems are. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, final

import attrs

from exchanger.commands.check.engine import check
from exchanger.commands.check.files import ManifestFile, Object, PlacedProblem, read_file
from exchanger.commands.check.source_map import NOWHERE, Place
from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.playground.policy_files import NotSaved, encoded
from exchanger.model.codes import manifests as codes
from exchanger.model.codes.code import Code, Severity
from exchanger.model.codes.manifests import EMPTY_FILE
from exchanger.model.entry import Source
from exchanger.policy.selection import ConfigMap, Namespace, PolicyObject
from exchanger.sources.directory.manifest import UnreadableFile, objects_of, read_manifests
from exchanger.util.text import printable

# Problems reported for a file: more than an author corrects before the next check.
MAX_PROBLEMS: Final = 200
# Characters of a reason or a name, as in the console.
TEXT_LIMIT: Final = 1024
_STAYS: Final = "; its previous content stays active"

# How ``directory.manifest`` names a document of a file.
_names_document: Final = re.compile(r"document \d+").match


@final
@attrs.frozen
class LintProblem:
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
    """How many policy documents of the file would be active, and the problems."""

    documents: int
    problems: tuple[LintProblem, ...] = ()


def lint(name: str, text: str, others: Mapping[str, str], rules: PolicyRules) -> Linted:
    """Check the file ``name`` with ``text``, together with the ``others`` of the folder, as ``exchanger check`` does. Never raises.

    Only what the service refuses is reported, and ConfigMaps that nothing selects: the folder is the whole cluster.
    """
    data = encoded(text)
    if isinstance(data, NotSaved):
        return Linted(0, (LintProblem(data.reason),))
    if not text.strip():
        return Linted(0, (LintProblem(f"the file is empty{_STAYS}", Place(1, 1), code=EMPTY_FILE.name),))
    file = read_file(name, data)
    read = read_manifests(data, is_json=False)
    if isinstance(read, UnreadableFile):
        return Linted(0, tuple(_unreadable(read, file))[:MAX_PROBLEMS])
    readable = [(key, other) for key, other in others.items() if key != name and objects_in(other) is not None]
    files = (*(read_file(key, other.encode()) for key, other in readable), file)
    values = [item.value for one in files for item in one.objects]
    selected = {value.name for value in values if isinstance(value, Namespace) and rules.namespaces.matches(dict(value.labels))}

    def active(item: Object) -> bool:
        return not isinstance(item.value, ConfigMap) or not _left_out(item.value, selected, rules)

    kept = [attrs.evolve(one, objects=tuple(filter(active, one.objects)), bare=False) for one in files]
    checked = check(kept, rules)
    documents = [document for document in checked.documents if document.file is kept[-1]]
    refused = {(found.source, found.index, found.reason) for document in documents for found in document.policy.refused}
    errors = [found for found in checked.problems if found.file == name and found.problem.code.severity is Severity.ERROR]
    problems = [*_inactive(file, selected, rules), *(_problem(found, refused) for found in errors)]
    ordered = sorted(problems, key=lambda problem: (problem.place.line or 0, problem.place.column or 0))
    return Linted(len({document.policy.source for document in documents}), tuple(ordered[:MAX_PROBLEMS]))


def objects_in(text: str) -> tuple[PolicyObject, ...] | None:
    """Return the objects of a file with this text, ``None`` if it cannot be read; then the service keeps the previous ones."""
    data = encoded(text)
    if isinstance(data, NotSaved) or not text.strip():
        return None
    found = read_manifests(data, is_json=False)
    return None if isinstance(found, UnreadableFile) else tuple(objects_of(found))


def _unreadable(read: UnreadableFile, file: ManifestFile) -> Iterator[LintProblem]:
    """Yield the problems that the service reports for the file, and would report next."""
    subject = "" if _names_document(read.reason) else "the file "
    found = [placed for placed in file.problems if placed.problem.code.severity is Severity.ERROR]
    place = found[0].place if found else NOWHERE
    yield LintProblem(f"{subject}{read.reason}{_STAYS}", place, code=read.code.name)
    for placed in found[1:]:
        policy = None if placed.policy is None else str(placed.policy)
        yield LintProblem(placed.problem.sentence, placed.place, policy, code=placed.problem.code.name)


def _left_out(found: ConfigMap, selected: set[str], rules: PolicyRules) -> tuple[Code, str] | None:
    """Return why ``found`` is not active: labels, the one mistake that the service cannot see."""
    if found.namespace not in selected:
        return codes.NAMESPACE_NOT_ENABLED, f"there is no Namespace of this name with labels {rules.namespaces}"
    if not rules.configmaps.matches(dict(found.labels)):
        return codes.CONFIG_MAP_NOT_SELECTED, f"the ConfigMap's labels are not {rules.configmaps}"
    return None


def _inactive(file: ManifestFile, selected: set[str], rules: PolicyRules) -> Iterator[LintProblem]:
    found = [(item.place, item.value) for item in file.objects if isinstance(item.value, ConfigMap)]
    if not found:
        reason = "the file has no ConfigMap, so it has no policy"
        yield LintProblem(reason, Place(1, 1), code=codes.NOTHING_ACTIVE.name)
    for place, value in found:
        if why := _left_out(value, selected, rules):
            yield LintProblem(f"not active: {why[1]}", place, str(Source(value.namespace, value.name)), code=why[0].name)


def _problem(found: PlacedProblem, refused: set[tuple[Source, int | None, str]]) -> LintProblem:
    problem, policy = found.problem, found.policy
    granted = policy is None or (policy, problem.entry, problem.text) not in refused
    reason = problem.sentence if granted else f"not granted: {problem.text}"
    return LintProblem(reason, found.place, None if policy is None else str(policy), problem.entry, problem.code.name)
