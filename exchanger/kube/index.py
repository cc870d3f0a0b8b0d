"""Which policy documents are in force, as Namespaces and ConfigMaps come and go, and what changed since the last version.

A machine, not a value: it has one writer and one reader, nobody needs an older state, and complete lists of 10,000 objects are taken in on
the event loop, where persistent maps would be many times slower. What leaves it is a value.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, final

import attrs

from exchanger.policy.documents.document import Labels
from exchanger.policy.selection import NAME_LABEL, ConfigMap, Document, Namespace, document_of, labels_of
from exchanger.values.entry import Source
from exchanger.values.selector import Selector

# The scope of a list of the whole cluster; no Namespace has this name.
EVERY_NAMESPACE: Final = ""
# Objects per step: 1 ms.
STEP: Final = 100


@final
@attrs.frozen
class Changed:
    """One document before and after; ``None`` where it is not in force. Both are equal if it only has to be read again."""

    source: Source
    before: Document | None
    after: Document | None


@final
@attrs.define(eq=False)
class PolicyIndex:
    """Takes objects in any order. An object that its selector does not match counts as gone, whatever the server says.

    With ``named`` there are no Namespace objects: exactly these are selected. With ``with_labels``, documents have the labels of their
    Namespace, and change with them. Iterators yield between steps of bounded work; nothing else
    may be taken meanwhile.
    """

    namespace_selector: Selector
    configmap_selector: Selector
    named: frozenset[str] = frozenset()
    with_labels: bool = False
    # The labels of each selected Namespace, sorted, if they are wanted.
    _selected: dict[str, tuple[Labels, ...]] = attrs.field(init=False)
    # By namespace and name, including those that wait for their Namespace to be selected.
    _texts: dict[str, dict[str, Document]] = attrs.field(init=False, factory=dict, repr=False)
    _uids: dict[Source, str] = attrs.field(init=False, factory=dict, repr=False)
    # The ``uid`` of each Namespace that is selected, or was when it had ConfigMaps that are still known.
    _namespace_uids: dict[str, str] = attrs.field(init=False, factory=dict, repr=False)
    # Namespaces, by name and ``uid``, that took the name of another one, whose ConfigMaps may still be known: nothing of them is in force.
    unconfirmed: dict[str, str] = attrs.field(init=False, factory=dict, repr=False)
    # What was in force, for every source that may have changed since the last ``take``.
    _before: dict[Source, Document | None] = attrs.field(init=False, factory=dict, repr=False)
    # Namespaces that were selected, relabelled or left since the last ``take_relabelled``, if labels are wanted.
    _relabelled: dict[str, None] = attrs.field(init=False, factory=dict, repr=False)
    _waiting_changed: bool = attrs.field(init=False, default=False)
    # The documents to read again, as names by namespace.
    _again: list[tuple[str, list[str]]] = attrs.field(init=False, factory=list, repr=False)

    def __attrs_post_init__(self) -> None:
        self._selected = dict.fromkeys(self.named, ())

    def using_named(self, names: Iterable[str]) -> Iterator[None]:
        """Select exactly these, and forget all others; the content of new ones is not known yet."""
        chosen = frozenset(names)
        for name in chosen ^ self._selected.keys():
            yield from self._select(name, None)
            yield from self.replacing_config_maps((), name)
            yield from self._select(name, () if name in chosen else None)

    def replacing_namespaces(self, namespaces: Iterable[Namespace]) -> Iterator[None]:
        """Take the complete state of all Namespaces."""
        selected: dict[str, tuple[Labels, ...]] = {}
        for number, namespace in enumerate(namespaces, 1):
            if (labels := self._selects_with(namespace)) is not None:
                selected[namespace.name] = labels
                yield from self._recognise(namespace)
            if number % STEP == 0:
                yield
        for name in {name: None for name in (*selected, *self._selected) if selected.get(name) != self._selected.get(name)}:
            yield from self._select(name, selected.get(name))
            yield

    def putting_namespace(self, namespace: Namespace) -> Iterator[None]:
        """Take a Namespace that is new or changed; costs its own ConfigMaps if that affects them."""
        labels = self._selects_with(namespace)
        if labels is not None:
            yield from self._recognise(namespace)
        yield from self._select(namespace.name, labels)

    def deleting_namespace(self, name: str) -> Iterator[None]:
        """Forget a Namespace; its documents leave, although its ConfigMaps may still be listed."""
        return self._select(name, None)

    def confirming(self, namespace: str) -> Iterator[None]:
        """Take it that the known ConfigMaps of a Namespace are its own, and not of an earlier one that had its name."""
        if namespace in self.unconfirmed:
            yield from self._remember_all(namespace)
            del self.unconfirmed[namespace]

    def replacing_config_maps(self, config_maps: Iterable[ConfigMap], scope: str = EVERY_NAMESPACE) -> Iterator[None]:
        """Take the complete state of the ConfigMaps in the namespace ``scope``, or in all; equal documents cost little."""
        texts: dict[str, dict[str, Document]] = {}
        for number, config_map in enumerate(config_maps, 1):
            if scope in {EVERY_NAMESPACE, config_map.namespace} and self._selects(config_map):
                texts.setdefault(config_map.namespace, {})[config_map.name] = document_of(config_map)
                self._uids[Source(config_map.namespace, config_map.name)] = config_map.uid
            if number % STEP == 0:
                yield
        changes = 0
        for namespace in tuple(self._texts) if scope == EVERY_NAMESPACE else (scope,):
            for name in self._texts.get(namespace, {}).keys() - texts.get(namespace, {}).keys():
                self._set(namespace, name, None)
                changes += 1
                if changes % STEP == 0:
                    yield
        for namespace, named in texts.items():
            for name, text in named.items():
                self._set(namespace, name, text)
                changes += 1
                if changes % STEP == 0:
                    yield

    def put_config_map(self, config_map: ConfigMap) -> None:
        """Take a ConfigMap that is new or changed."""
        if self._selects(config_map):
            self._uids[Source(config_map.namespace, config_map.name)] = config_map.uid
            self._set(config_map.namespace, config_map.name, document_of(config_map))
        else:
            self._set(config_map.namespace, config_map.name, None)

    def delete_config_map(self, namespace: str, name: str) -> None:
        """Forget a ConfigMap."""
        self._set(namespace, name, None)

    @property
    def changed(self) -> bool:
        """Whether there may be a difference to take."""
        return bool(self._before or self._again)

    @property
    def waiting_changed(self) -> bool:
        """Whether ``waiting`` may have changed since the last ``take``."""
        return self._waiting_changed

    def refresh(self) -> None:
        """Include all documents in force in the next differences: their meaning has changed. Others are read when their time comes."""
        self._again = [(namespace, list(texts)) for namespace, texts in self._texts.items() if namespace in self._selected]

    def take(self, most: int = sys.maxsize, *, only_new: bool = False) -> tuple[Changed, ...]:
        """Return at most ``most`` documents that differ from when they were last returned; empty when there are no more.

        A document that was changed and changed back is not among them. ``only_new`` leaves those that were in force for later.
        """
        self._waiting_changed = False
        found: list[Changed] = []
        if only_new:
            new = tuple(islice((source for source, text in self._before.items() if text is None), most))
            for source in new:
                del self._before[source]
            texts = ((source, self._in_force(source)) for source in new)
            return tuple(Changed(source, None, text) for source, text in texts if text is not None)
        while self._before and len(found) < most:
            source = next(iter(self._before))
            before, after = self._before.pop(source), self._in_force(source)
            if before != after:
                found.append(Changed(source, before, after))
        while self._again and len(found) < most:
            namespace, names = self._again[-1]
            if not names:
                self._again.pop()
                continue
            source = Source(namespace, names.pop())
            text = self._in_force(source)
            if text is not None:
                found.append(Changed(source, text, text))
        return tuple(found)

    def documents(self) -> dict[Source, Document]:
        """Return all documents in force."""
        return {
            source: text
            for namespace, texts in self._texts.items()
            for name in texts
            if (text := self._in_force(source := Source(namespace, name))) is not None
        }

    def selected(self) -> dict[str, tuple[Labels, ...]]:
        """Return the selected Namespaces, with their labels if these are wanted."""
        return dict(self._selected)

    def labels_of(self, namespace: str) -> tuple[Labels, ...] | None:
        """Return the labels of a Namespace if these are wanted, ``None`` if it is not selected."""
        return self._selected.get(namespace)

    def take_relabelled(self) -> dict[str, tuple[Labels, ...] | None]:
        """Return the Namespaces that were selected, relabelled or left since the last call, with their labels; ``None``: not selected."""
        names, self._relabelled = self._relabelled, {}
        return {name: self._selected.get(name) for name in names}

    def waiting(self) -> Iterator[Source]:
        """Yield the selected ConfigMaps that are not in force, since their Namespaces are not selected."""
        for namespace, texts in self._texts.items():
            if namespace not in self._selected:
                yield from (Source(namespace, name) for name in texts)

    def uid_of(self, source: Source) -> str:
        """Return the ``uid`` of the ConfigMap ``source``, "" if unknown."""
        return self._uids.get(source, "")

    def waiting_count(self) -> int:
        """Return how many ConfigMaps are ``waiting``."""
        return sum(len(texts) for namespace, texts in self._texts.items() if namespace not in self._selected)

    def _selects(self, item: Namespace | ConfigMap) -> bool:
        if isinstance(item, ConfigMap):
            # Of those beyond what a namespace may have, the labels are not kept; the server has looked at them.
            return bool(item.beyond) or self.configmap_selector.matches(dict(item.labels))
        # Every server sets this label to the name.
        return self.namespace_selector.matches({**dict(item.labels), NAME_LABEL: item.name})

    def _selects_with(self, namespace: Namespace) -> tuple[Labels, ...] | None:
        """Return the labels of a Namespace as far as they are wanted, ``None`` if it is not selected."""
        if not self._selects(namespace):
            return None
        return (labels_of(namespace),) if self.with_labels else ()

    def _select(self, namespace: str, labels: tuple[Labels, ...] | None) -> Iterator[None]:
        """Select a Namespace with ``labels``, or no longer (``None``)."""
        if self._selected.get(namespace) == labels:
            return
        yield from self._remember_all(namespace)
        if self.with_labels:
            self._relabelled[namespace] = None
        if labels is None:
            del self._selected[namespace]
            self._forget(namespace)
        else:
            self._selected[namespace] = labels

    def _recognise(self, namespace: Namespace) -> Iterator[None]:
        """Tell by its ``uid`` whether a Namespace is the one that is known by its name."""
        known = self._namespace_uids.get(namespace.name, "")
        if not namespace.uid or known == namespace.uid:
            return
        if known:
            yield from self._remember_all(namespace.name)
            self.unconfirmed[namespace.name] = namespace.uid
        self._namespace_uids[namespace.name] = namespace.uid

    def _forget(self, namespace: str) -> None:
        """Forget which Namespace it was if nothing depends on it."""
        if namespace not in self._selected and namespace not in self._texts:
            self._namespace_uids.pop(namespace, None)
            self.unconfirmed.pop(namespace, None)

    def _remember_all(self, namespace: str) -> Iterator[None]:
        for number, name in enumerate(self._texts.get(namespace, ()), 1):
            self._remember(Source(namespace, name))
            self._waiting_changed = True
            if number % STEP == 0:
                yield

    def _set(self, namespace: str, name: str, text: Document | None) -> None:
        texts = self._texts.get(namespace, {})
        if texts.get(name) == text:
            return
        if namespace in self._selected:
            self._remember(Source(namespace, name))
        else:
            self._waiting_changed = True
        if text is not None:
            self._texts.setdefault(namespace, {})[name] = text
            return
        del texts[name]
        self._uids.pop(Source(namespace, name), None)
        if not texts:
            del self._texts[namespace]
            self._forget(namespace)

    def _remember(self, source: Source) -> None:
        """Keep what is in force of ``source`` before it changes; only the first time since the last ``take`` counts."""
        if source not in self._before:
            self._before[source] = self._in_force(source)

    def _in_force(self, source: Source) -> Document | None:
        labels = None if source.namespace in self.unconfirmed else self._selected.get(source.namespace)
        text = None if labels is None else self._texts.get(source.namespace, {}).get(source.name)
        return attrs.evolve(text, namespace_labels=labels) if text is not None and labels else text
