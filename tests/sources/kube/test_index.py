"""What the laws of the index in ``tests/property`` do not say of it."""

import pytest

from exchanger.model.entry import Source
from exchanger.model.selector import Selector
from exchanger.policy.selection import ConfigMap, Namespace, Text
from exchanger.sources.kube.index import STEP, PolicyIndex
from exchanger.sources.kube.list_watch import Deleted, Item, Key, Put
from exchanger.sources.kube.store import Complete, ReflectorStore
from tests.property.strategies_kube_index import (
    DeleteConfigMap,
    DeleteNamespace,
    Joined,
    PutConfigMap,
    PutNamespace,
    ReplaceConfigMaps,
    ReplaceNamespaces,
)

SELECTED, ENABLED = (("policy", "enabled"),), (("enabled", "true"),)


def config_map(namespace: str, name: str, text: str | None = "x", uid: str = "") -> ConfigMap:
    return ConfigMap(namespace, name, ENABLED, text, uid)


def filled(selector: str = "policy=enabled") -> Joined:
    """Return an index of two selected Namespaces with two ConfigMaps each, at rest."""
    made = Joined(selector)
    made.tell(ReplaceNamespaces((Namespace("a", SELECTED, "1"), Namespace("b", SELECTED, "1"))))
    made.tell(ReplaceConfigMaps(tuple(config_map(namespace, name) for namespace in "ab" for name in "pq")))
    made.take()
    return made


def texts(made: PolicyIndex) -> dict[str, str | None]:
    return {str(source): text.text for source, text in made.documents().items() if isinstance(text, Text)}


def test_a_namespace_can_be_selected_by_its_name_whatever_its_labels_say() -> None:
    made = Joined("kubernetes.io/metadata.name in (a, b)")
    made.tell(ReplaceNamespaces((Namespace("a", ()), Namespace("c", (("kubernetes.io/metadata.name", "b"),)))))
    made.tell(ReplaceConfigMaps((config_map("a", "p"), config_map("c", "p"))))
    made.settle()
    assert texts(made.index) == {"a/p": "x"}


def test_the_uid_is_that_of_the_object_that_has_the_name_now() -> None:
    made, source = filled(), Source("a", "p")
    made.tell(PutConfigMap(config_map("a", "p", uid="1")))
    assert made.index.uid_of(source) == "1"
    made.tell(ReplaceConfigMaps((config_map("a", "p", uid="2"),)))
    assert (made.index.uid_of(source), made.index.uid_of(Source("b", "q"))) == ("2", "")
    made.tell(PutConfigMap(ConfigMap("a", "p", (), "x", "3")))
    assert made.index.uid_of(source) == ""


def test_namespaces_that_make_no_difference_cost_nothing() -> None:
    made = Joined()
    made.index.with_labels = False
    made.tell(ReplaceNamespaces((Namespace("a", SELECTED), Namespace("b", SELECTED))))
    made.take()
    made.tell(PutNamespace(Namespace("a", (*SELECTED, ("other", "label")))))
    made.tell(PutNamespace(Namespace("z", ())))
    made.tell(DeleteNamespace("y"))
    made.tell(ReplaceNamespaces((Namespace("b", SELECTED), Namespace("a", SELECTED), Namespace("c", ()))))
    made.settle()
    assert not made.index.changed


def test_a_namespace_without_config_maps_leaves_nothing_behind() -> None:
    made = filled()
    made.tell(DeleteNamespace("a"))
    made.take()
    assert made.index.uids.keys() == {"a", "b"}  # memory, which nothing else shows
    made.tell(DeleteConfigMap("a", "p"))
    made.take()
    made.tell(DeleteConfigMap("a", "q"))
    made.take()
    assert made.index.uids.keys() == {"b"}
    made.tell(PutNamespace(Namespace("a", SELECTED, "2")))
    made.take()
    assert not made.index.unconfirmed


@pytest.mark.parametrize("size", [1, STEP, 3 * STEP])
def test_much_is_taken_in_steps(size: int) -> None:
    made = filled()
    made.tell(ReplaceConfigMaps(tuple(config_map("a", f"p{number}") for number in range(size))))
    assert made.settle() >= size // STEP
    made.take()
    assert len(made.passed_on) == size
    made.tell(DeleteNamespace("a"))
    assert made.settle() >= 2 * (size // STEP)
    made.take()
    assert made.passed_on == {}
    namespaces = tuple(Namespace(f"n{number}", SELECTED) for number in range(size))
    made.tell(ReplaceNamespaces(namespaces))
    assert made.settle() >= size // STEP
    made.tell(ReplaceConfigMaps(tuple(config_map(namespace.name, "p") for namespace in namespaces)))
    made.take()
    assert len(made.passed_on) == size


def test_a_named_namespaces_feed_affects_only_it_until_the_names_change() -> None:
    made = PolicyIndex(Selector(), Selector(), frozenset({"a", "b"}))
    for namespace in "ab":
        made.config_maps[namespace] = ReflectorStore()
        own = tuple(Item(Key(other, "p"), "1", ConfigMap(other, "p", (), namespace)) for other in "ab")
        made.config_maps[namespace].replace(Complete(own, "1"))
        made.config_maps_changed(namespace)
    assert list(made.settle()) == []
    assert set(map(str, made.take(9))) == {"a/p", "b/p"}
    assert texts(made) == {"a/p": "a", "b/p": "b"}
    made.config_maps_changed("a", [Key("b", "p")])
    assert not made.changed
    del made.config_maps["a"]
    made.config_maps["c"] = ReflectorStore()
    made.use_named(("b", "c"))
    assert list(made.settle()) == []
    assert made.take(9) == {Source("a", "p"): None}
    assert texts(made) == {"b/p": "b"}
    made.config_maps["c"].apply(Put(Item(Key("c", "p"), "1", ConfigMap("c", "p", (), "new"))))
    assert texts(made) == {"b/p": "b", "c/p": "new"}
    made.config_maps["c"].apply(Deleted(Key("c", "p"), "2"))
    assert texts(made) == {"b/p": "b"}
