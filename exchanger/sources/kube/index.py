"""Determines which policy documents are active, from the feeds of Namespaces and ConfigMaps, and which of them may have changed.

The index keeps no ConfigMap. It notes the names that feeds report, and reads the feeds' stores on demand, so that an object that changes
twice is read once.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from typing import Final, final

import attrs

from exchanger.model.entry import Source
from exchanger.model.selector import Selector
from exchanger.policy.documents.document import Labels
from exchanger.policy.selection import NAME_LABEL, ConfigMap, DocumentText, Namespace, document_of, labels_of
from exchanger.sources.kube.list_watch import Item, Key
from exchanger.sources.kube.store import ReflectorStore

# The scope of a list of the whole cluster; no Namespace has this name.
EVERY_NAMESPACE: Final = ""
# Objects per step: 1 ms.
STEP: Final = 100


@final
@attrs.define(eq=False)
class PolicyIndex:
    """Joins ``namespaces`` with ``config_maps``, which are by the Namespace that each feed follows.

    An object that its selector does not match counts as gone, whatever the server says. With ``named`` there are no Namespace objects:
    exactly these are selected. With ``with_labels``, the labels of Namespaces are wanted.
    """

    namespace_selector: Selector
    configmap_selector: Selector
    named: frozenset[str] = frozenset()
    with_labels: bool = False
    namespaces: ReflectorStore[Namespace] = attrs.field(factory=ReflectorStore, kw_only=True)
    config_maps: dict[str, ReflectorStore[ConfigMap]] = attrs.field(factory=dict, kw_only=True)
    # The labels of each selected Namespace, sorted, if they are wanted.
    _selected: dict[str, tuple[Labels, ...]] = attrs.field(init=False)
    # The ``uid`` of each Namespace that is selected, or was when it had ConfigMaps that are still known.
    uids: dict[str, str] = attrs.field(init=False, factory=dict, repr=False)
    # Namespaces, by name and ``uid``, that took the name of another one, whose ConfigMaps may still be known: nothing of them is active.
    unconfirmed: dict[str, str] = attrs.field(init=False, factory=dict, repr=False)
    # What may have changed: Namespaces, all documents of Namespaces, all documents of a feed, and single documents.
    _reported: dict[str, None] = attrs.field(init=False, factory=dict, repr=False)
    _moved: dict[str, None] = attrs.field(init=False, factory=dict, repr=False)
    _listed: dict[str, None] = attrs.field(init=False, factory=dict, repr=False)
    changed_documents: dict[Source, None] = attrs.field(init=False, factory=dict, repr=False)
    # The documents that were taken and have not been taken back, by Namespace.
    _taken: dict[str, dict[Source, None]] = attrs.field(init=False, factory=dict, repr=False)
    # Namespaces that were selected, relabelled or left since the last ``take_relabelled``, if labels are wanted.
    _relabelled: dict[str, None] = attrs.field(init=False, factory=dict, repr=False)
    # Namespaces that were deselected, relabelled or replaced since the last ``take_loosened``; ``True`` for those that took the names of
    # others.
    _loosened: dict[str, bool] = attrs.field(init=False, factory=dict, repr=False)
    # Selected ConfigMaps whose Namespaces are not selected, and whether these may differ from those that were last looked at.
    waiting: dict[Source, None] = attrs.field(init=False, factory=dict, repr=False)
    waiting_changed: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._selected = dict.fromkeys(self.named, ())

    def use_named(self, names: Iterable[str]) -> None:
        """Select exactly these Namespaces."""
        chosen = frozenset(names)
        for name in chosen ^ self._selected.keys():
            self._select(name, () if name in chosen else None)

    def namespaces_changed(self, keys: Iterable[Key] | None = None) -> None:
        """Take note that these Namespaces have changed, or any."""
        names = [*(key.name for key in self.namespaces.items), *self._selected] if keys is None else [key.name for key in keys]
        self._reported.update(dict.fromkeys(names))

    def config_maps_changed(self, scope: str, keys: Iterable[Key] | None = None) -> None:
        """Record that these ConfigMaps, or any, have changed according to the feed of the Namespace ``scope``."""
        if keys is None:
            self._listed[scope] = None
            return
        for key in keys:
            if scope in {EVERY_NAMESPACE, key.namespace}:
                self.changed_documents[Source(key.namespace, key.name)] = None
                self._forget_later(key.namespace)

    def confirm(self, namespace: str) -> None:
        """Assume that the known ConfigMaps of a Namespace are its own, and not those of an earlier one of its name."""
        del self.unconfirmed[namespace]
        self._moved[namespace] = None
        if self.with_labels:
            self._relabelled[namespace] = None

    def settle(self) -> Iterator[None]:
        """Find the documents that may have changed; yield between steps of bounded work, in which more may be reported."""
        reported, self._reported = self._reported, {}
        for number, name in enumerate(reported, 1):
            self._look_at(name)
            if number % STEP == 0:
                yield
        moved, listed, self._moved, self._listed = self._moved, self._listed, {}, {}
        if not (moved or listed):
            return
        stores = tuple(self.config_maps.items())
        found = (source for scope, store in stores for source in _sources(scope, store, None if scope in listed else moved))
        gone = chain(self.waiting.copy(), chain.from_iterable(map(self._taken_of, {**listed, **moved})))
        known: set[str] = set()
        for number, source in enumerate(found, 1):
            self.changed_documents[source] = None
            known.add(source.namespace)
            if number % STEP == 0:
                yield
        for number, source in enumerate(gone, 1):
            self.changed_documents[source] = None
            if number % STEP == 0:
                yield
        if EVERY_NAMESPACE in listed:
            moved = dict.fromkeys(self.uids)
        for namespace in moved.keys() - known - self._selected.keys():  # nothing depends on which Namespace it was
            self.uids.pop(namespace, None)
            self.unconfirmed.pop(namespace, None)

    @property
    def changed(self) -> bool:
        """Whether there may be a difference to take."""
        return bool(self._reported or self._moved or self._listed or self.changed_documents)

    def take(self, most: int) -> dict[Source, DocumentText | None]:
        """Return at most ``most`` documents that may have changed, ``None`` for those that are no longer active."""
        found: dict[Source, DocumentText | None] = {}
        for source in tuple(islice(self.changed_documents, most)):
            del self.changed_documents[source]
            waits = source.namespace not in self._selected and self._config_map(source) is not None
            if waits is not (source in self.waiting):
                self.waiting_changed = True
                self.waiting.pop(source, None)
                if waits:
                    self.waiting[source] = None
            document, taken = self.document(source), self._taken.setdefault(source.namespace, {})
            if document is not None:
                taken[source] = None
                found[source] = document
            elif source in taken:
                del taken[source]
                found[source] = None
            if not taken:
                del self._taken[source.namespace]
        return found

    def document(self, source: Source) -> DocumentText | None:
        """Return the document of ``source`` that is to be active."""
        labels = None if source.namespace in self.unconfirmed else self._selected.get(source.namespace)
        config_map = None if labels is None else self._config_map(source)
        return None if labels is None or config_map is None else document_of(config_map, labels)

    def documents(self) -> dict[Source, DocumentText]:
        """Return all documents that are to be active."""
        sources = (source for scope, store in self.config_maps.items() for source in _sources(scope, store))
        return {source: document for source in sources if (document := self.document(source)) is not None}

    def selected(self) -> dict[str, tuple[Labels, ...]]:
        """Return the selected Namespaces, with their labels if these are wanted."""
        return dict(self._selected)

    def labels_of(self, namespace: str) -> tuple[Labels, ...] | None:
        """Return the labels of a Namespace if these are wanted, ``None`` if it is not selected."""
        return self._selected.get(namespace)

    def take_relabelled(self) -> dict[str, tuple[Labels, ...] | None]:
        """Return the Namespaces that were selected, relabelled or left since the last call, with their labels; ``None``: not selected.

        The labels of one that took the name of another one count for its own ConfigMaps alone, so they wait for ``confirm``.
        """
        names, self._relabelled = self._relabelled, {}
        return {name: self._selected.get(name) for name in names if name not in self.unconfirmed or name not in self._selected}

    def take_loosened(self) -> dict[str, bool]:
        """Return the Namespaces whose documents may decide less since the last call; ``True`` for those that took the names of others."""
        loosened, self._loosened = self._loosened, {}
        return loosened

    def uid_of(self, source: Source) -> str:
        """Return the ``uid`` of the ConfigMap ``source``, "" if unknown."""
        config_map = self._config_map(source)
        return "" if config_map is None else config_map.uid

    def _taken_of(self, scope: str) -> tuple[Source, ...]:
        """Return the documents of a Namespace, or of all, that were taken and not taken back."""
        if scope != EVERY_NAMESPACE:
            return tuple(self._taken.get(scope, ()))
        return tuple(chain.from_iterable(self._taken.values()))

    def _config_map(self, source: Source) -> ConfigMap | None:
        """Return a ConfigMap that is known and selected."""
        store = self.config_maps.get(source.namespace, self.config_maps.get(EVERY_NAMESPACE))
        item = None if store is None else store.items.get(Key(source.namespace, source.name))
        return None if item is None or not self._selects(item) else item.value

    def _selects(self, item: Item[ConfigMap]) -> bool:
        # The labels of ConfigMaps beyond a namespace's limits are not kept; the server has checked them.
        return bool(item.value.over_quota) or self.configmap_selector.matches(dict(item.value.labels))

    def _look_at(self, name: str) -> None:
        item = self.namespaces.items.get(Key("", name))
        # Every server sets this label to the name.
        if item is None or not self.namespace_selector.matches({**dict(item.value.labels), NAME_LABEL: name}):
            self._select(name, None)
            return
        self._recognise(item.value)
        self._select(name, (labels_of(item.value),) if self.with_labels else ())

    def _select(self, namespace: str, labels: tuple[Labels, ...] | None) -> None:
        """Select a Namespace with ``labels``, or no longer (``None``)."""
        if self._selected.get(namespace) == labels:
            return
        self._moved[namespace] = None
        if namespace in self._selected:
            self._loosened.setdefault(namespace, False)
        if self.with_labels:
            self._relabelled[namespace] = None
        if labels is None:
            del self._selected[namespace]
        else:
            self._selected[namespace] = labels

    def _recognise(self, namespace: Namespace) -> None:
        """Return whether a Namespace is, by its ``uid``, the known one of its name."""
        known = self.uids.get(namespace.name, "")
        if not namespace.uid or known == namespace.uid:
            return
        if known:
            self._moved[namespace.name] = None
            self._loosened[namespace.name] = True
            self.unconfirmed[namespace.name] = namespace.uid
        self.uids[namespace.name] = namespace.uid

    def _forget_later(self, namespace: str) -> None:
        """Check whether it still matters which Namespace it was."""
        if namespace in self.uids and namespace not in self._selected:
            self._moved[namespace] = None


def _sources(scope: str, store: ReflectorStore[ConfigMap], namespaces: Collection[str] | None = None) -> Iterator[Source]:
    """Yield the ConfigMaps that the feed of ``scope`` knows, of all Namespaces or of these; it may learn of others meanwhile."""
    for key in tuple(store.items):
        if scope in {EVERY_NAMESPACE, key.namespace} and (namespaces is None or key.namespace in namespaces):
            yield Source(key.namespace, key.name)
