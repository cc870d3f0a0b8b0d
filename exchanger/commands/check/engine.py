"""The problems that the service would report for policies in manifests, each at its place, and probable mistakes. Pure and total.

Nothing is checked here: the readers, the grants and the match are the service's own.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, final

import attrs

from exchanger.commands.check.files import CheckedDocument, ManifestFile, Object, PlacedProblem
from exchanger.commands.check.ignored import sorted_out
from exchanger.commands.check.likely import between_entries
from exchanger.commands.check.source_map import Place
from exchanger.commands.check.targets import CheckedProfiles, of_targets
from exchanger.commands.offline.rules import PolicyRules
from exchanger.formats.yaml import nodes
from exchanger.formats.yaml.nodes import field
from exchanger.model.codes import manifests as codes
from exchanger.model.codes.code import Severity
from exchanger.model.codes.policy import DUPLICATE_KEY
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import Source
from exchanger.model.notice import Notice
from exchanger.policy.documents.document import Labels, PolicyDocument, parse_document
from exchanger.policy.documents.style import style_of
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.notices import is_declined, looks_like_policy, near_label, of_allowance, of_config_maps, of_left_out, of_namespaces
from exchanger.policy.quota import NamespaceQuota, over_quota
from exchanger.policy.selection import NAME_LABEL, ConfigMap, Namespace, Text, document_of, labels_of, read
from exchanger.policy.snapshot import PolicySnapshot

# Problems of all files that are reported: more than an author corrects before the next check.
MAX_PROBLEMS: Final = 10_000


@final
@attrs.frozen
class Checked:
    """The problems in the order of the files, and how many policy documents these have. Comments accept those in ``ignored``."""

    files: tuple[ManifestFile, ...]
    documents: tuple[CheckedDocument, ...]
    problems: tuple[PlacedProblem, ...]
    ignored: tuple[PlacedProblem, ...] = ()

    @property
    def undescribed(self) -> tuple[str, ...]:
        """The namespaces of selected documents that have no Namespace in the files."""
        described = {item.value.name for file in self.files for item in file.objects if isinstance(item.value, Namespace)}
        found = {document.policy.source.namespace for document in self.documents if not document.meant}
        return tuple(sorted(found - described))

    def count(self, severity: Severity) -> int:
        """Return how many problems are as bad as that."""
        return sum(problem.problem.code.severity is severity for problem in self.problems)


def check(files: Iterable[ManifestFile], rules: PolicyRules, profiles: CheckedProfiles | None = None) -> Checked:
    """Check ``files``, which together are the policy; and against ``profiles``, if these are known, what entries ask of their issuers."""
    every = tuple(files)
    described = _described(every)
    left_out = _left_out(every, rules)
    written = tuple(_written(every, rules, described, left_out))
    together = _together(written, rules)
    documents = tuple(_documents(written, together, rules))
    found: list[PlacedProblem] = [problem for file in every for problem in file.problems]
    found += _of_labels(every, rules)
    found += _of_grants(every, documents, rules, described)
    found += [problem for document in documents for problem in _of_document(document)]
    if profiles is not None:
        found += islice(of_targets(documents, profiles), MAX_PROBLEMS)
    found += _found_twice(documents)
    found += between_entries(together, {document.policy.source: document for document in reversed(documents)})
    stay, ignored = sorted_out(dict.fromkeys(found), every, documents)
    return Checked(every, documents, _ordered(stay, every), _ordered(ignored, every))


def _ordered(found: Iterable[PlacedProblem], files: Iterable[ManifestFile]) -> tuple[PlacedProblem, ...]:
    order = {file.name: number for number, file in enumerate(files)}
    return tuple(sorted(found, key=lambda one: (order[one.file], one.place.line or 0, one.place.column or 0))[:MAX_PROBLEMS])


def _described(files: Iterable[ManifestFile]) -> dict[str, tuple[Namespace, ...]]:
    found: dict[str, tuple[Namespace, ...]] = {}
    for file in files:
        for item in file.objects:
            if isinstance(item.value, Namespace):
                found[item.value.name] = (*found.get(item.value.name, ()), item.value)
    return found


def _left_out(files: Iterable[ManifestFile], rules: PolicyRules) -> frozenset[tuple[str, str]]:
    """Return the ConfigMaps, by namespace and name, that the service would not read because their namespace has too many."""
    found = (item.value for file in files for item in file.objects if isinstance(item.value, ConfigMap))
    return over_quota(
        ((one.namespace, one.name, one.size) for one in found if rules.configmaps.matches(dict(one.labels))), rules.grants.limits
    )


@final
@attrs.frozen(eq=False)
class _Written:
    """A document of a file as its author wrote it, and the labels of its namespace. ``meant`` and ``bare`` as in ``CheckedDocument``."""

    file: ManifestFile
    object: Object
    document: PolicyDocument
    labels: tuple[Labels, ...] = ()
    meant: bool = False
    bare: bool = False


def _written(
    files: Iterable[ManifestFile], rules: PolicyRules, described: dict[str, tuple[Namespace, ...]], left_out: frozenset[tuple[str, str]]
) -> Iterator[_Written]:
    for file in files:
        if file.bare:
            bare = ConfigMap("", file.name, (), file.text.text)
            document = read(Source("", file.name), Text.of(bare), rules.issuers)
            yield _Written(file, Object(bare, Place(1, 1)), document, meant=True, bare=True)
        for item in file.objects:
            if not isinstance(item.value, ConfigMap):
                continue
            selected = rules.configmaps.matches(dict(item.value.labels))
            if not selected and not _is_meant(item.value, rules):
                continue
            known = described.get(item.value.namespace, ())
            # Without its Namespace, nothing but the name is known of it.
            labels = tuple(sorted({labels_of(namespace) for namespace in known})) or (((NAME_LABEL, item.value.namespace),),)
            source = Source(item.value.namespace, item.value.name)
            reason = NamespaceQuota(rules.grants.limits).reason if selected and (source.namespace, source.name) in left_out else ""
            document = read(source, document_of(attrs.evolve(item.value, over_quota=reason), labels), rules.issuers)
            yield _Written(file, item, document, labels, meant=not selected)


def _together(documents: Iterable[_Written], rules: PolicyRules) -> PolicySnapshot:
    """Return the version with all documents, the first of those with the same name."""
    first = {one.document.source: one for one in reversed(tuple(documents))}
    labels = {source.namespace: one.labels for source, one in first.items()}
    snapshot = PolicySnapshot.EMPTY.with_grants(rules.grants)
    return snapshot.changed({source: one.document for source, one in first.items()}, labels)


def _documents(found: Iterable[_Written], together: PolicySnapshot, rules: PolicyRules) -> Iterator[CheckedDocument]:
    """Yield the documents as they are beside the others, or alone if another one has the same name."""
    seen = set[Source]()
    for one in found:
        source = one.document.source
        snapshot = together
        if source in seen:
            alone = PolicySnapshot.EMPTY.with_grants(rules.grants)
            snapshot = alone.changed({source: one.document}, {source.namespace: one.labels})
        seen.add(source)
        policy = snapshot.document(source)
        if policy is not None:
            problems = _problems_of(one.document, policy, rules)
            yield CheckedDocument(one.file, one.object, policy, problems, meant=one.meant, bare=one.bare)


def _problems_of(document: PolicyDocument, policy: EffectiveDocument, rules: PolicyRules) -> tuple[Problem, ...]:
    """Return the problems of a document, and notices about its style; of one over quota, its author's mistakes as well."""
    found = policy.findings
    if policy.is_over_quota:
        found += document.findings
    if any(problem.code is DUPLICATE_KEY for problem in found):
        found = parse_document(policy.source, policy.text, rules.issuers, thorough=True).findings
    return (*found, *style_of(document))


