"""What the laws of the index in ``tests/property`` do not say of it."""

from collections import deque

import pytest

from exchanger.kube.index import STEP, Changed, PolicyIndex
from exchanger.policy.selection import ConfigMap, Namespace, Text
from exchanger.values.entry import Source
from exchanger.values.selector import Selector, parse_selector

SELECTED, ENABLED = (("policy", "enabled"),), (("enabled", "true"),)


def config_map(namespace: str, name: str, text: str | None = "x") -> ConfigMap:
    return ConfigMap(namespace, name, ENABLED, text)


def filled() -> PolicyIndex:
    """Return an index of two selected Namespaces with two ConfigMaps each, at rest."""
    made = PolicyIndex(parse_selector("policy=enabled"), parse_selector("enabled=true"))
    deque(made.replacing_namespaces([Namespace("a", SELECTED), Namespace("b", SELECTED)]), maxlen=0)
    deque(made.replacing_config_maps([config_map(namespace, name) for namespace in "ab" for name in "pq"]), maxlen=0)
    made.take()
    return made


def texts(made: PolicyIndex) -> dict[str, str | None]:
    return {str(source): text.text for source, text in made.documents().items() if isinstance(text, Text)}


def test_a_namespace_can_be_selected_by_its_name_whatever_its_labels_say() -> None:
    made = PolicyIndex(parse_selector("kubernetes.io/metadata.name in (a, b)"), parse_selector(""))
    deque(made.replacing_namespaces([Namespace("a", ()), Namespace("c", (("kubernetes.io/metadata.name", "b"),))]), maxlen=0)
    deque(made.replacing_config_maps([config_map("a", "p"), config_map("c", "p")]), maxlen=0)
    assert texts(made) == {"a/p": "x"}


def test_the_uid_is_that_of_the_object_that_has_the_name_now() -> None:
    made, source = filled(), Source("a", "p")
    made.put_config_map(ConfigMap("a", "p", ENABLED, "x", "1"))
    assert (made.uid_of(source), made.changed) == ("1", False)
    deque(made.replacing_config_maps([ConfigMap("a", "p", ENABLED, "x", "2")]), maxlen=0)
    assert (made.uid_of(source), made.uid_of(Source("b", "q"))) == ("2", "")
    made.put_config_map(ConfigMap("a", "p", (), "x", "3"))
    assert made.uid_of(source) == ""


def test_objects_and_lists_that_make_no_difference_cost_nothing() -> None:
    made = filled()
    deque(made.putting_namespace(Namespace("a", (*SELECTED, ("other", "label")))), maxlen=0)
    deque(made.putting_namespace(Namespace("z", ())), maxlen=0)
    deque(made.deleting_namespace("y"), maxlen=0)
    deque(made.replacing_namespaces([Namespace("b", SELECTED), Namespace("a", SELECTED), Namespace("c", ())]), maxlen=0)
    deque(made.replacing_config_maps([config_map(namespace, name) for namespace in "ba" for name in "qp"]), maxlen=0)
    assert not made.changed


def test_a_config_map_without_the_key_is_a_document_without_text() -> None:
    made = filled()
    made.put_config_map(config_map("a", "p", None))
    assert made.take() == (Changed(Source("a", "p"), Text("x"), Text(None)),)
    made.put_config_map(config_map("a", "p", "canary"))
    assert "canary" not in repr(made)
    assert "canary" not in repr(made.take())
    made.put_config_map(ConfigMap("a", "p", (), None))
    assert made.take() == (Changed(Source("a", "p"), Text("canary"), None),)


def test_the_last_config_map_of_a_namespace_leaves_nothing_behind() -> None:
    made = filled()
    made.delete_config_map("a", "p")
    made.delete_config_map("a", "q")
    made.delete_config_map("a", "q")
    assert "a" not in made._texts


def test_what_goes_while_everything_is_to_be_read_again_is_told_as_gone_and_not_read() -> None:
    made = filled()
    made.refresh()
    made.delete_config_map("a", "p")
    told = {str(changed.source): changed.after for changed in made.take()}
    assert told == {"a/p": None, **{f"{place}/{name}": Text("x") for place, name in ("aq", "bp", "bq")}}


@pytest.mark.parametrize("size", [1, STEP, 3 * STEP])
def test_much_is_taken_in_steps(size: int) -> None:
    made, everything = filled(), [config_map("a", f"p{number}") for number in range(size)]
    assert len(list(made.replacing_config_maps(everything))) >= 2 * (size // STEP)
    assert len(made.documents()) == size
    assert len(list(made.deleting_namespace("a"))) == size // STEP
    assert made.documents() == {}
    assert len(list(made.replacing_config_maps([]))) == size // STEP
    namespaces = [Namespace(f"n{number}", SELECTED) for number in range(size)]
    assert len(list(made.replacing_namespaces(namespaces))) >= size // STEP
    deque(made.replacing_config_maps([config_map(namespace.name, "p") for namespace in namespaces]), maxlen=0)
    assert len(made.documents()) == size


def test_new_names_replace_those_before() -> None:
    made = PolicyIndex(Selector(), Selector(), frozenset({"a", "b"}))
    for namespace in "abc":
        made.put_config_map(ConfigMap(namespace, "p", (), namespace))
    made.take()
    deque(made.using_named(("b", "c")), maxlen=0)
    assert texts(made) == {"b/p": "b"}
    assert [(str(changed.source), changed.after) for changed in made.take()] == [("a/p", None)]
    made.put_config_map(ConfigMap("c", "p", (), "new"))
    deque(made.using_named(("a", "c")), maxlen=0)
    assert texts(made) == {"c/p": "new"}
    assert {str(changed.source) for changed in made.take()} == {"b/p", "c/p"}
