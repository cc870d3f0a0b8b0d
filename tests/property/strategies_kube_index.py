"""Strategies for what an API server says of Namespaces and ConfigMaps: few names, labels and documents, so that they meet."""

import sys

import attrs
from hypothesis import strategies as st

from exchanger.model.entry import Source
from exchanger.model.selector import parse_selector
from exchanger.policy.selection import NAME_LABEL, ConfigMap, DocumentText, Namespace
from exchanger.sources.kube.index import EVERY_NAMESPACE, PolicyIndex
from exchanger.sources.kube.list_watch import Deleted, Item, Key, Put
from exchanger.sources.kube.store import Complete, ReflectorStore

NAMES = ("a", "b", "c")
TEXTS = (
    None,
    "version: v1",
    "version: v2",
    "version: v1\nentries: [{match: {host: h, pathPrefix: /a}, action: deny}]",
    "version: v1\nentries: [{match: {host: h, pathPrefix: /b}, action: deny}, {match: {host: h}, action: deny}]",
)
SELECTORS = ("policy=enabled", f"policy=enabled,{NAME_LABEL} notin (c)", "")
CONFIG_MAP_SELECTOR = "enabled=true"

namespaces = st.builds(
    lambda name, selected: Namespace(name, (("policy", "enabled" if selected else "disabled"), (NAME_LABEL, name))),
    st.sampled_from(NAMES),
    st.sampled_from([True, True, True, False]),
)
config_maps = st.builds(
    ConfigMap,
    st.sampled_from(NAMES),
    st.sampled_from("pq"),
    st.sampled_from([(("enabled", "true"),), (("enabled", "true"),), (("enabled", "true"),), ()]),
    st.sampled_from(TEXTS),
)


@attrs.frozen
class ReplaceNamespaces:
    namespaces: tuple[Namespace, ...]


@attrs.frozen
class ReplaceConfigMaps:
    config_maps: tuple[ConfigMap, ...]


@attrs.frozen
class PutNamespace:
    namespace: Namespace


@attrs.frozen
class DeleteNamespace:
    name: str


@attrs.frozen
class PutConfigMap:
    config_map: ConfigMap


@attrs.frozen
class DeleteConfigMap:
    namespace: str
    name: str


Said = ReplaceNamespaces | ReplaceConfigMaps | PutNamespace | DeleteNamespace | PutConfigMap | DeleteConfigMap

single: st.SearchStrategy[Said] = st.one_of(
    st.builds(PutNamespace, namespaces),
    st.builds(DeleteNamespace, st.sampled_from(NAMES)),
    st.builds(PutConfigMap, config_maps),
    st.builds(PutConfigMap, config_maps),
    st.builds(DeleteConfigMap, st.sampled_from(NAMES), st.sampled_from("pq")),
)
anything: st.SearchStrategy[Said] = st.one_of(
    single,
    single,
    st.builds(ReplaceNamespaces, st.lists(namespaces, unique_by=lambda item: item.name).map(tuple)),
    st.builds(ReplaceConfigMaps, st.lists(config_maps, unique_by=lambda item: (item.namespace, item.name)).map(tuple)),
)
histories = st.lists(anything, max_size=20)


@attrs.define(eq=False)
class Joined:
    """An index with the stores of two feeds, and a reader of what it says, who knows the documents that were passed on."""

    selector: str = SELECTORS[0]
    passed_on: dict[Source, DocumentText] = attrs.Factory(dict)
    index: PolicyIndex = attrs.field(init=False)
    _version: int = 0

    def __attrs_post_init__(self) -> None:
        self.index = PolicyIndex(parse_selector(self.selector), parse_selector(CONFIG_MAP_SELECTOR), with_labels=True)
        self.index.config_maps[EVERY_NAMESPACE] = ReflectorStore()

    def tell(self, said: Said) -> None:
        """Let a feed learn of it, and report that."""
        namespaces, config_maps = self.index.namespaces, self.index.config_maps[EVERY_NAMESPACE]
        self._version += 1
        version = str(self._version)
        match said:
            case ReplaceNamespaces(items):
                namespaces.replace(Complete(tuple(Item(Key("", item.name), version, item) for item in items), version))
                self.index.namespaces_changed()
            case ReplaceConfigMaps(items):
                found = tuple(Item(Key(item.namespace, item.name), version, item) for item in items)
                config_maps.replace(Complete(found, version))
                self.index.config_maps_changed(EVERY_NAMESPACE)
            case PutNamespace(item):
                namespaces.apply(Put(Item(Key("", item.name), version, item)))
                self.index.namespaces_changed([Key("", item.name)])
            case DeleteNamespace(name):
                namespaces.apply(Deleted(Key("", name), version))
                self.index.namespaces_changed([Key("", name)])
            case PutConfigMap(item):
                key = Key(item.namespace, item.name)
                config_maps.apply(Put(Item(key, version, item)))
                self.index.config_maps_changed(EVERY_NAMESPACE, [key])
            case DeleteConfigMap(namespace, name):
                config_maps.apply(Deleted(Key(namespace, name), version))
                self.index.config_maps_changed(EVERY_NAMESPACE, [Key(namespace, name)])

    def settle(self) -> int:
        """Let the index find what may have changed; return in how many steps."""
        return len(list(self.index.settle()))

    def take(self, most: int = sys.maxsize) -> dict[Source, DocumentText | None]:
        """Pass on what may have changed, as far as it is taken; return that."""
        self.settle()
        taken = self.index.take(most)
        for source, document in taken.items():
            self.passed_on.pop(source, None)
            if document is not None:
                self.passed_on[source] = document
        return taken

    def documents(self) -> dict[Source, DocumentText]:
        self.settle()
        return self.index.documents()


@attrs.define(eq=False)
class Cluster:
    """The objects themselves, as the server has them after what it said."""

    namespaces: dict[str, Namespace] = attrs.Factory(dict)
    config_maps: dict[tuple[str, str], ConfigMap] = attrs.Factory(dict)

    def after(self, said: Said) -> None:
        match said:
            case ReplaceNamespaces(items):
                self.namespaces = {item.name: item for item in items}
            case ReplaceConfigMaps(items):
                self.config_maps = {(item.namespace, item.name): item for item in items}
            case PutNamespace(namespace):
                self.namespaces[namespace.name] = namespace
            case DeleteNamespace(name):
                self.namespaces.pop(name, None)
            case PutConfigMap(config_map):
                self.config_maps[config_map.namespace, config_map.name] = config_map
            case DeleteConfigMap(namespace, name):
                self.config_maps.pop((namespace, name), None)

    def objects(self) -> tuple[Namespace | ConfigMap, ...]:
        return (*self.namespaces.values(), *self.config_maps.values())
