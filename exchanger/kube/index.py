"""Which policy documents are in force, kept from Namespaces and ConfigMaps as they come and go, and what changed since the last version.

A machine and no value: there is one writer and one reader, nobody asks for an older state, and complete lists of 10,000 objects are taken
in on the event loop, where persistent maps would take many times as long. What leaves it, a tuple of what changed, is a value.

Must not know: tasks, threads, clocks, the API server, or what a document says.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Final, final

import attrs

from exchanger.policy.selection import NAME_LABEL, ConfigMap, Namespace, Text
from exchanger.values.entry import Source
from exchanger.values.selector import Selector

EVERY_NAMESPACE: Final = ""
"""The scope of a list that is of the whole cluster; no Namespace has this name."""
STEP: Final = 100
"""Objects that are taken in one step: 1 ms."""


@final
@attrs.frozen
class Changed:
    """One document as it was and as it is; ``None`` where it is not in force. Both are equal where it is only to be read again."""

    source: Source
    before: Text | None
    after: Text | None


@final
@attrs.frozen
class IndexStatistics:
    """How many Namespaces and ConfigMaps the selectors select, and how many documents are in force: those that both agree on."""

    namespaces: int
    config_maps: int
    documents: int


@final
@attrs.define(eq=False)
class PolicyIndex:
    """Takes objects in any order. An object that its selector does not select is as good as gone, whatever the server says.

    With ``named`` there are no Namespace objects: exactly these are selected.
    """

    namespace_selector: Selector
    configmap_selector: Selector
    named: frozenset[str] = frozenset()
    _selected: set[str] = attrs.field(init=False)
    # By namespace and name; those of Namespaces that are not selected (yet) wait here.
    _texts: dict[str, dict[str, Text]] = attrs.field(init=False, factory=dict, repr=False)
    _uids: dict[Source, str] = attrs.field(init=False, factory=dict, repr=False)
    # What was in force, for every source that may have changed since the last difference was taken.
    _before: dict[Source, Text | None] = attrs.field(init=False, factory=dict, repr=False)
    _waiting_changed: bool = attrs.field(init=False, default=False)
    # The documents that are to be read again, as names by namespace.
    _again: list[tuple[str, list[str]]] = attrs.field(init=False, factory=list, repr=False)

    def __attrs_post_init__(self) -> None:
        self._selected = set(self.named)

    def using_named(self, names: Iterable[str]) -> Iterator[None]:
        """Select exactly these, and forget all others; what is in new ones is not known yet. In steps, as below."""
        chosen = frozenset(names)
        for name in chosen ^ self._selected:
            yield from self._select(name, selected=False)
            yield from self.replacing_config_maps((), name)
            yield from self._select(name, selected=name in chosen)

    def replacing_namespaces(self, namespaces: Iterable[Namespace]) -> Iterator[None]:
        """Take the complete state of all Namespaces, yielding between steps of bounded work; nothing else may be taken meanwhile."""
        selected = set[str]()
        for number, namespace in enumerate(namespaces, 1):
            if self._selects(namespace):
                selected.add(namespace.name)
            if number % STEP == 0:
                yield
        for name in selected ^ self._selected:
            yield from self._select(name, selected=name in selected)
            yield

    def putting_namespace(self, namespace: Namespace) -> Iterator[None]:
        """Take a Namespace that is new or changed, in the same way; costs its own ConfigMaps if that makes a difference to them."""
        return self._select(namespace.name, selected=self._selects(namespace))

    def deleting_namespace(self, name: str) -> Iterator[None]:
        """Forget a Namespace, in the same way; its documents leave, although its ConfigMaps may still be listed."""
        return self._select(name, selected=False)

    def replacing_config_maps(self, config_maps: Iterable[ConfigMap], scope: str = EVERY_NAMESPACE) -> Iterator[None]:
        """Take the complete state of the ConfigMaps in the namespace ``scope``, or in all, in the same way; equal documents cost little."""
        texts: dict[str, dict[str, Text]] = {}
        for number, config_map in enumerate(config_maps, 1):
            if scope in {EVERY_NAMESPACE, config_map.namespace} and self._selects(config_map):
                texts.setdefault(config_map.namespace, {})[config_map.name] = Text.of(config_map)
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

    def replace_namespaces(self, namespaces: Iterable[Namespace]) -> None:
        """The same in one step, as the others below: for whoever has nobody to wait for the event loop."""
        _all(self.replacing_namespaces(namespaces))

    def put_namespace(self, namespace: Namespace) -> None:
        """See ``putting_namespace``."""
        _all(self.putting_namespace(namespace))

    def delete_namespace(self, name: str) -> None:
        """See ``deleting_namespace``."""
        _all(self.deleting_namespace(name))

    def replace_config_maps(self, config_maps: Iterable[ConfigMap], scope: str = EVERY_NAMESPACE) -> None:
        """See ``replacing_config_maps``."""
        _all(self.replacing_config_maps(config_maps, scope))

    def put_config_map(self, config_map: ConfigMap) -> None:
        """Take a ConfigMap that is new or changed."""
        if self._selects(config_map):
            self._uids[Source(config_map.namespace, config_map.name)] = config_map.uid
            self._set(config_map.namespace, config_map.name, Text.of(config_map))
        else:
            self._set(config_map.namespace, config_map.name, None)

    def delete_config_map(self, namespace: str, name: str) -> None:
        """Forget a ConfigMap."""
        self._set(namespace, name, None)

    @property
    def changed(self) -> bool:
        """Tell whether there may be a difference to take."""
        return bool(self._before or self._again)

    @property
    def waiting_changed(self) -> bool:
        """Tell whether others may be ``waiting`` than at the last ``take``."""
        return self._waiting_changed

    def refresh(self) -> None:
        """Have all documents in force in the differences that follow: what they mean has changed. Others are read when their time comes."""
        self._again = [(namespace, list(texts)) for namespace, texts in self._texts.items() if namespace in self._selected]

    def take(self, most: int = sys.maxsize) -> tuple[Changed, ...]:
        """Return at most ``most`` of the documents that differ from what was last returned of them, and none when there are no more.

        What was changed and changed back is not among them.
        """
        self._waiting_changed = False
        found: list[Changed] = []
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

    def documents(self) -> dict[Source, Text]:
        """Return all documents that are in force."""
        return {
            Source(namespace, name): text
            for namespace, texts in self._texts.items()
            if namespace in self._selected
            for name, text in texts.items()
        }

    def waiting(self) -> Iterator[Source]:
        """Yield the ConfigMaps that are selected and not in force, since their Namespaces are not selected."""
        for namespace, texts in self._texts.items():
            if namespace not in self._selected:
                yield from (Source(namespace, name) for name in texts)

    def uid_of(self, source: Source) -> str:
        """Return the ``uid`` of the ConfigMap ``source``, "" when there is none or it is not known."""
        return self._uids.get(source, "")

    def statistics(self) -> IndexStatistics:
        """Return the numbers of what is known."""
        return IndexStatistics(
            namespaces=len(self._selected),
            config_maps=sum(map(len, self._texts.values())),
            documents=sum(len(texts) for namespace, texts in self._texts.items() if namespace in self._selected),
        )

    def _selects(self, item: Namespace | ConfigMap) -> bool:
        if isinstance(item, ConfigMap):
            return self.configmap_selector.matches(dict(item.labels))
        # Every server sets this label, and it says what the name says in any case.
        return self.namespace_selector.matches({**dict(item.labels), NAME_LABEL: item.name})

    def _select(self, namespace: str, *, selected: bool) -> Iterator[None]:
        if selected == (namespace in self._selected):
            return
        for number, name in enumerate(self._texts.get(namespace, ()), 1):
            self._remember(Source(namespace, name))
            self._waiting_changed = True
            if number % STEP == 0:
                yield
        (self._selected.add if selected else self._selected.discard)(namespace)

    def _set(self, namespace: str, name: str, text: Text | None) -> None:
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

    def _remember(self, source: Source) -> None:
        """Keep what is in force of ``source`` before that changes; only the first time since the last ``take`` counts."""
        if source not in self._before:
            self._before[source] = self._in_force(source)

    def _in_force(self, source: Source) -> Text | None:
        return self._texts.get(source.namespace, {}).get(source.name) if source.namespace in self._selected else None


def _all(steps: Iterator[None]) -> None:
    for _ in steps:
        pass
