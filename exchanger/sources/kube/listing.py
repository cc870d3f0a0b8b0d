"""Lists once what the service would follow: the selected Namespaces and ConfigMaps, and the documents in them. Nothing is watched."""

from collections import deque
from collections.abc import Mapping
from typing import Final, TypeVar, final

import attrs

from exchanger.model.entry import Source
from exchanger.policy.documents.document import Labels
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.selection import ConfigMap, DocumentText
from exchanger.sources.kube.index import EVERY_NAMESPACE, PolicyIndex
from exchanger.sources.kube.informer import missing_right
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, ListWatch
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.source import ListWatches
from exchanger.sources.kube.store import Complete, ListBounds, ReflectorStore, list_all

T = TypeVar("T")

# Attempts at a list whose version goes away in the middle, which happens every five minutes at most.
ATTEMPTS: Final = 3


@final
@attrs.frozen
class UnreadableNamespace:
    """A Namespace that is followed by its name and may not be read, and which right is missing."""

    namespace: str
    missing_right: str


@final
@attrs.frozen
class Unanswered:
    """Why something cannot be listed, in a sentence; ``missing_right`` if that is the reason."""

    reason: str
    missing_right: str = ""


@final
@attrs.frozen
class Listing:
    """The result. ``selected`` has the labels of each selected Namespace, ``config_maps`` also those of other Namespaces.

    While a Namespace is ``unreadable``, a service that starts has no active policy, because the policies in it are unknown.
    """

    namespaces: tuple[str, ...]
    config_maps: tuple[ConfigMap, ...]
    documents: Mapping[Source, DocumentText]
    selected: Mapping[str, tuple[Labels, ...]]
    unreadable: tuple[UnreadableNamespace, ...] = ()


async def list_policies(
    list_watches: ListWatches, settings: KubernetesSettings, limits: NamespaceLimits | None = None, *, with_labels: bool
) -> Listing | Unanswered:
    """List what ``settings`` select, within the ``limits`` of each namespace.

    ``with_labels``: the labels of Namespaces are part of their documents, since grants look at them.
    """
    index = PolicyIndex(settings.namespace_selector, settings.configmap_selector, frozenset(settings.namespaces), with_labels=with_labels)
    namespaces = settings.namespaces
    if not namespaces:
        found = await _list("namespaces", EVERY_NAMESPACE, list_watches.namespaces(str(settings.namespace_selector)))
        if isinstance(found, Unanswered):
            return found
        index.namespaces.replace(found)
        index.namespaces_changed()
    unreadable: list[UnreadableNamespace] = []
    for scope in namespaces or (EVERY_NAMESPACE,):
        listed = await _list("configmaps", scope, list_watches.config_maps(str(settings.configmap_selector), scope), limits)
        if isinstance(listed, Unanswered):
            # One of several Namespaces: show the others, and name this one.
            if not listed.missing_right or len(unreadable) + 1 >= len(namespaces):
                return listed
            unreadable.append(UnreadableNamespace(scope, listed.missing_right))
            continue
        index.config_maps[scope] = ReflectorStore()
        index.config_maps[scope].replace(listed)
    deque(index.settle(), maxlen=0)
    config_maps = tuple(item.value for store in index.config_maps.values() for item in store.items.values())
    return Listing(namespaces or tuple(index.selected()), config_maps, index.documents(), index.selected(), tuple(unreadable))


async def _list(resource: str, scope: str, list_watch: ListWatch[T], limits: NamespaceLimits | None = None) -> Complete[T] | Unanswered:
    failure = ApiFailure(FailureKind.GONE)
    for _ in range(ATTEMPTS):
        found = await list_all(list_watch, ListBounds(limits=limits))
        if not isinstance(found, ApiFailure):
            return found
        failure = found
        if failure.kind is not FailureKind.GONE:
            break
    right = missing_right(resource, scope, failure)
    if right:
        return Unanswered(f"a right is missing: {right}", right)
    said = f": {failure.message}" if failure.message else ""
    return Unanswered(f"{list_watch.name} cannot be listed ({failure.kind.value.replace('_', ' ')}){said}")
