"""Strategies for what an API server says of Namespaces and ConfigMaps: few names, labels and documents, so that they meet."""

from collections import deque

import attrs
from hypothesis import strategies as st

from exchanger.kube.index import PolicyIndex
from exchanger.policy.selection import NAME_LABEL, ConfigMap, Namespace
from exchanger.values.selector import parse_selector

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


def index(selector: str = SELECTORS[0]) -> PolicyIndex:
    return PolicyIndex(parse_selector(selector), parse_selector(CONFIG_MAP_SELECTOR), with_labels=True)


def tell(said: Said, to: PolicyIndex) -> None:
    """Tell an index what the server said."""
    match said:
        case ReplaceNamespaces(items):
            deque(to.replacing_namespaces(items), maxlen=0)
        case ReplaceConfigMaps(items):
            deque(to.replacing_config_maps(items), maxlen=0)
        case PutNamespace(namespace):
            deque(to.putting_namespace(namespace), maxlen=0)
        case DeleteNamespace(name):
            deque(to.deleting_namespace(name), maxlen=0)
        case PutConfigMap(config_map):
            to.put_config_map(config_map)
        case DeleteConfigMap(namespace, name):
            to.delete_config_map(namespace, name)


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
