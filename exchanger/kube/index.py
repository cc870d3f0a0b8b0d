"""Which policy documents are in force, kept from Namespaces and ConfigMaps as they come and go, and what changed since the last version.

A machine and no value: there is one writer and one reader, nobody asks for an older state, and complete lists of 10,000 objects are taken
in on the event loop, where persistent maps would take many times as long. What leaves it, a ``Difference``, is a value.

Must not know: tasks, threads, clocks, the API server, or what a document says.
"""

from collections.abc import Iterable, Iterator
from typing import Final, final

import attrs

from exchanger.policy.objects import NAME_LABEL, ConfigMap, Namespace
from exchanger.policy.selection import Change, Text, advance
from exchanger.policy.selector import Selector
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source

EVERY_NAMESPACE: Final = ""
"""The scope of a list that is of the whole cluster; no Namespace has this name."""

_DOCUMENT_WORK: Final = 64
"""Characters that a change counts for beside those of its documents: what it costs however short they are."""


@final
@attrs.frozen
class Changed:
    """One document as it was and as it is; ``None`` where it is not in force."""

    source: Source
    before: Text | None
    after: Text | None

    @property
    def work(self) -> int:
        """A measure of what taking in the change costs, in characters of documents."""
        return _DOCUMENT_WORK + sum(len(text.text or "") for text in (self.before, self.after) if text is not None)


@final
@attrs.frozen
class Difference:
    """All documents that changed between two states."""

    documents: tuple[Changed, ...] = attrs.field(default=(), repr=False)

    @property
    def work(self) -> int:
        """A measure of what taking in all changes costs, in characters of documents."""
        return sum(changed.work for changed in self.documents)

    def parts(self, work: int) -> "Iterator[Difference]":
        """Cut into differences of at most ``work`` each, or of one document where that alone is more."""
        part: list[Changed] = []
        done = 0
        for changed in self.documents:
            if part and done + changed.work > work:
                yield Difference(tuple(part))
                part, done = [], 0
            part.append(changed)
            done += changed.work
        yield Difference(tuple(part))

    def advance(self, snapshot: PolicySnapshot, issuers: frozenset[str]) -> Change:
        """Return the version after ``snapshot``, which has the documents as they were; parses those that are new or changed."""
        before = {changed.source: changed.before for changed in self.documents if changed.before is not None}
        after = {changed.source: changed.after for changed in self.documents if changed.after is not None}
        return advance(snapshot, before, after, issuers)


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
    _afresh: bool = attrs.field(init=False, default=False)
    _waiting_changed: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._selected = set(self.named)

    def use_named(self, names: Iterable[str]) -> None:
        """Select exactly these, and forget all others; what is in new ones is not known yet."""
        chosen = frozenset(names)
        for name in chosen ^ self._selected:
            self._select(name, selected=False)
            self.replace_config_maps((), name)
            self._select(name, selected=name in chosen)

    def replace_namespaces(self, namespaces: Iterable[Namespace]) -> None:
        """Take the complete state of all Namespaces."""
        selected = {namespace.name for namespace in namespaces if self._selects(namespace)}
        for name in selected ^ self._selected:
            self._select(name, selected=name in selected)

    def put_namespace(self, namespace: Namespace) -> None:
        """Take a Namespace that is new or changed; costs its own ConfigMaps if that makes a difference to them."""
        self._select(namespace.name, selected=self._selects(namespace))

    def delete_namespace(self, name: str) -> None:
        """Forget a Namespace; its documents leave at once, although its ConfigMaps may still be listed."""
        self._select(name, selected=False)

    def replace_config_maps(self, config_maps: Iterable[ConfigMap], scope: str = EVERY_NAMESPACE) -> None:
        """Take the complete state of the ConfigMaps in the namespace ``scope``, or in all; equal documents cost a comparison."""
        texts: dict[str, dict[str, Text]] = {}
        for config_map in config_maps:
            if scope in {EVERY_NAMESPACE, config_map.namespace} and self._selects(config_map):
                texts.setdefault(config_map.namespace, {})[config_map.name] = Text.of(config_map)
                self._uids[Source(config_map.namespace, config_map.name)] = config_map.uid
        for namespace in tuple(self._texts) if scope == EVERY_NAMESPACE else (scope,):
            for name in self._texts.get(namespace, {}).keys() - texts.get(namespace, {}).keys():
                self._set(namespace, name, None)
        for namespace, named in texts.items():
            for name, text in named.items():
                self._set(namespace, name, text)

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
        return self._afresh or bool(self._before)

    @property
    def waiting_changed(self) -> bool:
        """Tell whether others may be ``waiting`` than at the last ``take``."""
        return self._waiting_changed

    def refresh(self) -> None:
        """Have all documents in the next difference, as if they were new: what they mean has changed."""
        self._afresh = True

    def take(self) -> Difference:
        """Return the difference to the state at the last time, and begin anew; what was changed and changed back is not in it."""
        pending, self._before, self._waiting_changed = self._before, {}, False
        if self._afresh:
            self._afresh = False
            gone = (Changed(source, old, None) for source, old in pending.items() if old is not None and self._in_force(source) is None)
            return Difference((*(Changed(source, None, text) for source, text in self.documents().items()), *gone))
        changed = (Changed(source, old, self._in_force(source)) for source, old in pending.items())
        return Difference(tuple(document for document in changed if document.before != document.after))

    def give_back(self, difference: Difference) -> None:
        """Undo the last ``take``: nothing was made of ``difference``, so the next one starts from where it did."""
        self._before.update((changed.source, changed.before) for changed in difference.documents)

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

    def _select(self, namespace: str, *, selected: bool) -> None:
        if selected == (namespace in self._selected):
            return
        for name in self._texts.get(namespace, ()):
            self._remember(Source(namespace, name))
            self._waiting_changed = True
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
