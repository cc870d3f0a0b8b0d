"""Lists once what the service would follow, in a cluster or a folder, and reads it as the service would.

Must not know: how the server is reached, or how a survey is shown.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from itertools import chain
from typing import Final, TypeVar, final

import attrs
import trio

from exchanger.commands.offline.rules import PolicyRules
from exchanger.model.entry import FailClosedScope, Source
from exchanger.model.notice import NO_NOTICES, Notice, Notices
from exchanger.model.selector import Selector
from exchanger.policy.conflicts import conflicts_of
from exchanger.policy.documents.document import Labels, entry_lines
from exchanger.policy.grants.allowance import Granted, Grants
from exchanger.policy.mistakes import mistakes_of
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.notices import is_declined, not_enabled, of_allowance, of_config_maps, of_left_out, of_namespaces, of_snapshot
from exchanger.policy.selection import Change, ConfigMap, DocumentText, Namespace, PolicyObject, descriptions_of
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.directory.folder import notices_of
from exchanger.sources.directory.source import DirectorySettings, documents_of, first_scan
from exchanger.sources.kube.index import EVERY_NAMESPACE
from exchanger.sources.kube.informer import missing_right
from exchanger.sources.kube.list_watch import ApiFailure, ListWatch
from exchanger.sources.kube.listing import Unanswered, UnreadableNamespace, list_policies
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.source import ListWatches
from exchanger.sources.kube.store import PAGE_SIZE

T = TypeVar("T")

# Objects of a kind that are listed: 40 pages, which a server sends within seconds, and which are dropped one by one.
MAX_OBJECTS: Final = 20_000
# Seconds for everything: somebody waits in front of a terminal.
TIMEOUT_S: Final = 30.0
NOWHERE: Final = Selector()


@final
@attrs.frozen
class DocumentProblem:
    """The problem of a document, or of one entry in it; ``line`` counts from 1.

    ``code`` is that of the first problem; ``coded`` is ``reason`` with all of them. ``remedy`` says what to do about each.
    """

    entry: int | None
    line: int | None
    code: str
    reason: str
    coded: str = attrs.field()
    remedy: str = attrs.field(default="", kw_only=True)

    @coded.default
    def _after_code(self) -> str:
        return f"{self.code}: {self.reason}"


@final
@attrs.frozen
class Policy:
    """One ConfigMap that is active: the number of healthy entries, and its problems, conflicts included.

    ``not_granted`` is what its Namespace is not granted, or in report mode what would be refused.
    """

    source: Source
    entries: int
    problems: tuple[DocumentProblem, ...] = ()
    not_granted: tuple[DocumentProblem, ...] = ()


@final
@attrs.frozen
class NamespaceGrantSummary:
    """What a Namespace may do: everything in ``granted``, and nothing else."""

    namespace: str
    granted: tuple[Granted, ...]


@final
@attrs.frozen
class Survey:
    """The policies of a cluster or a folder, in the order of names.

    ``ignored`` ConfigMaps have the label, in Namespaces that are not selected.

    ``notices`` are probable mistakes; ``gaps`` says where those were not looked for. While a Namespace is ``unreadable``, a service that
    starts has nothing active, because the policies in it are unknown. ``allowed`` has every Namespace if there are grants.
    """

    namespaces: tuple[str, ...]
    policies: tuple[Policy, ...]
    ignored: tuple[Source, ...] = ()
    notices: Notices = NO_NOTICES
    gaps: tuple[str, ...] = ()
    unreadable: tuple[UnreadableNamespace, ...] = ()
    allowed: tuple[NamespaceGrantSummary, ...] = ()

    @property
    def entries(self) -> int:
        """How many healthy entries there are."""
        return sum(policy.entries for policy in self.policies)

    @property
    def problems(self) -> int:
        """How many problems there are."""
        return sum(len(policy.problems) for policy in self.policies) + len(self.unreadable)

    @property
    def not_granted(self) -> int:
        """How many entries and documents have no effect because of grants, or would have none."""
        return sum(len(policy.not_granted) for policy in self.policies)

    @property
    def healthy(self) -> bool:
        """Return whether there is nothing to fix."""
        return not self.problems and not self.not_granted and not self.notices.count


async def survey(
    list_watches: ListWatches, settings: KubernetesSettings, rules: PolicyRules, notices: tuple[Notice, ...] = ()
) -> Survey | Unanswered:
    """List what ``settings`` select, and read it by ``rules``, which have the same selectors. ``notices`` come first."""
    grants = rules.grants
    found = await list_policies(list_watches, settings, grants.limits, with_labels=grants.limited)
    if isinstance(found, Unanswered):
        return found
    change, selected = rules.version(found.documents), dict(sorted(found.selected.items()))
    ignored = _ignored(found.config_maps, found.documents, rules)
    near = NearMisses()
    await near.look(list_watches, settings)
    found_notices = Notices.of(
        chain(
            notices,
            of_snapshot(change.snapshot, settings.where, rules.configmaps),
            _mistakes(change),
            (
                not_enabled(source, rules.namespaces, known=source.namespace in near.namespaces)
                for source in ignored
                if not near.namespaces.get(source.namespace, False)
            ),
            near.notices,
            _of_grants(grants, selected, near.namespaces),
        )
    )
    namespaces, allowed = tuple(sorted(found.namespaces)), _all_allowed(grants, selected)
    return Survey(namespaces, _policies(change), ignored, found_notices, tuple(near.gaps), found.unreadable, allowed)


def survey_folder(settings: DirectorySettings, rules: PolicyRules, notices: tuple[Notice, ...] = ()) -> Survey:
    """Read the folder as a service that starts would; blocks while its files are read. ``rules`` and ``notices`` as for ``survey``.

    Raises:
        FolderError: it cannot be listed
    """
    scanned = first_scan(settings)
    found = tuple(scanned.manifests())
    documents = documents_of(scanned, settings, rules.grants.limits, scanned.unknown())
    change, described = rules.version(documents), descriptions_of(found)
    selected = {name: labels for name, labels in sorted(described.items()) if any(rules.namespaces.matches(dict(one)) for one in labels)}
    mistakes = notices_of(scanned, rules.namespaces, rules.configmaps)
    about = (
        *notices,
        *of_snapshot(change.snapshot, settings.where, rules.configmaps),
        *_mistakes(change),
        *_of_grants(rules.grants, selected, dict.fromkeys(described, True)),
    )
    found_notices = Notices.of(chain(about, mistakes.listed), len(about) + mistakes.count)
    ignored, allowed = _ignored(found, documents, rules), _all_allowed(rules.grants, selected)
    return Survey(tuple(selected), _policies(change), ignored, found_notices, allowed=allowed)


def _ignored(objects: Iterable[PolicyObject], documents: Mapping[Source, DocumentText], rules: PolicyRules) -> tuple[Source, ...]:
    """Return the ConfigMaps that have the label and are not active."""
    config_maps = (item for item in objects if isinstance(item, ConfigMap) and rules.configmaps.matches(dict(item.labels)))
    return tuple(sorted({Source(item.namespace, item.name) for item in config_maps} - documents.keys()))


def _mistakes(change: Change) -> Iterator[Notice]:
    """Yield a notice for each valid entry that is probably not what its author meant, as ``exchanger check`` does."""
    for document in change.documents:
        for problem in mistakes_of(document, change.snapshot):
            place = "" if problem.line is None else f"at line {problem.line}: "
            yield Notice(f"ConfigMap {document.source}", f"{place}{problem.sentence}", problem.remedy.rstrip("."), problem.code)


def _policies(change: Change) -> tuple[Policy, ...]:
    return tuple(_policy(document, change.snapshot) for document in sorted(change.documents, key=lambda document: document.source))


def _all_allowed(grants: Grants, selected: Mapping[str, tuple[Labels, ...]]) -> tuple[NamespaceGrantSummary, ...]:
    return tuple(_allowed(grants, name, labels) for name, labels in selected.items()) if grants.limited else ()


def _policy(document: EffectiveDocument, snapshot: PolicySnapshot) -> Policy:
    wrong = [
        DocumentProblem(
            closed_scope.index,
            closed_scope.line,
            closed_scope.code,
            closed_scope.reason,
            closed_scope.coded,
            remedy=_remedies(closed_scope),
        )
        for closed_scope in document.problems
    ]
    found = [conflict for conflict in conflicts_of(document, snapshot) if conflict is not None]
    lines = entry_lines(document.text) if found and document.text is not None else ()
    conflicts = [
        DocumentProblem(
            conflict.entry.index, _line(lines, conflict.entry.index), conflict.code.name, str(conflict), remedy=conflict.code.remedy
        )
        for conflict in found
    ]
    problems = sorted((*wrong, *conflicts), key=lambda problem: -1 if problem.entry is None else problem.entry)
    return Policy(document.source, document.entry_count, tuple(problems), _refused(document))


def _remedies(closed_scope: FailClosedScope) -> str:
    """Return what to do about each problem of a fail-closed scope, as ``exchanger check`` says it."""
    return " ".join(dict.fromkeys(problem.remedy for problem in closed_scope.problems))


def _line(lines: tuple[tuple[int, int], ...], entry: int | None) -> int | None:
    return lines[entry][0] if entry is not None and entry < len(lines) else None


def _refused(document: EffectiveDocument) -> tuple[DocumentProblem, ...]:
    lines = entry_lines(document.text) if document.refused and document.text is not None else ()
    found = (
        DocumentProblem(refusal.index, _line(lines, refusal.index), refusal.code.name, refusal.sentence, remedy=refusal.code.remedy)
        for refusal in document.refused
    )
    return tuple(sorted(found, key=lambda problem: -1 if problem.entry is None else problem.entry))


def _allowed(grants: Grants, namespace: str, descriptions: tuple[Labels, ...]) -> NamespaceGrantSummary:
    # A cluster has one description of a Namespace.
    return NamespaceGrantSummary(namespace, tuple(granted for one in grants.allowances(namespace, descriptions) for granted in one.granted))


def _of_grants(grants: Grants, namespaces: Mapping[str, tuple[Labels, ...]], existing: Mapping[str, bool]) -> Iterator[Notice]:
    """Yield the notices about grants; ``existing`` are known Namespaces besides the selected ones."""
    if not grants.limited:
        return
    known = existing.keys() | namespaces.keys()
    for name, descriptions in namespaces.items():
        yield from of_allowance(grants, name, descriptions)
        yield from of_left_out(grants, name, next(iter(descriptions), ()), known)


@final
@attrs.define(eq=False)
class NearMisses:
    """Looks through all Namespaces and ConfigMaps for probable mistakes, which the service itself never asks for.

    A user waits for the answer, so it looks at a bounded number of objects, and a missing right is only mentioned in ``gaps``.
    ``namespaces`` has the existing ones, each with whether its labels settle the matter.
    """

    notices: list[Notice] = attrs.field(factory=list, init=False)
    namespaces: dict[str, bool] = attrs.field(factory=dict, init=False)
    gaps: list[str] = attrs.field(factory=list, init=False)

    async def look(self, list_watches: ListWatches, settings: KubernetesSettings) -> None:
        """Inspect every object, whatever its labels."""
        with trio.move_on_after(TIMEOUT_S) as scope:
            if not settings.namespaces:
                await self._look_at_namespaces(list_watches, settings)
            for namespace in settings.namespaces or (EVERY_NAMESPACE,):
                await self._look_at_config_maps(list_watches, settings, namespace)
        if scope.cancelled_caught:
            self.gaps.append(f"what could not be listed within {TIMEOUT_S:.0f} s")

    async def _look_at_namespaces(self, list_watches: ListWatches, settings: KubernetesSettings) -> None:
        selector = settings.namespace_selector
        async with aclosing(self._pages("namespaces", EVERY_NAMESPACE, list_watches.namespaces(str(NOWHERE)))) as pages:
            async for page in pages:
                self.namespaces.update((item.name, _is_settled(item, selector)) for item in page)
                unsettled = (item for item in page if not self.namespaces[item.name])
                self.notices += of_namespaces(unsettled, selector, settings.configmap_selector)

    async def _look_at_config_maps(self, list_watches: ListWatches, settings: KubernetesSettings, namespace: str) -> None:
        selector = settings.configmap_selector
        async with aclosing(self._pages("configmaps", namespace, list_watches.config_maps(str(NOWHERE), namespace))) as pages:
            async for page in pages:
                others = [item for item in page if not selector.matches(dict(item.labels))]
                self.notices += of_config_maps(others, {}, selector, settings.namespace_selector)

    async def _pages(self, resource: str, namespace: str, list_watch: ListWatch[T]) -> AsyncGenerator[tuple[T, ...]]:
        token, seen = "", 0
        while True:
            page = await list_watch.list_page(limit=PAGE_SIZE, continue_token=token)
            if isinstance(page, ApiFailure):
                self.gaps.append(missing_right(resource, namespace, page) or f"{list_watch.name}: {page.kind.value.replace('_', ' ')}")
                return
            yield tuple(item.value for item in page.items)
            token, seen = page.continue_token, seen + len(page.items)
            if not token:
                return
            if seen >= MAX_OBJECTS or not page.items:
                self.gaps.append(f"{list_watch.name} beyond the first {seen}")
                return


def _is_settled(namespace: Namespace, selector: Selector) -> bool:
    return selector.matches(dict(namespace.labels)) or is_declined(namespace.labels, selector)
