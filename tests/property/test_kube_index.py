"""Laws of the index: what is active is what a look at all objects finds, in whatever order and parts that was learned and passed on."""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.model.selector import parse_selector
from exchanger.policy.selection import select
from tests.property.strategies_kube_index import (
    CONFIG_MAP_SELECTOR,
    SELECTORS,
    Cluster,
    DeleteConfigMap,
    DeleteNamespace,
    Joined,
    PutConfigMap,
    PutNamespace,
    Said,
    histories,
    single,
)


@given(st.sampled_from(SELECTORS), histories, st.data())
def test_what_was_passed_on_is_what_a_look_at_all_objects_finds(selector: str, history: list[Said], data: st.DataObject) -> None:
    """However small the parts in which it is taken: a relist is the same as the events that it stands for."""
    made, cluster = Joined(selector), Cluster()
    for said in history:
        made.tell(said)
        cluster.after(said)
        found = select(cluster.objects(), parse_selector(selector), parse_selector(CONFIG_MAP_SELECTOR))
        assert made.documents() == found
        turn = data.draw(st.sampled_from(["", "part", "all"]))
        if turn == "part":
            assert len(made.take(1)) <= 1
        elif turn == "all":
            made.take()
            assert made.passed_on == found
            assert not made.index.changed
            held = {(item.namespace, item.name) for item in cluster.config_maps.values() if dict(item.labels).get("enabled") == "true"}
            selected = made.index.selected()
            assert {(source.namespace, source.name) for source in made.index.waiting} == {key for key in held if key[0] not in selected}


def what(said: Said) -> tuple[str, ...]:
    """Return which object is spoken of."""
    match said:
        case PutNamespace(namespace):
            return (namespace.name,)
        case DeleteNamespace(name):
            return (name,)
        case PutConfigMap(config_map):
            return (config_map.namespace, config_map.name)
        case DeleteConfigMap(namespace, name):
            return (namespace, name)
        case _:
            raise AssertionError("no single object")


@given(st.lists(single, max_size=20), st.data())
def test_events_in_any_order_across_objects_give_the_same_documents(history: list[Said], data: st.DataObject) -> None:
    """Namespaces and ConfigMaps come over two connections, whose events are in order on each, and in no order between them."""
    one, other = Joined(), Joined()
    for said in history:
        one.tell(said)
    queues: dict[tuple[str, ...], list[Said]] = {}
    for said in history:
        queues.setdefault(what(said), []).append(said)
    for turn in data.draw(st.permutations([what(said) for said in history])):
        other.tell(queues[turn].pop(0))
    one.take()
    other.take()
    assert one.documents() == other.documents() == one.passed_on == other.passed_on
