"""Laws of the index of Namespaces and ConfigMaps."""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.selection import Document, select
from exchanger.values.entry import Source
from exchanger.values.selector import parse_selector
from tests.property.strategies_kube_index import (
    CONFIG_MAP_SELECTOR,
    SELECTORS,
    Cluster,
    DeleteConfigMap,
    DeleteNamespace,
    PutConfigMap,
    PutNamespace,
    Said,
    histories,
    index,
    single,
    tell,
)

# Law: whenever differences are taken, and in however small parts, whoever keeps what they say knows the documents in force.
#
# A document that is the same before and after is in no difference, so that it costs no reading, unless all are to be read again.


# What happens between what the server says: nothing, a part is taken, everything is, or all documents are to be read again.
turns = st.sampled_from(["", "", "part", "all", "again"])


@given(histories, st.data())
def test_differences_are_what_changed(history: list[Said], data: st.DataObject) -> None:
    made = index()
    shown: dict[Source, Document] = {}
    again: set[Source] = set()
    for said in history:
        tell(said, made)
        turn = data.draw(turns)
        if turn == "again":
            made.refresh()
            again = set(made.documents())
        if turn in {"part", "all"}:
            for changed in made.take(1) if turn == "part" else made.take():
                assert changed.before == shown.get(changed.source) or changed.source in again
                assert changed.before != changed.after or changed.source in again
                shown.pop(changed.source, None)
                if changed.after is not None:
                    shown[changed.source] = changed.after
        if turn == "all":
            assert shown == made.documents()
            assert not made.changed
            again = set()


# Law: after anything that a server may say, the documents in force are those that a look at all of its objects finds, and no others.
#
# So a Namespace that is not selected never has a document in force, one that becomes selected has all of its documents at once, a relist is
# the same as the events that it stands for, and the way by which a state was reached does not show.


@given(st.sampled_from(SELECTORS), histories)
def test_the_index_is_what_a_look_at_all_objects_finds(selector: str, history: list[Said]) -> None:
    made, cluster = index(selector), Cluster()
    for said in history:
        tell(said, made)
        cluster.after(said)
        found = select(cluster.objects(), parse_selector(selector), parse_selector(CONFIG_MAP_SELECTOR))
        assert made.documents() == found
        assert made.waiting_count() == len(list(made.waiting()))
        assert {source.namespace for source in found} <= cluster.namespaces.keys()


# Law: events on different objects may come in any order; the documents in force in the end are the same.
#
# Namespaces and ConfigMaps come over two connections, whose events are in order on each, and in no order between them.


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
def test_any_order_that_keeps_the_order_of_each_object_gives_the_same_documents(history: list[Said], data: st.DataObject) -> None:
    one, other = index(), index()
    for said in history:
        tell(said, one)
    queues: dict[tuple[str, ...], list[Said]] = {}
    for said in history:
        queues.setdefault(what(said), []).append(said)
    for turn in data.draw(st.permutations([what(said) for said in history])):
        tell(queues[turn].pop(0), other)
    assert one.documents() == other.documents()
    assert {changed.source: changed for changed in one.take()} == {changed.source: changed for changed in other.take()}