def _is_meant(config_map: ConfigMap, rules: PolicyRules) -> bool:
    if is_declined(config_map.labels, rules.configmaps):
        return False
    return near_label(config_map.labels, rules.configmaps, rules.namespaces) is not None or looks_like_policy(config_map.document)


def _of_document(document: CheckedDocument) -> Iterator[PlacedProblem]:
    """Yield the problems of a document at their places."""
    yield from _placed(document.problems, document)


def _placed(problems: Iterable[Problem], document: CheckedDocument) -> Iterator[PlacedProblem]:
    for problem in problems:
        place = document.place(problem.line, problem.column)
        yield PlacedProblem(problem, document.file.name, place, None if document.bare else document.policy.source)


def _found_twice(documents: Iterable[CheckedDocument]) -> Iterator[PlacedProblem]:
    first: dict[Source, CheckedDocument] = {}
    for document in documents:
        other = first.setdefault(document.policy.source, document)
        if other.policy.text != document.policy.text:
            text = f"the ConfigMap {document.policy.source} occurs twice, with different documents; the other is in {other.file.name}"
            rivals = ((other.file.name, other.object.place),)
            yield PlacedProblem(Problem(codes.FOUND_TWICE, text), document.file.name, document.object.place, document.policy.source, rivals)


def _of_labels(files: Iterable[ManifestFile], rules: PolicyRules) -> Iterator[PlacedProblem]:
    """Yield what is not active because of labels."""
    every = tuple(files)
    settled: dict[str, bool] = {}
    for found in (item.value for file in every for item in file.objects):
        if isinstance(found, Namespace):
            selected = rules.namespaces.matches(dict(found.labels)) or is_declined(found.labels, rules.namespaces)
            settled[found.name] = settled.get(found.name, False) or selected
    for file in every:
        for item in file.objects:
            if isinstance(item.value, Namespace):
                unsettled = () if settled[item.value.name] else (item.value,)
                notices = of_namespaces(unsettled, rules.namespaces, rules.configmaps)
            else:
                elsewhere = {} if rules.complete else {item.value.namespace: True}
                known = elsewhere | settled
                notices = of_config_maps((item.value,), known, rules.configmaps, rules.namespaces)
            yield from (_of_notice(notice, file, item) for notice in notices)


def _of_notice(notice: Notice, file: ManifestFile, item: Object) -> PlacedProblem:
    policy = Source(item.value.namespace, item.value.name) if isinstance(item.value, ConfigMap) else None
    problem = Problem(notice.code or codes.NOTHING_ACTIVE, f"{notice.subject} {notice.text} ({notice.remedy})")
    return PlacedProblem(problem, file.name, _place_of(notice, item), policy)


def _place_of(notice: Notice, item: Object) -> Place:
    """Return the place of the label that the notice names, otherwise the start of the labels or the object."""
    labels = None if item.found is None else field(field(item.found.node, "metadata"), "labels")
    if not isinstance(labels, nodes.Mapping):
        return item.place
    named = (key for key, _ in labels.pairs if isinstance(key, nodes.Scalar) and f"the label {key.text} " in notice.text)
    place = next(named, labels)
    return Place(place.line, place.column)


def _of_grants(
    files: Iterable[ManifestFile], documents: Iterable[CheckedDocument], rules: PolicyRules, described: dict[str, tuple[Namespace, ...]]
) -> Iterator[PlacedProblem]:
    """Yield the Namespaces with policies that are granted less than was probably meant."""
    if not rules.grants.limited:
        return
    with_policy = {document.policy.source.namespace for document in documents}
    for file in files:
        for item in file.objects:
            if isinstance(item.value, Namespace) and item.value.name in with_policy:
                labels = labels_of(item.value)
                notices = (
                    *of_allowance(rules.grants, item.value.name, (labels,)),
                    *of_left_out(rules.grants, item.value.name, labels, described.keys()),
                )
                yield from (_of_notice(notice, file, item) for notice in notices)
